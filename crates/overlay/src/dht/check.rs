//! The tables below, seen through the postings above.

use super::Dht;
use super::host::Seen;
use crate::{Checked, Host, KeyBased, Peer, Standing, View};

impl<P: Peer, K: KeyBased<P>> Checked<P> for Dht<P, K> {
    fn standing(&self, host: &impl Host<P, Self::Message, Self::Event>) -> Option<(usize, Standing)> {
        self.routing.standing(&Seen::new(host))
    }

    fn flaw<'a>(
        &self,
        view: &View<'_, P>,
        node: &dyn Fn(P) -> Option<&'a Self>,
        host: &impl Host<P, Self::Message, Self::Event>,
    ) -> Option<String>
    where
        Self: 'a,
    {
        self.routing.flaw(view, &|peer| node(peer).map(Dht::routing), &Seen::new(host))
    }
}
