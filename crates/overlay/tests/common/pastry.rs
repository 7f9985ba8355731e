//! A small Pastry network, for its tests.

use std::time::Duration;

use starling_overlay::Id;
use starling_overlay::pastry::{Config, Pastry};

use super::World;

pub type Small = World<Pastry<u32>>;

/// So many members with complete tables.
pub fn converged(seed: u64, count: u32, config: Config) -> Small {
    let mut world = Small::new(seed, 160, config);
    world.converged(count);
    world
}

pub fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub fn key(number: u32) -> Id {
    Id::hash(&[b"key", &number.to_be_bytes()[..]].concat())
}
