//! What applying a manifest would change, where, what it costs and why: what a dry run finds, and what a stored plan keeps of it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    base::{
        names::{DeploymentName, InstanceName, Namespace, TaskName},
        units::MicroUsd,
        version::Identity,
    },
    spec::manifest::Target,
    state::decision::{Certificate, TaskReason},
};

/// What applying a manifest would change, where, what it costs and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Preview {
    pub namespace: Namespace,
    pub name: DeploymentName,
    /// The policy instance that decided, with its version and digest. Absent when nothing had to be decided.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "crate::state::forms::identity::optional"
    )]
    pub policy: Option<Identity>,
    pub changes: Vec<PlannedChange>,
    /// Tasks whose number of copies follows their load.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scales: Vec<ScaleBounds>,
    pub unplaced: Vec<Unplaced>,
    pub hourly_before: MicroUsd,
    pub hourly_after: MicroUsd,
    /// For the tasks' whole estimated durations.
    pub estimated_cost: MicroUsd,
    /// How far what was decided is from the least possible. Absent when nothing had to be decided.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "crate::state::decision::certificate::optional"
    )]
    pub certificate: Option<Certificate>,
    /// Providers that had not answered yet when it was decided: their offers were not among those compared.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unanswered: Vec<InstanceName>,
    /// Per task: the choice against the next best, and what excluded the rest.
    pub reasons: Vec<TaskReason>,
    /// What may become wrong later without anybody's doing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// One allocation's change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlannedChange {
    pub action: ChangeAction,
    pub task: TaskName,
    pub provider: InstanceName,
    pub region: String,
    pub size: String,
    pub offer: String,
    pub replicas_before: u32,
    pub replicas_after: u32,
    pub hourly_before: MicroUsd,
    pub hourly_after: MicroUsd,
    pub why: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ChangeAction {
    Create,
    Resize,
    Update,
    Keep,
    Destroy,
}

impl ChangeAction {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Resize => "resize",
            Self::Update => "update",
            Self::Keep => "keep",
            Self::Destroy => "destroy",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Unplaced {
    pub task: TaskName,
    pub replicas: u32,
    pub reason: String,
    /// No provider that is there can ever take them as they are asked for.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub never: bool,
}

/// A task's number of copies and its bounds, in a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScaleBounds {
    pub task: TaskName,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// Now, or to begin with.
    pub replicas: u32,
    pub min: u32,
    pub max: u32,
}
