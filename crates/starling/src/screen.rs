//! Standard error: lines, and on a terminal a few rows at the bottom that are redrawn.
//! All that is written there goes through here, so that no line is torn by a bar.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};

use console::Term;

/// Columns left free at the right, with the cursor before them: a terminal echoes `^C`
/// there, and must not begin a new row for it.
const MARGIN: usize = 3;
/// Rows and columns where the system does not tell.
const SIZE: (usize, usize) = (24, 80);

/// The rows that are on the terminal now, below all lines.
static ROWS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Whether rows can be redrawn.
pub fn is_terminal() -> bool {
    io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Rows and columns there are for what is redrawn.
pub fn size() -> (usize, usize) {
    let (rows, columns) =
        Term::stderr().size_checked().map_or(SIZE, |(rows, columns)| (rows.into(), columns.into()));
    (rows, columns.saturating_sub(MARGIN).max(1))
}

/// One line, above what is redrawn.
pub fn line(text: &str) {
    let rows = ROWS.lock().unwrap_or_else(PoisonError::into_inner);
    let mut out = top(rows.len());
    let _ = writeln!(out, "{text}{}", if rows.is_empty() { "" } else { "\x1b[J" });
    draw(&mut out, &rows);
    put(&out);
}

/// The rows at the bottom; gone without a trace when dropped. There is one at a time.
pub struct Live(());

impl Live {
    /// No rows yet.
    pub fn begin() -> Live {
        Live(())
    }

    /// These rows from now on.
    pub fn show(&self, new: Vec<String>) {
        let mut rows = ROWS.lock().unwrap_or_else(PoisonError::into_inner);
        if *rows != new {
            let mut out = top(rows.len());
            draw(&mut out, &new);
            put(&(out + "\x1b[J"));
            *rows = new;
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.show(Vec::new());
    }
}

/// To the first of so many rows.
fn top(rows: usize) -> String {
    match rows {
        0 => String::new(),
        1 => "\r".to_owned(),
        rows => format!("\r\x1b[{}A", rows - 1),
    }
}

/// The rows, over what was there; the cursor stays behind the last.
fn draw(out: &mut String, rows: &[String]) {
    for (at, row) in rows.iter().enumerate() {
        out.push_str(if at == 0 { "" } else { "\n" });
        out.push_str(row);
        out.push_str("\x1b[K");
    }
}

/// All at once, so that nothing is half drawn. A closed standard error is the reader's wish.
fn put(text: &str) {
    let mut err = io::stderr().lock();
    let _ = err.write_all(text.as_bytes());
}

/// Where the log goes: whole lines, above the rows.
#[derive(Default)]
pub struct Log(Vec<u8>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let text = String::from_utf8_lossy(&self.0);
        text.lines().for_each(line);
    }
}
