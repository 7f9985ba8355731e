use std::io;

use starling_tracker::{Refusal, UrlError};
use thiserror::Error;

use crate::dns::DnsError;

/// Why there is no answer over HTTP.
#[derive(Debug, Error)]
pub enum HttpError {
    /// The address is unusable; who wrote the torrent or link is to blame.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// The name has no address.
    #[error(transparent)]
    Dns(#[from] DnsError),
    /// The address is one that a stranger's link must not reach.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Nobody answers there, or this machine cannot connect.
    #[error("cannot connect to {host}: {source}")]
    Connect {
        /// The server.
        host: String,
        /// What the system said.
        source: io::Error,
    },
    /// The server's certificate is not good for its name, or it speaks no TLS.
    #[error("no trusted TLS connection to {host}: {why}")]
    Tls {
        /// The server.
        host: String,
        /// What is wrong.
        why: String,
    },
    /// The server did not answer, or not all of it, in time.
    #[error("the server did not answer in time")]
    TimedOut,
    /// The server's answer is no HTTP, or was cut off.
    #[error("the server's answer broke off: {0}")]
    Broken(String),
    /// The server sends more than such an answer may have.
    #[error("the server's answer is longer than {0} bytes")]
    TooLarge(usize),
    /// The server redirects too often.
    #[error("the server redirects more than {0} times")]
    TooManyRedirects(usize),
    /// The server redirects to nowhere.
    #[error("the server redirects without saying where")]
    NoLocation,
    /// The server redirects to what is no web address.
    #[error("the server redirects to where nobody can follow: {0}")]
    BadLocation(UrlError),
    /// The server redirects from https to http.
    #[error("the server redirects from https to http")]
    Downgrade,
}
