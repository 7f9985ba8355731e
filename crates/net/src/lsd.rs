//! Multicast for local service discovery (BEP 14): every interface, both families.
//!
//! The loopback interface takes part, and what is sent comes back to this machine, so
//! that two programs on one host meet, also without any network (over IPv4: Linux has
//! no route for IPv6 multicast on loopback). The port is shared
//! with whatever other program listens there. When to send what is the tracker
//! room's; datagrams do not leave the link (TTL 1).

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;

use if_addrs::{Interface, get_if_addrs};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, SockRef, Socket, Type};
use tokio::net::UdpSocket;
use tracing::debug;

use crate::udp::{Receiving, receive_all};

/// BEP 14, IPv4: where messages are sent.
pub const GROUP_V4: Ipv4Addr = Ipv4Addr::new(239, 192, 152, 143);
/// BEP 14, IPv6: where messages are sent.
pub const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff15, 0, 0, 0, 0, 0, 0xefc0, 0x988f);
/// BEP 14: the port of both groups.
pub const PORT: u16 = 6771;

/// Interfaces that are used; a machine with more has them for containers.
const INTERFACES_MAX: usize = 32;

/// The sockets of local discovery.
pub struct Lsd {
    only: Option<IpAddr>,
    groups: [SocketAddr; 2],
    receivers: Vec<Rc<UdpSocket>>,
    joined: RefCell<BTreeSet<(bool, u32)>>,
    senders: RefCell<Vec<Sender>>,
}

/// An address of ours, and a socket that multicasts from it.
struct Sender {
    ip: IpAddr,
    index: u32,
    socket: Socket,
}

impl Lsd {
    /// Joins the groups on every interface, or, if the node listens at one address
    /// only, on that address' interface. An error is this machine's: no family at all
    /// can do multicast, or a program that does not share has the port.
    pub fn open(only: Option<IpAddr>) -> io::Result<Lsd> {
        Lsd::open_at(only, PORT)
    }

    fn open_at(only: Option<IpAddr>, port: u16) -> io::Result<Lsd> {
        let groups = [SocketAddr::new(GROUP_V4.into(), port), SocketAddr::new(GROUP_V6.into(), port)];
        let wanted = groups.into_iter().filter(|g| only.is_none_or(|ip| ip.is_ipv4() == g.is_ipv4()));
        let (mut receivers, mut failed) = (Vec::new(), None);
        for group in wanted {
            match receiver(group) {
                Ok(socket) => receivers.push(Rc::new(socket)),
                Err(error) => failed = Some(error),
            }
        }
        if receivers.is_empty() {
            return Err(failed.unwrap_or_else(|| io::ErrorKind::Unsupported.into()));
        }
        let lsd = Lsd { only, groups, receivers, joined: RefCell::default(), senders: RefCell::default() };
        lsd.refresh()?;
        Ok(lsd)
    }

    /// Calls `on` with every datagram that comes, ours among them, until what this
    /// returns is dropped. Must be called within a `LocalSet`.
    pub fn listen(&self, on: impl Fn(SocketAddr, &[u8]) + 'static) -> Receiving {
        let on = Rc::new(on);
        receive_all(&self.receivers, move |from, datagram| on(from, datagram))
    }

    /// Sends `datagram` from every interface to the IPv4 or the IPv6 group; how many
    /// interfaces took it. Interfaces that came or went since are noticed.
    pub fn send(&self, v6: bool, datagram: &[u8]) -> usize {
        if let Err(error) = self.refresh() {
            debug!(%error, "cannot list interfaces");
        }
        let group = self.groups[usize::from(v6)];
        let senders = self.senders.borrow();
        let fits = senders.iter().filter(|sender| sender.ip.is_ipv6() == v6);
        fits.filter(|sender| sender.socket.send_to(datagram, &group.into()).is_ok()).count()
    }

    /// Looks at the interfaces anew: joins on those that are new, forgets those gone.
    pub fn refresh(&self) -> io::Result<()> {
        let found = usable(get_if_addrs()?, self.only);
        let mut senders = self.senders.borrow_mut();
        senders.retain(|s| found.contains(&(s.ip, s.index)));
        self.joined.borrow_mut().retain(|&(_, index)| found.iter().any(|f| f.1 == index));
        for &(ip, index) in &found {
            self.join(ip, index);
            if senders.iter().any(|s| s.ip == ip && s.index == index) {
                continue;
            }
            match sender(ip, index) {
                Ok(socket) => senders.push(Sender { ip, index, socket }),
                Err(error) => debug!(%ip, %error, "cannot multicast from this address"),
            }
        }
        Ok(())
    }

    fn join(&self, ip: IpAddr, index: u32) {
        if !self.joined.borrow_mut().insert((ip.is_ipv6(), index)) {
            return;
        }
        for socket in &self.receivers {
            let socket = SockRef::from(&**socket);
            let is_v6 = socket.domain().is_ok_and(|d| d == Domain::IPV6);
            let done = match (is_v6, ip) {
                (true, IpAddr::V6(_)) => socket.join_multicast_v6(&GROUP_V6, index),
                (false, IpAddr::V4(_)) => {
                    socket.join_multicast_v4_n(&GROUP_V4, &InterfaceIndexOrAddress::Index(index))
                }
                _ => continue,
            };
            if let Err(error) = done {
                debug!(%ip, %error, "cannot join the group on this interface");
            }
        }
    }
}

/// One address for each interface and family, or `only` alone.
fn usable(interfaces: Vec<Interface>, only: Option<IpAddr>) -> Vec<(IpAddr, u32)> {
    let mut found: Vec<(IpAddr, u32)> = Vec::new();
    for interface in interfaces {
        let (ip, Some(index)) = (interface.ip(), interface.index) else { continue };
        let known = found.iter().any(|&(k, i)| i == index && k.is_ipv4() == ip.is_ipv4());
        let wanted = only.map_or(!known, |only| only == ip);
        if wanted && found.len() < INTERFACES_MAX {
            found.push((ip, index));
        }
    }
    found
}

/// Bound to the group's own address where the system can, so that nothing but what was
/// sent to the group arrives.
fn receiver(group: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(group), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_address(true)?;
    #[cfg(unix)]
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    match group {
        SocketAddr::V4(_) => {
            #[cfg(target_os = "linux")]
            socket.set_multicast_all_v4(false)?;
        }
        SocketAddr::V6(_) => socket.set_only_v6(true)?,
    }
    let any: IpAddr =
        if group.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let at = if cfg!(unix) { group.ip() } else { any };
    socket.bind(&SocketAddr::new(at, group.port()).into())?;
    UdpSocket::from_std(socket.into())
}

fn sender(ip: IpAddr, index: u32) -> io::Result<Socket> {
    let at = match ip {
        IpAddr::V6(v6) if v6.is_unicast_link_local() => std::net::SocketAddrV6::new(v6, 0, 0, index).into(),
        ip => SocketAddr::new(ip, 0),
    };
    let socket = Socket::new(Domain::for_address(at), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    match ip {
        IpAddr::V4(v4) => {
            socket.set_multicast_if_v4(&v4)?;
            socket.set_multicast_loop_v4(true)?;
            socket.set_multicast_ttl_v4(1)?;
        }
        IpAddr::V6(_) => {
            socket.set_only_v6(true)?;
            socket.set_multicast_if_v6(index)?;
            socket.set_multicast_loop_v6(true)?;
            socket.set_multicast_hops_v6(1)?;
        }
    }
    socket.bind(&at.into())?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::unbounded_channel;
    use tokio::task::LocalSet;

    use super::*;

    /// Not the real port: nobody else's messages are to be heard here.
    const TEST_PORT: u16 = 26771;

    #[tokio::test]
    async fn two_programs_on_one_machine_meet_over_loopback() {
        LocalSet::new()
            .run_until(async {
                let only = Some(Ipv4Addr::LOCALHOST.into());
                let (a, b) = (Lsd::open_at(only, TEST_PORT).unwrap(), Lsd::open_at(only, TEST_PORT).unwrap());
                let (seen, mut arrivals) = unbounded_channel();
                let listen = |lsd: &Lsd, name| {
                    let seen = seen.clone();
                    lsd.listen(move |from, datagram| {
                        let _ = seen.send((name, from.ip(), datagram.to_vec()));
                    })
                };
                let _receiving = (listen(&a, 'a'), listen(&b, 'b'));
                assert_eq!(a.send(false, b"hello"), 1);
                let mut heard = [arrivals.recv().await.unwrap(), arrivals.recv().await.unwrap()];
                heard.sort();
                let expected = |name| (name, IpAddr::from(Ipv4Addr::LOCALHOST), b"hello".to_vec());
                assert_eq!(heard, [expected('a'), expected('b')]);
                assert_eq!(a.send(true, b"hello"), 0);
            })
            .await;
    }

    #[tokio::test]
    async fn what_an_interface_took_comes_back_in_either_family() {
        LocalSet::new()
            .run_until(async {
                let lsd = Lsd::open_at(None, TEST_PORT + 2).unwrap();
                let (seen, mut arrivals) = unbounded_channel();
                let _receiving = lsd.listen(move |from, datagram| {
                    let _ = seen.send((from.is_ipv6(), datagram.to_vec()));
                });
                // Loopback takes IPv4 on any system; for IPv6 Linux has no such route there.
                let taken = [lsd.send(false, b"four"), lsd.send(true, b"six")];
                assert!(taken[0] >= 1);
                let mut heard = [0, 0];
                while heard != taken {
                    let (v6, datagram) = arrivals.recv().await.unwrap();
                    assert_eq!(datagram, if v6 { &b"six"[..] } else { b"four" });
                    heard[usize::from(v6)] += 1;
                }
            })
            .await;
    }

    #[tokio::test]
    async fn every_interface_is_used_once_for_each_family() {
        let lsd = Lsd::open_at(None, TEST_PORT + 1).unwrap();
        let before = lsd.senders.borrow().len();
        assert!(before >= 1);
        lsd.refresh().unwrap();
        assert_eq!(lsd.senders.borrow().len(), before);
    }
}
