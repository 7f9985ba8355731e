//! What the two tiers come to without joins and failures.

use super::{FastTrack, Message};
use crate::check::Checked;
use crate::{Event, Host, Peer, View};

impl<P: Peer> Checked<P> for FastTrack<P> {
    /// A leaf has a super-peer that has it; a super-peer's leaves are its own, and its
    /// links are mutual.
    fn flaw<'a>(
        &self,
        _view: &View<'_, P>,
        node: &dyn Fn(P) -> Option<&'a Self>,
        host: &impl Host<P, Message<P>, Event<P>>,
    ) -> Option<String>
    where
        Self: 'a,
    {
        let Some(office) = &self.office else {
            let Some(parent) = self.parent() else { return Some("it has no super-peer".into()) };
            let well =
                node(parent).is_some_and(|one| one.office.as_ref().is_some_and(|o| o.has_leaf(self.me)));
            return (!well).then(|| format!("its super-peer {} does not have it", host.id(parent)));
        };
        let mut leaves = office.leaves.iter().map(|leaf| leaf.peer);
        let lost = leaves.find(|&leaf| node(leaf).is_none_or(|one| one.parent() != Some(self.me)));
        if let Some(lost) = lost {
            return Some(format!("{} is not its leaf", host.id(lost)));
        }
        let mutual = |peer: P| {
            node(peer).is_some_and(|one| one.office.as_ref().is_some_and(|office| office.has_link(self.me)))
        };
        let single = office.links.iter().map(|link| link.peer).find(|&peer| !mutual(peer))?;
        Some(format!("the super-peer {} has no link to it", host.id(single)))
    }
}
