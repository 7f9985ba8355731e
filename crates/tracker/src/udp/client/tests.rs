use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

use super::*;
use crate::ScrapeEntry;

const TRACKER: &str = "192.0.2.1:6969";

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn hash(n: u8) -> Sha1Hash {
    Sha1Hash([n; 20])
}

/// A client with the time and everything it has put out.
struct Scene {
    client: UdpClient<u32>,
    now: Time,
    out: Vec<Output<u32>>,
}

impl Scene {
    fn new() -> Scene {
        Scene {
            client: UdpClient::new(Timing::default(), Rng::from_seed(7)),
            now: Time::from_secs(100),
            out: Vec::new(),
        }
    }

    fn input(&mut self, input: Input<u32>) {
        self.client.handle(self.now, input, &mut self.out);
    }

    fn announce(&mut self, job: u32) {
        let request = AnnounceRequest::new(hash(1), [2; 20], 6881);
        self.input(Input::Announce { job, target: addr(TRACKER), url_data: b"/announce".to_vec(), request });
    }

    fn scrape(&mut self, job: u32, count: u8) {
        let info_hashes = (0..count).map(hash).collect();
        self.input(Input::Scrape { job, target: addr(TRACKER), info_hashes });
    }

    fn reply(&mut self, response: &Response) {
        self.reply_from(TRACKER, response);
    }

    fn reply_from(&mut self, from: &str, response: &Response) {
        self.input(Input::Datagram { from: addr(from), bytes: response.encode(Family::V4) });
    }

    /// The requests sent since the last call.
    fn sent(&mut self) -> Vec<Request> {
        let is_send = |output: &Output<u32>| matches!(output, Output::Send { .. });
        let sends: Vec<_> = self.out.extract_if(.., |output| is_send(output)).collect();
        let decode = |output| match output {
            Output::Send { bytes, .. } => Request::decode(&bytes).unwrap(),
            Output::Done { .. } => panic!(),
        };
        sends.into_iter().map(decode).collect()
    }

    /// The one request sent since the last call: its connection id and transaction.
    fn one_sent(&mut self) -> (u64, u32) {
        match self.sent().as_slice() {
            [Request::Connect { transaction }] => (0, *transaction),
            [Request::Announce { connection, transaction, .. }] => (*connection, *transaction),
            [Request::Scrape { connection, transaction, .. }] => (*connection, *transaction),
            other => panic!("{other:?}"),
        }
    }

    fn done(&mut self) -> Vec<(u32, Result<Answer, TrackerError>)> {
        let done = self.out.drain(..).filter_map(|output| match output {
            Output::Done { job, result } => Some((job, result)),
            Output::Send { .. } => None,
        });
        done.collect()
    }

    /// Lets the time pass to the next deadline and tells how many seconds that took.
    fn pass(&mut self) -> u64 {
        let next = self.client.next_timeout().unwrap();
        let passed = next.since(self.now).as_secs();
        self.now = next;
        self.client.handle_timeout(next, &mut self.out);
        passed
    }

    fn connect(&mut self, connection: u64) {
        let (_, transaction) = self.one_sent();
        self.reply(&Response::Connect { transaction, connection });
    }

    /// Answers the announce that was sent last.
    fn answer(&mut self) {
        let (_, transaction) = self.one_sent();
        self.reply(&Response::Announce { transaction, answer: AnnounceResponse::default() });
    }
}

fn answered(done: &[(u32, Result<Answer, TrackerError>)]) -> Vec<u32> {
    done.iter().filter(|(_, result)| result.is_ok()).map(|(job, _)| *job).collect()
}

#[test]
fn an_announce_connects_first_and_leaves_nothing_behind() {
    let mut s = Scene::new();
    s.announce(1);
    s.connect(77);
    let sent = s.sent();
    let [Request::Announce { connection: 77, transaction, request, url_data }] = sent.as_slice() else {
        panic!("{sent:?}")
    };
    assert_eq!((request.info_hash, url_data.as_slice()), (hash(1), b"/announce".as_slice()));
    let answer = AnnounceResponse { interval: 1_800, ..AnnounceResponse::default() };
    s.reply(&Response::Announce { transaction: *transaction, answer: answer.clone() });
    let Ok(Answer::Announce(got)) = &s.done()[0].1 else { panic!() };
    assert_eq!(got.interval, answer.interval);
    assert_eq!((s.client.jobs(), s.client.transactions.len()), (0, 0));
    s.pass();
    assert_eq!((s.client.connections.len(), s.client.next_timeout()), (0, None), "the id is forgotten");
}

#[test]
fn a_connection_serves_everyone_for_a_minute() {
    let mut s = Scene::new();
    s.announce(1);
    s.announce(2);
    s.connect(77);
    assert_eq!(s.sent().len(), 2, "both had waited for one connection");
    s.now = s.now + Duration::from_secs(59);
    s.announce(3);
    assert_eq!(s.one_sent().0, 77);
    s.now = s.now + Duration::from_secs(1);
    s.announce(4);
    assert_eq!(s.one_sent().0, 0, "connects anew");
}

#[test]
fn what_is_lost_is_repeated_and_given_up_after_a_minute() {
    let mut s = Scene::new();
    s.announce(1);
    let (_, first) = s.one_sent();
    for wait in [4, 15, 30] {
        assert_eq!(s.pass(), wait);
        assert_eq!(s.one_sent(), (0, first), "the same request, so that a late answer counts");
    }
    assert_eq!(s.pass(), 11);
    assert_eq!(s.done(), [(1, Err(TrackerError::TimedOut))]);
    assert_eq!(s.client.next_timeout(), None);
}

#[test]
fn an_announce_that_outlives_its_connection_connects_again() {
    let secs = Duration::from_secs;
    let mut s = Scene::new();
    s.client.timing = Timing { first: secs(15), base: secs(30), give_up: secs(600) };
    s.announce(1);
    s.connect(77);
    let (_, transaction) = s.one_sent();
    for wait in [15, 30] {
        assert_eq!(s.pass(), wait);
        assert_eq!(s.one_sent(), (77, transaction));
    }
    assert_eq!(s.pass(), 15, "the connection id is a minute old");
    assert_eq!(s.sent(), []);
    assert_eq!(s.pass(), 45);
    s.connect(78);
    assert_eq!(s.one_sent(), (78, transaction));
    assert_eq!((s.pass(), s.pass()), (60, 60), "the connection ends, then the patience: 30 s doubled twice");
    assert_eq!(s.one_sent().0, 0);
}

#[test]
fn the_times_of_the_specification_hold_from_the_second_repetition_on() {
    let waits: Vec<u64> = (1..13).map(|sent| Timing::default().wait(sent).as_secs()).collect();
    assert_eq!(waits, [4, 15, 30, 60, 120, 240, 480, 960, 1_920, 3_840, 3_840, 3_840]);
}

#[test]
fn answers_from_elsewhere_or_to_another_question_are_ignored() {
    let mut s = Scene::new();
    s.announce(1);
    let (_, transaction) = s.one_sent();
    let good = Response::Connect { transaction, connection: 1 };
    s.reply_from("192.0.2.2:6969", &good);
    s.reply_from("192.0.2.1:6970", &good);
    s.reply(&Response::Connect { transaction: transaction.wrapping_add(1), connection: 1 });
    s.reply(&Response::Announce { transaction, answer: AnnounceResponse::default() });
    s.input(Input::Datagram { from: addr(TRACKER), bytes: vec![0; 3] });
    assert_eq!(s.out, []);
    s.reply_from("[::ffff:192.0.2.1]:6969", &good);
    let (connection, transaction) = s.one_sent();
    assert_eq!(connection, 1, "an IPv4 address in IPv6 form is the same host");
    s.reply(&Response::Scrape { transaction, entries: Vec::new() });
    assert_eq!((s.out.len(), s.client.jobs()), (0, 1));
}

#[test]
fn a_refusal_ends_whoever_it_is_for() {
    let mut s = Scene::new();
    s.announce(1);
    s.announce(2);
    let (_, transaction) = s.one_sent();
    s.reply(&Response::Error { transaction, message: "full".to_owned() });
    let full = TrackerError::failure(b"full");
    assert_eq!(s.done(), [(1, Err(full.clone())), (2, Err(full.clone()))]);
    s.announce(3);
    s.connect(5);
    let (_, transaction) = s.one_sent();
    s.reply(&Response::Error { transaction, message: "full".to_owned() });
    assert_eq!(s.done(), [(3, Err(full))]);
}

#[test]
fn an_answer_without_content_is_a_refusal() {
    let mut s = Scene::new();
    s.announce(1);
    s.connect(5);
    let (_, transaction) = s.one_sent();
    let bytes = [[0, 0, 0, 1], transaction.to_be_bytes()].concat();
    s.input(Input::Datagram { from: addr("192.0.2.2:6969"), bytes: bytes.clone() });
    assert_eq!(s.client.jobs(), 1, "not from the tracker");
    s.input(Input::Datagram { from: addr(TRACKER), bytes });
    assert_eq!(s.done(), [(1, Err(TrackerError::Malformed("an answer without content")))]);
}

#[test]
fn a_tracker_that_forgot_the_connection_is_connected_to_once_more() {
    let mut s = Scene::new();
    s.announce(1);
    s.connect(5);
    s.answer();
    s.announce(2);
    let (_, transaction) = s.one_sent();
    let error = Response::Error { transaction, message: "unknown connection".to_owned() };
    s.reply(&error);
    s.connect(6);
    assert_eq!(s.one_sent(), (6, transaction));
    s.reply(&error);
    assert_eq!(answered(&s.done()), [1]);
    assert_eq!(s.client.jobs(), 0, "the second refusal counts");
}

#[test]
fn a_scrape_pairs_the_numbers_with_the_torrents_asked_for() {
    let mut s = Scene::new();
    s.scrape(1, 200);
    s.connect(5);
    let sent = s.sent();
    let [Request::Scrape { transaction, info_hashes, .. }] = sent.as_slice() else { panic!("{sent:?}") };
    assert_eq!(info_hashes.len(), Limits::SCRAPE);
    let entry = |complete| ScrapeEntry { complete, ..ScrapeEntry::default() };
    s.reply(&Response::Scrape { transaction: *transaction, entries: vec![entry(10), entry(11)] });
    let files = [(hash(0), entry(10)), (hash(1), entry(11))].into();
    assert_eq!(s.done(), [(1, Ok(Answer::Scrape(ScrapeResponse { files })))]);
}

#[test]
fn a_cancelled_job_is_forgotten_with_its_connection_request() {
    let mut s = Scene::new();
    s.announce(1);
    s.announce(2);
    s.input(Input::Cancel { job: 1 });
    s.input(Input::Cancel { job: 9 });
    assert_eq!(s.client.connections.len(), 1, "the other still waits");
    s.input(Input::Cancel { job: 2 });
    assert_eq!((s.client.connections.len(), s.client.next_timeout()), (0, None));
    assert_eq!(s.done(), []);
}

#[test]
fn jobs_are_bounded() {
    let mut s = Scene::new();
    for job in 0..Limits::UDP_JOBS as u32 {
        s.announce(job);
    }
    s.announce(u32::MAX);
    assert_eq!(s.done(), [(u32::MAX, Err(TrackerError::Busy))]);
    s.announce(0);
    assert_eq!(s.done(), [], "a job that is named again takes its own place");
}

#[test]
fn a_clock_at_its_end_does_not_spin() {
    let mut s = Scene::new();
    s.now = Time::NEVER;
    s.announce(1);
    s.client.handle_timeout(Time::NEVER, &mut s.out);
    assert!(s.sent().len() <= 2);
    assert_eq!(s.client.jobs(), 0, "it has timed out");
}

proptest! {
    /// Whatever is lost, late, forged or cancelled: each job ends once, and nothing is
    /// left when all have ended.
    #[test]
    fn any_story_ends_and_leaves_nothing(
        seed in any::<u64>(), steps in proptest::collection::vec((0u8..8, any::<u16>()), 1..120),
    ) {
        let mut s = Scene::new();
        s.client = UdpClient::new(Timing::default(), Rng::from_seed(seed));
        let mut open = BTreeSet::new();
        let mut requests = Vec::new();
        for (job, (step, n)) in (0..).zip(steps) {
            match step {
                0 => { s.announce(job); open.insert(job); }
                1 => { s.scrape(job, 3); open.insert(job); }
                2 => { s.now = s.now + Duration::from_secs(u64::from(n % 90)); }
                3 if n % 4 == 0 => { s.input(Input::Cancel { job: u32::from(n % 120) }); open.remove(&u32::from(n % 120)); }
                4 | 5 if !requests.is_empty() => s.reply(&reply_to(&requests[usize::from(n) % requests.len()], n)),
                6 => { let at = s.now; s.client.handle_timeout(at, &mut s.out); }
                _ => s.input(Input::Datagram { from: addr(TRACKER), bytes: n.to_be_bytes().repeat(usize::from(n % 40)) }),
            }
            let (sent, done): (Vec<_>, Vec<_>) =
                s.out.drain(..).partition(|output| matches!(output, Output::Send { .. }));
            for output in sent.into_iter().chain(done) {
                match output {
                    Output::Send { bytes, .. } => requests.push(Request::decode(&bytes).unwrap()),
                    Output::Done { job, .. } => prop_assert!(open.remove(&job), "{job} ended twice"),
                }
            }
        }
        prop_assert_eq!(s.client.jobs(), open.len());
        while s.client.next_timeout().is_some() { s.pass(); }
        let late: BTreeSet<u32> = s.done().iter().map(|(job, _)| *job).collect();
        prop_assert_eq!(late, open);
        prop_assert!(s.client.connections.is_empty() && s.client.transactions.is_empty());
    }
}

/// An answer to `request`, of the right kind or another.
fn reply_to(request: &Request, n: u16) -> Response {
    let (Request::Connect { transaction }
    | Request::Announce { transaction, .. }
    | Request::Scrape { transaction, .. }) = *request;
    match n % 4 {
        0 => Response::Connect { transaction, connection: u64::from(n) },
        1 => Response::Announce { transaction, answer: AnnounceResponse::default() },
        2 => Response::Scrape { transaction, entries: Vec::new() },
        _ => Response::Error { transaction, message: "no".to_owned() },
    }
}
