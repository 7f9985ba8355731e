//! The trackers in their tiers (BEP 12).

use std::time::Duration;

use starling_metainfo::Sha1Hash;
use starling_sansio::{Rng, Time};

use super::endpoint::Endpoint;
use super::{Config, JobId, TrackerStatus};
use crate::{Family, Limits, TrackerError, TrackerUrl, without_userinfo};

#[derive(Debug)]
pub(super) struct Tracker {
    pub(super) url: TrackerUrl,
    /// None: its address is of a kind that we do not announce from.
    pub(super) endpoints: Vec<Endpoint>,
    /// That it cannot be asked was told.
    is_told: bool,
}

/// Where an endpoint stands.
#[derive(Clone, Copy)]
pub(super) struct Place {
    tier: usize,
    tracker: usize,
    endpoint: usize,
}

#[derive(Debug, Default)]
pub(super) struct Tiers {
    tiers: Vec<Vec<Tracker>>,
    /// Addresses that are no use, with the reason.
    refused: Vec<(String, String)>,
}

impl Tracker {
    fn new(url: TrackerUrl, config: &Config) -> Tracker {
        let mut tracker = Tracker { url, endpoints: Vec::new(), is_told: false };
        config.info_hashes.iter().for_each(|&name| tracker.add_name(name, config));
        tracker
    }

    /// It is told of this name over every family of addresses it may have.
    fn add_name(&mut self, name: Sha1Hash, config: &Config) {
        let ip = self.url.ip();
        let fits = |family: &&Family| ip.is_none_or(|ip| Family::of(ip) == **family);
        let families = config.families.iter().filter(fits);
        self.endpoints.extend(families.map(|&family| Endpoint::new(name, family)));
    }

    /// Whether none of its endpoints works or may still come to work.
    pub(super) fn is_failing(&self, now: Time, patience: Duration) -> bool {
        self.endpoints.iter().all(|endpoint| endpoint.is_failing(now, patience))
    }

    /// Why it cannot be asked, if so: no endpoint will ever tell.
    fn unfit(&self) -> Option<String> {
        let ip = self.url.ip().filter(|_| self.endpoints.is_empty())?;
        Some(TrackerError::NoFamily(Family::of(ip)).to_string())
    }

    fn status(&self, tier: usize) -> TrackerStatus {
        let working = self.endpoints.iter().find(|endpoint| endpoint.is_working());
        let told = working.or_else(|| self.endpoints.iter().find(|endpoint| endpoint.message.is_some()));
        TrackerStatus {
            url: self.url.to_string(),
            tier,
            announcing: self.endpoints.iter().any(Endpoint::is_busy),
            working: working.is_some(),
            message: told.and_then(|endpoint| endpoint.message.clone()).or_else(|| self.unfit()),
            next: self.endpoints.iter().filter_map(Endpoint::next).min(),
            seeds: self.endpoints.iter().filter_map(|endpoint| endpoint.seeds).max(),
            leechers: self.endpoints.iter().filter_map(|endpoint| endpoint.leechers).max(),
        }
    }
}

impl Tiers {
    /// Adds tiers behind those that are there.
    pub(super) fn add(&mut self, tiers: &[Vec<String>], config: &Config, rng: &mut Rng) {
        for urls in tiers {
            let mut tier = Vec::new();
            for text in urls {
                let known = |url: &TrackerUrl| self.trackers().chain(&tier).any(|t: &Tracker| t.url == *url);
                if self.trackers().count() + tier.len() + self.refused.len() >= Limits::TRACKERS {
                    break;
                }
                match TrackerUrl::parse(text) {
                    Ok(url) if known(&url) => (),
                    Ok(url) => tier.push(Tracker::new(url, config)),
                    Err(why) => {
                        let shown = crate::types::text(without_userinfo(text).as_bytes());
                        self.refused.push((shown, why.to_string()));
                    }
                }
            }
            rng.shuffle(&mut tier);
            if !tier.is_empty() {
                self.tiers.push(tier);
            }
        }
    }

    /// Every tracker is told of one name more.
    pub(super) fn add_name(&mut self, name: Sha1Hash, config: &Config) {
        self.tiers.iter_mut().flatten().for_each(|tracker| tracker.add_name(name, config));
    }

    fn trackers(&self) -> impl Iterator<Item = &Tracker> {
        self.tiers.iter().flatten()
    }

    pub(super) fn tiers_mut(&mut self) -> impl Iterator<Item = &mut Vec<Tracker>> {
        self.tiers.iter_mut()
    }

    pub(super) fn endpoints_mut(&mut self) -> impl Iterator<Item = &mut Endpoint> {
        self.tiers.iter_mut().flatten().flat_map(|tracker| &mut tracker.endpoints)
    }

    /// Whose job this is.
    pub(super) fn find(&self, job: JobId) -> Option<Place> {
        for (tier, trackers) in self.tiers.iter().enumerate() {
            for (tracker, state) in trackers.iter().enumerate() {
                if let Some(endpoint) = state.endpoints.iter().position(|endpoint| endpoint.has_job(job)) {
                    return Some(Place { tier, tracker, endpoint });
                }
            }
        }
        None
    }

    pub(super) fn endpoint_mut(&mut self, at: Place) -> Option<&mut Endpoint> {
        self.tiers.get_mut(at.tier)?.get_mut(at.tracker)?.endpoints.get_mut(at.endpoint)
    }

    /// A tracker that works goes to the front of its tier.
    pub(super) fn promote(&mut self, at: Place) {
        if let Some(before) = self.tiers.get_mut(at.tier).and_then(|tier| tier.get_mut(..=at.tracker)) {
            before.rotate_right(1);
        }
    }

    pub(super) fn status(&self) -> impl Iterator<Item = TrackerStatus> {
        let tiers = self.tiers.iter().enumerate();
        let used = tiers.flat_map(|(i, tier)| tier.iter().map(move |tracker| tracker.status(i)));
        used.chain(self.refused.iter().map(|(url, why)| TrackerStatus {
            url: url.clone(),
            tier: self.tiers.len(),
            announcing: false,
            working: false,
            message: Some(why.clone()),
            next: None,
            seeds: None,
            leechers: None,
        }))
    }

    /// How those trackers stand that cannot be asked, once for each.
    pub(super) fn unfit(&mut self) -> Vec<TrackerStatus> {
        let mut all = Vec::new();
        for (i, tier) in self.tiers.iter_mut().enumerate() {
            for tracker in tier.iter_mut().filter(|tracker| !tracker.is_told && tracker.unfit().is_some()) {
                tracker.is_told = true;
                all.push(tracker.status(i));
            }
        }
        all
    }

    /// The tracker that this job, over by now, was for.
    pub(super) fn status_of(&self, job: JobId) -> Option<TrackerStatus> {
        let had = |tracker: &Tracker| tracker.endpoints.iter().any(|endpoint| endpoint.had_job(job));
        let mut tiers = self.tiers.iter().enumerate();
        tiers.find_map(|(i, tier)| Some(tier.iter().find(|tracker| had(tracker))?.status(i)))
    }
}
