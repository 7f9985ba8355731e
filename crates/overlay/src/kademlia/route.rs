//! The common API (Dabek et al. 2003) on Kademlia.

use bytes::Bytes;
use starling_sansio::Time;

use super::{BUCKETS, Kademlia, KademliaMessage, MAX_HOPS, Parcel, Trust, Why, World};
use crate::wire::List;
use crate::{Cost, Host, Id, KeyBased, Offence, Op, Peer, Routing, Wanted};

impl<P: Peer> KeyBased<P> for Kademlia<P> {
    const NAME: &'static str = "kademlia";
    const REPLICAS: usize = 8;

    fn me(&self) -> P {
        self.me
    }

    fn answered_by_value(
        &mut self,
        now: Time,
        op: Op,
        from: P,
        host: &mut impl Host<P, KademliaMessage<P>, Routing<P>>,
    ) -> bool {
        self.tick(now, host) && self.valued(op, from, host)
    }

    fn asked_in_vain(&self, op: Op) -> u32 {
        self.vain(op)
    }

    /// All k must answer, as in the paper.
    fn widen(&mut self, op: Op) {
        self.widen_find(op);
    }

    fn wants(from: P, message: &KademliaMessage<P>) -> Option<Wanted<P>> {
        match *message {
            KademliaMessage::Find { key, op, hops, why: Why::Value, .. } => {
                Some(Wanted { key, origin: from, op: Op(op), hops: u32::from(hops) })
            }
            _ => None,
        }
    }

    fn local_lookup(
        &self,
        key: Id,
        num: usize,
        safe: bool,
        host: &impl Host<P, KademliaMessage<P>, Routing<P>>,
    ) -> Vec<P> {
        let here = host.id(self.me).xor(key);
        let trust = if safe { Trust::Good } else { Trust::Usable };
        let mut peers = self.nearest(key, num, trust, host);
        peers.retain(|&peer| host.id(peer).xor(key) < here);
        peers
    }

    fn neighbor_set(&self, num: usize, host: &impl Host<P, KademliaMessage<P>, Routing<P>>) -> Vec<P> {
        self.nearest(host.id(self.me), num, Trust::Usable, host)
    }

    fn replica_set(
        &self,
        key: Id,
        max_rank: usize,
        host: &impl Host<P, KademliaMessage<P>, Routing<P>>,
    ) -> Vec<P> {
        let here = host.id(self.me).xor(key);
        let mut peers = self.nearest(key, max_rank, Trust::Usable, host);
        let place = peers.partition_point(|&peer| host.id(peer).xor(key) < here);
        peers.insert(place, self.me);
        peers.truncate(max_rank);
        peers
    }

    /// Known for this node's own keys of rank 0 if they are one range: those that share
    /// with it a prefix that nobody else shares. With a gap in the buckets they are more
    /// than one.
    fn range(
        &self,
        node: P,
        rank: usize,
        left: Id,
        host: &impl Host<P, KademliaMessage<P>, Routing<P>>,
    ) -> Option<(Id, Id)> {
        if node != self.me || rank != 0 {
            return None;
        }
        let own = host.id(self.me);
        let contacts = (0..BUCKETS).flat_map(|bucket| self.table.contacts(bucket));
        let mut shared: Vec<u32> = contacts.map(|&peer| host.id(peer).common_prefix(own)).collect();
        shared.sort_unstable();
        shared.dedup();
        let bits = shared.len() as u32;
        let first = own.truncated(bits);
        let mine = left.truncated(bits) == first && shared.last().is_none_or(|&most| most + 1 == bits);
        let before = first.minus(Id::bit(Id::BITS - 1));
        // All but the first `bits` bits set; with none, all around the circle.
        mine.then(|| (before, if bits == 0 { before } else { before.plus(Id::bit(bits - 1)) }))
    }
}

impl<P: Peer> Kademlia<P> {
    /// The contacts closest to `key`, the closest first.
    fn nearest(
        &self,
        key: Id,
        num: usize,
        trust: Trust,
        host: &impl Host<P, KademliaMessage<P>, Routing<P>>,
    ) -> Vec<P> {
        let mut peers = Vec::new();
        self.table.closest(key, num, trust, None, |peer| host.id(peer), &mut peers);
        peers.sort_by_cached_key(|&peer| host.id(peer).xor(key));
        peers
    }

    /// Carries a payload one hop on, to the contact closest to its key, or delivers it
    /// if none is closer than this node. Each hop is closer, so that it ends.
    pub(super) fn carry(
        &mut self,
        from: Option<P>,
        parcel: Parcel,
        hint: Option<P>,
        host: &mut impl World<P>,
    ) {
        let Parcel { mut key, hops, payload } = parcel;
        if hops > MAX_HOPS || from.is_some() == (hops == 0) {
            return host.refuse(from, Offence::OutOfRange);
        }
        let hint = hint.filter(|&peer| peer != self.me);
        let next = hint.or_else(|| self.local_lookup(key, 1, false, host).first().copied());
        let mut payload = Bytes::from(payload.into_vec());
        match next {
            Some(mut next) if hops < MAX_HOPS => {
                if host.forward(&mut key, &mut payload, &mut next) && next != self.me {
                    let parcel = Parcel { key, hops: hops + 1, payload: List::new(payload.into()) };
                    host.send(next, KademliaMessage::Send { parcel: Box::new(parcel) });
                }
            }
            Some(_) => host.refuse(from, Offence::OutOfRange),
            // The root is asked too, before it delivers.
            None => {
                let mut root = self.me;
                if host.forward(&mut key, &mut payload, &mut root) {
                    let cost = Cost { hops: u32::from(hops), timeouts: 0 };
                    host.emit(Routing::Deliver { key, payload, cost });
                }
            }
        }
    }
}
