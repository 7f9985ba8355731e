//! What users of an overlay that locates ask for, and what they are told.

use std::collections::BTreeMap;
use std::time::Duration;

use starling_overlay::{Command, Cost, Event, Hit, Id, Op, Outcome, Overlay, Query, Record};
use starling_sansio::Rng;

use super::World;

/// What node `number` has.
pub fn record(number: u32) -> Record {
    let name = format!("starling flock{number} song").into();
    Record { key: Id::hash(&number.to_le_bytes()), name, size: u64::from(number) }
}

/// Nodes 0 to `count` join, each through an earlier one, `gap` apart, or all at once
/// through node 0; each publishes its record.
pub fn grow<C: Overlay<u32>>(net: &mut World<C>, seed: u64, count: u32, gap: Duration) {
    let mut rng = Rng::from_seed(seed);
    for node in 0..count {
        net.add(node);
        net.command(node, Command::Publish(record(node)));
        let boot = if gap.is_zero() { 0 } else { rng.below(u64::from(node)) as u32 };
        net.command(node, Command::Join((node > 0).then_some(boot)));
        net.run_for(gap);
    }
    net.run_for(Duration::from_secs(120));
}

/// How operations ended, by their numbers.
pub fn ended<C: Overlay<u32>>(net: &World<C>) -> Vec<(Op, Outcome, Cost)> {
    let of = |event: &Event<u32>| match event {
        Event::Done { op, outcome, cost } => Some((*op, *outcome, *cost)),
        _ => None,
    };
    let mut ended: Vec<_> = net.outside.events.iter().filter_map(|(_, _, event)| of(event)).collect();
    ended.sort_by_key(|done| done.0);
    ended
}

/// The hits of an operation.
pub fn hits<C: Overlay<u32>>(net: &World<C>, wanted: Op) -> Vec<Hit<u32>> {
    let of = |event: &Event<u32>| match event {
        Event::Hits { op, hits } if *op == wanted => hits.clone(),
        _ => Vec::new(),
    };
    net.outside.events.iter().flat_map(|(_, _, event)| of(event)).collect()
}

/// How operation `op` of `node` ended, and with how many hits.
pub fn result<C: Overlay<u32>>(net: &World<C>, node: u32, op: u32) -> (usize, Option<Outcome>) {
    let mut found = (0, None);
    for (_, _, event) in net.outside.events.iter().filter(|event| event.1 == node) {
        match event {
            Event::Hits { op: Op(number), hits } if *number == op => found.0 += hits.len(),
            Event::Done { op: Op(number), outcome, .. } if *number == op => {
                assert_eq!(found.1.replace(*outcome), None, "a second end of operation {op}");
            }
            _ => {}
        }
    }
    found
}

/// Operations 1 to `ops` ended, each once.
pub fn assert_each_ended_once<C: Overlay<u32>>(net: &World<C>, ops: u32) {
    let mut ends = BTreeMap::new();
    ended(net).iter().for_each(|done| *ends.entry(done.0).or_insert(0) += 1);
    assert_eq!(ends, (1..=ops).map(|op| (Op(op), 1)).collect());
}

/// Every live node looks for the record of each of `numbers` and waits so long for the
/// last; returns how each ended.
pub fn look_for_all<C: Overlay<u32>>(
    net: &mut World<C>,
    numbers: &[u32],
    wait: Duration,
) -> Vec<(Op, Outcome, Cost)> {
    net.outside.events.clear();
    let mut op = 0;
    for node in net.nodes.keys().copied().collect::<Vec<u32>>() {
        for &number in numbers {
            net.command(node, Command::LookUp(Op(op), record(number).key));
            op += 1;
        }
        net.run_for(Duration::from_millis(20));
    }
    net.run_for(wait);
    let ended = ended(net);
    assert_eq!(ended.len(), op as usize, "each operation ends once");
    ended
}

/// How many found something.
pub fn found(ended: &[(Op, Outcome, Cost)]) -> usize {
    ended.iter().filter(|done| done.1 == Outcome::Found).count()
}

/// All nodes look for the record of one of `numbers` after another, so long for each; the
/// share of look-ups that found it.
pub fn share_found<C: Overlay<u32>>(net: &mut World<C>, numbers: &[u32], wait: Duration) -> f64 {
    net.outside.events.clear();
    let nodes: Vec<u32> = net.nodes.keys().copied().collect();
    for &number in numbers {
        for &node in &nodes {
            net.command(node, Command::LookUp(Op(number), record(number).key));
        }
        net.run_for(wait);
    }
    let all = nodes.iter().flat_map(|&node| numbers.iter().map(move |&number| (node, number)));
    let good = all.filter(|&(node, number)| result(net, node, number).1 == Some(Outcome::Found)).count();
    good as f64 / (nodes.len() * numbers.len()) as f64
}

/// What `node` finds by these words, by provider.
pub fn search<C: Overlay<u32>>(net: &mut World<C>, node: u32, text: &str, wanted: u16) -> Vec<u32> {
    net.outside.events.clear();
    net.command(node, Command::Search(Op(0), Query { text: text.into(), wanted }));
    net.run_for(Duration::from_secs(5));
    let mut providers: Vec<u32> = hits(net, Op(0)).iter().map(|hit| hit.provider).collect();
    providers.sort_unstable();
    providers
}
