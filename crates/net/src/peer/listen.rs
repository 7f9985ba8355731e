//! Listening sockets and the loop that accepts from them.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use starling_swarm::ConnId;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio::time::sleep;
use tracing::{debug, warn};

use super::handle::Shared;
use super::hub::Hub;
use super::open::Conn;
use super::{PeerHandler, Peers};

/// Connections the kernel may hold before we accept them.
const BACKLOG: i32 = 128;
/// How long accept rests when this machine has no descriptor or memory left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// Ports tried when the same one must be free in both families.
const PORT_TRIES: usize = 16;

/// TCP sockets that listen, at one port.
pub struct Listener {
    sockets: Vec<TcpListener>,
    addr: SocketAddr,
}

impl Listener {
    /// Listens at `at`. With an unspecified address, on IPv4 and, where there is any,
    /// IPv6, at the same port. Port 0: the system chooses. An error is this machine's:
    /// the port is taken, the address is not ours.
    pub fn bind(at: SocketAddr) -> io::Result<Listener> {
        let mut tries = 0;
        loop {
            tries += 1;
            match Listener::bind_once(at) {
                Err(error) if at.port() == 0 && in_use(&error) && tries < PORT_TRIES => {}
                done => return done,
            }
        }
    }

    fn bind_once(at: SocketAddr) -> io::Result<Listener> {
        if !at.ip().is_unspecified() {
            let socket = listen(at)?;
            return Ok(Listener { addr: socket.local_addr()?, sockets: vec![socket] });
        }
        let v4 = listen(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), at.port()));
        let port = v4.as_ref().ok().and_then(|s| s.local_addr().ok()).map_or(at.port(), |a| a.port());
        let v6 = listen(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port));
        let sockets = match (v4, v6) {
            (Ok(v4), Ok(v6)) => vec![v4, v6],
            (Ok(_), Err(error)) if in_use(&error) => return Err(error),
            (Ok(v4), Err(_)) => vec![v4],
            (Err(error), Ok(_)) if in_use(&error) => return Err(error),
            (Err(_), Ok(v6)) => vec![v6],
            (Err(error), Err(_)) => return Err(error),
        };
        let addr = sockets.first().map_or(Ok(at), TcpListener::local_addr)?;
        Ok(Listener { sockets, addr })
    }

    /// The port, never 0.
    pub fn port(&self) -> u16 {
        self.addr.port()
    }

    /// The first socket's address, with the port that was chosen.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

fn in_use(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrInUse
}

fn listen(at: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(at), Type::STREAM, Some(Protocol::TCP))?;
    if at.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_tcp_nodelay(true)?; // inherited by what is accepted
    socket.set_nonblocking(true)?;
    socket.bind(&at.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Keeps accepting until dropped. Connections that are open stay so.
pub struct Listening(Vec<AbortHandle>);

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.iter().for_each(AbortHandle::abort);
    }
}

impl Peers {
    /// Accepts from `listener`. `admit` is asked for the number of each new connection
    /// that is within the limits; `None` closes it unheard (a banned address). The
    /// handler learns of it by its handshake, or by its end.
    pub fn listen(
        &self,
        listener: Listener,
        handler: Rc<dyn PeerHandler>,
        admit: impl Fn(SocketAddr) -> Option<ConnId> + 'static,
    ) -> Listening {
        let admit = Rc::new(admit);
        let start = |socket: TcpListener| {
            let (hub, handler, admit) = (self.0.clone(), handler.clone(), admit.clone());
            tokio::task::spawn_local(accept(socket, hub, handler, admit)).abort_handle()
        };
        Listening(listener.sockets.into_iter().map(start).collect())
    }
}

async fn accept(
    socket: TcpListener,
    hub: Rc<Hub>,
    handler: Rc<dyn PeerHandler>,
    admit: Rc<impl Fn(SocketAddr) -> Option<ConnId> + 'static>,
) {
    let mut spare = Spare::new();
    loop {
        match socket.accept().await {
            Ok((stream, from)) => {
                greet(stream, from, &hub, &handler, &*admit);
                // Of many who came together, those whose handshakes are here are greeted
                // before the rest would be half-open connections too many.
                if hub.half_open.get() * 2 >= hub.limits.half_open_max {
                    tokio::task::yield_now().await;
                }
            }
            Err(error) if exhausted(&error) => {
                warn!(%error, "cannot accept");
                spare.turn_away(&socket);
                sleep(ACCEPT_PAUSE).await;
            }
            Err(error) => {
                debug!(%error, "a connection was gone before it was accepted");
                tokio::task::yield_now().await;
            }
        }
    }
}

fn greet(
    stream: TcpStream,
    from: SocketAddr,
    hub: &Rc<Hub>,
    handler: &Rc<dyn PeerHandler>,
    admit: &impl Fn(SocketAddr) -> Option<ConnId>,
) {
    let (ip, limits) = (from.ip(), &hub.limits);
    let room = hub.all.has_room(ip, limits.connections_max, limits.connections_per_ip_max)
        && hub.half_open.has_room(ip, limits.half_open_max, limits.half_open_per_ip_max);
    if !room {
        return debug!(%from, "one connection too many");
    }
    let Some(conn) = admit(from) else { return debug!(%from, "not admitted") };
    let shared = Shared::new(conn, from, false, limits.wire);
    let counted = hub.all.enter(ip);
    let half_open = hub.half_open.enter(ip);
    let conn = Conn { shared, hub: hub.clone(), handler: handler.clone(), counted };
    tokio::task::spawn_local(conn.accepted(stream, half_open));
}

/// Whether this machine, rather than the caller, made accept fail.
fn exhausted(error: &io::Error) -> bool {
    const ENOMEM: i32 = 12;
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    const ENOBUFS: i32 = 105;
    matches!(error.raw_os_error(), Some(ENOMEM | ENFILE | EMFILE | ENOBUFS))
}

/// A descriptor in reserve: given up to accept and close one connection, so that the
/// caller learns at once instead of waiting in the backlog.
struct Spare(Option<File>);

impl Spare {
    fn new() -> Spare {
        Spare(File::open("/dev/null").ok())
    }

    fn turn_away(&mut self, socket: &TcpListener) {
        self.0 = None;
        let waker = std::task::Waker::noop();
        let _ = socket.poll_accept(&mut std::task::Context::from_waker(waker));
        *self = Spare::new();
    }
}
