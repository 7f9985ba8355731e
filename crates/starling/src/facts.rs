//! Where a torrent stands, in words, as a row of a display, and as an object for programs.

use serde_json::{Value, json};
use starling_node::{Progress, State};

use crate::bar::{Fact, Row};
use crate::text::{plain, printable, shorten};
use crate::{eta, units};

/// Facts that are told in however little room.
const LAST: usize = 6;
/// Columns of a name within a sentence.
const NAME_IN_SENTENCE: usize = 60;

/// What to call a torrent.
pub fn name(p: &Progress) -> String {
    p.name.as_deref().map_or_else(|| p.hashes.to_string(), printable)
}

/// What to call a torrent within a sentence.
pub fn short_name(p: &Progress) -> String {
    shorten(&name(p), NAME_IN_SENTENCE)
}

/// A torrent, and how many seconds it may still take, if anybody can tell.
#[derive(Clone, Copy)]
pub struct Seen<'a> {
    /// Where it stands.
    pub p: &'a Progress,
    /// See [`crate::eta`].
    pub left: Option<u64>,
}

/// A row of a display.
pub fn row(seen: Seen<'_>) -> Row {
    let p = seen.p;
    let (fraction, facts) = match &p.state {
        State::Downloading => (Some(share(p.bytes_done, p.bytes_wanted)), downloading(seen)),
        State::Checking { done, total } if *total > 0 => {
            (Some(share(u64::from(*done), u64::from(*total))), checking(*done, *total))
        }
        _ => (None, words(seen).into_iter().map(|text| Fact { until: LAST, text }).collect()),
    };
    Row { name: name(p), fraction, facts }
}

/// A line of a log.
pub fn line(seen: Seen<'_>) -> String {
    format!("{}: {}", short_name(seen.p), words(seen).join(", "))
}

/// The row of a step without peers: hashing, verifying.
pub fn step(what: &str, done: u64, total: u64, rate: u64) -> Row {
    let left = eta::seconds(total.saturating_sub(done), rate as f64).map(units::duration);
    let (percent, rate) = (percent(done, total), units::rate(rate));
    let size = format!("of {}", units::bytes(total));
    let left = left.map_or_else(String::new, |left| format!("{left} left"));
    let facts = vec![fact(LAST, percent), fact(3, size), fact(4, format!("{rate:>9}")), fact(5, left)];
    Row { name: what.to_owned(), fraction: Some(share(done, total)), facts }
}

/// An object for programs.
pub fn object(seen: Seen<'_>) -> Value {
    let Seen { p, left } = seen;
    let (state, why) = match &p.state {
        State::Metadata => ("metadata", None),
        State::Checking { .. } => ("checking", None),
        State::Downloading => ("downloading", None),
        State::Seeding => ("seeding", None),
        State::Paused(why) => ("paused", Some(plain(why))),
        State::Failed(why) => ("failed", Some(plain(why))),
    };
    json!({
        "event": "progress", "info_hash": p.hashes.to_string(), "name": p.name, "state": state, "why": why,
        "pieces": p.pieces, "pieces_total": p.pieces_total,
        "bytes_done": p.bytes_done, "bytes_wanted": p.bytes_wanted,
        "down_rate": p.down_rate, "up_rate": p.up_rate,
        "downloaded": p.downloaded, "uploaded": p.uploaded, "wasted": p.wasted,
        "peers": p.peers, "seeds": p.seeds, "web_seeds": p.web_seeds, "known_peers": p.known_peers,
        "seconds_left": left,
        "banned": p.banned.iter().map(ToString::to_string).collect::<Vec<_>>(), "lost": p.lost,
    })
}

/// `3 peers, 1 web seed`.
pub fn sources(peers: usize, web_seeds: usize) -> String {
    match (peers, web_seeds) {
        (0, 0) => "no peers".to_owned(),
        (peers, 0) => units::count(peers, "peer"),
        (0, seeds) => units::count(seeds, "web seed"),
        (peers, seeds) => format!("{}, {}", units::count(peers, "peer"), units::count(seeds, "web seed")),
    }
}

/// What is so, most important first where no bar is drawn.
fn words(seen: Seen<'_>) -> Vec<String> {
    let p = seen.p;
    let sources = sources(p.peers, p.web_seeds);
    match &p.state {
        State::Metadata if p.peers == 0 => vec!["looking for peers that know it".to_owned()],
        State::Metadata => vec!["asking what it contains".to_owned(), sources],
        State::Checking { total: 0, .. } => vec!["looking at what is on disk".to_owned()],
        State::Checking { done, total } => vec!["checking".to_owned(), pieces(*done, *total)],
        State::Seeding => {
            let sent = format!("{} sent", units::bytes(p.uploaded));
            vec!["seeding".to_owned(), units::rate(p.up_rate), sent, sources]
        }
        State::Paused(why) => vec![format!("waiting: {}", plain(why))],
        State::Failed(why) => vec![format!("failed: {}", plain(why))],
        State::Downloading => {
            let percent = percent(p.bytes_done, p.bytes_wanted).trim().to_owned();
            let rate = units::rate(p.down_rate);
            let mut words = vec![percent, pieces(p.pieces, p.pieces_total), rate, sources, left(seen)];
            words.retain(|word| !word.is_empty());
            words
        }
    }
}

fn downloading(seen: Seen<'_>) -> Vec<Fact> {
    let p = seen.p;
    vec![
        fact(LAST, percent(p.bytes_done, p.bytes_wanted)),
        fact(2, pieces(p.pieces, p.pieces_total)),
        fact(4, format!("{:>9}", units::rate(p.down_rate))),
        fact(3, sources(p.peers, p.web_seeds)),
        fact(5, left(seen)),
    ]
}

fn checking(done: u32, total: u32) -> Vec<Fact> {
    let percent = percent(u64::from(done), u64::from(total));
    vec![fact(LAST, percent), fact(2, pieces(done, total)), fact(4, " checking".to_owned())]
}

fn fact(until: usize, text: String) -> Fact {
    Fact { until, text }
}

/// `3/8 pieces`, `0/1 piece`
fn pieces(done: u32, total: u32) -> String {
    format!("{done}/{total} {}", if total == 1 { "piece" } else { "pieces" })
}

/// Nothing while something comes and nobody can tell yet for how long.
fn left(Seen { p, left }: Seen<'_>) -> String {
    match left {
        Some(secs) => format!("{} left", units::duration(secs)),
        None if p.bytes_done >= p.bytes_wanted => "finishing".to_owned(),
        None if p.down_rate == 0 => "waiting".to_owned(),
        None => String::new(),
    }
}

/// ` 64%`; 100 only when nothing is left.
fn percent(done: u64, total: u64) -> String {
    let percent = u128::from(done) * 100 / u128::from(total.max(1));
    format!("{:>3}%", if total == 0 { 100 } else { percent })
}

fn share(done: u64, total: u64) -> f64 {
    if total == 0 { 1.0 } else { done as f64 / total as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_is_never_rounded_up() {
        assert_eq!(percent(999, 1000), " 99%");
        assert_eq!(percent(1000, 1000), "100%");
        assert_eq!(percent(0, 0), "100%");
    }

    #[test]
    fn a_step_tells_rate_and_time() {
        let step = step("hashing", 1 << 30, 4 << 30, 1 << 30);
        let facts: Vec<_> = step.facts.iter().map(|fact| fact.text.as_str()).collect();
        assert_eq!(facts, [" 25%", "of 4.0 GiB", " 1.1 GB/s", "3 s left"]);
    }

    #[test]
    fn one_piece_is_no_pieces() {
        assert_eq!((pieces(0, 1), pieces(1, 2)), ("0/1 piece".to_owned(), "1/2 pieces".to_owned()));
    }

    #[test]
    fn sources_are_counted_in_words() {
        assert_eq!(sources(0, 0), "no peers");
        assert_eq!(sources(1, 2), "1 peer, 2 web seeds");
    }
}
