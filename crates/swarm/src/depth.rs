//! How many requests to keep at one peer: bandwidth times delay, as BBR
//! estimates them (Cardwell et al. 2016): the largest delivery rate of the last
//! windows and the smallest request-to-block time of the connection.
//!
//! It starts small and doubles each round trip while the rate still grows; then
//! it follows `rate × (2 × delay)` plus a second's worth (bounded) that rides out
//! bursts, disk waits and a peer that serves many in turn.

use std::time::Duration;

use starling_metainfo::BLOCK_LENGTH;
use starling_sansio::Time;

/// The request depth of one peer.
#[derive(Clone, Debug)]
pub(crate) struct Depth {
    target: u32,
    cap: u32,
    rtt_min: Option<Duration>,
    window_start: Option<Time>,
    window_blocks: u32,
    windows: [f64; WINDOWS],
    next_window: usize,
    /// The rate over seconds, bursts and pauses together.
    mean: f64,
    startup: bool,
    best: f64,
    flat: u32,
}

const WINDOWS: usize = 8;
const WINDOW_MIN: Duration = Duration::from_millis(50);
const START: u32 = 8;
const FLOOR: u32 = 4;
const MEAN_SECS: f64 = 1.0;
const DELAY_GAIN: f64 = 2.0;
/// Blocks of slack at most: 4 MiB.
const SLACK_BLOCKS: f64 = 256.0;
/// Windows without a quarter more before the doubling ends.
const FLAT_WINDOWS: u32 = 3;

impl Depth {
    /// For a peer that accepts `cap` requests at a time.
    pub fn new(cap: u32) -> Depth {
        Depth {
            target: START.min(cap.max(1)),
            cap: cap.max(1),
            rtt_min: None,
            window_start: None,
            window_blocks: 0,
            windows: [0.0; WINDOWS],
            next_window: 0,
            mean: 0.0,
            startup: true,
            best: 0.0,
            flat: 0,
        }
    }

    /// The peer told how many requests it accepts.
    pub fn set_cap(&mut self, cap: u32) {
        self.cap = cap.max(1);
        self.target = self.target.min(self.cap);
    }

    /// Requests to have in flight.
    pub fn target(&self) -> u32 {
        self.target
    }

    /// How many must have been answered before more are sent, so that they go in batches.
    pub fn batch(&self) -> u32 {
        (self.target / 4).clamp(1, 64)
    }

    /// Bytes per second, in whole blocks, the peer has shown to deliver lately; 0 while unknown.
    pub fn rate(&self) -> f64 {
        self.windows.iter().copied().fold(0.0, f64::max)
    }

    /// The shortest time from request to block.
    pub fn rtt(&self) -> Option<Duration> {
        self.rtt_min
    }

    /// Seconds until a request made now is answered, with `in_flight` before it.
    pub fn eta_secs(&self, in_flight: u32) -> f64 {
        let Some(rtt) = self.rtt_min.map(|rtt| rtt.as_secs_f64()) else { return 1.0 };
        // While all it sent came in bursts too short to measure, a block counts as a round trip.
        let rate = self.rate();
        let block = if rate > 0.0 { f64::from(BLOCK_LENGTH) / rate } else { rtt };
        rtt + f64::from(in_flight + 1) * block
    }

    /// A block came that was asked for at `sent`. A short one counts as a whole one: what
    /// is reckoned here is requests, and the end of a small file costs one too.
    pub fn on_block(&mut self, now: Time, sent: Time) {
        let took = now.since(sent).max(Duration::from_micros(20));
        if self.rtt_min.is_none_or(|best| took < best) {
            self.rtt_min = Some(took);
        }
        if self.startup {
            self.target = (self.target + 1).min(self.cap);
        }
        let start = *self.window_start.get_or_insert(sent);
        self.window_blocks += 1;
        if now.since(start) >= WINDOW_MIN.max(self.rtt_min.unwrap_or_default()) {
            self.close_window(now, start);
        }
    }

    /// Nothing is in flight any more: the pause to come says nothing about the rate.
    pub fn on_idle(&mut self) {
        self.window_start = None;
        self.window_blocks = 0;
    }

    fn close_window(&mut self, now: Time, start: Time) {
        let secs = now.since(start).as_secs_f64().max(1e-6);
        let latest = f64::from(self.window_blocks) * f64::from(BLOCK_LENGTH) / secs;
        self.mean += (latest - self.mean) * (1.0 - (-secs / MEAN_SECS).exp());
        self.windows[self.next_window] = latest;
        self.next_window = (self.next_window + 1) % WINDOWS;
        self.window_start = Some(now);
        self.window_blocks = 0;
        let rate = self.rate();
        if rate > self.best * 1.25 {
            self.best = rate;
            self.flat = 0;
        } else {
            self.flat += 1;
            self.startup &= self.flat < FLAT_WINDOWS;
        }
        let wanted = self.formula(rate);
        self.target = if self.startup { self.target.max(wanted) } else { wanted };
    }

    fn formula(&self, rate: f64) -> u32 {
        let blocks_per_sec = rate / f64::from(BLOCK_LENGTH);
        let delay = self.rtt_min.unwrap_or_default().as_secs_f64();
        let slack = (self.mean / f64::from(BLOCK_LENGTH)).min(SLACK_BLOCKS);
        let wanted = blocks_per_sec * DELAY_GAIN * delay + slack;
        (wanted.ceil() as u32).max(FLOOR).min(self.cap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A link that delivers `rate` bytes/s after `delay`, kept at the depth's target.
    fn settle(rate: u64, delay_millis: u64, cap: u32, secs: u64) -> (Depth, u64) {
        let mut depth = Depth::new(cap);
        let mut in_flight = std::collections::VecDeque::new();
        let (mut now, mut link_free) = (Time::ZERO, Time::ZERO);
        let mut delivered = 0;
        while now < Time::from_secs(secs) {
            while (in_flight.len() as u32) < depth.target() {
                let begin = link_free.max(now + Duration::from_millis(delay_millis));
                link_free = begin + Duration::from_micros(u64::from(BLOCK_LENGTH) * 1_000_000 / rate);
                in_flight.push_back((now, link_free));
            }
            let (sent, arrives) = in_flight.pop_front().unwrap();
            now = arrives;
            depth.on_block(now, sent);
            delivered += u64::from(BLOCK_LENGTH);
        }
        (depth, delivered)
    }

    #[test]
    fn fills_a_long_fat_link() {
        let (depth, delivered) = settle(125_000_000, 200, 2500, 20);
        assert!(depth.target() >= 1700, "{}", depth.target());
        assert!(delivered > 125_000_000 * 18, "{delivered}");
    }

    #[test]
    fn stays_shallow_on_a_slow_link() {
        let (depth, delivered) = settle(50_000, 100, 2500, 60);
        assert!((FLOOR..=16).contains(&depth.target()), "{}", depth.target());
        assert!(delivered > 50_000 * 55);
    }

    #[test]
    fn a_burst_too_short_to_measure_is_no_slow_peer() {
        let mut depth = Depth::new(100);
        for micros in [200, 300, 400] {
            depth.on_block(Time::from_micros(micros), Time::ZERO);
        }
        depth.on_idle();
        assert!(depth.eta_secs(0) < 0.01, "{}", depth.eta_secs(0));
    }

    #[test]
    fn never_beyond_what_the_peer_accepts() {
        assert_eq!(settle(1_000_000_000, 50, 10, 2).0.target(), 10);
        let mut depth = Depth::new(2500);
        depth.set_cap(0);
        assert_eq!(depth.target(), 1);
    }
}
