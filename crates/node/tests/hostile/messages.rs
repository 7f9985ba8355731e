//! Peers that break the protocol: they are left at once, and cost the transfer nothing.

use std::io;
use std::rc::Rc;

use starling_metainfo::Versions;
use starling_swarm::extension::{DontHave, LT_DONTHAVE};
use starling_swarm::{Block, Message};

use crate::common::content::Sample;
use crate::common::scene;
use crate::common::sites::{Site, stop};
use crate::common::stranger::{Answer, Attacker, Stranger};

const HONEST_RATE: u64 = 2 << 20;

fn sample() -> Rc<Sample> {
    Rc::new(Sample::file(Versions::Hybrid, (1 << 20) + 77, 32 << 10))
}

/// The attacker and one honest seed; the attacker is left, nobody is banned, all arrives.
fn is_left<S>(attack: S)
where
    S: AsyncFn(&mut Stranger) -> io::Result<()> + 'static,
{
    scene(async {
        let sample = sample();
        let attacker = Attacker::listen(66, &sample, async move |peer: &mut Stranger| {
            let attacked = attack(peer).await;
            peer.gone().await;
            attacked
        });
        let attacker = attacker.await;
        // The attacker alone first, so that it is met whatever the machine's mood.
        let mut leecher = Site::leecher(20, &sample, &[attacker.addr]).await;
        attacker.left(1).await;
        let mut seed = Stranger::dial(11, leecher.addr(), &sample).await.unwrap();
        seed.brings_all_to(&mut leecher).await;
        assert!(leecher.banned().await.is_empty(), "only liars are banned");
        stop([leecher]).await;
    });
}

#[test]
fn four_gib_length() {
    is_left(async |peer| {
        peer.greet().await?;
        peer.send_bytes(&[0xff, 0xff, 0xff, 0xff, 7]).await
    });
}

#[test]
fn four_gib_extension_message() {
    is_left(async |peer| {
        peer.greet().await?;
        peer.send_bytes(&[0xff, 0xff, 0xff, 0x00, 20, 1]).await
    });
}

#[test]
fn garbage_instead_of_a_handshake() {
    is_left(async |peer| peer.send_bytes(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await);
}

#[test]
fn garbage_after_the_handshake() {
    is_left(async |peer| {
        peer.greet().await?;
        let mut noise = Vec::new();
        for n in 0..4096u32 {
            noise.extend_from_slice(&n.wrapping_mul(0x9e37_79b9).to_be_bytes());
        }
        peer.send_bytes(&noise).await
    });
}

#[test]
fn wrong_info_hash() {
    is_left(async |peer| {
        let other = peer.other_torrent();
        peer.greet_with(other).await.map(drop)
    });
}

#[test]
fn our_own_peer_id() {
    is_left(async |peer| {
        let theirs = peer.their_handshake().await?;
        peer.send_bytes(&theirs.encode()).await
    });
}

#[test]
fn bitfield_twice() {
    is_left(async |peer| {
        peer.greet().await?;
        peer.send(&Message::HaveAll).await?;
        peer.send(&Message::HaveNone).await
    });
}

#[test]
fn bitfield_of_a_wrong_size() {
    is_left(async |peer| {
        peer.greet().await?;
        peer.send(&Message::Bitfield(vec![0xff; 500].into())).await
    });
}

#[test]
fn bitfield_with_spare_bits() {
    is_left(async |peer| {
        peer.greet().await?;
        let pieces = peer.sample.torrent.info.layout.pieces() as usize;
        peer.send(&Message::Bitfield(vec![0xff; pieces.div_ceil(8)].into())).await
    });
}

#[test]
fn pieces_that_do_not_exist() {
    is_left(async |peer| {
        peer.greet().await?;
        peer.send(&Message::HaveNone).await?;
        peer.send(&Message::Have(u32::MAX)).await
    });
}

#[test]
fn flood_of_haves() {
    is_left(async |peer| {
        peer.greet().await?;
        peer.send(&Message::HaveNone).await?;
        let mut flood = Vec::new();
        for _ in 0..1000 {
            starling_swarm::wire::encode(&Message::Have(0), &mut flood);
        }
        loop {
            peer.send_bytes(&flood).await?;
        }
    });
}

#[test]
fn flood_of_interest() {
    is_left(async |peer| {
        peer.greet().await?;
        let mut flood = Vec::new();
        for _ in 0..1000 {
            starling_swarm::wire::encode(&Message::Interested, &mut flood);
            starling_swarm::wire::encode(&Message::NotInterested, &mut flood);
        }
        loop {
            peer.send_bytes(&flood).await?;
        }
    });
}

/// Blocks nobody asked for: at most a few are borne, none is kept.
#[test]
fn unrequested_blocks() {
    is_left(async |peer| {
        peer.greet().await?;
        peer.send(&Message::HaveNone).await?;
        loop {
            let block = Block { piece: 0, begin: 0, length: 16384 };
            peer.send_block(block, &[0x55; 16384]).await?;
        }
    });
}

#[test]
fn blocks_of_another_length() {
    is_left(async |peer| {
        peer.pose_as_seed().await?;
        peer.serve(|_, bytes| Answer::Send(bytes[..100].to_vec())).await
    });
}

#[test]
fn blocks_too_long() {
    is_left(async |peer| {
        peer.pose_as_seed().await?;
        peer.serve(|_, bytes| Answer::Send([&bytes[..], &[0; 16384]].concat())).await
    });
}

#[test]
fn rejects_everything() {
    is_left(async |peer| {
        peer.pose_as_seed().await?;
        tokio::select! {
            ended = peer.serve(|_, _| Answer::Reject) => ended,
        }
    });
}

#[test]
fn requests_for_what_does_not_exist() {
    for (piece, begin, length) in
        [(0, 0, 0), (0, u32::MAX, 16384), (u32::MAX, 0, 16384), (0, 0, u32::MAX), (0, 0, 129 << 10)]
    {
        is_left(async move |peer| {
            peer.greet().await?;
            peer.send(&Message::HaveNone).await?;
            peer.send(&Message::Interested).await?;
            peer.send(&Message::Request(Block { piece, begin, length })).await
        });
    }
}

/// Gains and loses the same piece over and over: believed each time, and no harm.
#[test]
fn changes_its_mind() {
    scene(async {
        let sample = sample();
        let fickle = Attacker::listen(66, &sample, async |peer| {
            peer.greet().await?;
            peer.send(&Message::HaveNone).await?;
            peer.send(&Message::Unchoke).await?;
            for piece in (0..peer.sample.torrent.info.layout.pieces()).cycle().take(400) {
                peer.send(&Message::Have(piece)).await?;
                peer.send(&DontHave { piece }.message(LT_DONTHAVE)).await?;
            }
            peer.serve(|_, _| Answer::Ignore).await
        });
        let fickle = fickle.await;
        let seed = Site::slow_seeder(11, &sample, Some(HONEST_RATE)).await;
        let mut leecher = Site::leecher(20, &sample, &[fickle.addr, seed.addr()]).await;
        leecher.gets(&sample).await;
        assert!(leecher.banned().await.is_empty());
        stop([seed, leecher]).await;
    });
}

/// Asks a seed for far more than its `reqq`: every request is answered, by a block or a
/// reject, and an honest leecher is served meanwhile.
#[test]
fn request_flood() {
    scene(async {
        const FLOOD: u32 = 8_000;
        let sample = sample();
        let seed = Site::seeder(11, &sample).await;
        let mut flooder = Stranger::dial(66, seed.addr(), &sample).await.unwrap();
        flooder.greet().await.unwrap();
        flooder.send(&Message::HaveNone).await.unwrap();
        flooder.send(&Message::Interested).await.unwrap();
        while flooder.next().await.unwrap() != Message::Unchoke {}
        let mut flood = Vec::new();
        let request = |n: u32| Block { piece: n % 32, begin: 0, length: 16384 };
        for n in 0..FLOOD {
            starling_swarm::wire::encode(&Message::Request(request(n)), &mut flood);
        }
        let mut leecher = Site::leecher(20, &sample, &[seed.addr()]).await;
        flooder.send_bytes(&flood).await.unwrap();
        leecher.gets(&sample).await;
        let (mut blocks, mut rejects) = (0, 0);
        while blocks + rejects < FLOOD {
            match flooder.next_with_payload().await.unwrap() {
                (Message::Piece(block), payload) => {
                    assert!(payload == sample.block(block));
                    blocks += 1;
                }
                (Message::Reject(_), _) => rejects += 1,
                _ => {}
            }
        }
        assert!(blocks > 0, "nothing was served");
        stop([seed, leecher]).await;
    });
}
