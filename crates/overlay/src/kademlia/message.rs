//! What Kademlia nodes say to each other.

use crate::kademlia::table::MAX_K;
use crate::wire::{List, Malformed, Reader, Wire, Writer};
use crate::{Id, Message, Op, Purpose, RpcId, wire_enum};

/// Bytes of a routed payload at most.
pub const MAX_PAYLOAD: usize = 1024;

wire_enum! {
    /// A message of Kademlia. STORE is the locating layer's.
    #[derive(Clone, PartialEq, Eq, Debug)]
    pub enum KademliaMessage<P> {
        /// PING: are you there?
        1 => Ping { rpc: RpcId },
        /// I am.
        2 => Pong { rpc: RpcId },
        /// FIND_NODE, or FIND_VALUE as `why` says: who is closest to `key`? The receiver is
        /// node number `hops` on the path; `op` is what a holder of the value answers to.
        3 => Find { rpc: RpcId, key: Id, op: u32, hops: u8, why: Why },
        /// The closest that the sender knows, in no order, without the receiver.
        4 => Found { rpc: RpcId, peers: List<P, MAX_K>, why: Why },
        /// The sender leaves.
        5 => Leave {},
        /// A payload on its way to the root of a key.
        6 => Send { parcel: Box<Parcel> },
    }
}

/// What a find is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    /// To join, or to refresh a bucket.
    Maintenance,
    /// A user wants the nodes: FIND_NODE.
    Node,
    /// A user wants a value if there is one on the way: FIND_VALUE.
    Value,
}

/// A routed payload.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Parcel {
    /// The key.
    pub key: Id,
    /// Nodes on the path, the receiver included.
    pub hops: u8,
    /// The application's bytes.
    pub payload: List<u8, MAX_PAYLOAD>,
}

impl Wire for Why {
    fn encode(&self, out: &mut impl Writer) {
        (*self as u8).encode(out);
    }

    fn decode(input: &mut Reader<'_>) -> Result<Why, Malformed> {
        match u8::decode(input)? {
            0 => Ok(Why::Maintenance),
            1 => Ok(Why::Node),
            2 => Ok(Why::Value),
            other => Err(Malformed::Unknown(u64::from(other))),
        }
    }
}

impl Wire for Parcel {
    fn encode(&self, out: &mut impl Writer) {
        self.key.encode(out);
        self.hops.encode(out);
        self.payload.encode(out);
    }

    fn decode(input: &mut Reader<'_>) -> Result<Parcel, Malformed> {
        Ok(Parcel { key: Wire::decode(input)?, hops: Wire::decode(input)?, payload: Wire::decode(input)? })
    }
}

impl<P: Wire + Clone + std::fmt::Debug> Message<P> for KademliaMessage<P> {
    fn purpose(&self) -> Purpose {
        match self {
            KademliaMessage::Find { why, .. } | KademliaMessage::Found { why, .. } => match why {
                Why::Maintenance => Purpose::Maintenance,
                Why::Node | Why::Value => Purpose::LookUp,
            },
            KademliaMessage::Send { .. } => Purpose::LookUp,
            _ => Purpose::Maintenance,
        }
    }

    fn find(&self) -> Option<Op> {
        match *self {
            KademliaMessage::Find { op, why: Why::Node | Why::Value, .. } => Some(Op(op)),
            _ => None,
        }
    }

    fn visit_peers(&mut self, visit: &mut dyn FnMut(&mut P)) {
        if let KademliaMessage::Found { peers, .. } = self {
            peers.iter_mut().for_each(visit);
        }
    }
}
