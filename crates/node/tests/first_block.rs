//! From a tracker's answer to the first block that is asked for, over real sockets.

#![allow(clippy::unwrap_used, clippy::print_stderr)] // a test may panic, and tell its figures

#[allow(dead_code)] // a part of it is needed here
mod common;

use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;

use common::content::Sample;
use common::scene;
use common::servers::{Server, announce_answer, reply};
use common::sites::{Home, config};
use common::stranger::Attacker;
use starling_metainfo::Versions;
use starling_node::{Add, Node};
use starling_swarm::Message;

/// What is asserted is the order; how long it took is printed (`--nocapture`). How long it may
/// take is held in virtual time, in the session's scenarios.
#[test]
fn the_first_block_is_asked_for_after_the_trackers_answer() {
    scene(async {
        let mut took = Vec::new();
        for _ in 0..20 {
            took.push(once().await);
        }
        took.sort_by(f64::total_cmp);
        eprintln!(
            "first request after the tracker's answer: median {:.1} ms, worst of {} {:.1} ms",
            took[took.len() / 2],
            took.len(),
            took[took.len() - 1]
        );
    });
}

/// Milliseconds.
async fn once() -> f64 {
    let sample = Rc::new(Sample::file(Versions::V1, 1 << 20, 64 << 10));
    let asked = Rc::new(Cell::new(None));
    let at = asked.clone();
    let seed = Attacker::listen(66, &sample, async move |peer| {
        peer.greet().await?;
        peer.send(&Message::HaveAll).await?;
        loop {
            match peer.next().await? {
                Message::Interested => peer.send(&Message::Unchoke).await?,
                Message::Request(_) if at.get().is_none() => {
                    at.set(Some(Instant::now()));
                    peer.log.add(&peer.log.count, 1);
                }
                _ => {}
            }
        }
    })
    .await;
    let answered = Rc::new(Cell::new(None));
    let (when, addr) = (answered.clone(), seed.addr);
    let tracker = Server::start(40, async move |_, stream| {
        when.set(when.get().or(Some(Instant::now())));
        reply(stream, "200 OK", "", &announce_answer(&[addr])).await
    })
    .await;
    let home = Home::new();
    let node = Node::start(config(20, &home)).unwrap();
    let trackers = vec![tracker.url("/announce")];
    let add = Add { trackers, ..Add::torrent(sample.torrent.clone(), home.data()) };
    node.add(add).await.unwrap();
    seed.log.until(|log| log.count.get() > 0).await;
    let (answered, asked): (Option<Instant>, Option<Instant>) = (answered.get(), asked.get());
    let took = asked.unwrap().checked_duration_since(answered.unwrap()).unwrap();
    node.shutdown().await.unwrap();
    took.as_secs_f64() * 1000.0
}
