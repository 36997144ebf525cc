//! The call of a policy: what it is asked about a batch, and what it answers, before anything of that has been checked.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    offer::Offer,
    workload::{Labels, Resources},
};
use crate::base::{
    names::{DeploymentName, InstanceName, Namespace, TaskName},
    units::{Bytes, MicroUsd, Millis},
};

/// Over what a task's replicas shall be spread.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Spread {
    /// There are no domains.
    #[default]
    None,
    /// Those of one zone.
    Zone,
    /// Those of one region.
    Region,
    /// Those of one provider.
    Provider,
}

impl Spread {
    /// Of what kind one domain is.
    pub fn word(self) -> &'static str {
        match self {
            Self::None => "place",
            Self::Zone => "zone",
            Self::Region => "region",
            Self::Provider => "provider",
        }
    }
}

/// What a task's owner expects of it. No constraint: policies may weigh it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Expected {
    /// What moving one running replica costs.
    pub migration_cost: MicroUsd,
    /// Sent out of its region by one replica per hour.
    pub egress: Bytes,
    /// Requests per second in all; none: unknown.
    pub request_rate: Option<f64>,
}

impl Expected {
    /// Nothing is expected.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// An offer and the provider instance that made it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlacedOffer {
    /// The provider instance.
    pub provider: InstanceName,
    /// What it offers.
    pub offer: Offer,
}

/// One task of a batch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// The namespace of its deployment.
    pub namespace: Namespace,
    /// The deployment that it belongs to.
    pub deployment: DeploymentName,
    /// The task's name in the deployment.
    pub name: TaskName,
    /// Index into the shapes.
    pub shape: u32,
    /// In all, those that run already included.
    pub replicas: u32,
    /// Higher goes first.
    pub priority: i32,
    /// It runs to its end.
    pub job: bool,
    /// The domains over which its replicas are spread.
    pub spread: Spread,
    /// The most replicas in one domain; `u32::MAX`: no limit.
    pub spread_max: u32,
    /// The most per hour in all; `MicroUsd::MAX`: no limit.
    pub max_hourly: MicroUsd,
    /// Where it runs now: (index into the offers, replicas).
    pub current: Vec<(u32, u32)>,
    /// The labels of its workload.
    pub labels: Labels,
    /// Its word is unique over all namespaces, as is that of the anti-affinity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Group>,
    /// Tasks with which it shares no domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anti_affinity: Option<Group>,
    /// From now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Millis>,
    /// What else is expected of it.
    #[serde(default, skip_serializing_if = "Expected::is_nothing")]
    pub expected: Expected,
}

/// Tasks that need the same share one shape.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Shape {
    /// What one replica asks for.
    pub resources: Resources,
    /// A job's on the reference machine, a service's by the clock.
    pub duration: Millis,
}

/// Candidates in columns, listed shape by shape, each shape's in ascending order of the offer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Candidates {
    /// Shape i's: `start[i]..start[i+1]`. One longer than the shapes.
    pub start: Vec<u32>,
    /// Index into the offers.
    pub offer: Vec<u32>,
    /// Micro-USD for one replica for the whole estimate.
    pub cost: Vec<u64>,
    /// The same, weighed with how the place has been doing lately: what a policy sees as the cost. Empty: the cost itself.
    #[serde(default)]
    pub expected: Vec<u64>,
    /// Micro-USD for one replica and hour.
    pub hourly: Vec<u64>,
    /// R of C = c·R·T.
    pub units: Vec<f64>,
    /// T of C = c·R·T: of a job the duration divided by the offer's performance, of a service the duration.
    pub hours: Vec<f64>,
}

impl Candidates {
    /// The range of a shape's candidates; empty for an unknown shape.
    pub fn of(&self, shape: u32) -> std::ops::Range<usize> {
        let at = |i: usize| self.start.get(i).map_or(self.offer.len(), |&s| s as usize);
        let i = shape as usize;
        if i + 1 < self.start.len() {
            at(i)..at(i + 1)
        } else {
            0..0
        }
    }
}

/// One batch, as a policy sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// The number to break ties with.
    pub seed: u64,
    /// The tasks to place.
    pub tasks: Vec<Task>,
    /// What tasks need, each once.
    pub shapes: Vec<Shape>,
    /// For each shape the offers that satisfy its constraints, with their costs.
    pub candidates: Candidates,
    /// Shared between the requests of one assessment.
    pub offers: Arc<Vec<PlacedOffer>>,
}

/// A policy's answer as it came, before anything has been checked.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// Index of the task, row by row.
    pub task: Vec<u32>,
    /// Index of the offer, row by row.
    pub offer: Vec<u32>,
    /// Replicas of that task at that offer, row by row.
    pub replicas: Vec<u32>,
    /// Parallel to the candidates, or empty.
    pub scores: Vec<f64>,
    /// (task, replicas, reason)
    pub unplaced: Vec<(u32, u32, String)>,
    /// No choice of as many replicas costs less. `None`: the policy does not say.
    pub lower_bound: Option<MicroUsd>,
    /// What the policy has to say about the whole batch.
    pub note: String,
}

/// Tasks that belong together, or apart: those with the same word. Where they name different kinds of domain the strictest counts: the
/// narrowest for those that share one, the widest for those that share none.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Group {
    /// The word.
    pub word: String,
    /// The kind of domain.
    pub over: Spread,
}
