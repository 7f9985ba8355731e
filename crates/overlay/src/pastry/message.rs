//! What Pastry nodes say to each other.

use bytes::Bytes;

use crate::wire::{List, Malformed, Reader, Wire, Writer};
use crate::{Id, Message, Op, Peer, Purpose, RpcId, wire_enum};

/// Largest leaf set.
pub const MAX_LEAF: usize = 64;
/// Peers of one answer's rows: of a newcomer's first rows, or a row of digits of 8 bits.
pub const MAX_ROWS: usize = 256;
/// Nodes in the answer to a find.
pub const MAX_SET: usize = MAX_LEAF / 2 + 1;
/// Bytes of a payload that is routed.
pub const MAX_PAYLOAD: usize = 1200;

wire_enum! {
    /// A message of Pastry. Those that travel hop by hop carry the number that the
    /// receiver's `Ack` repeats.
    #[derive(Clone, PartialEq, Eq, Debug)]
    pub enum PastryMessage<P> {
        /// Recursive: pass this on towards its key.
        1 => Find { rpc: RpcId, find: Find<P> },
        /// A message that travels has arrived one hop further.
        2 => Ack { rpc: RpcId },
        /// The root answers the origin of a `Find`: the replica set, itself first.
        3 => Found { op: u32, nonce: u32, hops: u16, timeouts: u16, set: List<P, MAX_SET> },
        /// Iterative: where would you pass a find on to?
        4 => Ask { rpc: RpcId, op: u32, key: Id, hops: u16, values: bool },
        /// There; or, from the root, the replica set.
        5 => Next { rpc: RpcId, root: bool, peers: List<P, MAX_SET> },
        /// Pass these bytes on towards their key.
        6 => Carry { rpc: RpcId, parcel: Box<Parcel> },
        /// Pass this on towards the newcomer's own id.
        7 => Join { rpc: RpcId, join: Join<P> },
        /// A node on the way shows the newcomer rows of its table.
        8 => JoinRows { nonce: u32, peers: List<P, MAX_ROWS> },
        /// The root shows the newcomer its leaf set.
        9 => JoinLeaf { nonce: u32, leaf: List<P, MAX_LEAF> },
        /// I am here, with this leaf set. What is yours?
        10 => LeafAsk { rpc: RpcId, leaf: List<P, MAX_LEAF> },
        /// This.
        11 => LeafAnswer { rpc: RpcId, leaf: List<P, MAX_LEAF> },
        /// What is that row of your table?
        12 => RowAsk { rpc: RpcId, row: u8 },
        /// This.
        13 => RowAnswer { rpc: RpcId, peers: List<P, MAX_ROWS> },
        /// I am here. Are you?
        14 => Ping { rpc: RpcId },
        /// I am.
        15 => Pong { rpc: RpcId },
        /// That neighbour of ours does not answer me.
        16 => Gone { peer: P },
        /// I leave; these were my leaf set.
        17 => Bye { leaf: List<P, MAX_LEAF> },
    }
}

/// A find on its way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Find<P> {
    /// What is looked for.
    pub key: Id,
    /// Who looks for it.
    pub origin: P,
    /// Its operation.
    pub op: u32,
    /// What only those on the way know.
    pub nonce: u32,
    /// Nodes after the origin, the receiver included.
    pub hops: u16,
    /// Nodes that did not take it.
    pub timeouts: u16,
    /// Whether a node on the way may answer with values.
    pub values: bool,
}

/// A payload on its way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Parcel {
    /// Where to.
    pub key: Id,
    /// What.
    pub payload: Bytes,
    /// As in [`Find`].
    pub hops: u16,
    /// As in [`Find`].
    pub timeouts: u16,
}

/// A newcomer's request on its way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Join<P> {
    /// Who joins.
    pub newcomer: P,
    /// What only those on the way know.
    pub nonce: u32,
    /// As in [`Find`].
    pub hops: u16,
    /// The first row that the newcomer was not shown yet.
    pub row: u8,
}

macro_rules! wire_struct {
    ($name:ident { $($field:ident),* }) => {
        impl<P: Wire> Wire for $name<P> {
            fn encode(&self, out: &mut impl Writer) {
                $( self.$field.encode(out); )*
            }

            fn decode(input: &mut Reader<'_>) -> Result<Self, Malformed> {
                Ok($name { $( $field: Wire::decode(input)? ),* })
            }
        }
    };
}
wire_struct!(Find { key, origin, op, nonce, hops, timeouts, values });
wire_struct!(Join { newcomer, nonce, hops, row });

impl Wire for Parcel {
    fn encode(&self, out: &mut impl Writer) {
        self.key.encode(out);
        self.hops.encode(out);
        self.timeouts.encode(out);
        let length = self.payload.len().min(MAX_PAYLOAD);
        (length as u16).encode(out);
        out.put(&self.payload[..length]);
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, Malformed> {
        let (key, hops, timeouts) = (Wire::decode(input)?, Wire::decode(input)?, Wire::decode(input)?);
        let length = usize::from(u16::decode(input)?);
        if length > MAX_PAYLOAD {
            return Err(Malformed::TooMany(length, MAX_PAYLOAD));
        }
        Ok(Parcel { key, payload: Bytes::copy_from_slice(input.take(length)?), hops, timeouts })
    }
}

impl<P: Peer> Message<P> for PastryMessage<P> {
    fn purpose(&self) -> Purpose {
        match self {
            PastryMessage::Find { .. }
            | PastryMessage::Ack { .. }
            | PastryMessage::Found { .. }
            | PastryMessage::Ask { .. }
            | PastryMessage::Next { .. }
            | PastryMessage::Carry { .. } => Purpose::LookUp,
            _ => Purpose::Maintenance,
        }
    }

    fn find(&self) -> Option<Op> {
        match self {
            PastryMessage::Find { find, .. } => Some(Op(find.op)),
            PastryMessage::Ask { op, .. } => Some(Op(*op)),
            _ => None,
        }
    }

    fn visit_peers(&mut self, visit: &mut dyn FnMut(&mut P)) {
        match self {
            PastryMessage::Find { find, .. } => visit(&mut find.origin),
            PastryMessage::Join { join, .. } => visit(&mut join.newcomer),
            PastryMessage::Gone { peer } => visit(peer),
            PastryMessage::Found { set, .. } | PastryMessage::Next { peers: set, .. } => {
                set.iter_mut().for_each(visit);
            }
            PastryMessage::JoinRows { peers, .. } | PastryMessage::RowAnswer { peers, .. } => {
                peers.iter_mut().for_each(visit);
            }
            PastryMessage::JoinLeaf { leaf, .. }
            | PastryMessage::LeafAsk { leaf, .. }
            | PastryMessage::LeafAnswer { leaf, .. }
            | PastryMessage::Bye { leaf } => leaf.iter_mut().for_each(visit),
            PastryMessage::Ack { .. }
            | PastryMessage::Ask { .. }
            | PastryMessage::Carry { .. }
            | PastryMessage::RowAsk { .. }
            | PastryMessage::Ping { .. }
            | PastryMessage::Pong { .. } => {}
        }
    }
}
