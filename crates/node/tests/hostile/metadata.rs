//! Lies about the metadata (BEP 9), told to a node that has only a link.

use std::io;
use std::rc::Rc;

use bytes::Bytes;
use starling_metainfo::{Magnet, Versions};
use starling_swarm::Message;
use starling_swarm::extension::{self, ExtensionMessage, MetadataMessage, UT_METADATA};

use crate::common::content::Sample;
use crate::common::scene;
use crate::common::sites::{Site, ip, stop};
use crate::common::stranger::{Attacker, Stranger};

fn sample() -> Rc<Sample> {
    Rc::new(Sample::folder(Versions::Hybrid, 32 << 10))
}

async fn from_link(sample: &Sample, attacker: &Attacker) -> Site {
    let link = Magnet::of(&sample.torrent).to_string();
    Site::leecher_with(20, sample, &[attacker.addr], |_, add| {
        add.torrent = None;
        add.source = link;
    })
    .await
}

/// The liar is met first; then an honest seed joins, and the link becomes the content.
fn honest_metadata_wins<S>(asked: u64, script: S, banned: &[u8])
where
    S: AsyncFn(&mut Stranger) -> io::Result<()> + 'static,
{
    scene(async {
        let sample = sample();
        let liar = Attacker::listen(66, &sample, script).await;
        let mut leecher = from_link(&sample, &liar).await;
        liar.log.until(|log| log.met.get() > 0 && log.asked.get() >= asked).await;
        // Whoever is to be banned must have told all of its lie before the truth ends the matter.
        leecher.until(|p| p.banned.len() >= banned.len()).await;
        let honest = Site::seeder(11, &sample).await;
        let mut guide = Stranger::dial(12, leecher.addr(), &sample).await.unwrap();
        guide.greet().await.unwrap();
        // The way to the seed goes by peer exchange, as it would in a swarm.
        guide.extend(|_| {}).await.unwrap();
        let flags = extension::PexFlags::SEED | extension::PexFlags::REACHABLE;
        let added = vec![extension::PexPeer { addr: honest.addr(), flags }];
        let told = extension::PexMessage { added, dropped: Vec::new() };
        guide.send(&told.message(extension::UT_PEX)).await.unwrap();
        leecher.gets(&sample).await;
        let expected: Vec<_> = banned.iter().map(|last| ip(*last)).collect();
        assert_eq!(leecher.banned().await, expected);
        stop([honest, leecher]).await;
    });
}

/// Offers metadata of `size` bytes and answers requests for it with `answer`.
async fn offer(peer: &mut Stranger, size: u64, answer: impl Fn(u32) -> Option<Vec<u8>>) -> io::Result<()> {
    peer.greet().await?;
    peer.extend(|shake| shake.metadata_size = Some(size)).await?;
    loop {
        let Message::Extended { id, payload } = peer.next().await? else { continue };
        let Ok(ExtensionMessage::Metadata(MetadataMessage::Request { piece })) =
            extension::decode(id, &payload)
        else {
            continue;
        };
        peer.log.add(&peer.log.asked, 1);
        if let Some(bytes) = answer(piece) {
            let data = MetadataMessage::Data { piece, total_size: Some(size), bytes: Bytes::from(bytes) };
            peer.send(&data.message(UT_METADATA)).await?;
        }
    }
}

#[test]
fn absurd_size() {
    for size in [u64::MAX >> 1, 1 << 40, (30 << 20) + 1, 0] {
        honest_metadata_wins(0, async move |peer| offer(peer, size, |_| None).await, &[]);
    }
}

/// A size that is allowed but that nobody will ever fill.
#[test]
fn large_size_and_silence() {
    honest_metadata_wins(1, async |peer| offer(peer, 30 << 20, |_| None).await, &[]);
}

#[test]
fn wrong_bytes_of_the_right_size() {
    let script = async |peer: &mut Stranger| {
        let size = peer.sample.torrent.info.bytes.len() as u64;
        offer(peer, size, move |piece| Some(vec![0x64; piece_len(size, piece)])).await
    };
    honest_metadata_wins(1, script, &[66]);
}

#[test]
fn wrong_bytes_of_a_wrong_size() {
    let script = async |peer: &mut Stranger| {
        let size = 40_000;
        offer(peer, size, move |piece| Some(vec![0x64; piece_len(size, piece)])).await
    };
    honest_metadata_wins(1, script, &[66]);
}

#[test]
fn pieces_too_long_and_too_short() {
    let script = async |peer: &mut Stranger| {
        let size = peer.sample.torrent.info.bytes.len() as u64;
        offer(peer, size, move |piece| Some(vec![0x64; 100_000 * (piece as usize + 1)])).await
    };
    honest_metadata_wins(1, script, &[]);
}

#[test]
fn bencode_bomb() {
    let script = async |peer: &mut Stranger| {
        peer.greet().await?;
        let bomb = Message::Extended { id: 0, payload: vec![b'l'; 900_000].into() };
        peer.send(&bomb).await?;
        let bomb = Message::Extended { id: UT_METADATA, payload: vec![b'd'; 900_000].into() };
        peer.send(&bomb).await?;
        peer.gone().await;
        Ok(())
    };
    honest_metadata_wins(0, script, &[]);
}

fn piece_len(size: u64, piece: u32) -> usize {
    size.saturating_sub(u64::from(piece) * 16384).min(16384) as usize
}
