//! What the tables come to without joins and failures.

use super::Kelips;
use super::message::Message;
use crate::check::Checked;
use crate::{Event, Host, Peer, View};

impl<P: Peer> Checked<P> for Kelips<P> {
    /// Members and contacts are of the groups under which they stand, and the whole group
    /// is known.
    fn flaw<'a>(
        &self,
        view: &View<'_, P>,
        _node: &dyn Fn(P) -> Option<&'a Self>,
        host: &impl Host<P, Message<P>, Event<P>>,
    ) -> Option<String>
    where
        Self: 'a,
    {
        let of = |peer: P| self.table.group_of(host.id(peer));
        let members = self.table.members();
        if let Some(&astray) = members.iter().find(|&&peer| of(peer) != self.table.group) {
            return Some(format!("{} is no member of its group", host.id(astray)));
        }
        for group in (0..self.table.groups()).filter(|&group| group != self.table.group) {
            if let Some(astray) = self.table.contacts(group).find(|&peer| of(peer) != group) {
                return Some(format!("its contact {} is not of group {group}", host.id(astray)));
            }
        }
        let mates = view.members().iter().filter(|member| self.table.group_of(member.0) == self.table.group);
        let mut unknown =
            mates.filter(|member| member.1 != self.me && members.binary_search(&member.1).is_err());
        unknown.next().map(|member| format!("it does not know {} of its group", member.0))
    }
}
