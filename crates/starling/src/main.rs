//! `starling`, the binary: the command line, nothing else.
//!
//! Every command is a module of [`commands`]; what they do is in `starling-node`
//! (running torrents) and `starling-disk` (making and verifying them).

mod alone;
mod args;
mod bar;
mod commands;
mod eta;
mod facts;
mod givers;
mod interrupt;
mod losses;
mod progress;
mod run;
mod screen;
mod story;
mod text;
mod units;

use std::process::ExitCode;

use clap::Parser;
use serde_json::json;
use starling_disk::DiskError;

use crate::args::{Cli, Command, Talk};
use crate::interrupt::Interrupted;
use crate::run::Exit;

/// A mistake in what the user asked for: exit code 2.
#[derive(Debug)]
pub struct Usage(pub String);

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

fn main() -> ExitCode {
    let cli = Cli::parse();
    interrupt::listen();
    let talk = cli.command.talk().cloned();
    if let Some(talk) = &talk {
        log_to_stderr(talk);
    }
    starling_disk::descriptors::raise();
    let json = talk.as_ref().is_some_and(|talk| talk.json);
    let is_run = matches!(cli.command, Command::Share(_) | Command::Get(_) | Command::Seed(_));
    let ready = if talk.is_some() { starling_disk::descriptors::check() } else { Ok(()) };
    match ready.map_err(Into::into).and_then(|()| commands::dispatch(cli.command)) {
        Ok(exit) => {
            // The other commands' only object is their result.
            if json && is_run {
                result(exit);
            }
            ExitCode::from(exit.code())
        }
        Err(error) if is_interrupt(&error) => {
            if json {
                result(Exit::Interrupted);
            }
            screen::line("starling: interrupted");
            ExitCode::from(Exit::Interrupted.code())
        }
        Err(error) => {
            let text = text::reason(&error);
            if json {
                progress::emit(&json!({ "event": "error", "error": text }));
            }
            screen::line(&format!("starling: {text}"));
            ExitCode::from(if error.is::<Usage>() { 2 } else { Exit::Failed.code() })
        }
    }
}

/// The last object of a command that ran torrents.
fn result(exit: Exit) {
    let result = match exit {
        Exit::Done => "done",
        Exit::Failed => "failed",
        Exit::Interrupted => "interrupted",
    };
    progress::emit(&json!({ "event": "result", "result": result, "code": exit.code() }));
}

fn is_interrupt(error: &anyhow::Error) -> bool {
    error.is::<Interrupted>() || matches!(error.downcast_ref(), Some(DiskError::Cancelled))
}

impl Command {
    /// How the command talks; completions and manual pages have nothing to say.
    fn talk(&self) -> Option<&Talk> {
        match self {
            Command::Share(c) => Some(&c.talk),
            Command::Get(c) => Some(&c.talk),
            Command::Seed(c) => Some(&c.talk),
            Command::Create(c) => Some(&c.talk),
            Command::Show(c) => Some(&c.talk),
            Command::Verify(c) => Some(&c.talk),
            Command::Sim(c) => commands::sim::talk(c),
            Command::Completions { .. } | Command::Man { .. } => None,
        }
    }
}

/// `-v`: what happens; `-vv`: every message. `RUST_LOG` refines it.
fn log_to_stderr(talk: &Talk) {
    use tracing_subscriber::EnvFilter;
    let level = match talk.verbose {
        0 => "error",
        1 => "starling=info,warn",
        2 => "starling=debug,info",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let log = tracing_subscriber::fmt().with_writer(screen::Log::default).with_env_filter(filter);
    let _ = log.with_target(false).with_ansi(screen::is_terminal()).try_init();
}
