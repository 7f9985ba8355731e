//! Text of strangers and of the system, made fit for a terminal.

use std::path::Path;

use console::measure_text_width;
use starling_node::without_userinfo;

/// `text` without what a terminal obeys, or what makes it read as another text than it is.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || is_mark(c) { '\u{fffd}' } else { c }).collect()
}

/// Marks without a width of their own that turn or break the text around them.
fn is_mark(c: char) -> bool {
    matches!(c,
        '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// Columns that `text` takes.
pub fn width(text: &str) -> usize {
    measure_text_width(text)
}

/// `text` in at most `columns`, cut in the middle so that its ending stays.
pub fn shorten(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let room = columns.saturating_sub(1);
    let tail = room / 3;
    let head = take(text.chars(), room - tail);
    let tail: String = take(text.chars().rev(), tail).chars().rev().collect();
    format!("{head}…{tail}").chars().take(columns).collect()
}

fn take(chars: impl Iterator<Item = char>, columns: usize) -> String {
    let mut text = String::new();
    for c in chars {
        text.push(c);
        if width(&text) > columns {
            text.pop();
            break;
        }
    }
    text
}

/// An address fit for a terminal, without the password that may be in it.
pub fn address(url: &str) -> String {
    printable(&without_userinfo(url))
}

/// `text` and spaces up to `columns`.
pub fn pad(text: &str, columns: usize) -> String {
    format!("{text}{}", " ".repeat(columns.saturating_sub(width(text))))
}

/// A folder within a sentence: one that is called `.` reads like its end.
pub fn folder(dir: &Path) -> String {
    let here = dir.as_os_str().is_empty() || dir == Path::new(".");
    if here { "this folder".to_owned() } else { printable(&dir.display().to_string()) }
}

/// An error and its causes as one sentence, each thing said once.
pub fn reason(error: &anyhow::Error) -> String {
    let mut said = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if said.is_empty() {
            said = cause;
        } else if !said.contains(&cause) {
            said = format!("{said}: {cause}");
        }
    }
    plain(&said)
}

/// A sentence of the system without its number, in one printable line.
pub fn plain(text: &str) -> String {
    let mut rest = text;
    let mut said = String::new();
    while let Some((before, after)) = rest.split_once(" (os error ") {
        let Some((number, after)) = after.split_once(')') else { break };
        said.push_str(before);
        if number.parse::<i32>().is_err() {
            said.push_str(&format!(" (os error {number})"));
        }
        rest = after;
    }
    said.push_str(rest);
    printable(&said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_keeps_its_ending_and_fits() {
        assert_eq!(shorten("short.iso", 9), "short.iso");
        let cut = shorten("a-very-long-name-of-a-file.iso", 16);
        assert!(cut.starts_with("a-very-lon") && cut.ends_with("e.iso"), "{cut}");
        for columns in 1..40 {
            assert!(width(&shorten("日本語のとても長い名前🚀🚀.tar.gz", columns)) <= columns, "{columns}");
        }
    }

    #[test]
    fn the_folder_one_is_in_has_a_name() {
        assert_eq!(
            [".", "./", "", "a/.."].map(|dir| folder(Path::new(dir))),
            ["this folder", "this folder", "this folder", "a/.."]
        );
    }

    #[test]
    fn nothing_is_left_that_a_terminal_obeys() {
        let nasty = "a\x1b[2Jb\r\nc\u{202e}gpj.exe\u{200b}";
        assert!(printable(nasty).chars().all(|c| !c.is_control() && c != '\u{202e}' && c != '\u{200b}'));
    }

    #[test]
    fn a_cause_is_said_once_and_without_its_number() {
        let system = std::io::Error::from_raw_os_error(2);
        let outer = format!("cannot find x: {system}");
        let error = anyhow::Error::new(system).context(outer);
        assert_eq!(reason(&error), "cannot find x: No such file or directory");
        assert_eq!(plain("a (os error 5): b (os error 6)"), "a: b");
        assert_eq!(plain("a (os error x"), "a (os error x");
    }
}
