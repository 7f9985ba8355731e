//! `starling man`: the manual pages as clap makes them, with synopses that name the values.

use std::io::Result;
use std::path::Path;

use clap::builder::ArgAction;
use clap::{Arg, Command, CommandFactory};

use crate::args::Cli;

/// Writes a page for each command into `dir`.
pub fn write(dir: &Path) -> Result<()> {
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    clap_mangen::generate_to(with_synopsis(command), dir)
}

/// The command and those below it, each with its synopsis.
fn with_synopsis(command: Command) -> Command {
    let synopsis = synopsis(&command);
    let names: Vec<String> = command.get_subcommands().map(|below| below.get_name().to_owned()).collect();
    let command = names.into_iter().fold(command, |all, name| all.mut_subcommand(name, with_synopsis));
    command.override_usage(synopsis)
}

/// `starling get [-o DIR] [--select LIST] … SOURCE...`
fn synopsis(command: &Command) -> String {
    let mut words = vec![command.get_bin_name().unwrap_or(command.get_name()).to_owned()];
    let shown = || command.get_arguments().filter(|arg| !arg.is_hide_set());
    words.extend(shown().filter(|arg| !arg.is_positional()).map(option));
    words.extend(shown().filter(|arg| arg.is_positional()).map(|arg| optional(arg, &values(arg))));
    if command.has_subcommands() {
        words.push("COMMAND".to_owned());
    }
    words.join(" ")
}

fn option(arg: &Arg) -> String {
    let long = || arg.get_long().map(|name| format!("--{name}")).unwrap_or_default();
    let name = arg.get_short().map_or_else(long, |name| format!("-{name}"));
    let range = arg.get_num_args().unwrap_or_default();
    match (range.takes_values(), range.min_values()) {
        (false, _) => optional(arg, &name),
        (true, 0) => optional(arg, &format!("{name} [{}]", values(arg))),
        (true, _) => optional(arg, &format!("{name} {}", values(arg))),
    }
}

fn values(arg: &Arg) -> String {
    let names = arg.get_value_names().unwrap_or_default();
    names.iter().map(clap::builder::Str::as_str).collect::<Vec<_>>().join(" ")
}

/// In brackets unless it must be there, and with dots where there may be more of it.
fn optional(arg: &Arg, text: &str) -> String {
    let more = matches!(arg.get_action(), ArgAction::Append | ArgAction::Count);
    let dots = if more { "..." } else { "" };
    if arg.is_required_set() { format!("{text}{dots}") } else { format!("[{text}]{dots}") }
}
