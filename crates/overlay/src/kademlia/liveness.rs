//! Who is there: pings, and what follows from answers and from silence.

use super::{Failed, Heard, Kademlia, KademliaMessage, Role, Seen, World};
use crate::{Id, Offence, Peer, Routing, RpcId};

impl<P: Peer> Kademlia<P> {
    /// `peer` sent a request: if we want it as a contact, we make sure that it is there.
    pub(super) fn requested(&mut self, peer: P, host: &mut impl World<P>) {
        if !self.config.frozen && self.table.seen(peer, host.id(peer)) == Seen::Wanted {
            self.ping(peer, host);
        }
    }

    pub(super) fn ping(&mut self, peer: P, host: &mut impl World<P>) {
        let deadline = self.last + self.config.timeout;
        let pings = &mut self.busy().pings;
        if pings.iter().any(|(pinged, ())| pinged == peer) {
            return;
        }
        if let Some(rpc) = pings.open(peer, deadline, (), host.rng()) {
            host.send(peer, KademliaMessage::Ping { rpc });
            self.wake = self.wake.min(deadline);
        }
    }

    pub(super) fn pong(&mut self, from: P, rpc: RpcId, host: &mut impl World<P>) {
        match self.busy.as_mut().and_then(|busy| busy.pings.close(rpc, from)) {
            Some(()) => {
                self.calm();
                self.heard(from, host);
            }
            None => host.refuse(Some(from), Offence::UnknownReply),
        }
        self.rest();
    }

    pub(super) fn expire_pings(&mut self, host: &mut impl World<P>) {
        while let Some((peer, ())) = self.busy.as_mut().and_then(|busy| busy.pings.expire(self.last)) {
            self.lost(peer, false, host);
        }
        self.rest();
    }

    /// `peer` answered.
    pub(super) fn heard(&mut self, peer: P, host: &mut impl World<P>) {
        if self.config.frozen {
            return;
        }
        let id = host.id(peer);
        match self.table.heard(peer, id) {
            Heard::Known => {}
            Heard::New | Heard::Instead(_) => self.update(peer, id, true, host),
            Heard::Full if self.config.eager => self.probe(id, host),
            Heard::Full => {}
        }
    }

    /// `peer` did not answer, or is `gone` for certain. Where one is dead others may be,
    /// most likely those at the same end of its bucket: they are asked, until one answers.
    pub(super) fn lost(&mut self, peer: P, gone: bool, host: &mut impl World<P>) {
        if self.config.frozen {
            return;
        }
        let id = host.id(peer);
        let change = if gone { self.table.remove(peer, id) } else { self.table.failed(peer, id) };
        match change {
            Failed::Unknown => return,
            Failed::Doubted => {}
            Failed::Gone => {
                self.lossy |= 1 << self.table.bucket_of(id);
                self.hurry();
                self.update(peer, id, false, host);
            }
            Failed::Replaced(by) => {
                self.hurry();
                self.update(peer, id, false, host);
                self.update(by, id, true, host);
            }
        }
        self.probe(id, host);
    }

    /// Pings the least recently heard of in the bucket of `id`.
    pub(super) fn probe(&mut self, id: Id, host: &mut impl World<P>) {
        if let Some(oldest) = self.table.oldest(self.table.bucket_of(id)) {
            self.ping(oldest, host);
        }
    }

    /// Dabek's `update`, if a contact that came or went is a neighbour.
    pub(super) fn update(&mut self, peer: P, id: Id, joined: bool, host: &mut impl World<P>) {
        let bucket = self.table.bucket_of(id);
        if bucket >= self.table.neighborhood(self.config.replicas) {
            host.emit(Routing::Update { peer, joined });
        }
        if joined
            && let Some(settling) = &mut self.settling
            && bucket >= self.table.neighborhood(self.config.k)
        {
            settling.news = true;
        }
    }

    pub(super) fn unreachable(&mut self, peer: P, host: &mut impl World<P>) {
        if peer == self.me || self.role == Role::Out {
            return;
        }
        self.lost(peer, true, host);
        self.abandon(peer, host);
    }
}
