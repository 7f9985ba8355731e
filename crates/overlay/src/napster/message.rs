//! What clients and servers say to each other.

use crate::wire::{List, Malformed, Reader, Wire, Writer};
use crate::{Hit, Id, Peer, Purpose, Query, Record, RpcId, wire_enum};

/// Most servers that know of each other.
pub const MAX_SERVERS: usize = 16;
/// Clients of one server that may take the servers' place.
pub const HEIRS: usize = 3;
/// Most heirs that a client is told.
pub const MAX_HEIRS: usize = 8;
/// Most records in one message of a client.
pub const MAX_OFFERED: usize = 16;
/// Most changes in one message between servers.
pub const MAX_CHANGES: usize = 32;
/// Most hits in one answer.
pub const MAX_HITS: usize = 128;

/// What a server's client did, as the server tells the others.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change<P> {
    /// The client.
    pub client: P,
    /// Its life: how often it has registered, anywhere.
    pub life: u32,
    /// What it did.
    pub what: Did,
}

wire_enum! {
    /// What a client did.
    #[derive(Clone, PartialEq, Eq, Debug)]
    pub enum Did<> {
        /// It offers a record.
        1 => Offered { record: Record },
        /// It withdrew the record of that key.
        2 => Withdrew { key: Id },
        /// It is gone, and with it all that it had.
        3 => Vanished { },
    }
}

impl<P: Wire> Wire for Change<P> {
    fn encode(&self, out: &mut impl Writer) {
        self.client.encode(out);
        self.life.encode(out);
        self.what.encode(out);
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Change { client: Wire::decode(input)?, life: Wire::decode(input)?, what: Wire::decode(input)? })
    }
}

/// A place in a server's own part of the index: a client and a record's key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cursor<P>(pub P, pub Id);

impl<P: Wire> Wire for Cursor<P> {
    fn encode(&self, out: &mut impl Writer) {
        self.0.encode(out);
        self.1.encode(out);
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Cursor(Wire::decode(input)?, Wire::decode(input)?))
    }
}

wire_enum! {
    /// A message.
    #[derive(Clone, PartialEq, Eq, Debug)]
    pub enum Message<P> {
        /// Which servers are there?
        1 => Hello { rpc: RpcId },
        /// These.
        2 => Servers { rpc: RpcId, servers: List<P, MAX_SERVERS> },
        /// Be my server, in a life of at least that number.
        3 => Register { rpc: RpcId, life: u32 },
        /// So be it, in that life; these serve, and those would if all of them died.
        4 => Registered {
            rpc: RpcId,
            life: u32,
            servers: List<P, MAX_SERVERS>,
            heirs: Box<List<P, MAX_HEIRS>>,
        },
        /// I have these.
        5 => Offer { rpc: RpcId, records: List<Record, MAX_OFFERED> },
        /// Taken, but for these.
        6 => Offered { rpc: RpcId, refused: List<Id, MAX_OFFERED> },
        /// I no longer have these.
        7 => Withdraw { rpc: RpcId, keys: List<Id, MAX_OFFERED> },
        /// Done.
        8 => Withdrawn { rpc: RpcId },
        /// I am there, and you should have so many records of mine, with that digest.
        9 => Alive { rpc: RpcId, count: u32, digest: u64 },
        /// Noted; whether that is so, and which servers and heirs there are.
        10 => Noted {
            rpc: RpcId,
            agreed: bool,
            servers: List<P, MAX_SERVERS>,
            heirs: Box<List<P, MAX_HEIRS>>,
        },
        /// Who has the record of that key? Without the first `skip` of the answer.
        11 => LookUp { rpc: RpcId, key: Id, skip: u16 },
        /// Which records match? Without the first `skip` of the answer.
        12 => Search { rpc: RpcId, query: Query, skip: u16 },
        /// These, and whether there are more.
        13 => Answer { rpc: RpcId, search: bool, hits: List<Hit<P>, MAX_HITS>, more: bool },
        /// You are not registered here.
        14 => Unknown { rpc: RpcId },
        /// Too much.
        15 => Refused { rpc: RpcId },
        /// The client leaves.
        16 => Bye { },
        /// The server leaves; these remain.
        17 => Retire { servers: List<P, MAX_SERVERS> },
        /// Become a server beside these.
        18 => Appoint { token: u64, servers: List<P, MAX_SERVERS> },
        /// The server lives, in that epoch, and made so many changes; its heirs.
        19 => Beat {
            token: u64,
            epoch: u32,
            made: u64,
            servers: List<P, MAX_SERVERS>,
            heirs: Box<List<P, HEIRS>>,
        },
        /// Its changes from number `first` on, of `made`.
        20 => Changes { epoch: u32, first: u64, made: u64, changes: List<Change<P>, MAX_CHANGES> },
        /// Send me your changes from that number on.
        21 => Pull { epoch: u32, first: u64 },
        /// They are forgotten: copy.
        22 => Gap { epoch: u32 },
        /// Send me your part of the index after a place.
        23 => CopyIndex { rpc: RpcId, token: u64, after: Option<Cursor<P>> },
        /// Here, as it was after `made` changes; the client's life goes with each record.
        24 => Copied {
            rpc: RpcId,
            epoch: u32,
            made: u64,
            changes: List<Change<P>, MAX_CHANGES>,
            more: bool,
        },
    }
}

impl<P: Peer> crate::Message<P> for Message<P> {
    fn purpose(&self) -> Purpose {
        match self {
            Message::LookUp { .. } | Message::Answer { search: false, .. } => Purpose::LookUp,
            Message::Search { .. } | Message::Answer { search: true, .. } => Purpose::Search,
            Message::Offer { .. }
            | Message::Offered { .. }
            | Message::Withdraw { .. }
            | Message::Withdrawn { .. }
            | Message::Changes { .. } => Purpose::Publish,
            _ => Purpose::Maintenance,
        }
    }

    fn visit_peers(&mut self, visit: &mut dyn FnMut(&mut P)) {
        match self {
            Message::Servers { servers, .. }
            | Message::Retire { servers }
            | Message::Appoint { servers, .. } => servers.iter_mut().for_each(visit),
            Message::Registered { servers, heirs, .. } | Message::Noted { servers, heirs, .. } => {
                servers.iter_mut().chain(heirs.iter_mut()).for_each(visit);
            }
            Message::Beat { servers, heirs, .. } => {
                servers.iter_mut().chain(heirs.iter_mut()).for_each(visit);
            }
            Message::Answer { hits, .. } => hits.iter_mut().for_each(|hit| visit(&mut hit.provider)),
            Message::Changes { changes, .. } | Message::Copied { changes, .. } => {
                changes.iter_mut().for_each(|change| visit(&mut change.client));
            }
            Message::CopyIndex { after: Some(after), .. } => visit(&mut after.0),
            _ => {}
        }
    }
}

impl<P: Peer> Message<P> {
    /// The question's number, in an answer.
    pub(super) fn answers(&self) -> Option<RpcId> {
        match self {
            Message::Servers { rpc, .. }
            | Message::Registered { rpc, .. }
            | Message::Offered { rpc, .. }
            | Message::Withdrawn { rpc }
            | Message::Noted { rpc, .. }
            | Message::Answer { rpc, .. }
            | Message::Unknown { rpc }
            | Message::Refused { rpc }
            | Message::Copied { rpc, .. } => Some(*rpc),
            _ => None,
        }
    }
}
