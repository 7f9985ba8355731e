//! Counts of values by size.

/// Values below this number have a bucket each; above, a power of two has so many.
const FINE: u64 = 64;
const FINE_BITS: u32 = FINE.trailing_zeros();

/// How often values of each size came: exact below 64, within 1.6 % above.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    sum: u64,
}

impl Histogram {
    /// Counts a value.
    pub fn add(&mut self, value: u64) {
        let bucket = bucket(value);
        if self.counts.len() <= bucket {
            self.counts.resize(bucket + 1, 0);
        }
        self.counts[bucket] += 1;
        self.total += 1;
        self.sum = self.sum.saturating_add(value);
    }

    /// Adds all that another one counted.
    pub fn merge(&mut self, other: &Histogram) {
        self.counts.resize(self.counts.len().max(other.counts.len()), 0);
        self.counts.iter_mut().zip(&other.counts).for_each(|(mine, more)| *mine += more);
        self.total += other.total;
        self.sum = self.sum.saturating_add(other.sum);
    }

    /// How many values came.
    pub fn count(&self) -> u64 {
        self.total
    }

    /// Their mean; none if none came.
    pub fn mean(&self) -> Option<f64> {
        (self.total > 0).then(|| self.sum as f64 / self.total as f64)
    }

    /// The value that a share (0 to 1) of the values does not exceed.
    pub fn quantile(&self, share: f64) -> Option<u64> {
        let rank = ((self.total as f64 * share).ceil() as u64).clamp(1, self.total.max(1));
        let mut seen = 0;
        let at = self.counts.iter().position(|count| {
            seen += count;
            seen >= rank
        });
        at.filter(|_| self.total > 0).map(lower)
    }

    /// The used buckets: the smallest value of each, and its count.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.counts.iter().enumerate().filter(|(_, count)| **count > 0).map(|(at, &count)| (lower(at), count))
    }
}

fn bucket(value: u64) -> usize {
    if value < FINE {
        return value as usize;
    }
    let power = 63 - value.leading_zeros();
    let within = (value >> (power - FINE_BITS)) - FINE;
    (u64::from(power - FINE_BITS + 1) * FINE + within) as usize
}

/// The smallest value of a bucket.
fn lower(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < FINE {
        return bucket;
    }
    let power = bucket / FINE - 1;
    (FINE + bucket % FINE) << power
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_a_bucket() {
        let mut histogram = Histogram::default();
        (1..=100_000).for_each(|value| histogram.add(value));
        assert_eq!(histogram.mean(), Some(50_000.5));
        for (share, exact) in [(0.5, 50_000.0), (0.99, 99_000.0), (1.0, 100_000.0)] {
            let found = histogram.quantile(share).unwrap() as f64;
            assert!((exact * 0.98..=exact).contains(&found), "{share}: {found}");
        }
        assert_eq!(Histogram::default().quantile(0.5), None);
        assert!([0, 1, 63, 64, 65, 127, 128, 1 << 40, u64::MAX].iter().all(|&v| lower(bucket(v)) <= v));
        assert!([0, 1, 63, 64, 65, 127, 128].iter().all(|&v| lower(bucket(v)) == v));
    }
}
