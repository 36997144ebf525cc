//! Scaling: how many replicas of a task its load asks for. Pure: a rule, what is known of the load, what was advised before, and the time
//! of a steady clock go in; a number and its reason come out. It must not know where readings come from or how replicas are made.
//!
//! The formula is the one of Kubernetes' horizontal autoscaler (kubernetes.io, "Horizontal Pod Autoscaling", algorithm details): replicas ×
//! load ÷ target, rounded up, within a tolerance, smoothed over a window, and never less on missing data.

mod load;
mod window;

pub use crate::{
    spec::rules::scaling::{CPU, REQUESTS, Rule},
    state::scaling::TaskScale,
};

use std::collections::VecDeque;

use crate::{
    base::units::Millis,
    lifecycle::cron,
    spec::{
        manifest::{self, Resolved},
        workload::Run,
    },
    state::record::DeploymentRecord,
};

use load::{Asked, Known};
pub use load::{Load, STALE, Told};
use window::Window;

/// Growth is limited over this span.
const STEP_PERIOD: Millis = Millis::from_secs(15);
/// So many more are always allowed within it.
const STEP_LEAST: u32 = 4;

/// What is to be done now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advice {
    /// How many replicas there should be.
    pub replicas: u32,
    /// The load that asks for it.
    pub why: String,
    /// Time alone will change the advice after this.
    pub again: Option<Millis>,
}

/// What has been advised before. It can be lost: the number of replicas then stands for it.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    /// The highest of what was asked for lately, and the lowest.
    high: Window,
    low: Window,
    /// When it grew, and from how many.
    grown: VecDeque<(Millis, u32)>,
    known: Known,
    /// Since when there has been no load.
    quiet: Option<Millis>,
    /// When it was left without replicas: what was told before does not wake it.
    asleep: Option<Millis>,
}

// === impl Rule ===

/// The tasks of a deployment, each with as many replicas as its load asks for, and jobs with the run that counts.
pub fn resolve(record: &DeploymentRecord) -> Vec<Resolved> {
    let mut tasks = manifest::resolve(&record.manifest);
    for task in &mut tasks {
        task.since.generation = record
            .reruns
            .iter()
            .find(|r| r.task == task.name)
            .map_or(0, |r| r.generation);
        if task.workload.run == Run::Service {
            let mine = record.restarts.iter().filter(|r| r.task == task.name);
            task.workload.restart = mine.map(|r| r.generation).max().unwrap_or(0);
        }
        cron::resolve(record, task);
        if let Some(rule) = &task.scale {
            let scaled = find(&record.scales, task).map_or(task.replicas, |s| s.replicas);
            task.replicas = rule.clamp(scaled);
        }
    }
    tasks
}

/// The scale of a task, if it has been scaled.
pub fn find<'a>(scales: &'a [TaskScale], task: &Resolved) -> Option<&'a TaskScale> {
    scales
        .iter()
        .find(|s| s.task == task.name && s.target == task.target)
}

// === impl Memory ===

impl Memory {
    /// The number of replicas has been set by somebody: that counts as if the load had asked for it.
    pub fn set(&mut self, replicas: u32, now: Millis) {
        let known = self.known;
        *self = Self {
            known,
            quiet: Some(now),
            asleep: (replicas == 0).then_some(now),
            ..Self::default()
        };
        self.high.note(now, replicas, u32::ge);
    }

    /// How many replicas there should be instead of `current`.
    pub fn advise(&mut self, rule: &Rule, current: u32, load: &Load, now: Millis) -> Advice {
        let current = rule.clamp(current);
        if self.high.is_empty() {
            // After a start nothing is known of the past but its outcome.
            self.high.note(now, current, u32::ge);
        }
        if rule.job && current > 0 && load.ended && rule.min == 0 {
            self.asleep = Some(now);
            return Advice {
                replicas: 0,
                why: "its replicas have done their work".to_owned(),
                again: None,
            };
        }
        if current > 0 {
            self.asleep = None;
        }
        let asked = self.known.ask(rule, current, load, now, self.asleep);
        self.rest(&asked, now);
        if self.may_sleep(rule, current, now) {
            self.asleep = Some(now);
            return Advice {
                replicas: 0,
                why: format!("there has been no load for {}", rule.idle),
                again: None,
            };
        }
        if current == 0 && !asked.loaded {
            return Advice {
                replicas: 0,
                why: "there is no load".to_owned(),
                again: None,
            };
        }
        let steady = self.steady(rule, current, &asked, now);
        let replicas = self.step(rule, current, steady, now);
        let replicas = rule.clamp(if rule.job {
            replicas.max(current)
        } else {
            replicas.max(1)
        });
        if replicas > current {
            self.grown.push_back((now, current));
        }
        Advice {
            replicas,
            why: asked.why,
            again: self.again(rule, now),
        }
    }

    /// Notes whether there is load. What is not known is no rest.
    fn rest(&mut self, asked: &Asked, now: Millis) {
        if asked.quiet {
            _ = self.quiet.get_or_insert(now);
        } else {
            self.quiet = None;
        }
    }

    fn may_sleep(&self, rule: &Rule, current: u32, now: Millis) -> bool {
        let rested = self
            .quiet
            .is_some_and(|since| since_then(now, since) >= rule.idle);
        rule.min == 0 && !rule.job && current > 0 && rested
    }

    /// What the load has asked for throughout the windows.
    fn steady(&mut self, rule: &Rule, current: u32, asked: &Asked, now: Millis) -> u32 {
        let wanted = rule.clamp(asked.replicas);
        self.high.note(now, wanted, u32::ge);
        self.low.note(now, wanted, u32::le);
        let highest = self.high.extreme(now, rule.down).unwrap_or(wanted);
        let lowest = self.low.extreme(now, rule.up).unwrap_or(wanted);
        if current == 0 {
            lowest.max(1)
        } else {
            current.max(lowest).min(highest.max(lowest))
        }
    }

    /// Growth within what the period allows.
    fn step(&mut self, rule: &Rule, current: u32, wanted: u32, now: Millis) -> u32 {
        while self
            .grown
            .front()
            .is_some_and(|(at, _)| since_then(now, *at) >= STEP_PERIOD)
        {
            self.grown.pop_front();
        }
        if wanted <= current {
            return wanted;
        }
        let base = self
            .grown
            .iter()
            .map(|(_, before)| *before)
            .min()
            .unwrap_or(current)
            .min(current);
        let more = (f64::from(base) * rule.step).ceil() as u32;
        wanted
            .min(base.saturating_add(more.max(STEP_LEAST)))
            .max(current)
    }

    fn again(&self, rule: &Rule, now: Millis) -> Option<Millis> {
        let idle = self
            .quiet
            .filter(|_| rule.min == 0)
            .map(|since| left(now, since, rule.idle));
        let grown = self
            .grown
            .front()
            .map(|(at, _)| left(now, *at, STEP_PERIOD));
        let windows = [
            self.high.leaves(now, rule.down),
            self.low.leaves(now, rule.up),
        ];
        [idle, grown].into_iter().chain(windows).flatten().min()
    }
}

fn since_then(now: Millis, then: Millis) -> Millis {
    Millis(now.0.saturating_sub(then.0))
}

fn left(now: Millis, since: Millis, span: Millis) -> Millis {
    Millis(span.0.saturating_sub(since_then(now, since).0))
}

#[cfg(test)]
mod tests;
