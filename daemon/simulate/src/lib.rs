//! Simulation: a trace of requests against recorded offers, with a real policy. Pure and deterministic: the only clock is the simulated one,
//! which jumps from one event to the next (somebody asks, something ends, offers change). What is free, what a policy is asked, which of its
//! answers count and who gives way to whom is decided by the code that decides for real clouds. It must not know clouds, how a policy is run, or who reads the report.
//!
//! What is simplified: a replica runs from the moment it has a place, and ends when its time is over; nothing fails.
#![warn(missing_docs)]

pub mod alibaba;
mod chart;
mod engine;
mod ledger;
pub mod offers;
mod report;
mod series;
#[cfg(test)]
mod tests;
pub mod trace;
mod world;

use serde::Serialize;

use tradewind_core::{
    failure::Failure,
    names::{InstanceName, Namespace, TaskName},
    placement::Refusal,
    plugin::Identity,
    units::{MicroUsd, Millis},
};

pub use engine::run;
pub use offers::OfferSet;
pub use series::{Amounts, Row, Series};
pub use trace::{Kind, Request};

/// How to simulate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// When to stop. Default: with the last event.
    pub until: Option<Millis>,
    /// The most tasks in one policy call: the first of the queue, which is ordered by priority, then by arrival. Default 1000.
    pub batch: usize,
    /// Whether offers that may be taken back may be used. Default: no.
    pub spot: bool,
    /// Whether a task may take places of other namespaces. Default: no.
    pub preempt_across_namespaces: bool,
    /// Of the first policy call; every further one has the next. Default 0.
    pub seed: u64,
    /// How long a row of the series is, as long as that makes at most 100,000 of them. Default: the finest with at most 1000 rows.
    pub step: Option<Millis>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            until: None,
            batch: 1000,
            spot: false,
            preempt_across_namespaces: false,
            seed: 0,
            step: None,
        }
    }
}

/// Why a simulation stopped.
#[derive(Debug, thiserror::Error)]
#[allow(
    missing_docs,
    reason = "the messages say what the variants and their fields mean"
)]
pub enum Error {
    #[error("after {at}: the policy \"{}\" failed", policy.instance)]
    Policy {
        at: Millis,
        policy: Box<Identity>,
        source: Box<Failure>,
    },
    #[error("after {at}: the answer of the policy \"{}\" is refused", policy.instance)]
    Refused {
        at: Millis,
        policy: Box<Identity>,
        source: Box<Refusal>,
    },
}

/// Where something ran.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Place {
    /// The provider instance.
    pub provider: InstanceName,
    /// Its region. Empty: it has none.
    pub region: String,
    /// The instance type or size class.
    pub size: String,
    /// The offer, by the provider's own name for it.
    pub offer: String,
}

/// So many replicas of a task ran at a place from one time to another, at one price.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Booking {
    /// Index into the requests.
    pub task: usize,
    /// Index into the places.
    pub place: u32,
    /// How many ran.
    pub replicas: u32,
    /// Milliseconds.
    pub from: u64,
    /// Milliseconds from the start of the trace.
    pub to: u64,
    /// Of all these replicas, the set-up price included.
    pub cost: MicroUsd,
}

/// What a simulation has found.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The numbers of the whole simulation.
    pub summary: Summary,
    /// What happened over time.
    pub series: Series,
    /// In the order in which they were closed.
    pub bookings: Vec<Booking>,
    /// Every place that was offered, in the order in which the places appeared.
    pub places: Vec<Place>,
}

/// The numbers of a whole simulation.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// The policy that decided.
    pub policy: Identity,
    /// The simulated time.
    pub time: Millis,
    /// What has become of the tasks.
    pub tasks: Fates,
    /// Of all replicas, set-up prices included.
    pub cost: MicroUsd,
    /// By place, the dearest first.
    pub places: Vec<PlaceUse>,
    /// In cores.
    pub cpu: Utilization,
    /// In GiB.
    pub memory: Utilization,
    /// In whole accelerators.
    pub accelerators: Utilization,
    /// How long the queue was, and how long replicas waited in it.
    pub queue: Queue,
    /// Replicas that gave their place to a higher priority.
    pub preemptions: u64,
    /// Replicas whose place vanished.
    pub interruptions: u64,
    /// Replicas that the policy moved.
    pub moves: u64,
    /// Replica hours that jobs had run when they were stopped, and have to run again.
    pub lost_hours: f64,
    /// Policy calls.
    pub decisions: u64,
    /// At most 20 of those that no offer can ever hold.
    pub impossible: Vec<ImpossibleTask>,
}

/// What has become of the tasks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Fates {
    /// All tasks of the trace.
    pub total: u64,
    /// All its replicas have run to their end.
    pub ended: u64,
    /// Some of its replicas run at the end.
    pub running: u64,
    /// None of its replicas runs at the end, and some still have to.
    pub waiting: u64,
    /// It was given up: no offer could hold it any more.
    pub impossible: u64,
    /// It was to come after the end.
    pub not_arrived: u64,
}

/// What ran at a place, and what it cost.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PlaceUse {
    /// Where it ran.
    #[serde(flatten)]
    pub place: Place,
    /// The hours of all replicas together.
    pub replica_hours: f64,
    /// Of all these replicas, set-up prices included.
    pub cost: MicroUsd,
}

/// Averages over the simulated time: cores, GiB or accelerators.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Utilization {
    /// Of all offers.
    pub used: f64,
    /// Of the offers whose limit is known.
    pub capacity: f64,
    /// What is used of that capacity, 0 … 1. Absent: no limit is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share: Option<f64>,
}

/// How many tasks waited for a place, and for how long.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Queue {
    /// Tasks, over the simulated time.
    pub average: f64,
    /// Tasks at once.
    pub most: u32,
    /// How long replicas that got a place had waited for it.
    pub waited_half: Millis,
    /// Nine of ten replicas waited no longer.
    pub waited_90: Millis,
    /// Ninety-nine of a hundred replicas waited no longer.
    pub waited_99: Millis,
    /// No replica waited longer.
    pub waited_longest: Millis,
}

/// A task that was given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ImpossibleTask {
    /// Its namespace.
    pub namespace: Namespace,
    /// Its name in the trace.
    pub name: TaskName,
    /// Why no offer can hold it.
    pub reason: String,
}
