use std::net::SocketAddr;

use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
use starling_sansio::Rng;

use super::*;
use crate::{Limits, Retry};

mod families;

const SECOND: Duration = Duration::from_secs(1);

/// A torrent's announcer with the time, the announces under way and everything else
/// it has put out.
struct Scene {
    announcer: Announcer,
    now: Time,
    flights: Vec<(JobId, String, Family, AnnounceRequest)>,
    other: Vec<Output>,
}

fn config() -> Config {
    let hashes = InfoHashes::new(Some(Sha1Hash([1; 20])), None).unwrap();
    Config { families: vec![Family::V4], ..Config::new(&hashes, [9; 20], 6881) }
}

fn tiers(tiers: &[&[&str]]) -> Vec<Vec<String>> {
    tiers.iter().map(|tier| tier.iter().map(|host| format!("http://{host}/announce")).collect()).collect()
}

fn good(peers: &[&str]) -> AnnounceResponse {
    let peers = peers.iter().map(|peer| peer.parse::<SocketAddr>().unwrap()).collect();
    AnnounceResponse { interval: 1_800, min_interval: Some(120), peers, ..AnnounceResponse::default() }
}

impl Scene {
    fn with(config: Config, trackers: &[&[&str]], seed: u64) -> Scene {
        let announcer = Announcer::new(config, &tiers(trackers), Rng::from_seed(seed));
        let mut scene = Scene { announcer, now: Time::from_secs(50), flights: Vec::new(), other: Vec::new() };
        scene.input(Input::Totals(Totals { uploaded: 0, downloaded: 0, left: 100 }));
        scene
    }

    fn started(trackers: &[&[&str]]) -> Scene {
        let mut scene = Scene::with(config(), trackers, 7);
        scene.input(Input::Start);
        scene
    }

    fn take(&mut self, out: Vec<Output>) {
        for output in out {
            match output {
                Output::Announce { job, url, family, request } => {
                    self.flights.push((job, url.host, family, request));
                }
                Output::Cancel { job } => self.flights.retain(|flight| flight.0 != job),
                other => self.other.push(other),
            }
        }
    }

    fn input(&mut self, input: Input) {
        let mut out = Vec::new();
        self.announcer.handle(self.now, input, &mut out);
        self.take(out);
    }

    /// Ends the first announce under way to `host`.
    fn end(&mut self, host: &str, result: Result<AnnounceResponse, TrackerError>) {
        let at = self.flights.iter().position(|flight| flight.1 == host).unwrap();
        let job = self.flights.remove(at).0;
        self.input(Input::Answer { job, result });
    }

    fn ok(&mut self, host: &str) {
        self.end(host, Ok(good(&[])));
    }

    fn fail(&mut self, host: &str) {
        self.end(host, Err(TrackerError::TimedOut));
    }

    /// Who is being announced to, and why, in order of name.
    fn flying(&self) -> Vec<(&str, Event)> {
        let mut flying: Vec<_> = self.flights.iter().map(|f| (f.1.as_str(), f.3.event)).collect();
        flying.sort_unstable();
        flying
    }

    fn only_host(&self) -> String {
        assert_eq!(self.flights.len(), 1, "{:?}", self.flying());
        self.flights[0].1.clone()
    }

    /// Lets the time pass to the next deadline and tells how long that took.
    fn pass(&mut self) -> Duration {
        let next = self.announcer.next_timeout().unwrap();
        let passed = next.since(self.now);
        self.now = self.now.max(next);
        let mut out = Vec::new();
        self.announcer.handle_timeout(self.now, &mut out);
        self.take(out);
        passed
    }

    fn pass_until(&mut self, end: Time) {
        while self.announcer.next_timeout().is_some_and(|next| next <= end) {
            self.pass();
        }
        self.now = end;
    }

    fn said(&mut self, wanted: &Output) -> bool {
        std::mem::take(&mut self.other).contains(wanted)
    }
}

#[test]
fn the_first_announce_leaves_at_once_and_its_peers_come_first() {
    let mut s = Scene::started(&[&["a"]]);
    let request = &s.flights[0].3;
    assert_eq!((request.event, request.left, request.port), (Event::Started, 100, 6881));
    assert_eq!(request.numwant, Some(200));
    s.end("a", Ok(good(&["10.0.0.1:7"])));
    assert_eq!(s.other[0], Output::Peers(vec!["10.0.0.1:7".parse().unwrap()]));
    let Some(Output::Status(status)) = s.other.get(1) else { panic!("{:?}", s.other) };
    assert!(status.working && !status.announcing);
    assert_eq!(status.next, Some(s.now + 1_800 * SECOND));
}

#[test]
fn regular_announces_follow_the_interval_and_say_nothing_new() {
    let mut s = Scene::started(&[&["a"]]);
    s.ok("a");
    assert_eq!(s.pass(), 1_800 * SECOND);
    assert_eq!(s.flying(), [("a", Event::None)]);
}

#[test]
fn absurd_intervals_are_clamped() {
    for (interval, min_interval, expected) in
        [(0, None, 60), (u32::MAX, None, 86_400), (60, Some(600), 600), (600, Some(u32::MAX), 86_400)]
    {
        let mut s = Scene::started(&[&["a"]]);
        s.end("a", Ok(AnnounceResponse { interval, min_interval, ..AnnounceResponse::default() }));
        assert_eq!(s.pass(), expected * SECOND);
    }
}

#[test]
fn more_peers_are_asked_for_when_the_tracker_allows_it() {
    let mut s = Scene::started(&[&["a"]]);
    s.ok("a");
    s.input(Input::NeedPeers);
    assert_eq!(s.flying(), []);
    assert_eq!(s.pass(), 120 * SECOND);
    assert_eq!(s.flying(), [("a", Event::None)]);
    s.ok("a");
    s.now = s.now + 500 * SECOND;
    s.input(Input::NeedPeers);
    assert_eq!(s.flying(), [("a", Event::None)], "long enough ago");
}

#[test]
fn every_tier_is_announced_to_and_one_tracker_of_each() {
    let s = Scene::started(&[&["a1", "a2", "a3"], &["b"], &["c1", "c2"]]);
    let hosts: Vec<char> = s.flying().iter().map(|f| f.0.chars().next().unwrap()).collect();
    assert_eq!(hosts, ['a', 'b', 'c']);
}

#[test]
fn later_tiers_wait_for_earlier_ones_to_fail_if_so_configured() {
    let mut s = Scene::with(Config { all_tiers: false, ..config() }, &[&["a"], &["b"]], 7);
    s.input(Input::Start);
    assert_eq!(s.flying(), [("a", Event::Started)]);
    s.fail("a");
    assert_eq!(s.flying(), [("b", Event::Started)]);
    s.ok("b");
    s.pass();
    s.ok("a");
    s.pass_until(s.now + 1_000 * SECOND);
    assert_eq!(s.flying(), []);
}

#[test]
fn all_trackers_of_a_tier_are_announced_to_if_so_configured() {
    let mut s = Scene::with(Config { all_trackers: true, ..config() }, &[&["a", "b"]], 7);
    s.input(Input::Start);
    assert_eq!(s.flying().len(), 2);
}

#[test]
fn a_tier_is_tried_in_random_order() {
    let first = |seed| {
        let mut s = Scene::with(config(), &[&["a", "b", "c"]], seed);
        s.input(Input::Start);
        s.only_host()
    };
    let firsts: std::collections::BTreeSet<String> = (0..50).map(first).collect();
    assert_eq!(firsts.len(), 3);
}

#[test]
fn a_tracker_that_fails_is_replaced_at_once_by_the_next_of_its_tier() {
    let mut s = Scene::started(&[&["a", "b", "c"]]);
    let first = s.only_host();
    s.fail(&first);
    let second = s.only_host();
    assert_ne!(first, second);
    s.fail(&second);
    let third = s.only_host();
    s.ok(&third);
    let order: Vec<String> = s.announcer.trackers().map(|tracker| tracker.url).collect();
    let url = |host: &str| format!("http://{host}/announce");
    assert_eq!(order, [url(&third), url(&first), url(&second)], "who works goes to the front");
    assert_eq!(s.pass(), 1_800 * SECOND);
    assert_eq!(s.only_host(), third);
}

#[test]
fn a_tracker_that_keeps_us_waiting_is_not_waited_for() {
    let mut s = Scene::started(&[&["a", "b"]]);
    let first = s.only_host();
    assert_eq!(s.pass(), 5 * SECOND);
    assert_eq!(s.flying(), [("a", Event::Started), ("b", Event::Started)]);
    let second = if first == "a" { "b" } else { "a" };
    s.ok(second);
    assert_eq!(s.announcer.trackers().next().unwrap().url, format!("http://{second}/announce"));
}

#[test]
fn back_off_grows_with_each_failure_up_to_an_hour() {
    let mut s = Scene::started(&[&["a"]]);
    let mut last = Duration::ZERO;
    for expected in [5, 10, 20, 40, 80, 160, 320, 640, 1_280, 2_560, 3_600, 3_600] {
        s.fail("a");
        let waited = s.announcer.next_timeout().unwrap().since(s.now);
        let range = (expected * SECOND).mul_f64(0.75)..=(expected * SECOND).mul_f64(1.25);
        assert!(range.contains(&waited), "{waited:?} for {expected} s");
        s.input(Input::NeedPeers);
        assert_eq!(s.flying(), [], "need is no reason to hammer");
        assert_ne!(s.pass(), last, "some jitter");
        last = waited;
    }
    s.ok("a");
    s.pass();
    s.fail("a");
    assert!(s.pass() < 10 * SECOND, "the count begins anew");
}

#[test]
fn a_tracker_may_say_when_it_wants_to_be_asked_again() {
    let refuse = |retry| Err(TrackerError::Failure { reason: "busy".to_owned(), retry: Some(retry) });
    let mut s = Scene::started(&[&["a"]]);
    s.end("a", refuse(Retry::After(900)));
    assert_eq!(s.pass(), 900 * SECOND);
    s.end("a", refuse(Retry::Never));
    assert_eq!(s.announcer.next_timeout(), None);
    s.input(Input::NeedPeers);
    s.input(Input::Completed);
    assert_eq!(s.flying(), []);
}

#[test]
fn completion_is_told_at_once_and_once_to_whoever_knows_of_us() {
    let mut s = Scene::started(&[&["a"], &["b"]]);
    s.ok("a");
    s.fail("b");
    s.input(Input::Totals(Totals { uploaded: 5, downloaded: 100, left: 0 }));
    s.input(Input::Completed);
    assert_eq!(s.flying(), [("a", Event::Completed)]);
    assert_eq!(s.flights[0].3.left, 0);
    s.ok("a");
    s.pass();
    assert_eq!(s.flying(), [("b", Event::Started)], "the first word to b, whatever happened before");
    s.ok("b");
    s.pass();
    assert_eq!(s.flying()[0].1, Event::None);
}

#[test]
fn completion_waits_for_the_answer_that_is_under_way() {
    let mut s = Scene::started(&[&["a"]]);
    s.input(Input::Completed);
    assert_eq!(s.flying(), [("a", Event::Started)]);
    s.ok("a");
    assert_eq!(s.flying(), [("a", Event::Completed)]);
    s.fail("a");
    s.pass();
    assert_eq!(s.flying(), [("a", Event::Completed)], "tried again");
}

#[test]
fn good_bye_is_said_to_whoever_may_know_us_and_ends_when_all_have_answered() {
    let mut s = Scene::started(&[&["a"], &["b"], &["c"]]);
    s.ok("a");
    s.fail("b");
    s.input(Input::Stop);
    assert_eq!(s.flying(), [("a", Event::Stopped), ("c", Event::Stopped)], "c may have heard us");
    assert_eq!(s.flights[0].3.numwant, Some(0));
    s.end("a", Ok(good(&["10.0.0.1:7"])));
    assert!(s.other.iter().filter(|o| matches!(o, Output::Peers(_))).count() == 0, "nobody wants them");
    assert!(!s.said(&Output::AllStopped));
    s.fail("c");
    assert!(s.said(&Output::AllStopped));
    assert_eq!(s.announcer.next_timeout(), None);
}

#[test]
fn good_bye_does_not_wait_for_the_silent() {
    let mut s = Scene::started(&[&["a"]]);
    s.ok("a");
    s.input(Input::Stop);
    assert_eq!(s.pass() + s.pass(), 3 * SECOND);
    assert_eq!(s.flying(), [], "cancelled");
    assert!(s.said(&Output::AllStopped));
}

/// Over two connections the later word may come first: a tracker that hears `stopped` before
/// `completed` counts no completion, and lists somebody who has left.
#[test]
fn good_bye_waits_for_the_answer_to_completed() {
    for answered in [true, false] {
        let mut s = Scene::started(&[&["a"], &["b"]]);
        s.ok("a");
        s.ok("b");
        s.input(Input::Completed);
        s.ok("b");
        s.input(Input::Stop);
        assert_eq!(s.flying(), [("a", Event::Completed), ("b", Event::Stopped)]);
        let end = if answered { Scene::ok } else { Scene::fail };
        end(&mut s, "a");
        assert_eq!(s.flying(), [("a", Event::Stopped), ("b", Event::Stopped)]);
        s.ok("b");
        assert!(!s.said(&Output::AllStopped));
        s.ok("a");
        assert!(s.said(&Output::AllStopped));
    }
}

#[test]
fn good_bye_waits_for_completed_half_of_its_time_at_most() {
    let mut s = Scene::started(&[&["a"]]);
    s.ok("a");
    s.input(Input::Completed);
    s.input(Input::Stop);
    assert_eq!(s.flying(), [("a", Event::Completed)]);
    assert_eq!(s.pass(), 3 * SECOND / 2);
    assert_eq!(s.flying(), [("a", Event::Stopped)], "in its place");
    assert_eq!(s.pass(), 3 * SECOND / 2);
    assert_eq!(s.flying(), []);
    assert!(s.said(&Output::AllStopped));
}

#[test]
fn a_stop_of_what_nobody_knows_is_over_at_once() {
    let mut s = Scene::with(config(), &[&["a"]], 7);
    s.input(Input::Stop);
    assert!(s.said(&Output::AllStopped));
    s.input(Input::Start);
    s.fail("a");
    s.input(Input::Stop);
    assert!(s.said(&Output::AllStopped));
}

#[test]
fn after_a_stop_it_starts_anew_even_while_stopping() {
    let mut s = Scene::started(&[&["a"]]);
    s.ok("a");
    s.input(Input::Stop);
    s.input(Input::Start);
    assert_eq!(s.flying(), [("a", Event::Started)]);
    s.ok("a");
    assert!(!s.said(&Output::AllStopped));
    assert_eq!(s.pass(), 1_800 * SECOND);
}

#[test]
fn what_is_no_tracker_is_shown_with_the_reason_and_never_tried() {
    let urls = vec![vec!["wss://t.example/".to_owned(), "http://t.example/announce".to_owned()]];
    let mut announcer = Announcer::new(config(), &urls, Rng::from_seed(1));
    let mut out = Vec::new();
    announcer.handle(Time::ZERO, Input::Start, &mut out);
    assert_eq!(out.len(), 1);
    let shown: Vec<TrackerStatus> = announcer.trackers().collect();
    assert_eq!(shown.len(), 2);
    assert_eq!(shown[1].message.as_deref(), Some("addresses of the kind \"wss\" are not supported"));
}

#[test]
fn trackers_may_be_added_but_not_twice_and_not_without_end() {
    let mut s = Scene::started(&[&["a"]]);
    s.input(Input::AddTrackers(tiers(&[&["a", "b"]])));
    assert_eq!(s.flying(), [("a", Event::Started), ("b", Event::Started)]);
    let many: Vec<Vec<String>> = (0..1_000).map(|i| vec![format!("http://t{i}/announce")]).collect();
    s.input(Input::AddTrackers(many));
    assert_eq!(s.announcer.trackers().count(), Limits::TRACKERS);
}

#[test]
fn what_a_tracker_tells_is_passed_on_and_given_back() {
    let mut s = Scene::started(&[&["a"]]);
    let ip = "192.0.2.1".parse().unwrap();
    s.end(
        "a",
        Ok(AnnounceResponse {
            external_ip: Some(ip),
            tracker_id: Some(b"id".to_vec()),
            warning: Some("soon closed".to_owned()),
            complete: Some(3),
            ..good(&[])
        }),
    );
    assert!(s.other.contains(&Output::ExternalIp(ip)));
    let status = s.announcer.trackers().next().unwrap();
    assert_eq!((status.message.as_deref(), status.seeds), (Some("soon closed"), Some(3)));
    s.input(Input::SetPort(7));
    s.pass();
    assert_eq!(s.flights[0].3.tracker_id.as_deref(), Some(b"id".as_slice()));
    assert_eq!(s.flights[0].3.port, 7);
}

#[test]
fn an_answer_to_nobodys_question_is_ignored() {
    let mut s = Scene::started(&[&["a"]]);
    s.input(Input::Answer { job: JobId(99), result: Ok(good(&["10.0.0.1:7"])) });
    assert_eq!((s.other.len(), s.flights.len()), (0, 1));
}

proptest! {
    /// Whatever happens in whatever order: each endpoint has one announce under way at
    /// most, `started` comes first, and a stop always ends.
    #[test]
    fn any_story_ends_well(seed in any::<u64>(), steps in proptest::collection::vec((0u8..9, any::<u8>()), 1..80)) {
        let mut s = Scene::with(config(), &[&["a", "b"], &["c"], &["d", "e", "f"]], seed);
        let mut told = std::collections::BTreeSet::new();
        for (step, n) in steps {
            match step {
                0 => s.input(Input::Start),
                1 => s.input(Input::Completed),
                2 => s.input(Input::NeedPeers),
                3 | 4 if !s.flights.is_empty() => {
                    let (job, host, _, request) = s.flights.remove(usize::from(n) % s.flights.len());
                    if step == 3 {
                        if request.event == Event::Started { told.insert(host); }
                        s.input(Input::Answer { job, result: Ok(good(&[])) });
                    } else {
                        s.input(Input::Answer { job, result: Err(TrackerError::TimedOut) });
                    }
                }
                5 => s.now = s.now + u32::from(n) * SECOND,
                6 if n < 60 => s.input(Input::Stop),
                _ => if s.announcer.next_timeout().is_some() { s.pass(); },
            }
            let mut hosts: Vec<&str> = s.flights.iter().map(|f| f.1.as_str()).collect();
            hosts.sort_unstable();
            prop_assert!(hosts.windows(2).all(|pair| pair[0] != pair[1]), "{:?}", hosts);
            for (_, host, _, request) in &s.flights {
                let later = matches!(request.event, Event::None | Event::Completed);
                prop_assert!(!later || told.contains(host), "{host} was never told");
            }
        }
        s.other.clear();
        s.input(Input::Stop);
        s.pass_until(s.now + 3 * SECOND);
        prop_assert!(s.said(&Output::AllStopped));
        prop_assert_eq!(s.flights.len(), 0);
        prop_assert_eq!(s.announcer.next_timeout(), None);
    }
}
