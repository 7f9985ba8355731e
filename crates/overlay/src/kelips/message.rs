//! What Kelips nodes say to each other.

use std::sync::Arc;

use crate::wire::{List, Malformed, Reader, Wire, Writer};
use crate::{Hit, Id, Purpose, Query, Record, RpcId, wire_enum};

/// Most membership entries in one gossip.
pub const MAX_ENTRIES: usize = 96;
/// Most tuples in one gossip, and in one part of a copied store: as many as fit into a
/// message beside the entries, however long their names are.
pub const MAX_TUPLES: usize = 12;
/// Most membership entries in one part of a copied view.
pub const MAX_PART: usize = 128;
/// Most hits in one answer.
pub const MAX_HITS: usize = 64;
/// Most peers that are referred to, and the size of a replica set that is told.
pub const MAX_REFERRED: usize = 8;

/// A membership entry: a peer, and how long ago it gave a heartbeat, in seconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seen<P> {
    /// Who.
    pub peer: P,
    /// Seconds since the youngest heartbeat that is known of it, rounded up.
    pub age: u16,
}

impl<P: Wire> Wire for Seen<P> {
    fn encode(&self, out: &mut impl Writer) {
        self.peer.encode(out);
        self.age.encode(out);
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Seen { peer: P::decode(input)?, age: u16::decode(input)? })
    }
}

/// A file tuple (section 2): that a home node has a record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tuple<P> {
    /// What the tuple is found by: the top 64 bits of the record's key, or of the hash of
    /// a word of its name.
    pub under: u64,
    /// The record. Nodes that share memory, as simulated ones do, share it: a whole group
    /// keeps the same.
    pub record: Arc<Record>,
    /// Who has it.
    pub home: P,
    /// The home node's heartbeat count for this record; a larger one is younger.
    pub beat: u32,
    /// Seconds since that heartbeat, rounded up.
    pub age: u16,
    /// False when the home node withdrew the record.
    pub live: bool,
}

impl<P: Wire> Wire for Tuple<P> {
    fn encode(&self, out: &mut impl Writer) {
        self.under.encode(out);
        self.record.encode(out);
        self.home.encode(out);
        self.beat.encode(out);
        self.age.encode(out);
        self.live.encode(out);
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Tuple {
            under: Wire::decode(input)?,
            record: Arc::new(Wire::decode(input)?),
            home: Wire::decode(input)?,
            beat: Wire::decode(input)?,
            age: Wire::decode(input)?,
            live: Wire::decode(input)?,
        })
    }
}

/// What a home node says of one of its own records. The home node is who sends it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Announcement {
    /// See [`Tuple::under`].
    pub under: u64,
    /// The record.
    pub record: Record,
    /// See [`Tuple::beat`].
    pub beat: u32,
    /// See [`Tuple::live`].
    pub live: bool,
}

impl Wire for Announcement {
    fn encode(&self, out: &mut impl Writer) {
        self.under.encode(out);
        self.record.encode(out);
        self.beat.encode(out);
        self.live.encode(out);
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Announcement {
            under: Wire::decode(input)?,
            record: Wire::decode(input)?,
            beat: Wire::decode(input)?,
            live: Wire::decode(input)?,
        })
    }
}

/// Where a tuple stands in a store: in the order of what it is found by.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub struct Place {
    /// [`Tuple::under`].
    pub under: u64,
    /// Tells apart the tuples there: a mixture of the record's key and the home node's id.
    pub tag: u64,
}

impl Wire for Place {
    fn encode(&self, out: &mut impl Writer) {
        self.under.encode(out);
        self.tag.encode(out);
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Place { under: u64::decode(input)?, tag: u64::decode(input)? })
    }
}

wire_enum! {
    /// A message.
    #[derive(Clone, PartialEq, Eq, Debug)]
    pub enum Message<P> {
        /// A part of what the sender knows (section 2.1). With `pull`, it asks for the
        /// same in return.
        1 => Gossip { entries: List<Seen<P>, MAX_ENTRIES>, tuples: List<Tuple<P>, MAX_TUPLES>, pull: bool },
        /// Asks for part number `part` of the receiver's view, to begin with it.
        2 => CopyView { rpc: RpcId, part: u16 },
        /// That part. Part 0 has whom the sender knows in the asker's own group.
        3 => View { rpc: RpcId, parts: u16, entries: List<Seen<P>, MAX_PART> },
        /// Asks a group mate for its tuples after a place.
        4 => CopyTuples { rpc: RpcId, after: Place },
        /// Those; with `more`, others follow them.
        5 => Tuples { rpc: RpcId, tuples: List<Tuple<P>, MAX_TUPLES>, more: bool },
        /// Who has the record of that key? Without the first `skip` of the answer.
        6 => LookUp { rpc: RpcId, key: Id, skip: u16 },
        /// Which records under the hash of that query's word number `word` match it?
        /// Without the first `skip` of the answer.
        7 => Search { rpc: RpcId, word: u8, query: Query, skip: u16 },
        /// Who is in that key's affinity group?
        8 => Find { rpc: RpcId, key: Id },
        /// What was found, and whether there is more. With `complete`, the sender has
        /// copied its group's tuples, so that nothing found means that there is nothing.
        9 => Answer { rpc: RpcId, why: Purpose, hits: List<Hit<P>, MAX_HITS>, more: bool, complete: bool },
        /// Members of the group that [`Message::Find`] asked for.
        10 => Group { rpc: RpcId, peers: List<P, MAX_REFERRED> },
        /// The sender is not of that group; these are, as far as it knows.
        11 => Refer { rpc: RpcId, why: Purpose, peers: List<P, MAX_REFERRED> },
        /// A heartbeat of a record, from its home node.
        12 => Announce { rpc: RpcId, what: Box<Announcement> },
        /// The announcement was taken; `beat` is the largest count known of the record.
        13 => Accepted { rpc: RpcId, beat: u32 },
        /// The sender leaves.
        14 => Leave { },
        /// The sender knows that the receiver leaves.
        15 => Gone { },
    }
}

impl<P: crate::Peer> crate::Message<P> for Message<P> {
    fn purpose(&self) -> Purpose {
        match self {
            Message::LookUp { .. } | Message::Find { .. } | Message::Group { .. } => Purpose::LookUp,
            Message::Search { .. } => Purpose::Search,
            Message::Announce { .. } | Message::Accepted { .. } => Purpose::Publish,
            Message::Answer { why, .. } | Message::Refer { why, .. } => *why,
            _ => Purpose::Maintenance,
        }
    }

    fn visit_peers(&mut self, visit: &mut dyn FnMut(&mut P)) {
        match self {
            Message::Gossip { entries, tuples, .. } => {
                entries.iter_mut().for_each(|entry| visit(&mut entry.peer));
                tuples.iter_mut().for_each(|tuple| visit(&mut tuple.home));
            }
            Message::View { entries, .. } => entries.iter_mut().for_each(|entry| visit(&mut entry.peer)),
            Message::Tuples { tuples, .. } => tuples.iter_mut().for_each(|tuple| visit(&mut tuple.home)),
            Message::Answer { hits, .. } => hits.iter_mut().for_each(|hit| visit(&mut hit.provider)),
            Message::Group { peers, .. } | Message::Refer { peers, .. } => peers.iter_mut().for_each(visit),
            _ => {}
        }
    }
}

impl<P: crate::Peer> Message<P> {
    /// The question's number, in an answer.
    pub(super) fn answers(&self) -> Option<RpcId> {
        match self {
            Message::View { rpc, .. }
            | Message::Tuples { rpc, .. }
            | Message::Answer { rpc, .. }
            | Message::Group { rpc, .. }
            | Message::Refer { rpc, .. }
            | Message::Accepted { rpc, .. } => Some(*rpc),
            _ => None,
        }
    }
}
