//! Two networks become one.
//!
//! A network that was cut in two is two networks once those beyond the cut are stale
//! everywhere: nobody asks them or names them any more. But they are not forgotten: a
//! stale contact stays until somebody else takes its place, and nobody takes all of those
//! near a node, in whose buckets there is room. So now and then a node looks its own place
//! up through one of them, or through whom it came in: it asks first that one alone, then
//! whom it names, and so on. In its own network these are its neighbours; in another one
//! its neighbours there. They enter its buckets since they answer, and it enters theirs
//! since it asks. Where nobody is stale nothing is asked.

use std::time::Duration;

use super::lookup::Task;
use super::{Kademlia, World};
use crate::Peer;

/// How long it takes until somebody lost is asked, on average.
const INTERVAL: Duration = Duration::from_secs(600);
/// One in so many of these times it is the peer through whom the node came in.
const BOOT: usize = 8;

impl<P: Peer> Kademlia<P> {
    /// At a probe's turn, while these come every so many milliseconds.
    pub(super) fn look_beyond(&mut self, millis: u32, host: &mut impl World<P>) {
        let silent: Vec<P> = self.table.stale().collect();
        if silent.is_empty() && !self.table.is_empty()
            || host.rng().below(INTERVAL.as_millis() as u64) >= millis.into()
        {
            return;
        }
        let boot = self.settling.as_ref().map(|settling| settling.through);
        let turn = host.rng().index(silent.len().max(1));
        let lost = match silent.get(turn) {
            Some(_) if boot.is_some() && host.rng().index(BOOT) == 0 => boot,
            silent => silent.copied().or(boot),
        };
        if let Some(lost) = lost {
            self.begin(Task::Beyond, host.id(self.me), &[lost], host);
        }
    }
}
