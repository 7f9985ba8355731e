//! Napster in the small world: who leaves, dies or vanishes, and who takes their place.

#[path = "common/clients.rs"]
mod clients;
mod common;

use std::time::Duration;

use clients::{Net, a_hundred, a_hundred_with, look_for_all, servers};
use common::user::{found, record, search};
use starling_overlay::napster::{Config, Role};
use starling_overlay::{Command, Core, Outcome};

#[test]
fn a_client_that_vanishes_takes_its_entries_along() {
    let mut net = a_hundred(5);
    let client = (0..100).find(|node| !net.nodes[node].is_server()).unwrap();
    let another = (client + 1..100).find(|node| !net.nodes[node].is_server()).unwrap();
    let asker = (another + 1..100).find(|node| !net.nodes[node].is_server()).unwrap();
    let flock = |node: u32| format!("flock{node}");
    assert_eq!(search(&mut net, asker, &flock(client), 9), [client]);
    net.kill(client);
    net.run_for(Config::default().client_timeout + Duration::from_secs(40));
    assert_eq!(search(&mut net, asker, &flock(client), 9), [0; 0]);
    // One that says good-bye does so at once, and one that withdraws keeps the rest.
    net.command(another, Command::Leave);
    net.command(asker, Command::Withdraw(record(asker).key));
    net.run_for(Duration::from_secs(1));
    assert_eq!(search(&mut net, asker, &flock(another), 9), [0; 0]);
    assert_eq!(search(&mut net, asker, &flock(asker), 9), [0; 0]);
    for &server in &servers(&net) {
        assert_eq!(net.nodes[&server].records(), 97, "every server agrees");
    }
}

#[test]
fn a_server_dies_and_its_clients_move() {
    for seed in 0..10 {
        let mut net = a_hundred(seed);
        let dead = servers(&net)[1];
        let orphans: Vec<u32> =
            net.nodes.keys().copied().filter(|n| net.nodes[n].server() == Some(dead)).collect();
        assert!(orphans.len() > 10);
        net.kill(dead);
        // What an orphan asks now is repeated at another server.
        let ended = look_for_all(&mut net, &[orphans[0], orphans[1]]);
        assert_eq!(found(&ended), ended.len(), "seed {seed}");
        net.run_for(Duration::from_secs(200));
        for orphan in orphans {
            let core = &net.nodes[&orphan];
            assert!(core.is_server() || core.server().is_some_and(|server| server != dead));
        }
        // A new one was appointed, and all have everything but what the dead one had.
        assert_eq!(servers(&net).len(), 3, "seed {seed}");
        for &server in &servers(&net) {
            assert_eq!(net.nodes[&server].records(), 99, "seed {seed}");
        }
    }
}

#[test]
fn a_third_dies_at_once() {
    for seed in 10..20 {
        let mut net = a_hundred(seed);
        let spared = servers(&net)[0];
        (0..100).filter(|node| node % 3 == spared.wrapping_add(1) % 3).for_each(|node| net.kill(node));
        net.run_for(Duration::from_secs(200));
        let alive: Vec<u32> = net.nodes.keys().copied().collect();
        for &server in &servers(&net) {
            assert_eq!(net.nodes[&server].records(), alive.len(), "seed {seed}");
        }
        let ended = look_for_all(&mut net, &alive[..5]);
        assert_eq!(found(&ended), ended.len());
        assert!(ended.iter().all(|done| done.2.timeouts == 0));
    }
}

#[test]
fn a_server_leaves_gracefully() {
    let mut net = a_hundred(6);
    let leaving = servers(&net)[0];
    net.command(leaving, Command::Leave);
    net.run_for(Duration::from_secs(3));
    let orphaned = net.nodes.values().filter(|core| core.server() == Some(leaving)).count();
    assert_eq!(orphaned, 0);
    let ended = look_for_all(&mut net, &[1, 2, 3].map(|n| (leaving + n) % 100));
    assert_eq!(found(&ended), ended.len() - 3, "all but the three of the one that left");
    assert!(ended.iter().all(|done| done.2.timeouts == 0));
}

#[test]
fn all_servers_die_and_heirs_take_their_place() {
    for seed in 40..50 {
        let mut net = a_hundred(seed);
        let dead = servers(&net);
        assert_eq!(dead.len(), 3);
        dead.iter().for_each(|&server| net.kill(server));
        net.run_for(Duration::from_secs(300));
        let heirs = servers(&net);
        assert!((3..=8).contains(&heirs.len()), "seed {seed}: {heirs:?} serve");
        let alive: Vec<u32> = net.nodes.keys().copied().collect();
        for &server in &heirs {
            assert_eq!(net.nodes[&server].records(), alive.len(), "seed {seed}");
        }
        let ended = look_for_all(&mut net, &alive[..5]);
        assert_eq!(found(&ended), ended.len(), "seed {seed}");
    }
}

/// All servers fall asleep, heirs take over, the old ones wake up: then there are more
/// than wanted. The surplus steps down, and meanwhile everything is found.
#[test]
fn servers_that_come_back_are_too_many_and_step_down() {
    for seed in 60..70 {
        let mut net = a_hundred(seed);
        let old = servers(&net);
        let asleep: Vec<_> = old.iter().map(|&server| net.nodes.remove_entry(&server).unwrap()).collect();
        net.run_for(Duration::from_secs(300));
        let heirs = servers(&net);
        assert!(heirs.len() >= 3, "seed {seed}: {heirs:?} serve");
        for (server, core) in asleep {
            net.nodes.insert(server, core);
            net.command(server, Command::Withdraw(record(1000).key)); // it wakes
        }
        let asker = (0..100).find(|node| !heirs.contains(node) && !old.contains(node)).unwrap();
        let mut most = 0;
        for _ in 0..80 {
            net.run_for(Duration::from_secs(5));
            most = most.max(servers(&net).len());
            assert_eq!(search(&mut net, asker, &format!("flock{}", heirs[0]), 9), [heirs[0]], "seed {seed}");
        }
        assert_eq!(most, heirs.len() + 3, "seed {seed}");
        let left = servers(&net);
        assert_eq!(left.len(), 3, "seed {seed}: {left:?} serve");
        for (node, core) in &net.nodes {
            let served = core.server().is_some_and(|server| left.contains(&server));
            assert!(served || left.contains(node), "seed {seed}: {node} has {:?}", core.server());
            assert_eq!(core.records(), if served { 0 } else { 100 }, "seed {seed}");
        }
        let ended = look_for_all(&mut net, &[&heirs[..2], &old[..2], &[asker]].concat());
        assert_eq!(found(&ended), ended.len(), "seed {seed}");
        assert!(ended.iter().all(|done| done.2.timeouts == 0), "seed {seed}");
    }
}

/// What an operator runs as a server stays one, however many there are.
#[test]
fn an_operators_servers_do_not_step_down() {
    let mut net = Net::new(8, 160, Config { role: Role::Server, servers: 2, ..Config::default() });
    for node in 0..5 {
        net.add(node);
        net.command(node, Command::Join((node > 0).then_some(0)));
        net.run_for(Duration::from_secs(5));
    }
    net.run_for(Duration::from_secs(300));
    assert_eq!(servers(&net), [0, 1, 2, 3, 4]);
}

/// A server left and came back as a client, and one of its clients heard nothing of it:
/// that client looks for another server.
#[test]
fn who_takes_a_client_for_its_server_finds_another() {
    let mut net = a_hundred(9);
    let server = servers(&net)[2];
    let client = (0..100).find(|node| net.nodes[node].server() == Some(server)).unwrap();
    net.outside.loss_permille = 1000; // the good-bye
    net.command(server, Command::Leave);
    net.outside.loss_permille = 0;
    net.command(server, Command::Join(Some(servers(&net)[0])));
    net.run_for(Duration::from_millis(500));
    assert_eq!(net.nodes[&client].server(), Some(server));
    assert_eq!(search(&mut net, client, &format!("flock{client}"), 9), [client]);
    assert!(net.nodes[&client].server().is_some_and(|other| other != server));
}

#[test]
fn the_founder_dies_among_a_third_of_all_and_every_server_with_it() {
    for seed in 50..60 {
        let mut net = a_hundred(seed);
        let dead: Vec<u32> = servers(&net).into_iter().chain((0..100).step_by(3)).collect();
        dead.iter().for_each(|&node| net.kill(node));
        net.run_for(Duration::from_secs(400));
        let alive: Vec<u32> = net.nodes.keys().copied().collect();
        for &server in &servers(&net) {
            assert_eq!(net.nodes[&server].records(), alive.len(), "seed {seed}");
        }
        let ended = look_for_all(&mut net, &alive[..5]);
        assert_eq!(found(&ended), ended.len(), "seed {seed}");
    }
}

/// Where only those who know a token serve, nobody else takes the servers' place.
#[test]
fn without_heirs_the_network_dies_with_its_servers() {
    let mut net = a_hundred_with(7, Config { token: 5, ..Config::default() });
    let dead = servers(&net);
    dead.iter().for_each(|&server| net.kill(server));
    let ended = look_for_all(&mut net, &[1]);
    assert!(ended.iter().all(|done| done.1 == Outcome::Failed));
    net.run_for(Duration::from_secs(300));
    assert!(servers(&net).is_empty());
    // One begins anew: the clients still know its name.
    net.add(dead[0]);
    net.command(dead[0], Command::Join(None));
    net.run_for(Duration::from_secs(240));
    assert!(servers(&net).len() > 1, "it appointed others");
    let numbers: Vec<u32> = (0..60).filter(|number| !dead.contains(number)).collect();
    let ended = look_for_all(&mut net, &numbers);
    assert_eq!(found(&ended), ended.len());
}

/// Intervals for a network that lives for seconds.
fn quick() -> Config {
    let ms = Duration::from_millis;
    Config {
        heartbeat_interval: ms(2_000),
        client_timeout: ms(8_000),
        beat_interval: ms(500),
        server_timeout: ms(3_000),
        rpc_timeout: ms(500),
        retry_interval: ms(1_000),
        op_timeout: ms(5_000),
        ..Config::default()
    }
}

/// Hardly anybody has heard yet who serves and who are heirs.
#[test]
fn a_network_as_young_as_a_second_loses_its_founder_and_a_third() {
    for seed in 0..30 {
        let mut net = Net::new(seed, 160, quick());
        net.outside.fixed_delay = Some(Duration::from_millis(1));
        // Names in any order: it decides who appoints and who is the next heir.
        let name = |n: u32| n.wrapping_mul(0x9e37_79b1).rotate_left(seed as u32);
        let mut inside = 0;
        while inside < 200 {
            let wave = if inside < 8 { 1 } else { 24.min(200 - inside) };
            for n in inside..inside + wave {
                net.add(name(n));
                net.command(name(n), Command::Join((n > 0).then(|| name(n * 7 % inside))));
            }
            while !net.nodes.values().all(Core::is_member) {
                net.run_for(Duration::from_millis(10));
            }
            inside += wave;
        }
        let (dead, living): (Vec<u32>, Vec<u32>) = (0..200).step_by(10).partition(|n| n % 3 == 0);
        living.iter().for_each(|&n| net.command(name(n), Command::Publish(record(n))));
        net.run_for(Duration::from_millis(500));
        assert!(dead.contains(&0));
        (0..200).step_by(3).for_each(|n| net.kill(name(n)));
        net.run_for(Duration::from_secs(60));
        let ended = look_for_all(&mut net, &living);
        assert_eq!(found(&ended), ended.len(), "seed {seed}");
    }
}
