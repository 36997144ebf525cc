//! What would move to where it costs less, and why the rest stays, as the API shows it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use tradewind_core::{
    list::Listed,
    manifest::Target,
    names::{DeploymentName, Namespace, TaskName},
    units::{Instant, MicroUsd, Millis},
};

use crate::Page;

/// A look at everything that runs, by the quotes of now: services that run, whether they have opted in or not.
pub type ReplacementsView = Page<ReplacementView, Looked>;

/// What a list of replacements says beside them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Looked {
    /// When it was looked.
    pub at: Instant,
}

/// One service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReplacementView {
    /// The namespace of its deployment.
    pub namespace: Namespace,
    /// The deployment that it belongs to.
    pub deployment: DeploymentName,
    /// The service's name in the deployment.
    pub task: TaskName,
    /// The target whose replicas are meant. Absent: the deployment has no targets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// As `2 × provider/region/size`.
    pub from: Vec<String>,
    /// Empty: the policy found no place.
    pub to: Vec<String>,
    /// Replicas that would change their place.
    pub moving: u32,
    /// Per hour, of all replicas, by the quotes of now. Absent: its place has no quote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hourly_now: Option<MicroUsd>,
    /// Per hour, of all replicas, after the move.
    pub hourly_then: MicroUsd,
    /// What the move would save per hour.
    pub saving_per_hour: MicroUsd,
    /// Of all replicas that would move.
    pub migration_cost: MicroUsd,
    /// The time within which the saving must outweigh the cost of moving.
    pub horizon: Millis,
    /// Whether it moves at the next look.
    pub moves: bool,
    /// Why it stays; empty when it moves.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub stays: String,
}

/// By deployment, then by service and its place.
impl Listed for ReplacementView {
    const LIST: &'static str = "replacements";
    type Key = (Namespace, DeploymentName, TaskName, Option<Target>);

    fn key(&self) -> Self::Key {
        (
            self.namespace.clone(),
            self.deployment.clone(),
            self.task.clone(),
            self.target.clone(),
        )
    }
}
