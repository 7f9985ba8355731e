//! How a node finds others when it has too few.

use starling_sansio::Time;

use super::message::Message;
use super::{Asked, FastTrack, World};
use crate::Peer;

impl<P: Peer> FastTrack<P> {
    /// Looks for a super-peer, or, being one, for links: at once until there are as many
    /// as are sought, and now and then until there are as many as the mean.
    pub(super) fn look_around(&mut self, now: Time, host: &mut impl World<P>) {
        self.seek(now, host);
        let Some(office) = &self.office else { return };
        let mut held = office.links.len();
        held += self.asked.iter().filter(|(_, asked)| matches!(asked, Asked::Link)).count();
        for spare in self.spares.clone() {
            if held >= self.config.links_sought() {
                break;
            }
            held += usize::from(self.ask_link(now, spare, host));
        }
        while held < usize::from(self.config.links) && self.tries > 0 && self.past.take_try() {
            let Some(next) = self.any_unlinked(host) else { return };
            held += usize::from(self.ask_link(now, next, host));
        }
    }

    /// A spare name or one that was known once, by chance: either may lead to a part of
    /// the network to which there is no link.
    fn any_unlinked(&mut self, host: &mut impl World<P>) -> Option<P> {
        let office = self.office.as_ref()?;
        let fresh = |spare: &&P| !office.has_link(**spare) && !office.has_leaf(**spare);
        let spare = self.spares.iter().rev().find(fresh).copied();
        let of_old = spare.is_none() || host.rng().below(2) == 0;
        if of_old { self.past.next_name().or(spare) } else { spare }
    }

    /// Asks a super-peer for a link, unless there is no sense in it; whether it did.
    fn ask_link(&mut self, now: Time, peer: P, host: &mut impl World<P>) -> bool {
        if self.tries == 0 {
            return false;
        }
        self.spares.retain(|&spare| spare != peer);
        let asked = self.asked.iter().any(|(one, _)| one == peer);
        let ours = self.office.as_ref().is_some_and(|o| o.has_link(peer) || o.has_leaf(peer));
        if asked || ours {
            return false;
        }
        let deadline = now + self.config.timeout;
        let Some(rpc) = self.asked.open(peer, deadline, Asked::Link, host.rng()) else { return false };
        self.tries -= 1;
        host.send(peer, Message::Link { rpc });
        true
    }

    /// Whether there is somebody to be looked for, and whether there is nobody at all.
    pub(super) fn lacks(&self) -> (bool, bool) {
        match &self.office {
            Some(office) => (office.links.len() < usize::from(self.config.links), office.links.is_empty()),
            None => (self.parent.is_none(), self.parent.is_none()),
        }
    }
}
