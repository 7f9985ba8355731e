use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn hash(n: u32) -> Sha1Hash {
    let mut bytes = [0; 20];
    bytes[..4].copy_from_slice(&n.to_be_bytes());
    Sha1Hash(bytes)
}

/// A node with the time and what it has put out: found peers, and datagrams to the
/// IPv4 group (each with a twin to the other).
struct Scene {
    lsd: Lsd,
    now: Time,
    sent: Vec<Vec<u8>>,
    found: Vec<(Sha1Hash, SocketAddr)>,
}

impl Scene {
    fn new(seed: u64) -> Scene {
        let lsd = Lsd::new(6881, Rng::from_seed(seed));
        Scene { lsd, now: Time::from_secs(1_000), sent: Vec::new(), found: Vec::new() }
    }

    fn take(&mut self, out: Vec<Output>) {
        let count = |wanted| {
            out.iter().filter(|o| matches!(o, Output::Send { group, .. } if *group == wanted)).count()
        };
        assert_eq!(count(Group::V4), count(Group::V6));
        for output in out {
            match output {
                Output::Send { group: Group::V4, bytes } => self.sent.push(bytes),
                Output::Send { .. } => (),
                Output::Found { info_hash, addr } => self.found.push((info_hash, addr)),
            }
        }
    }

    fn input(&mut self, input: Input) {
        let mut out = Vec::new();
        self.lsd.handle(self.now, input, &mut out);
        self.take(out);
    }

    fn hear(&mut self, from: &str, hashes: impl IntoIterator<Item = u32>) {
        let info_hashes = hashes.into_iter().map(hash).collect();
        let bytes = Message { port: 51_413, info_hashes, cookie: None }.encode(Group::V4);
        self.input(Input::Datagram { from: from.parse().unwrap(), bytes });
    }

    /// Lets the time pass to the next deadline and tells how long that took.
    fn pass(&mut self) -> Duration {
        let next = self.lsd.next_timeout().unwrap();
        let passed = next.since(self.now);
        self.now = next;
        let mut out = Vec::new();
        self.lsd.handle_timeout(next, &mut out);
        self.take(out);
        passed
    }

    /// The torrents announced since the last call, a list for each datagram.
    fn announced(&mut self) -> Vec<Vec<Sha1Hash>> {
        let messages = self.sent.drain(..).map(|bytes| Message::decode(&bytes).unwrap());
        messages.map(|message| message.info_hashes).collect()
    }

    /// One torrent, its first three announces behind it.
    fn settled(seed: u64) -> Scene {
        let mut scene = Scene::new(seed);
        scene.input(Input::Add(hash(1)));
        scene.pass();
        scene.pass();
        scene.sent.clear();
        scene
    }
}

#[test]
fn a_new_torrent_is_announced_at_once_twice_soon_and_then_every_five_minutes() {
    let mut s = Scene::new(7);
    s.input(Input::Add(hash(1)));
    assert_eq!(s.announced(), [[hash(1)]]);
    for seconds in [1, 4, 300, 300] {
        assert_eq!(s.pass(), seconds * SECOND);
        assert_eq!(s.announced(), [[hash(1)]]);
    }
    s.input(Input::Add(hash(1)));
    assert_eq!(s.announced().len(), 0, "not twice");
    s.input(Input::Remove(hash(1)));
    assert_eq!(s.lsd.next_timeout(), None);
}

#[test]
fn two_nodes_find_each_other_and_nobody_finds_itself() {
    let (mut a, mut b) = (Scene::settled(1), Scene::new(2));
    b.now = a.now + 100 * SECOND;
    a.now = b.now;
    b.input(Input::Add(hash(1)));
    let hello = b.sent[0].clone();
    let from = "10.0.0.2:6771".parse().unwrap();
    b.input(Input::Datagram { from, bytes: hello.clone() });
    assert_eq!(b.found, []);
    a.input(Input::Datagram { from, bytes: hello });
    assert_eq!(a.found, [(hash(1), "10.0.0.2:6881".parse().unwrap())]);
    let answer = a.sent[0].clone();
    b.input(Input::Datagram { from: "10.0.0.1:6771".parse().unwrap(), bytes: answer });
    assert_eq!(b.found, [(hash(1), "10.0.0.1:6881".parse().unwrap())], "without five minutes' wait");
    assert_eq!(b.sent.len(), 1, "b has just announced and does not answer back");
}

#[test]
fn answers_keep_a_distance_and_count_as_announces() {
    let mut s = Scene::settled(7);
    s.now = s.now + 4 * SECOND;
    s.hear("10.0.0.2:6771", [1]);
    assert_eq!(s.announced().len(), 0, "it has announced 4 s ago");
    s.now = s.now + SECOND;
    s.hear("10.0.0.2:6771", [1]);
    s.hear("10.0.0.3:6771", [1]);
    assert_eq!(s.announced(), [[hash(1)]]);
    assert_eq!(s.pass(), 300 * SECOND, "so that many answering nodes send no more than silent ones");
}

#[test]
fn answers_are_bounded_however_many_ask() {
    let mut s = Scene::new(7);
    (0..200).for_each(|n| s.input(Input::Add(hash(n))));
    while s.lsd.next_timeout().unwrap() < s.now + 100 * SECOND {
        s.pass();
    }
    let answered: usize = {
        s.sent.clear();
        s.now = s.now + 10 * SECOND;
        (0..200).for_each(|n| s.hear("10.0.0.2:6771", [n]));
        while s.lsd.next_timeout().unwrap() <= s.now + 5 * SECOND {
            s.pass();
        }
        s.announced().iter().map(Vec::len).sum()
    };
    assert_eq!(answered, ANSWERS_PER_WINDOW as usize);
}

#[test]
fn what_we_do_not_have_is_not_found() {
    let mut s = Scene::settled(7);
    s.hear("10.0.0.2:6771", [2, 3]);
    s.input(Input::Datagram { from: "10.0.0.2:1".parse().unwrap(), bytes: b"BT-SEARCH".to_vec() });
    assert_eq!((s.found.len(), s.sent.len()), (0, 0));
}

#[test]
fn one_source_cannot_flood_us_nor_many_fill_our_memory() {
    let mut s = Scene::settled(7);
    for _ in 0..1_000 {
        s.hear("10.0.0.2:6771", [1, 1, 1]);
    }
    assert_eq!(s.found.len(), Limits::LSD_FINDS_PER_SOURCE as usize);
    for n in 0..5_000u32 {
        s.hear(&format!("10.1.{}.{}:6771", n / 256, n % 256), [1]);
    }
    assert_eq!(s.lsd.window.finds.len(), Limits::LSD_SOURCES);
    s.found.clear();
    s.now = s.now + WINDOW;
    s.hear("10.0.0.2:6771", [1]);
    assert_eq!(s.found.len(), 1, "the next minute is new");
}

#[test]
fn many_torrents_share_datagrams_and_leave_in_no_burst() {
    let mut s = Scene::new(7);
    s.lsd.port = 0;
    (0..1_000).for_each(|n| s.input(Input::Add(hash(n))));
    assert_eq!((s.sent.len(), s.lsd.next_timeout()), (0, None), "nothing to connect to yet");
    s.input(Input::SetPort(6881));
    let mut seen = std::collections::BTreeSet::new();
    assert_eq!(s.sent.len(), Limits::LSD_DATAGRAMS_PER_SECOND);
    for _ in 0..1_000usize.div_ceil(Message::HASHES * Limits::LSD_DATAGRAMS_PER_SECOND) {
        assert!(s.sent.len() <= Limits::LSD_DATAGRAMS_PER_SECOND);
        assert!(s.sent.iter().all(|bytes| bytes.len() <= Limits::LSD_DATAGRAM));
        seen.extend(s.announced().into_iter().flatten());
        s.pass();
    }
    assert!(seen.len() >= 900, "{} of 1000 though the early repetitions interleave", seen.len());
}

#[test]
fn torrents_added_one_by_one_leave_in_no_burst_either() {
    let mut s = Scene::new(7);
    (0..100).for_each(|n| s.input(Input::Add(hash(n))));
    assert_eq!(s.announced().len(), Limits::LSD_DATAGRAMS_PER_SECOND);
    assert_eq!(s.pass(), SECOND);
    let rest: Vec<usize> = s.announced().iter().map(Vec::len).collect();
    assert_eq!(rest.iter().sum::<usize>(), 100, "the other 92, and the first 8 again");
    assert_eq!(rest.len(), 100usize.div_ceil(Message::HASHES));
}

#[test]
fn a_link_local_neighbour_keeps_its_interface() {
    let mut s = Scene::settled(7);
    s.hear("[fe80::1%3]:6771", [1]);
    s.hear("[::ffff:10.0.0.2]:6771", [1]);
    let found: Vec<String> = s.found.iter().map(|(_, addr)| addr.to_string()).collect();
    assert_eq!(found, ["[fe80::1%3]:51413", "10.0.0.2:51413"]);
}
