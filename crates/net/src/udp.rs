//! Datagrams: one socket for each address family, for UDP trackers (BEP 15).
//!
//! What the datagrams mean is the tracker core's. Sending never waits: a datagram the
//! system does not take is lost, as it might be anywhere on its way.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::UdpSocket;
use tokio::task::AbortHandle;
use tokio::time::sleep;

/// Longest datagram that is read; longer ones are cut, and then make no sense.
const DATAGRAM_MAX: usize = 8 << 10;
/// Datagrams read before other tasks get their turn.
const READS_PER_TURN: usize = 64;
/// Rest after an error of the socket itself.
const ERROR_PAUSE: Duration = Duration::from_millis(100);

/// A pair of sockets, IPv4 and IPv6, as far as the machine has both.
pub struct Udp {
    sockets: Vec<Rc<UdpSocket>>,
}

impl Udp {
    /// Binds at `at`; with an unspecified address in both families, at any port if
    /// `at` has port 0 (not the same one then). An error is this machine's.
    pub fn bind(at: SocketAddr) -> io::Result<Udp> {
        if !at.ip().is_unspecified() {
            return Ok(Udp { sockets: vec![Rc::new(open(at)?)] });
        }
        let any = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
        let mut tried = any.map(|ip| open(SocketAddr::new(ip, at.port()))).into_iter();
        let sockets: Vec<_> = tried.by_ref().flatten().map(Rc::new).collect();
        match sockets.is_empty() {
            true => Err(io::ErrorKind::AddrNotAvailable.into()),
            false => Ok(Udp { sockets }),
        }
    }

    /// Where the socket for `to`'s family is bound.
    pub fn local_addr(&self, to: SocketAddr) -> io::Result<SocketAddr> {
        self.socket(to)?.local_addr()
    }

    /// Sends one datagram, or fails at once: no socket of this family, no route, or
    /// the system's buffer is full.
    pub fn send(&self, to: SocketAddr, datagram: &[u8]) -> io::Result<()> {
        SockRef::from(self.socket(to)?).send_to(datagram, &to.into()).map(|_| ())
    }

    /// Calls `on` with every datagram that comes, on this thread, until what this
    /// returns is dropped. Must be called within a `LocalSet`.
    pub fn listen(&self, on: impl Fn(SocketAddr, &[u8]) + 'static) -> Receiving {
        let on = Rc::new(on);
        receive_all(&self.sockets, move |from, datagram| on(from, datagram))
    }

    fn socket(&self, to: SocketAddr) -> io::Result<&UdpSocket> {
        let fits = |s: &&Rc<UdpSocket>| s.local_addr().is_ok_and(|a| a.is_ipv4() == to.is_ipv4());
        let socket = self.sockets.iter().find(fits);
        socket.map(|s| &**s).ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
    }
}

pub(crate) fn open(at: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(at), Type::DGRAM, Some(Protocol::UDP))?;
    if at.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&at.into())?;
    UdpSocket::from_std(socket.into())
}

/// Keeps receiving until dropped.
pub struct Receiving(Vec<AbortHandle>);

impl Drop for Receiving {
    fn drop(&mut self) {
        self.0.iter().for_each(AbortHandle::abort);
    }
}

/// Starts a task for each socket that hands every datagram to `on`.
pub(crate) fn receive_all(
    sockets: &[Rc<UdpSocket>],
    on: impl Fn(SocketAddr, &[u8]) + Clone + 'static,
) -> Receiving {
    let start =
        |socket: &Rc<UdpSocket>| tokio::task::spawn_local(receive(socket.clone(), on.clone())).abort_handle();
    Receiving(sockets.iter().map(start).collect())
}

async fn receive(socket: Rc<UdpSocket>, on: impl Fn(SocketAddr, &[u8])) {
    let mut buf = vec![0; DATAGRAM_MAX];
    loop {
        let _ = socket.readable().await;
        for _ in 0..READS_PER_TURN {
            match socket.try_recv_from(&mut buf) {
                Ok((n, from)) => on(from, &buf[..n]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => sleep(ERROR_PAUSE).await,
            }
        }
        tokio::task::yield_now().await;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use tokio::sync::mpsc::unbounded_channel;
    use tokio::task::LocalSet;

    use super::*;

    #[tokio::test]
    async fn datagrams_come_and_go_in_both_families() {
        LocalSet::new()
            .run_until(async {
                let (seen, mut arrivals) = unbounded_channel();
                let (a, b) = (any(), any());
                let _receiving = b.listen(move |from, datagram| {
                    let _ = seen.send((from, datagram.to_vec()));
                });
                for ip in ["127.0.0.1", "::1"] {
                    let to = SocketAddr::new(ip.parse().unwrap(), 0);
                    let Ok(at) = b.local_addr(to) else { continue };
                    let to = SocketAddr::new(to.ip(), at.port());
                    a.send(to, ip.as_bytes()).unwrap();
                    let (from, datagram) = arrivals.recv().await.unwrap();
                    assert_eq!(datagram, ip.as_bytes());
                    assert_eq!(from.port(), a.local_addr(to).unwrap().port());
                }
            })
            .await;
    }

    #[tokio::test]
    async fn a_bound_address_is_the_sender() {
        LocalSet::new()
            .run_until(async {
                let (seen, mut arrivals) = unbounded_channel();
                let at = "127.0.0.7:0".parse().unwrap();
                let (a, b) = (Udp::bind(at).unwrap(), Udp::bind(at).unwrap());
                let seen = RefCell::new(seen);
                let _receiving = b.listen(move |from, _| {
                    let _ = seen.borrow_mut().send(from);
                });
                a.send(b.local_addr(at).unwrap(), b"x").unwrap();
                assert_eq!(arrivals.recv().await.unwrap().ip(), at.ip());
                assert!(a.send("[::1]:9".parse().unwrap(), b"x").is_err());
            })
            .await;
    }

    fn any() -> Udp {
        Udp::bind("0.0.0.0:0".parse().unwrap()).unwrap()
    }
}
