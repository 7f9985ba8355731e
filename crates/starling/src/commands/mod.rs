//! One module a command.

mod create;
mod get;
mod man;
mod seed;
mod share;
mod show;
pub mod sim;
mod verify;

use std::future::Future;
use std::io::{ErrorKind, Write};

use anyhow::{Context, Result};
use clap::CommandFactory;

use crate::args::{Cli, Command};
use crate::run::Exit;

/// Runs a command to its end.
pub fn dispatch(command: Command) -> Result<Exit> {
    match command {
        Command::Share(args) => share::share(&args),
        Command::Get(args) => block_on(get::get(&args)),
        Command::Seed(args) => block_on(seed::seed(&args)),
        Command::Create(args) => create::create(&args),
        Command::Show(args) => block_on(show::show(&args)),
        Command::Verify(args) => block_on(verify::verify(&args)),
        Command::Sim(args) => sim::sim(&args),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "starling", &mut script);
            print(&script)?;
            Ok(Exit::Done)
        }
        Command::Man { dir } => {
            std::fs::create_dir_all(&dir)
                .with_context(|| format!("cannot make the folder {}", dir.display()))?;
            man::write(&dir).with_context(|| format!("cannot write into {}", dir.display()))?;
            Ok(Exit::Done)
        }
    }
}

/// The command's own thread: it only waits for the node's.
fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

/// Writes results to stdout. A pipe that its reader closed has taken what it wanted.
fn print(bytes: &[u8]) -> Result<()> {
    match std::io::stdout().lock().write_all(bytes) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).context("cannot write to stdout"),
        _ => Ok(()),
    }
}
