//! Scenarios: several torrents joined by virtual links, in virtual time.

mod basics;
mod world;
