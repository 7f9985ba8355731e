//! The world as the routing core below sees it.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use starling_sansio::Rng;

use super::DhtMessage;
use super::jobs::Job;
use crate::{Event, Host, Id, Message, Offence, Peer, Purpose, Routing};

/// Wraps what the routing core sends, and keeps what it tells.
pub struct Under<'a, H, P> {
    pub host: &'a mut H,
    pub events: Vec<Routing<P>>,
    /// What the finds are for of which the core sends messages now, if they are not of
    /// these jobs.
    pub cause: Purpose,
    /// The jobs of this node, where it does a core's own work: each find has its purpose.
    pub jobs: Option<&'a BTreeMap<u32, Job<P>>>,
}

impl<'a, H, P> Under<'a, H, P> {
    /// The world in which what is sent belongs to a find that is for `cause`.
    pub fn new(host: &'a mut H, cause: Purpose) -> Self {
        Under { host, events: Vec::new(), cause, jobs: None }
    }

    /// The world in which what is sent belongs to whatever job its find is of; else it is
    /// somebody else's find.
    pub fn of_jobs(host: &'a mut H, jobs: Option<&'a BTreeMap<u32, Job<P>>>) -> Self {
        Under { host, events: Vec::new(), cause: Purpose::LookUp, jobs }
    }
}

impl<P: Peer, M: Message<P>, H: Host<P, DhtMessage<P, M>, Event<P>>> Host<P, M, Routing<P>>
    for Under<'_, H, P>
{
    #[inline(always)]
    fn id(&self, peer: P) -> Id {
        self.host.id(peer)
    }

    fn rng(&mut self) -> &mut Rng {
        self.host.rng()
    }

    fn distance(&self, peer: P) -> Option<Duration> {
        self.host.distance(peer)
    }

    fn send(&mut self, to: P, message: M) {
        let job = self.jobs.and_then(|jobs| jobs.get(&message.find()?.0));
        let cause = job.map_or(self.cause, |job| job.task.cause());
        self.host.send(to, DhtMessage::Routing { cause, message });
    }

    fn emit(&mut self, event: Routing<P>) {
        self.events.push(event);
    }

    fn refuse(&mut self, from: Option<P>, offence: Offence) {
        self.host.refuse(from, offence);
    }

    fn forward(&mut self, key: &mut Id, payload: &mut Bytes, next: &mut P) -> bool {
        self.host.forward(key, payload, next)
    }
}

/// The world to be looked at only: who holds it by a shared reference can neither
/// draw, send nor tell.
pub struct Seen<'a, H> {
    host: &'a H,
    unused: Rng,
}

impl<'a, H> Seen<'a, H> {
    pub fn new(host: &'a H) -> Self {
        Seen { host, unused: Rng::from_seed(0) }
    }
}

impl<P: Peer, M, H: Host<P, DhtMessage<P, M>, Event<P>>> Host<P, M, Routing<P>> for Seen<'_, H> {
    fn id(&self, peer: P) -> Id {
        self.host.id(peer)
    }

    fn rng(&mut self) -> &mut Rng {
        &mut self.unused
    }

    fn distance(&self, peer: P) -> Option<Duration> {
        self.host.distance(peer)
    }

    fn send(&mut self, _to: P, _message: M) {}

    fn emit(&mut self, _event: Routing<P>) {}

    fn refuse(&mut self, _from: Option<P>, _offence: Offence) {}
}
