//! Namespaces as the API shows them: limits, what is used and spent, and who is held back by them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Outcome;
use tradewind_core::{
    budget::HeldKind,
    ledger::Month,
    list::{Listed, SortValue},
    manifest::{Target, namespace},
    names::{DeploymentName, Namespace, TaskName},
    units::{Bytes, Instant, MicroUsd},
    workload::Labels,
};

/// A namespace in a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceSummary {
    /// Its name.
    pub name: Namespace,
    /// Those of its document.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// What its deployments hold.
    pub usage: UsageView,
    /// What they cost.
    pub spend: SpendView,
    /// Limits of its own have been set.
    pub limited: bool,
    /// Tasks that have fewer replicas than they want because of a limit, or because others took their place.
    pub held_back: u32,
}

/// By name.
impl Listed for NamespaceSummary {
    const LIST: &'static str = "namespaces";
    const SORTS: &'static [&'static str] = &["name", "spend.hourly", "spend.thisMonth", "heldBack"];
    type Key = Namespace;

    fn key(&self) -> Namespace {
        self.name.clone()
    }

    fn sort_value(&self, field: &str) -> SortValue {
        match field {
            "name" => self.name.as_str().into(),
            "spend.hourly" => self.spend.hourly.into(),
            "spend.thisMonth" => self.spend.this_month.into(),
            "heldBack" => self.held_back.into(),
            _ => SortValue::Nothing,
        }
    }
}

/// A namespace that is not in the list any more: it is gone, or left what the list was narrowed to. The data of the event `delete`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceLeft {
    /// Its name.
    pub name: Namespace,
}

/// A namespace whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceView {
    /// Its name.
    pub name: Namespace,
    /// Of the limits: grows by one with every change of them. 0: none have been set.
    pub generation: u64,
    /// As they were set. Absent: no limits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<namespace::Document>,
    /// What its deployments hold.
    pub usage: UsageView,
    /// What they cost.
    pub spend: SpendView,
    /// Tasks that have fewer replicas than they want because of a limit, or because others took their place.
    pub held_back: Vec<HeldTask>,
}

/// The answer to a write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceOutcome {
    /// The namespace that was written.
    pub name: Namespace,
    /// The generation of its limits after the write.
    pub generation: u64,
    /// What the write has done.
    pub outcome: Outcome,
}

/// What its deployments hold.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UsageView {
    /// Millicores.
    pub cpu_milli: u64,
    /// Memory that its replicas ask for.
    pub memory: Bytes,
    /// Accelerators that its replicas ask for.
    pub accelerators: u64,
    /// Replicas.
    pub replicas: u64,
    /// Allocations.
    pub allocations: u64,
    /// Deployments.
    pub deployments: u64,
}

/// Money.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SpendView {
    /// What runs now costs so much per hour.
    pub hourly: MicroUsd,
    /// Spent in the present hour (UTC).
    pub this_hour: MicroUsd,
    /// Spent in the present month (UTC).
    pub this_month: MicroUsd,
    /// For the whole month: what has been spent, and what is placed now until it has ended or the month has.
    pub forecast: MicroUsd,
    /// The months before, the latest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub months: Vec<MonthView>,
}

/// What a month has cost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MonthView {
    /// The month (UTC).
    pub month: Month,
    /// What was spent in it.
    pub spent: MicroUsd,
}

/// A task of a namespace that is held back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HeldTask {
    /// The deployment that it belongs to.
    pub deployment: DeploymentName,
    /// How it is held back.
    #[serde(flatten)]
    pub held: HeldBack,
}

/// That a task has fewer replicas than it wants, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HeldBack {
    /// The task's name in the deployment.
    pub task: TaskName,
    /// The target whose replicas are meant. Absent: the deployment has no targets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// What holds it back.
    pub kind: HeldKind,
    /// Replicas that it wants.
    pub wanted: u32,
    /// It may have so many at the moment.
    pub replicas: u32,
    /// Why, for people.
    pub reason: String,
    /// Since when.
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
