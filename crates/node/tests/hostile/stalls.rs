//! Peers that waste time: the content comes from elsewhere, and nobody is banned for it.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use starling_metainfo::Versions;
use starling_node::{Add, Config};
use starling_swarm::Message;
use tokio::time::timeout;

use crate::common::content::Sample;
use crate::common::scene;
use crate::common::sites::{Site, stop};
use crate::common::stranger::{Answer, Attacker, Stranger};

fn sample() -> Rc<Sample> {
    Rc::new(Sample::file(Versions::V1, 1 << 20, 32 << 10))
}

/// Patience short enough for a test; the rest as users have it.
fn impatient(config: &mut Config, _: &mut Add) {
    config.swarm.limits.snub = Duration::from_millis(500);
}

/// The staller is met and asked first; then an honest peer connects and brings the rest.
fn costs_only_time<S>(asked: u64, script: S)
where
    S: AsyncFn(&mut Stranger) -> io::Result<()> + 'static,
{
    scene(async {
        let sample = sample();
        let staller = Attacker::listen(66, &sample, script).await;
        let mut leecher = Site::leecher_with(20, &sample, &[staller.addr], impatient).await;
        staller.log.until(|log| log.met.get() > 0 && log.asked.get() >= asked).await;
        let mut seed = Stranger::dial(11, leecher.addr(), &sample).await.unwrap();
        seed.brings_all_to(&mut leecher).await;
        assert!(leecher.banned().await.is_empty());
        stop([leecher]).await;
    });
}

#[test]
fn sends_nothing_at_all() {
    costs_only_time(0, async |peer| {
        peer.gone().await;
        Ok(())
    });
}

#[test]
fn silent_after_the_handshake() {
    costs_only_time(0, async |peer| {
        peer.greet().await?;
        peer.gone().await;
        Ok(())
    });
}

#[test]
fn never_unchokes() {
    costs_only_time(0, async |peer| {
        peer.greet().await?;
        peer.send(&Message::HaveAll).await?;
        peer.serve(|_, _| Answer::Ignore).await
    });
}

#[test]
fn never_answers() {
    costs_only_time(1, async |peer| {
        peer.pose_as_seed().await?;
        peer.serve(|_, _| Answer::Ignore).await
    });
}

#[test]
fn stalls_after_a_few_blocks() {
    costs_only_time(6, async |peer| {
        peer.pose_as_seed().await?;
        let mut sent = 0;
        peer.serve(|_, bytes| {
            sent += 1;
            if sent <= 5 { Answer::Send(bytes) } else { Answer::Ignore }
        })
        .await
    });
}

#[test]
fn chokes_at_once() {
    costs_only_time(1, async |peer| {
        peer.pose_as_seed().await?;
        loop {
            if let Message::Request(block) = peer.next().await? {
                peer.log.add(&peer.log.asked, 1);
                peer.send(&Message::Choke).await?;
                peer.send(&Message::Reject(block)).await?;
                peer.send(&Message::Unchoke).await?;
            }
        }
    });
}

/// The connection breaks within a block, again and again: what came of it is not counted.
#[test]
fn disconnects_within_a_block() {
    costs_only_time(1, async |peer| {
        peer.pose_as_seed().await?;
        loop {
            if let Message::Request(block) = peer.next().await? {
                peer.log.add(&peer.log.asked, 1);
                let header = starling_swarm::wire::encode_piece_header(block);
                peer.send_bytes(&header).await?;
                return peer.send_bytes(&[0xee; 5000]).await;
            }
        }
    });
}

/// Advertises an endless queue: what we have in flight stays within our own bound.
#[test]
fn huge_reqq() {
    const BOUND: u64 = 8;
    scene(async {
        let sample = sample();
        let greedy = Attacker::listen(66, &sample, async |peer| {
            peer.greet().await?;
            peer.extend(|shake| shake.reqq = Some(u32::MAX)).await?;
            peer.claim_all().await?;
            let mut owed = Vec::new();
            loop {
                // All that wait are answered once no more come.
                match timeout(Duration::from_millis(20), peer.next()).await {
                    Ok(Ok(Message::Request(block))) => {
                        owed.push(block);
                        peer.log.count.set(peer.log.count.get().max(owed.len() as u64));
                    }
                    Ok(message) => drop(message?),
                    Err(_) => {
                        for block in owed.drain(..) {
                            let bytes = peer.sample.block(block);
                            peer.send_block(block, &bytes).await?;
                        }
                    }
                }
            }
        });
        let greedy = greedy.await;
        let bounded = |config: &mut Config, _: &mut Add| config.swarm.limits.requests_out = BOUND as u32;
        let mut leecher = Site::leecher_with(20, &sample, &[greedy.addr], bounded).await;
        leecher.gets(&sample).await;
        assert_eq!(greedy.log.count.get(), BOUND, "requests in flight");
        stop([leecher]).await;
    });
}
