//! An HTTP/1.1 client for what strangers' links point at: trackers (BEP 3), torrent
//! files, web seeds.
//!
//! Every address is judged after the name was resolved and before anything is sent,
//! and the address that was judged is the one connected to; redirects are followed
//! here, a few, each judged anew. Answers have a size and a deadline. Certificates
//! are always checked. Not here: cookies, caches, proxies, HTTP/2, POST.

mod connect;
mod error;
mod url;

use std::cell::OnceCell;
use std::io::Read;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Request, Response};
use starling_tracker::{Refusal, check_target, is_local};
use tokio::time::timeout;
use tokio_rustls::rustls::ClientConfig;

pub(crate) use connect::{Connection, connect};
pub use error::HttpError;
pub use url::Url;
pub(crate) use url::escape_component;

/// Redirects that are followed.
pub const REDIRECTS_MAX: usize = 5;
/// How we name ourselves.
const USER_AGENT: &str =
    concat!("Starling/", env!("CARGO_PKG_VERSION_MAJOR"), ".", env!("CARGO_PKG_VERSION_MINOR"));

/// What a request is for; with it come its limits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// An announce or a scrape, addressed by a torrent.
    Tracker,
    /// A torrent file, addressed by the user.
    Torrent,
    /// Content, addressed by a torrent.
    WebSeed,
}

impl Purpose {
    /// Bytes an answer may have.
    fn body_max(self) -> usize {
        match self {
            Purpose::Tracker => 2 << 20,
            Purpose::Torrent | Purpose::WebSeed => 64 << 20,
        }
    }

    /// From the request to the end of the answer, redirects included.
    fn deadline(self) -> Duration {
        match self {
            Purpose::Tracker => Duration::from_secs(30),
            Purpose::Torrent | Purpose::WebSeed => Duration::from_secs(300),
        }
    }

    /// Whether a request for `url` may go to `ip`.
    pub(crate) fn allows(self, url: &Url, ip: IpAddr, from_public: bool) -> Result<(), Refusal> {
        use starling_tracker::Purpose as Rule;
        let (rule, query) = match self {
            Purpose::Tracker => (Rule::HttpTracker, url.query()),
            Purpose::WebSeed => (Rule::WebSeed, url.query()),
            // The user may well fetch from a local server, with whatever query.
            Purpose::Torrent => (Rule::WebSeed, None),
        };
        check_target(rule, url.path(), query, ip, from_public)
    }
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code; redirects have been followed.
    pub status: u16,
    /// The body, decompressed.
    pub body: Bytes,
}

/// The client. Cheap to clone; for the network thread only.
#[derive(Clone, Default)]
pub struct Http {
    bind: Option<IpAddr>,
    v6: Option<bool>,
    tls: Rc<OnceCell<Result<Arc<ClientConfig>, String>>>,
}

impl Http {
    /// Connections come from `bind` if that is one address.
    pub fn new(bind: Option<IpAddr>) -> Http {
        Http { bind: bind.filter(|ip| !ip.is_unspecified()), ..Http::default() }
    }

    /// The same client for one address family only: trackers are told of both of our
    /// addresses by an announce over each (BEP 7).
    pub fn only(&self, v6: bool) -> Http {
        Http { v6: Some(v6), ..self.clone() }
    }

    /// Fetches all of `url` at once. Must be called within a `LocalSet`.
    pub async fn get(&self, url: Url, purpose: Purpose) -> Result<Answer, HttpError> {
        self.get_within(url, purpose, purpose.body_max(), purpose.deadline()).await
    }

    pub(crate) async fn get_within(
        &self,
        url: Url,
        purpose: Purpose,
        body_max: usize,
        deadline: Duration,
    ) -> Result<Answer, HttpError> {
        let work = async {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
            let mut hops = Hops::new(url, purpose);
            loop {
                let mut connection = self.open(&hops).await?;
                let response = send(&mut connection, &hops.url, &headers).await?;
                if !hops.follow(&response, &connection)? {
                    return collect(response, body_max).await;
                }
            }
        };
        timeout(deadline, work).await.map_err(|_| HttpError::TimedOut)?
    }

    /// Connects for the present hop.
    pub(crate) async fn open(&self, hops: &Hops) -> Result<Connection, HttpError> {
        connect(self, &hops.url, |ip| hops.allows(ip)).await
    }

    fn family_fits(&self, ip: IpAddr) -> bool {
        let bound = self.bind.is_none_or(|bind| bind.is_ipv6() == ip.is_ipv6());
        bound && self.v6.is_none_or(|v6| v6 == ip.is_ipv6())
    }
}

/// The way a request takes through redirects.
#[derive(Clone, Debug)]
pub(crate) struct Hops {
    pub(crate) url: Url,
    purpose: Purpose,
    left: usize,
    from_public: bool,
}

impl Hops {
    pub(crate) fn new(url: Url, purpose: Purpose) -> Hops {
        Hops { url, purpose, left: REDIRECTS_MAX, from_public: false }
    }

    pub(crate) fn allows(&self, ip: IpAddr) -> Result<(), Refusal> {
        self.purpose.allows(&self.url, ip, self.from_public)
    }

    /// Goes on to where `response` redirects to; false if it does not.
    pub(crate) fn follow<B>(&mut self, response: &Response<B>, via: &Connection) -> Result<bool, HttpError> {
        if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
            return Ok(false);
        }
        self.left = self.left.checked_sub(1).ok_or(HttpError::TooManyRedirects(REDIRECTS_MAX))?;
        let location = response.headers().get(header::LOCATION).ok_or(HttpError::NoLocation)?;
        let next = self.url.join(&String::from_utf8_lossy(location.as_bytes()));
        let next = next.map_err(HttpError::BadLocation)?;
        // Content is checked by its hash, whatever way it came; other answers are not.
        if self.url.is_tls() && !next.is_tls() && self.purpose != Purpose::WebSeed {
            return Err(HttpError::Downgrade);
        }
        self.from_public |= !is_local(via.ip);
        self.url = next;
        Ok(true)
    }
}

/// Sends one GET and waits for the head of the answer.
pub(crate) async fn send(
    connection: &mut Connection,
    url: &Url,
    headers: &HeaderMap,
) -> Result<Response<Incoming>, HttpError> {
    let broken = |error: &dyn std::error::Error| HttpError::Broken(error.to_string());
    let mut request = Request::get(&url.target);
    if let Some(all) = request.headers_mut() {
        let value = |text: String| HeaderValue::try_from(text).map_err(|e| broken(&e));
        all.insert(header::HOST, value(url.server.authority())?);
        all.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        if let Some(userinfo) = &url.server.userinfo {
            all.insert(header::AUTHORIZATION, value(basic(userinfo))?);
        }
        all.extend(headers.clone());
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|e| broken(&e))?;
    connection.sender.ready().await.map_err(|e| broken(&e))?;
    connection.sender.send_request(request).await.map_err(|e| broken(&e))
}

async fn collect(response: Response<Incoming>, max: usize) -> Result<Answer, HttpError> {
    let status = response.status().as_u16();
    let encoding = response.headers().get(header::CONTENT_ENCODING);
    let gzip = encoding.is_some_and(|e| [&b"gzip"[..], b"x-gzip"].contains(&e.as_bytes()));
    let mut incoming = response.into_body();
    let mut body = Vec::new();
    while let Some(frame) = incoming.frame().await {
        let frame = frame.map_err(|e| HttpError::Broken(e.to_string()))?;
        let data = frame.into_data().unwrap_or_default();
        if body.len() + data.len() > max {
            return Err(HttpError::TooLarge(max));
        }
        body.extend_from_slice(&data);
    }
    let body = if gzip { gunzip(&body, max)? } else { body };
    Ok(Answer { status, body: body.into() })
}

fn gunzip(packed: &[u8], max: usize) -> Result<Vec<u8>, HttpError> {
    let mut body = Vec::new();
    let unpacked = flate2::read::MultiGzDecoder::new(packed);
    let read = unpacked.take(max as u64 + 1).read_to_end(&mut body);
    read.map_err(|error| HttpError::Broken(format!("bad gzip: {error}")))?;
    if body.len() > max { Err(HttpError::TooLarge(max)) } else { Ok(body) }
}

/// The value of `Authorization` for `user:password` (RFC 7617).
fn basic(userinfo: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::from("Basic ");
    for three in unescape(userinfo).chunks(3) {
        let bits = three.iter().enumerate().fold(0u32, |bits, (i, &b)| bits | u32::from(b) << (16 - 8 * i));
        for i in 0..4 {
            let digit = char::from(DIGITS[(bits >> (18 - 6 * i)) as usize & 63]);
            out.push(if i <= three.len() { digit } else { '=' });
        }
    }
    out
}

fn unescape(text: &str) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((&byte, tail)) = rest.split_first() {
        let hex = tail.get(..2).filter(|_| byte == b'%').and_then(|h| std::str::from_utf8(h).ok());
        match hex.and_then(|h| u8::from_str_radix(h, 16).ok()) {
            Some(value) => {
                out.push(value);
                rest = &tail[2..];
            }
            None => {
                out.push(byte);
                rest = tail;
            }
        }
    }
    out
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
