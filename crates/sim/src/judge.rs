//! Compares what operations were told with what is true at that moment: who is
//! responsible for a key, and who has what was asked for and is up.

use std::collections::BTreeSet;

use starling_overlay::{Id, View};

use crate::catalogue::{Catalogue, Index};
use crate::metrics::{Kind, Operations};
use crate::place::Node;

/// Who is responsible for a key, for the answers of finds to be compared with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Root {
    /// The first node at or after the key (Chord).
    Successor,
    /// The node at the least XOR distance (Kademlia).
    Xor,
    /// The node that is nearest around the circle (Pastry).
    Nearest,
}

/// An answer to a find.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// What was asked.
    pub key: Id,
    /// Who is said to be responsible.
    pub node: Node,
}

/// What a search or a look-up was told.
#[derive(Clone, Debug)]
pub struct Heard {
    /// Which of the two.
    pub kind: Kind,
    /// The number of the record that was meant.
    pub record: u32,
    /// Keys of records and their providers, each pair once.
    pub hits: Vec<(Id, Node)>,
}

/// What there is to be found.
#[derive(Clone, Debug)]
pub struct Shelf {
    catalogue: Catalogue,
    /// Records by word, if somebody searches.
    index: Option<Index>,
    hosts: u32,
}

impl Shelf {
    /// What of `catalogue` can be found on so many hosts; by words too if `searched`.
    pub fn new(catalogue: &Catalogue, searched: bool, hosts: u32) -> Self {
        let index = searched.then(|| catalogue.index());
        Shelf { catalogue: catalogue.clone(), index, hosts }
    }

    /// Adds to `operations` how many of the hits name somebody who has the record and is
    /// up, how many do not, and how many there could have been. `up` gives the node on a
    /// host, if it is up.
    pub fn judge(&self, heard: &Heard, up: impl Fn(u32) -> Option<Node>, operations: &mut Operations) {
        let meant = match (heard.kind, &self.index) {
            (Kind::Search, Some(index)) => index.matching(&self.catalogue, heard.record),
            (Kind::LookUp, _) => vec![heard.record],
            (Kind::Search | Kind::Find, _) => Vec::new(),
        };
        let told: BTreeSet<&(Id, Node)> = heard.hits.iter().collect();
        let (mut hits, mut possible) = (0, 0);
        for record in meant {
            let key = self.catalogue.key(record);
            let owners = self.catalogue.owners(record, self.hosts);
            for provider in owners.into_iter().filter_map(&up) {
                possible += 1;
                hits += u64::from(told.contains(&(key, provider)));
            }
        }
        operations.hits += hits;
        operations.stale += told.len() as u64 - hits;
        operations.possible += possible;
    }
}

/// Who is truly responsible for `key`.
pub fn truth(root: Root, view: &View<'_, Node>, key: Id) -> Option<Node> {
    let after = view.successor(key);
    match root {
        Root::Successor => view.at(after, 0).map(|member| member.1),
        Root::Nearest => {
            let beside = [view.at(after, -1)?, view.at(after, 0)?];
            beside.into_iter().min_by_key(|member| member.0.ring_distance(key)).map(|member| member.1)
        }
        Root::Xor => {
            let mut nearest = view.members();
            let mut bits = 0;
            while nearest.len() > 1 && bits < Id::BITS {
                bits += 1;
                let sharing = view.prefix(key, bits);
                if sharing.is_empty() {
                    break;
                }
                nearest = sharing;
            }
            nearest.iter().min_by_key(|member| member.0.xor(key)).map(|member| member.1)
        }
    }
}

#[cfg(test)]
mod tests {
    use starling_sansio::Rng;

    use super::*;

    #[test]
    fn the_truth_is_what_a_look_at_everybody_says() {
        let mut rng = Rng::from_seed(3);
        let mut members: Vec<(Id, Node)> =
            (0..500).map(|host| (Id::from_high(rng.next_u64()), Node::new(host, 0))).collect();
        members.sort_unstable();
        let view = View::new(&members);
        for _ in 0..500 {
            let key = Id::from_high(rng.next_u64());
            let best = |distance: fn(Id, Id) -> Id| {
                members.iter().min_by_key(|member| distance(member.0, key)).map(|member| member.1)
            };
            assert_eq!(truth(Root::Successor, &view, key), best(Id::minus));
            assert_eq!(truth(Root::Nearest, &view, key), best(Id::ring_distance));
            assert_eq!(truth(Root::Xor, &view, key), best(Id::xor));
        }
    }
}
