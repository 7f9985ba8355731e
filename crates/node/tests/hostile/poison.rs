//! Poisoned pieces: hash before counting; ban exactly the liar.

use std::net::SocketAddr;
use std::rc::Rc;

use starling_metainfo::Versions;

use crate::common::content::Sample;
use crate::common::scene;
use crate::common::sites::{Site, ip, stop};
use crate::common::stranger::{Answer, Attacker, Stranger};

/// What each honest seed sends, in bytes a second: little enough that the poisoner, who
/// knows no limit, is asked for much.
const HONEST_RATE: u64 = 1 << 20;

/// One liar, who spoils the second block of each piece, among three honest seeds.
async fn one_poisoner_among_three_honest_seeds(versions: Versions) {
    let sample = Rc::new(Sample::file(versions, (3 << 20) + 5000, 64 << 10));
    let poisoner = Attacker::listen(66, &sample, async |peer| {
        peer.pose_as_seed().await?;
        let spoil = |mut bytes: Vec<u8>| {
            bytes[0] ^= 1;
            bytes
        };
        peer.serve(|block, bytes| Answer::Send(if block.begin == 16384 { spoil(bytes) } else { bytes })).await
    });
    let poisoner = poisoner.await;
    let mut honest = Vec::new();
    for last in 11..14 {
        honest.push(Site::slow_seeder(last, &sample, Some(HONEST_RATE)).await);
    }
    let everyone: Vec<SocketAddr> =
        std::iter::once(poisoner.addr).chain(honest.iter().map(Site::addr)).collect();
    let mut leecher = Site::leecher(20, &sample, &everyone).await;
    leecher.gets(&sample).await;
    leecher.until(|p| !p.banned.is_empty()).await;
    poisoner.left(1).await;
    // One that was not cleared or convicted by now would be by a shutdown's end at the latest.
    assert_eq!(leecher.banned().await, [ip(66)]);
    stop(honest.into_iter().chain([leecher])).await;
}

#[test]
fn poisoned_piece_v1() {
    scene(one_poisoner_among_three_honest_seeds(Versions::V1));
}

#[test]
fn poisoned_piece_v2() {
    scene(one_poisoner_among_three_honest_seeds(Versions::V2));
}

#[test]
fn poisoned_piece_hybrid() {
    scene(one_poisoner_among_three_honest_seeds(Versions::Hybrid));
}

/// A liar who is alone is banned at its first piece, is not served afterwards, and the
/// honest seed that comes later brings everything.
#[test]
fn a_banned_address_is_shunned() {
    scene(async {
        let sample = Rc::new(Sample::folder(Versions::Hybrid, 32 << 10));
        let poisoner = Attacker::listen(66, &sample, async |peer| {
            peer.pose_as_seed().await?;
            peer.serve(|_, bytes| Answer::Send(bytes.iter().map(|byte| !byte).collect())).await
        });
        let poisoner = poisoner.await;
        let mut leecher = Site::leecher(20, &sample, &[poisoner.addr]).await;
        leecher.until(|p| !p.banned.is_empty()).await;
        poisoner.left(1).await;

        let mut again = Stranger::dial(66, leecher.addr(), &sample).await.unwrap();
        assert!(again.greet().await.is_err(), "a banned address was let in");

        let mut second = Stranger::dial(67, leecher.addr(), &sample).await.unwrap();
        second.brings_all_to(&mut leecher).await;
        assert_eq!(leecher.banned().await, [ip(66)]);
        assert_eq!(poisoner.log.met.get(), 1, "a banned address was dialled again");
        stop([leecher]).await;
    });
}
