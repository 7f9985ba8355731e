//! Napster where messages get lost at a bad moment.

#[path = "common/clients.rs"]
mod clients;
mod common;

use std::time::Duration;

use clients::{Net, a_hundred, servers};
use common::user::{hits, record};
use starling_overlay::napster::{Change, Config, Did, IndexLimits, MAX_CHANGES, Message};
use starling_overlay::wire::List;
use starling_overlay::{Command, Id, Op, Record, RpcId};

#[test]
fn a_server_that_lags_is_told_what_it_lacks_about_once() {
    let mut net = a_hundred(8);
    let lagging = servers(&net)[2];
    // It hears nobody, but not for so long that it would be given up.
    net.outside.cut = Some(Box::new(move |_, to| to == lagging));
    for number in 200..2200 {
        net.command(number % 100, Command::Publish(record(number)));
    }
    net.run_for(Duration::from_secs(5));
    net.outside.cut = None;
    net.outside.log = Some(Vec::new());
    net.run_for(Duration::from_secs(5));
    let log = net.outside.log.take().unwrap();
    let told = log.iter().filter(|entry| entry.1 == lagging && matches!(entry.2, Message::Changes { .. }));
    let pulls = log.iter().filter(|entry| entry.0 == lagging && matches!(entry.2, Message::Pull { .. }));
    let records: Vec<usize> = servers(&net).iter().map(|server| net.nodes[server].records()).collect();
    assert!(records.iter().all(|&count| count == 2100), "{records:?}");
    let (told, pulls, least) = (told.count(), pulls.count(), 2000 / MAX_CHANGES);
    assert!(told < 4 * least && pulls < least, "{told} messages after {pulls} questions; {least} are enough");
}

/// What is refused when it is no longer wanted is not offered to the next server.
#[test]
fn a_record_withdrawn_on_its_way_to_a_full_server_stays_away() {
    let limits = IndexLimits { records_per_client: 1, ..IndexLimits::default() };
    let mut net = Net::new(1, 160, Config { limits, servers: 2, ..Config::default() });
    net.converged(6);
    let client = (0..6).find(|node| !net.nodes[node].is_server()).unwrap();
    net.command(client, Command::Publish(record(1)));
    net.run_for(Duration::from_secs(5));
    // The second one is refused, but the answer comes when it is withdrawn already.
    net.command(client, Command::Publish(record(2)));
    net.command(client, Command::Withdraw(record(2).key));
    net.command(client, Command::Withdraw(record(1).key));
    net.run_for(Duration::from_secs(5));
    // The next server has room for one.
    net.kill(net.nodes[&client].server().unwrap());
    net.run_for(Duration::from_secs(60));
    let asking = servers(&net)[0];
    net.command(asking, Command::LookUp(Op(1), record(2).key));
    net.run_for(Duration::from_secs(5));
    assert_eq!(hits(&net, Op(1)), []);
}

#[test]
fn long_names_take_no_more_than_their_share_and_leave_no_ghost() {
    let limits = IndexLimits { records_per_client: 10, ..IndexLimits::default() };
    let mut net = Net::new(1, 160, Config { limits, servers: 2, ..Config::default() });
    net.converged(6);
    let client = (0..6).find(|node| !net.nodes[node].is_server()).unwrap();
    let long = |number: u32, length: usize| {
        let name = format!("long{number} {}", "x".repeat(length - 6));
        Record { name: name.into(), ..record(number) }
    };
    let kept = |net: &mut Net| -> Vec<usize> {
        net.run_for(Duration::from_secs(5));
        servers(net).iter().map(|server| net.nodes[server].records()).collect()
    };
    // Ten records with 128 bytes each.
    for number in 0..3 {
        net.command(client, Command::Publish(long(number, 600)));
    }
    assert_eq!(kept(&mut net), [2, 2]);
    // What takes its place is too long: it is gone, from all servers.
    net.command(client, Command::Publish(long(1, 700)));
    assert_eq!(kept(&mut net), [1, 1]);
    net.command(client, Command::Publish(long(1, 650)));
    assert_eq!(kept(&mut net), [2, 2]);
    net.command(client, Command::Withdraw(record(0).key));
    net.command(client, Command::Withdraw(record(1).key));
    assert_eq!(kept(&mut net), [0, 0]);
}

/// Whoever knows the token serves, and whoever does not learns nothing of the index.
#[test]
fn an_index_is_copied_only_with_the_token() {
    for (token, answers) in [(7, 0), (0, 1)] {
        let mut net = Net::new(1, 160, Config { token, ..Config::default() });
        net.converged(10);
        let server = servers(&net)[0];
        net.outside.log = Some(Vec::new());
        net.inject(99, server, Message::CopyIndex { rpc: RpcId(1), token: 0, after: None });
        assert_eq!(net.outside.log.unwrap().len(), answers);
    }
}

/// A server that nobody needs to prove itself to says that it has made more changes than can
/// be counted.
#[test]
fn a_count_of_changes_that_cannot_be_is_borne() {
    for (made, first) in [(u64::MAX, 1), (5, u64::MAX - 1)] {
        let mut net = a_hundred(9);
        let server = servers(&net)[0];
        net.add(999);
        let (servers, heirs) = (List::default(), Box::default());
        net.outside.log = Some(Vec::new());
        net.inject(999, server, Message::Beat { token: 0, epoch: 1, made, servers, heirs });
        net.run_for(Duration::from_secs(2));
        let log = net.outside.log.take().unwrap();
        let asked = log.iter().find_map(|(from, to, message)| match message {
            Message::CopyIndex { rpc, .. } if (*from, *to) == (server, 999) => Some(*rpc),
            _ => None,
        });
        let rpc = asked.unwrap_or_else(|| panic!("the index of a new server is copied"));
        let changes = List::default();
        net.inject(999, server, Message::Copied { rpc, epoch: 1, made, changes, more: false });
        let change = Change { client: 999, life: 1, what: Did::Offered { record: record(7) } };
        let changes = List::new(vec![change]);
        net.inject(999, server, Message::Changes { epoch: 1, first, made: u64::MAX, changes });
        net.run_for(Duration::from_secs(2));
    }
}

/// Questions for parts of its index that a colleague gets who beats once and whose part number
/// n is `part(n)`: its epoch and its changes, and always more.
fn parts_of_an_endless_index(part: impl Fn(u32) -> (u32, Vec<Change<u32>>)) -> u32 {
    const LIAR: u32 = 0;
    let limits = IndexLimits { records: 640, ..IndexLimits::default() };
    let mut net = Net::new(9, 160, Config { limits, servers: 2, ..Config::default() });
    net.converged_from(1, 6);
    let server = servers(&net)[0];
    net.outside.cut = Some(Box::new(move |from, to| from == LIAR || to == LIAR));
    let beat = |epoch| {
        let (servers, heirs) = (List::default(), Box::default());
        Message::Beat { token: 0, epoch, made: 1, servers, heirs }
    };
    net.outside.log = Some(Vec::new());
    net.inject(LIAR, server, beat(1));
    let mut asked = 0;
    for _ in 0..300 {
        for (from, to, message) in net.outside.log.replace(Vec::new()).unwrap_or_default() {
            let Message::CopyIndex { rpc, .. } = message else { continue };
            if (from, to) == (server, LIAR) {
                asked += 1;
                let (epoch, changes) = part(asked);
                let changes = List::new(changes);
                net.inject(LIAR, server, Message::Copied { rpc, epoch, made: 1, changes, more: true });
            }
        }
        net.run_for(Duration::from_millis(100));
    }
    // It is done with that one, and copies what others have.
    net.outside.log = Some(Vec::new());
    net.inject(99, server, beat(1));
    let mut log = net.outside.log.iter().flatten();
    assert!(log.any(|(_, to, message)| *to == 99 && matches!(message, Message::CopyIndex { .. })));
    asked
}

#[test]
fn a_copy_of_an_index_that_never_ends_is_given_up() {
    let changes = |part: u32, count: u32| -> Vec<Change<u32>> {
        let record = |number| Record { key: Id::from_high(u64::from(number) << 32), ..record(number) };
        let offered = |number| Did::Offered { record: record(number) };
        let of = |number| Change { client: 1000 + part, life: 1, what: offered(number) };
        (0..count).map(of).collect()
    };
    let full = parts_of_an_endless_index(|part| (1, changes(part, 32)));
    assert_eq!(full, 20, "as many records as the index may have");
    assert_eq!(parts_of_an_endless_index(|part| (1, changes(part, 1))), 1, "there was room for more");
    let anew = parts_of_an_endless_index(|part| (part, changes(part, 32)));
    assert_eq!(anew, 8, "it began anew, so often that it is given up");
}
