//! Two hundred nodes of each overlay, on sockets of this machine's loopback.

#![allow(clippy::unwrap_used, clippy::print_stdout)] // a test may panic and tell, helpers included

mod configs;
mod crowd;
mod strangers;

use std::time::Duration;

use starling_overlay::{Contact, Overlay};

use crowd::{Crowd, within};

/// Nodes of each overlay.
const NODES: usize = 200;
/// Every such node has something.
const PUBLISHES: usize = 10;
/// How long one overlay may take on a machine that is busy with others.
const DEADLINE: Duration = Duration::from_secs(120);

/// They join, some publish, others find it; a third, and the first node among it, dies
/// without a word; what the living have is found again. One node's life, lived again from
/// its record, is the same.
fn a_life<O: Overlay<Contact> + 'static>(config: O::Config) {
    within(DEADLINE, async {
        let mut crowd = Crowd::<O>::new(config);
        crowd.join(NODES).await;
        let providers: Vec<usize> = (0..NODES).step_by(PUBLISHES).collect();
        crowd.publish(&providers).await;
        crowd.find_each(&providers).await;
        crowd.find_all(NODES - 5, &providers).await;

        let (dead, living): (Vec<usize>, Vec<usize>) = (0..NODES).partition(|n| n % 3 == 0);
        crowd.kill(&dead);
        let provided: Vec<usize> = providers.into_iter().filter(|n| living.contains(n)).collect();
        crowd.find_each(&provided).await;
        crowd.find_all(NODES - 5, &provided).await;

        crowd.check_counts();
        crowd.live_again();
    });
}

#[test]
fn chord() {
    a_life::<configs::Chord>(configs::chord());
}

#[test]
fn pastry() {
    a_life::<configs::Pastry>(configs::pastry());
}

#[test]
fn kademlia() {
    a_life::<configs::Kademlia>(configs::kademlia());
}

#[test]
fn kelips() {
    a_life::<configs::Kelips>(configs::kelips());
}

#[test]
fn napster() {
    a_life::<configs::Napster>(configs::napster());
}

#[test]
fn gnutella() {
    a_life::<configs::Gnutella>(configs::gnutella());
}

#[test]
fn fasttrack() {
    a_life::<configs::FastTrack>(configs::fasttrack());
}
