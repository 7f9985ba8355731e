//! Scenarios: several torrents joined by virtual links, in virtual time.

#![allow(clippy::unwrap_used)] // a scenario that cannot be set up is a failed test

mod basics;
mod fairness;
mod faults;
mod hostile;
mod padding;
mod speed;
mod web_seeds;
mod width;
mod wishes;
mod world;
