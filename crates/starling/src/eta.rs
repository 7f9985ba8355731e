//! How long a torrent may still take.
//!
//! What is left, at the rate at which useful bytes came lately: a mean that forgets within
//! some ten seconds, so that the number neither jumps with every burst nor clings to the
//! past. There is no estimate while the rate is not known, nor one that nobody can use.

use std::time::{Duration, Instant};

use starling_node::{Progress, State};

/// How fast a rate is forgotten.
const FORGETTING: f64 = 10.0;
/// Before bytes have come for this long their rate is anything.
const KNOWN: Duration = Duration::from_secs(2);
/// Beyond this it is no estimate: 99 days.
const MOST: f64 = 99.0 * 86_400.0;

/// Watches one torrent.
#[derive(Default)]
pub struct Eta {
    flow: Option<Flow>,
}

/// Since the first bytes came.
struct Flow {
    began: Instant,
    last: (Instant, u64),
    /// Bytes per second, decaying, and what all weights come to: less than 1 at first.
    sum: f64,
    weight: f64,
}

impl Eta {
    /// Seconds left as of `now`, later than the last time. `None`: nothing comes, nothing is
    /// left, or nobody can tell.
    pub fn look(&mut self, now: Instant, p: &Progress) -> Option<u64> {
        let left = p.bytes_wanted.saturating_sub(p.bytes_done);
        if p.state != State::Downloading || left == 0 {
            self.flow = None;
            return None;
        }
        let rate = self.rate(now, p.downloaded.saturating_sub(p.wasted))?;
        if p.down_rate == 0 { None } else { seconds(left, rate) }
    }

    /// The mean of bytes per second, once it is known.
    fn rate(&mut self, now: Instant, got: u64) -> Option<f64> {
        if got == 0 {
            return None;
        }
        let new = Flow { began: now, last: (now, got), sum: 0.0, weight: 0.0 };
        let flow = self.flow.get_or_insert(new);
        let passed = now.saturating_duration_since(flow.last.0).as_secs_f64();
        if passed > 0.0 {
            let keep = (-passed / FORGETTING).exp();
            let fresh = got.saturating_sub(flow.last.1) as f64 / passed;
            flow.sum = flow.sum * keep + fresh * (1.0 - keep);
            flow.weight = flow.weight * keep + (1.0 - keep);
            flow.last = (now, got);
        }
        (now.saturating_duration_since(flow.began) >= KNOWN).then(|| flow.sum / flow.weight)
    }
}

/// How long so many bytes take at a rate in bytes per second, if that can be said.
pub fn seconds(bytes: u64, rate: f64) -> Option<u64> {
    let seconds = bytes as f64 / rate;
    (seconds <= MOST).then_some(seconds as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    /// A torrent of one GiB of which so much came.
    fn progress(state: State, downloaded: u64) -> Progress {
        let hashes = starling_metainfo::InfoHashes::new(Some(starling_metainfo::Sha1Hash([1; 20])), None);
        Progress {
            hashes: hashes.unwrap(),
            name: None,
            torrent: None,
            state,
            pieces: 0,
            pieces_total: 1024,
            bytes_done: downloaded,
            bytes_wanted: GIB,
            bytes_had: 0,
            down_rate: 1,
            up_rate: 0,
            downloaded,
            uploaded: 0,
            wasted: 0,
            peers: 1,
            seeds: 1,
            web_seeds: 0,
            from_web_seeds: 0,
            known_peers: 1,
            trackers: Vec::new(),
            banned: Vec::new(),
            lost: Vec::new(),
        }
    }

    /// What is shown every quarter of a second while `bytes` say how much has come after so
    /// many quarters.
    fn shown(bytes: impl Fn(u64) -> u64, quarters: u64) -> Vec<Option<u64>> {
        let (mut eta, began) = (Eta::default(), Instant::now());
        let at = |quarter| began + Duration::from_millis(250) * quarter as u32;
        (0..=quarters).map(|n| eta.look(at(n), &progress(State::Downloading, bytes(n)))).collect()
    }

    #[test]
    fn nothing_is_said_before_the_rate_is_known_and_then_nothing_absurd() {
        // The first block comes at once, then nothing for a second, then 1 MiB/s.
        let shown = shown(|n| 16_384 + n.saturating_sub(4) * (GIB / 4096), 40);
        assert!(shown[..8].iter().all(Option::is_none), "{shown:?}");
        assert!(shown[8..].iter().all(|left| left.is_some_and(|left| left < 3 * 1024)), "{shown:?}");
        assert!(shown[40].is_some_and(|left| (1000..1300).contains(&left)), "{shown:?}");
    }

    #[test]
    fn time_before_the_first_byte_does_not_count() {
        let shown = shown(|n| n.saturating_sub(400) * (GIB / 4096), 420);
        assert!(shown[..408].iter().all(Option::is_none));
        assert_eq!(shown[420], Some(1019));
    }

    #[test]
    fn bursts_do_not_make_it_jump() {
        // 4 MiB at a time, every four seconds.
        let shown = shown(|n| 1 + n / 16 * (GIB / 256), 400);
        let late: Vec<u64> = shown[200..].iter().flatten().copied().collect();
        assert!(late.windows(2).all(|pair| pair[0].abs_diff(pair[1]) < pair[0] / 2), "{late:?}");
    }

    #[test]
    fn what_stands_still_or_would_take_for_ever_has_no_estimate() {
        let (mut eta, began) = (Eta::default(), Instant::now());
        let at = |secs| began + Duration::from_secs(secs);
        let stalled = |secs: u64| Progress { down_rate: 0, ..progress(State::Downloading, secs * 1000) };
        for secs in 0..10 {
            eta.look(at(secs), &progress(State::Downloading, 1 + secs * 1000));
        }
        assert_eq!(eta.look(at(10), &stalled(10)), None);
        assert!(shown(|n| 1 + n, 400).iter().all(Option::is_none), "four bytes a second: years");
        assert_eq!(seconds(99 * 86_400, 1.0), Some(99 * 86_400));
        assert_eq!((seconds(99 * 86_400 + 1, 1.0), seconds(1, 0.0), seconds(0, 0.0)), (None, None, None));
    }

    #[test]
    fn after_a_pause_it_begins_anew() {
        let (mut eta, began) = (Eta::default(), Instant::now());
        let at = |secs| began + Duration::from_secs(secs);
        for secs in 0..5 {
            eta.look(at(secs), &progress(State::Downloading, 1 + secs * 1000));
        }
        assert_eq!(eta.look(at(5), &progress(State::Paused("full".into()), 5000)), None);
        assert_eq!(eta.look(at(6), &progress(State::Downloading, 5000)), None);
        assert!(eta.look(at(9), &progress(State::Downloading, 8000)).is_some());
    }
}
