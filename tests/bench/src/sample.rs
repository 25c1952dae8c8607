//! Numbers out of many numbers: percentiles and medians. Pure.

use std::time::Duration;

/// Measured times, in order.
#[derive(Debug, Clone, Default)]
pub struct Sample(Vec<f64>);

impl Sample {
    /// Milliseconds.
    pub fn of(times: impl IntoIterator<Item = Duration>) -> Self {
        Self::of_ms(times.into_iter().map(|time| time.as_secs_f64() * 1000.0))
    }

    pub fn of_ms(times: impl IntoIterator<Item = f64>) -> Self {
        let mut times: Vec<f64> = times.into_iter().collect();
        times.sort_by(f64::total_cmp);
        Self(times)
    }

    /// The value that a share of `part` (0 to 1) does not exceed, in milliseconds; 0 without any.
    pub fn percentile(&self, part: f64) -> f64 {
        let rank = (self.0.len() as f64 * part).ceil() as usize;
        self.0.get(rank.clamp(1, self.0.len().max(1)) - 1).copied().unwrap_or_default()
    }

    pub fn median(&self) -> f64 {
        self.percentile(0.5)
    }

    pub fn max(&self) -> f64 {
        self.0.last().copied().unwrap_or_default()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }
}

/// The median of numbers of any unit.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    Sample::of_ms(values).median()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_value_that_was_measured() {
        let sample = Sample::of_ms((1..=100).rev().map(f64::from));
        assert_eq!((sample.median(), sample.percentile(0.99), sample.max()), (50.0, 99.0, 100.0));
        assert_eq!(Sample::of_ms([7.0]).percentile(0.99), 7.0);
        assert_eq!(Sample::default().median(), 0.0);
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
    }
}
