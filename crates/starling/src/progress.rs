//! What a person sees while something runs: bars on a terminal, a line now and then
//! elsewhere; JSON objects for programs.

use std::io::Write;
use std::ops::ControlFlow;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use starling_node::{Progress, State};

use crate::args::Talk;
use crate::eta::Eta;
use crate::facts::Seen;
use crate::screen::{self, Live};
use crate::text::printable;
use crate::{bar, facts, interrupt, units};

/// How often torrents are looked at.
pub const TICK: Duration = Duration::from_millis(250);
/// A step is not redrawn more often than this.
const REDRAW: Duration = Duration::from_millis(125);
/// How often a JSON object of a torrent is written, unless its state changes.
const OBJECT_EVERY: Duration = Duration::from_millis(200);
/// How often a line is written where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);
/// Rows of a terminal left to what was said before.
const ROWS_KEPT: usize = 4;
/// Rows at most, on however high a terminal.
const ROWS_MAX: usize = 40;

/// Where the progress of torrents goes.
pub struct View {
    mode: Mode,
    /// When torrents were last written of, and their states then.
    last: Option<Instant>,
    told: Vec<State>,
    etas: Vec<Eta>,
    quiet: bool,
}

enum Mode {
    Live(Live),
    Lines,
    Objects,
    Silent,
}

impl View {
    /// A view as the flags and the terminal want it.
    pub fn new(talk: &Talk) -> View {
        let mode = match talk {
            Talk { json: true, .. } => Mode::Objects,
            Talk { quiet: true, .. } => Mode::Silent,
            _ if screen::is_terminal() => Mode::Live(Live::begin()),
            _ => Mode::Lines,
        };
        View { mode, last: None, told: Vec::new(), etas: Vec::new(), quiet: talk.quiet || talk.json }
    }

    /// Shows where the torrents are, always the same ones in the same order. Those that are
    /// `over` get no row.
    pub fn update(&mut self, torrents: &[Progress], over: impl Fn(&Progress) -> bool) {
        let now = Instant::now();
        self.etas.resize_with(torrents.len(), Eta::default);
        let lefts = self.etas.iter_mut().zip(torrents).map(|(eta, p)| eta.look(now, p));
        let seen: Vec<Seen<'_>> = torrents.iter().zip(lefts).map(|(p, left)| Seen { p, left }).collect();
        match &self.mode {
            Mode::Live(live) => {
                live.show(rows(seen.into_iter().filter(|seen| !over(seen.p)).collect()));
            }
            Mode::Lines => {
                for seen in self.news(seen, LINE_EVERY).into_iter().filter(|seen| !over(seen.p)) {
                    // That the disk is looked at is no news until it takes a while.
                    if !matches!(seen.p.state, State::Checking { total: 0, .. }) {
                        screen::line(&facts::line(seen));
                    }
                }
            }
            Mode::Objects => {
                self.news(seen, OBJECT_EVERY).into_iter().for_each(|seen| emit(&facts::object(seen)));
            }
            Mode::Silent => {}
        }
    }

    /// The torrents to write of: all after a while, before that those in a new state.
    fn news<'a>(&mut self, torrents: Vec<Seen<'a>>, every: Duration) -> Vec<Seen<'a>> {
        let states: Vec<State> = torrents.iter().map(|seen| coarse(&seen.p.state)).collect();
        let is_due = self.last.is_none_or(|at| at.elapsed() >= every);
        let is_new = |at: usize| is_due || self.told.get(at) != states.get(at);
        let news = torrents.into_iter().enumerate().filter(|(at, _)| is_new(*at)).map(|(_, p)| p).collect();
        if is_due {
            self.last = Some(Instant::now());
        }
        self.told = states;
        news
    }

    /// Says something once, above the rows.
    pub fn say(&self, text: &str) {
        if !self.quiet {
            screen::line(&printable(text));
        }
    }

    /// An object for programs; nothing without `--json`.
    pub fn event(&self, value: &Value) {
        if matches!(self.mode, Mode::Objects) {
            emit(value);
        }
    }
}

/// As many rows as the terminal has room for; the rest share one.
fn rows(mut torrents: Vec<Seen<'_>>) -> Vec<String> {
    let (height, columns) = screen::size();
    let most = height.saturating_sub(ROWS_KEPT).clamp(1, ROWS_MAX);
    let own = if torrents.len() <= most { torrents.len() } else { most - 1 };
    if torrents.len() > own {
        torrents.sort_by_key(|seen| seen.p.peers + seen.p.web_seeds == 0); // those that run come first
    }
    let shown: Vec<_> = torrents.iter().take(own).map(|&seen| facts::row(seen)).collect();
    let mut rows = bar::compose(&shown, columns);
    if torrents.len() > own {
        let rest = &torrents[own..];
        let rate: u64 = rest.iter().map(|seen| seen.p.down_rate + seen.p.up_rate).sum();
        rows.push(format!("and {} at {}", units::count(rest.len(), "more torrent"), units::rate(rate)));
    }
    rows
}

/// The state without what changes all the time.
fn coarse(state: &State) -> State {
    match state {
        State::Checking { total, .. } => State::Checking { done: 0, total: *total },
        other => other.clone(),
    }
}

/// The progress of a step without peers: hashing, verifying.
pub struct Step {
    what: String,
    begun: Instant,
    told: Mutex<Instant>,
    mode: Mode,
}

impl Step {
    /// Begins to do `what`: "hashing x.iso".
    pub fn begin(talk: &Talk, what: &str) -> Step {
        let now = Instant::now();
        Step { what: printable(what), begun: now, told: Mutex::new(now), mode: View::new(talk).mode }
    }

    /// So many bytes are done, of so many. Breaks when somebody has interrupted.
    pub fn set(&self, done: u64, total: u64) -> ControlFlow<()> {
        let every = match self.mode {
            Mode::Live(_) => REDRAW,
            Mode::Lines => LINE_EVERY,
            Mode::Objects | Mode::Silent => OBJECT_EVERY,
        };
        // Whoever finds it locked leaves the telling to the other thread.
        if let Ok(mut told) = self.told.try_lock()
            && told.elapsed() >= every
        {
            *told = Instant::now();
            self.tell(done, total);
        }
        if interrupt::is_asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn tell(&self, done: u64, total: u64) {
        let millis = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX).max(1);
        let rate = done.saturating_mul(1000) / millis;
        let row = facts::step(&self.what, done, total, rate);
        match &self.mode {
            Mode::Live(live) => live.show(bar::compose(&[row], screen::size().1)),
            Mode::Lines => {
                let facts: Vec<_> = row.facts.iter().map(|fact| fact.text.trim()).collect();
                screen::line(&format!("{}: {}", self.what, facts.join(" ")));
            }
            Mode::Objects => emit(&json!({
                "event": "progress", "state": "hashing", "bytes_done": done, "bytes_wanted": total, "rate": rate,
            })),
            Mode::Silent => {}
        }
    }
}

/// One JSON object as a line on stdout. A closed pipe is the reader's wish, not an error.
pub fn emit(value: &Value) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{value}");
    let _ = out.flush();
}
