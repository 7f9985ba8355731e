//! A private torrent stays private (BEP 27): no local discovery, no peer exchange.
//! Each test shows beside it that a public torrent does what must not be done.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketType, bind, socket, sockopt};
use starling_interop::client::{self, Job, starling::Starling};
use starling_interop::process::Process;
use starling_interop::scene::{PATIENCE, Scene, play};
use starling_interop::torrent::{Kind, Recipe, Torrent};
use starling_interop::tracker::Tracker;
use starling_interop::{Program, Result, content, context};

const NEEDED: [Program; 2] = [Program::Libtorrent, Program::Opentracker];

fn torrents(scene: &Scene) -> Result<[Torrent; 2]> {
    let file = scene.path("content/secret.bin");
    content::write_random(&file, 200_000, 5)?;
    let make = |private: bool| {
        // Of different piece lengths, so that the hashes differ in more than the flag.
        let recipe =
            Recipe { private, piece_length: if private { 32768 } else { 16384 }, ..Recipe::new(Kind::V1) };
        let recipe = recipe.tracker(Tracker::url(scene.tracker()));
        Torrent::make(&file, &scene.path(&format!("private-{private}.torrent")), &recipe)
    };
    Ok([make(true)?, make(false)?])
}

/// Starling seeding, with local discovery left on.
fn seed(scene: &Scene, n: u8, torrent: &Torrent) -> Result<Process> {
    let job = Job { data: scene.path("content"), ..scene.job(n, torrent)? };
    let launch = client::starling::launch(&job, "seed").arg("--no-upnp").arg("-o").arg(&job.data);
    let mut process = launch.arg(&torrent.file).spawn()?;
    starling_interop::probe::await_seeder(job.listen, torrent.wire_hash(), PATIENCE, || process.is_running())
        .map_err(|e| process.complaint(&e))?;
    Ok(process)
}

#[test]
fn a_private_torrent_is_not_announced_on_the_lan() {
    play(&NEEDED, |scene| {
        let [private, public] = torrents(scene)?;
        let listener = multicast_listener(scene)?;
        let home = scene.path("tracker");
        context(std::fs::create_dir_all(&home), "the tracker's folder")?;
        let tracker = Tracker::start(scene.tracker(), &home, &[&private, &public])?;
        let _private = seed(scene, 2, &private)?;
        tracker.await_seeders(private.wire_hash(), 1, PATIENCE)?;
        // The public one comes later, so its announce tells that the other's is overdue.
        let _public = seed(scene, 3, &public)?;
        let heard = hear_until(&listener, &public.wire_hash())?;
        if heard.iter().any(|text| text.contains(&hex(&private.wire_hash()))) {
            return Err(format!("the private torrent was announced: {heard:?}"));
        }
        Ok(())
    });
}

#[test]
fn a_private_torrent_offers_no_peer_exchange() {
    play(&NEEDED, |scene| {
        let [private, public] = torrents(scene)?;
        for (n, torrent, offered) in [(2, &private, false), (3, &public, true)] {
            let _seeder = seed(scene, n, torrent)?;
            let told = extension_handshake(scene.namespace.peer(n), torrent.wire_hash());
            let told = context(told, "the extension handshake")?;
            if told.windows(6).any(|window| window == b"ut_pex") != offered {
                return Err(format!("{}: {}", torrent.file.display(), told.escape_ascii()));
            }
        }
        Ok(())
    });
}

/// With torrents of others around, a private torrent still comes through its tracker.
#[test]
fn a_private_torrent_is_fetched_through_its_tracker() {
    play(&NEEDED, |scene| {
        let [private, _] = torrents(scene)?;
        let cast = starling_interop::scene::Cast {
            seeder: &client::libtorrent::Libtorrent,
            leecher: &Starling,
            magnet: false,
        };
        scene.transfer(&scene.path("content/secret.bin"), &private, &cast)
    });
}

/// Listens to local discovery beside others on this machine.
fn multicast_listener(scene: &Scene) -> Result<UdpSocket> {
    let make = || -> std::io::Result<UdpSocket> {
        let socket = socket(AddressFamily::INET, SocketType::DGRAM, None)?;
        sockopt::set_socket_reuseaddr(&socket, true)?;
        bind(&socket, &SocketAddr::from((Ipv4Addr::UNSPECIFIED, 6771)))?;
        Ok(UdpSocket::from(socket))
    };
    let socket = context(make(), "the multicast socket")?;
    let group = Ipv4Addr::new(239, 192, 152, 143);
    for n in 1..=9 {
        if let std::net::IpAddr::V4(ip) = scene.namespace.ip(n) {
            let _ = socket.join_multicast_v4(&group, &ip); // once for each interface, the rest say so
        }
    }
    context(socket.set_read_timeout(Some(Duration::from_millis(200))), "the multicast socket")?;
    Ok(socket)
}

/// Everything heard until this torrent is named.
fn hear_until(listener: &UdpSocket, info_hash: &[u8]) -> Result<Vec<String>> {
    let (wanted, deadline) = (hex(info_hash), Instant::now() + PATIENCE);
    let (mut heard, mut buffer) = (Vec::new(), [0; 2048]);
    while Instant::now() < deadline {
        let Ok((length, _)) = listener.recv_from(&mut buffer) else { continue };
        heard.push(String::from_utf8_lossy(&buffer[..length]).to_ascii_lowercase());
        if heard.last().is_some_and(|text| text.contains(&wanted)) {
            return Ok(heard);
        }
    }
    Err(format!("the public torrent was never announced; heard {heard:?}"))
}

/// What the peer says first in the extension protocol (BEP 10).
fn extension_handshake(peer: SocketAddr, info_hash: [u8; 20]) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(peer)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    stream.write_all(b"\x13BitTorrent protocol\0\0\0\0\0\x10\0\x04")?;
    stream.write_all(&info_hash)?;
    stream.write_all(b"-PR0002-abcdefghijkl")?;
    stream.read_exact(&mut [0; 68])?;
    loop {
        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        let mut message = vec![0; u32::from_be_bytes(length) as usize & 0xf_ffff];
        stream.read_exact(&mut message)?;
        if message.starts_with(&[20, 0]) {
            return Ok(message);
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
