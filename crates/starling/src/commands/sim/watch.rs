//! What a person sees while a simulation runs, and how it is interrupted.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::json;
use starling_sim::runner::Progress;

use crate::args::Talk;
use crate::bar::{self, Fact, Row};
use crate::screen::{self, Live};
use crate::{interrupt, progress};

/// The bar is not redrawn more often than this.
const REDRAW: Duration = Duration::from_millis(125);
/// How often a line is written where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// The progress of all trials as one bar.
pub struct Watch {
    live: Option<Live>,
    json: bool,
    quiet: bool,
    part: String,
    begun: Instant,
    state: Mutex<State>,
}

struct State {
    told: Instant,
    /// Trials under way: the share that is done, and events.
    trials: BTreeMap<usize, (f64, u64)>,
}

impl Watch {
    /// A bar as the flags and the terminal want it, behind what it is the progress of.
    pub fn begin(talk: &Talk, part: &str) -> Watch {
        let quiet = talk.quiet;
        let live = (!quiet && !talk.json && screen::is_terminal()).then(Live::begin);
        let begun = Instant::now();
        Watch {
            live,
            json: talk.json,
            quiet,
            part: part.to_owned(),
            begun,
            state: Mutex::new(State { told: begun, trials: BTreeMap::new() }),
        }
    }

    /// Shows how far a trial is. `false` when somebody has interrupted.
    pub fn tell(&self, progress: &Progress) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.trials.insert(progress.trial, (progress.share, progress.events));
        let every = if self.live.is_some() { REDRAW } else { LINE_EVERY };
        if !self.quiet && state.told.elapsed() >= every {
            state.told = Instant::now();
            self.show(&state, progress);
        }
        !interrupt::is_asked()
    }

    fn show(&self, state: &State, progress: &Progress) {
        let done: f64 = state.trials.values().map(|trial| trial.0).sum();
        let fraction = done / progress.trials.max(1) as f64;
        let events: u64 = state.trials.values().map(|trial| trial.1).sum();
        let rate = events as f64 / self.begun.elapsed().as_secs_f64().max(1e-3);
        let name = format!("{}{}, seed {}", self.part, progress.label, progress.seed);
        let trial = format!("trial {}/{}", progress.trial + 1, progress.trials);
        let percent = format!("{:>3.0}%", fraction * 100.0);
        let rate = format!("{:.1} M events/s", rate / 1e6);
        if self.json {
            progress::emit(&json!({
                "event": "progress", "overlay": progress.label, "seed": progress.seed, "trial": progress.trial,
                "trials": progress.trials, "fraction": fraction, "events": events,
            }));
        } else if let Some(live) = &self.live {
            let fact = |until, text: &str| Fact { until, text: text.to_owned() };
            let facts = vec![fact(5, &percent), fact(3, &trial), fact(2, &rate)];
            let row = Row { name, fraction: Some(fraction), facts };
            live.show(bar::compose(&[row], screen::size().1));
        } else {
            screen::line(&format!("{name}: {}  {trial}  {rate}", percent.trim_start()));
        }
    }
}
