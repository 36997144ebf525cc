//! Whether a new version of a plugin that gets a share of the calls does as well as the old one. Pure: counts in, a verdict out.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::base::{
    names::Digest,
    units::{Millis, Percent},
};

/// What no version is blamed for: microseconds per call.
const NOISE: f64 = 2_000.0;

/// How a canary is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Terms {
    /// Of the calls: 1% to 99%.
    #[schemars(extend("pattern" = r"^\s*[1-9][0-9]?\s*%\s*$"))]
    pub share: Percent,
    /// How long it is watched before it is promoted: 1ms to 30days. Default 10m.
    #[serde(default = "ten_minutes")]
    pub lasts: Millis,
    /// How much more often than the old version it may fail, of its calls. Default 5%.
    #[serde(default = "five_percent")]
    #[schemars(extend("pattern" = r"^\s*(100|[1-9]?[0-9])\s*%\s*$"))]
    pub max_error_rate: Percent,
    /// How long its calls may take, of the same calls of the old version. Default 200%: twice as long.
    #[serde(default = "twice")]
    #[schemars(extend("pattern" = r"^\s*[1-9][0-9]{2,8}\s*%\s*$"))]
    pub max_slowdown: Percent,
    /// Calls without which nothing is concluded. Default 20.
    #[serde(default = "twenty")]
    #[schemars(range(min = 1))]
    pub min_calls: u32,
}

fn ten_minutes() -> Millis {
    Millis::from_secs(600)
}

fn five_percent() -> Percent {
    Percent(5)
}

fn twice() -> Percent {
    Percent(200)
}

fn twenty() -> u32 {
    20
}

impl Terms {
    /// The defaults with this share.
    pub fn new(share: Percent) -> Self {
        Self {
            share,
            lasts: ten_minutes(),
            max_error_rate: five_percent(),
            max_slowdown: twice(),
            min_calls: twenty(),
        }
    }

    /// The first field that can't be used, as a sentence.
    pub fn fault(&self) -> Option<String> {
        let Self {
            share,
            lasts,
            max_error_rate,
            max_slowdown,
            min_calls,
        } = self;
        if !(1..=99).contains(&share.0) {
            return Some(format!("share is \"{share}\": use 1% to 99%"));
        }
        if lasts.0 == 0 || lasts.0 > 30 * 86_400_000 {
            return Some(format!("lasts is \"{lasts}\": use 1ms to 30days"));
        }
        if max_error_rate.0 > 100 {
            return Some(format!(
                "maxErrorRate is \"{max_error_rate}\": use 0% to 100%"
            ));
        }
        if max_slowdown.0 < 100 {
            return Some(format!(
                "maxSlowdown is \"{max_slowdown}\": use 100% or more"
            ));
        }
        (*min_calls == 0).then(|| "minCalls is 0: use 1 or more".to_owned())
    }

    /// Whether calls about this belong to the new version: always the same answer for the same pair.
    pub fn draws(&self, version: Digest, key: &[u8]) -> bool {
        let digest = Digest::of_parts(&[version.as_bytes(), key]);
        let first = digest
            .as_bytes()
            .iter()
            .take(4)
            .fold(0u32, |n, byte| n << 8 | u32::from(*byte));
        u64::from(first) * 100 < u64::from(self.share.0) << 32
    }
}

/// Calls of one operation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Count {
    /// All of them.
    pub calls: u64,
    /// Those that did not answer well.
    pub failures: u64,
    /// Of those that answered.
    pub total_micros: u64,
}

impl Count {
    fn answered(&self) -> u64 {
        self.calls.saturating_sub(self.failures)
    }

    fn mean(&self) -> Option<f64> {
        (self.answered() > 0).then(|| self.total_micros as f64 / self.answered() as f64)
    }
}

/// The calls of one version, by operation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Counts(pub BTreeMap<String, Count>);

impl Counts {
    /// Counts a call of this operation, which took so many microseconds.
    pub fn add(&mut self, operation: &str, micros: u64, failed: bool) {
        let count = match self.0.get_mut(operation) {
            Some(count) => count,
            None => self.0.entry(operation.to_owned()).or_default(),
        };
        count.calls += 1;
        if failed {
            count.failures += 1;
        } else {
            count.total_micros = count.total_micros.saturating_add(micros);
        }
    }

    /// Calls of all operations.
    pub fn calls(&self) -> u64 {
        self.0.values().map(|c| c.calls).sum()
    }

    /// Failures of all operations.
    pub fn failures(&self) -> u64 {
        self.0.values().map(|c| c.failures).sum()
    }
}

/// What is to be done with a canary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is too early to say.
    Wait,
    /// It does worse: the reason, as a sentence.
    Return(String),
    /// It has done well for as long as was asked.
    Promote,
}

/// `watched`: since it was started.
pub fn judge(terms: &Terms, watched: Millis, old: &Counts, new: &Counts) -> Verdict {
    let (calls, failures) = (new.calls(), new.failures());
    let enough = calls >= u64::from(terms.min_calls);
    // What the old one does not manage either is not the new one's fault.
    let expected = if old.calls() == 0 {
        0.0
    } else {
        old.failures() as f64 / old.calls() as f64 * calls as f64
    };
    // Before enough calls were seen: as soon as even good ones to come could not make up for it.
    let allowed = terms.max_error_rate.share() * calls.max(u64::from(terms.min_calls)) as f64;
    if failures as f64 - expected > allowed {
        let old = format!("{} of {} of the old one", old.failures(), old.calls());
        return Verdict::Return(format!(
            "{failures} of its {calls} calls failed, and {old}: more than maxErrorRate of {} allows",
            terms.max_error_rate
        ));
    }
    if enough && let Some((took, would)) = compare(old, new) {
        let factor = took / would.max(1.0);
        if took - would > NOISE && factor > terms.max_slowdown.share() {
            let (took, would) = (took.round(), would.round());
            return Verdict::Return(format!(
                "its calls take {took} µs on average, and the same calls of the old one {would} µs: more than maxSlowdown of {} allows",
                terms.max_slowdown
            ));
        }
    }
    if enough && watched >= terms.lasts {
        Verdict::Promote
    } else {
        Verdict::Wait
    }
}

/// The mean of the new version's calls, and what the old one would have taken for the same mixture, in microseconds. Operations that only
/// one of them has answered say nothing.
fn compare(old: &Counts, new: &Counts) -> Option<(f64, f64)> {
    let (mut took, mut would, mut answered) = (0.0, 0.0, 0u64);
    for (operation, count) in &new.0 {
        let before = old.0.get(operation).and_then(Count::mean);
        if let (Some(before), Some(mean)) = (before, count.mean()) {
            let n = count.answered() as f64;
            (took, would, answered) = (
                took + mean * n,
                would + before * n,
                answered + count.answered(),
            );
        }
    }
    (answered > 0).then(|| (took / answered as f64, would / answered as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(all: &[(&str, u64, u64, u64)]) -> Counts {
        let one = |&(name, calls, failures, mean): &(&str, u64, u64, u64)| {
            (
                name.to_owned(),
                Count {
                    calls,
                    failures,
                    total_micros: mean * (calls - failures),
                },
            )
        };
        Counts(all.iter().map(one).collect())
    }

    #[test]
    fn the_share_is_kept_and_sticks() {
        let terms = Terms::new(Percent(10));
        let version = Digest::of(b"new");
        let drawn = (0..10_000u32)
            .filter(|n| terms.draws(version, &n.to_be_bytes()))
            .count();
        assert!((850..1_150).contains(&drawn), "{drawn}");
        assert!(
            (0..100u32).all(|n| terms.draws(version, &n.to_be_bytes())
                == terms.draws(version, &n.to_be_bytes()))
        );
        let all = Terms::new(Percent(99));
        assert!(
            (0..100u32)
                .filter(|n| all.draws(version, &n.to_be_bytes()))
                .count()
                > 90
        );
    }

    #[test]
    fn it_returns_when_it_is_worse_and_only_then() {
        let terms = Terms {
            min_calls: 20,
            ..Terms::new(Percent(10))
        };
        let (early, late) = (Millis(1), Millis::from_secs(601));
        let old = counts(&[("place", 200, 0, 10_000)]);
        let told = |watched, old: &Counts, new: &[(&str, u64, u64, u64)]| {
            judge(&terms, watched, old, &counts(new))
        };
        assert_eq!(
            told(late, &old, &[("place", 19, 0, 10_000)]),
            Verdict::Wait,
            "too few calls"
        );
        assert_eq!(
            told(early, &old, &[("place", 20, 0, 10_000)]),
            Verdict::Wait,
            "too early"
        );
        assert_eq!(
            told(late, &old, &[("place", 20, 1, 10_000)]),
            Verdict::Promote
        );
        // One failure of twenty is allowed; the second decides, however many calls are to come.
        assert_eq!(told(early, &old, &[("place", 1, 1, 0)]), Verdict::Wait);
        assert!(
            matches!(told(early, &old, &[("place", 2, 2, 0)]), Verdict::Return(why) if why.contains("2 of its 2 calls failed"))
        );
        // A cloud that is down is down for both.
        let down = counts(&[("apply", 100, 100, 0)]);
        assert_eq!(told(early, &down, &[("apply", 10, 10, 0)]), Verdict::Wait);
        assert!(
            matches!(told(early, &old, &[("place", 20, 0, 21_000)]), Verdict::Return(why) if why.contains("21000 µs"))
        );
        assert_eq!(
            told(early, &old, &[("place", 20, 0, 19_000)]),
            Verdict::Wait
        );
        // Microseconds are noise, and so is another mixture of calls.
        let quick = counts(&[("observe", 100, 0, 100), ("apply", 100, 0, 50_000)]);
        assert_eq!(
            told(early, &quick, &[("observe", 20, 0, 900)]),
            Verdict::Wait
        );
        assert_eq!(
            told(
                early,
                &quick,
                &[("observe", 2, 0, 100), ("apply", 40, 0, 50_000)]
            ),
            Verdict::Wait
        );
    }

    #[test]
    fn terms_that_can_not_be_used_are_named() {
        let good = Terms::new(Percent(10));
        assert_eq!(good.fault(), None);
        for (bad, part) in [
            (
                Terms {
                    share: Percent(0),
                    ..good
                },
                "share",
            ),
            (
                Terms {
                    share: Percent(100),
                    ..good
                },
                "share",
            ),
            (
                Terms {
                    lasts: Millis(0),
                    ..good
                },
                "lasts",
            ),
            (
                Terms {
                    max_error_rate: Percent(101),
                    ..good
                },
                "maxErrorRate",
            ),
            (
                Terms {
                    max_slowdown: Percent(99),
                    ..good
                },
                "maxSlowdown",
            ),
            (
                Terms {
                    min_calls: 0,
                    ..good
                },
                "minCalls",
            ),
        ] {
            assert!(
                bad.fault().is_some_and(|why| why.starts_with(part)),
                "{part}"
            );
        }
    }
}
