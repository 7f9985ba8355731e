//! What the tables come to without joins and failures.

use super::Pastry;
use super::message::PastryMessage;
use super::table::Place;
use crate::check::{Checked, beside, ids};
use crate::{Host, Peer, Routing, View};

impl<P: Peer> Checked<P> for Pastry<P> {
    /// Both sides of the leaf set are the true ones, and every entry of the table stands
    /// where its id belongs.
    fn flaw<'a>(
        &self,
        view: &View<'_, P>,
        _node: &dyn Fn(P) -> Option<&'a Self>,
        host: &impl Host<P, PastryMessage<P>, Routing<P>>,
    ) -> Option<String>
    where
        Self: 'a,
    {
        let (me, half) = (host.id(self.me), self.config.half());
        let sides = [("smaller", self.leaf.smaller(), -1), ("larger", self.leaf.larger(), 1)];
        for (name, side, step) in sides {
            let wanted = beside(view, me, step, half);
            if side != wanted {
                let (found, wanted) = (ids(side, |p| host.id(p)), ids(&wanted, |p| host.id(p)));
                return Some(format!("the {name} side of its leaf set is {found}, and should be {wanted}"));
            }
        }
        let width = self.config.width();
        let astray = |&(place, peer): &(Place, P)| Place::of(me, host.id(peer), width) != Some(place);
        let (place, peer) = self.table.iter(width).find(astray)?;
        Some(format!("{} stands in row {} of its table", host.id(peer), place.row))
    }
}
