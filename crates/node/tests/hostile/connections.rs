//! Connections as a weapon: too many of them, and handshakes that never end.

use std::rc::Rc;
use std::time::Duration;

use starling_metainfo::Versions;
use tokio::net::UdpSocket;
use tokio::time::interval;

use crate::common::content::Sample;
use crate::common::scene;
use crate::common::sites::{Site, stop};
use crate::common::stranger::Stranger;

fn sample() -> Rc<Sample> {
    Rc::new(Sample::file(Versions::V1, 300_000, 32 << 10))
}

/// One address opens many connections: some are let in, the rest closed, and others are
/// served as if nothing were.
#[test]
fn too_many_from_one_address() {
    scene(async {
        const TRIES: usize = 40;
        let sample = sample();
        let seed = Site::seeder(11, &sample).await;
        let (mut inside, mut refused) = (Vec::new(), 0);
        for _ in 0..TRIES {
            let mut peer = Stranger::dial(66, seed.addr(), &sample).await.unwrap();
            let mut ours = peer.handshake();
            ours.peer_id[19] = inside.len() as u8;
            match peer.greet_with(ours).await {
                Ok(_) => inside.push(peer),
                Err(_) => refused += 1,
            }
        }
        assert_eq!(inside.len(), 16, "the bound on connections from one address");
        assert_eq!(refused, TRIES - 16);
        let mut leecher = Site::leecher(20, &sample, &[seed.addr()]).await;
        leecher.gets(&sample).await;
        stop([seed, leecher]).await;
    });
}

/// Whoever tries uTP is sent to TCP at once; nothing else is answered there.
#[test]
fn utp_is_refused() {
    scene(async {
        let seed = Site::seeder(11, &sample()).await;
        let socket = UdpSocket::bind("127.0.0.66:0").await.unwrap();
        let mut syn = [0; 20];
        (syn[0], syn[2], syn[17]) = (0x41, 7, 9);
        for datagram in [&b"hello"[..], &[0x31; 20], &[0x21; 1400], &syn] {
            socket.send_to(datagram, seed.addr()).await.unwrap();
        }
        let mut answer = [0; 2000];
        let (length, from) = socket.recv_from(&mut answer).await.unwrap();
        assert_eq!(from, seed.addr());
        assert_eq!(answer[..length], [0x31, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9]);
        stop([seed]).await;
    });
}

/// Connections that say nothing hold few places, and others still come in.
#[test]
fn silent_connections() {
    scene(async {
        let sample = sample();
        let seed = Site::seeder(11, &sample).await;
        let mut silent = Vec::new();
        for _ in 0..40 {
            silent.push(Stranger::dial(66, seed.addr(), &sample).await.unwrap());
        }
        let mut leecher = Site::leecher(20, &sample, &[seed.addr()]).await;
        leecher.gets(&sample).await;
        drop(silent);
        stop([seed, leecher]).await;
    });
}

/// A handshake byte by byte, slower than patience: the connection ends although something
/// came all the time.
#[test]
fn slow_loris() {
    scene(async {
        let sample = sample();
        let seed = Site::seeder(11, &sample).await;
        let mut loris = Stranger::dial(66, seed.addr(), &sample).await.unwrap();
        let bytes = loris.handshake().encode();
        let drip = async {
            let mut tick = interval(Duration::from_millis(300));
            for byte in &bytes[..67] {
                tick.tick().await;
                if loris.send_bytes(&[*byte]).await.is_err() {
                    return;
                }
            }
            panic!("twenty seconds for a handshake");
        };
        let mut leecher = Site::leecher(20, &sample, &[seed.addr()]).await;
        leecher.gets(&sample).await;
        drip.await;
        stop([seed, leecher]).await;
    });
}
