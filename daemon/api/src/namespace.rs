//! Namespaces as the API shows them: limits, what is used and spent, and who is held back by them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Outcome;
use tradewind_core::{
    budget::HeldKind,
    ledger::Month,
    list::Listed,
    manifest::{Target, namespace},
    names::{DeploymentName, Namespace, TaskName},
    units::{Bytes, Instant, MicroUsd},
    workload::Labels,
};

/// A namespace in a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceSummary {
    pub name: Namespace,
    /// Those of its document.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    pub usage: UsageView,
    pub spend: SpendView,
    /// Limits of its own have been set.
    pub limited: bool,
    /// Tasks that have fewer replicas than they want because of a limit, or because others took their place.
    pub held_back: u32,
}

/// By name.
impl Listed for NamespaceSummary {
    const LIST: &'static str = "namespaces";
    type Key = Namespace;

    fn key(&self) -> Namespace {
        self.name.clone()
    }
}

/// A namespace whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceView {
    pub name: Namespace,
    /// Of the limits: grows by one with every change of them. 0: none have been set.
    pub generation: u64,
    /// As they were set. Absent: no limits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<namespace::Document>,
    pub usage: UsageView,
    pub spend: SpendView,
    pub held_back: Vec<HeldTask>,
}

/// The answer to a write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceOutcome {
    pub name: Namespace,
    pub generation: u64,
    pub outcome: Outcome,
}

/// What its deployments hold.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UsageView {
    /// Millicores.
    pub cpu_milli: u64,
    pub memory: Bytes,
    pub accelerators: u64,
    pub replicas: u64,
    pub allocations: u64,
    pub deployments: u64,
}

/// Money.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SpendView {
    /// What runs now costs so much per hour.
    pub hourly: MicroUsd,
    /// Spent in the present hour (UTC), and in the present month.
    pub this_hour: MicroUsd,
    pub this_month: MicroUsd,
    /// For the whole month: what has been spent, and what is placed now until it has ended or the month has.
    pub forecast: MicroUsd,
    /// The months before, the latest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub months: Vec<MonthView>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MonthView {
    pub month: Month,
    pub spent: MicroUsd,
}

/// A task of a namespace that is held back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HeldTask {
    pub deployment: DeploymentName,
    #[serde(flatten)]
    pub held: HeldBack,
}

/// That a task has fewer replicas than it wants, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HeldBack {
    pub task: TaskName,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    pub kind: HeldKind,
    pub wanted: u32,
    /// It may have so many at the moment.
    pub replicas: u32,
    pub reason: String,
    pub since: Instant,
    /// The spending had outgrown the budget.
    #[serde(default)]
    pub overspent: bool,
    /// Who has its room now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

impl From<tradewind_core::budget::HeldBack> for HeldBack {
    fn from(from: tradewind_core::budget::HeldBack) -> Self {
        let tradewind_core::budget::HeldBack {
            task,
            target,
            kind,
            wanted,
            replicas,
            reason,
            since,
            overspent,
            by,
        } = from;
        Self {
            task,
            target,
            kind,
            wanted,
            replicas,
            reason,
            since,
            overspent,
            by,
        }
    }
}
