//! Parameters of a Kelips network.

use std::time::Duration;

use super::MAX_GROUPS;

/// Parameters, the same for all nodes.
#[derive(Clone, PartialEq, Debug)]
pub struct Config {
    /// k, the number of affinity groups, at most [`MAX_GROUPS`].
    pub groups: u32,
    /// c, contacts in each foreign group, at most [`super::MAX_CONTACTS`].
    pub contacts: u8,
    /// Time between gossip rounds.
    pub gossip_interval: Duration,
    /// Group mates that hear from a node each round.
    pub group_targets: u8,
    /// Contacts that hear from a node each round.
    pub contact_targets: u8,
    /// Members in a gossip to a group mate.
    pub members_per_gossip: u8,
    /// Contacts in a gossip.
    pub contacts_per_gossip: u8,
    /// Tuples in a gossip to a group mate, at most [`super::MAX_TUPLES`].
    pub tuples_per_gossip: u8,
    /// Rounds in which a new entry or tuple goes before its turn.
    pub news_rounds: u8,
    /// Whether near targets and contacts are preferred (spatially weighted gossip).
    pub spatial: bool,
    /// Without a heartbeat for so long, a member is forgotten.
    pub member_timeout: Duration,
    /// Without a heartbeat for so long, a contact is forgotten.
    pub contact_timeout: Duration,
    /// Without a heartbeat for so long, a tuple is forgotten.
    pub tuple_timeout: Duration,
    /// How often a home node gives its records a heartbeat.
    pub refresh_interval: Duration,
    /// How long an answer is awaited.
    pub rpc_timeout: Duration,
    /// Questions that are asked before an operation fails.
    pub tries: u8,
    /// Whether own records are announced under their words too, which the paper does not
    /// do; without, a search is refused.
    pub search_words: bool,
    /// Most tuples that a node keeps; their names share a bound in bytes that grows with it.
    pub max_tuples: usize,
}

impl Default for Config {
    /// For about a thousand nodes.
    fn default() -> Self {
        Config::for_nodes(1000)
    }
}

impl Config {
    /// Parameters for about `nodes` nodes: sqrt(nodes) groups, and time-outs that fit.
    pub fn for_nodes(nodes: u64) -> Config {
        let groups = nodes.isqrt().clamp(1, u64::from(MAX_GROUPS));
        let config = Config {
            groups: groups as u32,
            contacts: 2,
            gossip_interval: Duration::from_secs(4),
            group_targets: 2,
            contact_targets: 1,
            members_per_gossip: 32,
            contacts_per_gossip: 16,
            tuples_per_gossip: 8,
            news_rounds: 3,
            spatial: true,
            member_timeout: Duration::ZERO,
            contact_timeout: Duration::ZERO,
            tuple_timeout: Duration::from_secs(45 * 60),
            refresh_interval: Duration::from_secs(10 * 60),
            rpc_timeout: Duration::from_millis(1500),
            tries: 10,
            search_words: true,
            max_tuples: 1 << 18,
        };
        config.timed(nodes)
    }

    /// The same with time-outs of members and contacts for about `nodes` nodes, in
    /// proportion to the rounds that a heartbeat takes through a group (section 2.1:
    /// O(sqrt N log^2 N) at constant bandwidth). Whoever changes the groups or the gossip
    /// of [`Config::for_nodes`] needs others than it has.
    #[must_use]
    pub fn timed(self, nodes: u64) -> Config {
        let group_size = nodes.div_ceil(u64::from(self.groups.max(1))).max(1);
        let told = u64::from(self.group_targets) * u64::from(self.members_per_gossip);
        let rounds_per_fold = group_size.div_ceil(told.max(1));
        let spread = rounds_per_fold.saturating_mul(u64::from(group_size.ilog2() + 2));
        let rounds = u32::try_from(spread.saturating_mul(2).saturating_add(15)).unwrap_or(u32::MAX);
        let member_timeout = self.gossip_interval.saturating_mul(rounds);
        Config { member_timeout, contact_timeout: member_timeout.saturating_mul(4), ..self }
    }

    /// How long it takes at least until a node has heard of each member of its group, and how
    /// many they are, in a network of about `nodes` nodes: in a round it hears of no more
    /// than some others send, and of them.
    pub fn hears_of_all(&self, nodes: u64) -> (Duration, u64) {
        let group_size = nodes.div_ceil(u64::from(self.groups.max(1))).max(1);
        let heard = u64::from(self.group_targets) * (u64::from(self.members_per_gossip) + 1);
        let rounds = u32::try_from(group_size.div_ceil(heard.max(1))).unwrap_or(u32::MAX);
        (self.gossip_interval.saturating_mul(rounds), group_size)
    }
}
