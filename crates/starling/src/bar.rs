//! Rows of a progress display: a name, a bar, and as many facts as there is room for.
//!
//! All rows share their columns, so that many torrents read as a table. Nothing here
//! knows a terminal: a row is text of a given width.

use console::Style;

use crate::text::{pad, shorten, width};

/// Levels of detail a row can be told in.
pub const LEVELS: usize = 6;
/// A bar below this tells nothing.
const BAR_MIN: usize = 12;
/// Rates are told below this level. Where there is no room for them and a bar, the bar goes.
const RATES_UNTIL: usize = 4;
/// A name keeps this much, come what may.
const NAME_MIN: usize = 8;
/// A bar beyond this tells no more.
const BAR_MAX: usize = 60;
/// A name keeps this much as long as there is something else to leave out.
const NAME_KEPT: usize = 16;
/// Names are cut to these before more details are left out.
const NAMES: [usize; 3] = [36, 22, NAME_KEPT];
/// What separates the columns.
const GAP: usize = 2;

/// What one row tells.
pub struct Row {
    /// The name; may be of any length.
    pub name: String,
    /// How much is done, 0 to 1; `None`: a row of text without a bar.
    pub fraction: Option<f64>,
    /// What stands behind the bar.
    pub facts: Vec<Fact>,
}

/// One column behind the bar. Rows with a bar have the same columns.
pub struct Fact {
    /// The level of detail from which on it is left out; the last level is 5.
    pub until: usize,
    /// What it says; may be empty.
    pub text: String,
}

/// Where the columns are.
struct Columns {
    name: usize,
    bar: usize,
    level: usize,
    facts: Vec<usize>,
}

/// The rows in `columns` columns each.
pub fn compose(rows: &[Row], columns: usize) -> Vec<String> {
    let plan = plan(rows, columns);
    rows.iter().map(|row| one(row, &plan, columns)).collect()
}

fn one(row: &Row, plan: &Columns, columns: usize) -> String {
    let name = pad(&shorten(&row.name, plan.name), plan.name);
    let facts = told(row, plan);
    match row.fraction {
        Some(fraction) if plan.bar > 0 => format!("{name}  {}  {facts}", bar(fraction, plan.bar)),
        _ => shorten(&format!("{name}  {facts}"), columns),
    }
}

/// The facts that are told at this level, in their columns.
fn told(row: &Row, plan: &Columns) -> String {
    if row.fraction.is_none() {
        return row.facts.iter().map(|fact| fact.text.as_str()).collect::<Vec<_>>().join("  ");
    }
    let facts = row.facts.iter().zip(&plan.facts).filter(|(fact, _)| fact.until > plan.level);
    let text: Vec<_> = facts.map(|(fact, width)| pad(text_at(fact, plan.level), *width)).collect();
    text.join("  ").trim_end().to_owned()
}

/// The word `pieces` goes before their number does.
fn text_at(fact: &Fact, level: usize) -> &str {
    if level == 0 { &fact.text } else { fact.text.trim_end_matches(" pieces").trim_end_matches(" piece") }
}

/// The most that fits: first names are cut, then details left out, at last the bar.
fn plan(rows: &[Row], columns: usize) -> Columns {
    let longest = rows.iter().map(|row| width(&row.name)).max().unwrap_or(0);
    let mut tightest = Columns { name: longest.min(NAME_KEPT), bar: 0, level: LEVELS - 1, facts: Vec::new() };
    for level in 0..RATES_UNTIL {
        let facts = widths(rows, level);
        let all = together(&facts);
        for name in NAMES.map(|most| longest.min(most)) {
            let bar = columns.saturating_sub(name + all + 2 * GAP);
            if bar >= BAR_MIN {
                // An even number of cells wobbles less while the facts change.
                return Columns { name, bar: bar.min(BAR_MAX) & !1, level, facts };
            }
        }
    }
    for level in 0..LEVELS {
        let facts = widths(rows, level);
        let room = columns.saturating_sub(together(&facts) + GAP);
        tightest.name = longest.min(NAMES[0]).min(room.max(4));
        (tightest.level, tightest.facts) = (level, facts);
        if room >= longest.min(NAME_MIN) {
            break;
        }
    }
    tightest
}

/// The width of all facts with their gaps.
fn together(facts: &[usize]) -> usize {
    let told = facts.iter().filter(|width| **width > 0);
    told.clone().sum::<usize>() + GAP * told.count().saturating_sub(1)
}

/// The width of each column of facts at a level; 0 for those left out.
fn widths(rows: &[Row], level: usize) -> Vec<usize> {
    let mut widths = Vec::new();
    for row in rows.iter().filter(|row| row.fraction.is_some()) {
        widths.resize(widths.len().max(row.facts.len()), 0);
        for (most, fact) in widths.iter_mut().zip(&row.facts).filter(|(_, fact)| fact.until > level) {
            *most = (*most).max(width(text_at(fact, level)));
        }
    }
    widths
}

/// `━━━━╸────`
fn bar(fraction: f64, cells: usize) -> String {
    let full = (fraction.clamp(0.0, 1.0) * cells as f64) as usize;
    let (done, left) = match cells - full {
        0 => ("━".repeat(full), String::new()),
        left => (format!("{}╸", "━".repeat(full)), "─".repeat(left - 1)),
    };
    let green = Style::new().for_stderr().green().apply_to(done);
    let dim = Style::new().for_stderr().dim().apply_to(left);
    format!("{green}{dim}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str) -> Row {
        let facts =
            [(6, " 64%"), (2, "2560/4000 pieces"), (4, " 112 MB/s"), (3, "3 peers"), (5, "13 s left")];
        let facts = facts.map(|(until, text)| Fact { until, text: text.to_owned() }).into();
        Row { name: name.to_owned(), fraction: Some(0.64), facts }
    }

    #[test]
    fn eighty_columns_show_everything_of_a_short_name() {
        let line = &compose(&[row("ubuntu.iso")], 77)[0];
        assert!(
            line.contains("ubuntu.iso") && line.contains("2560/4000") && line.contains("13 s left"),
            "{line}"
        );
        assert!(width(line) <= 77, "{line}");
    }

    #[test]
    fn every_width_is_kept_and_the_bar_is_sensible_or_absent() {
        for columns in 10..200 {
            for line in compose(&[row("日本語の名前がとても長い🚀.tar.gz"), row("b")], columns)
            {
                assert!(width(&line) <= columns, "{columns}: {line}");
                let cells = line.chars().filter(|c| "━╸─".contains(*c)).count();
                assert!(cells == 0 || (BAR_MIN..=BAR_MAX).contains(&cells), "{columns}: {line}");
                assert!(columns < 60 || cells > 0, "{columns}: {line}");
                let told =
                    ["64%", "112 MB/s", "13 s left"].iter().filter(|fact| line.contains(**fact)).count();
                assert!(columns < 37 || told == 3, "{columns}: {line}");
            }
        }
    }

    #[test]
    fn many_rows_share_their_columns() {
        let lines = compose(&[row("a"), row("a longer name"), row("middle")], 77);
        let at: Vec<_> = lines.iter().map(|line| line.find('━').map(|at| width(&line[..at]))).collect();
        assert!(at[0].is_some() && at.iter().all(|a| *a == at[0]), "{lines:?}");
    }

    #[test]
    fn a_bar_is_full_only_when_all_is_done() {
        let cells = |fraction: f64| bar(fraction, 12).replace(|c: char| !"━╸─".contains(c), "");
        assert_eq!(cells(0.0), "╸───────────");
        assert_eq!(cells(0.9999), "━━━━━━━━━━━╸");
        assert_eq!(cells(1.0), "━".repeat(12));
    }
}
