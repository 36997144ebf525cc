//! Revisions and updates, as the API shows them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use tradewind_core::{
    difference::Changed,
    manifest::Manifest,
    names::{DeploymentName, Namespace},
    rollout::{Cause, Outcome, Rollout, Status},
    units::Instant,
};

/// A revision whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RevisionView {
    /// What lists show of it.
    #[serde(flatten)]
    pub mark: RevisionMark,
    /// The manifest of it.
    pub manifest: Manifest,
    /// When it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diff: Option<RevisionDiff>,
}

/// From another revision to this one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RevisionDiff {
    /// The generation of the other revision.
    pub against: u64,
    /// As a unified diff of the manifests as JSON.
    pub text: String,
    /// Each field that differs.
    pub fields: Vec<FieldChange>,
}

/// A field that differs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FieldChange {
    /// Its path in the manifest, such as `spec.targets[0].region`.
    pub path: String,
    /// Absent: it was not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// Absent: it is not there any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
}

impl From<Changed> for FieldChange {
    fn from(from: Changed) -> Self {
        let Changed {
            path,
            before,
            after,
        } = from;
        Self {
            path,
            before,
            after,
        }
    }
}

/// What differs between a deployment's manifest and another one, the defaults filled in on both sides.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeploymentDiff {
    /// The deployment's namespace.
    pub namespace: Namespace,
    /// The deployment's name.
    pub name: DeploymentName,
    /// The current generation. Absent: there is no such deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// The manifest of the current generation. Absent: there is no such deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Manifest>,
    /// The manifest that was sent.
    pub after: Manifest,
    /// Each field that differs.
    pub fields: Vec<FieldChange>,
}

/// Where the update to the current generation stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolloutView {
    /// The generation that it leads to.
    pub generation: u64,
    /// How far it is.
    pub status: Status,
    /// What has led to the revision.
    pub cause: Cause,
    /// The healthy revision that a failure returns to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<u64>,
    /// When it began.
    pub started_at: Instant,
    /// Why it waits, failed or returned. Empty: there is nothing to say.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The canary step it is at, from 0.
    pub step: u32,
    /// Who has paused it, and when. Absent: it is not paused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<PauseView>,
}

/// A pause of an update.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PauseView {
    /// Since when.
    pub at: Instant,
    /// Who asked for it.
    pub by: String,
}

impl From<&Rollout> for RolloutView {
    fn from(r: &Rollout) -> Self {
        Self {
            generation: r.generation,
            status: r.status,
            cause: r.cause,
            from: r.from,
            started_at: r.started_at,
            reason: r.reason.clone(),
            step: r.tasks.iter().map(|t| t.step).min().unwrap_or(0),
            paused: r.paused.as_ref().map(|p| PauseView {
                at: p.at,
                by: p.by.clone(),
            }),
        }
    }
}

/// A revision, without its manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RevisionMark {
    /// Its number.
    pub generation: u64,
    /// When it was made.
    pub at: Instant,
    /// Who made it.
    pub actor: String,
    /// What has led to it.
    pub cause: Cause,
    /// The revision whose manifest it took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<u64>,
    /// What became of the update to it.
    pub outcome: Outcome,
    /// Why it was asked for, failed or was abandoned. Empty: there is nothing to say.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

impl From<tradewind_core::rollout::Mark> for RevisionMark {
    fn from(from: tradewind_core::rollout::Mark) -> Self {
        let tradewind_core::rollout::Mark {
            generation,
            at,
            actor,
            cause,
            of,
            outcome,
            reason,
        } = from;
        Self {
            generation,
            at,
            actor,
            cause,
            of,
            outcome,
            reason,
        }
    }
}

/// Where to go back to.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RollbackTo {
    /// A kept revision. Default: the last healthy one before the current.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<u64>,
}
