//! How long hosts stay, and how long they stay away.

use std::time::Duration;

use starling_sansio::Rng;

/// A distribution of durations.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Lifetime {
    /// Always the same.
    Constant(Duration),
    /// Without memory, of that mean; the half-life is ln 2 of it.
    Exponential(Duration),
    /// Few long ones make up for many short ones: at least x with probability
    /// (1 + x / scale)^-shape, the shifted Pareto of measured peers (Bustamante and
    /// Qiao 2003); the mean is scale / (shape - 1) for a shape above 1.
    Pareto {
        /// The mean.
        mean: Duration,
        /// The exponent, above 1.
        shape: f64,
    },
}

impl Lifetime {
    /// One duration.
    pub fn draw(&self, rng: &mut Rng) -> Duration {
        let rest = 1.0 - rng.unit(); // in (0, 1]
        match *self {
            Lifetime::Constant(duration) => duration,
            Lifetime::Exponential(mean) => scaled(mean, -rest.ln()),
            Lifetime::Pareto { mean, shape } => {
                let scale = shape - 1.0;
                scaled(mean, scale * (rest.powf(-1.0 / shape) - 1.0))
            }
        }
    }

    /// What is left of a duration at a random moment of it, as for a host that is met
    /// in the middle of its session.
    pub fn draw_rest(&self, rng: &mut Rng) -> Duration {
        match *self {
            Lifetime::Constant(duration) => scaled(duration, rng.unit()),
            Lifetime::Exponential(_) => self.draw(rng),
            // The equilibrium distribution of a shifted Pareto is one of a shape less.
            Lifetime::Pareto { mean, shape } => {
                let rest = 1.0 - rng.unit();
                let factor = (shape - 1.0) * (rest.powf(-1.0 / (shape - 1.0)) - 1.0);
                scaled(mean, factor)
            }
        }
    }

    /// The mean.
    pub fn mean(&self) -> Duration {
        match *self {
            Lifetime::Constant(mean) | Lifetime::Exponential(mean) | Lifetime::Pareto { mean, .. } => mean,
        }
    }
}

/// A hundred years: what a heavy tail may draw at most.
const MOST: f64 = 3.2e9;

fn scaled(mean: Duration, factor: f64) -> Duration {
    let secs = mean.as_secs_f64() * factor;
    Duration::from_secs_f64(if secs.is_finite() { secs.clamp(0.0, MOST) } else { MOST })
}

/// Hosts come and go.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Churn {
    /// How long a host stays.
    pub session: Lifetime,
    /// How long it stays away.
    pub absence: Lifetime,
    /// The share of departures with good-bye, 0 to 1; the others are crashes.
    pub graceful: f64,
    /// Whether a host comes back under a new name, as after a new address.
    pub renamed: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_means_are_right() {
        let mean = Duration::from_secs(3_600);
        let mut rng = Rng::from_seed(1);
        for lifetime in
            [Lifetime::Constant(mean), Lifetime::Exponential(mean), Lifetime::Pareto { mean, shape: 3.0 }]
        {
            let sum: f64 = (0..200_000).map(|_| lifetime.draw(&mut rng).as_secs_f64()).sum();
            let drawn = sum / 200_000.0;
            assert!((3_400.0..3_800.0).contains(&drawn), "{lifetime:?}: {drawn}");
        }
    }

    #[test]
    fn the_rest_of_a_session_is_longer_the_heavier_the_tail() {
        let mean = Duration::from_secs(1_000);
        let mut rng = Rng::from_seed(2);
        let mut rest = |lifetime: Lifetime| {
            (0..200_000).map(|_| lifetime.draw_rest(&mut rng).as_secs_f64()).sum::<f64>() / 200_000.0
        };
        assert!((490.0..510.0).contains(&rest(Lifetime::Constant(mean))));
        assert!((980.0..1_020.0).contains(&rest(Lifetime::Exponential(mean))));
        // scale / (shape - 2) with scale = 3000 and shape = 4
        assert!((1_400.0..1_600.0).contains(&rest(Lifetime::Pareto { mean, shape: 4.0 })));
    }
}
