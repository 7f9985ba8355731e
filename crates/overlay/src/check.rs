//! Checks of a node's tables, for whoever sees all nodes: tests and the simulator.

use crate::{Core, Host, Id, Peer, View};

/// A live member of a ring, as a checker of rings sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Standing {
    /// Where it stands.
    pub id: Id,
    /// Its successor list, dead ones included.
    pub successors: Vec<Id>,
    /// Its predecessor.
    pub predecessor: Option<Id>,
}

/// A core whose tables can be compared with the truth.
pub trait Checked<P: Peer>: Core<P> {
    /// r, and where this member stands in its ring, if [`crate::chord::invariant`] speaks
    /// of rings like it. That invariant holds after every transition.
    fn standing(&self, _host: &impl Host<P, Self::Message, Self::Event>) -> Option<(usize, Standing)> {
        None
    }

    /// What is wrong in the tables of this member, if for a while nobody joined, left or
    /// failed, so that there was time to repair them; nothing in the best case. `view` are
    /// all members, and `node` gives the core of one of them. That everybody can be
    /// reached through tables is not checked here.
    fn flaw<'a>(
        &self,
        view: &View<'_, P>,
        node: &dyn Fn(P) -> Option<&'a Self>,
        host: &impl Host<P, Self::Message, Self::Event>,
    ) -> Option<String>
    where
        Self: 'a;
}

/// The other members in the order of the circle after (`step` 1) or before (`step` -1)
/// the member at `place`, at most `count`.
pub(crate) fn beside<P: Peer>(view: &View<'_, P>, place: Id, step: isize, count: usize) -> Vec<P> {
    let at = view.successor(place);
    let count = count.min(view.len().saturating_sub(1)) as isize;
    (1..=count).filter_map(|steps| view.at(at, steps * step)).map(|member| member.1).collect()
}

/// Members' names as a person reads them.
pub(crate) fn ids<'a, P: Peer>(peers: &'a [P], id: impl Fn(P) -> Id + 'a) -> String {
    let named: Vec<String> = peers.iter().map(|&peer| id(peer).to_string()).collect();
    named.join(" ")
}
