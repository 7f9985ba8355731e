//! In which order a node begins what it has to tell of its own records.
//!
//! There may be keys around which all are silent, and a node may have thousands of records:
//! what is new, what is renewed, what is withdrawn and what is withdrawn again take turns, so
//! that none of them waits for the others however few finds there may be at once.

use super::app::App;
use super::jobs::{Job, Task};
use crate::Peer;

/// A publication of a record under one key that waits.
#[derive(Clone, Debug)]
pub struct Chore {
    pub task: Task,
    /// Whether nobody has said yet that it was told, or did when it was renewed last. Who has
    /// much to renew still publishes something new at once, and tries it again before all
    /// that; but renewals get their turn, since there may be keys that nobody ever hears.
    pub fresh: bool,
}

/// What may be begun.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A publication that nobody has heard.
    Fresh,
    /// One that somebody has heard before.
    Renewal,
    /// The first try of a withdrawal.
    Withdrawal,
    /// Another one.
    WithdrawnAgain,
}

impl Kind {
    /// All there are.
    pub const ALL: [Kind; 4] = [Kind::Fresh, Kind::Renewal, Kind::Withdrawal, Kind::WithdrawnAgain];

    /// Which of them a job is, if it is no user's.
    fn of<P>(job: &Job<P>) -> Option<Kind> {
        match &job.task {
            Task::Publish(_) if job.fresh => Some(Kind::Fresh),
            Task::Publish(_) => Some(Kind::Renewal),
            Task::Withdraw(one) if one.tries == 0 => Some(Kind::Withdrawal),
            Task::Withdraw(_) => Some(Kind::WithdrawnAgain),
            _ => None,
        }
    }
}

impl<P: Peer> App<P> {
    /// The next publication or withdrawal to begin: of those of which fewest are under way,
    /// since each may wait for silent ones; of several whose turn is longest ago. Who leaves
    /// has little time, and begins with what was not withdrawn yet.
    pub fn next_chore(&mut self) -> Option<Chore> {
        let fresh = self.chores.partition_point(|one| one.fresh);
        let first = self.withdrawals.partition_point(|one| one.tries == 0);
        let waits = |kind: Kind| match kind {
            Kind::Fresh => fresh > 0,
            Kind::Renewal => fresh < self.chores.len(),
            Kind::Withdrawal => first > 0,
            Kind::WithdrawnAgain => first < self.withdrawals.len() && (first == 0 || self.leaving.is_none()),
        };
        let begun = |kind: Kind| self.jobs.values().filter(|job| Kind::of(job) == Some(kind)).count();
        let waiting = self.turns.iter().enumerate().filter(|one| waits(*one.1));
        let (at, kind) = waiting.min_by_key(|one| begun(*one.1)).map(|(at, kind)| (at, *kind))?;
        self.turns[at..].rotate_left(1);
        let withdraw = |one| Chore { task: Task::Withdraw(Box::new(one)), fresh: false };
        match kind {
            Kind::Fresh => self.chores.pop_front(),
            Kind::Renewal => self.chores.remove(fresh),
            Kind::Withdrawal => self.withdrawals.pop_front().map(withdraw),
            Kind::WithdrawnAgain => self.withdrawals.remove(first).map(withdraw),
        }
    }
}

#[cfg(test)]
mod tests {
    use starling_sansio::Time;

    use super::*;
    use crate::dht::message::{Gone, Put};
    use crate::dht::withdraw::Withdrawal;
    use crate::{Id, Record};

    /// However few may be under way at once, all that waits has its turn.
    #[test]
    fn all_kinds_have_their_turns() {
        let gone = |n: u32| Gone { under: Id::from_high(n.into()), what: Id::ZERO };
        let withdrawal = |n: u32, tries: u8| Withdrawal { gone: gone(n), until: Time::NEVER, tries };
        let put = |n: u32| {
            let record = Record { key: Id::from_high(n.into()), name: "one".into(), size: 1 };
            Task::Publish(Box::new(Put { under: record.key, record }))
        };
        for parallel in 1..=8 {
            let mut app = App::<u32>::default();
            app.chores.extend((0..200).map(|n| Chore { task: put(n), fresh: n < 100 }));
            app.withdrawals.extend((0..200).map(|n| withdrawal(n, u8::from(n >= 100))));
            let mut begun = [0; Kind::ALL.len()];
            for op in 0..80 {
                let Chore { task, fresh } = app.next_chore().expect("all wait");
                let job = Job::new(task, fresh);
                begun[Kind::of(&job).expect("one of the four") as usize] += 1;
                app.jobs.insert(op, job);
                if app.jobs.len() == parallel {
                    app.jobs.pop_first();
                }
            }
            assert!(begun.iter().all(|&begun| (18..=22).contains(&begun)), "{parallel}: {begun:?}");
            app.leaving = Some(Time::NEVER);
            app.chores.clear();
            let next =
                |app: &mut App<u32>| app.next_chore().map(|one| Kind::of(&Job::<u32>::new(one.task, false)));
            let first =
                std::iter::from_fn(|| next(&mut app)).take_while(|&kind| kind == Some(Kind::Withdrawal));
            assert_eq!(first.count(), 100 - begun[Kind::Withdrawal as usize], "{parallel}");
        }
    }
}
