//! Pieces that were found changed on disk, told so that a thousand of them are no thousand lines.

use std::time::{Duration, Instant};

/// At most one line is said in this time, after the first.
const EVERY: Duration = Duration::from_secs(1);

/// What was said of a torrent's lost pieces.
#[derive(Default)]
pub struct Losses {
    told: usize,
    last: Option<Instant>,
}

/// What is to be said now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum News {
    /// This piece.
    One(u32),
    /// So many pieces more.
    More(usize),
}

impl Losses {
    /// What to say of `lost`, all pieces in the order of finding. `now`: also when it is early,
    /// for there will be no later.
    pub fn news(&mut self, at: Instant, lost: &[u32], now: bool) -> Option<News> {
        let new = lost.get(self.told..)?;
        let first = *new.first()?;
        let early = self.last.is_some_and(|last| at.saturating_duration_since(last) < EVERY);
        if early && !now {
            return None;
        }
        let alone = self.last.is_none() || new.len() == 1;
        self.last = Some(at);
        self.told += if alone { 1 } else { new.len() };
        Some(if alone { News::One(first) } else { News::More(new.len()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_named_and_then_a_line_a_second_sums_up() {
        let mut losses = Losses::default();
        let start = Instant::now();
        let lost: Vec<u32> = (0..1000).collect();
        let mut said = Vec::new();
        // All thousand within half a second, looked at a hundred times in two seconds.
        for tick in 0..=100usize {
            let at = start + Duration::from_millis(20) * tick as u32;
            said.extend(losses.news(at, &lost[..(tick * 40).min(1000)], false));
        }
        assert_eq!(said, [News::One(0), News::More(999)]);
        let later = start + Duration::from_secs(60);
        assert_eq!(losses.news(later, &[lost, vec![7]].concat(), false), Some(News::One(7)));
    }

    #[test]
    fn what_waits_is_said_at_the_end() {
        let (mut losses, at) = (Losses::default(), Instant::now());
        assert_eq!(losses.news(at, &[5, 6, 7], false), Some(News::One(5)));
        assert_eq!(losses.news(at, &[5, 6, 7], false), None);
        assert_eq!(losses.news(at, &[5, 6, 7], true), Some(News::More(2)));
        assert_eq!(losses.news(at, &[5, 6, 7], true), None);
    }
}
