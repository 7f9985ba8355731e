//! Range requests, and what answers to them are worth.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use http_body_util::BodyExt;
use hyper::Response;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderValue};
use starling_metainfo::{BLOCK_LENGTH, Info};
use starling_swarm::FetchEnd;
use tokio::time::timeout;

use super::Gate;
use super::plan::{Cutter, Segment, segments};
use crate::http::{Connection, Hops, Http, HttpError, Purpose, Url, escape_component, send};

/// How long a server may keep silent.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of a file that are read and thrown away when a server without ranges sends it
/// from its beginning.
const SKIP_MAX: u64 = 1 << 20;
/// Seconds after which a broken-off fetch is tried again.
const RETRY_BROKEN: u32 = 5;
/// Seconds after which an unreachable server is tried again.
const RETRY_UNREACHABLE: u32 = 60;
/// Seconds after which a busy server is tried again if it does not say.
const RETRY_BUSY: u32 = 60;
/// The longest a server may make us wait, in seconds.
const RETRY_MAX: u32 = 3600;

/// How a fetch failed.
pub(super) struct Failure {
    pub(super) end: FetchEnd,
    pub(super) detail: String,
}

fn useless(detail: impl Into<String>) -> Failure {
    Failure { end: FetchEnd::Useless, detail: detail.into() }
}

/// We broke it off: there is nothing to tell.
fn broken_off() -> Failure {
    retry(0, "")
}

fn retry(after_secs: u32, detail: impl Into<String>) -> Failure {
    Failure { end: FetchEnd::Retry { after_secs }, detail: detail.into() }
}

impl From<HttpError> for Failure {
    fn from(error: HttpError) -> Failure {
        let detail = error.to_string();
        match error {
            HttpError::Dns(_) | HttpError::Connect { .. } => retry(RETRY_UNREACHABLE, detail),
            HttpError::TimedOut | HttpError::Broken(_) => retry(RETRY_BROKEN, detail),
            HttpError::Url(_) | HttpError::Refused(_) | HttpError::Tls { .. } => useless(detail),
            HttpError::TooLarge(_) | HttpError::TooManyRedirects(_) => useless(detail),
            HttpError::NoLocation | HttpError::BadLocation(_) | HttpError::Downgrade => useless(detail),
        }
    }
}

/// One server, and the connection to it.
pub(super) struct Fetcher {
    http: Http,
    base: Url,
    info: Arc<Info>,
    connection: Option<Connection>,
    /// Where the server redirected requests for a file to.
    moved: Option<(usize, Hops)>,
}

impl Fetcher {
    pub(super) fn new(http: Http, base: Url, info: Arc<Info>) -> Fetcher {
        Fetcher { http, base, info, connection: None, moved: None }
    }

    /// Fetches a run of pieces and hands over its blocks.
    pub(super) async fn fetch(&mut self, piece: u32, length: u64, gate: &Gate<'_>) -> Result<(), Failure> {
        let info = self.info.clone();
        let mut cutter = Cutter::new(&info.layout, piece);
        for segment in segments(&info.layout, piece, length) {
            let result = match segment.file {
                None => {
                    feed_zeros(segment.length, &mut cutter, gate);
                    Ok(())
                }
                Some(file) => self.fetch_segment(file, segment, &mut cutter, gate).await,
            };
            if result.is_err() {
                self.connection = None;
                return result;
            }
        }
        Ok(())
    }

    async fn fetch_segment(
        &mut self,
        file: usize,
        segment: Segment,
        cutter: &mut Cutter<'_>,
        gate: &Gate<'_>,
    ) -> Result<(), Failure> {
        let response = tokio::select! {
            biased;
            () = gate.cancelled() => return Err(broken_off()),
            response = self.request(file, segment) => response?,
        };
        let size = self.info.layout.files().get(file).map_or(0, |f| f.length);
        let skip = judge(&response, segment, size)?;
        stream(response.into_body(), skip, segment.length, cutter, gate).await
    }

    /// The head of the answer, after redirects, from a connection that was open if one
    /// was, and else, or if that turns out to be dead, from a new one.
    async fn request(&mut self, file: usize, segment: Segment) -> Result<Response<Incoming>, Failure> {
        let moved = self.moved.take().filter(|(of, _)| *of == file).map(|(_, hops)| hops);
        let was_moved = moved.is_some();
        let original = Hops::new(self.file_url(file), Purpose::WebSeed);
        let (hops, response) = self.follow(moved.unwrap_or_else(|| original.clone()), segment).await?;
        let (hops, response) = match was_moved && !response.status().is_success() {
            true => self.follow(original, segment).await?, // where it moved to has expired
            false => (hops, response),
        };
        if response.status().is_success() && hops.url != self.file_url(file) {
            self.moved = Some((file, hops));
        }
        Ok(response)
    }

    async fn follow(
        &mut self,
        mut hops: Hops,
        segment: Segment,
    ) -> Result<(Hops, Response<Incoming>), Failure> {
        loop {
            let response = self.ask(&hops, segment).await?;
            let Some(via) = &self.connection else { return Err(retry(RETRY_BROKEN, "no connection")) };
            if !hops.follow(&response, via)? {
                return Ok((hops, response));
            }
            self.connection = None; // it still carries the redirect's body
        }
    }

    async fn ask(&mut self, hops: &Hops, segment: Segment) -> Result<Response<Incoming>, Failure> {
        let headers = range_headers(segment);
        if let Some(mut kept) = self.connection.take().filter(|c| c.serves(&hops.url)) {
            hops.allows(kept.ip).map_err(HttpError::from)?;
            if let Ok(Ok(response)) = timeout(IDLE_TIMEOUT, send(&mut kept, &hops.url, &headers)).await {
                self.connection = Some(kept);
                return Ok(response);
            }
        }
        let mut fresh = self.http.open(hops).await?;
        let response = timeout(IDLE_TIMEOUT, send(&mut fresh, &hops.url, &headers)).await;
        let response = response.map_err(|_| HttpError::TimedOut)??;
        self.connection = Some(fresh);
        Ok(response)
    }

    /// BEP 19: the address of a single file, unless it ends in `/`; else a folder that
    /// holds the torrent's name.
    fn file_url(&self, file: usize) -> Url {
        let info = &self.info;
        let folder = self.base.path().ends_with('/');
        if info.single_file && !folder {
            return self.base.clone();
        }
        let Some(entry) = info.layout.files().get(file) else { return self.base.clone() };
        // The server has the file under its own name, not under one that is safe here.
        let parts: Vec<String> = match &entry.raw {
            Some(raw) => raw.iter().map(|part| escape_component(part)).collect(),
            None => {
                let name = Some(&info.name).filter(|_| !info.single_file);
                name.into_iter().chain(&entry.path).map(|part| escape_component(part.as_bytes())).collect()
            }
        };
        let slash = if folder { "" } else { "/" };
        self.base.append(&format!("{slash}{}", parts.join("/")))
    }
}

fn range_headers(segment: Segment) -> HeaderMap {
    let last = segment.offset + segment.length.saturating_sub(1);
    let mut headers = HeaderMap::new();
    if let Ok(range) = HeaderValue::try_from(format!("bytes={}-{last}", segment.offset)) {
        headers.insert(header::RANGE, range);
    }
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    headers
}

/// How many bytes of the answer's body lie before `segment`, if the answer is of use.
fn judge(response: &Response<Incoming>, segment: Segment, size: u64) -> Result<u64, Failure> {
    let headers = response.headers();
    let number = |name| headers.get(name).and_then(|v| v.to_str().ok()?.trim().parse::<u64>().ok());
    let status = response.status().as_u16();
    let encoded = headers.get(header::CONTENT_ENCODING).is_some_and(|e| e.as_bytes() != b"identity");
    match status {
        200 | 206 if encoded => Err(useless("the server compresses what has to be cut by bytes")),
        206 => judge_range(headers.get(header::CONTENT_RANGE), segment, size),
        200 if number(header::CONTENT_LENGTH).is_some_and(|length| length != size) => {
            Err(useless("the server's file has another size"))
        }
        200 if segment.offset > SKIP_MAX => Err(useless("the server does not do ranges")),
        200 => Ok(segment.offset),
        408 | 425 | 429 | 500..=599 => {
            let asked = number(header::RETRY_AFTER).and_then(|s| u32::try_from(s).ok());
            let after = asked.unwrap_or(RETRY_BUSY).clamp(1, RETRY_MAX);
            Err(retry(after, format!("the server says {status}")))
        }
        _ => Err(useless(format!("the server says {status}"))),
    }
}

fn judge_range(value: Option<&HeaderValue>, segment: Segment, size: u64) -> Result<u64, Failure> {
    let parsed = value.and_then(|v| parse_content_range(v.to_str().ok()?));
    let Some((first, last, total)) = parsed else {
        return Err(useless("the server does not say which bytes it sends"));
    };
    if total.is_some_and(|total| total != size) {
        return Err(useless("the server's file has another size"));
    }
    if first != segment.offset || last != segment.offset + segment.length - 1 {
        return Err(useless("the server sends other bytes than were asked for"));
    }
    Ok(0)
}

/// `bytes 0-99/1000`, or `*` for the total (RFC 9110, 14.4).
fn parse_content_range(text: &str) -> Option<(u64, u64, Option<u64>)> {
    let (range, total) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let total = if total == "*" { None } else { Some(total.parse().ok()?) };
    Some((first.parse().ok()?, last.parse().ok()?, total))
}

/// Feeds `length` bytes of the body to the cutter after `skip` others.
async fn stream(
    mut body: Incoming,
    mut skip: u64,
    mut length: u64,
    cutter: &mut Cutter<'_>,
    gate: &Gate<'_>,
) -> Result<(), Failure> {
    while length > 0 {
        if !gate.open().await {
            return Err(broken_off());
        }
        let frame = tokio::select! {
            biased;
            frame = timeout(IDLE_TIMEOUT, body.frame()) => frame.map_err(|_| HttpError::TimedOut)?,
            () = gate.cancelled() => return Err(broken_off()),
        };
        let frame = frame.ok_or_else(|| retry(RETRY_BROKEN, "the server's answer was too short"))?;
        let frame = frame.map_err(|error| HttpError::Broken(error.to_string()))?;
        let mut data = frame.into_data().unwrap_or_default();
        let skipped = skip.min(data.len() as u64);
        skip -= skipped;
        data.advance(skipped as usize);
        data.truncate(usize::try_from(length).unwrap_or(usize::MAX));
        length -= data.len() as u64;
        cutter.feed(data, |block, bytes| gate.block(block, bytes));
    }
    // Reading the end lets the connection be used again; if more follows, hyper closes it.
    let _ = timeout(Duration::ZERO, body.frame()).await;
    Ok(())
}

fn feed_zeros(mut length: u64, cutter: &mut Cutter<'_>, gate: &Gate<'_>) {
    static ZEROS: [u8; BLOCK_LENGTH as usize] = [0; BLOCK_LENGTH as usize];
    while length > 0 {
        let now = length.min(u64::from(BLOCK_LENGTH));
        cutter.feed(Bytes::from_static(&ZEROS[..now as usize]), |block, bytes| gate.block(block, bytes));
        length -= now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges_are_read() {
        assert_eq!(parse_content_range("bytes 0-99/1000"), Some((0, 99, Some(1000))));
        assert_eq!(parse_content_range("bytes 5-5/*"), Some((5, 5, None)));
        for bad in ["", "bytes */9", "bytes 1-/9", "bits 1-2/9", "bytes 1-2", "bytes -1-2/9"] {
            assert_eq!(parse_content_range(bad), None, "{bad}");
        }
    }
}
