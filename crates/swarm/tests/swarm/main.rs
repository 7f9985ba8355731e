//! Scenarios: several torrents joined by virtual links, in virtual time.

mod basics;
mod fairness;
mod faults;
mod hostile;
mod speed;
mod web_seeds;
mod wishes;
mod world;
