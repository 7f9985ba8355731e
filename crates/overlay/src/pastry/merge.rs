//! Two networks become one.
//!
//! While a network is cut, each part repairs its leaf sets, and once all those beyond the
//! cut are forgotten there are two. So now and then a member asks once more to be let in,
//! through somebody it lost ([`crate::lost::Lost`]). In its own network that leads to its
//! own neighbours; in another one to strangers next to it, which it asks as any that it is
//! told of. Each of them hears of this node's neighbours by that, and so on around the
//! circle.

use super::join::Joining;
use super::{Join, Pastry, What, World};
use crate::Peer;

/// Scans in which everybody lost is asked once, on average.
const ROUNDS: usize = 64;
/// In place of a first row: a member has rows of its own.
const NO_ROWS: u8 = u8::MAX;

impl<P: Peer> Pastry<P> {
    /// Now and then, looks for another network.
    pub(super) fn look_beyond<H: World<P>>(&mut self, host: &mut H) {
        let idle = self.busy.as_ref().is_none_or(|busy| busy.joining.is_none());
        let Some(through) = self.past.turn(ROUNDS, host.rng()).filter(|_| idle) else { return };
        let (nonce, wait) = (host.rng().next_u32(), self.config.join_timeout);
        self.busy().joining = Some(Joining { through, nonce, wait, deadline: self.now + wait });
        self.ask(through, What::Join(Join { newcomer: self.me, nonce, hops: 1, row: NO_ROWS }), host);
    }

    /// A member that asked to be let in is shown the leaf set of who is next to it there.
    pub(super) fn found_beyond<H: World<P>>(&mut self, from: P, leaf: &[P], host: &mut H) {
        // What those on the way have to show may come later.
        if let Some(joining) = self.busy.as_ref().and_then(|busy| busy.joining.as_ref()) {
            self.past.forget(joining.through);
        }
        self.heard(from, host);
        self.consider_leaves(leaf, host);
    }
}
