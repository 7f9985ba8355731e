//! The order in which pieces are considered for a peer: its own, those left behind,
//! new ones, those others are at.

use starling_sansio::Rng;

use super::{Asker, Has, Holder, Partial, Picker};

/// Pieces taken one after the other stay within stretches of this many bytes.
const STRETCH: u64 = 1 << 20;
/// Ownerless pieces looked at in one choice.
const OPEN_LOOKS: usize = 64;
/// Pieces begun by chance rather than rarest first, to have something to trade soon.
const RANDOM_FIRST: usize = 4;

impl Picker {
    /// A partial with free blocks for the asker, and whether to take from its front.
    pub(super) fn choose(
        &mut self,
        asker: &mut Asker<'_>,
        rng: &mut Rng,
        avoid: &impl Fn(u32) -> bool,
    ) -> Option<(u32, bool)> {
        if asker.only.is_some() {
            return self.choose_allowed(asker, avoid);
        }
        if let Some(id) = self.choose_own(asker, rng, avoid) {
            return Some((id, true));
        }
        if let Some(id) = self.find_open(asker, false, avoid) {
            return Some((id, true));
        }
        if !asker.fast
            && let Some(id) = self.find_open(asker, true, avoid)
        {
            return Some((id, true));
        }
        if let Some(id) = self.begin_next(asker, rng, avoid) {
            return Some((id, true));
        }
        if asker.parole {
            return None;
        }
        if let Some(id) = self.find_open(asker, true, avoid) {
            return Some((id, true));
        }
        self.find_owned(asker, avoid).map(|id| (id, false))
    }

    /// The own piece whose turn it is, or one more while there may be more.
    fn choose_own(
        &mut self,
        asker: &mut Asker<'_>,
        rng: &mut Rng,
        avoid: &impl Fn(u32) -> bool,
    ) -> Option<u32> {
        let of_use = |&id: &u32| self.owns(asker.slot, id) && self.partials[id as usize].free() > 0;
        while asker.own.front().is_some_and(|id| !of_use(id)) {
            asker.own.pop_front();
        }
        let next = *asker.own.front()?;
        if asker.own.len() < asker.width {
            // Others want to begin pieces too, and the last pieces are not to be spread thin.
            let plenty = self.begun() < self.limit / 2 && self.rarity.startable() as usize > 2 * asker.width;
            let open = self.find_open(asker, false, avoid);
            let more = open.or_else(|| if plenty { self.begin_next(asker, rng, avoid) } else { None });
            if more.is_some() {
                return more;
            }
            asker.width = asker.own.len();
        }
        Some(next)
    }

    /// Choked, but these pieces are served all the same.
    fn choose_allowed(&mut self, asker: &Asker<'_>, avoid: &impl Fn(u32) -> bool) -> Option<(u32, bool)> {
        for &piece in asker.only? {
            if !asker.has.get(piece) || avoid(piece) || self.rarity.class(piece) < self.rarity.dearest() {
                continue;
            }
            match self.rarity.begun(piece) {
                Some(id) => {
                    let partial = &self.partials[id as usize];
                    if partial.free() > 0 && !partial.alone && partial.owner.is_none() {
                        return Some((id, true));
                    }
                }
                None if self.rarity.is_startable(piece) && self.begun() < self.limit && !asker.parole => {
                    let id = self.begin(piece);
                    self.partials[id as usize].shared = true;
                    self.loosen(id, true);
                    return Some((id, true));
                }
                None => {}
            }
        }
        None
    }

    /// An ownerless piece; one that is not shared becomes the asker's own.
    fn find_open(
        &mut self,
        asker: &mut Asker<'_>,
        shared: bool,
        avoid: &impl Fn(u32) -> bool,
    ) -> Option<u32> {
        let id = self.open.iter().rev().take(OPEN_LOOKS).copied().find(|&id| {
            let p = &self.partials[id as usize];
            p.shared == shared
                && p.free() > 0
                && asker.has.get(p.piece)
                && !avoid(p.piece)
                && (!asker.parole || (p.alone && p.is_untouched()))
        })?;
        asker.last = Some(self.partials[id as usize].piece);
        if !shared {
            self.close(id);
            self.own(asker, id);
        }
        Some(id)
    }

    fn begin_next(
        &mut self,
        asker: &mut Asker<'_>,
        rng: &mut Rng,
        avoid: &impl Fn(u32) -> bool,
    ) -> Option<u32> {
        if self.begun() >= self.limit || self.rarity.startable() == 0 {
            return None;
        }
        let piece = self.next_piece(asker, rng, avoid)?;
        let id = self.begin(piece);
        let partial = &mut self.partials[id as usize];
        partial.alone = asker.parole;
        asker.last = Some(piece);
        if asker.fast || asker.parole {
            self.own(asker, id);
        } else {
            partial.shared = true;
            self.loosen(id, true);
        }
        Some(id)
    }

    fn own(&mut self, asker: &mut Asker<'_>, id: u32) {
        self.partials[id as usize].owner = Some(Holder::Peer(asker.slot));
        self.list_owned(id);
        asker.own.push_back(id);
    }

    fn next_piece(&self, asker: &Asker<'_>, rng: &mut Rng, avoid: &impl Fn(u32) -> bool) -> Option<u32> {
        let r = &self.rarity;
        if self.sequential {
            return r.first(asker.has, |p| !avoid(p));
        }
        let suggested = asker.suggested.iter().copied();
        let mut good = suggested.filter(|&p| r.is_startable(p) && asker.has.get(p) && !avoid(p));
        if let Some(piece) = good.next() {
            return Some(piece);
        }
        if let Some(piece) =
            asker.last.and_then(|last| self.neighbour(last, asker.has)).filter(|&p| !avoid(p))
        {
            return Some(piece);
        }
        if self.done as usize + self.begun() < RANDOM_FIRST
            && let Some(piece) = r.any(asker.has, rng, |p| !avoid(p) && r.class(p) == r.dearest())
        {
            return Some(piece);
        }
        r.rarest(asker.has, rng, |p| !avoid(p))
    }

    /// The piece after `piece`, if taking it next keeps to the order of rarity: the
    /// sender then reads on where it was.
    pub fn neighbour(&self, piece: u32, has: &Has) -> Option<u32> {
        let next = piece.checked_add(1)?;
        let length = u64::from(self.info.as_ref()?.layout.piece_length());
        let r = &self.rarity;
        let fits = (u64::from(next) * length) % STRETCH != 0
            && r.is_startable(next)
            && r.class(next) >= r.class(piece)
            && r.availability(next) <= r.availability(piece)
            && has.get(next);
        fits.then_some(next)
    }

    /// The owned piece with the most free blocks: its owner needs help.
    fn find_owned(&mut self, asker: &Asker<'_>, avoid: &impl Fn(u32) -> bool) -> Option<u32> {
        let Picker { owned, partials, .. } = self;
        owned.retain(|&id| {
            let p = &mut partials[id as usize];
            p.listed = p.owner.is_some() && p.free() > 0;
            p.listed
        });
        let of_use = |p: &Partial| !p.alone && asker.has.get(p.piece) && !avoid(p.piece);
        let useful = owned.iter().copied().filter(|&id| of_use(&partials[id as usize]));
        useful.max_by_key(|&id| (partials[id as usize].free(), std::cmp::Reverse(id)))
    }
}
