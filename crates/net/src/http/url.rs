use std::fmt;

use starling_tracker::{Scheme, TrackerUrl, UrlError};

/// Bytes in an address; signed ones of storage services are long.
const URL_MAX: usize = 8 << 10;

/// An `http` or `https` address, ready to be asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Url {
    /// Scheme, host, port, userinfo; path and query are not used.
    pub(super) server: TrackerUrl,
    /// Path and query as in the request line; begins with `/`.
    pub(super) target: String,
}

impl Url {
    /// Reads an absolute address; what may not stand in a request line is escaped.
    pub fn parse(text: &str) -> Result<Url, UrlError> {
        let text = text.trim();
        if text.len() > URL_MAX {
            return Err(UrlError::Bad("too many characters"));
        }
        let (scheme, rest) = text.split_once("://").ok_or(UrlError::Bad("no scheme"))?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        let server = TrackerUrl::parse(&format!("{scheme}://{authority}"))?;
        Url::new(server, target)
    }

    /// `target` (path and query) of a tracker's server: an announce or a scrape.
    pub fn of_tracker(tracker: &TrackerUrl, target: &str) -> Result<Url, UrlError> {
        let mut server = tracker.clone();
        server.path.clear();
        server.query = None;
        Url::new(server, target)
    }

    fn new(server: TrackerUrl, target: &str) -> Result<Url, UrlError> {
        if server.scheme == Scheme::Udp {
            return Err(UrlError::Unsupported("udp".into()));
        }
        let target = escape_rest(target.split('#').next().unwrap_or(target));
        let target = if target.starts_with('/') { target } else { format!("/{target}") };
        Ok(Url { server, target })
    }

    /// Where a redirect from here to `location` leads (RFC 3986, 5.2, without removing
    /// dot segments: servers do that).
    pub(super) fn join(&self, location: &str) -> Result<Url, UrlError> {
        let location = location.trim();
        if location.len() > URL_MAX {
            return Err(UrlError::Bad("too many characters"));
        }
        let scheme = if self.is_tls() { "https" } else { "http" };
        if let Some(rest) = location.strip_prefix("//") {
            return Url::parse(&format!("{scheme}://{rest}"));
        }
        let until = location.find(['/', '?', '#']).unwrap_or(location.len());
        if location[..until].contains(':') {
            return Url::parse(location);
        }
        let target = match location.as_bytes().first() {
            Some(b'/') => location.to_owned(),
            Some(b'?') => format!("{}{location}", self.path()),
            _ => {
                let folder = self.path().rsplit_once('/').map_or("", |(folder, _)| folder);
                format!("{folder}/{location}")
            }
        };
        Url::new(self.server.clone(), &target)
    }

    /// The same server's address with `path` (already escaped) appended to the path.
    pub(crate) fn append(&self, path: &str) -> Url {
        let target = match self.query() {
            Some(query) => format!("{}{path}?{query}", self.path()),
            None => format!("{}{path}", self.path()),
        };
        Url { target, ..self.clone() }
    }

    /// The part before `?`.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or(&self.target)
    }

    /// The part after `?`.
    pub fn query(&self) -> Option<&str> {
        self.target.split_once('?').map(|(_, query)| query)
    }

    pub(super) fn is_tls(&self) -> bool {
        self.server.scheme == Scheme::Https
    }

    /// Whether requests for both can share a connection.
    pub(super) fn same_server(&self, other: &Url) -> bool {
        let key = |url: &Url| (url.server.scheme, url.server.host.clone(), url.server.port);
        key(self) == key(other)
    }
}

impl fmt::Display for Url {
    /// Without the userinfo: it is a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls() { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.server.authority(), self.target)
    }
}

/// Escapes what may not stand in a request line and leaves all else, escapes included.
fn escape_rest(text: &str) -> String {
    escape(text.as_bytes(), |byte| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte))
}

/// Escapes a name as one component of a path (RFC 3986 `unreserved` is kept).
pub(crate) fn escape_component(name: &[u8]) -> String {
    escape(name, |byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
}

fn escape(text: &[u8], keep: impl Fn(u8) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for &byte in text {
        match keep(byte) {
            true => out.push(char::from(byte)),
            false => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn redirects_are_resolved() {
        let base = Url::parse("http://a.example:81/x/y?q=1#f").unwrap();
        let cases = [
            ("https://b.example/z", "https://b.example/z"),
            ("//b.example/z", "http://b.example/z"),
            ("/z?r", "http://a.example:81/z?r"),
            ("z", "http://a.example:81/x/z"),
            ("?r", "http://a.example:81/x/y?r"),
            ("z?u=http://c/", "http://a.example:81/x/z?u=http://c/"),
            ("/ü \r\nX: y", "http://a.example:81/%C3%BC%20%0D%0AX:%20y"),
        ];
        for (location, expected) in cases {
            assert_eq!(base.join(location).unwrap().to_string(), expected, "{location}");
        }
        for bad in ["ftp://b/", "javascript:x", "udp://t:1/", "http:///x"] {
            assert!(base.join(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_missing_is_added() {
        assert_eq!(Url::parse("http://h").unwrap().to_string(), "http://h/");
        assert_eq!(Url::parse("http://h?q").unwrap().to_string(), "http://h/?q");
        assert_eq!(Url::parse("http://u:p@h/").unwrap().to_string(), "http://h/");
        assert_eq!(escape_component("a b/ü%.txt".as_bytes()), "a%20b%2F%C3%BC%25.txt");
        assert_eq!(Url::parse("http://h/d/?q").unwrap().append("f").to_string(), "http://h/d/f?q");
    }

    proptest! {
        #[test]
        fn no_address_breaks_a_request_line(text in "\\PC{0,40}", base in "(http|https)://[a-z.]{1,9}/\\PC{0,20}") {
            for url in [Url::parse(&base), Url::parse(&text)].into_iter().flatten() {
                prop_assert!(url.target.starts_with('/') && url.target.bytes().all(|b| b.is_ascii_graphic()));
                if let Ok(next) = url.join(&text) {
                    prop_assert!(next.target.bytes().all(|b| b.is_ascii_graphic()));
                }
            }
        }
    }
}
