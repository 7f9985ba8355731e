//! The excuses that are written down, in `xtask/tidy.txt`. They only shrink.

use std::path::PathBuf;

use super::measure::{Finding, Measure};
use crate::workspace;

/// One line of the baseline: this place may be this much beyond the goal, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excuse {
    /// What may be too large, where, and the largest number that passes.
    pub finding: Finding,
    /// Why.
    pub reason: String,
}

/// The file.
pub fn path() -> PathBuf {
    workspace::root().join("xtask/tidy.txt")
}

/// Reads the excuses; a line that says nothing sensible is an error.
pub fn parse(text: &str) -> Result<Vec<Excuse>, String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| excuse(line).ok_or(format!("xtask/tidy.txt: cannot read `{line}`"))).collect()
}

fn excuse(line: &str) -> Option<Excuse> {
    let mut words = line.splitn(4, char::is_whitespace);
    let name = words.next()?;
    let measure = Measure::ALL.into_iter().find(|measure| measure.name() == name)?;
    let place = words.next()?.to_owned();
    let value = words.next()?.parse().ok()?;
    let reason = words.next().filter(|reason| !reason.trim().is_empty())?.to_owned();
    Some(Excuse { finding: Finding { measure, place, value }, reason })
}

/// The complaints about `findings`: beyond the goal, and beyond what is excused.
pub fn complaints(findings: &[Finding], excuses: &[Excuse]) -> Vec<String> {
    let beyond = findings.iter().filter(|finding| finding.value > allowed(finding, excuses));
    beyond.map(|finding| complaint(finding, allowed(finding, excuses))).collect()
}

fn complaint(finding: &Finding, allowed: u64) -> String {
    let Finding { measure, place, value } = finding;
    format!("{place}: {} {value}, at most {allowed}: {}", measure.name(), measure.advice())
}

fn allowed(finding: &Finding, excuses: &[Excuse]) -> u64 {
    let excused = excuses.iter().filter(|e| same_place(&e.finding, finding)).map(|e| e.finding.value).max();
    excused.unwrap_or(0).max(finding.measure.goal())
}

/// The excuses as they could be now: none larger, those not needed any more gone.
pub fn lowered(findings: &[Finding], excuses: &[Excuse]) -> Vec<Excuse> {
    let shrink = |excuse: &Excuse| {
        let found = findings.iter().filter(|f| same_place(f, &excuse.finding)).map(|f| f.value).max()?;
        let mut excuse = excuse.clone();
        excuse.finding.value = excuse.finding.value.min(found);
        (found > excuse.finding.measure.goal()).then_some(excuse)
    };
    excuses.iter().filter_map(shrink).collect()
}

fn same_place(a: &Finding, b: &Finding) -> bool {
    a.measure == b.measure && a.place == b.place
}

/// The file's text for these excuses.
pub fn render(excuses: &[Excuse]) -> String {
    let mut out = String::from(HEAD);
    for Excuse { finding, reason } in excuses {
        out.push_str(&format!("{} {} {} {reason}\n", finding.measure.name(), finding.place, finding.value));
    }
    out
}

const HEAD: &str = "\
# What is beyond the goals of `cargo xtask tidy`, and why.
# A line: measure, place, largest number that passes, reason.
# Numbers only go down (`cargo xtask tidy --update`); a new line wants a good reason.
";

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(value: u64) -> Finding {
        Finding { measure: Measure::FileLines, place: "crates/a/src/b.rs".into(), value }
    }

    #[test]
    fn the_ratchet_turns_one_way() {
        let excuses = parse("# head\nfile-lines crates/a/src/b.rs 600 a table of constants\n").unwrap();
        assert_eq!(complaints(&[finding(600)], &excuses).len(), 0);
        assert_eq!(complaints(&[finding(601)], &excuses).len(), 1);
        assert_eq!(lowered(&[finding(700)], &excuses), excuses);
        assert_eq!(lowered(&[finding(550)], &excuses)[0].finding.value, 550);
        assert_eq!(lowered(&[finding(500)], &excuses), []);
        assert_eq!(lowered(&[], &excuses), []);
        assert_eq!(parse(&render(&excuses)).unwrap(), excuses);
    }

    #[test]
    fn an_excuse_needs_a_reason() {
        assert!(parse("file-lines a.rs 600").is_err());
        assert!(parse("file-lines a.rs many because").is_err());
        assert!(parse("height a.rs 600 because").is_err());
    }
}
