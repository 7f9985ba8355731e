//! A ternary search tree (Bentley and Sedgewick, "Fast Algorithms for Sorting and
//! Searching Strings", SODA 1997): words, and which entries have them.
//!
//! Each node has a byte and three branches: to smaller bytes at the same place of a
//! word, to the next place, and to larger bytes. It finds words and prefixes in time
//! near their length, in one node a byte that no other word shares. What is removed
//! leaves no nodes behind. Nodes are numbers in one vector; nothing recurses.

use std::collections::BTreeSet;

/// No node, no list.
const NONE: u32 = u32::MAX;

#[derive(Clone, Debug)]
struct Node {
    byte: u8,
    low: u32,
    equal: u32,
    high: u32,
    list: u32,
}

#[derive(Clone, Copy, Debug)]
enum Branch {
    Low,
    Equal,
    High,
}

/// Where a node hangs: below which other, and on which branch; `NONE` is the root.
type Hook = (u32, Branch);

/// The tree.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    nodes: Vec<Node>,
    /// The first unused node; the others follow by `low`.
    spare: u32,
    used: usize,
    most: usize,
    root: u32,
    lists: Vec<BTreeSet<u32>>,
    spare_lists: Vec<u32>,
}

impl Tree {
    /// A tree of at most `most` nodes.
    pub(super) fn new(most: usize) -> Tree {
        let most = most.min(NONE as usize - 1);
        Tree { nodes: vec![], spare: NONE, used: 0, most, root: NONE, lists: vec![], spare_lists: vec![] }
    }

    /// Nodes in use.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.used
    }

    /// Notes that `entry` has `word`; false, and nothing done, if there is no room.
    pub(super) fn insert(&mut self, word: &str, entry: u32) -> bool {
        if self.used + word.len() > self.most || word.is_empty() {
            return false;
        }
        let mut hook = (NONE, Branch::Equal);
        let mut last = NONE;
        for byte in word.bytes() {
            loop {
                let mut at = self.hanging(hook);
                if at == NONE {
                    at = self.new_node(byte);
                    self.hang(hook, at);
                }
                let node = &self.nodes[at as usize];
                if byte == node.byte {
                    last = at;
                    hook = (at, Branch::Equal);
                    break;
                }
                hook = (at, if byte < node.byte { Branch::Low } else { Branch::High });
            }
        }
        if self.nodes[last as usize].list == NONE {
            self.nodes[last as usize].list = self.new_list();
        }
        self.lists[self.nodes[last as usize].list as usize].insert(entry);
        true
    }

    /// Forgets that `entry` has `word`.
    pub(super) fn remove(&mut self, word: &str, entry: u32) {
        let mut path: Vec<Hook> = Vec::new();
        let Some(last) = self.walk(word, |hook| path.push(hook)) else { return };
        let list = self.nodes[last as usize].list;
        let Some(entries) = self.lists.get_mut(list as usize) else { return };
        entries.remove(&entry);
        if entries.is_empty() {
            self.spare_lists.push(list);
            self.nodes[last as usize].list = NONE;
            self.prune(path);
        }
    }

    /// The entries that have `word`.
    pub(super) fn word(&self, word: &str) -> Option<&BTreeSet<u32>> {
        let last = self.walk(word, |_| {})?;
        self.lists.get(self.nodes[last as usize].list as usize)
    }

    /// Shows the entries of every word that begins with `prefix`, until `visit` is
    /// false. An entry with two such words is shown twice.
    pub(super) fn prefix(&self, prefix: &str, mut visit: impl FnMut(u32) -> bool) {
        let Some(last) = self.walk(prefix, |_| {}) else { return };
        let mut waiting = vec![self.nodes[last as usize].equal];
        let mut list = self.nodes[last as usize].list;
        loop {
            if let Some(entries) = self.lists.get(list as usize)
                && !entries.iter().all(|&entry| visit(entry))
            {
                return;
            }
            let next = loop {
                match waiting.pop() {
                    None => return,
                    Some(NONE) => {}
                    Some(node) => break &self.nodes[node as usize],
                }
            };
            waiting.extend([next.high, next.equal, next.low]);
            list = next.list;
        }
    }

    pub(super) fn heap_bytes(&self) -> usize {
        // A B-tree set of numbers takes a leaf of about 56 bytes for each started eleven.
        let lists: usize = self.lists.iter().map(|list| list.len().div_ceil(8) * 56).sum();
        self.nodes.capacity() * size_of::<Node>()
            + self.lists.capacity() * size_of::<BTreeSet<u32>>()
            + self.spare_lists.capacity() * 4
            + lists
    }

    /// The node of the last byte of `text`, if there are words that begin with it.
    fn walk(&self, text: &str, mut passed: impl FnMut(Hook)) -> Option<u32> {
        let mut hook = (NONE, Branch::Equal);
        let mut last = None;
        for byte in text.bytes() {
            loop {
                let at = self.hanging(hook);
                let node = self.nodes.get(at as usize)?;
                passed(hook);
                if byte == node.byte {
                    last = Some(at);
                    hook = (at, Branch::Equal);
                    break;
                }
                hook = (at, if byte < node.byte { Branch::Low } else { Branch::High });
            }
        }
        last
    }

    /// Takes away the nodes at the end of a path that lead nowhere any more.
    fn prune(&mut self, mut path: Vec<Hook>) {
        while let Some(hook) = path.pop() {
            let at = self.hanging(hook);
            let node = &self.nodes[at as usize];
            if node.list != NONE || node.equal != NONE {
                return;
            }
            let (low, high) = (node.low, node.high);
            let heir = if low == NONE { high } else { low };
            if low != NONE && high != NONE {
                let mut end = low;
                while self.nodes[end as usize].high != NONE {
                    end = self.nodes[end as usize].high;
                }
                self.nodes[end as usize].high = high;
            }
            self.hang(hook, heir);
            self.nodes[at as usize].low = self.spare;
            self.spare = at;
            self.used -= 1;
        }
    }

    fn hanging(&self, (above, branch): Hook) -> u32 {
        match (self.nodes.get(above as usize), branch) {
            (None, _) => self.root,
            (Some(node), Branch::Low) => node.low,
            (Some(node), Branch::Equal) => node.equal,
            (Some(node), Branch::High) => node.high,
        }
    }

    fn hang(&mut self, (above, branch): Hook, at: u32) {
        match (self.nodes.get_mut(above as usize), branch) {
            (None, _) => self.root = at,
            (Some(node), Branch::Low) => node.low = at,
            (Some(node), Branch::Equal) => node.equal = at,
            (Some(node), Branch::High) => node.high = at,
        }
    }

    fn new_node(&mut self, byte: u8) -> u32 {
        let node = Node { byte, low: NONE, equal: NONE, high: NONE, list: NONE };
        self.used += 1;
        if self.spare == NONE {
            self.nodes.push(node);
            return self.nodes.len() as u32 - 1;
        }
        let at = self.spare;
        self.spare = self.nodes[at as usize].low;
        self.nodes[at as usize] = node;
        at
    }

    fn new_list(&mut self) -> u32 {
        self.spare_lists.pop().unwrap_or_else(|| {
            self.lists.push(BTreeSet::new());
            self.lists.len() as u32 - 1
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn shown(tree: &Tree, prefix: &str) -> BTreeSet<u32> {
        let mut shown = BTreeSet::new();
        tree.prefix(prefix, |entry| {
            shown.insert(entry);
            true
        });
        shown
    }

    #[test]
    fn the_papers_dozen_words() {
        let mut tree = Tree::new(100);
        let words = ["is", "as", "at", "be", "by", "he", "in", "it", "of", "on", "or", "to"];
        for (entry, word) in (0..).zip(words) {
            assert!(tree.insert(word, entry));
        }
        assert_eq!(tree.len(), 6 + 12, "six first letters, twelve second ones");
        assert_eq!(shown(&tree, "o"), BTreeSet::from([8, 9, 10]));
        assert_eq!(tree.word("it").unwrap(), &BTreeSet::from([7]));
        assert!(tree.word("i").is_none() && tree.word("its").is_none() && tree.word("").is_none());
    }

    #[test]
    fn a_full_tree_takes_no_more_and_is_unchanged() {
        let mut tree = Tree::new(10);
        assert!(tree.insert("starling", 1));
        assert!(!tree.insert("flock", 2));
        assert!(tree.insert("st", 3), "two bytes would fit whatever is shared");
        assert_eq!((tree.len(), shown(&tree, "s")), (8, BTreeSet::from([1, 3])));
    }

    proptest! {
        #[test]
        fn it_is_a_map_of_sets(
            steps in prop::collection::vec((any::<bool>(), "[a-dé]{1,4}", 0u32..4), 0..200),
            prefix in "[a-dé]{1,2}",
        ) {
            let mut tree = Tree::new(4000);
            let mut model: BTreeMap<String, BTreeSet<u32>> = BTreeMap::new();
            for (insert, word, entry) in steps {
                if insert {
                    prop_assert!(tree.insert(&word, entry));
                    model.entry(word).or_default().insert(entry);
                } else {
                    tree.remove(&word, entry);
                    model.entry(word.clone()).or_default().remove(&entry);
                    model.retain(|_, entries| !entries.is_empty());
                }
            }
            for (word, entries) in &model {
                prop_assert_eq!(tree.word(word), Some(entries));
            }
            let expected: BTreeSet<u32> = model.iter()
                .filter(|(word, _)| word.starts_with(&prefix))
                .flat_map(|(_, entries)| entries.iter().copied())
                .collect();
            prop_assert_eq!(shown(&tree, &prefix), expected);
            // As many nodes as there are distinct beginnings, in bytes.
            let beginnings: BTreeSet<&[u8]> =
                model.keys().flat_map(|word| (1..=word.len()).map(|n| &word.as_bytes()[..n])).collect();
            prop_assert_eq!(tree.len(), beginnings.len());
        }
    }
}
