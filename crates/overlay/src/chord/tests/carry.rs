//! Carried messages that get no further.

use super::*;

/// A find that node `origin` has sent on its way.
fn carried_find(key: u32, origin: u32, rpc: RpcId) -> Message<u32> {
    let (key, body) = (Id::small(u64::from(key), BITS), Body::Find { rpc, op: 1, values: false });
    Message::Carry {
        rpc,
        carried: Box::new(Carried { key, origin, hops: 1, timeouts: 0, last: false, body }),
    }
}

/// What was sent last, if it is a carried message: to whom, and its number there.
fn passed_on(outside: &Outside) -> Option<(u32, RpcId)> {
    match outside.sent.last() {
        Some((to, Message::Carry { rpc, .. })) => Some((*to, *rpc)),
        _ => None,
    }
}

#[test]
fn what_cannot_be_carried_is_not_acknowledged_but_what_arrives_is() {
    let (mut node, mut outside) = member(Config::default());
    let mut tell = |n: u32, key| {
        outside.sent.clear();
        let message = carried_find(key, 60, RpcId(n));
        node.handle(Time::ZERO, Input::Message { from: 56, message }, &mut outside);
        outside.sent.clone()
    };
    for n in 0..MAX_CARRIES as u32 {
        assert_eq!(tell(n, 20)[0], (56, Message::Ack { rpc: RpcId(n) }));
    }
    assert_eq!(tell(100, 20), [(56, Message::Nack { rpc: RpcId(100) })]);
    let own = tell(101, 60);
    assert_eq!(own[0], (56, Message::Ack { rpc: RpcId(101) }));
    assert!(matches!(own[1], (60, Message::Found { .. })), "{own:?}");
}

#[test]
fn who_cannot_carry_is_passed_over_but_is_no_dead_peer() {
    let (mut node, mut outside) = member(Config { successors: 2, ..Config::default() });
    let known = node.known();
    let message = carried_find(60 - 8, 60, RpcId(1));
    node.handle(Time::ZERO, Input::Message { from: 56, message }, &mut outside);
    let (first, rpc) = passed_on(&outside).unwrap();
    node.handle(Time::ZERO, Input::Message { from: first, message: Message::Nack { rpc } }, &mut outside);
    let (second, _) = passed_on(&outside).unwrap();
    assert!(second < first, "{second} {first}");
    let Some((_, Message::Carry { carried, .. })) = outside.sent.last() else { unreachable!() };
    assert_eq!((carried.timeouts, node.known()), (0, known));
}

#[test]
fn a_carried_find_is_tried_with_all_that_are_known_and_then_its_origin_hears_of_it() {
    let mut outside = outside();
    let members: Vec<(Id, u32)> = (0..64).map(|n| (outside.id(n), n)).collect();
    let config = Config { successors: MAX_SUCCESSORS, tries: 1, ..Config::default() };
    let mut node = Chord::new(ME, &Arc::new(config));
    node.converge(Time::ZERO, &View::new(&members), &mut outside);
    let all = node.table.all().iter().filter(|&&one| one != 60).count();
    assert!(all >= MAX_SUCCESSORS);
    let message = carried_find(60, 62, RpcId(9));
    node.handle(Time::ZERO, Input::Message { from: 62, message }, &mut outside);
    let mut tried = Vec::new();
    while let Some((to, _)) = passed_on(&outside) {
        tried.push(to);
        node.handle(Time::ZERO, Input::Unreachable(to), &mut outside);
        outside.sent.retain(|(_, message)| matches!(message, Message::Carry { .. } | Message::Lost { .. }));
        assert!(tried.len() <= MAX_TRIED);
        if !matches!(outside.sent.last(), Some((next, Message::Carry { .. })) if !tried.contains(next)) {
            break;
        }
    }
    assert_eq!(tried.len(), all, "{tried:?}");
    let timeouts = tried.len() as u8;
    assert_eq!(outside.sent.last(), Some(&(62, Message::Lost { rpc: RpcId(9), timeouts })));
}

/// A find that gets no answer is done iteratively, at once if somebody says that it got lost:
/// what answers does so to this node's own question, also through a NAT.
#[test]
fn a_recursive_find_that_is_not_answered_goes_on_iteratively() {
    for told in [true, false] {
        let config = Config { successors: 2, style: Style::Recursive, ..Config::default() };
        let wait = config.carry_timeout;
        let (mut node, mut outside) = member(config);
        let find = Route::Find { op: Op(5), key: Id::small(52, BITS), values: false };
        node.handle(Time::ZERO, Input::Command(find), &mut outside);
        let Some((_, Message::Carry { carried, .. })) = outside.sent.last().cloned() else { unreachable!() };
        let Body::Find { rpc, .. } = carried.body else { unreachable!() };
        if told {
            let lost = Input::Message { from: 48, message: Message::Lost { rpc, timeouts: 3 } };
            node.handle(Time::ZERO, lost.clone(), &mut outside);
            assert_eq!(node.next_timeout(), Some(Time::ZERO));
            node.handle_timeout(Time::ZERO, &mut outside);
            node.handle(Time::ZERO, lost, &mut outside);
            assert_eq!(outside.refused, [(Offence::UnknownReply, 1)].into(), "it is not carried any more");
        } else {
            outside.sent.clear();
            node.handle_timeout(Time::ZERO + wait * 2, &mut outside);
        }
        let asks = |one: &&(u32, Message<u32>)| matches!(one.1, Message::Ask { aim: Aim::Key, .. });
        let Some(&(32, Message::Ask { rpc, aim, .. })) = outside.sent.iter().find(asks) else {
            panic!("{told}: {:?}", outside.sent);
        };
        let now = node.now;
        let last = Message::Last { rpc, aim, peers: List::new(vec![56]) };
        node.handle(now, Input::Message { from: 32, message: last }, &mut outside);
        let Some(&(56, Message::Ask { rpc, aim, .. })) = outside.sent.last() else { unreachable!() };
        let root = Message::Root { rpc, aim, before: None, replicas: List::default() };
        node.handle(now, Input::Message { from: 56, message: root }, &mut outside);
        let ended =
            |event: &Routing<u32>| matches!(event, Routing::Closest { peers, .. } if peers[..] == [56]);
        assert!(outside.events.iter().any(ended), "{:?}", outside.events);
    }
}

#[test]
fn a_root_that_cannot_carry_now_is_waited_for_and_not_forever() {
    let (mut node, mut outside) = member(Config::default());
    let message = carried_find(20, 60, RpcId(3));
    node.handle(Time::ZERO, Input::Message { from: 56, message }, &mut outside);
    for _ in 0..=MAX_WAITS {
        let (root, rpc) = passed_on(&outside).unwrap();
        assert_eq!(root, 24);
        let now = node.now;
        node.handle(now, Input::Message { from: root, message: Message::Nack { rpc } }, &mut outside);
        let Some(busy) = &node.busy else { break };
        let due = busy.due;
        while node.now < due {
            node.handle_timeout(node.next_timeout().unwrap(), &mut outside);
        }
        outside.sent.retain(|(_, message)| matches!(message, Message::Carry { .. } | Message::Lost { .. }));
    }
    assert!(node.busy.is_none());
    assert_eq!(outside.sent.last(), Some(&(60, Message::Lost { rpc: RpcId(3), timeouts: 0 })));
}

/// Too much in one moment is no reason to lose a find while everybody lives.
#[test]
fn if_all_have_too_much_to_carry_the_best_of_them_is_asked_again() {
    let (mut node, mut outside) = member(Config { successors: 2, ..Config::default() });
    let message = carried_find(60 - 8, 60, RpcId(1));
    node.handle(Time::ZERO, Input::Message { from: 56, message }, &mut outside);
    let (best, _) = passed_on(&outside).unwrap();
    let (mut asked, mut again) = (0, 0);
    while let Some((to, rpc)) = passed_on(&outside) {
        (asked, again) = (asked + 1, again + u32::from(to == best));
        let now = node.now;
        node.handle(now, Input::Message { from: to, message: Message::Nack { rpc } }, &mut outside);
        if passed_on(&outside) == Some((to, rpc)) {
            let Some(busy) = &node.busy else { break };
            let due = busy.due;
            while node.now < due {
                node.handle_timeout(node.next_timeout().unwrap(), &mut outside);
            }
        }
        outside.sent.retain(|(_, message)| matches!(message, Message::Carry { .. } | Message::Lost { .. }));
    }
    assert!(asked > again, "others were tried");
    assert_eq!(again, 1 + u32::from(MAX_WAITS));
    assert!(node.busy.is_none());
    assert_eq!(outside.sent.last(), Some(&(60, Message::Lost { rpc: RpcId(1), timeouts: 0 })));
}

#[test]
fn who_leaves_tells_whose_finds_it_carried() {
    let (mut node, mut outside) = member(Config::default());
    let message = carried_find(20, 60, RpcId(3));
    node.handle(Time::ZERO, Input::Message { from: 56, message }, &mut outside);
    node.handle(Time::ZERO, Input::Command(Route::Leave), &mut outside);
    assert!(outside.sent.contains(&(60, Message::Lost { rpc: RpcId(3), timeouts: 0 })));
}

/// Whoever fills a node with what it shall carry keeps it from no find of its own.
#[test]
fn who_has_too_much_to_carry_looks_up_alone() {
    let (mut node, mut outside) = member(Config { style: Style::Recursive, ..Config::default() });
    for n in 0..MAX_CARRIES as u32 {
        let message = carried_find(20, 60, RpcId(n));
        node.handle(Time::ZERO, Input::Message { from: 56, message }, &mut outside);
    }
    outside.sent.clear();
    for (op, key) in [(1, ME), (2, 20)] {
        let find = Route::Find { op: Op(op), key: Id::small(u64::from(key), BITS), values: false };
        node.handle(Time::ZERO, Input::Command(find), &mut outside);
    }
    assert!(matches!(&outside.events[..], [Routing::Closest { op: Op(1), peers, .. }] if peers[0] == ME));
    assert!(matches!(outside.sent[..], [(_, Message::Ask { aim: Aim::Key, .. })]), "{:?}", outside.sent);
}
