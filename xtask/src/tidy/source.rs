//! A Rust file as text that can be counted: comments and literals blanked out.
//!
//! Not a parser. It knows enough of the lexical rules that braces and names can
//! be searched for without meeting those in strings and comments.

use std::ops::Range;

/// A file's lines, as written and as code alone.
pub struct Source {
    /// The file as it is.
    pub raw: Vec<String>,
    /// The same lines with comments and the insides of literals made blank.
    pub code: Vec<String>,
    /// Ranges of lines that are only compiled for tests.
    tests: Vec<Range<usize>>,
}

/// A function found in a file.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// Line of its `fn`, from 0.
    pub line: usize,
    /// Lines from `fn` to the closing brace.
    pub lines: usize,
}

impl Source {
    /// Reads `text`; `all_tests` if the whole file is test code.
    pub fn new(text: &str, all_tests: bool) -> Source {
        let blanked = blank(text);
        let code: Vec<String> = blanked.lines().map(str::to_owned).collect();
        let whole = all_tests.then_some(0..code.len());
        let tests = whole.map_or_else(|| test_modules(&code), |whole| std::iter::once(whole).collect());
        Source { raw: text.lines().map(str::to_owned).collect(), code, tests }
    }

    /// Whether this line is only compiled for tests.
    pub fn is_test(&self, line: usize) -> bool {
        self.tests.iter().any(|range| range.contains(&line))
    }

    /// Every function with a body.
    pub fn functions(&self) -> Vec<Function> {
        let starts = self.code.iter().enumerate();
        starts.filter_map(|(line, code)| self.function_at(line, function_name(code)?)).collect()
    }

    fn function_at(&self, line: usize, name: &str) -> Option<Function> {
        let end = body_end(&self.code, line)?;
        Some(Function { name: name.to_owned(), line, lines: end - line + 1 })
    }

    /// Doc comment lines and all lines, outside test code.
    pub fn doc_lines(&self) -> (usize, usize) {
        let lines = self.raw.iter().enumerate().filter(|(i, _)| !self.is_test(*i));
        lines.fold((0, 0), |(docs, all), (_, line)| {
            let line = line.trim_start();
            (docs + usize::from(line.starts_with("///") || line.starts_with("//!")), all + 1)
        })
    }
}

/// The name after `fn`, if a function begins on this line of code.
fn function_name(code: &str) -> Option<&str> {
    let mut words = code.split_whitespace();
    words
        .find(|word| {
            !matches!(*word, "pub" | "const" | "async" | "unsafe" | "extern" | "\"\"" | "default")
                && !word.starts_with("pub(")
                && *word != "in"
        })?
        .eq("fn")
        .then(|| words.next())??
        .split(|c: char| !c.is_alphanumeric() && c != '_')
        .next()
        .filter(|name| !name.is_empty())
}

/// The line where the first brace opened at or after `start` closes; `None` if a
/// semicolon comes first (a declaration without a body).
fn body_end(code: &[String], start: usize) -> Option<usize> {
    let (mut depth, mut nesting) = (0usize, 0isize);
    for (number, line) in code.iter().enumerate().skip(start) {
        for c in line.chars() {
            match c {
                '(' | '[' if depth == 0 => nesting += 1,
                ')' | ']' if depth == 0 => nesting -= 1,
                ';' if depth == 0 && nesting == 0 => return None,
                '{' => depth += 1,
                '}' if depth == 1 => return Some(number),
                '}' => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
    }
    None
}

fn test_modules(code: &[String]) -> Vec<Range<usize>> {
    let marks = code.iter().enumerate().filter(|(_, line)| line.trim() == "#[cfg(test)]");
    marks.filter_map(|(line, _)| Some(line..body_end(code, line)? + 1)).collect()
}

/// Replaces comments and the insides of string and character literals by spaces;
/// lines stay where they are.
fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < bytes.len() {
        let end = literal_end(bytes, at);
        if end > at {
            out.extend(text[at..end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
            at = end;
        } else {
            let width = text[at..].chars().next().map_or(1, char::len_utf8);
            out.push_str(&text[at..at + width]);
            at += width;
        }
    }
    out
}

/// Where the comment or literal that begins at `at` ends; `at` if none begins there.
fn literal_end(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    let after_name = at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
    match rest {
        [b'/', b'/', ..] => at + position(rest, b"\n").unwrap_or(rest.len()),
        [b'/', b'*', ..] => at + block_comment(rest),
        [b'"', ..] => at + quoted(rest, b'"'),
        [b'r', b'"' | b'#', ..] if !after_name => at + raw_string(rest),
        [b'b', b'r', b'"' | b'#', ..] if !after_name => at + 1 + raw_string(&rest[1..]),
        [b'\'', b'\\', ..] => at + quoted(rest, b'\''),
        [b'\'', first, ..] => at + character(rest, *first),
        _ => at,
    }
}

fn position(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match &rest[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] if depth == 1 => return at + 2,
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    rest.len()
}

fn quoted(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

/// `rest` begins with `r`: a raw string, or a raw identifier (then 0).
fn raw_string(rest: &[u8]) -> usize {
    let hashes = rest[1..].iter().take_while(|byte| **byte == b'#').count();
    if rest.get(1 + hashes) != Some(&b'"') {
        return 0;
    }
    let close = [b"\"".as_slice(), &vec![b'#'; hashes]].concat();
    let body = 2 + hashes;
    position(&rest[body..], &close).map_or(rest.len(), |end| body + end + close.len())
}

/// A character literal, or a lifetime (then 0).
fn character(rest: &[u8], first: u8) -> usize {
    let width = match first {
        0x00..0x80 => 1,
        0x80..0xe0 => 2,
        0xe0..0xf0 => 3,
        _ => 4,
    };
    if rest.get(1 + width) == Some(&b'\'') { 2 + width } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_and_comments_hold_no_braces() {
        let text = "fn a<'x>(c: &'x str) -> char {\n  // }\n  let _ = (\"}\\\"}\", r#\"}\"#, b'}', '\\'', '}');\n  /* } /* } */ */\n  'ä'\n}\nfn b();\n";
        let functions = Source::new(text, false).functions();
        assert_eq!(functions, [Function { name: "a".into(), line: 0, lines: 6 }]);
    }

    #[test]
    fn a_body_may_begin_lines_below_its_name() {
        let text = "pub(crate) async fn long(\n  a: [u8; 4],\n) -> u8\nwhere\n  u8: Copy,\n{\n  0\n}\n";
        let functions = Source::new(text, false).functions();
        assert_eq!(functions, [Function { name: "long".into(), line: 0, lines: 8 }]);
    }

    #[test]
    fn test_modules_are_known() {
        let text = "/// Docs.\nfn a() {}\n#[cfg(test)]\nmod tests {\n  /// no\n  fn b() {}\n}\n";
        let source = Source::new(text, false);
        assert!(!source.is_test(1) && source.is_test(5));
        assert_eq!(source.doc_lines(), (1, 2));
    }
}
