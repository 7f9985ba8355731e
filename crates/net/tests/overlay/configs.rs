//! The overlays, with intervals of seconds where real networks have minutes, and
//! time-outs for round trips that are short unless the machine is busy.

use std::time::Duration;

use starling_overlay::dht::{Dht, DhtConfig};
use starling_overlay::{Contact, KeyBased, chord, fasttrack, gnutella, kademlia, kelips, napster, pastry};

pub type Chord = Dht<Contact, chord::Chord<Contact>>;
pub type Pastry = Dht<Contact, pastry::Pastry<Contact>>;
pub type Kademlia = Dht<Contact, kademlia::Kademlia<Contact>>;
pub type Kelips = kelips::Kelips<Contact>;
pub type Napster = napster::Napster<Contact>;
pub type Gnutella = gnutella::Gnutella<Contact>;
pub type FastTrack = fasttrack::FastTrack<Contact>;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn dht<K: KeyBased<Contact>>(routing: K::Config) -> DhtConfig<K::Config> {
    DhtConfig {
        answer_timeout: ms(500),
        republish: ms(8_000),
        retry: ms(2_000),
        ..Dht::<Contact, K>::config(routing)
    }
}

pub fn chord() -> DhtConfig<chord::Config> {
    dht::<chord::Chord<Contact>>(chord::Config {
        stabilize: ms(2_000),
        hurry: ms(200),
        fix_fingers: ms(1_000),
        rpc_timeout: ms(500),
        carry_timeout: ms(2_000),
        join_retry: ms(1_000),
        ..chord::Config::default()
    })
}

pub fn pastry() -> DhtConfig<pastry::Config> {
    dht::<pastry::Pastry<Contact>>(pastry::Config {
        heartbeat: ms(2_000),
        scan: ms(2_000),
        answer_timeout: ms(500),
        find_timeout: ms(2_000),
        join_timeout: ms(1_000),
        ..pastry::Config::default()
    })
}

pub fn kademlia() -> DhtConfig<kademlia::Config> {
    dht::<kademlia::Kademlia<Contact>>(kademlia::Config {
        patience: ms(200),
        timeout: ms(500),
        settle: ms(4_000),
        retry: ms(1_000),
        ..kademlia::Config::default()
    })
}

pub fn kelips() -> kelips::Config {
    let slow = kelips::Config::for_nodes(200);
    let faster = 8;
    kelips::Config {
        gossip_interval: slow.gossip_interval / faster,
        member_timeout: slow.member_timeout / faster,
        contact_timeout: slow.contact_timeout / faster,
        refresh_interval: ms(5_000),
        tuple_timeout: ms(60_000),
        rpc_timeout: ms(500),
        ..slow
    }
}

pub fn napster() -> napster::Config {
    napster::Config {
        heartbeat_interval: ms(2_000),
        client_timeout: ms(8_000),
        beat_interval: ms(500),
        server_timeout: ms(3_000),
        rpc_timeout: ms(500),
        retry_interval: ms(1_000),
        op_timeout: ms(5_000),
        ..napster::Config::default()
    }
}

pub fn gnutella() -> gnutella::Config {
    gnutella::Config {
        hop_time: ms(100),
        ping_interval: ms(2_000),
        connect_timeout: ms(1_000),
        ..gnutella::Config::default()
    }
}

/// Small super-peers, so that there are many.
pub fn fasttrack() -> fasttrack::Config {
    fasttrack::Config {
        leaves: 20,
        links: 6,
        hop_time: ms(100),
        timeout: ms(500),
        interval: ms(2_000),
        ..fasttrack::Config::default()
    }
}
