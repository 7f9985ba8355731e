//! Datagrams that no node of the network sends.

use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;

use starling_net::overlay::{DATAGRAM_MAX, Node, Options};
use starling_overlay::{Command, Event};

use crate::configs::{Chord, chord};
use crate::crowd::within;

fn start(network: &str) -> Node<Chord> {
    let at = ([127, 0, 0, 1], 0).into();
    let options = Options { at, virtual_node: 0, network: network.into(), seed: 1, record: None };
    Node::start(&Arc::new(chord()), options).unwrap()
}

/// Noise of every length, and a node of another network: all of it is counted, none of it
/// is answered, and the node still lets others join.
#[test]
fn strangers_are_counted_and_ignored() {
    within(Duration::from_secs(60), async {
        let mut node = start("ours");
        node.command(Command::Join(None)).await;
        while node.event().await.unwrap() != Event::Joined {}

        let other = start("theirs");
        other.command(Command::Join(Some(node.me()))).await;
        let noise = UdpSocket::bind("127.0.0.1:0").unwrap();
        for length in (0..64).chain([DATAGRAM_MAX, DATAGRAM_MAX + 1, 60_000]) {
            noise.send_to(&vec![7; length], node.me().addr()).unwrap();
        }
        while node.counts().foreign < 68 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(node.counts().foreign, node.counts().received);
        assert_eq!((node.counts().sent, other.counts().received), (0, 0));

        let mut friend = start("ours");
        friend.command(Command::Join(Some(node.me()))).await;
        while friend.event().await.unwrap() != Event::Joined {}
    });
}

#[test]
fn an_address_that_names_nobody_is_refused() {
    within(Duration::from_secs(60), async {
        let at = ([0, 0, 0, 0], 0).into();
        let options = Options { at, virtual_node: 0, network: "ours".into(), seed: 1, record: None };
        let refused = Node::<Chord>::start(&Arc::new(chord()), options).err().unwrap();
        assert_eq!(refused.kind(), std::io::ErrorKind::InvalidInput);
    });
}
