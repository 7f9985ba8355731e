//! What a ring comes to without joins and failures.

use super::{Chord, Message};
use crate::check::{Checked, beside, ids};
use crate::{Host, Peer, Routing, Standing, View};

impl<P: Peer> Checked<P> for Chord<P> {
    fn standing(&self, host: &impl Host<P, Message<P>, Routing<P>>) -> Option<(usize, Standing)> {
        self.member.then(|| (self.config.r(), self.stands(host)))
    }

    /// The successor list and the predecessor are the true ones: Zave's `Ideal`.
    fn flaw<'a>(
        &self,
        view: &View<'_, P>,
        _node: &dyn Fn(P) -> Option<&'a Self>,
        host: &impl Host<P, Message<P>, Routing<P>>,
    ) -> Option<String>
    where
        Self: 'a,
    {
        let me = host.id(self.me);
        let (next, before) = (beside(view, me, 1, self.config.r()), beside(view, me, -1, 1));
        if self.successors() != next {
            let (found, wanted) = (ids(self.successors(), |p| host.id(p)), ids(&next, |p| host.id(p)));
            return Some(format!("its successor list is {found}, and should be {wanted}"));
        }
        let wrong = !before.is_empty() && self.predecessor() != before.first().copied();
        wrong.then(|| format!("its predecessor is not {}", ids(&before, |p| host.id(p))))
    }
}
