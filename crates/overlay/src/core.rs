//! The shape of every overlay, and of the world that drives it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use starling_sansio::{Rng, Time};

use crate::wire::{Malformed, Reader, Wire, Writer};
use crate::{Checked, Command, Event, Id, Op, Peer, Route, Routing, View};

/// What a core asks of its driver while it handles an input.
pub trait Host<P, M, E> {
    /// Where a peer stands in the id space.
    fn id(&self, peer: P) -> Id;

    /// Chance; equal seeds give equal sequences.
    fn rng(&mut self) -> &mut Rng;

    /// The proximity metric: the round trip to a peer as far as the driver knows it.
    fn distance(&self, peer: P) -> Option<Duration>;

    /// Who is behind a peer, as far as its name tells: all peers of one household have one
    /// share of what a node has for others. By default each peer is a household.
    fn household(&self, peer: P) -> u64 {
        self.id(peer).high()
    }

    /// Sends a message, which may get lost.
    fn send(&mut self, to: P, message: M);

    /// Tells the layer above, or the driver.
    fn emit(&mut self, event: E);

    /// Counts an input that changed nothing because no honest peer sends it, or, without
    /// `from`, because the caller may not ask for that.
    fn refuse(&mut self, from: Option<P>, offence: Offence);

    /// Dabek's `forward`: a routed message is about to leave for `next`, which the
    /// application may change, as the key and the payload; `false` stops it here.
    fn forward(&mut self, _key: &mut Id, _payload: &mut Bytes, _next: &mut P) -> bool {
        true
    }
}

/// Why an input changed nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Offence {
    /// An answer to a question that was not asked of that peer, or not any more.
    UnknownReply,
    /// A peer that names us, or itself, where only others make sense.
    NamesItself,
    /// More than may be said at once.
    TooMany,
    /// A value outside its range, such as a hop count no path reaches.
    OutOfRange,
    /// A message that this node, in its role, is never sent.
    Misdirected,
    /// `now` was before the last input's.
    TimeWentBack,
    /// A bound was reached; an honest peer may have met a full table.
    Full,
}

/// What the world tells a core.
#[derive(Clone, Debug)]
pub enum Input<P, M, C> {
    /// A message came.
    Message {
        /// Who sent it: the driver vouches for the name.
        from: P,
        /// The message.
        message: M,
    },
    /// The user, or the layer above, wants something.
    Command(C),
    /// The driver knows that this peer cannot be reached (a link that broke).
    Unreachable(P),
}

/// What a message is for; costs are told apart by it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Purpose {
    /// Keeps tables right: joins, pings, gossip, refreshes.
    Maintenance,
    /// Part of a look-up or find that a user asked for.
    LookUp,
    /// Part of a search by words.
    Search,
    /// Publishes, withdraws, hands over.
    Publish,
}

impl Purpose {
    /// All of them, in order.
    pub const ALL: [Purpose; 4] = [Purpose::Maintenance, Purpose::LookUp, Purpose::Search, Purpose::Publish];
}

impl Wire for Purpose {
    fn encode(&self, out: &mut impl Writer) {
        (*self as u8).encode(out);
    }

    fn decode(input: &mut Reader<'_>) -> Result<Purpose, Malformed> {
        let tag = u8::decode(input)?;
        Purpose::ALL.get(usize::from(tag)).copied().ok_or(Malformed::Unknown(tag.into()))
    }
}

/// A message of an overlay.
pub trait Message<P>: Wire + Clone + std::fmt::Debug {
    /// What it is for.
    fn purpose(&self) -> Purpose;

    /// The find that it belongs to, as [`Route::Find`] named it, in a question of a find.
    fn find(&self) -> Option<Op> {
        None
    }

    /// Shows every name of a peer in it, to be read or (by a liar in a simulation)
    /// changed.
    fn visit_peers(&mut self, visit: &mut dyn FnMut(&mut P));
}

/// A row of a routing table, as a person reads it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row<P> {
    /// What the row is for: `+8`, `successor`, `bucket 3`.
    pub label: String,
    /// Who stands in it.
    pub peers: Vec<P>,
}

/// What nodes need lies fewer pointers than this away from them; see [`Core::warm`].
pub const WARM_STEPS: u32 = 4;

/// A protocol as a state machine; [`starling_sansio::Machine`] for cores whose world
/// is a [`Host`].
///
/// Laws: no I/O, no clock, no chance but [`Host::rng`], no order taken from a hash
/// map, every collection bounded. Inputs that no honest peer sends change nothing and
/// are counted by [`Host::refuse`]. If `now` goes back, nothing happens.
pub trait Core<P: Peer>: Sized {
    /// What nodes say to each other.
    type Message: Message<P>;
    /// What a node is told to do.
    type Command;
    /// What a node tells.
    type Event;
    /// Parameters, the same for all nodes of an overlay.
    type Config: Clone + std::fmt::Debug;

    /// A node that takes no part yet.
    fn new(me: P, config: &Arc<Self::Config>) -> Self;

    /// Takes one input and does all that follows from it.
    fn handle(
        &mut self,
        now: Time,
        input: Input<P, Self::Message, Self::Command>,
        host: &mut impl Host<P, Self::Message, Self::Event>,
    );

    /// Does everything that is due at `now`. Calling it early is harmless.
    fn handle_timeout(&mut self, now: Time, host: &mut impl Host<P, Self::Message, Self::Event>);

    /// When [`Core::handle_timeout`] next has work; asked after every call, so it must
    /// cost next to nothing.
    fn next_timeout(&self) -> Option<Time>;

    /// Makes this node a member whose tables are as they would be after infinite time
    /// without change among `view`'s members, itself included. Emits nothing, sends
    /// nothing; timers start at random phases from `now`.
    fn converge(
        &mut self,
        now: Time,
        view: &View<'_, P>,
        host: &mut impl Host<P, Self::Message, Self::Event>,
    );

    /// Whether the node takes part.
    fn is_member(&self) -> bool;

    /// Everybody in the node's tables, each once, in the order of names.
    fn known(&self) -> Vec<P>;

    /// The tables, for a person to read; empty rows may be left out.
    fn rows(&self, host: &impl Host<P, Self::Message, Self::Event>) -> Vec<Row<P>>;

    /// Asks ([`crate::prefetch`]) for what the node will need for a message, which is given
    /// with its sender, or for what is due, as far as it lies `steps` pointers away from the
    /// node: 1, then 2, and so on below [`WARM_STEPS`]; what lies nearer was asked for before.
    /// `id` says where a peer stands. A driver of a million nodes calls it well before the
    /// node's turn, step by step, so that its memory is there when it is needed. It changes
    /// nothing.
    fn warm(&self, _message: Option<(P, &Self::Message)>, _steps: u32, _id: impl Fn(P) -> Id) {}

    /// Bytes of the node's state: the struct itself and all it owns on the heap.
    fn state_bytes(&self) -> usize;
}

/// Key-based routing: the common API of Dabek et al. 2003. `route` is [`Route::Send`],
/// `forward` is [`Host::forward`], `deliver` and `update` are events.
pub trait KeyBased<P: Peer>: Core<P, Command = Route<P>, Event = Routing<P>> + Checked<P> {
    /// The overlay's name on the command line.
    const NAME: &'static str;

    /// At how many nodes a key's postings are kept, unless the configuration says
    /// otherwise.
    const REPLICAS: usize = 4;

    /// This node.
    fn me(&self) -> P;

    /// The layer above has answered `message`, of which [`KeyBased::wants`] told it,
    /// and the core does not get it. A protocol that acknowledges every hop does so here.
    fn answered(
        &mut self,
        _now: Time,
        _from: P,
        _message: &Self::Message,
        _host: &mut impl Host<P, Self::Message, Self::Event>,
    ) {
    }

    /// `from` answered this node's find `op` with a value, in a message of the layer above.
    /// Whether that find, be it over, had asked it and still waited; it no longer does.
    fn answered_by_value(
        &mut self,
        _now: Time,
        _op: Op,
        _from: P,
        _host: &mut impl Host<P, Self::Message, Self::Event>,
    ) -> bool {
        false
    }

    /// How many peers the find `op`, under way, has asked in vain, as far as this node
    /// knows: what others on the way of a recursive find met it hears only from the root.
    fn asked_in_vain(&self, _op: Op) -> u32 {
        0
    }

    /// The find `op`, just begun, shall name more than the replica set, if only a longer
    /// search can: whoever is near the key. By default what a find names is all there is.
    fn widen(&mut self, _op: Op) {}

    /// What `message`, sent by `from`, asks for, if it asks for the nodes closest to a
    /// key and would take a value instead. See [`Route::Find`].
    fn wants(from: P, message: &Self::Message) -> Option<Wanted<P>>;

    /// At most `num` next hops towards `key`, best first. With `safe`, only peers that
    /// were heard of directly, at a hostile peer's cost of being heard.
    fn local_lookup(
        &self,
        key: Id,
        num: usize,
        safe: bool,
        host: &impl Host<P, Self::Message, Self::Event>,
    ) -> Vec<P>;

    /// At most `num` neighbours in the id space.
    fn neighbor_set(&self, num: usize, host: &impl Host<P, Self::Message, Self::Event>) -> Vec<P>;

    /// Where copies of `key`'s object belong, as far as this node knows: at most
    /// `max_rank` peers, the root first; this node may be among them.
    fn replica_set(
        &self,
        key: Id,
        max_rank: usize,
        host: &impl Host<P, Self::Message, Self::Event>,
    ) -> Vec<P>;

    /// The keys for which `node` is a root of at most `rank` (0 is the root): from the
    /// first id (left out) clockwise to the second (included). `None` if this node
    /// cannot know, or the keys are no single range that holds `left`.
    fn range(
        &self,
        node: P,
        rank: usize,
        left: Id,
        host: &impl Host<P, Self::Message, Self::Event>,
    ) -> Option<(Id, Id)>;
}

/// A find that would take a value on its way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wanted<P> {
    /// The key.
    pub key: Id,
    /// Who asked first, and gets the value.
    pub origin: P,
    /// The operation, as the origin's [`Route::Find`] named it.
    pub op: Op,
    /// Nodes on the path after the origin, the one that got this message included.
    pub hops: u32,
}

/// What a node counted, for whoever measures; zero of what its overlay does not have.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counts {
    /// Keys, file tuples or records that it keeps for others now.
    pub kept: u64,
    /// Queries and steps of walkers that came, since it was made.
    pub queries: u64,
    /// Those of them that had been here before.
    pub duplicates: u64,
}

/// Locating: what every overlay does for its user.
pub trait Overlay<P: Peer>: Core<P, Command = Command<P>, Event = Event<P>> + Checked<P> {
    /// The overlay's name on the command line.
    const NAME: &'static str;

    /// What the node counted.
    fn counts(&self) -> Counts;
}
