//! Whether a measured figure is the published one.
//!
//! A published number stands for all numbers that round to it: 5.88 for 5.875 to 5.885,
//! 30,200 for 30,150 to 30,250. It is confirmed if one of them lies in the 95 % interval
//! over the seeds, widened on both sides by a small share of the mean; and an interval
//! wider than a tenth of its mean confirms nothing. Where the number was published of one
//! network, or of a few, it is compared with where the mean of so many more seeds would lie
//! with 95 %: a single network differs from the mean of many. A bound is kept if every seed
//! keeps it.

use std::fmt;

use super::{Column, Interval, Report, Summary, cell};

/// By what share of the mean an interval is widened, unless the figure says otherwise.
pub const WITHIN: f64 = 0.02;
/// Half of the widest interval that says anything, as a share of the mean.
pub const WIDEST: f64 = 0.1;

/// What is said of a column.
#[derive(Clone, PartialEq, Debug)]
pub enum Claim {
    /// A number was published.
    Published {
        /// As it was printed.
        text: String,
        /// The least and the largest number that it stands for.
        range: (f64, f64),
        /// By what share of the mean the interval is widened.
        within: f64,
        /// Of how many networks it is the mean; none: so many that it has no error of its own.
        networks: Option<u32>,
    },
    /// No seed is below the first or above the second.
    Bound(Option<f64>, Option<f64>),
}

/// A figure that a scenario is to reproduce.
#[derive(Clone, Debug)]
pub struct Figure {
    /// What is measured.
    pub column: &'static Column,
    /// The label of the overlay it is about; all of them without.
    pub row: Option<String>,
    /// What it should be.
    pub claim: Claim,
}

/// What came of a figure.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The overlay's label.
    pub label: String,
    /// What was measured.
    pub what: String,
    /// What it should be, in words.
    pub claim: String,
    /// Mean and interval over the seeds; none if nothing was measured.
    pub measured: Option<Interval>,
    /// Why it is not confirmed; none if it is.
    pub fault: Option<&'static str>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let measured = self.measured.map_or("-".into(), |interval| cell(&interval));
        let verdict = self.fault.map_or("confirmed".into(), |fault| format!("not confirmed: {fault}"));
        write!(f, "{} {}: {measured}, to be {}: {verdict}", self.label, self.what, self.claim)
    }
}

impl Claim {
    /// The claim that `text`, a number or two with a dash between, was published of so many
    /// networks.
    pub fn published(text: &str, within: f64, networks: Option<u32>) -> Option<Claim> {
        let (low, high) = match text.split_once('-') {
            Some((low, high)) => (rounded(low)?, rounded(high)?),
            None => (rounded(text)?, rounded(text)?),
        };
        let range = (low.0 - low.1, high.0 + high.1);
        (low.0 <= high.0).then(|| Claim::Published { text: text.to_owned(), range, within, networks })
    }

    /// The claim in words.
    pub fn words(&self) -> String {
        match self {
            Claim::Published { text, within, networks, .. } => {
                let of = match networks {
                    Some(1) => ", one network".to_owned(),
                    Some(many) => format!(", {many} networks"),
                    None => String::new(),
                };
                let slack = within * 100.0;
                let slack = if *within == WITHIN { String::new() } else { format!(", within {slack} %") };
                format!("{text}{of}{slack}")
            }
            Claim::Bound(Some(low), Some(high)) if low == high => low.to_string(),
            Claim::Bound(Some(low), Some(high)) => format!("{low} to {high}"),
            Claim::Bound(Some(low), None) => format!("at least {low}"),
            Claim::Bound(None, Some(high)) => format!("at most {high}"),
            Claim::Bound(None, None) => String::new(),
        }
    }

    /// Why `values`, one a seed, do not confirm it.
    pub fn fault(&self, values: &[f64]) -> Option<&'static str> {
        let Some(interval) = Interval::of(values) else { return Some("not measured") };
        match self {
            Claim::Bound(low, high) => {
                let kept = |value: &f64| {
                    low.is_none_or(|low| *value >= low) && high.is_none_or(|high| *value <= high)
                };
                (!values.iter().all(kept)).then_some("a seed breaks the bound")
            }
            Claim::Published { range, within, networks, .. } => {
                let Some(half) = interval.half else { return Some("one seed has no interval") };
                let seeds = values.len() as f64;
                let own = networks.map_or(1.0, |networks| (1.0 + seeds / f64::from(networks)).sqrt());
                let reach = half * own + within * interval.mean.abs();
                if half > WIDEST * interval.mean.abs() {
                    Some("the interval is too wide")
                } else if interval.mean + reach < range.0 {
                    Some("too small")
                } else if interval.mean - reach > range.1 {
                    Some("too large")
                } else {
                    None
                }
            }
        }
    }

    /// What comes of it, with `values`, one a seed.
    pub fn finding(&self, label: &str, what: &str, values: &[f64]) -> Finding {
        Finding {
            label: label.to_owned(),
            what: what.to_owned(),
            claim: self.words(),
            measured: Interval::of(values),
            fault: self.fault(values),
        }
    }
}

/// A printed number, and half of the unit of its last digit that counts. Zeros at the end
/// of a whole number do not count.
fn rounded(text: &str) -> Option<(f64, f64)> {
    let digits: String = text.trim().chars().filter(|&c| c != ',').collect();
    let value: f64 = digits.parse().ok().filter(|value: &f64| value.is_finite())?;
    let exponent = match digits.split_once('.') {
        Some((_, decimals)) => -(decimals.len() as i32),
        None if value == 0.0 => 0,
        None => digits.bytes().rev().take_while(|&digit| digit == b'0').count() as i32,
    };
    Some((value, 0.5 * 10f64.powi(exponent)))
}

/// What came of `figures` in `report`, in their order.
pub fn findings(figures: &[Figure], report: &Report) -> Vec<Finding> {
    let of_figure = |figure: &Figure| -> Vec<Finding> {
        let about = |row: &&Summary| figure.row.as_ref().is_none_or(|wanted| *wanted == row.label);
        let rows = report.rows.iter().filter(about);
        rows.map(|row| figure.claim.finding(&row.label, figure.column.name, &row.values(figure.column)))
            .collect()
    };
    figures.iter().flat_map(of_figure).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn published(text: &str) -> Claim {
        Claim::published(text, WITHIN, None).unwrap()
    }

    /// Values around `mean` with an interval of a hundredth of it.
    fn around(mean: f64) -> Vec<f64> {
        let step = mean * 0.01 / 2.262 * 10f64.sqrt();
        let nine = (9.0f64 / 10.0).sqrt();
        (0..10).map(|n| if n % 2 == 0 { mean + nine * step } else { mean - nine * step }).collect()
    }

    #[test]
    fn a_printed_number_stands_for_all_that_round_to_it() {
        let range = |text| match published(text) {
            Claim::Published { range, .. } => range,
            Claim::Bound(..) => unreachable!(),
        };
        let near = |a: (f64, f64), b: (f64, f64)| (a.0 - b.0).abs() + (a.1 - b.1).abs() < 1e-9;
        assert!(near(range("5.88"), (5.875, 5.885)));
        assert!(near(range("0.60"), (0.595, 0.605)));
        assert!(near(range("1,020"), (1_015.0, 1_025.0)));
        assert!(near(range("30200"), (30_150.0, 30_250.0)));
        assert!(near(range("1.3-1.4"), (1.25, 1.45)));
        for wrong in ["", "five", "1.2.3", "2-1", "inf", "3 hops"] {
            assert_eq!(Claim::published(wrong, WITHIN, None), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_near_is_confirmed_and_what_is_not_is_not() {
        let claim = published("5.88");
        let fault = |mean| claim.fault(&around(mean));
        assert_eq!((fault(5.88), fault(5.72), fault(6.06)), (None, None, None));
        assert_eq!(fault(5.68), Some("too small"));
        assert_eq!(fault(6.08), Some("too large"));
        let strict = Claim::published("5.88", 0.0, None).unwrap();
        assert_eq!(strict.fault(&around(5.72)), Some("too small"));
    }

    /// The interval of ten is sqrt(1 + 10) times as wide for the next one, and sqrt(1 + 10 / 40)
    /// times for the mean of forty.
    #[test]
    fn a_single_network_may_be_farther_from_the_mean() {
        let fault = |mean, networks| Claim::published("1.000", 0.0, networks).unwrap().fault(&around(mean));
        assert_eq!((fault(1.032, Some(1)), fault(1.035, Some(1))), (None, Some("too large")));
        assert_eq!((fault(0.97, Some(1)), fault(0.965, Some(1))), (None, Some("too small")));
        assert_eq!((fault(1.010, Some(40)), fault(1.013, Some(40))), (None, Some("too large")));
        assert_eq!((fault(1.009, None), fault(1.012, None)), (None, Some("too large")));
        let words = |networks| Claim::published("1", WITHIN, networks).unwrap().words();
        assert_eq!((words(Some(1)), words(Some(3))), ("1, one network".into(), "1, 3 networks".into()));
    }

    #[test]
    fn an_interval_confirms_nothing_if_it_is_wide_or_none() {
        let claim = published("1.0");
        assert_eq!(claim.fault(&[0.5, 1.5, 0.2, 1.8]), Some("the interval is too wide"));
        assert_eq!(claim.fault(&[1.0]), Some("one seed has no interval"));
        assert_eq!(claim.fault(&[]), Some("not measured"));
    }

    #[test]
    fn one_seed_breaks_a_bound() {
        let all_found = Claim::Bound(Some(1.0), None);
        assert_eq!(all_found.fault(&[1.0; 10]), None);
        assert_eq!(all_found.fault(&[1.0, 1.0, 0.9999]), Some("a seed breaks the bound"));
        let none_failed = Claim::Bound(None, Some(0.0));
        assert_eq!((none_failed.fault(&[0.0]), none_failed.words().as_str()), (None, "at most 0"));
        assert_eq!(none_failed.fault(&[0.0, 1.0]), Some("a seed breaks the bound"));
        assert_eq!(none_failed.fault(&[]), Some("not measured"));
    }
}
