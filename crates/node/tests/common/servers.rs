//! Trackers and web servers that follow a script.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Notify;

use super::sites;

/// A request as it came.
pub struct Request {
    /// Path and query.
    pub target: String,
    /// First and last byte asked for, if a range was.
    pub range: Option<(usize, usize)>,
}

/// An HTTP server that answers each request of a connection by a script.
pub struct Server {
    pub addr: SocketAddr,
    targets: Rc<RefCell<Vec<String>>>,
    changed: Rc<Notify>,
}

impl Server {
    pub async fn start<S>(last: u8, script: S) -> Server
    where
        S: AsyncFn(&Request, &mut TcpStream) -> io::Result<()> + 'static,
    {
        let listener = TcpListener::bind(SocketAddr::new(sites::ip(last), 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let server = Server { addr, targets: Rc::default(), changed: Rc::default() };
        let (targets, changed) = (server.targets.clone(), server.changed.clone());
        let script = Rc::new(script);
        tokio::task::spawn_local(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (script, targets, changed) = (script.clone(), targets.clone(), changed.clone());
                tokio::task::spawn_local(async move {
                    while let Ok(request) = read_request(&mut stream).await {
                        targets.borrow_mut().push(request.target.clone());
                        changed.notify_waiters();
                        if script(&request, &mut stream).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        server
    }

    /// An address of this server.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    /// What was asked for so far.
    pub fn targets(&self) -> Vec<String> {
        self.targets.borrow().clone()
    }

    /// Waits until so many requests came.
    pub async fn asked(&self, times: usize) {
        loop {
            let changed = self.changed.notified();
            if self.targets.borrow().len() >= times {
                return;
            }
            changed.await;
        }
    }
}

async fn read_request(stream: &mut TcpStream) -> io::Result<Request> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let range = head.lines().find_map(|line| {
        let line = line.to_ascii_lowercase();
        let (first, last) = line.strip_prefix("range: bytes=")?.split_once('-')?;
        Some((first.parse().ok()?, last.trim().parse().ok()?))
    });
    Ok(Request { target, range })
}

/// Sends a whole answer.
pub async fn reply(stream: &mut TcpStream, status: &str, headers: &str, body: &[u8]) -> io::Result<()> {
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n{headers}\r\n", body.len());
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body).await
}

/// Sends the part of `file` that was asked for, or all of it.
pub async fn reply_file(request: &Request, stream: &mut TcpStream, file: &[u8]) -> io::Result<()> {
    let Some((first, last)) = request.range else { return reply(stream, "200 OK", "", file).await };
    let range = format!("content-range: bytes {first}-{last}/{}\r\n", file.len());
    reply(stream, "206 Partial Content", &range, &file[first..=last]).await
}

/// A tracker's answer with these peers.
pub fn announce_answer(peers: &[SocketAddr]) -> Vec<u8> {
    let compact = compact(peers);
    let mut body = format!("d8:intervali1800e5:peers{}:", compact.len()).into_bytes();
    body.extend_from_slice(&compact);
    body.push(b'e');
    body
}

/// Peers as trackers send them (BEP 23).
pub fn compact(peers: &[SocketAddr]) -> Vec<u8> {
    let entry = |peer: &SocketAddr| {
        let SocketAddr::V4(peer) = peer else { panic!("only IPv4 here") };
        [&peer.ip().octets()[..], &peer.port().to_be_bytes()].concat()
    };
    peers.iter().flat_map(entry).collect()
}

/// A UDP tracker: each datagram is answered by those that `script` makes of it.
pub async fn udp_tracker(last: u8, script: impl Fn(&[u8]) -> Vec<Vec<u8>> + 'static) -> SocketAddr {
    let socket = UdpSocket::bind(SocketAddr::new(sites::ip(last), 0)).await.unwrap();
    let addr = socket.local_addr().unwrap();
    tokio::task::spawn_local(async move {
        let mut buffer = [0; 2048];
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            for answer in script(&buffer[..length]) {
                let _ = socket.send_to(&answer, from).await;
            }
        }
    });
    addr
}
