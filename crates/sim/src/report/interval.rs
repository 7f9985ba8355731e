//! Means and how far they can be trusted.

/// A mean over several seeds, with its 95 % confidence interval by Student's t.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Interval {
    /// The mean.
    pub mean: f64,
    /// Half the interval's width; none for a single value.
    pub half: Option<f64>,
    /// How many values.
    pub count: usize,
}

/// Two-sided 95 % quantiles of Student's t for 1 to 30 degrees of freedom.
const T95: [f64; 30] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
];
/// The same for many.
const T95_MANY: f64 = 1.96;

impl Interval {
    /// Of `values`; none if there are none.
    pub fn of(values: &[f64]) -> Option<Interval> {
        let count = values.len();
        if count == 0 {
            return None;
        }
        let mean = values.iter().sum::<f64>() / count as f64;
        let half = (count > 1).then(|| {
            let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
            let deviation = (squares / (count - 1) as f64).sqrt();
            T95.get(count - 2).copied().unwrap_or(T95_MANY) * deviation / (count as f64).sqrt()
        });
        Some(Interval { mean, half, count })
    }

    /// The lower end.
    pub fn low(&self) -> f64 {
        self.mean - self.half.unwrap_or(0.0)
    }

    /// The upper end.
    pub fn high(&self) -> f64 {
        self.mean + self.half.unwrap_or(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_textbook_example_comes_out() {
        // Mean 5, standard deviation 1.5811, t(4) = 2.776.
        let interval = Interval::of(&[3.0, 4.0, 5.0, 6.0, 7.0]).unwrap();
        assert!((interval.mean - 5.0).abs() < 1e-12);
        assert!((interval.half.unwrap() - 1.963).abs() < 0.001);
        assert_eq!(Interval::of(&[2.0]).unwrap().half, None);
        assert_eq!(Interval::of(&[]), None);
    }
}
