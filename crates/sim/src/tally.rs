//! What is counted while a simulation runs.

use std::collections::BTreeMap;

use starling_overlay::wire::MESSAGE_MAX;
use starling_overlay::{Message, Offence, Purpose};
use starling_sansio::Time;

use crate::place::{Node, mix};

/// Bytes of the headers of a datagram: IPv4 and UDP.
pub const HEADER_BYTES: u64 = 28;

/// Counts of one part of the world.
#[derive(Clone, Default, Debug)]
pub struct Tally {
    /// Messages sent, by purpose in the order of [`Purpose::ALL`].
    pub messages: [u64; 4],
    /// Their bytes, headers included.
    pub bytes: [u64; 4],
    /// Messages that arrived nowhere: lost, or to a node that is gone.
    pub lost: u64,
    /// Messages that reached a host, up or not.
    pub delivered: u64,
    /// Times that a node was woken by its own deadline.
    pub wakes: u64,
    /// Inputs that nodes refused, by reason.
    pub refused: BTreeMap<Offence, u64>,
    /// What happened, when, to whom: equal runs have equal hashes.
    hash: u64,
}

impl Tally {
    /// Counts a message that is sent; gives its bytes.
    #[inline]
    pub(crate) fn sent<M: Message<Node>>(&mut self, message: &M) -> u64 {
        let bytes = message.wire_len();
        assert!(bytes <= MESSAGE_MAX, "no driver sends {bytes} bytes: {message:?}");
        let bytes = bytes as u64 + HEADER_BYTES;
        let purpose = message.purpose() as usize;
        self.messages[purpose] += 1;
        self.bytes[purpose] += bytes;
        bytes
    }

    /// Notes that a message arrived.
    #[inline]
    pub(crate) fn note(&mut self, now: Time, from: Node, to: Node) {
        self.delivered += 1;
        let what = now.as_micros() ^ u64::from(from.host()) << 40 ^ u64::from(to.host()) << 16;
        self.hash = (self.hash.rotate_left(5) ^ what).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    pub(crate) fn refuse(&mut self, offence: Offence) {
        *self.refused.entry(offence).or_default() += 1;
    }

    /// Messages and bytes sent for one purpose.
    pub fn of(&self, purpose: Purpose) -> (u64, u64) {
        (self.messages[purpose as usize], self.bytes[purpose as usize])
    }

    /// Events: messages that arrived, and wakes.
    pub fn events(&self) -> u64 {
        self.delivered + self.wakes
    }

    /// The trace's hash.
    pub fn hash(&self) -> u64 {
        let counts = self.messages.iter().chain(&self.bytes).chain([&self.lost, &self.wakes]);
        counts.fold(self.hash, |hash, &count| mix(hash ^ count))
    }

    /// Adds another part's counts.
    pub fn add(&mut self, other: &Tally) {
        for at in 0..4 {
            self.messages[at] += other.messages[at];
            self.bytes[at] += other.bytes[at];
        }
        self.lost += other.lost;
        self.delivered += other.delivered;
        self.wakes += other.wakes;
        for (&offence, count) in &other.refused {
            *self.refused.entry(offence).or_default() += count;
        }
        self.hash = mix(self.hash ^ other.hash.rotate_left(1));
    }

    /// What was counted since `earlier`, which this tally once was.
    pub fn since(&self, earlier: &Tally) -> Tally {
        let mut rest = self.clone();
        for at in 0..4 {
            rest.messages[at] -= earlier.messages[at];
            rest.bytes[at] -= earlier.bytes[at];
        }
        rest.lost -= earlier.lost;
        rest.delivered -= earlier.delivered;
        rest.wakes -= earlier.wakes;
        for (offence, count) in &earlier.refused {
            if let Some(all) = rest.refused.get_mut(offence) {
                *all -= count;
            }
        }
        rest
    }
}
