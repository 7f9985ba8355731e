//! Napster in the small world: servers that share an index, presence, floods, deaths.

#[path = "common/clients.rs"]
mod clients;
mod common;

use std::time::Duration;

use clients::{Net, a_hundred, look_for_all, servers};
use common::user::{ended, found, hits, record, search};
use starling_overlay::napster::{Config, IndexLimits, Message, Role};
use starling_overlay::wire::List;
use starling_overlay::{Command, Core, Cost, Event, Hit, Id, Offence, Op, Outcome, Purpose, Query, RpcId};
use starling_sansio::Time;

#[test]
fn a_lone_server_finds_its_own() {
    let mut net = Net::new(1, 160, Config::default());
    net.add(0);
    net.command(0, Command::Publish(record(1)));
    net.command(0, Command::LookUp(Op(0), record(1).key));
    net.command(0, Command::Join(None));
    net.command(0, Command::LookUp(Op(1), record(1).key));
    net.command(0, Command::LookUp(Op(2), record(2).key));
    net.command(0, Command::Search(Op(3), Query { text: "sta* son*".into(), wanted: 5 }));
    net.command(0, Command::Find(Op(4), record(2).key));
    let outcomes: Vec<Outcome> = ended(&net).iter().map(|done| done.1).collect();
    use Outcome::{Failed, Found, NotFound, Refused};
    assert_eq!(outcomes, [Failed, Found, NotFound, Found, Refused]);
    assert_eq!(hits(&net, Op(3)), [Hit { record: record(1), provider: 0 }]);
}

#[test]
fn a_look_up_takes_one_round_trip_and_recall_is_full() {
    for seed in 0..10 {
        let mut net = a_hundred(seed);
        net.outside.sent.clear();
        let ended = look_for_all(&mut net, &[5, 50, 99]);
        assert_eq!(found(&ended), 300);
        let hops = ended.iter().filter(|done| done.2 == Cost { hops: 1, timeouts: 0 }).count();
        assert_eq!(hops, 97 * 3, "all but the servers themselves ask one");
        assert_eq!(net.outside.sent[&Purpose::LookUp].0, 2 * 97 * 3, "a question and an answer");
        // More hits than one answer holds come in several.
        assert_eq!(search(&mut net, 7, "song starling", 1000), (0..100).collect::<Vec<u32>>());
        assert_eq!(search(&mut net, 7, "so*", 10).len(), 10);
        assert_eq!(search(&mut net, 7, "flock7*", 1000), [7, 70, 71, 72, 73, 74, 75, 76, 77, 78, 79]);
        let loads: Vec<u64> = servers(&net).iter().map(|s| net.nodes[s].load().unwrap().look_ups).collect();
        assert_eq!(loads.iter().sum::<u64>(), 97 * 3);
    }
}

#[test]
fn a_converged_server_has_no_more_clients_than_it_may() {
    // With so many 97 clients of three servers find room, 90 of them, or none at home.
    for (most, fit) in [(97, 97), (33, 97), (30, 90), (1, 3)] {
        let mut net = Net::new(1, 160, Config { max_clients: most, ..Config::default() });
        net.converged(100);
        let members = |net: &Net| net.nodes.values().filter(|core| core.is_member()).count();
        let count = |net: &Net| servers(net).iter().map(|s| net.nodes[s].load().unwrap().clients).collect();
        let clients: Vec<u64> = count(&net);
        assert!(clients.iter().all(|&clients| clients <= most as u64), "{clients:?}");
        assert_eq!((clients.iter().sum::<u64>(), members(&net)), (fit, 3 + fit as usize));
        net.run_for(Duration::from_secs(120));
        assert_eq!((count(&net), members(&net)), (clients, 3 + fit as usize), "and so it stays");
        let client = servers(&net)
            .iter()
            .find_map(|s| net.nodes[s].known().iter().copied().find(|c| !net.nodes[c].is_server()))
            .unwrap();
        net.command(client, Command::Leave);
        net.run_for(Duration::from_secs(120));
        let others = if fit < 97 { 3 + fit } else { 2 + fit };
        assert_eq!(members(&net), others as usize, "whoever waits takes the place");
    }
}

#[test]
fn an_answer_of_many_pages_is_complete() {
    let mut net = Net::new(4, 160, Config::default());
    net.converged(20);
    for node in 0..20 {
        for number in 0..30 {
            net.command(node, Command::Publish(record(node * 100 + number)));
        }
    }
    net.run_for(Duration::from_secs(10));
    for &server in &servers(&net) {
        assert_eq!(net.nodes[&server].records(), 600);
    }
    for text in ["starling", "sta*"] {
        assert_eq!(search(&mut net, 19, text, 5000).len(), 600, "{text}");
        let mut keys: Vec<Id> = hits(&net, Op(0)).iter().map(|hit| hit.record.key).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), 600, "each once");
    }
}

#[test]
fn nodes_join_through_clients_and_servers_are_appointed() {
    let mut net = Net::new(2, 160, Config::default());
    net.add(0);
    net.command(0, Command::Join(None));
    for node in 1..60 {
        net.add(node);
        net.command(node, Command::Publish(record(node)));
        net.command(node, Command::Join(Some(node / 2)));
        net.run_for(Duration::from_secs(1));
    }
    net.run_for(Duration::from_secs(60));
    assert!(net.nodes.values().all(Core::is_member));
    assert_eq!(servers(&net).len(), 3);
    let joined = net.outside.events.iter().filter(|(_, _, event)| *event == Event::Joined).count();
    assert_eq!(joined, 60, "each joins once");
    let numbers: Vec<u32> = (1..60).collect();
    let ended = look_for_all(&mut net, &numbers[20..]);
    assert_eq!(found(&ended), ended.len());
}

#[test]
fn many_join_at_once_through_one_peer() {
    let mut net = Net::new(3, 160, Config::default());
    net.add(0);
    net.command(0, Command::Join(None));
    for node in 1..200 {
        net.add(node);
        net.command(node, Command::Join(Some(0)));
        net.command(node, Command::Publish(record(node)));
    }
    net.run_for(Duration::from_secs(60));
    let ended = look_for_all(&mut net, &[1, 100, 199]);
    assert_eq!(found(&ended), ended.len());
}

#[test]
fn five_percent_of_messages_are_lost() {
    for seed in 20..30 {
        let mut net = Net::new(seed, 160, Config::default());
        net.outside.loss_permille = 50;
        net.add(0);
        net.command(0, Command::Join(None));
        for node in 1..60 {
            net.add(node);
            net.command(node, Command::Join(Some(0)));
            net.command(node, Command::Publish(record(node)));
        }
        net.run_for(Duration::from_secs(120));
        assert!(net.nodes.values().all(Core::is_member));
        let counts: Vec<usize> = servers(&net).iter().map(|server| net.nodes[server].records()).collect();
        assert!(counts.len() >= 3 && counts.iter().all(|&count| count == 59), "seed {seed}: {counts:?}");
        let ended = look_for_all(&mut net, &[1, 30, 59]);
        assert_eq!(found(&ended), ended.len(), "seed {seed}");
    }
}

#[test]
fn what_the_others_did_not_hear_is_pulled() {
    let mut net = a_hundred(1);
    let server = servers(&net)[1];
    let client = (0..100).find(|node| net.nodes[node].server() == Some(server)).unwrap();
    net.outside.loss_permille = 1000;
    for number in 200..290 {
        let records = List::new(vec![record(number)]);
        net.inject(client, server, Message::Offer { rpc: RpcId(number), records });
    }
    net.outside.loss_permille = 0;
    net.run_for(Config::default().beat_interval * 2);
    for &server in &servers(&net) {
        assert_eq!(net.nodes[&server].records(), 190);
    }
}

#[test]
fn a_server_that_was_cut_off_catches_up() {
    let mut net = a_hundred(8);
    let cut = servers(&net)[2];
    // So long that the others gave it up; their clients changed meanwhile.
    let core = net.nodes.remove(&cut).unwrap();
    for number in 200..260 {
        let node = (number * 7) % 100;
        net.command(node, Command::Publish(record(number)));
    }
    net.run_for(Duration::from_secs(60));
    net.nodes.insert(cut, core);
    net.command(cut, Command::LookUp(Op(1_000_000), Id::ZERO)); // its driver wakes it
    net.run_for(Duration::from_secs(120));
    let counts: Vec<usize> = servers(&net).iter().map(|server| net.nodes[server].records()).collect();
    assert!(counts.len() >= 3 && counts.iter().all(|count| *count == counts[0]), "{counts:?}");
    assert!(counts[0] >= 158, "{counts:?}");
}

#[test]
fn the_same_seed_gives_the_same_events() {
    let run = |seed| {
        let mut net = a_hundred(seed);
        net.kill(servers(&net)[0]);
        look_for_all(&mut net, &[1, 2, 3]);
        (net.outside.events, net.outside.sent)
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1).1, run(2).1);
}

#[test]
fn a_client_that_asks_too_much_is_refused() {
    let mut net = a_hundred(1);
    let client = (0..100).find(|node| !net.nodes[node].is_server()).unwrap();
    let server = net.nodes[&client].server().unwrap();
    for rpc in 0..1000 {
        net.inject(client, server, Message::LookUp { rpc: RpcId(rpc), key: record(1).key, skip: 0 });
    }
    let refused = net.outside.offences.iter().filter(|o| **o == (server, Offence::TooMany)).count();
    let burst = Config::default().burst as usize;
    assert!((1000 - burst..=1005 - burst).contains(&refused), "{refused}");
    net.run_for(Duration::from_secs(1));
    net.outside.events.clear();
    for op in 0..30 {
        net.command(client, Command::LookUp(Op(op), record(1).key));
    }
    net.run_for(Duration::from_secs(3));
    let refused = ended(&net).iter().filter(|done| done.1 == Outcome::Refused).count();
    assert!((5..=15).contains(&refused), "a second earned 20 answers: {refused} refused");
}

#[test]
fn a_full_index_takes_no_more_and_says_so() {
    let limits = IndexLimits { records: 300, records_per_client: 50, tree_nodes: 5000 };
    let mut net = Net::new(9, 160, Config { limits, max_clients: 40, ..Config::default() });
    net.add(0);
    net.command(0, Command::Join(None));
    for peer in 1..5000 {
        net.inject(peer, 0, Message::Register { rpc: RpcId(1), life: 1 });
        let records = (0..16).map(|n| record(peer * 16 + n)).collect();
        net.inject(peer, 0, Message::Offer { rpc: RpcId(2), records });
        let (servers, heirs) = Default::default();
        net.inject(peer, 0, Message::Beat { token: 7, epoch: 1, made: 9, servers, heirs });
    }
    let server = &net.nodes[&0];
    assert_eq!(server.load().unwrap().clients, 40);
    assert!(server.records() <= 300);
    assert!(server.state_bytes() < 2_500_000, "{}", server.state_bytes());
    assert!(net.outside.offences.contains(&(0, Offence::Full)));
    assert!(net.outside.offences.contains(&(0, Offence::Misdirected)), "a beat with the wrong token");
}

#[test]
fn clients_that_come_and_go_leave_nothing_behind() {
    let mut net = Net::new(1, 160, Config::default());
    net.add(0);
    net.command(0, Command::Join(None));
    net.run_for(Duration::from_secs(10));
    let come_and_go = |net: &mut Net, number: u32, peer: u32| {
        net.run_for(Duration::from_micros(100));
        net.inject(peer, 0, Message::Register { rpc: RpcId(number), life: 1 });
        net.inject(peer, 0, Message::Register { rpc: RpcId(number), life: 1 });
        net.inject(peer, 0, Message::Bye {});
    };
    let before = net.nodes[&0].state_bytes();
    (0..20_000).for_each(|number| come_and_go(&mut net, number, 7));
    (0..20_000).for_each(|number| come_and_go(&mut net, number, 10 + number));
    let after = net.nodes[&0].state_bytes();
    assert!(after < before + 1000, "{before} B, then {after} B");
    // Whoever stays without a word is still missed in time.
    net.inject(7, 0, Message::Register { rpc: RpcId(1), life: 1 });
    assert_eq!(net.nodes[&0].load().unwrap().clients, 1);
    net.run_for(Config::default().client_timeout + Duration::from_secs(1));
    assert_eq!(net.nodes[&0].load().unwrap().clients, 0);
}

#[test]
fn what_no_honest_peer_sends_changes_nothing() {
    let mut net = a_hundred(1);
    let server = servers(&net)[0];
    let client = (0..100).find(|node| net.nodes[node].server() == Some(server)).unwrap();
    let check = |net: &mut Net, node: u32, offence: Offence| {
        assert_eq!(net.outside.offences.pop(), Some((node, offence)));
        assert_eq!(net.nodes[&server].records(), 100);
        assert_eq!(net.nodes[&client].server(), Some(server));
    };
    net.inject((server + 1) % 100, server, Message::Withdrawn { rpc: RpcId(77) });
    check(&mut net, server, Offence::UnknownReply);
    net.inject(server, server, Message::Bye {});
    check(&mut net, server, Offence::NamesItself);
    net.inject(client, server, Message::Register { rpc: RpcId(1), life: u32::MAX });
    check(&mut net, server, Offence::OutOfRange);
    net.inject(client, server, Message::Pull { epoch: 1, first: 0 });
    check(&mut net, server, Offence::Misdirected);
    net.inject(client, server, Message::Retire { servers: List::default() });
    check(&mut net, server, Offence::Misdirected);
    net.inject(7, client, Message::Retire { servers: List::default() });
    check(&mut net, client, Offence::Misdirected);
    net.inject(7, client, Message::Appoint { token: 0, servers: List::default() });
    check(&mut net, client, Offence::Misdirected);
    let now = std::mem::replace(&mut net.outside.now, Time::from_secs(1));
    net.inject(client, server, Message::Bye {});
    check(&mut net, server, Offence::TimeWentBack);
    net.outside.now = now;
}

#[test]
fn roles_are_kept() {
    // A network whose operator wants no volunteers keeps one server.
    let mut net = Net::new(1, 160, Config { role: Role::Client, ..Config::default() });
    net.add(0);
    net.command(0, Command::Join(None));
    for node in 1..10 {
        net.add(node);
        net.command(node, Command::Join(Some(0)));
    }
    net.run_for(Duration::from_secs(120));
    assert_eq!(servers(&net), [0]);
    // And servers that join a server serve beside it.
    let mut net = Net::new(1, 160, Config { role: Role::Server, token: 5, ..Config::default() });
    net.add(0);
    net.command(0, Command::Join(None));
    net.command(0, Command::Publish(record(0)));
    for node in 1..4 {
        net.add(node);
        net.command(node, Command::Join(Some(0)));
        net.run_for(Duration::from_secs(3));
    }
    assert_eq!(servers(&net), [0, 1, 2, 3]);
    assert!(net.nodes.values().all(|core| core.records() == 1 && core.known().len() == 3));
}

#[test]
fn a_client_is_small() {
    let net = a_hundred(1);
    let client = net.nodes.values().find(|core| !core.is_server()).unwrap();
    assert!(client.state_bytes() < 700, "{} B with a record", client.state_bytes());
}
