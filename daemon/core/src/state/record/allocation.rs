//! An allocation on record: n replicas of one task bound to one offer. Whose it is stands at the top, and three parts tell apart what the
//! daemon wants of it (`Intent`), what its provider has of it (`Handle`) and what became of it (`AllocationStatus`). How a part comes about,
//! this module must not know.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{ALLOCATIONS, DeploymentKey};
use crate::{
    base::{
        names::{
            AllocationId, DecisionId, DeploymentName, Digest, InstanceName, Namespace, TaskName,
        },
        units::{Instant, MicroUsd, Millis},
    },
    spec::{
        health::Recovery,
        manifest::{Since, Target},
        workload::{ChosenOffer, Phase, Run, Workload},
    },
    state::{hedge::Hedge, job::End, ledger::Meter, rollout::Drain},
};

/// An allocation as it is stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AllocationRecord {
    /// Its id, which is part of every name at the cloud.
    pub id: AllocationId,
    /// The namespace of its deployment.
    pub namespace: Namespace,
    /// The deployment that it belongs to.
    pub deployment: DeploymentName,
    /// The task's name in the deployment.
    pub task: TaskName,
    /// The target that it belongs to. Absent: the deployment has no targets.
    pub target: Option<Target>,
    /// What the daemon wants of it.
    pub intent: Intent,
    /// What its provider has of it.
    pub handle: Handle,
    /// What became of it.
    pub status: AllocationStatus,
}

/// How far an allocation is. Written before the effect it announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Stage {
    /// To be applied, for the first time or again.
    Intended,
    /// The provider has accepted it as it is recorded, or there is nothing to accept yet: it has no replicas.
    Applied,
    /// To be destroyed.
    Removing,
}

/// What the daemon wants of an allocation: its own decisions, each written before its effect.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Intent {
    /// The provider instance.
    pub provider: InstanceName,
    /// The offer that it is bound to, as the provider described it.
    pub offer: ChosenOffer,
    /// Of one replica.
    pub hourly: MicroUsd,
    /// How long a job's replica is expected to take there. None: a service, or placed before this was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub takes: Option<Millis>,
    /// Replicas that it shall have.
    pub replicas: u32,
    /// The deployment's generation that last changed it.
    pub generation: u64,
    /// The run of a job by its schedule. 0: it has none, or it was written before there were any.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub run: u64,
    /// What runs.
    pub workload: Workload,
    /// Of the need it was placed for: another need wants another decision.
    pub need: Digest,
    /// The decision that placed it. Absent: it was not kept.
    pub decision: Option<DecisionId>,
    /// What is to be done next.
    pub stage: Stage,
    /// Its replicas have been given another place; it goes once they are ready there.
    #[serde(default)]
    pub superseded: bool,
    /// The replicas it shall have once all others have given way; absent: as many as it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wanted: Option<u32>,
    /// Replicas that are off the endpoints and end soon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<Drain>,
    /// Thousandths of the task's traffic; absent: in proportion to its replicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic: Option<u32>,
    /// Counts applies that differ in their parameters: part of the idempotency token.
    pub attempt: u32,
    /// When it was decided.
    pub created_at: Instant,
    /// Asked for beside others, of which one will stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hedge: Option<Hedge>,
    /// What is left of a job's deadline for it here. None: all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Millis>,
}

/// What an allocation's provider has of it, and what it takes to speak to the provider about it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Handle {
    /// The provider's opaque bytes.
    #[serde(with = "super::bytes", default)]
    pub state: Option<Vec<u8>>,
    /// The most replicas that may exist of it: those that its provider has accepted, or more.
    #[serde(default)]
    pub held: u32,
    /// Its provider was given the image by its digest.
    #[serde(default)]
    pub pinned: bool,
}

/// What was observed of an allocation, and what follows from that.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AllocationStatus {
    /// As last observed.
    pub phase: Phase,
    /// What it costs, for the namespace's ledger. None: written before there were meters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meter: Option<Meter>,
    /// Failures so far, and when it is tried again.
    #[serde(default, skip_serializing_if = "Recovery::is_empty")]
    pub recovery: Recovery,
    /// Its place has been silent for too long: other replicas take over, and this one goes when its place answers again.
    #[serde(default)]
    pub lost: bool,
    /// Of a job: its replicas that have ended for good, by index. Final, whatever the provider says later.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ended: BTreeMap<u32, End>,
    /// Of a job with a deadline: when the first attempt of its replicas began, here or where they were before. None: nothing has begun, all has
    /// ended, or it was written before this was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began: Option<Instant>,
}

fn is_zero(run: &u64) -> bool {
    *run == 0
}

// === impl AllocationRecord ===

impl AllocationRecord {
    /// The key of the record.
    pub fn path(&self) -> String {
        format!(
            "{ALLOCATIONS}{}/{}/{}",
            self.namespace, self.deployment, self.id
        )
    }

    /// The deployment that it belongs to.
    pub fn key(&self) -> DeploymentKey {
        DeploymentKey {
            namespace: self.namespace.clone(),
            name: self.deployment.clone(),
        }
    }

    /// Whether every replica of a job has ended for good: nothing of it is ever asked for again.
    pub fn is_over(&self) -> bool {
        let is_job = matches!(self.intent.workload.run, Run::Job { .. });
        let written = self.intent.replicas > 0
            && (0..self.intent.replicas).all(|index| self.status.ended.contains_key(&index));
        // Written before ends were on record.
        let before = self.status.ended.is_empty()
            && self.intent.stage == Stage::Applied
            && self.status.phase == Phase::Succeeded;
        is_job && (written || before)
    }

    /// Whether it stands for this task, at this target.
    pub fn serves(&self, task: &TaskName, target: Option<&Target>) -> bool {
        self.intent.stays() && self.task == *task && self.target.as_ref() == target
    }

    /// Leaves it at so many replicas for good: nothing more is asked for.
    pub fn settle(&mut self, replicas: u32) {
        let intent = &mut self.intent;
        (intent.replicas, intent.wanted, intent.stage) = (replicas, Some(replicas), Stage::Applied);
        self.handle.held = replicas;
    }

    /// Of all replicas, per hour. What has ended costs nothing.
    pub fn hourly_total(&self) -> MicroUsd {
        if self.status.phase.is_final() {
            return MicroUsd(0);
        }
        self.intent
            .hourly
            .saturating_mul(u64::from(self.intent.replicas))
    }
}

// === impl Intent ===

impl Intent {
    /// Whether it is of the run that counts, or a later one.
    pub fn is_of(&self, since: Since) -> bool {
        self.generation >= since.generation && self.run >= since.run
    }

    /// Replicas in the end.
    pub fn goal(&self) -> u32 {
        self.wanted.unwrap_or(self.replicas)
    }

    /// Whether it shall go on: nothing has replaced it, and it is not on its way out.
    pub fn stays(&self) -> bool {
        !self.superseded && self.stage != Stage::Removing
    }

    /// Has it applied once more, as another attempt than the last.
    pub fn apply_again(&mut self) {
        (self.stage, self.attempt) = (Stage::Intended, self.attempt + 1);
    }
}

// === impl Handle ===

impl Handle {
    /// Whether its provider was given the image by its tag: it stays so.
    pub fn runs_by_tag(&self) -> bool {
        self.state.is_some() && !self.pinned
    }
}
