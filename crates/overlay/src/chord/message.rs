//! What Chord's nodes say to each other.

use bytes::Bytes;

use super::config::{MAX_FINGERS, MAX_PAYLOAD, MAX_SUCCESSORS};
use crate::wire::{List, Malformed, Reader, Wire, Writer};
use crate::{Id, Op, Purpose, RpcId, wire_enum};

/// Peers in a [`Few`] at most.
pub const FEW: usize = 4;

wire_enum! {
    /// A message. An answer repeats its question's number, and its aim if it has one,
    /// so that costs can be told apart.
    #[derive(Clone, PartialEq, Eq, Debug)]
    pub enum Message<P> {
        /// Who is closest before `key`, or its root? With `last`, the one asked is
        /// supposed to be the root. With `skip`, whom it named is silent: only who is
        /// before the key, after the first so many. `hops`: nodes on the path so far,
        /// this one included.
        1 => Ask { rpc: RpcId, key: Id, op: u32, aim: Aim, last: bool, skip: Option<u8>, hops: u8 },
        /// These precede the key, closest first.
        2 => Next { rpc: RpcId, aim: Aim, peers: Few<P> },
        /// The key is between this node and its successors: the first of these is
        /// its root, the others take its place if it is gone.
        3 => Last { rpc: RpcId, aim: Aim, peers: List<P, MAX_SUCCESSORS> },
        /// This node is the root, and these are the other replicas; unless `before`,
        /// its predecessor, which is not before the key either, is.
        4 => Root { rpc: RpcId, aim: Aim, before: Option<P>, replicas: List<P, MAX_SUCCESSORS> },
        /// Zave's query: your successor list and predecessor? `known`: the version of
        /// the list that the sender has, or 0. The sender's predecessors come along.
        5 => GetList { rpc: RpcId, known: u32, predecessors: Few<P> },
        /// The list has not changed since that version.
        6 => Same { rpc: RpcId, predecessor: Option<P> },
        /// The successor list, its version, and the predecessor.
        7 => Successors { rpc: RpcId, version: u32, predecessor: Option<P>, list: List<P, MAX_SUCCESSORS> },
        /// The sender is, as far as it knows, your predecessor: rectify.
        8 => Notify { predecessors: Few<P> },
        /// Are you there?
        9 => Ping { rpc: RpcId },
        /// I am.
        10 => Pong { rpc: RpcId },
        /// Your fingers? A node that has joined takes its successor's as hints.
        11 => GetTable { rpc: RpcId },
        /// The fingers.
        12 => Table { rpc: RpcId, fingers: List<P, MAX_FINGERS> },
        /// The sender leaves; who stood before and after it.
        13 => Leave { predecessor: Option<P>, list: List<P, MAX_SUCCESSORS> },
        /// Carry this towards its key's root, and say that you do.
        14 => Carry { rpc: RpcId, carried: Box<Carried<P>> },
        /// I do.
        15 => Ack { rpc: RpcId },
        /// To the asking node of a recursive find: the replica set, the sender first.
        16 => Found { rpc: RpcId, hops: u8, timeouts: u8, peers: List<P, MAX_SUCCESSORS> },
        /// To who was the sender's predecessor: somebody stands between, stabilize.
        17 => Superseded {},
        /// To [`Message::Carry`]: I cannot, somebody else shall. The sender lives.
        18 => Nack { rpc: RpcId },
        /// To the asking node of a recursive find: it came to a node that finds nobody to
        /// carry it on.
        19 => Lost { rpc: RpcId, timeouts: u8 },
        /// To the asking node of a recursive find: somebody on the way was waited for in
        /// vain, and the sender goes around.
        20 => Detour { rpc: RpcId },
    }
}

/// What a find is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Aim {
    /// A user wants the replica set.
    Key,
    /// The same, or a value from anyone on the way.
    Value,
    /// A node wants to stand there: it needs the predecessor's whole successor list.
    Join,
    /// A finger.
    Finger,
}

/// At most [`FEW`] peers, in place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Few<P>([Option<P>; FEW]);

impl<P: Copy> Few<P> {
    /// Nobody.
    pub const NONE: Few<P> = Few([None; FEW]);

    /// The first.
    pub fn first(&self) -> Option<P> {
        self.0[0]
    }

    /// All, in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = P> {
        self.0.into_iter().flatten()
    }
}

impl<P: Copy> FromIterator<P> for Few<P> {
    /// The first [`FEW`] of them.
    fn from_iter<I: IntoIterator<Item = P>>(peers: I) -> Self {
        let mut few = Few::NONE;
        few.0.iter_mut().zip(peers).for_each(|(place, peer)| *place = Some(peer));
        few
    }
}

impl<P: Wire> Wire for Few<P> {
    fn encode(&self, out: &mut impl Writer) {
        (self.0.iter().flatten().count() as u8).encode(out);
        self.0.iter().flatten().for_each(|peer| peer.encode(out));
    }

    fn decode(input: &mut Reader<'_>) -> Result<Few<P>, Malformed> {
        let count = usize::from(u8::decode(input)?);
        if count > FEW {
            return Err(Malformed::TooMany(count, FEW));
        }
        let mut few = Few([const { None }; FEW]);
        for place in few.0.iter_mut().take(count) {
            *place = Some(P::decode(input)?);
        }
        Ok(few)
    }
}

/// A message that goes from node to node to its key's root.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Carried<P> {
    /// Where to.
    pub key: Id,
    /// Who sent it first.
    pub origin: P,
    /// Nodes on the path after the origin, the receiver included.
    pub hops: u8,
    /// Nodes on the path that did not answer.
    pub timeouts: u8,
    /// Whether the sender takes the receiver for the root.
    pub last: bool,
    /// What it is.
    pub body: Body,
}

/// What is carried.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Body {
    /// A recursive find: its number at the origin, and the operation.
    Find {
        /// The question's number.
        rpc: RpcId,
        /// The operation, as the origin's user named it.
        op: u32,
        /// Whether a value on the way is wanted.
        values: bool,
    },
    /// An application's bytes.
    Payload(Bytes),
}

impl<P> super::super::Message<P> for Message<P>
where
    P: crate::Peer,
{
    fn purpose(&self) -> Purpose {
        use Message::*;
        match self {
            Ask { aim, .. } | Next { aim, .. } | Last { aim, .. } | Root { aim, .. } => match aim {
                Aim::Key | Aim::Value => Purpose::LookUp,
                Aim::Join | Aim::Finger => Purpose::Maintenance,
            },
            Carry { .. } | Ack { .. } | Nack { .. } | Found { .. } | Lost { .. } | Detour { .. } => {
                Purpose::LookUp
            }
            _ => Purpose::Maintenance,
        }
    }

    fn find(&self) -> Option<Op> {
        match self {
            Message::Ask { op, aim: Aim::Key | Aim::Value, .. } => Some(Op(*op)),
            Message::Carry { carried, .. } => match carried.body {
                Body::Find { op, .. } => Some(Op(op)),
                _ => None,
            },
            _ => None,
        }
    }

    fn visit_peers(&mut self, visit: &mut dyn FnMut(&mut P)) {
        use Message::*;
        match self {
            Next { peers, .. } | GetList { predecessors: peers, .. } | Notify { predecessors: peers } => {
                peers.0.iter_mut().flatten().for_each(visit);
            }
            Last { peers, .. } | Found { peers, .. } => peers.iter_mut().for_each(visit),
            Root { before: one, replicas: list, .. }
            | Successors { predecessor: one, list, .. }
            | Leave { predecessor: one, list } => one.iter_mut().chain(list.iter_mut()).for_each(visit),
            Same { predecessor, .. } => predecessor.iter_mut().for_each(visit),
            Table { fingers, .. } => fingers.iter_mut().for_each(visit),
            Carry { carried, .. } => visit(&mut carried.origin),
            Ask { .. } | Ping { .. } | Pong { .. } | GetTable { .. } | Superseded {} => {}
            Ack { .. } | Nack { .. } | Lost { .. } | Detour { .. } => {}
        }
    }
}

impl Wire for Aim {
    fn encode(&self, out: &mut impl Writer) {
        (*self as u8).encode(out);
    }

    fn decode(input: &mut Reader<'_>) -> Result<Aim, Malformed> {
        let aims = [Aim::Key, Aim::Value, Aim::Join, Aim::Finger];
        let number = u8::decode(input)?;
        aims.get(usize::from(number)).copied().ok_or(Malformed::Unknown(u64::from(number)))
    }
}

impl<P: Wire> Wire for Carried<P> {
    fn encode(&self, out: &mut impl Writer) {
        self.key.encode(out);
        self.origin.encode(out);
        self.hops.encode(out);
        self.timeouts.encode(out);
        self.last.encode(out);
        self.body.encode(out);
    }

    fn decode(input: &mut Reader<'_>) -> Result<Carried<P>, Malformed> {
        Ok(Carried {
            key: Id::decode(input)?,
            origin: P::decode(input)?,
            hops: u8::decode(input)?,
            timeouts: u8::decode(input)?,
            last: bool::decode(input)?,
            body: Body::decode(input)?,
        })
    }
}

impl Wire for Body {
    fn encode(&self, out: &mut impl Writer) {
        match self {
            Body::Find { rpc, op, values } => {
                out.put(&[0]);
                rpc.encode(out);
                op.encode(out);
                values.encode(out);
            }
            Body::Payload(bytes) => {
                out.put(&[1]);
                let bytes = &bytes[..bytes.len().min(MAX_PAYLOAD)];
                (bytes.len() as u16).encode(out);
                out.put(bytes);
            }
        }
    }

    fn decode(input: &mut Reader<'_>) -> Result<Body, Malformed> {
        match u8::decode(input)? {
            0 => Ok(Body::Find {
                rpc: RpcId::decode(input)?,
                op: u32::decode(input)?,
                values: bool::decode(input)?,
            }),
            1 => {
                let length = usize::from(u16::decode(input)?);
                if length > MAX_PAYLOAD {
                    return Err(Malformed::TooMany(length, MAX_PAYLOAD));
                }
                Ok(Body::Payload(Bytes::copy_from_slice(input.take(length)?)))
            }
            other => Err(Malformed::Unknown(u64::from(other))),
        }
    }
}
