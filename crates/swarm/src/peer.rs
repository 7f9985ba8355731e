//! One connection: what the peer said, what we asked of it, what it asked of us.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use starling_metainfo::BLOCK_LENGTH;
use starling_sansio::{Sink, Time};

use crate::config::Limits;
use crate::depth::Depth;
use crate::extension::ExtensionIds;
use crate::picker::Has;
use crate::rate::Rate;
use crate::taken_back::TakenBack;
use crate::{Block, ConnId, Hello, Message, Output};

/// Pieces remembered that a peer would not serve though it has them.
const REFUSED_MAX: usize = 16;

/// Bytes per second below which a peer works on one piece at a time; from there on as
/// many as the square of how often it is faster. So sixteen at four times the rate,
/// which a disk with moving heads does not reach, but few where one may be at work.
const RATE_OF_PIECE: f64 = 64e6;

/// A block we asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub piece: u32,
    pub index: u16,
    /// Later requests that were answered before this one.
    pub overtaken: u16,
    pub sent: Time,
}

/// What came before we had the metadata, to be judged then.
#[derive(Clone, Debug, Default)]
pub(crate) struct Early {
    pub bitfield: Option<Bytes>,
    pub haves: Vec<u32>,
    pub all: bool,
}

/// The downloading half of a connection.
#[derive(Debug)]
pub(crate) struct Down {
    pub queue: VecDeque<Asked>,
    pub depth: Depth,
    pub rate: Rate,
    /// The partial pieces that are this peer's own, the next to be asked for first.
    pub own: VecDeque<u32>,
    /// The piece it began last.
    pub last_piece: Option<u32>,
    /// When it last sent a block, or was first asked after a pause.
    pub heard: Time,
    pub snubbed: bool,
    /// Pieces it serves though it chokes us.
    pub allowed: Vec<u32>,
    pub suggested: Vec<u32>,
    /// Pieces it rejected without choking us, for some seconds.
    pub refused: Vec<u32>,
    /// Blocks that may still come though we gave them up.
    pub taken_back: TakenBack,
    /// The picker had nothing for it at this version.
    pub starved: Option<u64>,
    /// Bytes at the last rechoke.
    pub at_rechoke: u64,
    /// Under suspicion of having sent false data.
    pub parole: bool,
    /// When blocks were last asked for twice here.
    pub endgame_at: Time,
}

/// The uploading half of a connection.
#[derive(Debug)]
pub(crate) struct Up {
    pub queue: VecDeque<Block>,
    /// Bytes handed to the driver that have not left.
    pub unsent: u64,
    pub rate: Rate,
    /// Pieces it may ask for though we choke it.
    pub allowed: Vec<u32>,
    /// Since when it is unchoked or choked.
    pub since: Time,
    /// Bytes served since it was unchoked.
    pub turn: u64,
    /// When it last asked for a block, or had one leave for it.
    pub busy: Time,
    /// Bytes it may get until the choker's next tick; `None`: no limit of its own.
    pub allowance: Option<u64>,
    /// Super-seeding: pieces we told it of.
    pub revealed: Vec<u32>,
    pub rejected: u32,
    /// It asked for nothing when it last had a turn.
    pub wasted: bool,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Link {
    pub conn: ConnId,
    pub slot: u32,
    pub hello: Hello,
    pub ip: IpAddr,
    pub fast: bool,
    pub ids: ExtensionIds,
    /// How the peer numbers the extensions; known once its handshake came.
    pub extended: bool,
    /// Our handshake offered peer exchange.
    pub offered_pex: bool,
    pub client: Option<String>,
    pub listen: Option<SocketAddr>,
    pub upload_only: bool,
    pub has: Has,
    /// Pieces it has and we want, if `has` is not `All`.
    pub interesting: u32,
    /// A bitfield may still come.
    pub opening: bool,
    pub early: Early,
    pub am_choking: bool,
    pub am_interested: bool,
    pub peer_choking: bool,
    pub peer_interested: bool,
    /// Since when one side wants something of the other, counted anew only after payload.
    pub waiting: Option<Time>,
    pub down: Down,
    pub up: Up,
    pub connected: Time,
    pub last_in: Time,
    pub last_out: Time,
    pub strikes: u32,
    pub chatter: f64,
    pub chatter_at: Time,
    /// We asked the driver to close it; nothing more is sent or heard.
    pub closing: bool,
}

impl Link {
    pub fn new(now: Time, conn: ConnId, slot: u32, hello: Hello, limits: &Limits) -> Link {
        Link {
            conn,
            slot,
            hello,
            ip: hello.addr.ip().to_canonical(),
            fast: hello.reserved.fast(),
            ids: ExtensionIds::default(),
            extended: false,
            offered_pex: false,
            client: None,
            listen: hello.outbound.then_some(hello.addr),
            upload_only: false,
            has: Has::Nothing,
            interesting: 0,
            opening: true,
            early: Early::default(),
            am_choking: true,
            am_interested: false,
            peer_choking: true,
            peer_interested: false,
            waiting: None,
            down: Down::new(now, limits),
            up: Up::new(now),
            connected: now,
            last_in: now,
            last_out: now,
            strikes: 0,
            chatter: f64::from(limits.chatter_burst),
            chatter_at: now,
            closing: false,
        }
    }

    /// Sends one message, if the connection is not being closed.
    pub fn send(&mut self, now: Time, message: Message, out: &mut impl Sink<Output>) {
        if !self.closing {
            self.last_out = now;
            out.put(Output::Send { conn: self.conn, message });
        }
    }

    /// Whether the peer has nothing more to get: it only uploads.
    pub fn is_seed(&self) -> bool {
        matches!(self.has, Has::All)
    }

    /// One message that is not data came: false if that was one too many.
    pub fn chatter_ok(&mut self, now: Time, limits: &Limits) -> bool {
        let refill = now.since(self.chatter_at).as_secs_f64() * f64::from(limits.chatter_per_sec);
        self.chatter = (self.chatter + refill).min(f64::from(limits.chatter_burst)) - 1.0;
        self.chatter_at = now;
        self.chatter >= 0.0
    }

    /// The peer has a piece, but is not to be asked for it for a while.
    pub fn note_refused(&mut self, piece: u32) {
        if self.down.refused.len() >= REFUSED_MAX {
            self.down.refused.remove(0);
        }
        self.down.refused.push(piece);
    }

    /// Bytes the driver may hold unsent for this peer.
    pub fn watermark(&self, limits: &Limits) -> u64 {
        (self.up.rate.get() / 2).clamp(limits.unsent_min, limits.unsent_max)
    }

    /// Whether it would finish a piece of `length` bytes alone in a few seconds.
    pub fn is_fast(&self, length: u32) -> bool {
        if self.down.snubbed {
            return false;
        }
        let rate = self.down.depth.rate();
        if rate == 0.0 { length <= 4 << 20 } else { rate * 8.0 >= f64::from(length) }
    }

    /// How many pieces of `length` bytes it works on in rotation, so that they can be
    /// hashed side by side. One at a rate at which that saves nothing, and at which a
    /// disk at the other end should read on where it is.
    pub fn width(&self, length: u32, limits: &Limits) -> usize {
        if self.down.parole || !self.is_fast(length) {
            return 1;
        }
        let times = self.down.depth.rate() / RATE_OF_PIECE;
        ((times * times) as usize).clamp(1, limits.own_pieces.max(1))
    }
}

impl Down {
    fn new(now: Time, limits: &Limits) -> Down {
        Down {
            queue: VecDeque::new(),
            depth: Depth::new(limits.requests_out_default.min(limits.requests_out)),
            rate: Rate::starting(now),
            own: VecDeque::new(),
            last_piece: None,
            heard: now,
            snubbed: false,
            allowed: Vec::new(),
            suggested: Vec::new(),
            refused: Vec::new(),
            taken_back: TakenBack::default(),
            starved: None,
            at_rechoke: 0,
            parole: false,
            endgame_at: Time::ZERO,
        }
    }

    /// Takes the request for `block` out of the queue.
    pub fn take(&mut self, block: &Block) -> Option<Asked> {
        if !block.begin.is_multiple_of(BLOCK_LENGTH) {
            return None;
        }
        let index = block.begin / BLOCK_LENGTH;
        let is = |a: &Asked| a.piece == block.piece && u32::from(a.index) == index;
        if self.queue.front().is_some_and(is) {
            return self.queue.pop_front();
        }
        let at = self.queue.iter().position(is)?;
        if let Some(front) = self.queue.front_mut() {
            front.overtaken = front.overtaken.saturating_add(1);
        }
        self.queue.remove(at)
    }
}

impl Up {
    fn new(now: Time) -> Up {
        Up {
            queue: VecDeque::new(),
            unsent: 0,
            rate: Rate::starting(now),
            allowed: Vec::new(),
            since: now,
            turn: 0,
            busy: now,
            allowance: None,
            revealed: Vec::new(),
            rejected: 0,
            wasted: false,
        }
    }
}

/// The connections of a torrent in slots that stay put, found by number.
#[derive(Debug, Default)]
pub(crate) struct Links {
    slots: Vec<Option<Box<Link>>>,
    vacant: Vec<u32>,
    by_conn: std::collections::BTreeMap<ConnId, u32>,
    last: Option<(ConnId, u32)>,
}

impl Links {
    /// Live connections.
    pub fn len(&self) -> usize {
        self.by_conn.len()
    }

    /// The slot of `conn`.
    pub fn slot_of(&mut self, conn: ConnId) -> Option<u32> {
        if let Some((last, slot)) = self.last
            && last == conn
        {
            return Some(slot);
        }
        let slot = *self.by_conn.get(&conn)?;
        self.last = Some((conn, slot));
        Some(slot)
    }

    /// Adds a connection; `None` if its number is taken.
    pub fn add(&mut self, conn: ConnId, make: impl FnOnce(u32) -> Link) -> Option<u32> {
        if self.by_conn.contains_key(&conn) {
            return None;
        }
        let slot = self.vacant.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() as u32 - 1
        });
        self.slots[slot as usize] = Some(Box::new(make(slot)));
        self.by_conn.insert(conn, slot);
        Some(slot)
    }

    /// Forgets a connection.
    pub fn remove(&mut self, conn: ConnId) -> Option<Box<Link>> {
        let slot = self.by_conn.remove(&conn)?;
        self.last = None;
        self.vacant.push(slot);
        self.slots.get_mut(slot as usize)?.take()
    }

    /// The connection with this number.
    pub fn find(&self, conn: ConnId) -> Option<&Link> {
        self.get(*self.by_conn.get(&conn)?)
    }

    pub fn get(&self, slot: u32) -> Option<&Link> {
        self.slots.get(slot as usize)?.as_deref()
    }

    pub fn get_mut(&mut self, slot: u32) -> Option<&mut Link> {
        self.slots.get_mut(slot as usize)?.as_deref_mut()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Link> {
        self.slots.iter().filter_map(|s| s.as_deref())
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Link> {
        self.slots.iter_mut().filter_map(|s| s.as_deref_mut())
    }

    /// One more than the highest slot in use.
    pub fn slots(&self) -> u32 {
        self.slots.len() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_connection_is_small() {
        assert!(size_of::<Link>() < 1024, "{} bytes", size_of::<Link>());
    }
}
