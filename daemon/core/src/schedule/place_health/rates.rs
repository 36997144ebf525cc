//! How a place has been doing lately: the share of calls without an answer, how long answers took, how long until it was ready.
//! What is long past counts for nothing: everything halves with time.

use crate::base::units::Millis;

/// After this time a call counts for half.
const HALF_LIFE: f64 = 60_000.0;
/// Calls that are taken to have gone well, so that one failure alone says little.
const PRIOR: f64 = 2.0;
/// Below this nothing is known any more.
const FAINT: f64 = 0.05;

/// The figures of one place.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rates {
    answered: f64,
    failed: f64,
    /// Milliseconds of all calls together.
    took: f64,
    ready: f64,
    /// Milliseconds until ready, all together.
    ready_took: f64,
    at: Millis,
}

impl Rates {
    /// Counts a call that took so long.
    pub fn call(&mut self, now: Millis, answered: bool, took: Millis) {
        self.decay(now);
        *(if answered {
            &mut self.answered
        } else {
            &mut self.failed
        }) += 1.0;
        self.took += took.0 as f64;
    }

    /// Something became ready so long after it had been accepted.
    pub fn ready(&mut self, now: Millis, took: Millis) {
        self.decay(now);
        self.ready += 1.0;
        self.ready_took += took.0 as f64;
    }

    /// From 0 to below 1; 0 when nothing has failed.
    pub fn error_rate(&self, now: Millis) -> f64 {
        let fade = self.fade(now);
        let rate = self.failed * fade / ((self.failed + self.answered) * fade + PRIOR);
        if rate < 0.005 { 0.0 } else { rate }
    }

    /// How long a call takes. None: not known.
    pub fn latency(&self, now: Millis) -> Option<Millis> {
        mean(self.took, self.failed + self.answered, self.fade(now))
    }

    /// How long until ready. None: not known.
    pub fn time_to_ready(&self, now: Millis) -> Option<Millis> {
        mean(self.ready_took, self.ready, self.fade(now))
    }

    fn fade(&self, now: Millis) -> f64 {
        0.5f64.powf(now.0.saturating_sub(self.at.0) as f64 / HALF_LIFE)
    }

    fn decay(&mut self, now: Millis) {
        let fade = self.fade(now);
        for sum in [
            &mut self.answered,
            &mut self.failed,
            &mut self.took,
            &mut self.ready,
            &mut self.ready_took,
        ] {
            *sum *= fade;
        }
        self.at = now;
    }
}

fn mean(sum: f64, weight: f64, fade: f64) -> Option<Millis> {
    (weight * fade > FAINT).then(|| Millis((sum / weight).round() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_count_and_fade() {
        let mut rates = Rates::default();
        assert_eq!(
            (rates.error_rate(Millis(0)), rates.latency(Millis(0))),
            (0.0, None)
        );
        rates.call(Millis(0), true, Millis(100));
        assert_eq!(rates.error_rate(Millis(0)), 0.0, "nothing has failed");
        rates.call(Millis(0), false, Millis(300));
        assert_eq!(rates.error_rate(Millis(0)), 0.25);
        assert_eq!(rates.latency(Millis(0)), Some(Millis(200)));
        let faded: Vec<f64> = (0..12)
            .map(|m| rates.error_rate(Millis(m * 60_000)))
            .collect();
        assert!(
            faded.is_sorted_by(|a, b| a >= b) && faded.last() == Some(&0.0),
            "{faded:?}"
        );
        assert_eq!(rates.latency(Millis(3_600_000)), None);
        (0..1000).for_each(|_| rates.call(Millis(0), false, Millis(1)));
        assert!(rates.error_rate(Millis(0)) < 1.0);
    }

    #[test]
    fn becoming_ready_is_kept_apart_from_calls() {
        let mut rates = Rates::default();
        rates.ready(Millis(0), Millis(4_000));
        rates.ready(Millis(0), Millis(6_000));
        assert_eq!(
            (rates.time_to_ready(Millis(1)), rates.latency(Millis(1))),
            (Some(Millis(5_000)), None)
        );
    }
}
