//! Trackers that lie, lead astray or say nothing, beside one that tells of an honest seed.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use starling_metainfo::Versions;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::common::content::Sample;
use crate::common::scene;
use crate::common::servers::{Request, Server, announce_answer, compact, reply, udp_tracker};
use crate::common::sites::{Site, stop};
use crate::common::stranger::Attacker;

fn sample() -> Rc<Sample> {
    Rc::new(Sample::file(Versions::Hybrid, 200_000, 32 << 10))
}

/// An honest tracker that knows these peers.
async fn honest(peers: Vec<SocketAddr>) -> Server {
    Server::start(40, async move |_, stream| reply(stream, "200 OK", "", &announce_answer(&peers)).await)
        .await
}

async fn leecher(sample: &Sample, trackers: Vec<String>) -> Site {
    Site::leecher_with(20, sample, &[], |_, add| add.trackers = trackers).await
}

/// A bad tracker: the user is told what is wrong with it, in words that contain `told`,
/// and the good one suffices. It is asked at most `asked` times.
fn fails_alone<S>(told: &'static str, asked: usize, script: S)
where
    S: AsyncFn(&Request, &mut TcpStream) -> io::Result<()> + 'static,
{
    scene(async {
        let sample = sample();
        let seed = Site::seeder(11, &sample).await;
        let (bad, good) = (Server::start(66, script).await, honest(vec![seed.addr()]).await);
        let bad_url = bad.url("/announce");
        let mut leecher = leecher(&sample, vec![bad_url.clone(), good.url("/announce")]).await;
        leecher.gets(&sample).await;
        leecher.until_said(&bad_url, |said| matches!(said, Err(why) if why.contains(told))).await;
        assert!(bad.targets().len() <= asked, "{:?}", bad.targets());
        stop([seed, leecher]).await;
    });
}

/// Of one announce, and of one when the download completed; each over IPv4 alone.
const ANNOUNCES: usize = 4;

#[test]
fn redirect_loop() {
    fails_alone("redirect", ANNOUNCES * 6, async |request, stream| {
        let location = format!("location: {}\r\n", request.target);
        reply(stream, "302 Found", &location, b"").await
    });
}

#[test]
fn garbage_bencode() {
    fails_alone("", ANNOUNCES, async |_, stream| reply(stream, "200 OK", "", b"d8:intervali").await);
}

#[test]
fn bencode_bomb() {
    fails_alone("", ANNOUNCES, async |_, stream| reply(stream, "200 OK", "", &vec![b'l'; 1 << 20]).await);
}

#[test]
fn server_error() {
    fails_alone("500", ANNOUNCES, async |_, stream| {
        reply(stream, "500 Internal Server Error", "", b"<html>").await
    });
}

#[test]
fn body_without_end() {
    fails_alone("", ANNOUNCES, async |_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await?;
        loop {
            stream.write_all(b"10000\r\n").await?;
            stream.write_all(&[b'x'; 0x10000]).await?;
            stream.write_all(b"\r\n").await?;
        }
    });
}

#[test]
fn headers_without_end() {
    fails_alone("", ANNOUNCES, async |_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\n").await?;
        loop {
            stream.write_all(&[b'x'; 1000]).await?;
            stream.write_all(b": y\r\n").await?;
        }
    });
}

#[test]
fn cut_off() {
    fails_alone("", ANNOUNCES, async |_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nd8:interval").await?;
        Err(io::ErrorKind::BrokenPipe.into())
    });
}

#[test]
fn length_that_lies() {
    fails_alone("", ANNOUNCES, async |_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 18446744073709551615\r\n\r\nd").await?;
        Err(io::ErrorKind::BrokenPipe.into())
    });
}

/// A tracker that keeps the line open and says nothing delays nobody.
#[test]
fn never_answers() {
    scene(async {
        let sample = sample();
        let seed = Site::seeder(11, &sample).await;
        let silent = Server::start(66, async |_, _| std::future::pending().await).await;
        let good = honest(vec![seed.addr()]).await;
        let mut leecher = leecher(&sample, vec![silent.url("/announce"), good.url("/announce")]).await;
        silent.asked(1).await;
        leecher.gets(&sample).await;
        // Leaving does not wait for it either.
        stop([seed, leecher]).await;
    });
}

/// Intervals that would hammer the tracker or never come back are clamped.
#[test]
fn absurd_interval() {
    for interval in ["0", "-1", "-9223372036854775808", "9223372036854775807"] {
        scene(async {
            let sample = sample();
            let seed = Site::seeder(11, &sample).await;
            let peers = compact(&[seed.addr()]);
            let mut body =
                format!("d8:intervali{interval}e12:min intervali{interval}e5:peers6:").into_bytes();
            body.extend_from_slice(&peers);
            body.push(b'e');
            let hasty =
                Server::start(66, async move |_, stream| reply(stream, "200 OK", "", &body).await).await;
            let mut leecher = leecher(&sample, vec![hasty.url("/announce")]).await;
            leecher.gets(&sample).await;
            stop([seed, leecher]).await;
            // Started, completed, stopped, under each of a hybrid torrent's two names.
            assert!(hasty.targets().len() <= 6, "interval {interval}: {:?}", hasty.targets());
        });
    }
}

/// A tracker of a torrent cannot be used to reach local services: only announce paths are
/// asked for on this machine, directly or by redirect.
#[test]
fn ssrf() {
    scene(async {
        let sample = sample();
        let seed = Site::seeder(11, &sample).await;
        let service = Server::start(66, async |_, stream| reply(stream, "200 OK", "", b"secret").await).await;
        let target = service.url("/admin/delete?all=1");
        let lure = Server::start(67, async move |_, stream| {
            reply(stream, "302 Found", &format!("location: {target}\r\n"), b"").await
        });
        let (lure, good) = (lure.await, honest(vec![seed.addr()]).await);
        let direct = service.url("/admin/delete?all=1");
        let trackers = vec![direct.clone(), lure.url("/announce"), good.url("/announce")];
        let mut leecher = leecher(&sample, trackers).await;
        leecher.gets(&sample).await;
        leecher.until_said(&direct, Result::is_err).await;
        leecher.until_said(&lure.url("/announce"), Result::is_err).await;
        assert_eq!(service.targets(), [""; 0], "a local service was asked");
        stop([seed, leecher]).await;
    });
}

/// More peers than any swarm: what is kept stays within the bound.
#[test]
fn countless_peers() {
    scene(async {
        const BOUND: usize = 50;
        let sample = sample();
        let seed = Site::seeder(11, &sample).await;
        // Ports of a loopback address where nobody listens: refused at once.
        let crowd: Vec<SocketAddr> =
            (1..20_000).map(|port| SocketAddr::from(([127, 0, 9, 9], port))).collect();
        let boastful = honest(crowd).await;
        let mut leecher = Site::leecher_with(20, &sample, &[seed.addr()], |config, add| {
            config.limits.known_peers = BOUND;
            add.trackers = vec![boastful.url("/announce")];
        })
        .await;
        leecher.gets(&sample).await;
        leecher.until_said(&boastful.url("/announce"), Result::is_ok).await;
        let known = leecher.torrent.progress().await.unwrap().known_peers;
        assert!((2..=BOUND).contains(&known), "{known} peers known");
        stop([seed, leecher]).await;
    });
}

/// A UDP tracker's answers count only if they are to our question: others, with peers that
/// would be a trap, are ignored, and the right one that comes later still counts.
#[test]
fn udp_answers_to_nobody() {
    scene(async {
        let sample = sample();
        let seed = Site::seeder(11, &sample).await;
        let trap = Attacker::listen(66, &sample, async |_| Ok(())).await;
        let (right, wrong) = (compact(&[seed.addr()]), compact(&[trap.addr]));
        let tracker = udp_tracker(40, move |asked| answers(asked, &right, &wrong)).await;
        let mut leecher = leecher(&sample, vec![format!("udp://{tracker}/announce")]).await;
        leecher.gets(&sample).await;
        assert_eq!(trap.log.met.get(), 0, "a forged answer was believed");
        stop([seed, leecher]).await;
    });
}

/// BEP 15: garbage, a wrong transaction, a wrong connection's answer; then the right one.
fn answers(asked: &[u8], right: &[u8], wrong: &[u8]) -> Vec<Vec<u8>> {
    let (action, transaction) = (&asked[8..12], &asked[12..16]);
    let flipped: Vec<u8> = transaction.iter().map(|byte| !byte).collect();
    let announce = |transaction: &[u8], peers: &[u8]| {
        let numbers = [1800u32, 0, 1].map(u32::to_be_bytes).concat();
        [&1u32.to_be_bytes()[..], transaction, &numbers, peers].concat()
    };
    let connect = |transaction: &[u8]| [&[0; 4][..], transaction, &7u64.to_be_bytes()].concat();
    let garbage = [b"x".to_vec(), Vec::new(), vec![0xff; 1400], asked.to_vec()];
    let mut answers = garbage.to_vec();
    match action {
        [0, 0, 0, 0] => {
            answers.extend([announce(transaction, wrong), connect(&flipped), connect(transaction)]);
        }
        [0, 0, 0, 1] => {
            answers.extend([connect(transaction), announce(&flipped, wrong), announce(transaction, right)]);
        }
        _ => {}
    }
    answers
}

/// A UDP tracker that is not there holds up nobody, not even the end.
#[test]
fn udp_silence() {
    scene(async {
        let sample = sample();
        let seed = Site::seeder(11, &sample).await;
        let silent = udp_tracker(66, |_| Vec::new()).await;
        let good = honest(vec![seed.addr()]).await;
        let trackers = vec![format!("udp://{silent}/announce"), good.url("/announce")];
        let mut leecher = leecher(&sample, trackers).await;
        leecher.gets(&sample).await;
        let left = tokio::time::timeout(Duration::from_secs(20), stop([seed, leecher])).await;
        assert!(left.is_ok(), "good-byes to the silent held up the end");
    });
}
