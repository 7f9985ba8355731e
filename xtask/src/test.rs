//! `cargo xtask test`: everything that must pass before a change lands.
//!
//! All steps run even when one fails, so that one run tells everything. The last
//! line counts tests, and one for each step that is not a test runner.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use crate::{install, tidy, workspace};

/// The fuzz and interop crates are tested in steps of their own.
const APART: [&str; 4] = ["--exclude", "starling-fuzz", "--exclude", "starling-interop"];

/// How the tests were asked for.
struct Options {
    /// Missing real programs are installed first.
    install: bool,
    /// A skipped test is a failure.
    ci: bool,
}

/// What came of one step.
#[derive(Default)]
struct Outcome {
    passed: u64,
    failed: u64,
    skipped: Vec<String>,
    note: String,
}

/// A step's name, and how long it took.
struct Row {
    name: &'static str,
    took: Duration,
    outcome: Outcome,
}

type Step = (&'static str, fn(&Options) -> Outcome);

const STEPS: [Step; 11] = [
    ("real programs", install_programs),
    ("format", |_| cargo(&["fmt", "--all", "--check"])),
    ("clippy", |_| cargo(&["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"])),
    ("tests", |_| {
        let _ = std::fs::remove_dir_all(traces("debug"));
        let what = [&["--workspace", "--lib", "--bins", "--tests", "--examples"], &APART[..]].concat();
        run_tests(test_command(&what).env(TRACES, traces("debug")))
    }),
    ("release traces", |_| same_traces()),
    ("doc tests", |_| tests(&[&["--workspace", "--doc"], &APART[..]].concat())),
    ("rustdoc", |_| rustdoc()),
    ("fuzz corpora", |_| tests(&["--package", "starling-fuzz"])),
    ("interop", interop),
    ("cargo deny", |_| deny()),
    ("tidy", |_| Outcome::from_code(tidy::run(&[]) == ExitCode::SUCCESS)),
];

/// Runs all steps, prints the table and the closing line.
pub fn run(args: &[&str]) -> ExitCode {
    let ci = std::env::var_os("CI").is_some_and(|value| value == "true") || args.contains(&"--ci");
    if args.iter().any(|arg| !matches!(*arg, "--ci" | "--install")) {
        return crate::usage();
    }
    let options = Options { install: ci || args.contains(&"--install"), ci };
    let rows: Vec<Row> = STEPS.into_iter().map(|step| run_step(step, &options)).collect();
    close(&rows, &options)
}

fn run_step((name, step): Step, options: &Options) -> Row {
    println!("\n== {name}");
    let start = Instant::now();
    let outcome = step(options);
    Row { name, took: start.elapsed(), outcome }
}

/// The table, the names of what was skipped, the closing line, and the exit code.
fn close(rows: &[Row], options: &Options) -> ExitCode {
    println!("\n{:<14} {:>8}  result", "step", "time");
    for Row { name, took, outcome } in rows {
        println!("{name:<14} {:>6.1} s  {}", took.as_secs_f64(), outcome.summary());
    }
    let outcomes = || rows.iter().map(|row| &row.outcome);
    let skipped: Vec<&String> = outcomes().flat_map(|outcome| &outcome.skipped).collect();
    skipped.iter().for_each(|skip| println!("SKIPPED {skip}"));
    let late = if options.ci { skipped.len() as u64 } else { 0 };
    let failed = outcomes().map(|outcome| outcome.failed).sum::<u64>() + late;
    let passed: u64 = outcomes().map(|outcome| outcome.passed).sum();
    let tail = if skipped.is_empty() { String::new() } else { format!(", {} skipped", skipped.len()) };
    println!("\n{passed} passed, {failed} failed{tail}");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

impl Outcome {
    /// A step that is one check.
    fn from_code(success: bool) -> Outcome {
        Outcome { passed: u64::from(success), failed: u64::from(!success), ..Outcome::default() }
    }

    fn summary(&self) -> String {
        let verdict = if self.failed > 0 { "FAILED" } else { "ok" };
        let mut out = format!("{verdict:<6}  {} passed, {} failed", self.passed, self.failed);
        if !self.skipped.is_empty() {
            out.push_str(&format!(", {} skipped", self.skipped.len()));
        }
        if !self.note.is_empty() {
            out.push_str(&format!("  ({})", self.note));
        }
        out
    }
}

fn install_programs(options: &Options) -> Outcome {
    if !options.install {
        return Outcome { note: "as they are; --install gets them".into(), ..Outcome::default() };
    }
    match install::missing_programs() {
        Ok(()) => Outcome::from_code(true),
        Err(problem) => Outcome { note: problem, ..Outcome::from_code(false) },
    }
}

/// A cargo command in the root, with nothing to read from.
fn cargo_command(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    command.args(args).current_dir(workspace::root()).stdin(Stdio::null());
    command
}

/// A cargo command as one check.
fn cargo(args: &[&str]) -> Outcome {
    Outcome::from_code(cargo_command(args).status().is_ok_and(|status| status.success()))
}

/// The documentation of what is public, without a warning.
fn rustdoc() -> Outcome {
    let mut command = cargo_command(&["doc", "--workspace", "--no-deps", "--quiet"]);
    let status = command.env("RUSTDOCFLAGS", "-D warnings").status();
    Outcome::from_code(status.is_ok_and(|status| status.success()))
}

/// Licences, bans, sources and advisories, where cargo-deny is installed.
fn deny() -> Outcome {
    let installed =
        cargo_command(&["deny", "--version"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    if installed.is_ok_and(|status| status.success()) {
        return cargo(&["deny", "--log-level", "error", "check"]);
    }
    Outcome { note: "cargo-deny is not installed".into(), ..Outcome::default() }
}

/// A cargo test of these packages and targets.
fn tests(args: &[&str]) -> Outcome {
    run_tests(&mut test_command(args))
}

fn test_command(args: &[&str]) -> Command {
    cargo_command(&[&["test", "--no-fail-fast"], args].concat())
}

/// Where the simulator's tests write the hashes of their traces, if it is set.
const TRACES: &str = "STARLING_TRACES";

/// The folder of the traces of a profile's build.
fn traces(profile: &str) -> PathBuf {
    workspace::root().join("target/traces").join(profile)
}

/// The simulator's tests once more in release: the same scenarios and seeds give the same
/// traces as in debug, in the step before.
fn same_traces() -> Outcome {
    let _ = std::fs::remove_dir_all(traces("release"));
    let tests = ["--test", "lives", "--test", "scenarios", "--test", "swarm"];
    let what = [&["--release", "--package", "starling-sim"], &tests[..]].concat();
    let mut outcome = run_tests(test_command(&what).env(TRACES, traces("release")));
    let (debug, release) = (read_folder(&traces("debug")), read_folder(&traces("release")));
    let same = !debug.is_empty() && debug == release;
    outcome.passed += u64::from(same);
    outcome.failed += u64::from(!same);
    if !same {
        let differ = |name: &&String| debug.get(*name) != release.get(*name);
        let names: BTreeSet<&String> = debug.keys().chain(release.keys()).filter(differ).collect();
        outcome.note = format!("debug and release differ: {names:?}");
    }
    outcome
}

/// The files of a folder with their contents.
fn read_folder(folder: &Path) -> BTreeMap<String, String> {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let read = |file: std::fs::DirEntry| {
        let name = file.file_name().into_string().ok()?;
        Some((name, std::fs::read_to_string(file.path()).ok()?))
    };
    files.filter_map(read).collect()
}

/// The real programs against the binary that is built for it.
fn interop(_: &Options) -> Outcome {
    let built = cargo(&["build", "--package", "starling"]);
    if built.failed > 0 {
        return Outcome { note: "starling does not build".into(), ..built };
    }
    let skips = skip_file();
    let mut command = cargo_command(&["test", "--no-fail-fast", "--package", "starling-interop"]);
    let mut outcome = run_tests(command.env("STARLING_SKIPS", &skips));
    let text = std::fs::read_to_string(&skips).unwrap_or_default();
    outcome.skipped = text.lines().map(str::to_owned).collect();
    outcome.passed = outcome.passed.saturating_sub(outcome.skipped.len() as u64);
    let _ = std::fs::remove_file(skips);
    outcome
}

/// Where interop tests write down what they could not run. A runner of Rust's
/// tests knows no skip at run time, so it counts them as passed; we do not.
fn skip_file() -> PathBuf {
    std::env::temp_dir().join(format!("starling-skips-{}", std::process::id()))
}

/// Runs a cargo test command, passes its lines on, and adds up its closing lines.
fn run_tests(command: &mut Command) -> Outcome {
    let Ok(mut child) = command.stdout(Stdio::piped()).spawn() else { return Outcome::from_code(false) };
    let mut outcome = Outcome::default();
    let lines = child.stdout.take().into_iter().flat_map(|stdout| BufReader::new(stdout).lines());
    for line in lines.map_while(Result::ok) {
        let _ = writeln!(std::io::stdout(), "{line}");
        let (passed, failed) = closing_line(&line).unwrap_or((0, 0));
        outcome.passed += passed;
        outcome.failed += failed;
    }
    if !child.wait().is_ok_and(|status| status.success()) && outcome.failed == 0 {
        outcome.failed = 1; // it did not build, or died
    }
    outcome
}

/// Passed and failed in `test result: ok. 3 passed; 0 failed; ...`.
fn closing_line(line: &str) -> Option<(u64, u64)> {
    let counts = line.strip_prefix("test result: ")?.split_once(". ")?.1;
    let mut numbers = counts.split("; ").filter_map(|part| part.split(' ').next()?.parse().ok());
    Some((numbers.next()?, numbers.next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runners_closing_line_is_read() {
        let line = "test result: FAILED. 12 passed; 3 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s";
        assert_eq!(closing_line(line), Some((12, 3)));
        assert_eq!(closing_line("test result: ok"), None);
    }
}
