//! What has been measured of what was bought: how long replicas took until they were ready, how many starts failed, how much of the time
//! replicas that had been ready were ready. Kept by provider, region and size, over restarts. `standing` is about the last minutes and
//! about where calls may go; this is about months, and about what to expect of a place. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::base::{
    names::InstanceName,
    units::{Instant, Millis},
};

/// So many of the newest times to ready are kept.
const TIMES: usize = 100;
/// More starts than these are halved, so that the newer ones weigh more.
const STARTS: u32 = 1_000;
/// More time of observation than this, of all replicas together, is halved likewise: 90 days.
const OBSERVED: Millis = Millis(90 * 86_400_000);
/// What nothing was heard of for so long is forgotten: 180 days.
const FORGOTTEN: Millis = Millis(180 * 86_400_000);

/// Everything that was measured, by provider, region and size.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Measures {
    providers: BTreeMap<InstanceName, BTreeMap<String, BTreeMap<String, Measured>>>,
}

/// What was measured of one size in one region.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Measured {
    /// Milliseconds until ready, the newest last.
    times: Vec<u64>,
    timed_at: Instant,
    starts: u32,
    failed: u32,
    started_at: Instant,
    /// Looks at replicas that had been ready before.
    looks: u32,
    /// Of all those replicas together.
    observed: Millis,
    ready: Millis,
    observed_at: Instant,
}

/// A figure with what it stands on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampled {
    /// The figure.
    pub value: f64,
    /// How many observations it is made of.
    pub samples: u32,
    /// Of the newest sample.
    pub at: Instant,
}

/// One provider's part, as it is stored.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stored {
    /// By region and size.
    pub regions: BTreeMap<String, BTreeMap<String, Measured>>,
}

impl Measures {
    /// Nothing has been measured.
    pub fn is_empty(&self) -> bool {
        self.providers.is_empty()
    }

    /// What has been measured of a size in a region.
    pub fn of(&self, provider: &InstanceName, region: &str, size: &str) -> Option<&Measured> {
        self.providers.get(provider)?.get(region)?.get(size)
    }

    /// The same, to be added to.
    pub fn entry(&mut self, provider: &InstanceName, region: &str, size: &str) -> &mut Measured {
        let regions = self.providers.entry(provider.clone()).or_default();
        regions
            .entry(region.to_owned())
            .or_default()
            .entry(size.to_owned())
            .or_default()
    }

    /// One provider's, for the store.
    pub fn stored(&self, provider: &InstanceName) -> Option<Stored> {
        self.providers.get(provider).map(|regions| Stored {
            regions: regions.clone(),
        })
    }

    /// What was stored, less what is too old to say anything.
    pub fn restore(&mut self, provider: InstanceName, mut stored: Stored, now: Instant) {
        for sizes in stored.regions.values_mut() {
            sizes.retain(|_, m| now.since(m.newest()) < FORGOTTEN);
        }
        stored.regions.retain(|_, sizes| !sizes.is_empty());
        if !stored.regions.is_empty() {
            self.providers.insert(provider, stored.regions);
        }
    }
}

impl Measured {
    /// A new replica became ready so long after it had been decided.
    pub fn became_ready(&mut self, took: Millis, now: Instant) {
        if self.times.len() >= TIMES {
            self.times.remove(0);
        }
        self.times.push(took.0);
        self.timed_at = now;
    }

    /// A call that shall start something has ended.
    pub fn started(&mut self, failed: bool, now: Instant) {
        if self.starts >= STARTS {
            (self.starts, self.failed) = (self.starts / 2, self.failed / 2);
        }
        self.starts += 1;
        self.failed += u32::from(failed);
        self.started_at = now;
    }

    /// For so long, of `replicas` that had been ready once, `ready` were so.
    pub fn looked(&mut self, replicas: u32, ready: u32, span: Millis, now: Instant) {
        if self.observed >= OBSERVED {
            (self.observed, self.ready, self.looks) = (
                Millis(self.observed.0 / 2),
                Millis(self.ready.0 / 2),
                self.looks / 2,
            );
        }
        let times = |n: u32| span.0.saturating_mul(u64::from(n));
        self.observed = Millis(self.observed.0.saturating_add(times(replicas)));
        self.ready = Millis(self.ready.0.saturating_add(times(ready.min(replicas))));
        self.looks = self.looks.saturating_add(1);
        self.observed_at = now;
    }

    /// Milliseconds that this share of new replicas needed at most: 0.5 for the median. None: nothing was measured.
    pub fn time_to_ready(&self, share: f64) -> Option<Sampled> {
        let mut times = self.times.clone();
        times.sort_unstable();
        let rank = (share * times.len() as f64).ceil().max(1.0) as usize;
        let value = *times.get(rank.min(times.len()).checked_sub(1)?)? as f64;
        Some(Sampled {
            value,
            samples: u32::try_from(times.len()).unwrap_or(u32::MAX),
            at: self.timed_at,
        })
    }

    /// The share of starts that failed, 0 … 1.
    pub fn failure_rate(&self) -> Option<Sampled> {
        let value = f64::from(self.failed) / f64::from(self.starts);
        (self.starts > 0).then_some(Sampled {
            value,
            samples: self.starts,
            at: self.started_at,
        })
    }

    /// The share of the observed time in which replicas that had been ready once were ready, 0 … 1.
    pub fn availability(&self) -> Option<Sampled> {
        let value = self.ready.0 as f64 / self.observed.0 as f64;
        (self.observed.0 > 0).then_some(Sampled {
            value,
            samples: self.looks,
            at: self.observed_at,
        })
    }

    fn newest(&self) -> Instant {
        self.timed_at.max(self.started_at).max(self.observed_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_say_what_they_stand_on_and_survive_being_stored() {
        let (provider, now): (InstanceName, _) =
            ("cloud".parse().expect("a name"), Instant(1_000_000));
        let mut measures = Measures::default();
        let one = measures.entry(&provider, "eu", "small");
        assert_eq!(
            (
                one.time_to_ready(0.5),
                one.failure_rate(),
                one.availability()
            ),
            (None, None, None)
        );
        (1..=20).for_each(|n| one.became_ready(Millis(n * 100), now));
        (0..4).for_each(|n| one.started(n == 0, now));
        one.looked(2, 2, Millis(9_000), now);
        one.looked(2, 0, Millis(1_000), now);
        let mut again = Measures::default();
        let stored = serde_json::to_vec(&measures.stored(&provider)).expect("plain data");
        again.restore(
            provider.clone(),
            serde_json::from_slice(&stored).expect("its own document"),
            now.plus(Millis(5)),
        );
        assert_eq!(again, measures);
        let one = again.of(&provider, "eu", "small").expect("measured");
        let sampled = |value, samples| {
            Some(Sampled {
                value,
                samples,
                at: now,
            })
        };
        assert_eq!(
            (one.time_to_ready(0.5), one.time_to_ready(0.95)),
            (sampled(1_000.0, 20), sampled(1_900.0, 20))
        );
        assert_eq!(
            (one.failure_rate(), one.availability()),
            (sampled(0.25, 4), sampled(0.9, 2))
        );
        let mut late = Measures::default();
        late.restore(
            provider.clone(),
            again.stored(&provider).expect("there"),
            now.plus(FORGOTTEN),
        );
        assert!(late.is_empty(), "what is too old says nothing");
    }

    #[test]
    fn newer_samples_weigh_more_and_what_is_kept_is_bounded() {
        let mut one = Measured::default();
        (0..5_000).for_each(|_| one.started(true, Instant(1)));
        (0..5_000).for_each(|_| one.started(false, Instant(2)));
        assert!(
            one.failure_rate()
                .is_some_and(|f| f.value < 0.01 && f.samples <= STARTS),
            "{one:?}"
        );
        (0..5_000).for_each(|n| one.became_ready(Millis(n), Instant(2)));
        assert!(
            one.time_to_ready(0.0)
                .is_some_and(|t| t.value == 4_900.0 && t.samples == 100)
        );
        (0..10_000).for_each(|_| one.looked(1_000, 1_000, Millis(3_600_000), Instant(2)));
        assert!(
            one.availability()
                .is_some_and(|a| (a.value - 1.0).abs() < 1e-9)
                && one.observed.0 <= 2 * OBSERVED.0
        );
    }
}
