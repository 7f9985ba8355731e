//! The overlays' own parameters in a scenario, and which overlay runs.
//!
//! A table `[overlay.chord]` chooses Chord; its keys are those of the overlay's
//! configuration, durations in seconds with `_s` at the end. What is not given keeps
//! the overlay's default. Several variants of one overlay are an array of tables,
//! `[[overlay.chord]]`, which a key `label` tells apart.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use starling_overlay::dht::{Dht, DhtConfig};
use starling_overlay::{KeyBased, chord, fasttrack, gnutella, kademlia, kelips, napster, pastry};

use starling_overlay::chord::Chord;
use starling_overlay::kademlia::Kademlia;
use starling_overlay::pastry::Pastry;

use super::choice::Visit;
use super::upkeep::Upkeep;
use super::value::{Count, Secs};
use crate::judge::Root;
use crate::place::{MAX_HOSTS, Node};

/// One table, or an array of tables.
#[derive(Clone, Debug)]
pub(super) struct Variants<T>(pub(super) Vec<T>);

impl<T> Default for Variants<T> {
    fn default() -> Self {
        Variants(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Variants<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for OneOrMany<T> {
            type Value = Vec<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table, or an array of tables")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Vec<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(|one| vec![one])
            }
            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Vec<T>, A::Error> {
                Deserialize::deserialize(SeqAccessDeserializer::new(seq))
            }
        }
        deserializer.deserialize_any(OneOrMany(PhantomData)).map(Variants)
    }
}

/// What may be said of an overlay besides its own parameters.
pub struct Surroundings {
    /// Bits of the id space.
    pub bits: u32,
    /// Nodes.
    pub nodes: u32,
    /// Whether nodes keep their tables right.
    pub upkeep: bool,
}

impl Surroundings {
    /// What the overlay's own parameters do not say.
    fn finish(&self, config: &mut impl Upkeep) {
        if !self.upkeep {
            config.stop();
        }
    }
}

/// Declares an overlay's table: its parameters by name, and where each goes.
macro_rules! table {
    (
        $(#[$doc:meta])*
        $table:ident for $config:ty {
            $( $key:ident: $kind:ty => |$to:ident, $value:ident| $set:expr; )*
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Default, Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $table {
            /// What tells rows of the same overlay apart.
            pub label: Option<String>,
            $( /// As its configuration has it.
            pub $key: Option<$kind>, )*
        }

        impl $table {
            /// Changes what the table names.
            fn apply(&self, config: &mut $config) {
                $( if let Some($value) = self.$key.clone() {
                    let $to = &mut *config;
                    $set;
                } )*
            }
        }
    };
}

/// Declares the table of a structured overlay: its own parameters, and those of the
/// postings on top of it.
macro_rules! structured {
    (
        $(#[$doc:meta])*
        $table:ident for $core:ident of $config:ty {
            $( $key:ident: $kind:ty => |$to:ident, $value:ident| $set:expr; )*
        }
    ) => {
        table! {
            $(#[$doc])*
            $table for DhtConfig<$config> {
                replicas: Count<1, 32> => |c, v| c.replicas = v.get();
                parallel: Count<1, 64> => |c, v| c.parallel = v.get();
                answer_timeout_s: Secs => |c, v| c.answer_timeout = v.0;
                republish_s: Secs => |c, v| c.republish = v.0;
                expire_s: Secs => |c, v| c.expire = v.0;
                $( $key: $kind => |c, $value| {
                    let $to = Arc::make_mut(&mut c.routing);
                    $set;
                }; )*
            }
        }

        impl $table {
            pub(super) fn config(&self, around: &Surroundings) -> DhtConfig<$config> {
                let routing = <$config>::for_space(around);
                let mut config = DhtConfig::new(routing, <$core<Node> as KeyBased<Node>>::REPLICAS);
                self.apply(&mut config);
                around.finish(&mut config);
                config
            }
        }
    };
}

/// A configuration that depends on the id space.
trait ForSpace {
    /// The defaults for a network like that.
    fn for_space(around: &Surroundings) -> Self;
}

impl ForSpace for chord::Config {
    fn for_space(around: &Surroundings) -> Self {
        chord::Config { bits: around.bits, ..chord::Config::default() }
    }
}

impl ForSpace for kademlia::Config {
    fn for_space(around: &Surroundings) -> Self {
        kademlia::Config { bits: around.bits, ..kademlia::Config::default() }
    }
}

impl ForSpace for pastry::Config {
    fn for_space(_: &Surroundings) -> Self {
        pastry::Config::default()
    }
}

structured! {
    /// `[overlay.chord]`.
    ChordTable for Chord of chord::Config {
        successors: Count<1, { chord::MAX_SUCCESSORS }> => |c, v| c.successors = v.get();
        root_set: Count<1, { chord::MAX_SUCCESSORS }> => |c, v| c.replicas = v.get();
        style: Style => |c, v| c.style = v.chord();
        stabilize_s: Secs => |c, v| c.stabilize = v.0;
        hurry_s: Secs => |c, v| c.hurry = v.0;
        fix_fingers_s: Secs => |c, v| c.fix_fingers = v.0;
        timeout_s: Secs => |c, v| c.rpc_timeout = v.0;
        tries: Count<1, 255> => |c, v| c.tries = v.get();
        find_tries: Count<1, 255> => |c, v| c.find_tries = v.get();
        find_timeout_s: Secs => |c, v| c.carry_timeout = v.0;
    }
}

structured! {
    /// `[overlay.kademlia]`.
    KademliaTable for Kademlia of kademlia::Config {
        k: Count<1, { kademlia::MAX_K }> => |c, v| c.k = v.get();
        alpha: Count<1, { kademlia::MAX_K }> => |c, v| c.alpha = v.get();
        enough: Count<1, { kademlia::MAX_K }> => |c, v| c.enough = v.get();
        paths: Count<1, { kademlia::MAX_PATHS }> => |c, v| c.paths = v.get();
        root_set: Count<1, { kademlia::MAX_K }> => |c, v| c.replicas = v.get();
        strict: bool => |c, v| c.strict = v;
        spares: Count<0, { kademlia::MAX_K }> => |c, v| c.spares = v.get();
        timeout_s: Secs => |c, v| c.timeout = v.0;
        patience_s: Secs => |c, v| c.patience = v.0;
        refresh_s: Secs => |c, v| c.refresh = v.0;
        refresh_enough: Count<1, { kademlia::MAX_K }> => |c, v| c.refresh_enough = v.get();
        probe_min_s: Secs => |c, v| c.probe_min = v.0;
        probe_max_s: Secs => |c, v| c.probe_max = v.0;
        probe_calm: Count<1, 1_000_000> => |c, v| c.probe_calm = v.get();
    }
}

structured! {
    /// `[overlay.pastry]`.
    PastryTable for Pastry of pastry::Config {
        b: Count<1, { pastry::MAX_DIGIT_BITS as usize }> => |c, v| c.digit_bits = v.get();
        leaves: Count<2, { pastry::MAX_LEAF }, 2> => |c, v| c.leaf = v.get();
        sample: Count<0, { MAX_HOSTS as usize }> => |c, v| c.sample = v.get();
        neighborhood: Count<0, 4096> => |c, v| c.neighborhood = v.get();
        style: Style => |c, v| c.iterative = v == Style::Iterative;
        race: bool => |c, v| c.race = v;
        heartbeat_s: Secs => |c, v| c.heartbeat = v.0;
        scan_s: Secs => |c, v| c.scan = v.0;
        timeout_s: Secs => |c, v| c.answer_timeout = v.0;
        find_timeout_s: Secs => |c, v| c.find_timeout = v.0;
    }
}

/// `style`: who asks the nodes on a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Style {
    Iterative,
    Recursive,
}

impl Style {
    fn chord(self) -> chord::Style {
        match self {
            Style::Iterative => chord::Style::Iterative,
            Style::Recursive => chord::Style::Recursive,
        }
    }
}

table! {
    /// `[overlay.gnutella]`.
    GnutellaTable for gnutella::Config {
        degree: Count<1, { gnutella::MAX_DEGREE as usize }> => |c, v| c.degree = (v.get(), v.get());
        degree_max: Count<1, { gnutella::MAX_DEGREE as usize }> => |c, v| c.degree.1 = v.get::<u16>().max(c.degree.0);
        spare: Count<0, { gnutella::MAX_DEGREE as usize }> => |c, v| c.spare = v.get();
        search: SearchTable => |c, v| c.strategy = v.strategy();
        ping_interval_s: Secs => |c, v| c.ping_interval = v.0;
        hop_time_s: Secs => |c, v| c.hop_time = v.0;
        providers: Count<1, 4096> => |c, v| c.providers = v.get();
    }
}

/// `overlay.gnutella.search`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(tag = "by", rename_all = "lowercase", deny_unknown_fields)]
pub enum SearchTable {
    Flood { ttl: Ttl },
    Ring { first: Ttl, step: Ttl, last: Ttl },
    Walkers { count: Count<1, 255>, check_every: Count<1, 65_535>, ttl: Count<1, 65_535> },
    Dynamic { probes: Count<0, 255>, probe_ttl: Ttl, ttl: Ttl },
}

/// How far a query goes.
pub(super) type Ttl = Count<1, { gnutella::MAX_TTL as usize }>;

impl SearchTable {
    fn strategy(self) -> gnutella::Strategy {
        use gnutella::Strategy;
        match self {
            SearchTable::Flood { ttl } => Strategy::Flood { ttl: ttl.get() },
            SearchTable::Ring { first, step, last } => {
                Strategy::ExpandingRing { first: first.get(), step: step.get(), last: last.get() }
            }
            SearchTable::Walkers { count, check_every, ttl } => {
                Strategy::Walkers { count: count.get(), check_every: check_every.get(), ttl: ttl.get() }
            }
            SearchTable::Dynamic { probes, probe_ttl, ttl } => {
                Strategy::Dynamic { probes: probes.get(), probe_ttl: probe_ttl.get(), ttl: ttl.get() }
            }
        }
    }
}

table! {
    /// `[overlay.fasttrack]`.
    FastTrackTable for fasttrack::Config {
        leaves: Count<1, { fasttrack::MAX_LEAVES as usize }> => |c, v| c.leaves = v.get();
        links: Count<1, { fasttrack::MAX_LINKS as usize }> => |c, v| c.links = v.get();
        ttl: Count<1, { fasttrack::MAX_TTL as usize }> => |c, v| c.ttl = v.get();
        providers: Count<1, 4096> => |c, v| c.providers = v.get();
        interval_s: Secs => |c, v| c.interval = v.0;
        timeout_s: Secs => |c, v| c.timeout = v.0;
        hop_time_s: Secs => |c, v| c.hop_time = v.0;
        probation_s: Secs => |c, v| c.probation = v.0;
        vouchers: Count<0, { fasttrack::MAX_VOUCHERS }> => |c, v| c.vouchers = v.get();
    }
}

table! {
    /// `[overlay.kelips]`.
    KelipsTable for kelips::Config {
        groups: Count<1, { kelips::MAX_GROUPS as usize }> => |c, v| c.groups = v.get();
        contacts: Count<1, { kelips::MAX_CONTACTS }> => |c, v| c.contacts = v.get();
        gossip_interval_s: Secs => |c, v| c.gossip_interval = v.0;
        group_targets: Count<0, 255> => |c, v| c.group_targets = v.get();
        contact_targets: Count<0, 255> => |c, v| c.contact_targets = v.get();
        members_per_gossip: Count<0, { kelips::MAX_ENTRIES }> => |c, v| c.members_per_gossip = v.get();
        contacts_per_gossip: Count<0, { kelips::MAX_ENTRIES }> => |c, v| c.contacts_per_gossip = v.get();
        tuples_per_gossip: Count<0, { kelips::MAX_TUPLES }> => |c, v| c.tuples_per_gossip = v.get();
        spatial: bool => |c, v| c.spatial = v;
        member_timeout_s: Secs => |c, v| c.member_timeout = v.0;
        contact_timeout_s: Secs => |c, v| c.contact_timeout = v.0;
        tuple_timeout_s: Secs => |c, v| c.tuple_timeout = v.0;
        refresh_s: Secs => |c, v| c.refresh_interval = v.0;
        timeout_s: Secs => |c, v| c.rpc_timeout = v.0;
        tries: Count<1, 255> => |c, v| c.tries = v.get();
        search_words: bool => |c, v| c.search_words = v;
    }
}

table! {
    /// `[overlay.napster]`.
    NapsterTable for napster::Config {
        servers: Count<1, { napster::MAX_SERVERS }> => |c, v| c.servers = v.get();
        heartbeat_s: Secs => |c, v| c.heartbeat_interval = v.0;
        client_timeout_s: Secs => |c, v| c.client_timeout = v.0;
        beat_s: Secs => |c, v| c.beat_interval = v.0;
        server_timeout_s: Secs => |c, v| c.server_timeout = v.0;
        timeout_s: Secs => |c, v| c.rpc_timeout = v.0;
        tries: Count<1, 255> => |c, v| c.tries = v.get();
        max_clients: Count<1, { MAX_HOSTS as usize }> => |c, v| c.max_clients = v.get();
    }
}

impl NapsterTable {
    fn config(&self, around: &Surroundings) -> napster::Config {
        let mut config = napster::Config::default();
        self.apply(&mut config);
        around.finish(&mut config);
        config
    }
}

impl FastTrackTable {
    pub(super) fn config(&self, around: &Surroundings) -> fasttrack::Config {
        let mut config = fasttrack::Config::default();
        self.apply(&mut config);
        around.finish(&mut config);
        config
    }
}

impl KelipsTable {
    pub(super) fn config(&self, around: &Surroundings) -> kelips::Config {
        let nodes = u64::from(around.nodes);
        let mut config = kelips::Config::for_nodes(nodes);
        self.apply(&mut config);
        // Time-outs that fit what was said, but for those that were said themselves.
        config = config.timed(nodes);
        self.apply(&mut config);
        around.finish(&mut config);
        config
    }
}

/// Declares all overlays at once.
macro_rules! overlays {
    ($(
        $name:literal: $field:ident, $variant:ident($table:ty), $root:expr, $core:ty, $config:expr;
    )*) => {
        /// The overlays' names, in the order of the lecture.
        pub const NAMES: &[&str] = &[$($name),*];

        /// `[overlay]`.
        #[derive(Clone, Default, Debug, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct Overlays {
            $( pub(super) $field: Variants<$table>, )*
        }

        /// An overlay with its parameters.
        #[derive(Clone, Debug)]
        pub enum Table {
            $( $variant($table), )*
        }

        impl Overlays {
            /// What is chosen, in the order of [`NAMES`].
            pub fn tables(&self) -> Vec<Table> {
                let mut all = Vec::new();
                $( all.extend(self.$field.0.iter().cloned().map(Table::$variant)); )*
                all
            }
        }

        impl Table {
            /// The overlay of that name with its defaults.
            pub fn named(name: &str) -> Option<Table> {
                match name {
                    $( $name => Some(Table::$variant(<$table>::default())), )*
                    _ => None,
                }
            }

            /// The overlay's name.
            pub fn name(&self) -> &'static str {
                match self {
                    $( Table::$variant(_) => $name, )*
                }
            }

            /// What its author calls it.
            pub fn label(&self) -> Option<&String> {
                match self {
                    $( Table::$variant(table) => table.label.as_ref(), )*
                }
            }

            /// How its answers to finds are checked.
            pub fn root(&self) -> Option<Root> {
                match self {
                    $( Table::$variant(_) => $root, )*
                }
            }

            /// Shows it to `visitor`.
            pub fn visit<V: Visit>(&self, around: &Surroundings, visitor: V) -> V::Output {
                match self {
                    $( Table::$variant(table) => visitor.visit::<$core>(&Arc::new($config(table, around))), )*
                }
            }
        }
    };
}

overlays! {
    "napster": napster, Napster(NapsterTable), None, napster::Napster<Node>, NapsterTable::config;
    "gnutella": gnutella, Gnutella(GnutellaTable), None, gnutella::Gnutella<Node>, GnutellaTable::config;
    "fasttrack": fasttrack, FastTrack(FastTrackTable), None, fasttrack::FastTrack<Node>, FastTrackTable::config;
    "chord": chord, Chord(ChordTable), Some(Root::Successor), Dht<Node, Chord<Node>>, ChordTable::config;
    "pastry": pastry, Pastry(PastryTable), Some(Root::Nearest), Dht<Node, Pastry<Node>>, PastryTable::config;
    "kademlia": kademlia, Kademlia(KademliaTable), Some(Root::Xor), Dht<Node, Kademlia<Node>>, KademliaTable::config;
    "kelips": kelips, Kelips(KelipsTable), None, kelips::Kelips<Node>, KelipsTable::config;
}

impl GnutellaTable {
    pub(super) fn config(&self, around: &Surroundings) -> gnutella::Config {
        let mut config = gnutella::Config::default();
        self.apply(&mut config);
        around.finish(&mut config);
        config
    }
}
