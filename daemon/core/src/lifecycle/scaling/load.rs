//! What is known of a task's load, and how many replicas each measure asks for.

use super::{REQUESTS, Rule, since_then};
use crate::base::units::Millis;

/// What was told longer ago says nothing about now.
pub const STALE: Millis = Millis::from_secs(120);

/// Readings of one task.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Load {
    /// Millicores of each copy that is ready; `None`: not known.
    pub cpu: Vec<Option<f64>>,
    /// Requests per second of each copy that is ready; `None`: not known.
    pub requests: Vec<Option<f64>>,
    /// Pushed: requests per second of all replicas together.
    pub told_requests: Option<Told>,
    /// Pushed: the value of the rule's own metric over all replicas together.
    pub told_metric: Option<Told>,
    /// Every copy of a job has succeeded.
    pub ended: bool,
}

/// A value that somebody has pushed, and when.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Told {
    /// The value.
    pub value: f64,
    /// When it was pushed, on the steady clock.
    pub at: Millis,
}

/// What the measures ask for together.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Asked {
    pub(super) replicas: u32,
    pub(super) why: String,
    /// Some measure that can wake the task says that there is load.
    pub(super) loaded: bool,
    /// Every such measure is known and says that there is none.
    pub(super) quiet: bool,
}

/// Which measures a provider has ever reported above zero. Its contract writes 0 for "unknown" as well: until then 0 is not believed.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Known {
    cpu: bool,
    requests: bool,
}

/// One measure's answer.
struct Answer {
    /// None: it is not known.
    replicas: Option<u32>,
    why: String,
    /// In all; None: not known.
    total: Option<f64>,
    /// Load of it can wake the task.
    wakes: bool,
}

impl Known {
    pub(super) fn ask(
        &mut self,
        rule: &Rule,
        current: u32,
        load: &Load,
        now: Millis,
        asleep: Option<Millis>,
    ) -> Asked {
        let mut answers = Vec::new();
        if let Some(target) = rule.cpu {
            let cpu = believed(&mut self.cpu, &load.cpu);
            answers.push(Answer {
                wakes: false,
                ..observed("cpu", "m", &cpu, current, target, rule.tolerance)
            });
        }
        if let Some(target) = rule.requests {
            answers.push(match fresh(load.told_requests, now, asleep) {
                Some(total) => pushed(REQUESTS, total, current, target, rule.tolerance),
                None => observed(
                    REQUESTS,
                    " per second",
                    &believed(&mut self.requests, &load.requests),
                    current,
                    target,
                    rule.tolerance,
                ),
            });
        }
        if let Some((name, target)) = &rule.metric {
            answers.push(match fresh(load.told_metric, now, asleep) {
                Some(total) => pushed(name.as_str(), total, current, *target, rule.tolerance),
                None => unknown(name.as_str()),
            });
        }
        together(&answers, current)
    }
}

/// The most demanding measure decides; one that is not known keeps the others from asking for less.
fn together(answers: &[Answer], current: u32) -> Asked {
    let best = answers
        .iter()
        .filter(|a| a.replicas.is_some())
        .max_by_key(|a| a.replicas);
    let missing = answers.iter().find(|a| a.replicas.is_none());
    let wakers = || answers.iter().filter(|a| a.wakes);
    let (replicas, why) = match (best.and_then(|b| b.replicas.map(|n| (n, b))), missing) {
        (Some((n, best)), Some(missing)) if n < current => {
            (current, format!("{}, but {}", best.why, missing.why))
        }
        (Some((n, best)), _) => (n, best.why.clone()),
        (None, missing) => (current, missing.map(|m| m.why.clone()).unwrap_or_default()),
    };
    Asked {
        replicas,
        why,
        loaded: wakers().any(|a| a.total.is_some_and(|t| t > 0.0)),
        quiet: wakers().next().is_some() && wakers().all(|a| a.total.is_some_and(|t| t <= 0.0)),
    }
}

fn fresh(told: Option<Told>, now: Millis, asleep: Option<Millis>) -> Option<f64> {
    let told =
        told.filter(|t| since_then(now, t.at) < STALE && asleep.is_none_or(|since| t.at > since))?;
    Some(told.value)
}

fn believed(known: &mut bool, readings: &[Option<f64>]) -> Vec<Option<f64>> {
    let usable = |r: &Option<f64>| r.filter(|v| v.is_finite() && *v >= 0.0);
    *known |= readings.iter().filter_map(usable).any(|v| v > 0.0);
    readings
        .iter()
        .map(|r| usable(r).filter(|_| *known))
        .collect()
}

fn unknown(name: &str) -> Answer {
    Answer {
        replicas: None,
        why: format!("{name} is not known"),
        total: None,
        wakes: true,
    }
}

fn pushed(name: &str, total: f64, current: u32, target: f64, tolerance: f64) -> Answer {
    let ratio = total / (f64::from(current) * target);
    let near = current > 0 && (ratio - 1.0).abs() <= tolerance;
    let replicas = if near {
        current
    } else {
        replicas(total, target)
    };
    Answer {
        replicas: Some(replicas),
        why: format!(
            "{name} is {}, {} for each copy",
            short(total),
            short(target)
        ),
        total: Some(total),
        wakes: true,
    }
}

/// The mean over the replicas that are ready. Where some are not known, whatever makes the change smaller is assumed of them.
fn observed(
    name: &str,
    unit: &str,
    each: &[Option<f64>],
    current: u32,
    target: f64,
    tolerance: f64,
) -> Answer {
    let values: Vec<f64> = each.iter().flatten().copied().collect();
    if values.is_empty() {
        return unknown(name);
    }
    let (sum, n) = (values.iter().sum::<f64>(), values.len());
    let missing = f64::from(current) - n as f64;
    let ratio = sum / (n as f64 * target);
    let assumed = if missing > 0.0 && ratio < 1.0 {
        sum + missing * target
    } else {
        sum
    };
    let after = assumed / (f64::from(current.max(1)) * target);
    let turned = missing > 0.0 && (after - 1.0) * (ratio - 1.0) < 0.0;
    let replicas = if turned || (after - 1.0).abs() <= tolerance {
        current
    } else {
        replicas(assumed, target)
    };
    let why = format!(
        "{name} is {}{unit} on average, {}{unit} wanted",
        short(sum / n as f64),
        short(target)
    );
    // Something may be at work where nothing is known.
    let total = (missing <= 0.0 || sum > 0.0).then_some(sum);
    Answer {
        replicas: Some(replicas),
        why,
        total,
        wakes: true,
    }
}

/// Rounded up, but not for what is only the inexactness of division. `as` saturates.
fn replicas(total: f64, target: f64) -> u32 {
    (total / target - 1e-9).ceil().max(0.0) as u32
}

/// At most two decimals.
fn short(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
