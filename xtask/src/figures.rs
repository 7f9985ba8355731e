//! `cargo xtask figures`: what papers published of the overlays, measured again.
//!
//! The simulator's example `figures` measures and judges; the overlays' example
//! `chord_adversary` plays against Chord. Both are built as they are released. The table
//! goes to stdout and between the marks in docs/overlays.md.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Instant;

use crate::bench::report;
use crate::bench::table::Table;
use crate::workspace;

const HEAD: [&str; 7] = ["overlay", "condition", "figure", "published", "seeds", "measured", "verdict"];
/// Transitions of all games against Chord, a ring for each hundred thousand.
const TRANSITIONS: u64 = 10_000_000;
const A_GAME: u64 = 100_000;
/// Games that run at once.
const PLAYERS: u64 = 2;
const PASS: &str = "pass";

/// Measures everything, or only the figures of `files`, which are written nowhere.
pub fn run(files: &[&str]) -> ExitCode {
    match measured(files) {
        Ok(rows) if rows.iter().all(|row| row.last().is_some_and(|cell| cell == PASS)) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

fn measured(files: &[&str]) -> Result<Vec<Vec<String>>, String> {
    let start = Instant::now();
    let programs = built(&[("starling-sim", "figures"), ("starling-overlay", "chord_adversary")])?;
    let (begun, building) = (Instant::now(), start.elapsed().as_secs());
    let mut rows = figures(&programs[0], files)?;
    if files.is_empty() {
        let at = rows.iter().take_while(|row| row[0].starts_with("chord")).count();
        rows.splice(at..at, adversary(&programs[1])?);
    }
    let mut table = Table::with_left(HEAD.len(), &HEAD);
    rows.iter().for_each(|row| table.row(row.clone()));
    let table = table.render();
    print!("{table}");
    let failed = rows.iter().filter(|row| row.last().is_none_or(|cell| cell != PASS)).count();
    let took = begun.elapsed().as_secs();
    eprintln!("{} figures, {failed} not confirmed; {took} s, and {building} s to build", rows.len());
    if files.is_empty() {
        let head = format!("{} figures, {failed} not confirmed.", rows.len());
        report::write_to("docs/overlays.md", "figures", &format!("{head}\n\n{table}"))?;
    }
    Ok(rows)
}

/// Builds examples, given by package and name, and says where they are.
pub fn built(examples: &[(&str, &str)]) -> Result<Vec<PathBuf>, String> {
    let here = std::env::current_exe().map_err(|error| error.to_string())?;
    let target = here.ancestors().nth(2).ok_or("no target folder")?.join("release/examples");
    for (package, example) in examples {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
        cargo.args(["build", "--release", "--package", package, "--example", example]);
        let status = cargo.current_dir(workspace::root()).stdin(Stdio::null()).status();
        if !status.is_ok_and(|status| status.success()) {
            return Err(format!("{example} does not build"));
        }
    }
    Ok(examples.iter().map(|(_, example)| target.join(example)).collect())
}

fn spawned(command: &mut Command) -> Result<Child, String> {
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    child.map_err(|error| format!("{}: {error}", command.get_program().to_string_lossy()))
}

/// The rows of all figures that scenarios can say. What is measured is the example's
/// word; a line that is no row is passed on.
fn figures(program: &PathBuf, files: &[&str]) -> Result<Vec<Vec<String>>, String> {
    let mut child = spawned(Command::new(program).args(files))?;
    let lines = child.stdout.take().into_iter().flat_map(|stdout| BufReader::new(stdout).lines());
    let rows: Vec<Vec<String>> = lines.map_while(Result::ok).filter_map(|line| row(&line)).collect();
    match child.wait().map_err(|error| error.to_string())?.code() {
        Some(0 | 1) if !rows.is_empty() => Ok(rows),
        code => Err(format!("the figures could not be measured: exit code {code:?}")),
    }
}

/// A line of the example: its cells are divided by tabs.
fn row(line: &str) -> Option<Vec<String>> {
    let cells: Vec<String> = line.split('\t').map(str::to_owned).collect();
    (cells.len() == HEAD.len()).then_some(cells)
}

/// Plays against Chord, with a share of the games for each player.
fn adversary(program: &PathBuf) -> Result<Vec<Vec<String>>, String> {
    eprintln!("chord against an adversary: {TRANSITIONS} transitions");
    let share = TRANSITIONS / PLAYERS;
    let players = (0..PLAYERS).map(|player| {
        let first = player * (share / A_GAME);
        spawned(Command::new(program).args([share.to_string(), first.to_string()]))
    });
    let players: Vec<Child> = players.collect::<Result<_, _>>()?;
    let (mut unbroken, mut all_caught) = (true, true);
    for player in players {
        let output = player.wait_with_output().map_err(|error| error.to_string())?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        eprint!("{said}");
        unbroken &= said.contains("without a violation");
        all_caught &= FAULTY.iter().all(|name| said.contains(&format!("{name}: caught")));
    }
    let rings = TRANSITIONS / A_GAME;
    let condition =
        format!("{rings} rings, 10^7 transitions chosen by an adversary, the invariant checked after each");
    let [broken, missed] = [unbroken, all_caught].map(|good| if good { PASS } else { "FAIL" });
    Ok(vec![
        cells([
            "chord",
            &condition,
            "violations",
            "0",
            &rings.to_string(),
            if unbroken { "0" } else { "some" },
            broken,
        ]),
        cells([
            "chord",
            "as first published; a short join; a rectify that does not check; a ring begun by one node",
            "caught by the checker",
            "4",
            &PLAYERS.to_string(),
            if all_caught { "4" } else { "fewer" },
            missed,
        ]),
    ])
}

/// The faulty protocols, as the example names them.
const FAULTY: [&str; 4] = ["Published", "ShortJoin", "UncheckedRectify", "BegunByOne"];

fn cells(row: [&str; HEAD.len()]) -> Vec<String> {
    row.map(str::to_owned).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_row_if_it_has_all_cells() {
        let line = "chord\tstable\thops\t5.88\t10\t5.9\tpass";
        assert_eq!(row(line), Some(cells(["chord", "stable", "hops", "5.88", "10", "5.9", "pass"])));
        assert_eq!(row("a warning"), None);
    }
}
