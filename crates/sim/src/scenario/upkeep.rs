//! Networks that nobody repairs: what `upkeep = false` means to each overlay.
//!
//! Figures "before repair" need tables that stay as they are: no stabilization, refresh,
//! heartbeat, gossip or renewal. Tables of Chord, Pastry and Kademlia are frozen: what a
//! find learns of the silent serves that find alone, so that it does not matter how many
//! there are. Of the others a node still forgets whom it asked in vain itself.

use std::sync::Arc;
use std::time::Duration;

use starling_overlay::dht::DhtConfig;
use starling_overlay::{chord, fasttrack, gnutella, kademlia, kelips, napster, pastry};

/// Longer than any simulation.
const NEVER: Duration = Duration::from_secs(1_000_000_000);

/// Parameters of an overlay's upkeep.
pub trait Upkeep {
    /// Nothing is done by the clock any more.
    fn stop(&mut self);
}

impl<C: Upkeep + Clone> Upkeep for DhtConfig<C> {
    fn stop(&mut self) {
        (self.republish, self.expire) = (NEVER, NEVER);
        Arc::make_mut(&mut self.routing).stop();
    }
}

impl Upkeep for chord::Config {
    fn stop(&mut self) {
        (self.stabilize, self.fix_fingers) = (NEVER, NEVER);
        self.frozen = true;
    }
}

impl Upkeep for kademlia::Config {
    fn stop(&mut self) {
        (self.refresh, self.probe_min, self.probe_max) = (NEVER, NEVER, NEVER);
        self.frozen = true;
    }
}

impl Upkeep for pastry::Config {
    fn stop(&mut self) {
        (self.heartbeat, self.scan) = (NEVER, NEVER);
        // As long as one find may go around the dead; the next one meets them again.
        (self.frozen, self.suspicion) = (true, 10 * self.answer_timeout);
    }
}

impl Upkeep for kelips::Config {
    fn stop(&mut self) {
        (self.gossip_interval, self.refresh_interval) = (NEVER, NEVER);
        (self.member_timeout, self.contact_timeout, self.tuple_timeout) = (NEVER, NEVER, NEVER);
    }
}

impl Upkeep for gnutella::Config {
    fn stop(&mut self) {
        self.ping_interval = NEVER;
    }
}

impl Upkeep for fasttrack::Config {
    fn stop(&mut self) {
        self.interval = NEVER;
    }
}

impl Upkeep for napster::Config {
    fn stop(&mut self) {
        (self.heartbeat_interval, self.client_timeout) = (NEVER, NEVER);
        (self.beat_interval, self.server_timeout) = (NEVER, NEVER);
    }
}
