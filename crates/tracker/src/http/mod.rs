//! HTTP trackers: the bytes of both ends, not the HTTP around them.
//!
//! The client's end is a URL to get ([`announce_target`], [`scrape_target`]) and a
//! body to read ([`parse_announce`], [`parse_scrape`]); the tracker's end is a query
//! to read ([`parse_announce_query`], [`parse_scrape_query`]) and a body to send
//! ([`encode_announce`], [`encode_scrape`], [`encode_failure`]); [`serve`] does all of it
//! with a [`PeerStore`](crate::store::PeerStore).
//!
//! Models BEP 3, 7 (`peers6`), 23 (compact), 24 (external ip), 31 (`retry in`) and 48
//! (scrape). Reading is lenient where trackers differ: `peers` may be a list or
//! compact, numbers may be missing, bytes may follow the answer.

mod query;
mod request;
mod response;
mod server;

pub use request::{announce_target, scrape_target};
pub use response::{parse_announce, parse_scrape};
pub use server::{
    AnnounceQuery, QueryError, encode_announce, encode_failure, encode_scrape, parse_announce_query,
    parse_scrape_query, serve,
};

#[cfg(test)]
mod tests;
