//! A report as a table for a terminal.

use super::{Interval, Report};

/// The report: what was run, and a row an overlay, a column a figure, the mean and
/// behind it half the width of its 95 % interval.
pub fn table(report: &Report) -> String {
    let title = match report.about.as_str() {
        "" => report.conditions(),
        about => format!("{about}: {}", report.conditions()),
    };
    let head: Vec<String> = std::iter::once("overlay")
        .chain(report.columns.iter().map(|c| c.heading))
        .map(str::to_owned)
        .collect();
    let rows = report.rows.iter().map(|row| {
        let cells = report.columns.iter().map(|column| row.figure(column).map_or("-".into(), |i| cell(&i)));
        std::iter::once(report.label(row)).chain(cells).collect()
    });
    let lines: Vec<Vec<String>> = std::iter::once(head).chain(rows).collect();
    format!("{title}\n{}", lined_up(&lines))
}

/// Lines of as many cells each, the first to the left, the others to the right.
pub(crate) fn lined_up(lines: &[Vec<String>]) -> String {
    let columns = lines.first().map_or(0, Vec::len);
    let widths: Vec<usize> =
        (0..columns).map(|at| lines.iter().map(|line| line[at].chars().count()).max().unwrap_or(0)).collect();
    let mut text = String::new();
    for line in lines {
        let cells = line.iter().zip(&widths).enumerate();
        let cells: Vec<String> = cells.map(|(at, (cell, &width))| padded(cell, width, at == 0)).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

fn padded(cell: &str, width: usize, left: bool) -> String {
    if left { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
}

/// A figure with as many digits as it deserves.
pub fn cell(interval: &Interval) -> String {
    let mean = number(interval.mean);
    match interval.half {
        Some(half) if half > 0.0 => format!("{mean} ±{}", number(half)),
        _ => mean,
    }
}

/// Three significant digits and more, without an exponent.
pub fn number(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 {
        "0".into()
    } else if size >= 1e9 {
        format!("{:.2} G", value / 1e9)
    } else if size >= 1e6 {
        format!("{:.2} M", value / 1e6)
    } else if size >= 1_000.0 {
        format!("{value:.0}")
    } else if size >= 100.0 {
        bare(format!("{value:.1}"))
    } else if size >= 1.0 {
        bare(format!("{value:.2}"))
    } else {
        bare(format!("{value:.4}"))
    }
}

/// Without zeros at the end of the fraction.
fn bare(text: String) -> String {
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_digits_that_matter() {
        for (value, text) in [
            (0.0, "0"),
            (1.0, "1"),
            (5.876, "5.88"),
            (0.98765, "0.9877"),
            (1234.4, "1234"),
            (2.5e6, "2.50 M"),
        ] {
            assert_eq!(number(value), text);
        }
    }
}
