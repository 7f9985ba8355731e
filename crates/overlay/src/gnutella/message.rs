//! What servents say to each other.
//!
//! Gnutella's five descriptors; its handshake, which on the old network was text over
//! TCP; and the walkers' three, after Lv et al. The bytes are this crate's, not those
//! of the old network.

use crate::wire::{List, Malformed, Reader, Wire, Writer};
use crate::{Id, Message as IsMessage, Purpose, Query, Record, RpcId, wire_enum};

/// Hosts in one message.
pub const MAX_HOSTS: usize = 10;
/// Records in one [`Message::QueryHit`]; a servent with more tells these.
pub const MAX_RECORDS_A_HIT: usize = 16;

/// Names a query; all its copies, hits and pushes carry it. Drawn by chance, but the
/// last bit is set in a search by words and clear in a look-up by key, so that costs
/// can be told apart.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct QueryId(pub u64);

impl QueryId {
    /// What it is for.
    pub fn purpose(self) -> Purpose {
        if self.0 & 1 == 1 { Purpose::Search } else { Purpose::LookUp }
    }
}

impl Wire for QueryId {
    fn encode(&self, out: &mut impl Writer) {
        self.0.encode(out);
    }

    fn decode(input: &mut Reader<'_>) -> Result<QueryId, Malformed> {
        u64::decode(input).map(QueryId)
    }
}

/// What a query asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum What {
    /// Who has this key?
    Key(Id),
    /// Who has records with these words? The origin writes them in lower case, one
    /// blank between two.
    Words(Query),
}

impl What {
    /// Whether `record` answers it.
    pub fn matches(&self, record: &Record) -> bool {
        match self {
            What::Key(key) => record.key == *key,
            What::Words(query) => query.matches(record),
        }
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        match self {
            What::Words(query) => query.text.len() + 2 * size_of::<usize>(),
            What::Key(_) => 0,
        }
    }
}

impl Wire for What {
    fn encode(&self, out: &mut impl Writer) {
        match self {
            What::Key(key) => {
                out.put(&[1]);
                key.encode(out);
            }
            What::Words(query) => {
                out.put(&[2]);
                query.encode(out);
            }
        }
    }

    fn decode(input: &mut Reader<'_>) -> Result<What, Malformed> {
        match u8::decode(input)? {
            1 => Id::decode(input).map(What::Key),
            2 => Query::decode(input).map(What::Words),
            other => Err(Malformed::Unknown(u64::from(other))),
        }
    }
}

/// A host, and how many seconds ago somebody heard it speak.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Heard<P> {
    /// The host.
    pub peer: P,
    /// Seconds.
    pub age: u16,
}

impl<P: Wire> Wire for Heard<P> {
    fn encode(&self, out: &mut impl Writer) {
        self.peer.encode(out);
        self.age.encode(out);
    }

    fn decode(input: &mut Reader<'_>) -> Result<Heard<P>, Malformed> {
        Ok(Heard { peer: P::decode(input)?, age: u16::decode(input)? })
    }
}

wire_enum! {
    /// A message of Gnutella.
    #[derive(Clone, PartialEq, Eq, Debug)]
    pub enum Message<P> {
        /// Are you there (`ttl` 1)? And whom do you know (`ttl` 2)?
        1 => Ping { rpc: RpcId, ttl: u8 },
        /// I am, and I know these.
        2 => Pong { rpc: RpcId, hosts: List<Heard<P>, MAX_HOSTS> },
        /// Who has this? Goes on to all neighbours while `ttl` is above 1; `hops` nodes
        /// have passed it on.
        3 => Query { id: QueryId, ttl: u8, hops: u8, what: What },
        /// `provider` has these. Goes back as the query came, `hops` nodes have passed
        /// it on; a walker's hit goes straight to the origin. With `push` the provider
        /// believes that it cannot be dialled.
        4 => QueryHit {
            id: QueryId, ttl: u8, hops: u16, push: bool, provider: P,
            records: List<Record, MAX_RECORDS_A_HIT>,
        },
        /// To `servent`, the way its hit came: speak to `to`, who cannot dial you.
        5 => Push { id: QueryId, ttl: u8, servent: P, to: P },
        /// What a push asks for: I speak, so my firewall lets you answer.
        6 => Giv { id: QueryId },
        /// Shall we be neighbours? I have `degree` so far.
        7 => Connect { rpc: RpcId, degree: u16 },
        /// We are.
        8 => Accept { rpc: RpcId, hosts: List<Heard<P>, MAX_HOSTS> },
        /// No, but try these.
        9 => Refuse { rpc: RpcId, hosts: List<Heard<P>, MAX_HOSTS> },
        /// We are no neighbours, or no longer. The first of `hosts` wants one.
        10 => Bye { hosts: List<Heard<P>, MAX_HOSTS> },
        /// A walker of `origin`, number `walker`: who has this? Goes on to one neighbour
        /// while `ttl` is above 1; `hops` nodes have passed it on.
        11 => Walk { id: QueryId, origin: P, walker: u8, ttl: u16, hops: u16, what: What },
        /// To the origin: this walker has `left` steps; shall it go on?
        12 => Check { id: QueryId, rpc: RpcId, walker: u8, left: u16 },
        /// Whether it shall.
        13 => Go { id: QueryId, rpc: RpcId, go: bool },
    }
}

impl<P: Wire + Clone + std::fmt::Debug> IsMessage<P> for Message<P> {
    fn purpose(&self) -> Purpose {
        match self {
            Message::Ping { .. } | Message::Pong { .. } => Purpose::Maintenance,
            Message::Connect { .. } | Message::Accept { .. } => Purpose::Maintenance,
            Message::Refuse { .. } | Message::Bye { .. } => Purpose::Maintenance,
            Message::Query { id, .. } | Message::QueryHit { id, .. } => id.purpose(),
            Message::Push { id, .. } | Message::Giv { id } => id.purpose(),
            Message::Walk { id, .. } | Message::Check { id, .. } | Message::Go { id, .. } => id.purpose(),
        }
    }

    fn visit_peers(&mut self, visit: &mut dyn FnMut(&mut P)) {
        match self {
            Message::Pong { hosts, .. }
            | Message::Accept { hosts, .. }
            | Message::Refuse { hosts, .. }
            | Message::Bye { hosts } => hosts.iter_mut().for_each(|host| visit(&mut host.peer)),
            Message::QueryHit { provider, .. } => visit(provider),
            Message::Push { servent, to, .. } => {
                visit(servent);
                visit(to);
            }
            Message::Walk { origin, .. } => visit(origin),
            _ => {}
        }
    }
}
