//! What a person sees while torrents run: bars on a terminal, a line now and then
//! elsewhere, JSON objects for programs.

use std::io::{IsTerminal, Write};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};
use starling_node::{Progress, State};

use crate::args::Talk;
use crate::units;

/// How often a bar is redrawn, and a JSON object written.
pub const TICK: Duration = Duration::from_millis(250);
/// How often a line is written where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);
/// Torrents with a bar of their own; the rest share a line.
const BARS_MAX: usize = 12;

/// Where progress goes.
pub struct View {
    mode: Mode,
    quiet: bool,
    json: bool,
}

enum Mode {
    Bars { multi: MultiProgress, bars: Vec<ProgressBar>, rest: ProgressBar },
    Lines { last: Option<Instant>, told: Vec<State> },
    Silent,
}

impl View {
    /// A view for `count` torrents, as the flags and the terminal want it.
    pub fn new(talk: &Talk, count: usize) -> View {
        let mode = if talk.quiet || talk.json {
            Mode::Silent
        } else if std::io::stderr().is_terminal() {
            Mode::bars(count)
        } else {
            Mode::Lines { last: None, told: Vec::new() }
        };
        View { mode, quiet: talk.quiet, json: talk.json }
    }

    /// Shows where the torrents are.
    pub fn update(&mut self, torrents: &[Progress]) {
        if self.json {
            torrents.iter().for_each(|p| emit(&json_progress(p)));
        }
        match &mut self.mode {
            Mode::Bars { bars, rest, .. } => {
                for (bar, progress) in bars.iter().zip(torrents) {
                    draw(bar, progress);
                }
                if torrents.len() > bars.len() {
                    rest.set_message(summary(&torrents[bars.len()..]));
                    rest.tick();
                }
            }
            Mode::Lines { last, told } => {
                let states: Vec<State> = torrents.iter().map(|p| coarse(&p.state)).collect();
                if states != *told || last.is_none_or(|at| at.elapsed() >= LINE_EVERY) {
                    torrents.iter().for_each(|p| eprint_line(&line(p)));
                    (*last, *told) = (Some(Instant::now()), states);
                }
            }
            Mode::Silent => {}
        }
    }

    /// Says something once, above the bars.
    pub fn say(&self, text: &str) {
        match &self.mode {
            _ if self.quiet || self.json => {}
            Mode::Bars { multi, .. } => multi.suspend(|| eprint_line(text)),
            _ => eprint_line(text),
        }
    }

    /// An object for programs; nothing without `--json`.
    pub fn event(&self, value: &Value) {
        if self.json {
            emit(value);
        }
    }

    /// Takes the bars away, so that what follows stands on clean lines.
    pub fn end(&mut self) {
        if let Mode::Bars { multi, .. } = &self.mode {
            let _ = multi.clear();
        }
        if !matches!(self.mode, Mode::Silent) {
            self.mode = Mode::Silent;
        }
    }
}

impl Mode {
    fn bars(count: usize) -> Mode {
        let multi = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(8));
        let bars = (0..count.min(BARS_MAX)).map(|_| multi.add(ProgressBar::new(1).with_style(style())));
        let bars = bars.collect();
        let rest = multi.add(ProgressBar::new_spinner());
        rest.set_style(ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_bar()));
        Mode::Bars { multi, bars, rest }
    }
}

/// One bar for a step without peers: hashing, checking.
pub struct StepBar(Option<ProgressBar>);

impl StepBar {
    /// A bar over `total` bytes, where a terminal can show it.
    pub fn new(talk: &Talk, what: &str, total: u64) -> StepBar {
        if talk.quiet || talk.json || !std::io::stderr().is_terminal() {
            return StepBar(None);
        }
        let template = "{prefix} [{wide_bar:.green/238}] {bytes}/{total_bytes}  {bytes_per_sec}  {eta}";
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr_with_hz(8));
        StepBar(Some(bar.with_style(style.progress_chars("━╸─")).with_prefix(what.to_owned())))
    }

    /// So many bytes are done, of so many.
    pub fn set(&self, done: u64, total: u64) -> ControlFlow<()> {
        if let Some(bar) = &self.0 {
            bar.set_length(total);
            bar.set_position(done);
        }
        ControlFlow::Continue(())
    }

    /// Takes the bar away.
    pub fn clear(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{prefix:.bold} [{wide_bar:.green/238}] {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("━╸─")
}

fn draw(bar: &ProgressBar, p: &Progress) {
    let (done, total) = match p.state {
        State::Checking { done, total } => (u64::from(done), u64::from(total)),
        _ => (p.bytes_done, p.bytes_wanted),
    };
    bar.set_length(total.max(1));
    bar.set_position(done);
    bar.set_prefix(short_name(p));
    bar.set_message(details(p));
}

/// A name cut in the middle, so that its ending stays.
fn short_name(p: &Progress) -> String {
    const WIDTH: usize = 28;
    let name: Vec<char> = name(p).chars().filter(|c| !c.is_control()).collect();
    if name.len() <= WIDTH {
        return name.into_iter().collect();
    }
    let head: String = name[..WIDTH - 11].iter().collect();
    let tail: String = name[name.len() - 10..].iter().collect();
    format!("{head}…{tail}")
}

fn name(p: &Progress) -> String {
    p.name.clone().unwrap_or_else(|| p.hashes.to_string())
}

fn details(p: &Progress) -> String {
    let sources = if p.web_seeds > 0 {
        format!("{}, {}", units::count(p.peers, "peer"), units::count(p.web_seeds, "web seed"))
    } else {
        units::count(p.peers, "peer")
    };
    match &p.state {
        State::Metadata => format!("asking what it contains · {sources}"),
        State::Checking { done, total } => format!("checking · {done}/{total} pieces"),
        State::Seeding => {
            format!("seeding · {} · {} sent · {sources}", units::rate(p.up_rate), units::bytes(p.uploaded))
        }
        State::Paused(why) => format!("waiting: {why}"),
        State::Failed(why) => format!("failed: {why}"),
        State::Downloading => {
            let left = match p.seconds_left() {
                Some(secs) => format!("{} left", units::duration(secs)),
                None if p.bytes_done >= p.bytes_wanted => "finishing".to_owned(),
                None => "looking for peers".to_owned(),
            };
            let percent = 100 * p.bytes_done / p.bytes_wanted.max(1);
            format!(
                "{percent}% · {}/{} pieces · {} · {sources} · {left}",
                p.pieces,
                p.pieces_total,
                units::rate(p.down_rate)
            )
        }
    }
}

fn line(p: &Progress) -> String {
    let size = match p.state {
        State::Downloading => {
            format!(" · {}/{}", units::bytes(p.bytes_done), units::bytes(p.bytes_wanted))
        }
        _ => String::new(),
    };
    format!("{}: {}{size}", name(p), details(p))
}

fn summary(torrents: &[Progress]) -> String {
    let done = torrents.iter().filter(|p| p.state == State::Seeding).count();
    let rate: u64 = torrents.iter().map(|p| p.down_rate).sum();
    format!("and {} more: {done} complete · {}", units::count(torrents.len(), "torrent"), units::rate(rate))
}

/// The state without what changes all the time.
fn coarse(state: &State) -> State {
    match state {
        State::Checking { .. } => State::Checking { done: 0, total: 0 },
        other => other.clone(),
    }
}

fn json_progress(p: &Progress) -> Value {
    let (state, why) = match &p.state {
        State::Metadata => ("metadata", None),
        State::Checking { .. } => ("checking", None),
        State::Downloading => ("downloading", None),
        State::Seeding => ("seeding", None),
        State::Paused(why) => ("paused", Some(why)),
        State::Failed(why) => ("failed", Some(why)),
    };
    json!({
        "event": "progress", "info_hash": p.hashes.to_string(), "name": p.name, "state": state, "why": why,
        "pieces": p.pieces, "pieces_total": p.pieces_total,
        "bytes_done": p.bytes_done, "bytes_wanted": p.bytes_wanted,
        "down_rate": p.down_rate, "up_rate": p.up_rate,
        "downloaded": p.downloaded, "uploaded": p.uploaded, "wasted": p.wasted,
        "peers": p.peers, "seeds": p.seeds, "web_seeds": p.web_seeds, "known_peers": p.known_peers,
        "seconds_left": p.seconds_left(),
        "banned": p.banned.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

/// One JSON object as a line on stdout. A closed pipe is the reader's wish, not an error.
pub fn emit(value: &Value) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{value}");
    let _ = out.flush();
}

/// One line on stderr.
pub fn eprint_line(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
