//! What links come to without joins and failures.

use super::{Gnutella, Message};
use crate::check::Checked;
use crate::{Event, Host, Peer, View};

impl<P: Peer> Checked<P> for Gnutella<P> {
    /// Every neighbour is there, and takes this node for its neighbour.
    fn flaw<'a>(
        &self,
        _view: &View<'_, P>,
        node: &dyn Fn(P) -> Option<&'a Self>,
        host: &impl Host<P, Message<P>, Event<P>>,
    ) -> Option<String>
    where
        Self: 'a,
    {
        let mutual = |peer: P| node(peer).is_some_and(|other| other.neighbours.contains(self.me));
        let single = self.neighbours.peers().find(|&peer| !mutual(peer))?;
        Some(format!("its neighbour {} has no link to it", host.id(single)))
    }
}
