//! Stored plans, as the API shows them.

use std::cmp::Reverse;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{FieldChange, PlanView};
use crate::{
    list::{Choice, Listed},
    manifest::Manifest,
    names::{Actor, DeploymentName, Namespace, PlanId},
    plan::stored::{Applied, Basis, Review},
    units::{Instant, MicroUsd},
    workload::Labels,
};

/// How far a stored plan is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PlanStatus {
    /// Nobody has approved or rejected it.
    Pending,
    Approved,
    Rejected,
    Applied,
    /// Its time has passed.
    Expired,
}

impl PlanStatus {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Applied => "applied",
            Self::Expired => "expired",
        }
    }
}

impl Choice for PlanStatus {
    const WHAT: &'static str = "a plan's status";
    const ALL: &'static [Self] = &[
        Self::Pending,
        Self::Approved,
        Self::Rejected,
        Self::Applied,
        Self::Expired,
    ];

    fn name(self) -> &'static str {
        self.as_str()
    }
}

impl std::fmt::Display for PlanStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// A stored plan in a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanSummary {
    pub id: PlanId,
    pub namespace: Namespace,
    pub deployment: DeploymentName,
    /// Those of its manifest.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// Whether it deletes the deployment.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deletes: bool,
    pub status: PlanStatus,
    /// Whether it can't be applied before somebody has approved it.
    pub approval_required: bool,
    pub author: Actor,
    pub created_at: Instant,
    pub expires_at: Instant,
    pub hourly_before: MicroUsd,
    pub hourly_after: MicroUsd,
    /// For the tasks' whole estimated durations.
    pub estimated_cost: MicroUsd,
}

/// The newest first.
impl Listed for PlanSummary {
    const LIST: &'static str = "plans";
    type Key = (Reverse<Instant>, Namespace, PlanId);

    fn key(&self) -> Self::Key {
        (
            Reverse(self.created_at),
            self.namespace.clone(),
            self.id.clone(),
        )
    }
}

/// A stored plan whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StoredPlanView {
    #[serde(flatten)]
    pub summary: PlanSummary,
    /// Who approved or rejected it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review: Option<Review>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied: Option<Applied>,
    /// What it was made from: when any of it moves, it is not applied.
    pub basis: Basis,
    pub plan: PlanView,
    pub manifest: Manifest,
    /// When it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diff: Option<PlanDiff>,
}

/// From another plan to this one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanDiff {
    pub against: PlanId,
    /// As a unified diff of manifests, changes, costs, plugins and quotes as JSON.
    pub text: String,
    pub fields: Vec<FieldChange>,
}
