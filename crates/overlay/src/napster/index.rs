//! The index: which client has which records, found by key, word or prefix.
//!
//! A client's records belong to the server that it registered with (*origin*) in its
//! *life*, a number that grows each time it registers anywhere. Of two servers that
//! claim a client, the larger life is right; so what a server says that was cut off for
//! a while cannot undo what happened meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::tree::Tree;
use crate::{Hit, Id, Peer, Query, Record};

/// Most entries that one search looks at.
const MAX_SCANNED: usize = 1 << 16;
/// Bytes of names for each record that there may be, of a client and in all: records with
/// long names are fewer.
pub const NAME_BYTES: usize = 128;
/// Bytes that B-tree nodes take for each byte of entries: they are three quarters full.
const TREE_OVERHEAD: (usize, usize) = (4, 3);

/// One record of one client.
#[derive(Clone, Debug)]
struct Entry<P> {
    record: Record,
    provider: P,
}

/// What belongs to a client.
#[derive(Clone, Debug)]
pub(super) struct Holding<P> {
    /// The server that it registered with.
    pub(super) origin: P,
    /// In which of its lives.
    pub(super) life: u32,
    /// In the order of the records' keys.
    entries: Vec<u32>,
    /// Bytes of their names.
    bytes: usize,
}

/// What an addition did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Added {
    /// The record is new, or differs from the one of that key.
    New,
    /// It was there.
    Same,
    /// A bound was reached.
    Full,
    /// The client has registered elsewhere since.
    Old,
}

/// Bounds of an index.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IndexLimits {
    /// Records of all clients together, with [`NAME_BYTES`] of name each on average.
    pub records: usize,
    /// Records of one client, likewise.
    pub records_per_client: usize,
    /// Nodes of the tree of words.
    pub tree_nodes: usize,
}

impl Default for IndexLimits {
    fn default() -> Self {
        IndexLimits { records: 4 << 20, records_per_client: 4096, tree_nodes: 16 << 20 }
    }
}

/// The index of one server.
#[derive(Clone, Debug)]
pub(super) struct Index<P> {
    limits: IndexLimits,
    entries: Vec<Option<Entry<P>>>,
    spare: Vec<u32>,
    keys: BTreeSet<(Id, u32)>,
    /// Bytes of all names.
    bytes: usize,
    words: Tree,
    holdings: BTreeMap<P, Holding<P>>,
}

/// What client and server must agree on: how many records, and a mixture of them.
pub(super) fn digest<'a>(records: impl Iterator<Item = &'a Record>) -> (u32, u64) {
    records.fold((0, 0), |(count, sum), record| {
        let name = record.name.len() as u64;
        let mixed =
            (record.key.high() ^ record.size.rotate_left(32) ^ name).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (count + 1, sum ^ mixed ^ (mixed >> 29))
    })
}

impl<P: Peer> Index<P> {
    pub(super) fn new(limits: IndexLimits) -> Self {
        Index {
            limits,
            entries: Vec::new(),
            spare: Vec::new(),
            keys: BTreeSet::new(),
            bytes: 0,
            words: Tree::new(limits.tree_nodes),
            holdings: BTreeMap::new(),
        }
    }

    /// The client's life that is known, 0 if none is.
    pub(super) fn life(&self, client: P) -> u32 {
        self.holdings.get(&client).map_or(0, |holding| holding.life)
    }

    pub(super) fn holding(&self, client: P) -> Option<&Holding<P>> {
        self.holdings.get(&client)
    }

    /// Records in the index.
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// What the index has of a client; see [`digest`].
    pub(super) fn digest(&self, client: P) -> (u32, u64) {
        let held = self.holdings.get(&client).map_or(&[][..], |holding| &holding.entries);
        digest(held.iter().filter_map(|&at| Some(&self.entry(at)?.record)))
    }

    /// Whether a client has the record of that key.
    pub(super) fn has(&self, client: P, key: Id) -> bool {
        self.held(client, key).is_ok()
    }

    /// Adds a record of a client, in place of the one of that key, which is gone also if
    /// there is no room for the new one.
    pub(super) fn add(&mut self, client: P, origin: P, life: u32, record: Record) -> Added {
        match self.holdings.get(&client) {
            Some(holding) if holding.life > life || (holding.life == life && holding.origin != origin) => {
                return Added::Old;
            }
            Some(holding) if holding.life < life => self.forget(client),
            _ => {}
        }
        if let Ok(at) = self.held(client, record.key).map(|(_, at)| at) {
            if self.entry(at).is_some_and(|entry| entry.record == record) {
                return Added::Same;
            }
            self.drop_entry(at);
        }
        let held = self.holdings.get(&client).map_or((0, 0), |held| (held.entries.len(), held.bytes));
        let is_full = |(records, bytes): (usize, usize), most: usize| {
            records >= most || bytes + record.name.len() > most.saturating_mul(NAME_BYTES)
        };
        let all = (self.keys.len(), self.bytes);
        if is_full(held, self.limits.records_per_client) || is_full(all, self.limits.records) {
            return Added::Full;
        }
        let at = self.spare.pop().unwrap_or(self.entries.len() as u32);
        let words = record.words();
        if let Some(failed) = words.iter().position(|word| !self.words.insert(word, at)) {
            words[..failed].iter().for_each(|word| self.words.remove(word, at));
            self.spare.push(at);
            self.entries.resize_with(self.entries.len().max(at as usize + 1), || None);
            return Added::Full;
        }
        self.keys.insert((record.key, at));
        let place = self.held(client, record.key).map_or_else(|place| place, |(place, _)| place);
        let holding = self.holdings.entry(client).or_insert_with(|| Holding {
            origin,
            life,
            entries: vec![],
            bytes: 0,
        });
        holding.entries.insert(place, at);
        holding.bytes += record.name.len();
        self.bytes += record.name.len();
        self.entries.resize_with(self.entries.len().max(at as usize + 1), || None);
        self.entries[at as usize] = Some(Entry { record, provider: client });
        Added::New
    }

    /// Removes a record of a client; whether it was there.
    pub(super) fn remove(&mut self, client: P, origin: P, life: u32, key: Id) -> bool {
        let Ok((_, at)) = self.held(client, key) else { return false };
        let right = self.holdings.get(&client).is_some_and(|h| h.life == life && h.origin == origin);
        if right {
            self.drop_entry(at);
        }
        right
    }

    /// Removes all that a client has, if that server in that life or an earlier one
    /// says so.
    pub(super) fn gone(&mut self, client: P, origin: P, life: u32) {
        if self.holdings.get(&client).is_some_and(|h| h.origin == origin && h.life <= life) {
            self.forget(client);
        }
    }

    /// Removes everything of one server's clients.
    pub(super) fn drop_origin(&mut self, origin: P) {
        let theirs = self.holdings.iter().filter(|(_, holding)| holding.origin == origin);
        let theirs: Vec<P> = theirs.map(|(&client, _)| client).collect();
        theirs.into_iter().for_each(|client| self.forget(client));
    }

    fn forget(&mut self, client: P) {
        let entries = self.holdings.remove(&client).map(|holding| holding.entries);
        entries.into_iter().flatten().for_each(|at| self.drop_entry(at));
    }

    fn drop_entry(&mut self, at: u32) {
        let Some(entry) = self.entry(at) else { return };
        let (client, key) = (entry.provider, entry.record.key);
        if let Ok((place, _)) = self.held(client, key)
            && let Some(holding) = self.holdings.get_mut(&client)
        {
            holding.entries.remove(place);
            holding.bytes -= self.entries[at as usize].as_ref().map_or(0, |entry| entry.record.name.len());
        }
        let Some(entry) = self.entries[at as usize].take() else { return };
        entry.record.words().iter().for_each(|word| self.words.remove(word, at));
        self.keys.remove(&(key, at));
        self.bytes -= entry.record.name.len();
        self.spare.push(at);
    }

    /// The place among a client's records, and the entry, of that key; else the place
    /// where it would be.
    fn held(&self, client: P, key: Id) -> Result<(usize, u32), usize> {
        let held = self.holdings.get(&client).map_or(&[][..], |holding| &holding.entries);
        let key_of = |&at: &u32| self.entry(at).map_or(Id::ZERO, |entry| entry.record.key);
        held.binary_search_by_key(&key, key_of).map(|place| (place, held[place]))
    }

    fn entry(&self, at: u32) -> Option<&Entry<P>> {
        self.entries.get(at as usize)?.as_ref()
    }

    /// Who has the record of that key: at most `most`, after the first `skip`, and
    /// whether there are more.
    pub(super) fn look_up(&self, key: Id, skip: usize, most: usize) -> (Vec<Hit<P>>, bool) {
        let here = self.keys.range((key, 0)..=(key, u32::MAX)).map(|&(_, at)| at);
        self.page(here.skip(skip), most)
    }

    /// Records that match: at most `most`, after the first `skip`, and whether there
    /// are more.
    pub(super) fn search(&self, query: &Query, skip: usize, most: usize) -> (Vec<Hit<P>>, bool) {
        let words = query.words();
        let whole: Vec<_> = words.iter().filter(|word| !word.ends_with('*')).collect();
        let rarest =
            whole.iter().map(|word| self.words.word(word)).min_by_key(|l| l.map_or(0, BTreeSet::len));
        let matches = |at: &u32| self.entry(*at).is_some_and(|entry| query.matches(&entry.record));
        if let Some(list) = rarest {
            let list = list.into_iter().flatten().copied().take(MAX_SCANNED).filter(matches);
            return self.page(list.skip(skip), most);
        }
        let prefix = words.iter().filter_map(|word| word.strip_suffix('*')).max_by_key(|prefix| prefix.len());
        let Some(prefix) = prefix else { return (Vec::new(), false) };
        let (mut found, mut seen, mut scanned) = (Vec::new(), BTreeSet::new(), 0);
        self.words.prefix(prefix, |at| {
            scanned += 1;
            if matches(&at) && seen.insert(at) {
                found.push(at);
            }
            found.len() <= skip + most && scanned < MAX_SCANNED
        });
        self.page(found.into_iter().skip(skip), most)
    }

    fn page(&self, mut places: impl Iterator<Item = u32>, most: usize) -> (Vec<Hit<P>>, bool) {
        let taken = places.by_ref().take(most).filter_map(|at| self.entry(at));
        let hits =
            taken.map(|entry| Hit { record: entry.record.clone(), provider: entry.provider }).collect();
        (hits, places.next().is_some())
    }

    /// Up to `most` records of that server's clients after a place, in order: for
    /// another server to copy.
    pub(super) fn copy(&self, origin: P, after: Option<(P, Id)>, most: usize) -> Vec<(P, u32, Record)> {
        let from = after.map_or(Bound::Unbounded, |(client, _)| Bound::Included(client));
        let holdings = self.holdings.range((from, Bound::Unbounded)).filter(|(_, h)| h.origin == origin);
        let mut copied = Vec::new();
        for (&client, holding) in holdings {
            let records = holding.entries.iter().filter_map(|&at| Some(&self.entry(at)?.record));
            let new = records.filter(|record| after.is_none_or(|after| (client, record.key) > after));
            copied.extend(new.take(most - copied.len()).map(|record| (client, holding.life, record.clone())));
            if copied.len() >= most {
                break;
            }
        }
        copied
    }

    pub(super) fn heap_bytes(&self) -> usize {
        let names: usize = self.entries.iter().flatten().map(|entry| entry.record.name.len() + 16).sum();
        let holdings: usize = self.holdings.values().map(|holding| holding.entries.capacity() * 4).sum();
        let maps =
            self.keys.len() * size_of::<(Id, u32)>() + self.holdings.len() * size_of::<(P, Holding<P>)>();
        names
            + holdings
            + maps * TREE_OVERHEAD.0 / TREE_OVERHEAD.1
            + self.entries.capacity() * size_of::<Option<Entry<P>>>()
            + self.spare.capacity() * 4
            + self.words.heap_bytes()
    }
}
