//! Who gave data: peers, not connections.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use starling_node::Giver;

/// Peers that are counted; beyond, they are many.
const MAX: usize = 10_000;

/// Peers told apart by what they call themselves and by where they are: one that comes again, or
/// that both dialed and was dialed, is one.
#[derive(Default)]
pub struct Givers {
    ids: BTreeSet<[u8; 20]>,
    addrs: BTreeSet<SocketAddr>,
    count: usize,
}

impl Givers {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Counts `giver` in, if it is none of those.
    pub fn note(&mut self, giver: &Giver) {
        if self.count < MAX {
            let is_new = self.ids.insert(giver.peer_id) & self.addrs.insert(giver.addr);
            self.count += usize::from(is_new);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_again_is_counted_once() {
        let mut givers = Givers::default();
        let mut note = |id, addr: &str| {
            givers.note(&Giver { peer_id: [id; 20], addr: addr.parse().unwrap() });
            givers.count()
        };
        assert_eq!(note(1, "10.0.0.1:6881"), 1);
        assert_eq!(note(1, "10.0.0.1:40000"), 1, "it dialed us as well");
        assert_eq!(note(2, "10.0.0.1:6881"), 1, "it was started again");
        assert_eq!(note(3, "10.0.0.1:6882"), 2, "another on the same machine");
        assert_eq!(note(4, "10.0.0.2:6881"), 3);
    }
}
