//! What came of a swarm.

use starling_sansio::Time;

use super::host::{Host, KEY};
use super::world::{BEGIN, World};
use super::{Class, Setting};

/// The hosts of one class at the end.
#[derive(Clone, PartialEq, Debug)]
pub struct ClassOutcome {
    /// Which.
    pub class: Class,
    /// How many.
    pub hosts: u32,
    /// Seconds from each one's arrival until it had everything, sorted; of those that did.
    pub finish_s: Vec<f64>,
    /// Seconds from the first leecher's arrival until the last of them had.
    pub last_s: Option<f64>,
    /// Hosts whose disk has every piece verified.
    pub complete: u32,
    /// Bytes of blocks, all hosts together: sent,
    pub given: u64,
    /// received,
    pub taken: u64,
    /// received twice or unasked,
    pub doubled: u64,
    /// received for pieces that failed their hash.
    pub failed: u64,
    /// How often others have banned one of them.
    pub bans: u64,
}

impl ClassOutcome {
    /// The finish time that a share `q` of those who finished did not exceed, in seconds.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let last = self.finish_s.len().checked_sub(1)?;
        let at = (q * self.finish_s.len() as f64).ceil() as usize;
        self.finish_s.get(at.saturating_sub(1).min(last)).copied()
    }
}

/// See the module.
#[derive(Clone, PartialEq, Debug)]
pub struct Outcome {
    /// The classes that there are, in the order of [`Class::ALL`].
    pub classes: Vec<ClassOutcome>,
    /// Bytes of content.
    pub size: u64,
    /// The fluid lower bound, in seconds; see [`Setting::bound`].
    pub bound_s: f64,
    /// What leechers had so many seconds after the first of them came: bytes of verified
    /// pieces, all together; about one entry a second.
    pub progress: Vec<(f64, u64)>,
    /// Whether somebody stopped it before its end.
    pub stopped: bool,
    /// Simulated seconds from the first leecher's arrival to the end.
    pub simulated_s: f64,
    /// Events.
    pub events: u64,
    /// Equal runs have equal ones.
    pub trace: u64,
}

impl Outcome {
    /// A class, if there are any of it.
    pub fn of(&self, class: Class) -> Option<&ClassOutcome> {
        self.classes.iter().find(|outcome| outcome.class == class)
    }

    /// Seconds until the last of all leechers had everything, of whom the bound is; none if
    /// one did not finish.
    pub fn last_s(&self) -> Option<f64> {
        let leechers = [Class::Contributor, Class::FreeRider].into_iter().filter_map(|class| self.of(class));
        let last = |class: &ClassOutcome| class.last_s.filter(|_| class.complete == class.hosts);
        let lasts: Option<Vec<f64>> = leechers.map(last).collect();
        lasts?.into_iter().reduce(f64::max)
    }

    /// The last leecher's finish over the bound.
    pub fn ratio(&self) -> Option<f64> {
        Some(self.last_s()? / self.bound_s)
    }
}

/// What came of `world` until now.
pub(super) fn of(world: &World) -> Outcome {
    let (events, trace) = world.trace();
    let setting: &Setting = &world.setting;
    let classes = Class::ALL.into_iter().filter(|class| setting.count(*class) > 0);
    Outcome {
        classes: classes.map(|class| of_class(world, class)).collect(),
        size: world.content.size(),
        bound_s: setting.bound(),
        progress: world.progress.clone(),
        stopped: false,
        simulated_s: world.now().since(BEGIN).as_secs_f64(),
        events,
        trace,
    }
}

fn of_class(world: &World, class: Class) -> ClassOutcome {
    let hosts = || world.hosts.iter().filter(|host| host.class == class);
    let finished = |host: &Host| Some((host.finished?, host.arrived));
    let mut finish_s: Vec<f64> =
        hosts().filter_map(finished).map(|(at, from)| at.since(from).as_secs_f64()).collect();
    finish_s.sort_by(f64::total_cmp);
    let last: Option<Time> = hosts().filter_map(|host| host.finished).max();
    let mut outcome = ClassOutcome {
        class,
        hosts: hosts().count() as u32,
        finish_s,
        last_s: last.map(|at| at.since(BEGIN).as_secs_f64()),
        complete: hosts().filter(|host| host.disk.have().is_full()).count() as u32,
        given: 0,
        taken: 0,
        doubled: 0,
        failed: 0,
        bans: hosts().map(|host| u64::from(host.bans)).sum(),
    };
    for stats in hosts().filter_map(|host| host.session.stats(KEY)) {
        outcome.given += stats.swarm.uploaded;
        outcome.taken += stats.swarm.downloaded;
        outcome.doubled += stats.swarm.wasted;
        outcome.failed += stats.swarm.failed;
    }
    outcome
}
