//! `starling`, the binary: the command line, nothing else.
//!
//! Every command is a module of [`commands`]; what they do is in `starling-node`
//! (running torrents) and `starling-disk` (making and verifying them).

mod args;
mod commands;
mod progress;
mod run;
mod units;

use std::process::ExitCode;

use clap::Parser;
use serde_json::json;

use crate::args::{Cli, Command, Talk};
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
    let talk = cli.command.talk();
    if let Some(talk) = talk {
        log_to_stderr(talk);
    }
    let json = talk.is_some_and(|talk| talk.json);
    match commands::dispatch(cli.command) {
        Ok(Exit::Done) => ExitCode::SUCCESS,
        Ok(Exit::Failed) => ExitCode::from(1),
        Ok(Exit::Interrupted) => ExitCode::from(130),
        Err(error) => {
            let text = format!("{error:#}");
            if json {
                progress::emit(&json!({ "event": "error", "error": text }));
            }
            progress::eprint_line(&format!("starling: {text}"));
            ExitCode::from(if error.is::<Usage>() { 2 } else { 1 })
        }
    }
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
    let log = tracing_subscriber::fmt().with_writer(std::io::stderr).with_env_filter(filter);
    let _ = log.with_target(false).try_init();
}
