//! A report as comma-separated values (RFC 4180).

use super::{COLUMNS, Report};

/// A line for each overlay, seed and column that has a value.
pub fn report(report: &Report) -> String {
    let mut text = String::from("scenario,overlay,nodes,seed,figure,value\r\n");
    for row in &report.rows {
        for (seed, findings) in &row.trials {
            for column in &COLUMNS {
                if let Some(value) = (column.value)(findings) {
                    let (name, label) = (quoted(&report.name), quoted(&row.label));
                    let line = format!("{name},{label},{},{seed},{},{value}\r\n", row.nodes, column.name);
                    text.push_str(&line);
                }
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
