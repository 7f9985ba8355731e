//! Connections: set-up, the two streams, the access links at both ends, the end.
//!
//! A connection has two ends, numbered 2n (who dialled) and 2n + 1; `end ^ 1` is the other
//! side. Numbers are not used again: what is under way may still name them.

use std::net::SocketAddr;
use std::time::Duration;

use starling_session::Input;
use starling_swarm::{ConnId, Handshake, Message};

use super::disk::taking;
use super::host::{addr_of, host_of};
use super::pipe::{ACK_EVERY, Packet, Pipe, What};
use super::world::{Happening, World};

/// The first port that connections come from, and how many there are.
const PORTS: (u16, u16) = (32_768, 28_000);

/// Empty lists of packets that are kept for the next ones.
const SPARE: usize = 4_096;

/// What takes less is not worth an event of its own: uplinks plan so far ahead, and what
/// is small and finds a downlink idle is there at once.
const AHEAD: Duration = Duration::from_millis(1);

/// One side of a connection.
#[derive(Debug)]
pub struct End {
    /// Whose it is; none where nobody is.
    host: Option<usize>,
    /// As its session calls it.
    conn: ConnId,
    /// The session knows of it.
    open: bool,
    /// What it sends.
    pipe: Pipe,
    /// It stands in one of its host's queues for the uplink.
    queued: bool,
    /// Bytes it received and has not acknowledged.
    unacknowledged: u32,
    /// What is said first once the connection is set up.
    hello: Option<Handshake>,
    /// One way.
    delay: Duration,
}

impl World {
    /// A host connects: the first packet takes one way, the answer the other.
    pub(super) fn dial(&mut self, host: usize, conn: ConnId, to: SocketAddr, hello: Handshake) {
        let other = host_of(to.ip()).filter(|&other| other < self.hosts.len() && addr_of(other) == to);
        let delay = self.delay(host, other.unwrap_or(host));
        let buffer = self.setting.socket;
        let end = |host, conn, open, hello| End {
            host,
            conn,
            open,
            pipe: Pipe::new(buffer),
            queued: false,
            unacknowledged: 0,
            hello,
            delay,
        };
        let at = self.ends.len();
        self.ends.push(end(Some(host), conn, true, Some(hello)));
        self.ends.push(end(other, ConnId(0), false, None));
        self.hosts[host].conns.insert(conn, at);
        self.after(delay, Happening::Dialled { end: at });
    }

    /// The first packet is there.
    pub(super) fn dialled(&mut self, end: usize) {
        let delay = self.ends[end].delay;
        let there = self.ends[end ^ 1].host.filter(|&host| self.hosts[host].is_up());
        let (Some(host), Some(from)) = (there, self.ends[end].host) else {
            return self.after(delay, Happening::Refused { end });
        };
        let conn = self.hosts[host].session.new_conn();
        let theirs = &mut self.ends[end ^ 1];
        (theirs.conn, theirs.open) = (conn, true);
        self.hosts[host].conns.insert(conn, end ^ 1);
        let port = PORTS.0 + (end / 2 % usize::from(PORTS.1)) as u16;
        let addr = SocketAddr::new(addr_of(from).ip(), port);
        self.after(delay, Happening::Connected { end });
        self.input(host, Input::Accepted { conn, addr });
    }

    /// Who dialled knows that it may send.
    pub(super) fn connected(&mut self, end: usize) {
        if let Some(hello) = self.ends[end].hello.take().filter(|_| self.ends[end].open) {
            self.put(end, What::Handshake(hello));
        }
    }

    /// Nobody listens there.
    pub(super) fn refused(&mut self, end: usize) {
        let End { host, conn, open, .. } = self.ends[end];
        if let Some(host) = host.filter(|_| open) {
            self.forget(end);
            self.input(host, Input::Closed { conn });
        }
    }

    /// Appends to what an end sends.
    pub(super) fn put(&mut self, end: usize, what: What) {
        self.ends[end].pipe.put(what);
        self.flow(end);
    }

    /// Lets into an end's buffer what has room, tells its session so, and goes on sending.
    fn flow(&mut self, end: usize) {
        let e = &mut self.ends[end];
        let (bytes, conn, open) = (e.pipe.admit(), e.conn, e.open);
        let Some(host) = e.host else { return };
        if bytes > 0 && open {
            self.pending.push_back((host, Input::Sent { conn, bytes }));
        }
        self.queue_up(end);
        self.transmit(host);
    }

    /// Puts an end that may send into its host's queue.
    fn queue_up(&mut self, end: usize) {
        let e = &mut self.ends[end];
        let Some(host) = e.host.filter(|_| !e.queued && e.pipe.is_ready()) else { return };
        e.queued = true;
        let uplink = &mut self.hosts[host].uplink;
        if e.pipe.is_brief() { uplink.brief.push_back(end) } else { uplink.bulk.push_back(end) }
    }

    /// If the uplink is free, or will be in a moment, the next packets go.
    pub(super) fn transmit(&mut self, host: usize) {
        let rate = self.hosts[host].access.up;
        loop {
            let uplink = &mut self.hosts[host].uplink;
            if uplink.free >= self.now + AHEAD {
                break;
            }
            let Some(end) = uplink.brief.pop_front().or_else(|| uplink.bulk.pop_front()) else { break };
            let e = &mut self.ends[end];
            e.queued = false;
            let Some(packet) = e.pipe.next_packet(self.spare.pop().unwrap_or_default()) else { continue };
            uplink.free = uplink.free.max(self.now) + taking(packet.bytes.into(), rate);
            let arrives = uplink.free.since(self.now) + e.delay;
            self.after(arrives, Happening::Arrived { end: end ^ 1, packet });
            self.queue_up(end);
        }
        let uplink = &mut self.hosts[host].uplink;
        let more = !uplink.brief.is_empty() || !uplink.bulk.is_empty();
        if more && !uplink.waits {
            uplink.waits = true;
            let wait = uplink.free.since(self.now);
            self.after(wait, Happening::Free { host });
        }
    }

    /// The uplink is free again, and somebody waits for it.
    pub(super) fn free(&mut self, host: usize) {
        self.hosts[host].uplink.waits = false;
        self.transmit(host);
    }

    /// A packet has come to the far end's access link, which takes its time for it.
    pub(super) fn arrived(&mut self, end: usize, packet: Packet) {
        let Some(host) = self.ends[end].host else { return };
        let host = &mut self.hosts[host];
        let Some(rate) = host.access.down else { return self.received(end, packet) };
        let idle = host.down_free <= self.now;
        host.down_free = host.down_free.max(self.now) + taking(packet.bytes.into(), rate);
        let wait = host.down_free.since(self.now);
        if idle && wait < AHEAD {
            return self.received(end, packet);
        }
        self.after(wait, Happening::Received { end, packet });
    }

    /// A packet is there.
    pub(super) fn received(&mut self, end: usize, packet: Packet) {
        let e = &mut self.ends[end];
        e.unacknowledged += packet.bytes;
        if e.unacknowledged >= ACK_EVERY {
            let (bytes, delay) = (std::mem::take(&mut e.unacknowledged), e.delay);
            self.after(delay, Happening::Acknowledged { end: end ^ 1, bytes });
        }
        let mut items = packet.items;
        for what in items.drain(..) {
            let End { host, conn, open, .. } = self.ends[end];
            let Some(host) = host.filter(|_| open) else { break };
            let input = match what {
                What::Handshake(theirs) => Input::Handshake { conn, theirs },
                What::Message(message) => Input::Message { conn, message },
                What::Block(block, bytes) => {
                    self.hosts[host].incoming = Some(bytes);
                    Input::Message { conn, message: Message::Piece(block) }
                }
                What::End => {
                    self.forget(end);
                    Input::Closed { conn }
                }
            };
            self.input(host, input);
        }
        if self.spare.len() < SPARE {
            self.spare.push(items);
        }
    }

    /// The far end has got so much of what this one sent.
    pub(super) fn acknowledged(&mut self, end: usize, bytes: u32) {
        self.ends[end].pipe.acknowledged(bytes);
        self.flow(end);
        self.settle();
    }

    /// A session closes: what is in the socket's buffer is still sent.
    pub(super) fn close(&mut self, host: usize, conn: ConnId) {
        let Some(end) = self.hosts[host].conns.remove(conn) else { return };
        self.ends[end].open = false;
        self.ends[end].pipe.close();
        self.queue_up(end);
        self.transmit(host);
        self.pending.push_back((host, Input::Closed { conn }));
    }

    /// The other side is gone.
    fn forget(&mut self, end: usize) {
        let e = &mut self.ends[end];
        e.open = false;
        e.pipe.clear();
        if let Some(host) = e.host {
            self.hosts[host].conns.remove(e.conn);
        }
    }

    fn delay(&mut self, from: usize, to: usize) -> Duration {
        self.network.carry(self.now, from as u32, to as u32, &mut self.rng).unwrap_or_default()
    }
}
