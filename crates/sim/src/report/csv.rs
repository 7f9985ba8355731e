//! A report as comma-separated values (RFC 4180).

use super::{COLUMNS, Report};

/// A line for each overlay, seed and column that has a value; the first of each seed tells
/// how far it came, since it may have been stopped.
pub fn report(report: &Report) -> String {
    let mut text = String::from("scenario,overlay,nodes,seed,figure,value\r\n");
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
    text
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
