//! From an address to a connection: resolve, ask the policy, connect to that very
//! address, TLS.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use starling_tracker::Refusal;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{self, CertificateError, ClientConfig, RootCertStore, crypto};

use super::{Http, HttpError, Url};
use crate::dns::resolve;

/// How long one of several addresses may take to answer.
const CONNECT_EACH: Duration = Duration::from_secs(4);
/// How long the last one may.
const CONNECT_LAST: Duration = Duration::from_secs(10);
const TLS_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of a head, and of a body in the connection's buffer.
const BUFFER_MAX: usize = 256 << 10;

/// An open connection to a server, for one request at a time.
pub(crate) struct Connection {
    pub(super) sender: SendRequest<Empty<Bytes>>,
    /// Where it leads, for the policy of later requests.
    pub(crate) ip: IpAddr,
    pub(crate) url: Url,
    task: AbortHandle,
}

impl Connection {
    /// Whether a request for `url` can go over this connection.
    pub(crate) fn serves(&self, url: &Url) -> bool {
        !self.sender.is_closed() && self.url.same_server(url)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Connects for `url`. `allow` judges every address its name has.
pub(crate) async fn connect(
    http: &Http,
    url: &Url,
    allow: impl Fn(IpAddr) -> Result<(), Refusal>,
) -> Result<Connection, HttpError> {
    let addrs = resolve(&url.server.host, url.server.port).await?;
    let (stream, ip) = connect_any(http, url, &allowed(http, addrs, allow)?).await?;
    let stream: Pin<Box<dyn Stream>> = match url.is_tls() {
        false => Box::pin(stream),
        true => Box::pin(encrypt(http, url, stream).await?),
    };
    let broken = |error: hyper::Error| HttpError::Broken(error.to_string());
    let mut builder = http1::Builder::new();
    let handshake = builder.max_buf_size(BUFFER_MAX).handshake(TokioIo::new(stream));
    let (sender, connection) = handshake.await.map_err(broken)?;
    let task = tokio::task::spawn_local(async move {
        let _ = connection.await;
    });
    Ok(Connection { sender, ip, url: url.clone(), task: task.abort_handle() })
}

trait Stream: AsyncRead + AsyncWrite {}
impl<T: AsyncRead + AsyncWrite> Stream for T {}

fn allowed(
    http: &Http,
    addrs: Vec<SocketAddr>,
    allow: impl Fn(IpAddr) -> Result<(), Refusal>,
) -> Result<Vec<SocketAddr>, HttpError> {
    let mut refused = None;
    let mut good = Vec::new();
    for addr in addrs.into_iter().filter(|a| http.family_fits(a.ip())) {
        match allow(addr.ip()) {
            Ok(()) => good.push(addr),
            Err(refusal) => refused = Some(refusal),
        }
    }
    match (good.is_empty(), refused) {
        (true, Some(refusal)) => Err(refusal.into()),
        _ => Ok(good),
    }
}

async fn connect_any(http: &Http, url: &Url, addrs: &[SocketAddr]) -> Result<(TcpStream, IpAddr), HttpError> {
    let host = || url.server.host.clone();
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for (i, addr) in addrs.iter().enumerate() {
        let patience = if i + 1 == addrs.len() { CONNECT_LAST } else { CONNECT_EACH };
        match timeout(patience, connect_one(http.bind, *addr)).await {
            Ok(Ok(stream)) => return Ok((stream, addr.ip())),
            Ok(Err(error)) => last = error,
            Err(_) => last = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(HttpError::Connect { host: host(), source: last })
}

async fn connect_one(bind: Option<IpAddr>, addr: SocketAddr) -> io::Result<TcpStream> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(ip) = bind {
        socket.bind(SocketAddr::new(ip, 0))?;
    }
    socket.set_nodelay(true)?;
    socket.connect(addr).await
}

async fn encrypt(
    http: &Http,
    url: &Url,
    stream: TcpStream,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, HttpError> {
    let failed = |why| HttpError::Tls { host: url.server.host.clone(), why };
    let name = ServerName::try_from(url.server.host.clone());
    let name = name.map_err(|_| failed("no certificate can have this name".to_owned()))?;
    let config = http.tls.get_or_init(client_config).clone().map_err(failed)?;
    let handshake = TlsConnector::from(config).connect(name, stream);
    let shaken = timeout(TLS_TIMEOUT, handshake).await.map_err(|_| HttpError::TimedOut)?;
    shaken.map_err(|error| {
        tracing::debug!(host = url.server.host, %error, "no TLS");
        failed(plainly(&error))
    })
}

/// What went wrong in a handshake, for people; the library's own words are for programmers.
pub(super) fn plainly(error: &io::Error) -> String {
    use rustls::Error as Tls;
    let tls = error.get_ref().and_then(|error| error.downcast_ref::<Tls>());
    let why = match tls {
        None if error.kind() == io::ErrorKind::UnexpectedEof => "the server hung up",
        None => return error.to_string(),
        Some(Tls::InvalidCertificate(why)) => certificate(why),
        Some(Tls::InvalidMessage(_)) => "the server does not speak TLS at this port",
        Some(Tls::AlertReceived(_)) => "the server refused it",
        Some(Tls::PeerIncompatible(_)) => "the server knows only kinds of TLS that are not supported",
        Some(_) => "the handshake failed",
    };
    why.to_owned()
}

fn certificate(why: &CertificateError) -> &'static str {
    use CertificateError as Bad;
    match why {
        Bad::Expired | Bad::ExpiredContext { .. } => "its certificate has expired",
        Bad::NotValidYet | Bad::NotValidYetContext { .. } => {
            "its certificate is not valid yet, by the clock of this machine"
        }
        Bad::Revoked => "its certificate was revoked",
        Bad::NotValidForName | Bad::NotValidForNameContext { .. } => "its certificate is for another name",
        // Nobody vouches for it, or it vouches for itself.
        _ => "its certificate is not from anybody whom this system trusts",
    }
}

/// The system's roots, or those of `SSL_CERT_FILE` and `SSL_CERT_DIR`.
fn client_config() -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        return Err("this system has no certificates to trust".into());
    }
    let provider = Arc::new(crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider);
    let config = config.with_safe_default_protocol_versions().map_err(|e| e.to_string())?;
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
