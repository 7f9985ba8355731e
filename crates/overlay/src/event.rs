//! What an overlay is told to do, and what it tells.

use bytes::Bytes;

use crate::wire::{MAX_TEXT, Malformed, Reader, Wire, Writer};
use crate::{Host, Id, Offence, Query, Record};

/// An operation, as the driver numbers them; a number is free again after its
/// [`Event::Done`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Op(pub u32);

/// What the locating layer is told to do.
#[derive(Clone, Debug)]
pub enum Command<P> {
    /// Join through a peer that is in the overlay; without one, begin a new overlay.
    Join(Option<P>),
    /// Leave, and hand over what is kept for others.
    Leave,
    /// Tell the overlay that this node has `record`, until it is withdrawn. A name of more
    /// than [`MAX_TEXT`] bytes is [`Offence::OutOfRange`], one record too many
    /// [`Offence::Full`]; then what was published under that key before stays.
    Publish(Record),
    /// This node no longer has the record of that key.
    Withdraw(Id),
    /// Who has the record of that key?
    LookUp(Op, Id),
    /// Who has records with all these words in their name? A text of more than
    /// [`MAX_TEXT`] bytes is refused.
    Search(Op, Query),
    /// Which nodes are responsible for that key (structured overlays only)?
    Find(Op, Id),
}

impl<P> Command<P> {
    /// The command; one with a text that no message holds is refused instead.
    pub(crate) fn sayable<M>(self, host: &mut impl Host<P, M, Event<P>>) -> Option<Self> {
        match self {
            Command::Publish(record) if record.name.len() > MAX_TEXT => {
                host.refuse(None, Offence::OutOfRange);
                None
            }
            Command::Search(op, query) if query.text.len() > MAX_TEXT => {
                host.emit(Event::Done { op, outcome: Outcome::Refused, cost: Cost::default() });
                None
            }
            command => Some(command),
        }
    }
}

/// What the locating layer tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<P> {
    /// This node takes part now.
    Joined,
    /// This node takes no part any more; what it said last is on its way.
    Left,
    /// A look-up or search found these; more may follow.
    Hits {
        /// The operation.
        op: Op,
        /// What was found, and who has it.
        hits: Vec<Hit<P>>,
    },
    /// A find came upon these nodes, the most responsible first.
    Closest {
        /// The operation.
        op: Op,
        /// At most as many as a replica set has.
        peers: Vec<P>,
    },
    /// The operation is over.
    Done {
        /// The operation.
        op: Op,
        /// How it ended.
        outcome: Outcome,
        /// What it took.
        cost: Cost,
    },
    /// A neighbour came or went (Dabek's `update`).
    Update {
        /// Which one.
        peer: P,
        /// Whether it came.
        joined: bool,
    },
    /// The overlay is smaller than its protocol needs to be safe (Chord: fewer than
    /// r + 1 members); it works, but not through failures.
    TooSmall {
        /// Members that would be enough.
        needed: u32,
    },
}

/// Something found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hit<P> {
    /// What.
    pub record: Record,
    /// Who has it.
    pub provider: P,
}

impl<P: Wire> Wire for Hit<P> {
    fn encode(&self, out: &mut impl Writer) {
        self.record.encode(out);
        self.provider.encode(out);
    }

    fn decode(input: &mut Reader<'_>) -> Result<Hit<P>, Malformed> {
        Ok(Hit { record: Record::decode(input)?, provider: P::decode(input)? })
    }
}

/// How an operation ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// With an answer.
    Found,
    /// With the answer that there is none.
    NotFound,
    /// Without an answer: nobody who should know was reached.
    Failed,
    /// This overlay has no such operation, no message holds it, or this node has too many
    /// under way.
    Refused,
}

/// What an operation took, as the protocol itself can count it.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Cost {
    /// Length of the path that led to the answer: nodes after the asking one, the
    /// last one included (Chord's counting; 0 when the asking node itself knew).
    pub hops: u32,
    /// Peers on the way that were asked and did not answer.
    pub timeouts: u32,
}

/// What key-based routing is told to do.
#[derive(Clone, Debug)]
pub enum Route<P> {
    /// Join through that peer; without one, begin a new overlay.
    Join(Option<P>),
    /// Leave.
    Leave,
    /// Find the replica set of a key. With `values`, the message that asks may be
    /// answered by any node on the way that holds a value ([`crate::KeyBased::wants`]).
    Find {
        /// The operation.
        op: Op,
        /// The key.
        key: Id,
        /// Whether a value on the way is wanted.
        values: bool,
    },
    /// Forget a find.
    Cancel(Op),
    /// Dabek's `route`: carry a payload to the key's root.
    Send {
        /// The key.
        key: Id,
        /// The application's bytes.
        payload: Bytes,
        /// A first hop to take.
        hint: Option<P>,
    },
}

/// What key-based routing tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Routing<P> {
    /// This node takes part now.
    Joined,
    /// This node takes no part any more.
    Left,
    /// A find is over. No peers: it failed.
    Closest {
        /// The operation.
        op: Op,
        /// The replica set, the root first.
        peers: Vec<P>,
        /// What it took.
        cost: Cost,
    },
    /// Dabek's `deliver`: this node is the root of a routed message.
    Deliver {
        /// The key.
        key: Id,
        /// The application's bytes.
        payload: Bytes,
        /// What it took to get here.
        cost: Cost,
    },
    /// Dabek's `update`: a node entered or left the neighbour set.
    Update {
        /// Which one.
        peer: P,
        /// Whether it came.
        joined: bool,
    },
    /// See [`Event::TooSmall`].
    TooSmall {
        /// Members that would be enough.
        needed: u32,
    },
}
