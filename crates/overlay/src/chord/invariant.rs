//! Zave's invariant of a Chord ring, for whoever sees all of it: tests and simulators.
//!
//! Source: Zave, "Reasoning about Identifier Spaces: How to Make Chord Correct" (arXiv
//! 1610.01140). The invariant is that every member has a live entry in its successor
//! list, and that at least r + 1 members are principals, which means that no member's
//! list, with the member itself before it, passes over them. From it follows what a
//! ring is for: there is one ring, it is in the order of ids, it goes around once, and
//! every member off the ring leads into it. All of that is checked here on its own.
//!
//! Predecessors have no part in the invariant, only in what the ring comes to when
//! nobody joins or fails any more: [`Checker::ideal`].

use super::{Chord, Message};
use crate::{Host, Id, Peer, Routing, Standing};

/// How a ring is broken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Violation {
    /// A list names somebody twice, the member itself, or somebody out of order.
    #[error("the successor list of {0} is not in the order of the circle")]
    DisorderedList(Id),
    /// All entries of a list are dead.
    #[error("{0} has no live successor")]
    NoLiveSuccessor(Id),
    /// Too few members are passed over by nobody.
    #[error("the ring has {found} principals and needs {needed}")]
    TooFewPrincipals {
        /// Principals.
        found: usize,
        /// r + 1.
        needed: usize,
    },
    /// The ring goes around more than once, or passes over its own members.
    #[error("the ring of {0} is not in the order of the circle")]
    DisorderedRing(Id),
    /// A member leads to another ring.
    #[error("{0} leads to a ring of its own")]
    TwoRings(Id),
    /// After a quiet time: the member's neighbours are not those that follow from the
    /// members' ids.
    #[error("{0} has not found its neighbours")]
    NotIdeal(Id),
}

impl Violation {
    /// The member that shows it, if one does.
    pub fn member(&self) -> Option<Id> {
        match *self {
            Violation::DisorderedList(id)
            | Violation::NoLiveSuccessor(id)
            | Violation::DisorderedRing(id)
            | Violation::TwoRings(id)
            | Violation::NotIdeal(id) => Some(id),
            Violation::TooFewPrincipals { .. } => None,
        }
    }
}

impl<P: Peer> Chord<P> {
    /// This member, as the checker sees it.
    pub fn stands(&self, host: &impl Host<P, Message<P>, Routing<P>>) -> Standing {
        Standing {
            id: host.id(self.me),
            successors: self.successors().iter().map(|&peer| host.id(peer)).collect(),
            predecessor: self.predecessor().map(|peer| host.id(peer)),
        }
    }
}

/// Checks rings of one r; keeps its memory from check to check.
#[derive(Debug)]
pub struct Checker {
    r: usize,
    best: Vec<usize>,
    seen: Vec<u8>,
    skips: Vec<i64>,
}

const NEW: u8 = 0;
const SEEN: u8 = 1;
const RING: u8 = 2;

impl Checker {
    /// A checker for rings whose successor lists have up to `r` entries.
    pub fn new(r: usize) -> Checker {
        Checker { r, best: Vec::new(), seen: Vec::new(), skips: Vec::new() }
    }

    /// Checks the invariant of `members`: all live ones, in the order of their ids.
    /// Takes time of the order of members x r.
    ///
    /// # Errors
    /// The first violation.
    pub fn check(&mut self, members: &[Standing]) -> Result<(), Violation> {
        self.best.clear();
        for member in members {
            self.best.push(best_successor(members, member)?);
        }
        self.count_skips(members);
        let passed = self.passed_over().take(members.len()).filter(|&passed| passed).count();
        let (found, needed) = (members.len() - passed, self.r + 1);
        if found < needed {
            return Err(Violation::TooFewPrincipals { found, needed });
        }
        self.one_ordered_ring(members)?;
        self.all_lead_to_it(members)
    }

    /// Those of `members`, in the order of their ids, that are passed over by no member's
    /// list, nor by any of `others`: lists that are on their way to be adopted, their
    /// sender before them.
    pub fn principals(&mut self, members: &[Standing], others: &[Vec<Id>]) -> Vec<Id> {
        self.count_skips(members);
        for pair in others.iter().flat_map(|list| list.windows(2)) {
            self.skip(members, pair[0], pair[1]);
        }
        members.iter().zip(self.passed_over()).filter(|(_, passed)| !passed).map(|(one, _)| one.id).collect()
    }

    fn count_skips(&mut self, members: &[Standing]) {
        self.skips.clear();
        self.skips.resize(members.len() + 1, 0);
        for member in members {
            let mut from = member.id;
            for &to in &member.successors {
                self.skip(members, from, to);
                from = to;
            }
        }
    }

    /// For every member, whether it is passed over.
    fn passed_over(&self) -> impl Iterator<Item = bool> {
        self.skips.iter().scan(0, |over, change| {
            *over += change;
            Some(*over > 0)
        })
    }

    /// Notes that the members between `from` and `to` are passed over.
    fn skip(&mut self, members: &[Standing], from: Id, to: Id) {
        let first = members.partition_point(|member| member.id <= from);
        let end = members.partition_point(|member| member.id < to);
        if from < to {
            self.mark(first, end);
        } else {
            self.mark(first, members.len());
            self.mark(0, end);
        }
    }

    fn mark(&mut self, first: usize, end: usize) {
        self.skips[first] += 1;
        self.skips[end.max(first)] -= 1;
    }

    /// Follows best successors from any member into a ring, then around it.
    fn one_ordered_ring(&mut self, members: &[Standing]) -> Result<(), Violation> {
        self.seen.clear();
        self.seen.resize(members.len(), NEW);
        let start = (0..members.len()).fold(0, |at, _| self.best[at]);
        let mut at = start;
        let mut rounds = 0;
        while self.seen[at] == NEW {
            self.seen[at] = RING;
            rounds += usize::from(self.best[at] <= at);
            at = self.best[at];
        }
        if rounds == 1 { Ok(()) } else { Err(Violation::DisorderedRing(members[start].id)) }
    }

    /// Whether appendages end in the ring.
    fn all_lead_to_it(&mut self, members: &[Standing]) -> Result<(), Violation> {
        for (start, member) in members.iter().enumerate() {
            let mut at = start;
            while self.seen[at] == NEW {
                self.seen[at] = SEEN;
                at = self.best[at];
            }
            if self.seen[at] != RING {
                return Err(Violation::TwoRings(member.id));
            }
            // What was just seen leads to the ring, like the ring itself.
            at = start;
            while self.seen[at] == SEEN {
                self.seen[at] = RING;
                at = self.best[at];
            }
        }
        Ok(())
    }

    /// Checks that every member knows its true neighbours, as a ring comes to without
    /// joins and failures: Zave's `Ideal`, for rings of any size.
    ///
    /// # Errors
    /// [`Violation::NotIdeal`] with the first member that does not.
    pub fn ideal(&self, members: &[Standing]) -> Result<(), Violation> {
        let count = members.len();
        for (at, member) in members.iter().enumerate() {
            let others = self.r.min(count - 1);
            let next = (1..=others).map(|steps| members[(at + steps) % count].id);
            let before = members[(at + count - 1) % count].id;
            let alone = count == 1;
            if !next.eq(member.successors.iter().copied()) || (!alone && member.predecessor != Some(before)) {
                return Err(Violation::NotIdeal(member.id));
            }
        }
        Ok(())
    }
}

/// The first live entry of a member's list, as an index; the list is in order.
fn best_successor(members: &[Standing], member: &Standing) -> Result<usize, Violation> {
    let mut end = Id::ZERO;
    for &id in &member.successors {
        let distance = id.minus(member.id);
        if distance <= end {
            return Err(Violation::DisorderedList(member.id));
        }
        end = distance;
    }
    let live = |id: &Id| members.binary_search_by_key(id, |one| one.id).ok();
    member.successors.iter().find_map(live).ok_or(Violation::NoLiveSuccessor(member.id))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where a member of a ring of 16 places stands and whom it lists.
    type Member<'a> = (u64, &'a [u64]);

    fn ring(members: &[Member<'_>]) -> Vec<Standing> {
        let at = |number: u64| Id::small(number, 4);
        let count = members.len();
        let before = |n: usize| members[(n + count - 1) % count].0;
        let standing = |(n, member): (usize, &Member<'_>)| Standing {
            id: at(member.0),
            successors: member.1.iter().map(|&one| at(one)).collect(),
            predecessor: Some(at(before(n))),
        };
        members.iter().enumerate().map(standing).collect()
    }

    fn verdict(members: &[Member<'_>]) -> Result<(), Violation> {
        Checker::new(2).check(&ring(members))
    }

    #[test]
    fn a_ring_with_dead_entries_and_an_appendage_is_well() {
        let at = |number: u64| Id::small(number, 4);
        let well: &[Member<'_>] = &[(1, &[5, 9]), (5, &[7, 9]), (9, &[12, 1]), (10, &[12, 1]), (12, &[1, 5])];
        assert_eq!(verdict(well), Ok(()));
        assert_eq!(Checker::new(2).principals(&ring(well), &[]), [1, 5, 9, 12].map(at));
        assert_eq!(Checker::new(2).principals(&ring(well), &[vec![at(1), at(9)]]), [1, 9, 12].map(at));
        assert_eq!(Checker::new(2).ideal(&ring(well)), Err(Violation::NotIdeal(at(5))));
        let ideal: &[Member<'_>] = &[(1, &[5, 9]), (5, &[9, 12]), (9, &[12, 1]), (12, &[1, 5])];
        assert_eq!(Checker::new(2).ideal(&ring(ideal)), Ok(()));
    }

    #[test]
    fn every_way_to_be_broken_is_seen() {
        let at = |number: u64| Id::small(number, 4);
        let cases: [(&[Member<'_>], Violation); 6] = [
            (&[(1, &[5, 9]), (5, &[9, 5]), (9, &[1, 5])], Violation::DisorderedList(at(5))),
            (&[(1, &[9, 5]), (5, &[9, 1]), (9, &[1, 5])], Violation::DisorderedList(at(1))),
            (&[(1, &[5, 9]), (5, &[6, 7]), (9, &[1, 5])], Violation::NoLiveSuccessor(at(5))),
            (&[(1, &[9]), (5, &[9, 1]), (9, &[1, 5])], Violation::TooFewPrincipals { found: 2, needed: 3 }),
            (&[(1, &[5])], Violation::NoLiveSuccessor(at(1))),
            (&[], Violation::TooFewPrincipals { found: 0, needed: 3 }),
        ];
        for (members, violation) in cases {
            assert_eq!(verdict(members), Err(violation), "{members:?}");
        }
    }

    #[test]
    fn two_rings_and_one_that_goes_around_twice_are_seen() {
        // With r = 0 one principal suffices, so that the ring's own checks are reached.
        let mut checker = Checker::new(0);
        let twice = ring(&[(1, &[9]), (5, &[12]), (9, &[5]), (12, &[1]), (14, &[1])]);
        checker.best = vec![2, 3, 1, 0, 0];
        assert!(matches!(checker.one_ordered_ring(&twice), Err(Violation::DisorderedRing(_))));
        checker.best = vec![2, 3, 0, 1, 0];
        assert_eq!(checker.one_ordered_ring(&twice), Ok(()));
        assert_eq!(checker.all_lead_to_it(&twice), Err(Violation::TwoRings(twice[1].id)));
    }
}
