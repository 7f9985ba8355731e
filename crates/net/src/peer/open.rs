//! From a dial or an accepted socket to an exchanged handshake (BEP 3).

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use starling_swarm::Handshake;
use starling_swarm::wire::{HANDSHAKE_LEN, WireError};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tracing::debug;

use super::handle::Shared;
use super::hub::{Counted, Hub};
use super::link::Link;
use super::{Closed, PeerHandle, PeerHandler};

/// A connection from its beginning to its end, on its own task.
pub(crate) struct Conn {
    pub(crate) shared: Rc<Shared>,
    pub(crate) hub: Rc<Hub>,
    pub(crate) handler: Rc<dyn PeerHandler>,
    pub(crate) counted: Counted,
}

impl Conn {
    pub(crate) async fn dial(self, bind: Option<IpAddr>, ours: Handshake) {
        let addr = self.shared.addr;
        let connecting = async {
            let connecting = timeout(self.hub.limits.connect_timeout, connect(addr, bind));
            let mut stream =
                connecting.await.map_err(|_| Closed::ConnectTimeout)?.map_err(Closed::Connect)?;
            let greeting = async {
                stream.write_all(&ours.encode()).await?;
                read_handshake(&stream).await
            };
            let greeted = timeout(self.hub.limits.handshake_timeout, greeting);
            let theirs = greeted.await.map_err(|_| Closed::HandshakeTimeout)??;
            Ok((stream, theirs))
        };
        let greeted = self.unless_closed(connecting).await;
        let greeted = greeted.and_then(|(stream, theirs)| {
            let handle = PeerHandle(self.shared.clone());
            self.handler.handshake(&handle, theirs).ok_or(Closed::Refused).map(|_| stream)
        });
        self.run(greeted).await;
    }

    pub(crate) async fn accepted(self, stream: TcpStream, half_open: Counted) {
        let greeting = async {
            let greeted = timeout(self.hub.limits.handshake_timeout, read_handshake(&stream));
            greeted.await.map_err(|_| Closed::HandshakeTimeout)?
        };
        let greeted = self.unless_closed(greeting).await.and_then(|theirs| {
            let handle = PeerHandle(self.shared.clone());
            let ours = self.handler.handshake(&handle, theirs).ok_or(Closed::Refused)?;
            self.shared.outbox.borrow_mut().push_first(&ours.encode());
            Ok(())
        });
        drop(half_open);
        self.run(greeted.map(|()| stream)).await;
    }

    async fn unless_closed<T>(&self, work: impl Future<Output = Result<T, Closed>>) -> Result<T, Closed> {
        tokio::select! {
            biased;
            () = self.shared.closing() => Err(Closed::Local),
            done = work => done,
        }
    }

    async fn run(self, greeted: Result<TcpStream, Closed>) {
        let (conn, addr) = (self.shared.conn, self.shared.addr);
        let why = match greeted {
            Ok(stream) => {
                debug!(conn = conn.0, %addr, "greeted");
                Link::new(stream, self.shared.clone(), self.hub, self.handler.clone()).run().await
            }
            Err(why) => why,
        };
        debug!(conn = conn.0, %addr, %why, "closed");
        self.shared.ended.set(true);
        self.shared.outbox.replace(super::outbox::Outbox::new());
        drop(self.counted);
        self.handler.closed(conn, why);
    }
}

async fn connect(addr: SocketAddr, bind: Option<IpAddr>) -> io::Result<TcpStream> {
    let socket = match addr {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    if let Some(ip) = bind.filter(|ip| ip.is_ipv4() == addr.is_ipv4() && !ip.is_unspecified()) {
        socket.bind(SocketAddr::new(ip, 0))?;
    }
    socket.set_nodelay(true)?;
    socket.connect(addr).await
}

/// Reads the peer's handshake and no byte more.
async fn read_handshake(stream: &TcpStream) -> Result<Handshake, Closed> {
    let mut bytes = [0; HANDSHAKE_LEN];
    let mut have = 0;
    loop {
        stream.readable().await?;
        match stream.try_read(&mut bytes[have..]) {
            Ok(0) if have == HANDSHAKE_LEN => return Err(Closed::Protocol(WireError::NotBitTorrent)),
            Ok(0) => return Err(Closed::PeerLeft),
            Ok(n) => have += n,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error.into()),
        }
        if let Some(theirs) = Handshake::decode(&bytes[..have]).map_err(Closed::Protocol)? {
            return Ok(theirs);
        }
    }
}
