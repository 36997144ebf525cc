//! How long the parts of the controller take, counted in fixed buckets. It must not know who reads them.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tokio::time::{Duration, Instant as Tick};

/// The upper bounds of the buckets, in seconds. What is longer is counted in the last one alone, which has no bound.
pub const BOUNDS: [f64; 12] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0,
];

/// Everything that is timed.
#[derive(Debug, Default)]
pub(crate) struct Timings {
    /// A decision about a batch of deployments, offers included.
    pub(crate) decision: Timing,
    /// A step of the reconciler: from what may differ to intents that are stored.
    pub(crate) reconcile: Timing,
    /// A commit of the state.
    pub(crate) store: Timing,
}

/// One part's durations.
#[derive(Debug, Default)]
pub(crate) struct Timing {
    /// By bucket, the one without a bound last.
    counts: [AtomicU64; BOUNDS.len() + 1],
    micros: AtomicU64,
}

/// One part's durations since the start.
#[derive(Debug, Clone, PartialEq)]
pub struct Times {
    /// How many were within each of `BOUNDS` and not within the one before it; the rest at the end.
    pub counts: Vec<u64>,
    /// All together, in seconds.
    pub sum: f64,
}

impl Timing {
    /// Counts how long something takes that ends.
    pub(crate) async fn time<T>(&self, work: impl Future<Output = T>) -> T {
        let began = Tick::now();
        let done = work.await;
        self.note(began.elapsed());
        done
    }

    fn note(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = BOUNDS.partition_point(|bound| *bound < seconds);
        if let Some(count) = self.counts.get(bucket) {
            count.fetch_add(1, Relaxed);
        }
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.micros.fetch_add(micros, Relaxed);
    }

    pub(crate) fn read(&self) -> Times {
        Times {
            counts: self
                .counts
                .iter()
                .map(|count| count.load(Relaxed))
                .collect(),
            sum: self.micros.load(Relaxed) as f64 / 1e6,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_counted_in_the_first_bucket_that_holds_it() {
        let timing = Timing::default();
        for millis in [0, 1, 2, 40_000] {
            timing.note(Duration::from_millis(millis));
        }
        let times = timing.read();
        let mut wanted = vec![0; BOUNDS.len() + 1];
        (wanted[0], wanted[1], wanted[2], wanted[BOUNDS.len()]) = (1, 1, 1, 1);
        assert_eq!((times.counts, times.sum), (wanted, 40.003));
    }
}
