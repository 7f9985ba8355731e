//! Which connection is of the least use, for when somebody else could have its place.
//!
//! Use is payload, either way, or something to wait for: a slot here, a slot or blocks there.
//! What is said besides (keep-alives, haves, interest that comes and goes) is no use.

use std::time::Duration;

use starling_sansio::Time;

use crate::ConnId;
use crate::peer::Link;
use crate::torrent::Torrent;

/// A connection that never had payload, and has nothing to wait for, is idle so long after
/// it began.
const IDLE_AFTER: Duration = Duration::from_secs(60);
/// One that had some, so long after the last.
const USEFUL_FOR: Duration = Duration::from_secs(180);
/// Waiting is use for so long: a full house of slow peers has had its turns by then.
const WAITING_MAX: Duration = Duration::from_secs(20 * 60);
/// Who is unchoked, wants something and has not asked for anything so long has had its turn.
/// That is many round trips of the slowest road, and asking needs no disk.
pub(super) const ASKS_WITHIN: Duration = Duration::from_secs(8);
/// One that asks for nothing so long needs no slot: another has it until it asks.
pub(super) const QUIET_AFTER: Duration = Duration::from_secs(2);

/// A connection that is of no use. The least is the first to go: one that waits for nothing
/// before one that has waited too long, then by how long that is so.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Idle {
    /// One side still wants something of the other.
    pub waits: bool,
    /// The last payload, or when it began to wait if that was later.
    pub since: Time,
    /// The connection.
    pub conn: ConnId,
}

impl Torrent {
    /// The connection that is of least use, if any has been of none for long enough to be
    /// given up for a newcomer. Costs a walk over the connections.
    pub fn idlest(&self, now: Time) -> Option<Idle> {
        let now = now.max(self.now);
        let live = self.links.iter().filter(|link| !link.closing);
        live.filter_map(|link| link.idle(now, self.loaded_at)).min()
    }
}

impl Link {
    /// There is something to wait for. That counts anew only after payload: interest that
    /// comes and goes buys no time.
    pub(crate) fn begin_waiting(&mut self, now: Time) {
        if self.waiting.is_none_or(|since| self.exchanged(now) > since) {
            self.waiting = Some(now);
        }
    }

    /// Its turn with us ends: was it used? A short one says nothing.
    pub(crate) fn judge_turn(&mut self, now: Time) {
        let used = self.up.turn > 0 || !self.up.queue.is_empty();
        if used || now.since(self.up.since) >= ASKS_WITHIN {
            self.up.wasted = !used;
        }
    }

    /// How long it has been unchoked and had nothing to be sent.
    pub(crate) fn quiet_for(&self, now: Time) -> Duration {
        let rests = !self.am_choking && self.up.queue.is_empty() && self.up.unsent == 0;
        if rests { now.since(self.up.busy.max(self.up.since)) } else { Duration::ZERO }
    }

    /// Unchoked, and has asked for something in this turn or may be about to. Whoever has keeps its
    /// slot though it pauses: if others had it meanwhile, all would ask at once for what comes
    /// next, and each get a smaller part.
    pub(crate) fn takes_slot(&self, now: Time) -> bool {
        !self.am_choking && !self.closing && (self.up.turn > 0 || self.quiet_for(now) < QUIET_AFTER)
    }

    /// Unchoked, and has not asked for anything yet, but may on a slow road.
    pub(crate) fn may_still_ask(&self, now: Time) -> bool {
        self.lets_turn_pass() && now.since(self.up.since) < ASKS_WITHIN
    }

    fn lets_turn_pass(&self) -> bool {
        !self.am_choking && self.up.turn == 0 && self.up.queue.is_empty()
    }

    fn idle(&self, now: Time, loaded_at: Time) -> Option<Idle> {
        let exchanged = self.exchanged(now).max(loaded_at);
        let waits = self.we_wait() || self.peer_waits(now);
        let (since, patience) = match self.waiting {
            Some(waiting) if waits => (waiting.max(exchanged), WAITING_MAX),
            _ if self.down.rate.total() + self.up.rate.total() > 0 => (exchanged, USEFUL_FOR),
            _ if self.up.wasted || (self.peer_interested && self.lets_turn_pass()) => {
                (exchanged, ASKS_WITHIN)
            }
            _ => (exchanged, IDLE_AFTER),
        };
        (now.since(since) >= patience).then_some(Idle { waits, since, conn: self.conn })
    }

    /// When payload last flowed; if never, when the connection began.
    fn exchanged(&self, now: Time) -> Time {
        self.down.rate.flowed_at(now).max(self.up.rate.flowed_at(now))
    }

    fn we_wait(&self) -> bool {
        self.am_interested && !self.down.snubbed
    }

    fn peer_waits(&self, now: Time) -> bool {
        let served = !self.up.queue.is_empty() || self.up.unsent > 0;
        let hopes = if self.am_choking { !self.up.wasted } else { self.quiet_for(now) < ASKS_WITHIN };
        served || (self.peer_interested && hopes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Hello, Reserved};

    const START: Time = Time::from_secs(100);

    fn link() -> Link {
        let hello = Hello {
            addr: "10.0.0.1:1".parse().unwrap(),
            peer_id: [1; 20],
            reserved: Reserved::OURS,
            outbound: false,
            v2: false,
        };
        Link::new(START, ConnId(1), 0, hello, &crate::Limits::default())
    }

    /// Whether it may go, so many seconds after the start.
    fn goes(link: &Link, secs: u64) -> bool {
        link.idle(START + Duration::from_secs(secs), Time::ZERO).is_some()
    }

    fn at(secs: u64) -> Time {
        START + Duration::from_secs(secs)
    }

    #[test]
    fn a_connection_has_its_minute_and_three_after_each_payload() {
        let mut link = link();
        assert!(!goes(&link, 59) && goes(&link, 60));
        link.up.rate.add(1);
        link.up.rate.tick(at(50));
        assert!(!goes(&link, 229) && goes(&link, 230));
        link.down.rate.add(1);
        link.down.rate.tick(at(100));
        assert!(!goes(&link, 279) && goes(&link, 280));
        assert!(link.idle(at(280), at(150)).is_none(), "nor before it could know what to want");
    }

    #[test]
    fn interest_that_comes_and_goes_buys_no_time() {
        let mut link = link();
        link.peer_interested = true;
        for secs in [0, 500, 1_000, 1_190] {
            link.begin_waiting(at(secs));
            assert!(!goes(&link, secs));
        }
        assert!(goes(&link, 1_200));
        link.up.rate.add(1);
        link.up.rate.tick(at(1_200));
        link.begin_waiting(at(1_300));
        assert!(!goes(&link, 2_499) && goes(&link, 2_500));
    }

    #[test]
    fn who_let_its_turn_pass_waits_for_no_other() {
        let mut link = link();
        link.peer_interested = true;
        link.begin_waiting(at(0));
        (link.am_choking, link.up.since) = (false, at(40));
        assert!(!goes(&link, 47) && goes(&link, 48), "unchoked, and asks for nothing");
        assert!(!link.takes_slot(at(42)) && link.may_still_ask(at(47)));
        link.up.busy = at(47);
        assert!(link.takes_slot(at(48)) && !goes(&link, 54), "it asked for something");
        link.judge_turn(at(100));
        (link.am_choking, link.up.since) = (true, at(100));
        assert!(goes(&link, 100));
        link.up.turn = 1;
        link.judge_turn(at(200));
        assert!(!goes(&link, 200), "the next one it used");
    }

    #[test]
    fn a_peer_that_we_want_something_of_stays_unless_it_does_not_answer() {
        let mut link = link();
        link.am_interested = true;
        link.begin_waiting(at(0));
        assert!(!goes(&link, 600));
        link.down.snubbed = true;
        assert!(goes(&link, 600));
    }

    #[test]
    fn who_waits_for_nothing_goes_first_and_then_who_was_of_no_use_for_longest() {
        let idle = |waits, secs, conn| Idle { waits, since: at(secs), conn: ConnId(conn) };
        let mut all = [idle(true, 0, 1), idle(false, 9, 2), idle(false, 5, 3)];
        all.sort();
        assert_eq!(all.map(|idle| idle.conn.0), [3, 2, 1]);
    }
}
