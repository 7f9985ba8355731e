//! Parameters of a Chord network, and its named bounds.

use std::time::Duration;

/// Longest successor list, whatever [`Config::successors`] says.
pub const MAX_SUCCESSORS: usize = 32;
/// Fingers in a table at most: one a bit of the largest id space.
pub const MAX_FINGERS: usize = 160;
/// Finds under way at once; more are answered with a failure.
pub const MAX_FINDS: usize = 64;
/// Peers one find remembers; the least useful are forgotten.
pub const MAX_CANDIDATES: usize = 64;
/// Messages that a node carries for others and that wait for the next hop's word.
pub const MAX_CARRIES: usize = 64;
/// Next hops that are tried for one carried message: all that a node can know.
pub const MAX_TRIED: usize = MAX_SUCCESSORS + MAX_FINGERS + 1;
/// How often a node waits for a root that cannot carry more now, for one message.
pub const MAX_WAITS: u8 = 8;
/// Detours that the origin of a recursive find waits for.
pub const MAX_DETOURS: u8 = 64;
/// Peers that one find asks.
pub const MAX_QUESTIONS: u16 = 256;
/// No path is longer.
pub const MAX_HOPS: u8 = 128;
/// Largest payload of [`crate::Route::Send`], in bytes.
pub const MAX_PAYLOAD: usize = 1024;
/// Steps back from a supposed root to its predecessor, in one find.
pub const MAX_BACK: u8 = 8;
/// Steps towards the true successor, in one stabilization.
pub const MAX_WALK: u8 = 32;

/// How a find goes from node to node (Stoica et al., section IV-B).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Style {
    /// The asking node asks every node on the path itself.
    Iterative,
    /// Every node passes the question on; the root answers the asking node.
    Recursive,
}

/// Which protocol keeps the ring. All but the first are wrong and are here so that
/// [`super::invariant`] can be shown to notice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Variant {
    /// Zave's.
    Correct,
    /// As published in 2001 and 2003: a joining node copies nothing but its successor,
    /// a successor's predecessor is adopted unasked, a predecessor is never checked.
    Published,
    /// A predecessor is never checked.
    UncheckedRectify,
    /// A joining node copies nothing but its successor.
    ShortJoin,
}

impl Variant {
    pub(super) fn copies_list(self) -> bool {
        matches!(self, Variant::Correct | Variant::UncheckedRectify)
    }

    pub(super) fn adopts_unasked(self) -> bool {
        self == Variant::Published
    }

    pub(super) fn checks_predecessor(self) -> bool {
        matches!(self, Variant::Correct | Variant::ShortJoin)
    }
}

/// Parameters, the same for all nodes of a network.
#[derive(Clone, Debug)]
pub struct Config {
    /// Bits of the id space; only [`crate::Core::rows`] needs them, to name fingers.
    pub bits: u32,
    /// Zave's and Stoica's r: entries of a successor list, 1 to [`MAX_SUCCESSORS`].
    pub successors: usize,
    /// Nodes that a find names, the root included; at most `successors` + 1.
    pub replicas: usize,
    /// How a user's find goes.
    pub style: Style,
    /// From one stabilization to the next in a quiet ring.
    pub stabilize: Duration,
    /// From one stabilization to the next while they change something.
    pub hurry: Duration,
    /// From one finger's check to the next finger's.
    pub fix_fingers: Duration,
    /// How long to wait for an answer before asking again.
    pub rpc_timeout: Duration,
    /// How often a neighbour is asked before it counts as dead.
    pub tries: u8,
    /// How often a node on a find's path is asked before the next best is.
    pub find_tries: u8,
    /// Whether tables stay as they are, whomever a find meets silent: for seeing what comes
    /// before any repair (Stoica et al., section V-D).
    pub frozen: bool,
    /// How long the asking node of a recursive find waits before it does it iteratively;
    /// longer by `rpc_timeout` for each node that others on the way waited for in vain.
    pub carry_timeout: Duration,
    /// From a join that found nobody to the next.
    pub join_retry: Duration,
    /// The protocol.
    pub variant: Variant,
}

impl Default for Config {
    /// For sessions of an hour on average and round trips of up to half a second.
    fn default() -> Config {
        Config {
            bits: 160,
            successors: 16,
            replicas: 4,
            style: Style::Iterative,
            stabilize: Duration::from_secs(30),
            hurry: Duration::from_secs(1),
            fix_fingers: Duration::from_secs(15),
            rpc_timeout: Duration::from_secs(1),
            tries: 3,
            find_tries: 2,
            frozen: false,
            carry_timeout: Duration::from_secs(10),
            join_retry: Duration::from_secs(5),
            variant: Variant::Correct,
        }
    }
}

impl Config {
    /// r, within its bounds.
    pub(super) fn r(&self) -> usize {
        self.successors.clamp(1, MAX_SUCCESSORS)
    }
}
