//! Napster networks for its tests.
#![allow(dead_code)] // each test program uses a part of it

use std::time::Duration;

use starling_overlay::napster::{Config, Napster};
use starling_overlay::{Command, Cost, Op, Outcome};

use crate::common::World;
use crate::common::user::{self, record};

/// Nodes in the small world.
pub type Net = World<Napster<u32>>;

/// Who serves.
pub fn servers(net: &Net) -> Vec<u32> {
    net.nodes.iter().filter(|(_, core)| core.is_server()).map(|(&node, _)| node).collect()
}

/// Every live node looks for each of `numbers`; returns how each ended.
pub fn look_for_all(net: &mut Net, numbers: &[u32]) -> Vec<(Op, Outcome, Cost)> {
    user::look_for_all(net, numbers, Duration::from_secs(40))
}

/// 100 nodes, three of them servers, each with a record.
pub fn a_hundred(seed: u64) -> Net {
    a_hundred_with(seed, Config::default())
}

/// The same with other parameters.
pub fn a_hundred_with(seed: u64, config: Config) -> Net {
    let mut net = Net::new(seed, 160, config);
    net.converged(100);
    for node in 0..100 {
        net.command(node, Command::Publish(record(node)));
    }
    net.run_for(Duration::from_secs(10));
    net
}
