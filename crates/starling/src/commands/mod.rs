//! One module a command.

mod create;
mod get;
mod seed;
mod share;
mod show;
mod verify;

use std::future::Future;

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
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "starling", &mut std::io::stdout());
            Ok(Exit::Done)
        }
        Command::Man { dir } => {
            std::fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
            clap_mangen::generate_to(Cli::command(), &dir).with_context(|| dir.display().to_string())?;
            Ok(Exit::Done)
        }
    }
}

/// The command's own thread: it only waits for the node's.
fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}
