//! How many peers have each piece, and the pieces to begin next, rarest first.
//!
//! A piece that may be begun lies in the bucket of its class and availability;
//! every change moves it in constant time. Seeds are not counted: they have
//! everything, so they change no order.

use starling_metainfo::Bitfield;
use starling_sansio::Rng;

/// Which pieces a peer has.
#[derive(Clone, Debug, Default)]
pub(crate) enum Has {
    /// It has not told, or has none.
    #[default]
    Nothing,
    /// Some.
    Some(Box<Bitfield>),
    /// All: a seed.
    All,
}

impl Has {
    /// Whether it has `piece`.
    pub fn get(&self, piece: u32) -> bool {
        match self {
            Has::Nothing => false,
            Has::Some(set) => set.get(piece),
            Has::All => true,
        }
    }

    /// How many of `pieces` it has.
    pub fn count(&self, pieces: u32) -> u32 {
        match self {
            Has::Nothing => 0,
            Has::Some(set) => set.count(),
            Has::All => pieces,
        }
    }

    pub(crate) fn bytes(&self) -> Option<&[u8]> {
        match self {
            Has::Some(set) => Some(set.as_bytes()),
            _ => None,
        }
    }
}

/// How dear a piece is; 0 is not wanted at all.
pub(crate) type Class = u8;

/// Classes there are.
const CLASSES: usize = 4;
/// Availability from here on counts as this much.
const LEVELS: usize = 256;
/// Not in a bucket.
const NOWHERE: u32 = u32::MAX;
/// Begun; the low bits are the partial's number.
const BEGUN: u32 = 1 << 31;
/// Pieces looked at in buckets before the whole is scanned by words.
const LOOKS: usize = 256;
/// Candidates compared in a scan by words.
const CANDIDATES: usize = 16;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Rarity {
    count: Vec<u16>,
    class: Vec<Class>,
    place: Vec<u32>,
    buckets: Vec<Vec<u32>>,
    nonempty: [u64; CLASSES * LEVELS / 64],
    startable: Bitfield,
}

impl Rarity {
    /// Over `pieces` pieces, none of which may be begun yet.
    pub fn new(pieces: u32) -> Rarity {
        let n = pieces as usize;
        Rarity {
            count: vec![0; n],
            class: vec![0; n],
            place: vec![NOWHERE; n],
            buckets: vec![Vec::new(); CLASSES * LEVELS],
            nonempty: [0; CLASSES * LEVELS / 64],
            startable: Bitfield::new(pieces),
        }
    }

    /// Pieces that may be begun.
    pub fn startable(&self) -> u32 {
        self.startable.count()
    }

    /// Whether `piece` may be begun.
    pub fn is_startable(&self, piece: u32) -> bool {
        self.startable.get(piece)
    }

    /// Peers that have `piece`, seeds not counted.
    pub fn availability(&self, piece: u32) -> u32 {
        self.count.get(piece as usize).map_or(0, |&n| n.into())
    }

    /// The class of `piece`.
    pub fn class(&self, piece: u32) -> Class {
        self.class.get(piece as usize).copied().unwrap_or(0)
    }

    /// Gives `piece` another class; it moves if it lies in a bucket.
    pub fn set_class(&mut self, piece: u32, class: Class) {
        self.shift(piece, |rarity, i| rarity.class[i] = class.min(CLASSES as u8 - 1));
    }

    /// One more peer has `piece`.
    pub fn inc(&mut self, piece: u32) {
        self.shift(piece, |rarity, i| rarity.count[i] = rarity.count[i].saturating_add(1));
    }

    /// One peer less has `piece`.
    pub fn dec(&mut self, piece: u32) {
        self.shift(piece, |rarity, i| rarity.count[i] = rarity.count[i].saturating_sub(1));
    }

    /// `piece` may be begun from now on.
    pub fn insert(&mut self, piece: u32) {
        if piece < self.startable.len() && self.startable.insert(piece) {
            self.put(piece);
        }
    }

    /// `piece` may not be begun: it is had, not wanted, or its hash is not known.
    pub fn remove(&mut self, piece: u32) {
        if self.startable.remove(piece) {
            self.take(piece);
        } else if let Some(place) = self.place.get_mut(piece as usize) {
            *place = NOWHERE;
        }
    }

    /// `piece` is begun, as partial number `id`.
    pub fn begin(&mut self, piece: u32, id: u32) {
        self.remove(piece);
        if let Some(place) = self.place.get_mut(piece as usize) {
            *place = BEGUN | id;
        }
    }

    /// The partial that `piece` is, if it is begun.
    pub fn begun(&self, piece: u32) -> Option<u32> {
        let place = *self.place.get(piece as usize)?;
        (place != NOWHERE && place & BEGUN != 0).then_some(place & !BEGUN)
    }

    /// The dearest class with a startable piece.
    pub fn dearest(&self) -> Class {
        (1..CLASSES).rev().find(|&class| self.buckets_of(class).next().is_some()).unwrap_or(0) as Class
    }

    /// The rarest startable piece of the dearest class that `has` holds and `fits`;
    /// by chance among equals.
    pub fn rarest(&self, has: &Has, rng: &mut Rng, fits: impl Fn(u32) -> bool) -> Option<u32> {
        let mut looks = LOOKS;
        for class in (1..CLASSES).rev() {
            for bucket in self.buckets_of(class) {
                let items = &self.buckets[bucket];
                let start = rng.index(items.len());
                for i in 0..items.len() {
                    let piece = items[(start + i) % items.len()];
                    if has.get(piece) && fits(piece) {
                        return Some(piece);
                    }
                    looks -= 1;
                    if looks == 0 {
                        return self.scan(has, rng, fits);
                    }
                }
            }
        }
        None
    }

    /// Any startable piece that `has` holds and `fits`, by chance.
    pub fn any(&self, has: &Has, rng: &mut Rng, fits: impl Fn(u32) -> bool) -> Option<u32> {
        let from = rng.index(self.startable.len() as usize) as u32;
        self.next_from(has, from, &fits).or_else(|| self.next_from(has, 0, &fits))
    }

    /// The first startable piece that `has` holds and `fits`.
    pub fn first(&self, has: &Has, fits: impl Fn(u32) -> bool) -> Option<u32> {
        self.next_from(has, 0, &fits)
    }

    /// The first startable piece from `from` on that `has` holds and `fits`.
    pub fn next_from(&self, has: &Has, from: u32, fits: &impl Fn(u32) -> bool) -> Option<u32> {
        let mine = self.startable.as_bytes();
        let theirs = match has {
            Has::Nothing => return None,
            Has::Some(set) => Some(set.as_bytes()),
            Has::All => None,
        };
        let mut at = from as usize / 64 * 8;
        while at < mine.len() {
            let mut word = word_at(mine, at) & theirs.map_or(u64::MAX, |theirs| word_at(theirs, at));
            while word != 0 {
                let bit = word.leading_zeros();
                let piece = at as u32 * 8 + bit;
                if piece >= from && fits(piece) {
                    return Some(piece);
                }
                word &= !(1 << 63 >> bit);
            }
            at += 8;
        }
        None
    }

    /// The longest run of startable pieces, or with `in_order` the first: where it begins and
    /// how long it is. Runs of `enough` are not compared further.
    pub fn widest_gap(&self, in_order: bool, enough: u32) -> Option<(u32, u32)> {
        let mut best: Option<(u32, u32)> = None;
        let mut from = 0;
        while let Some(first) = self.next_from(&Has::All, from, &|_| true) {
            let run =
                (first..first.saturating_add(enough)).take_while(|&p| self.startable.get(p)).count() as u32;
            if best.is_none_or(|(_, longest)| run > longest) {
                best = Some((first, run));
            }
            if in_order || run >= enough {
                break;
            }
            from = first + run;
        }
        best
    }

    /// The best of a few candidates found by scanning words from a random place.
    fn scan(&self, has: &Has, rng: &mut Rng, fits: impl Fn(u32) -> bool) -> Option<u32> {
        let mut best: Option<u32> = None;
        let mut from = rng.index(self.startable.len() as usize) as u32;
        let mut wrapped = false;
        for _ in 0..CANDIDATES {
            let Some(piece) = self.next_from(has, from, &fits) else {
                if wrapped {
                    break;
                }
                (wrapped, from) = (true, 0);
                continue;
            };
            let rank = |p: u32| (u8::MAX - self.class(p), self.availability(p));
            if best.is_none_or(|b| rank(piece) < rank(b)) {
                best = Some(piece);
            }
            from = piece + 1;
        }
        best
    }

    fn buckets_of(&self, class: usize) -> impl Iterator<Item = usize> + '_ {
        let words = LEVELS / 64;
        (class * words..(class + 1) * words).flat_map(|w| {
            let mut rest = self.nonempty[w];
            std::iter::from_fn(move || {
                let bit = rest.trailing_zeros() as usize;
                (bit < 64).then(|| {
                    rest &= rest - 1;
                    w * 64 + bit
                })
            })
        })
    }

    fn bucket(&self, piece: u32) -> usize {
        let i = piece as usize;
        usize::from(self.class[i]) * LEVELS + usize::from(self.count[i]).min(LEVELS - 1)
    }

    fn shift(&mut self, piece: u32, change: impl FnOnce(&mut Rarity, usize)) {
        if piece as usize >= self.place.len() {
            return;
        }
        if self.startable.get(piece) {
            self.take(piece);
            change(self, piece as usize);
            self.put(piece);
        } else {
            change(self, piece as usize);
        }
    }

    fn put(&mut self, piece: u32) {
        let bucket = self.bucket(piece);
        self.place[piece as usize] = self.buckets[bucket].len() as u32;
        self.buckets[bucket].push(piece);
        self.nonempty[bucket / 64] |= 1 << (bucket % 64);
    }

    fn take(&mut self, piece: u32) {
        let bucket = self.bucket(piece);
        let at = std::mem::replace(&mut self.place[piece as usize], NOWHERE) as usize;
        self.buckets[bucket].swap_remove(at);
        if let Some(&moved) = self.buckets[bucket].get(at) {
            self.place[moved as usize] = at as u32;
        }
        if self.buckets[bucket].is_empty() {
            self.nonempty[bucket / 64] &= !(1 << (bucket % 64));
        }
    }
}

/// Eight bytes of a set as a word, first piece in the highest bit; zeros beyond the end.
pub(crate) fn word_at(bytes: &[u8], at: usize) -> u64 {
    match bytes.get(at..at + 8) {
        Some(chunk) => u64::from_be_bytes(chunk.try_into().unwrap_or([0; 8])),
        None => {
            let mut chunk = [0; 8];
            let rest = bytes.get(at..).unwrap_or_default();
            chunk[..rest.len()].copy_from_slice(rest);
            u64::from_be_bytes(chunk)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(pieces: &[u32], len: u32) -> Has {
        let mut set = Bitfield::new(len);
        pieces.iter().for_each(|&p| assert!(set.insert(p)));
        Has::Some(Box::new(set))
    }

    fn rarity(pieces: u32) -> Rarity {
        let mut rarity = Rarity::new(pieces);
        for piece in 0..pieces {
            rarity.set_class(piece, 2);
            rarity.insert(piece);
        }
        rarity
    }

    #[test]
    fn the_rarest_of_the_dearest_class_comes_first() {
        let mut r = rarity(100);
        (0..100).filter(|&p| p != 70).for_each(|p| r.inc(p));
        let rng = &mut Rng::from_seed(1);
        assert_eq!(r.rarest(&Has::All, rng, |_| true), Some(70));
        r.set_class(3, 3);
        assert_eq!(r.rarest(&Has::All, rng, |_| true), Some(3));
        r.begin(3, 9);
        assert_eq!((r.begun(3), r.begun(70)), (Some(9), None));
        assert_eq!(r.rarest(&has(&[5], 100), rng, |_| true), Some(5));
        assert_eq!(r.rarest(&has(&[3], 100), rng, |_| true), None);
        assert_eq!(r.rarest(&Has::Nothing, rng, |_| true), None);
    }

    #[test]
    fn a_poor_peer_among_a_million_pieces_is_found_by_words() {
        let r = rarity(1 << 20);
        let rng = &mut Rng::from_seed(2);
        assert_eq!(r.rarest(&has(&[777_777], 1 << 20), rng, |_| true), Some(777_777));
        assert_eq!(r.any(&has(&[5], 1 << 20), rng, |_| true), Some(5));
        assert_eq!(r.first(&Has::All, |p| p > 66), Some(67));
    }

    #[test]
    fn buckets_agree_with_a_plain_model() {
        let mut r = rarity(70);
        let mut rng = Rng::from_seed(3);
        let mut model = vec![(0u32, 2u8, true); 70];
        for _ in 0..20_000 {
            let piece = rng.index(70) as u32;
            let m = &mut model[piece as usize];
            match rng.index(6) {
                0 | 1 => (r.inc(piece), m.0 += 1).0,
                2 => (r.dec(piece), m.0 = m.0.saturating_sub(1)).0,
                3 => (r.set_class(piece, 1), m.1 = 1).0,
                4 => (r.remove(piece), m.2 = false).0,
                _ => (r.insert(piece), m.2 = true).0,
            }
            let best = model.iter().filter(|m| m.2).map(|m| (3 - m.1, m.0.min(255))).min();
            let got = r.rarest(&Has::All, &mut rng, |_| true).map(|p| &model[p as usize]);
            assert_eq!(got.map(|m| (3 - m.1, m.0.min(255))), best);
            assert!(got.is_none_or(|m| m.2));
        }
    }
}
