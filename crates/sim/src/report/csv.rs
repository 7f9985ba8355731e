//! A report as comma-separated values (RFC 4180).

use super::{COLUMNS, Page, Report};

/// The head of the file.
pub(super) const HEAD: &str = "scenario,overlay,nodes,seed,figure,value\r\n";

/// All that the page shows: what is of other sizes has other nodes, what is of churn another
/// scenario.
pub fn page(page: &Page<'_>) -> String {
    let mut text = HEAD.to_owned();
    for one in [page.report].into_iter().chain(page.sizes).chain(page.churn) {
        lines(one, &mut text);
    }
    text
}

/// A line for each overlay, seed and column that has a value; the first of each seed tells
/// how far it came, since it may have been stopped.
fn lines(report: &Report, text: &mut String) {
    for row in &report.rows {
        for (seed, findings) in &row.trials {
            let reached = ("reached_s", findings.reached.as_secs_f64());
            let figures = COLUMNS.iter().filter_map(|column| Some((column.name, (column.value)(findings)?)));
            for (figure, value) in std::iter::once(reached).chain(figures) {
                let (name, label) = (quoted(&report.name), quoted(&row.label));
                text.push_str(&format!("{name},{label},{},{seed},{figure},{value}\r\n", row.nodes));
            }
        }
    }
}

/// A field, in quotes if it needs them.
pub(crate) fn quoted(field: &str) -> String {
    if field.contains(['"', ',', '\n', '\r']) {
        return format!("\"{}\"", field.replace('"', "\"\""));
    }
    field.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_need_it_are_quoted() {
        assert_eq!(quoted("chord r=8"), "chord r=8");
        assert_eq!(quoted("a \"b\", c"), "\"a \"\"b\"\", c\"");
    }
}
