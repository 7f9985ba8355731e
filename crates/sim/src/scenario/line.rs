//! Where in a file something is wrong.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The line, from 1, of the byte at `at`.
pub fn line_at(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|&byte| byte == b'\n').count() + 1
}

/// The line, from 1, on which `path` is given a value: names of tables, numbers (from 0) in
/// arrays and a key, with dots between. Of what is not there it is the line of what it would be
/// in; a key without a path may be anywhere; 0 if there is nothing of it.
pub fn line_of(text: &str, path: &str) -> usize {
    let Ok(file) = DeTable::parse(text) else { return 0 };
    let path: Vec<&str> = path.trim_matches(['[', ']']).split('.').collect();
    let table = file.get_ref();
    let found = in_table(table, &path).or_else(|| anywhere(table, path.last()?));
    found.map_or(0, |at| line_at(text, at))
}

fn in_table(table: &DeTable<'_>, path: &[&str]) -> Option<usize> {
    let (name, rest) = path.split_first()?;
    let (key, value) = table.iter().find(|(key, _)| key.get_ref() == name)?;
    Some(in_value(value, rest).unwrap_or(key.span().start))
}

fn in_value(value: &Spanned<DeValue<'_>>, path: &[&str]) -> Option<usize> {
    match value.get_ref() {
        // An array of one may be written as the table alone.
        DeValue::Table(table) if path.first() == Some(&"0") => in_table(table, &path[1..]),
        DeValue::Table(table) => in_table(table, path),
        DeValue::Array(array) => {
            let (number, rest) = path.split_first()?;
            let one = array.get(number.parse::<usize>().ok()?)?;
            Some(in_value(one, rest).unwrap_or(one.span().start))
        }
        _ => None,
    }
}

/// The first place at which `name` is a key.
fn anywhere(table: &DeTable<'_>, name: &str) -> Option<usize> {
    let inside = |value: &Spanned<DeValue<'_>>| match value.get_ref() {
        DeValue::Table(table) => anywhere(table, name),
        DeValue::Array(array) => {
            let tables = array.iter().filter_map(|one| one.get_ref().as_table());
            tables.filter_map(|table| anywhere(table, name)).min()
        }
        _ => None,
    };
    let here = |(key, value): (&Spanned<_>, _)| {
        let own = (AsRef::<str>::as_ref(key.get_ref()) == name).then(|| key.span().start);
        own.into_iter().chain(inside(value)).min()
    };
    table.iter().filter_map(here).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_that_of_the_table_that_is_meant() {
        let text = "about = '''\nnodes = 5\n'''\nnodes = 6\n[churn]\nsession = { mean_s = 1 }\n\
                    absence = { mean_s = 0 }\n[[failure]]\nat_s = 1\nshare = 0.1\n[[failure]]\nat_s = 2\n\
                    [[failure]]\nshare = 7\n";
        for (path, line) in [
            ("nodes", 4),
            ("churn.absence.mean_s", 7),
            ("churn.session", 6),
            ("failure.0.share", 10),
            ("failure.2.share", 14),
            ("failure.1.share", 11),
            ("[churn]", 5),
            ("share", 10),
            ("nothing", 0),
        ] {
            assert_eq!(line_of(text, path), line, "{path}");
        }
        assert_eq!(line_of("no = [file", "no"), 0);
    }
}
