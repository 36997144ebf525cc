//! Durations, and what they come to.

use std::time::{Duration, Instant};

#[derive(Debug, Default)]
pub(crate) struct Samples(Vec<Duration>);

impl Samples {
    pub(crate) fn add(&mut self, sample: Duration) {
        self.0.push(sample);
    }

    /// Runs it and keeps how long it took.
    pub(crate) fn time<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let since = Instant::now();
        let result = work();
        self.add(since.elapsed());
        result
    }

    /// The smallest sample that so many of all (0 … 1) do not exceed; zero without samples.
    fn quantile(&self, share: f64) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let rank = (share * sorted.len() as f64).ceil() as usize;
        sorted
            .get(rank.saturating_sub(1))
            .copied()
            .unwrap_or_default()
    }

    pub(crate) fn median(&self) -> Duration {
        self.quantile(0.5)
    }

    pub(crate) fn p95(&self) -> Duration {
        self.quantile(0.95)
    }

    pub(crate) fn p99(&self) -> Duration {
        self.quantile(0.99)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_samples() {
        let mut samples = Samples::default();
        assert_eq!(samples.p99(), Duration::ZERO);
        for ms in (1..=100).rev() {
            samples.add(Duration::from_millis(ms));
        }
        let ms = [samples.median(), samples.p95(), samples.p99()].map(|d| d.as_millis());
        assert_eq!(ms, [50, 95, 99]);
    }
}
