//! Two rings become one.
//!
//! While a network is cut, each part repairs its ring, and once all those beyond the cut
//! are forgotten there are two, each of which is as it should be. So now and then a node
//! looks its own place up through somebody it lost ([`Lost`]). In its own ring that names
//! the node itself; in another one a place between two strangers. The one after it is
//! asked as any better successor is (Zave's stabilizeFromPredecessor), and told of this
//! node as by any that takes it for its successor (rectify). From there on the rings close
//! by their own steps, counterclockwise: who was before the stranger hears of this node and
//! takes it for its successor; that makes this node's predecessor hear of it; and so on.
//!
//! Each step is one that Zave's proof allows a node to take, but her invariant is of one
//! ring: between two rings no member is a principal, and that they become one is measured
//! (`tests/partition_rings.rs`), not proven.

use super::find::{Find, Purpose};
use super::message::Message;
use super::stabilize::Step;
use super::{Chord, Outside};
use crate::Peer;

/// Checks of fingers in which everybody lost is asked once, on average.
const ROUNDS: usize = 128;

impl<P: Peer> Chord<P> {
    /// Now and then, looks for another ring.
    pub(super) fn look_beyond<H: Outside<P>>(&mut self, host: &mut H) {
        let Some(peer) = self.lost.turn(ROUNDS, host.rng()) else { return };
        let looks = |find: &Find<P>| matches!(find.purpose, Purpose::Join | Purpose::Beyond(_));
        if self.busy.as_ref().is_none_or(|busy| !busy.finds.iter().any(|find| looks(find))) {
            let mut find = Find::new(Purpose::Beyond(peer), self.place(host));
            find.add(peer, 1, false, host);
            self.go_on(find, host);
        }
    }

    /// Asked for through `lost`, this node's place is said to be before the first of `list`.
    pub(super) fn found_beyond<H: Outside<P>>(&mut self, lost: P, list: &[P], host: &mut H) {
        if self.question.is_some() {
            return; // another time
        }
        self.lost.forget(lost);
        let Some(&after) = list.first().filter(|&&one| one != self.me) else { return };
        let mine = self.place(host);
        let end = self.successor().map_or(mine, |successor| host.id(successor));
        if host.id(after).between(mine, end) {
            self.pose(Step::Predecessor, after, host);
        } else if self.successor() != Some(after) {
            host.send(after, Message::Notify { predecessors: self.predecessors });
        }
    }

    /// `peer` is silent, and as good as dead.
    pub(super) fn lose_sight<H: Outside<P>>(&mut self, peer: P, host: &mut H) {
        if self.table.all().contains(&peer) || self.predecessors.iter().any(|one| one == peer) {
            self.lost.note(peer, host.rng());
        }
        self.bury(peer, host);
    }
}
