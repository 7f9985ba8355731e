//! What a stranger can make of any of the seven: a clock that goes back, an amplifier.

mod common;

use std::time::Duration;

use common::World;
use common::user::record;
use starling_overlay::chord::Chord;
use starling_overlay::dht::Dht;
use starling_overlay::kademlia::Kademlia;
use starling_overlay::pastry::Pastry;
use starling_overlay::wire::Wire;
use starling_overlay::{Command, Input, Offence, Op, Overlay, Query, fasttrack, gnutella, kelips, napster};

/// Who is nobody's contact.
const STRANGER: u32 = 9_999;
/// Bytes of IP and UDP around a message.
const HEADERS: usize = 28;

/// What was said: by whom, to whom, what.
type Said<M> = Vec<(u32, u32, M)>;

/// Sixty members that have published, looked up and searched; and what they said.
fn lively<C: Overlay<u32>>(config: C::Config) -> (World<C>, Said<C::Message>) {
    let mut net = World::<C>::new(1, 160, config);
    net.converged(60);
    net.outside.log = Some(Vec::new());
    (0..60).for_each(|node| net.command(node, Command::Publish(record(node))));
    net.run_for(Duration::from_secs(60));
    for node in 0..60 {
        net.command(node, Command::LookUp(Op(1), record(59 - node).key));
        net.command(node, Command::Search(Op(2), Query { text: "starling song".into(), wanted: 1000 }));
        net.run_for(Duration::from_secs(1));
    }
    net.add(60);
    net.command(60, Command::Join(Some(1)));
    net.run_for(Duration::from_secs(120));
    let said = net.outside.log.take().unwrap_or_default();
    (net, said)
}

fn time_goes_back<C: Overlay<u32> + std::fmt::Debug>(config: C::Config) {
    let (mut net, said) = lively::<C>(config);
    let past = net.outside.now - Duration::from_secs(300);
    net.outside.log = Some(Vec::new());
    for (from, to, message) in said.into_iter().filter(|(_, to, _)| *to < 60).take(500) {
        let before = format!("{:?}", net.nodes[&to]);
        net.outside.offences.clear();
        net.at(past, to, |core, now, outside| core.handle(now, Input::Message { from, message }, outside));
        net.at(past, to, C::handle_timeout);
        assert_eq!(net.outside.offences, [(to, Offence::TimeWentBack); 2], "{}", C::NAME);
        assert!(before == format!("{:?}", net.nodes[&to]), "{}: it changes nothing", C::NAME);
    }
    assert!(net.outside.log.is_some_and(|log| log.is_empty()), "{}: nor is anything said", C::NAME);
}

/// Whatever members say to each other, said by a stranger: how many bytes it gets back for
/// one of its own, at most.
fn amplification<C: Overlay<u32>>(config: C::Config) -> f64 {
    let (mut net, said) = lively::<C>(config);
    let mut worst: f64 = 0.0;
    assert!(said.len() > 1_000, "{}: only {} messages to try", C::NAME, said.len());
    for (_, to, message) in said.into_iter().filter(|(_, to, _)| *to < 60).take(20_000) {
        let asked = message.wire_len() + HEADERS;
        net.outside.log = Some(Vec::new());
        net.inject(STRANGER, to, message);
        let log = net.outside.log.take().unwrap_or_default();
        let answers = log.iter().filter(|(_, to, _)| *to == STRANGER);
        let answered: usize = answers.map(|(.., message)| message.wire_len() + HEADERS).sum();
        worst = worst.max(answered as f64 / asked as f64);
    }
    worst
}

fn dht<K: starling_overlay::KeyBased<u32>>() -> starling_overlay::dht::DhtConfig<K::Config>
where
    K::Config: Default,
{
    Dht::<u32, K>::config(K::Config::default())
}

#[test]
fn time_that_goes_back_changes_nothing_in_any_overlay() {
    time_goes_back::<napster::Napster<u32>>(napster::Config::default());
    time_goes_back::<gnutella::Gnutella<u32>>(gnutella::Config::default());
    time_goes_back::<fasttrack::FastTrack<u32>>(fasttrack::Config::default());
    time_goes_back::<Dht<u32, Chord<u32>>>(dht::<Chord<u32>>());
    time_goes_back::<Dht<u32, Pastry<u32>>>(dht::<Pastry<u32>>());
    time_goes_back::<Dht<u32, Kademlia<u32>>>(dht::<Kademlia<u32>>());
    time_goes_back::<kelips::Kelips<u32>>(kelips::Config::for_nodes(60));
}

/// A page of postings fills one datagram; Kelips tells all sixty that match at once.
/// The cores answer this many times the bytes. The driver on sockets lets them hear only of
/// addresses that have proven themselves; of such a one that is forged SECURITY.md says
/// that it gets as much, which must not grow unseen.
#[test]
fn one_request_of_a_stranger_brings_a_bounded_answer() {
    let measured = [
        ("napster", amplification::<napster::Napster<u32>>(napster::Config::default()), 3.0),
        ("gnutella", amplification::<gnutella::Gnutella<u32>>(gnutella::Config::default()), 3.0),
        ("fasttrack", amplification::<fasttrack::FastTrack<u32>>(fasttrack::Config::default()), 3.0),
        ("chord", amplification::<Dht<u32, Chord<u32>>>(dht::<Chord<u32>>()), 16.0),
        ("pastry", amplification::<Dht<u32, Pastry<u32>>>(dht::<Pastry<u32>>()), 16.0),
        ("kademlia", amplification::<Dht<u32, Kademlia<u32>>>(dht::<Kademlia<u32>>()), 16.0),
        ("kelips", amplification::<kelips::Kelips<u32>>(kelips::Config::for_nodes(60)), 70.0),
    ];
    let silent: Vec<_> = measured.iter().filter(|(_, worst, _)| *worst == 0.0).collect();
    assert!(silent.is_empty(), "a request that every member answers was not tried: {silent:?}");
    let beyond: Vec<_> = measured.into_iter().filter(|(_, worst, most)| worst > most).collect();
    assert_eq!(beyond, [], "name, times as many bytes, at most");
}
