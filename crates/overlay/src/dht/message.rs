//! What nodes of a [`super::Dht`] say to each other.

use crate::wire::{List, Malformed, Reader, Wire, Writer};
use crate::{Id, Message, Peer, Purpose, Query, Record, RpcId, wire_enum};

/// Postings in one message at most.
pub const MAX_POSTINGS: usize = 48;

/// Withdrawals in one message at most: a datagram's worth.
pub const MAX_GONE: usize = 27;

/// Bytes of postings in one message, unless a single one is larger.
pub const POSTINGS_BYTES: usize = 1100;

wire_enum! {
    /// A message of the routing below, or of the postings above it.
    #[derive(Clone, PartialEq, Eq, Debug)]
    pub enum DhtMessage<P, M> {
        /// For the routing core. `cause`: what a find that it belongs to is for.
        1 => Routing { cause: Purpose, message: M },
        /// The sender has a record: keep that under a key.
        2 => Put { rpc: RpcId, put: Box<Put> },
        /// The sender no longer has some records.
        3 => Drop { rpc: RpcId, items: List<Gone, MAX_GONE> },
        /// Postings that the receiver shall keep too, or instead.
        4 => Hand { rpc: RpcId, items: List<Handed<P>, MAX_POSTINGS> },
        /// Answers the three above: whether the receiver keeps (or dropped) all of it.
        5 => Stored { rpc: RpcId, kept: bool },
        /// Who has the record of that key?
        6 => Get { op: u32, key: Id },
        /// Answers `Get`, or a find that would take values, `hops` nodes from its origin.
        7 => Values { op: u32, hops: u32, values: List<Shown<P>, MAX_POSTINGS> },
        /// Who has records that match?
        8 => Search { op: u32, ask: Box<Ask> },
        /// Answers `Search`: matches, and whether there are more.
        9 => Matches { op: u32, more: bool, values: List<Shown<P>, MAX_POSTINGS> },
    }
}

impl<P, M> DhtMessage<P, M> {
    /// What it has for the routing core.
    pub fn routing(&self) -> Option<&M> {
        match self {
            DhtMessage::Routing { message, .. } => Some(message),
            _ => None,
        }
    }
}

/// A record to be kept under a key: its own, or the hash of a word of its name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Put {
    /// Under which key.
    pub under: Id,
    /// What the sender has.
    pub record: Record,
}

/// A record that its provider withdraws from under a key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Gone {
    /// Under which key.
    pub under: Id,
    /// The record's key.
    pub what: Id,
}

/// A search at the holder of a word's postings.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ask {
    /// The hash of the word.
    pub under: Id,
    /// What must match.
    pub query: Query,
    /// Matches that the origin already has.
    pub skip: u16,
}

/// A posting as one who asked sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shown<P> {
    /// What.
    pub record: Record,
    /// Who has it.
    pub provider: P,
}

/// A posting handed from one node that keeps it to another.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Handed<P> {
    /// Under which key.
    pub under: Id,
    /// Until it expires, in seconds.
    pub left_s: u32,
    /// What, and who has it.
    pub shown: Shown<P>,
}

macro_rules! wire_struct {
    ($name:ident<$($param:ident),*> { $($field:ident),* }) => {
        impl<$($param: Wire),*> Wire for $name<$($param),*> {
            fn encode(&self, out: &mut impl Writer) {
                $( self.$field.encode(out); )*
            }

            fn decode(input: &mut Reader<'_>) -> Result<Self, Malformed> {
                Ok($name { $( $field: Wire::decode(input)? ),* })
            }
        }
    };
}
wire_struct!(Put<> { under, record });
wire_struct!(Gone<> { under, what });
wire_struct!(Ask<> { under, query, skip });
wire_struct!(Shown<P> { record, provider });
wire_struct!(Handed<P> { under, left_s, shown });

impl<P: Peer, M: Message<P>> Message<P> for DhtMessage<P, M> {
    fn purpose(&self) -> Purpose {
        match self {
            DhtMessage::Routing { cause, message } => match message.purpose() {
                Purpose::LookUp => *cause,
                other => other,
            },
            DhtMessage::Get { .. } | DhtMessage::Values { .. } => Purpose::LookUp,
            DhtMessage::Search { .. } | DhtMessage::Matches { .. } => Purpose::Search,
            _ => Purpose::Publish,
        }
    }

    fn visit_peers(&mut self, visit: &mut dyn FnMut(&mut P)) {
        match self {
            DhtMessage::Routing { message, .. } => message.visit_peers(visit),
            DhtMessage::Hand { items, .. } => items.iter_mut().for_each(|one| visit(&mut one.shown.provider)),
            DhtMessage::Values { values, .. } | DhtMessage::Matches { values, .. } => {
                values.iter_mut().for_each(|one| visit(&mut one.provider));
            }
            _ => {}
        }
    }
}
