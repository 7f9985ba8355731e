//! Whether a file is one that this program writes, so that it may write over it.

use super::{csv, html};
use crate::swarm;

/// Whether a file of that name that begins so is this program's: `report.html`,
/// `figures.json` or `figures.csv`.
pub fn is_own(name: &str, begin: &[u8]) -> bool {
    let begin = String::from_utf8_lossy(begin);
    match name {
        "report.html" => begin.starts_with(html::HEAD) && begin.contains(html::STYLE_BEGINS),
        // The first name in the order of names; see there for how it is written.
        "figures.json" => begin.starts_with("{\n  \"about\": \""),
        "figures.csv" => [csv::HEAD, swarm::CSV_HEAD].iter().any(|head| begin.starts_with(head)),
        _ => false,
    }
}
