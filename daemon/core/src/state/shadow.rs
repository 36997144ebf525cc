//! What has come of a shadow policy so far, and how it is told.

use std::collections::VecDeque;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::base::{
    names::{DecisionId, DeploymentName, InstanceName, TaskName},
    units::{Instant, MicroUsd},
};

/// Differing tasks that are kept as examples.
const EXAMPLES: usize = 20;
/// Calls over which the latencies are told.
const SAMPLES: usize = 1_000;
/// A shadow that fails so many times in a row is asked no more.
const PATIENCE: u32 = 10;

/// What choices cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Cost {
    /// US dollars per hour.
    pub hourly: MicroUsd,
    /// US dollars for the tasks' whole estimated durations.
    pub estimated: MicroUsd,
    /// Replicas without a place: they cost nothing, so costs compare only where both sides have as many.
    pub unplaced: u64,
}

impl Cost {
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            hourly: self.hourly.saturating_add(other.hourly),
            estimated: self.estimated.saturating_add(other.estimated),
            unplaced: self.unplaced.saturating_add(other.unplaced),
        }
    }
}

/// Replicas on an offer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "ShadowPick")]
#[serde(rename_all = "camelCase")]
pub struct Pick {
    /// The provider instance.
    pub provider: InstanceName,
    /// The region. Empty: the provider has none.
    pub region: String,
    /// The instance type or size class.
    pub size: String,
    /// The provider's name for the offer.
    pub offer: String,
    /// How many.
    pub replicas: u32,
}

/// A task for which the shadow would have chosen otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "ShadowDifference")]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    /// When it was decided.
    pub at: Instant,
    /// The decision that counted. Absent: it was not kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<DecisionId>,
    /// The deployment that it belongs to.
    pub deployment: DeploymentName,
    /// The task's name in the deployment.
    pub task: TaskName,
    /// Where it was placed.
    pub live: Vec<Pick>,
    /// What that costs.
    pub live_cost: Cost,
    /// Where the shadow would have placed it.
    pub shadow: Vec<Pick>,
    /// What that would have cost.
    pub shadow_cost: Cost,
}

/// The answers to one request, side by side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// The cost of the answer that counted.
    pub live: Cost,
    /// The cost of the shadow's answer.
    pub shadow: Cost,
    /// Tasks that differ.
    pub differing: Vec<Difference>,
}

/// The latencies of the last calls, in microseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Samples(VecDeque<u32>);

impl Samples {
    pub(crate) fn push(&mut self, micros: u64) {
        if self.0.len() >= SAMPLES {
            self.0.pop_front();
        }
        self.0.push_back(u32::try_from(micros).unwrap_or(u32::MAX));
    }

    /// The smallest latency that so many hundredths of the calls do not pass (nearest rank), in microseconds. None: there were no calls.
    pub fn percentile(&self, hundredths: usize) -> Option<u64> {
        let mut sorted: Vec<u32> = self.0.iter().copied().collect();
        sorted.sort_unstable();
        let rank = (sorted.len() * hundredths).div_ceil(100).max(1);
        sorted.get(rank - 1).map(|micros| u64::from(*micros))
    }
}

/// What the shadow did with a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    /// It answered acceptably.
    Answer(Comparison),
    /// It answered with what can't be accepted.
    Refused(String),
    /// It did not answer.
    Fault(String),
}

/// What has come of a shadow so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Tally {
    /// Requests that it was asked about.
    pub seen: u64,
    /// Those that it answered acceptably.
    pub compared: u64,
    /// Those of which it would have decided a task otherwise.
    pub differing: u64,
    /// Requests that came while its queue was full or it was suspended.
    pub dropped: u64,
    /// Answers that broke a rule.
    pub refused: u64,
    /// Calls without an answer: traps, deadlines, limits.
    pub faults: u64,
    /// What the last refusal or fault was.
    pub last_fault: Option<String>,
    /// Failures since its last acceptable answer.
    pub in_a_row: u32,
    /// Of what was compared.
    #[serde(with = "cost")]
    pub live: Cost,
    /// What the shadow's choices would have cost.
    #[serde(with = "cost")]
    pub shadow: Cost,
    /// Newest first.
    #[serde(with = "difference::list")]
    pub examples: VecDeque<Difference>,
    /// How long the last calls of the live policy took.
    pub live_micros: Samples,
    /// How long the last calls of the shadow took.
    pub shadow_micros: Samples,
}

impl Tally {
    /// Takes up what became of one request. The latencies are microseconds.
    pub fn hear(&mut self, heard: Heard, live_micros: u64, shadow_micros: u64) {
        self.seen += 1;
        self.live_micros.push(live_micros);
        self.shadow_micros.push(shadow_micros);
        let failed = match heard {
            Heard::Answer(comparison) => {
                self.compared += 1;
                self.differing += u64::from(!comparison.differing.is_empty());
                (self.live, self.shadow) = (
                    self.live.plus(comparison.live),
                    self.shadow.plus(comparison.shadow),
                );
                comparison
                    .differing
                    .into_iter()
                    .for_each(|d| self.examples.push_front(d));
                self.examples.truncate(EXAMPLES);
                self.in_a_row = 0;
                return;
            }
            Heard::Refused(why) => {
                self.refused += 1;
                why
            }
            Heard::Fault(why) => {
                self.faults += 1;
                why
            }
        };
        self.in_a_row = self.in_a_row.saturating_add(1);
        self.last_fault = Some(failed);
    }

    /// Goes on from what was stored; what has come since is little.
    pub fn resume(&mut self, before: Self) {
        let dropped = self.dropped;
        *self = before;
        self.dropped += dropped;
    }

    /// Whether it failed so often that it is asked no more.
    pub fn is_suspended(&self) -> bool {
        self.in_a_row >= PATIENCE
    }

    /// As it is told.
    pub fn report(&self) -> Report {
        Report {
            seen: self.seen,
            compared: self.compared,
            differing: self.differing,
            dropped: self.dropped,
            refused: self.refused,
            faults: self.faults,
            last_fault: self.last_fault.clone(),
            suspended: self.is_suspended(),
            live: self.live,
            shadow: self.shadow,
            hourly_difference_micro_usd: signed(self.live.hourly, self.shadow.hourly),
            estimated_difference_micro_usd: signed(self.live.estimated, self.shadow.estimated),
            live_latency: Latency::of(&self.live_micros),
            shadow_latency: Latency::of(&self.shadow_micros),
            examples: self.examples.iter().cloned().collect(),
        }
    }
}

/// How long the last calls took, at most a thousand of them, in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Latency {
    /// Half of the calls took at most so long. Absent: there were none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p50_micros: Option<u64>,
    /// Of a hundred calls 99 took at most so long. Absent: there were none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p99_micros: Option<u64>,
}

impl Latency {
    fn of(samples: &Samples) -> Self {
        Self {
            p50_micros: samples.percentile(50),
            p99_micros: samples.percentile(99),
        }
    }
}

/// What a shadow would have done, and what was done.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "ShadowReport")]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Decisions that the shadow was asked about.
    pub seen: u64,
    /// Those that it answered acceptably: the costs are of these.
    pub compared: u64,
    /// Those of which it would have decided at least one task otherwise.
    pub differing: u64,
    /// Decisions that it was not asked about: they came while its queue was full or it was suspended.
    pub dropped: u64,
    /// Answers that broke a rule.
    pub refused: u64,
    /// Calls without an answer: traps, deadlines, limits.
    pub faults: u64,
    /// What the last refusal or fault was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_fault: Option<String>,
    /// It failed too often in a row and is asked no more.
    pub suspended: bool,
    /// What the choices cost that counted.
    pub live: Cost,
    /// What the shadow's choices would have cost.
    pub shadow: Cost,
    /// Micro-USD per hour that the shadow's choices cost more; below zero: less.
    pub hourly_difference_micro_usd: i64,
    /// The same for the tasks' whole estimated durations, in micro-USD.
    pub estimated_difference_micro_usd: i64,
    /// How long calls of the live policy took.
    pub live_latency: Latency,
    /// How long calls of the shadow took.
    pub shadow_latency: Latency,
    /// The newest first, at most twenty.
    #[serde(default)]
    pub examples: Vec<Difference>,
}

/// How much more the second is, in micro-USD.
fn signed(from: MicroUsd, to: MicroUsd) -> i64 {
    let difference = i128::from(to.0) - i128::from(from.0);
    i64::try_from(difference).unwrap_or(if difference < 0 { i64::MIN } else { i64::MAX })
}

crate::state::forms::kept!(cost, Cost, "CostForm", CostForm);
crate::state::forms::kept!(pick, Pick, "PickForm", PickForm);
crate::state::forms::kept!(difference, Difference, "DifferenceForm", DifferenceForm);

#[derive(Serialize, Deserialize)]
#[serde(remote = "Cost", rename_all = "camelCase")]
struct CostForm {
    #[serde(default)]
    hourly: MicroUsd,
    #[serde(default)]
    estimated: MicroUsd,
    #[serde(default)]
    unplaced: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Pick", rename_all = "camelCase")]
struct PickForm {
    provider: InstanceName,
    region: String,
    size: String,
    offer: String,
    replicas: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Difference", rename_all = "camelCase")]
struct DifferenceForm {
    at: Instant,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    decision: Option<DecisionId>,
    deployment: DeploymentName,
    task: TaskName,
    #[serde(with = "pick::list")]
    live: Vec<Pick>,
    #[serde(with = "cost")]
    live_cost: Cost,
    #[serde(with = "pick::list")]
    shadow: Vec<Pick>,
    #[serde(with = "cost")]
    shadow_cost: Cost,
}
