//! What leaves and super-peers say to each other.

use crate::gnutella::{QueryId, What};
use crate::wire::{List, Wire};
use crate::{Hit, Id, Message as IsMessage, Purpose, Record, RpcId, wire_enum};

/// Super-peers named in one message.
pub const MAX_NAMED: usize = 10;
/// Records in one message.
pub const MAX_BATCH: usize = 16;

wire_enum! {
    /// A message of FastTrack.
    #[derive(Clone, PartialEq, Eq, Debug)]
    pub enum Message<P> {
        /// Will you be my super-peer? I say that I can bear so much.
        1 => Attach { rpc: RpcId, capacity: u8 },
        /// I am; these are spare ones, or would be if I died.
        2 => Attached { rpc: RpcId, supers: List<P, MAX_NAMED> },
        /// To [`Message::Attach`] and [`Message::Link`]: no, but try these.
        3 => Redirect { rpc: RpcId, supers: List<P, MAX_NAMED> },
        /// To one's super-peer: I have these, and those no longer.
        4 => Share { rpc: RpcId, records: List<Record, MAX_BATCH>, withdrawn: List<Id, MAX_BATCH> },
        /// They are in, or out of, the index.
        5 => Shared { rpc: RpcId },
        /// Are you there?
        6 => Ping { rpc: RpcId },
        /// I am, with `load` leaves, and know these super-peers.
        7 => Pong { rpc: RpcId, load: u16, supers: List<P, MAX_NAMED> },
        /// Who has this? From a leaf, or from another super-peer for `ttl` more links.
        8 => Query { id: QueryId, ttl: u8, what: What },
        /// These were found; goes back as the query came, `hops` nodes have passed it
        /// on. An empty one tells a leaf that its query is on its way.
        9 => Hits { id: QueryId, hops: u8, hits: List<Hit<P>, MAX_BATCH> },
        /// To the provider: do you have it? (Where a download would begin.)
        10 => Fetch { rpc: RpcId, id: QueryId, key: Id },
        /// Whether I have it.
        11 => Fetched { rpc: RpcId, id: QueryId, has: bool },
        /// The way the hit came, to the super-peer of `provider`: it had what it promised.
        12 => Vouch { id: QueryId, ttl: u8, provider: P },
        /// Super-peer to super-peer: shall we be neighbours?
        13 => Link { rpc: RpcId },
        /// We are; I know these others.
        14 => Linked { rpc: RpcId, supers: List<P, MAX_NAMED> },
        /// To a leaf: become a super-peer.
        15 => Promote { rpc: RpcId, supers: List<P, MAX_NAMED> },
        /// Whether I did.
        16 => Promoted { rpc: RpcId, done: bool },
        /// I am nothing to you, or no longer; try these, the first one first.
        17 => Bye { supers: List<P, MAX_NAMED> },
    }
}

impl<P: Wire + Clone + std::fmt::Debug> IsMessage<P> for Message<P> {
    fn purpose(&self) -> Purpose {
        match self {
            Message::Share { .. } | Message::Shared { .. } => Purpose::Publish,
            Message::Query { id, .. } | Message::Hits { id, .. } => id.purpose(),
            Message::Fetch { id, .. } | Message::Fetched { id, .. } => id.purpose(),
            Message::Vouch { id, .. } => id.purpose(),
            _ => Purpose::Maintenance,
        }
    }

    fn visit_peers(&mut self, visit: &mut dyn FnMut(&mut P)) {
        match self {
            Message::Attached { supers, .. }
            | Message::Redirect { supers, .. }
            | Message::Pong { supers, .. }
            | Message::Linked { supers, .. }
            | Message::Promote { supers, .. }
            | Message::Bye { supers } => supers.iter_mut().for_each(visit),
            Message::Hits { hits, .. } => hits.iter_mut().for_each(|hit| visit(&mut hit.provider)),
            Message::Vouch { provider, .. } => visit(provider),
            _ => {}
        }
    }
}
