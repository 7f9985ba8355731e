//! A slow road between two peers: a TCP proxy with a delay each way and a link of a
//! limited rate, which several proxies may share.
//!
//! What arrives is taken at the link's pace with a short queue before it, and lies in
//! the delay line until it is due, so the line holds rate times delay. The handshake
//! of TCP itself is not delayed.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::{Result, context};

/// Most that waits before the link.
const QUEUE: Duration = Duration::from_millis(20);
/// Bytes taken at once, and the most such chunks in a delay line.
const CHUNK: usize = 64 << 10;
const CHUNKS: usize = 4096;

/// A link of a limited rate.
pub struct Link {
    bytes_per_s: f64,
    free: Mutex<Instant>,
}

impl Link {
    /// A link that carries so many bits a second.
    pub fn new(bits_per_s: f64) -> Arc<Link> {
        Arc::new(Link { bytes_per_s: bits_per_s / 8.0, free: Mutex::new(Instant::now()) })
    }

    /// Puts `bytes` on the link; when the last of them is through. Waits while the
    /// queue before the link is full.
    fn carry(&self, bytes: usize) -> Instant {
        let through = {
            let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
            *free = (*free).max(Instant::now()) + Duration::from_secs_f64(bytes as f64 / self.bytes_per_s);
            *free
        };
        std::thread::sleep(through.saturating_duration_since(Instant::now()).saturating_sub(QUEUE));
        through
    }
}

/// Listens at `listen` and passes every connection on to `to`, `delay` late each way;
/// what comes from `to` goes over `link`. Its threads end with their connections.
pub fn slow_road(listen: SocketAddr, to: SocketAddr, delay: Duration, link: Arc<Link>) -> Result<()> {
    let listener = context(TcpListener::bind(listen), &listen.to_string())?;
    std::thread::spawn(move || {
        for near in listener.incoming().flatten() {
            let Ok(far) = TcpStream::connect(to) else { continue };
            let (Ok(near_end), Ok(far_end)) = (near.try_clone(), far.try_clone()) else { continue };
            one_way(far_end, near_end, delay, Some(Arc::clone(&link)));
            one_way(near, far, delay, None);
        }
    });
    Ok(())
}

fn one_way(from: TcpStream, to: TcpStream, delay: Duration, link: Option<Arc<Link>>) {
    let _ = to.set_nodelay(true);
    let (line, end_of_line) = sync_channel(CHUNKS);
    std::thread::spawn(move || take_in(from, &line, delay, link.as_deref()));
    std::thread::spawn(move || give_out(to, &end_of_line));
}

fn take_in(mut from: TcpStream, line: &SyncSender<(Instant, Vec<u8>)>, delay: Duration, link: Option<&Link>) {
    loop {
        let mut chunk = vec![0; CHUNK];
        let Ok(length @ 1..) = from.read(&mut chunk) else { return };
        chunk.truncate(length);
        let through = link.map_or_else(Instant::now, |link| link.carry(length));
        if line.send((through + delay, chunk)).is_err() {
            return;
        }
    }
}

fn give_out(mut to: TcpStream, line: &Receiver<(Instant, Vec<u8>)>) {
    while let Ok((due, chunk)) = line.recv() {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        if to.write_all(&chunk).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An echo over a slow road: the bytes come back whole and not before two delays,
    /// and a link's worth of bytes takes its time.
    #[test]
    fn bytes_come_late_and_whole() {
        let echo = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = echo.local_addr().unwrap();
        std::thread::spawn(move || {
            let (stream, _) = echo.accept().unwrap();
            std::io::copy(&mut &stream, &mut &stream).unwrap();
        });
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        slow_road(free, to, Duration::from_millis(30), Link::new(80e6)).unwrap();
        let mut stream = TcpStream::connect(free).unwrap();
        let sent: Vec<u8> = (0..1_000_000u32).map(|i| i as u8).collect();
        let begun = Instant::now();
        let mut writer = stream.try_clone().unwrap();
        let copy = sent.clone();
        std::thread::spawn(move || writer.write_all(&copy).unwrap());
        let mut got = vec![0; sent.len()];
        stream.read_exact(&mut got).unwrap();
        assert!(got == sent);
        assert!(begun.elapsed() >= Duration::from_millis(60 + 100), "{:?}", begun.elapsed());
    }
}
