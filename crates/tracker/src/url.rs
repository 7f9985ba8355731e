//! What a tracker's address may be, and which hosts a stranger's address may reach.
//!
//! The addresses come from torrents, so from strangers. Left alone, a torrent could
//! make every downloader send requests to the router or the services of its own
//! network (server-side request forgery). [`check_target`] is the one rule, pure, for
//! drivers to ask after DNS and before connecting, at each redirect again. It holds
//! for addresses the user typed as well.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use thiserror::Error;

use crate::Limits;
use crate::peers::is_host;

/// How a tracker is spoken to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Scheme {
    /// HTTP in the clear.
    Http,
    /// HTTP over TLS.
    Https,
    /// BEP 15.
    Udp,
}

/// Why a tracker's address is not used. The author of the torrent is to blame.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum UrlError {
    /// Something but http, https and udp.
    #[error("addresses of the kind \"{0}\" are not supported")]
    Unsupported(String),
    /// No host, a bad port, forbidden characters, too long.
    #[error("the address has {0}")]
    Bad(&'static str),
}

/// A tracker's address, checked.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TrackerUrl {
    /// How it is spoken to.
    pub scheme: Scheme,
    /// `user:password` before an `@`, as it stands; for HTTP basic authentication.
    pub userinfo: Option<String>,
    /// Host name or IP address; IPv6 without its brackets. ASCII without blanks.
    pub host: String,
    /// Port; for UDP never left out.
    pub port: u16,
    /// From the `/` on, without `?`; may be empty. Printable ASCII.
    pub path: String,
    /// After the `?`, if there is one. Printable ASCII.
    pub query: Option<String>,
}

impl TrackerUrl {
    /// Reads an address. What may not stand in a request line is percent-encoded.
    pub fn parse(text: &str) -> Result<TrackerUrl, UrlError> {
        let text = text.trim();
        if text.len() > Limits::URL {
            return Err(UrlError::Bad("too many characters"));
        }
        let (scheme, rest) = text.split_once("://").ok_or(UrlError::Bad("no scheme"))?;
        let scheme = parse_scheme(scheme)?;
        let rest = rest.split('#').next().unwrap_or(rest);
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, tail) = rest.split_at(end);
        let (userinfo, host) = match authority.rsplit_once('@') {
            Some((userinfo, host)) => (Some(printable(userinfo)), host),
            None => (None, authority),
        };
        let (host, port) = parse_host(host, scheme)?;
        let (path, query) = match tail.split_once('?') {
            Some((path, query)) => (printable(path), Some(printable(query))),
            None => (printable(tail), None),
        };
        let url = TrackerUrl { scheme, userinfo, host, port, path, query };
        // Encoding makes some characters nine; the bound is on what is sent.
        let length = url.to_string().len() + url.userinfo.as_ref().map_or(0, String::len);
        if length > Limits::URL { Err(UrlError::Bad("too many characters")) } else { Ok(url) }
    }

    /// The host if it is an IP address and needs no DNS.
    pub fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// Path and query as BEP 41 sends them to a UDP tracker; may be empty.
    pub fn path_and_query(&self) -> String {
        match &self.query {
            Some(query) => format!("{}?{query}", self.path),
            None => self.path.clone(),
        }
    }

    /// `host` or `host:port` as an HTTP `Host` header has it.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if Some(self.port) == default_port(self.scheme) { host } else { format!("{host}:{}", self.port) }
    }

    /// The address to scrape (BEP 48), if this one follows the convention: the last
    /// part of the path begins with `announce`. A UDP tracker scrapes where it announces.
    pub fn scrape(&self) -> Option<TrackerUrl> {
        if self.scheme == Scheme::Udp {
            return Some(self.clone());
        }
        let (folder, last) = self.path.rsplit_once('/')?;
        let suffix = last.strip_prefix("announce")?;
        Some(TrackerUrl { path: format!("{folder}/scrape{suffix}"), ..self.clone() })
    }
}

impl fmt::Display for TrackerUrl {
    /// Without the userinfo: it is a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
            Scheme::Udp => "udp",
        };
        write!(f, "{scheme}://{}{}", self.authority(), self.path_and_query())
    }
}

/// An address as people may see it: without the userinfo, which is a secret. Any text may come
/// in, also what is no address.
pub fn without_userinfo(text: &str) -> Cow<'_, str> {
    let Some((scheme, rest)) = text.split_once("://") else { return text.into() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        Some(at) => format!("{scheme}://{}", &rest[at + 1..]).into(),
        None => text.into(),
    }
}

fn parse_scheme(scheme: &str) -> Result<Scheme, UrlError> {
    match scheme.to_ascii_lowercase().as_str() {
        "http" => Ok(Scheme::Http),
        "https" => Ok(Scheme::Https),
        "udp" => Ok(Scheme::Udp),
        other => Err(UrlError::Unsupported(crate::types::text(other.as_bytes()))),
    }
}

fn default_port(scheme: Scheme) -> Option<u16> {
    match scheme {
        Scheme::Http => Some(80),
        Scheme::Https => Some(443),
        Scheme::Udp => None,
    }
}

fn parse_host(text: &str, scheme: Scheme) -> Result<(String, u16), UrlError> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or(UrlError::Bad("an IPv6 address without end"))?;
            host.parse::<Ipv6Addr>().map_err(|_| UrlError::Bad("a bad IPv6 address"))?;
            (host, rest.strip_prefix(':').unwrap_or(rest))
        }
        None => text.split_once(':').unwrap_or((text, "")),
    };
    let fits = |c: char| c.is_ascii_alphanumeric() || "-._:".contains(c);
    if host.is_empty() || host.len() > 255 || !host.chars().all(fits) {
        return Err(UrlError::Bad("no usable host name"));
    }
    let port = match port {
        "" if scheme == Scheme::Udp => return Err(UrlError::Bad("no port, which udp needs")),
        "" => default_port(scheme),
        digits if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().ok(),
        _ => None,
    };
    let port = port.filter(|&port| port != 0).ok_or(UrlError::Bad("no usable port"))?;
    Ok((host.to_ascii_lowercase(), port))
}

/// `text` with every byte that is no printable ASCII, and `"<>\^`{|}`, percent-encoded.
fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// What a request is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// An announce or scrape over HTTP(S).
    HttpTracker,
    /// Datagrams to a UDP tracker, which ignores whatever is no connection request.
    UdpTracker,
    /// A web seed (BEP 19).
    WebSeed,
}

/// Why a host is not contacted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum Refusal {
    /// Unspecified, multicast or broadcast.
    #[error("{0} is not the address of one host")]
    NotAHost(IpAddr),
    /// A public server sent us to a local one.
    #[error("a public server redirected to the local address {0}")]
    Redirected(IpAddr),
    /// A local tracker whose path is no tracker's.
    #[error("the local address {0} is used only with an announce or scrape path")]
    NotAnAnnounce(IpAddr),
    /// A local web seed with a query.
    #[error("the local address {0} is used as a web seed only without a query")]
    Query(IpAddr),
}

/// Whether a request for `path` and `query` may go to `ip`, to which the host's name
/// resolved. `from_public`: a redirect led here and some server on the way was not local.
///
/// Public addresses are always allowed. Local ones ([`is_local`]) only as a tracker
/// with an announce or scrape path, or as a web seed without a query, and never by
/// redirect from a public server.
pub fn check_target(
    purpose: Purpose,
    path: &str,
    query: Option<&str>,
    ip: IpAddr,
    from_public: bool,
) -> Result<(), Refusal> {
    let ip = ip.to_canonical();
    if !is_host(ip) {
        return Err(Refusal::NotAHost(ip));
    }
    if !is_local(ip) {
        return Ok(());
    }
    match purpose {
        _ if from_public => Err(Refusal::Redirected(ip)),
        Purpose::HttpTracker if !is_announce_path(path) => Err(Refusal::NotAnAnnounce(ip)),
        Purpose::WebSeed if query.is_some() => Err(Refusal::Query(ip)),
        _ => Ok(()),
    }
}

/// Whether only this machine or its neighbours can be at `ip`: loopback, private,
/// link-local, shared (RFC 6598), unique local, or IPv6 forms that carry such an
/// IPv4 address.
pub fn is_local(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => is_local_v4(ip),
        IpAddr::V6(ip) => {
            let s = ip.segments();
            let carried = match s {
                [0, 0, 0, 0, 0, 0, a, b] | [0x64, 0xff9b, 0, 0, 0, 0, a, b] => Some((a, b)),
                [0x2002, a, b, ..] => Some((a, b)),
                _ => None,
            };
            let carried = carried.map(|(a, b)| Ipv4Addr::from(u32::from(a) << 16 | u32::from(b)));
            let site_local = s[0] & 0xffc0 == 0xfec0;
            ip.is_loopback()
                || ip.is_unique_local()
                || ip.is_unicast_link_local()
                || site_local
                || carried.is_some_and(is_local_v4)
        }
    }
}

fn is_local_v4(ip: Ipv4Addr) -> bool {
    let [a, b, ..] = ip.octets();
    let shared = a == 100 && b & 0xc0 == 64;
    a == 0 || ip.is_loopback() || ip.is_private() || ip.is_link_local() || shared
}

/// Whether the last part of the path, or the last but one (some trackers put a key
/// after it), is `announce` or `scrape`, with or without an extension. Paths with an
/// escape or a dot segment are not: a server might read them otherwise.
fn is_announce_path(path: &str) -> bool {
    let plain = !path.contains(['%', '\\', ';']) && !path.split('/').any(|part| part == ".." || part == ".");
    let named = |part: &str| matches!(part.split('.').next(), Some("announce" | "scrape"));
    plain && path.rsplit('/').take(2).any(named)
}

#[cfg(test)]
mod tests;
