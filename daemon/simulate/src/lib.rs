//! Simulation: a trace of requests against recorded offers, with a real policy. Pure and deterministic: the only clock is the simulated one,
//! which jumps from one event to the next (somebody asks, something ends, offers change). What is free, what a policy is asked, which of its
//! answers count and who gives way to whom is decided by the code that decides for real clouds. It must not know clouds, how a policy is run, or who reads the report.
//!
//! What is simplified: a replica runs from the moment it has a place, and ends when its time is over; nothing fails.

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
    pub provider: InstanceName,
    pub region: String,
    pub size: String,
    pub offer: String,
}

/// So many replicas of a task ran at a place from one time to another, at one price.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Booking {
    /// Index into the requests.
    pub task: usize,
    /// Index into the places.
    pub place: u32,
    pub replicas: u32,
    /// Milliseconds.
    pub from: u64,
    pub to: u64,
    /// Of all these replicas, the set-up price included.
    pub cost: MicroUsd,
}

/// What a simulation has found.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    pub summary: Summary,
    pub series: Series,
    /// In the order in which they were closed.
    pub bookings: Vec<Booking>,
    pub places: Vec<Place>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    pub policy: Identity,
    /// The simulated time.
    pub time: Millis,
    pub tasks: Fates,
    pub cost: MicroUsd,
    /// By place, the dearest first.
    pub places: Vec<PlaceUse>,
    pub cpu: Utilization,
    pub memory: Utilization,
    pub accelerators: Utilization,
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
    pub total: u64,
    pub ended: u64,
    /// Some of its replicas run at the end.
    pub running: u64,
    pub waiting: u64,
    pub impossible: u64,
    /// It was to come after the end.
    pub not_arrived: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PlaceUse {
    #[serde(flatten)]
    pub place: Place,
    pub replica_hours: f64,
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

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Queue {
    /// Tasks, over the simulated time.
    pub average: f64,
    /// Tasks at once.
    pub most: u32,
    /// How long replicas that got a place had waited for it.
    pub waited_half: Millis,
    pub waited_90: Millis,
    pub waited_99: Millis,
    pub waited_longest: Millis,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ImpossibleTask {
    pub namespace: Namespace,
    pub name: TaskName,
    pub reason: String,
}
