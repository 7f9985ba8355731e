//! An operation under way: what is sought, and what has come of it so far.

use starling_sansio::Time;

use super::message::MAX_HITS;
use crate::{Hit, Id, Op, Query};

/// What is sought.
#[derive(Clone, Debug)]
pub(super) enum Sought {
    /// Who has that key's record.
    Key(Op, Id),
    /// Records that match, by the query's word of that number.
    Words(Op, Query, u8),
    /// Members of that key's group.
    Group(Op, Id),
    /// A holder for an own record's tuple: the record's key, and which of its tuples.
    Holder(Id, u8),
}

impl Sought {
    pub(super) fn op(&self) -> Option<Op> {
        match self {
            Sought::Key(op, _) | Sought::Words(op, ..) | Sought::Group(op, _) => Some(*op),
            Sought::Holder(..) => None,
        }
    }

    /// Hits after which to stop.
    pub(super) fn wanted(&self) -> usize {
        match self {
            Sought::Words(_, query, _) => usize::from(query.wanted),
            _ => MAX_HITS,
        }
    }
}

/// An operation under way.
#[derive(Clone, Debug)]
pub(super) struct Quest<P> {
    pub(super) number: u32,
    pub(super) sought: Sought,
    pub(super) under: u64,
    /// Who was asked.
    pub(super) tried: Vec<P>,
    /// Who of them did not answer, and may be asked once more.
    pub(super) silent: Vec<P>,
    pub(super) referred: Vec<P>,
    pub(super) asked: u8,
    pub(super) detours: u8,
    pub(super) negatives: u8,
    pub(super) timeouts: u32,
    pub(super) hops: u32,
    /// Hits told so far.
    pub(super) got: u16,
    /// Until when another page is asked for.
    pub(super) until: Time,
}

impl<P> Quest<P> {
    pub(super) fn new(number: u32, sought: Sought, under: u64, until: Time) -> Self {
        let (tried, silent, referred) = (Vec::new(), Vec::new(), Vec::new());
        let (asked, detours, negatives, timeouts, hops, got) = (0, 0, 0, 0, 0, 0);
        Quest {
            number,
            sought,
            under,
            tried,
            silent,
            referred,
            asked,
            detours,
            negatives,
            timeouts,
            hops,
            got,
            until,
        }
    }
}

/// Those of `hits` that were sought, as many as are still wanted.
pub(super) fn fitting<P>(mut hits: Vec<Hit<P>>, quest: &Quest<P>) -> Vec<Hit<P>> {
    match &quest.sought {
        Sought::Key(_, key) => hits.retain(|hit| hit.record.key == *key),
        Sought::Words(_, query, _) => hits.retain(|hit| query.matches(&hit.record)),
        Sought::Group(..) | Sought::Holder(..) => hits.clear(),
    }
    hits.truncate(quest.sought.wanted() - usize::from(quest.got));
    hits
}
