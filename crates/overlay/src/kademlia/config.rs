//! Parameters of a Kademlia network.

use std::time::Duration;

use crate::Id;

/// Parameters, the same for all nodes.
#[derive(Clone, Debug)]
pub struct Config {
    /// Bits of an id, 1 to 160: the paper's 160.
    pub bits: u32,
    /// Contacts in a bucket, and nodes that a look-up seeks: the paper's k, at most
    /// [`super::MAX_K`].
    pub k: usize,
    /// Questions that a look-up has open at once: the paper's alpha.
    pub alpha: usize,
    /// How many of the closest must answer for a find to end: it is sure of these. The paper: k.
    pub enough: usize,
    /// The same for a refresh.
    pub refresh_enough: usize,
    /// Never more than alpha questions at once, even when a look-up gets no closer.
    pub strict: bool,
    /// Disjoint paths of a find; 1 is Kademlia, more is S/Kademlia.
    pub paths: usize,
    /// How many nodes a find gives, if it is sure of so many, and of how many updates tell.
    pub replicas: usize,
    /// Spares a bucket keeps: the replacement cache, section 4.1.
    pub spares: usize,
    /// Whether a newcomer to a full bucket makes us ping the bucket's least recently
    /// heard of (section 2.2), or waits until that one is of use (section 4.1).
    pub eager: bool,
    /// How long a silent peer keeps a look-up from asking another as well.
    pub patience: Duration,
    /// How long a peer may take to answer.
    pub timeout: Duration,
    /// After what time without a look-up a bucket that has room is refreshed.
    pub refresh: Duration,
    /// The shortest interval at which a node pings one of its contacts, the least
    /// recently heard of in the bucket whose turn it is.
    pub probe_min: Duration,
    /// The longest such interval, to which it grows if all are there.
    pub probe_max: Duration,
    /// A contact that answers makes the interval longer by one part in so many; one that
    /// proves to be dead halves it. With 32, about one probe in twenty-three finds a dead one.
    pub probe_calm: u32,
    /// Whether tables stay as they are, whoever answers or is silent: for seeing what comes
    /// before any repair.
    pub frozen: bool,
    /// After what time a node that joined looks itself up again, if its neighbourhood
    /// is still changing; twice as long each time.
    pub settle: Duration,
    /// After what time a join that failed is tried again.
    pub retry: Duration,
}

impl Default for Config {
    /// The paper's k and alpha, for round trips of up to half a second; what is not the
    /// paper's is on the hull of cost and latency under churn.
    fn default() -> Self {
        Config {
            bits: Id::BITS,
            k: 20,
            alpha: 3,
            enough: 8,
            refresh_enough: 3,
            strict: false,
            paths: 1,
            replicas: 20,
            spares: 2,
            eager: false,
            patience: Duration::from_millis(500),
            timeout: Duration::from_millis(1500),
            refresh: Duration::from_secs(3600),
            probe_min: Duration::from_secs(2),
            probe_max: Duration::from_secs(300),
            probe_calm: 32,
            frozen: false,
            settle: Duration::from_secs(10),
            retry: Duration::from_secs(5),
        }
    }
}
