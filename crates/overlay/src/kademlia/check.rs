//! What holds of the buckets, always and without joins and failures.

use super::{BUCKETS, Kademlia, KademliaMessage};
use crate::check::Checked;
use crate::{Host, Peer, Routing, View};

impl<P: Peer> Checked<P> for Kademlia<P> {
    /// Everybody stands in the bucket of the prefix that is shared, and the nearest
    /// member is a contact in use.
    fn flaw<'a>(
        &self,
        view: &View<'_, P>,
        _node: &dyn Fn(P) -> Option<&'a Self>,
        host: &impl Host<P, KademliaMessage<P>, Routing<P>>,
    ) -> Option<String>
    where
        Self: 'a,
    {
        for bucket in 0..BUCKETS {
            let all = [self.table.contacts(bucket), self.table.spares(bucket)].concat();
            if let Some(&astray) = all.iter().find(|&&peer| self.table.bucket_of(host.id(peer)) != bucket) {
                return Some(format!("{} stands in its bucket {bucket}", host.id(astray)));
            }
        }
        let me = host.id(self.me);
        // The nearest by XOR are those that share most of the prefix.
        let shared = (0..=crate::Id::BITS).rev().find(|&bits| view.prefix(me, bits).len() > 1)?;
        let near = view.prefix(me, shared).iter().filter(|member| member.1 != self.me);
        let (id, nearest) = near.min_by_key(|member| member.0.xor(me))?;
        let known = self.table.contacts(self.table.bucket_of(*id)).contains(nearest);
        let used = known && self.table.stale().all(|stale| stale != *nearest);
        (!used).then(|| format!("its nearest neighbour {id} is no contact that it uses"))
    }
}
