//! Revisions: every accepted manifest is kept for a while, with who wrote it and what became of it, and can be returned to. Returning is a
//! change like any other: it makes a new generation.

use tokio::sync::mpsc;
use tradewind_api::{
    Accepted, DeploymentDiff, FieldChange, Outcome as Written, RevisionDiff, RevisionView,
};
use tradewind_core::{
    difference::changed,
    event::Reason,
    list::{OneOf, Page, Window},
    manifest::Manifest,
    names::{Actor, DeploymentName, Namespace, TaskName},
    plan::stored::Adoption,
    record::{DeploymentKey, DeploymentRecord, RevisionRecord},
    rollout::{Cause, Mark, Outcome, Rollout, Status},
    store::{self, Expect},
    units::Instant,
};

use crate::{
    Error, Handle, lock,
    reconcile::rollout::Return,
    service::handle,
    service::plans::ByHand,
    state::commit::Change,
    state::journal::{self, CONTROLLER},
};

impl Handle {
    /// The kept revisions of a deployment, newest first; with `outcome`, those with one of these.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn revisions(
        &self,
        namespace: &Namespace,
        name: &DeploymentName,
        outcome: Option<&OneOf<Outcome>>,
        window: &Window<Mark>,
    ) -> Result<Page<Mark>, Error> {
        let (_, record) = self.found(namespace, name)?;
        let wanted = |mark: &&Mark| outcome.is_none_or(|wanted| wanted.has(mark.outcome));
        Ok(Page::of(
            record.revisions.iter().filter(wanted).cloned(),
            window,
        ))
    }

    /// One revision, with its manifest; `against` another one, with what differs.
    ///
    /// # Errors
    /// `NotFound` for a revision that is not kept (any more).
    pub async fn revision(
        &self,
        namespace: &Namespace,
        name: &DeploymentName,
        n: u64,
        against: Option<u64>,
    ) -> Result<RevisionView, Error> {
        let (key, record) = self.found(namespace, name)?;
        let Some(mark) = record.revisions.iter().find(|m| m.generation == n).cloned() else {
            return Err(missing(&key, n));
        };
        let manifest = self.manifest_of(&key, n).await?;
        let diff = match against {
            Some(other) => Some(difference(
                other,
                &self.manifest_of(&key, other).await?,
                n,
                &manifest,
            )),
            None => None,
        };
        Ok(RevisionView {
            mark: mark.into(),
            manifest,
            diff,
        })
    }

    /// What differs between a manifest and the one that its deployment has now.
    pub fn diff(&self, manifest: Manifest) -> DeploymentDiff {
        let key = handle::key_of(&manifest);
        let record = lock(&self.shared.cache)
            .deployments
            .get(&key)
            .map(|e| e.record.clone());
        let tree = |m: &Manifest| serde_json::to_value(m).unwrap_or_default();
        let before = record.as_ref().map(|r| r.manifest.clone());
        let old = before.as_ref().map(tree).unwrap_or_default();
        let fields = changed(&old, &tree(&manifest));
        DeploymentDiff {
            namespace: key.namespace,
            name: key.name,
            generation: record.map(|r| r.generation),
            before,
            after: manifest,
            fields: fields.into_iter().map(Into::into).collect(),
        }
    }

    /// Returns to an earlier revision; none: the last healthy one before the current.
    ///
    /// # Errors
    /// `NotFound` without such a revision, `Generation`, `Deleting`, or the state can't be written.
    pub async fn rollback(
        &self,
        actor: &Actor,
        namespace: &Namespace,
        name: &DeploymentName,
        to: Option<u64>,
        if_generation: Option<u64>,
    ) -> Result<Accepted, Error> {
        let (key, _) = self.found(namespace, name)?;
        self.may_change(namespace, ByHand::Return)?;
        self.return_to(actor, &key, to, if_generation, Cause::Rollback, "")
            .await
    }

    /// Breaks the update off that is under way, and returns to what was healthy before it.
    ///
    /// # Errors
    /// `NothingTo` when none is under way, and those of `rollback`.
    pub async fn abort(
        &self,
        actor: &Actor,
        namespace: &Namespace,
        name: &DeploymentName,
        if_generation: Option<u64>,
    ) -> Result<Accepted, Error> {
        let (key, record) = self.found(namespace, name)?;
        let under_way = record.rollout.as_ref().filter(|r| r.status != Status::Done);
        let Some(from) = under_way.and_then(|r| r.from) else {
            return Err(nothing(&key, "abort"));
        };
        self.return_to(actor, &key, Some(from), if_generation, Cause::Abort, "")
            .await
    }

    /// Lets an update pass what it waits for: a canary's step, or the time for which blue-green keeps the old set.
    ///
    /// # Errors
    /// `NothingTo` when it waits for nothing, `Paused`, `NotFound`, `Generation`, or the state can't be written.
    pub async fn promote(
        &self,
        actor: &Actor,
        namespace: &Namespace,
        name: &DeploymentName,
        if_generation: Option<u64>,
    ) -> Result<Accepted, Error> {
        loop {
            let (key, record, revision) = self.found_at(namespace, name)?;
            handle::check_generation(&key, if_generation, record.generation)?;
            if record.rollout.as_ref().is_some_and(|r| r.paused.is_some()) {
                return Err(Error::Paused { name: key });
            }
            let waits = |r: &&Rollout| matches!(r.status, Status::Waiting | Status::Keeping);
            let Some(rollout) = record.rollout.as_ref().filter(waits) else {
                return Err(nothing(&key, "promote"));
            };
            let mut after = (*record).clone();
            let step = rollout.tasks.iter().map(|t| t.step).min().unwrap_or(0);
            after.rollout = Some(Rollout {
                promoted: rollout.promoted.max(step) + 1,
                ..rollout.clone()
            });
            let expect = Expect::AtRevision {
                key: key.path(),
                revision,
            };
            match self
                .write_same(actor, &key, after, expect, Reason::RolloutPromoted)
                .await
            {
                Err(Error::Store(store::Error::Conflict { .. })) => tokio::task::yield_now().await,
                Err(error) => return Err(error),
                Ok(generation) => {
                    let (namespace, name) = (key.namespace, key.name);
                    return Ok(Accepted {
                        namespace,
                        name,
                        generation,
                        outcome: Written::Updated,
                    });
                }
            }
        }
    }

    /// Carries out the returns of updates that have failed, each by itself. Runs until the reconciler has ended.
    pub(crate) async fn carry_out(self, mut returns: mpsc::UnboundedReceiver<Return>) {
        while let Some(Return { key, to, from, why }) = returns.recv().await {
            let handle = self.clone();
            self.shared.tasks.spawn(async move {
                let returned = handle.return_to(CONTROLLER, &key, Some(to), Some(from), Cause::Failure, &why).await;
                // Another step has done it already, or somebody has written something else.
                if let Err(error) = returned.map(drop).or_else(|e| if matches!(e, Error::Generation { .. }) { Ok(()) } else { Err(e) }) {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(deployment = %key, error, "the last healthy revision could not be restored");
                }
            });
        }
    }

    pub(crate) async fn return_to(
        &self,
        actor: &Actor,
        key: &DeploymentKey,
        to: Option<u64>,
        if_generation: Option<u64>,
        cause: Cause,
        why: &str,
    ) -> Result<Accepted, Error> {
        let (_, record) = self.found(&key.namespace, &key.name)?;
        let healthy = |m: &&Mark| m.generation < record.generation && m.outcome == Outcome::Healthy;
        let last = record
            .revisions
            .iter()
            .rev()
            .find(healthy)
            .map(|m| m.generation);
        let Some(to) = to.or(last) else {
            return Err(Error::NotFound {
                what: "healthy revision before the current of",
                name: key.to_string(),
            });
        };
        let manifest = self.manifest_of(key, to).await?;
        let generation = if_generation.or(Some(record.generation));
        self.write_manifest(
            actor,
            manifest,
            generation,
            Why {
                cause,
                of: Some(to),
                reason: why.to_owned(),
                ..Why::put()
            },
        )
        .await
    }

    async fn manifest_of(&self, key: &DeploymentKey, n: u64) -> Result<Manifest, Error> {
        match self.shared.store.get(&key.revision_path(n)).await? {
            Some(stored) => Ok(journal::decode::<RevisionRecord>(&stored)?.manifest),
            None => Err(missing(key, n)),
        }
    }

    fn found(
        &self,
        namespace: &Namespace,
        name: &DeploymentName,
    ) -> Result<(DeploymentKey, std::sync::Arc<DeploymentRecord>), Error> {
        self.found_at(namespace, name)
            .map(|(key, record, _)| (key, record))
    }

    pub(crate) fn found_at(
        &self,
        namespace: &Namespace,
        name: &DeploymentName,
    ) -> Result<
        (
            DeploymentKey,
            std::sync::Arc<DeploymentRecord>,
            store::Revision,
        ),
        Error,
    > {
        let key = DeploymentKey {
            namespace: namespace.clone(),
            name: name.clone(),
        };
        let found = lock(&self.shared.cache)
            .deployments
            .get(&key)
            .map(|e| (e.record.clone(), e.revision));
        let Some((record, revision)) = found else {
            return Err(handle::not_found(&key));
        };
        Ok((key, record, revision))
    }
}

/// Why a manifest is written.
#[derive(Debug, Clone)]
pub(crate) struct Why {
    pub(crate) cause: Cause,
    pub(crate) of: Option<u64>,
    pub(crate) reason: String,
    /// The plan that it carries out: what is to be stored of it with the change, and the places that it has decided.
    pub(crate) plan: Option<(Change, Adoption)>,
    /// Jobs that begin anew.
    pub(crate) reruns: Vec<TaskName>,
    /// Services that restart.
    pub(crate) restarts: Vec<TaskName>,
}

impl Why {
    pub(crate) fn put() -> Self {
        Self {
            cause: Cause::Put,
            of: None,
            reason: String::new(),
            plan: None,
            reruns: Vec::new(),
            restarts: Vec::new(),
        }
    }

    /// The name of the event.
    pub(crate) fn event(&self) -> Reason {
        match self.cause {
            Cause::Put => Reason::DeploymentUpdated,
            Cause::Rollback | Cause::Abort | Cause::Failure => Reason::RolledBack,
            Cause::Rerun => Reason::JobRerun,
            Cause::Restart => Reason::DeploymentRestarted,
        }
    }

    /// Whether an equal manifest means that nothing is asked for.
    pub(crate) fn changes_nothing_else(&self) -> bool {
        self.plan.is_none() && self.reruns.is_empty() && self.restarts.is_empty()
    }

    /// What the event says.
    pub(crate) fn message(&self, generation: u64) -> String {
        match (self.of, self.cause) {
            (None, Cause::Rerun) => format!("generation {generation} runs {} again", self.reason),
            (None, Cause::Restart) => format!("generation {generation} restarts {}", self.reason),
            (None, _) => format!("generation {generation}"),
            (Some(of), Cause::Failure) => {
                format!("generation {generation} is as {of}: {}", self.reason)
            }
            (Some(of), Cause::Abort) => {
                format!("generation {generation} is as {of}: the update was broken off")
            }
            (Some(of), _) => format!("generation {generation} is as {of}"),
        }
    }
}

/// Gives a record its new revision: the mark, the update to it, and the manifest. What is beyond `keep` goes, but never the last healthy one.
pub(crate) fn revise(
    change: &mut Change,
    record: &mut DeploymentRecord,
    key: &DeploymentKey,
    actor: &Actor,
    why: &Why,
    keep: usize,
    now: Instant,
) -> Result<(), store::Error> {
    for mark in record
        .revisions
        .iter_mut()
        .filter(|m| m.outcome == Outcome::RollingOut)
    {
        mark.outcome = Outcome::Superseded;
    }
    let healthy = record
        .revisions
        .iter()
        .rev()
        .find(|m| m.outcome == Outcome::Healthy)
        .map(|m| m.generation);
    record.revisions.push(Mark {
        generation: record.generation,
        at: now,
        actor: actor.as_str().to_owned(),
        cause: why.cause,
        of: why.of,
        outcome: Outcome::RollingOut,
        reason: why.reason.clone(),
    });
    record.rollout = Some(Rollout {
        reason: why.reason.clone(),
        ..Rollout::new(record.generation, healthy, why.cause, now)
    });
    let mut surplus = record.revisions.len().saturating_sub(keep.max(1));
    let current = record.generation;
    let mut gone = Vec::new();
    record.revisions.retain(|m| {
        let goes = surplus > 0 && m.generation != current && Some(m.generation) != healthy;
        if goes {
            surplus -= 1;
            gone.push(m.generation);
        }
        !goes
    });
    for generation in gone {
        change.delete(key.revision_path(generation));
    }
    let kept = RevisionRecord {
        generation: current,
        manifest: record.manifest.clone(),
    };
    change.put(key.revision_path(current), &kept)
}

fn missing(key: &DeploymentKey, n: u64) -> Error {
    Error::NotFound {
        what: "kept revision",
        name: format!("{key}/{n}"),
    }
}

pub(crate) fn nothing(key: &DeploymentKey, action: &'static str) -> Error {
    Error::NothingTo {
        action,
        name: key.to_string(),
    }
}

/// What differs between two manifests: as text, and field by field.
fn difference(from: u64, old: &Manifest, to: u64, new: &Manifest) -> RevisionDiff {
    let tree = |m: &Manifest| serde_json::to_value(m).unwrap_or_default();
    let names = (format!("revision {from}"), format!("revision {to}"));
    let (text, fields) = compare((&names.0, &tree(old)), (&names.1, &tree(new)));
    RevisionDiff {
        against: from,
        text,
        fields,
    }
}

/// What differs between two named trees: as a unified diff, and field by field.
pub(crate) fn compare(
    (from, old): (&str, &serde_json::Value),
    (to, new): (&str, &serde_json::Value),
) -> (String, Vec<FieldChange>) {
    let text = |v: &serde_json::Value| serde_json::to_string_pretty(v).unwrap_or_default() + "\n";
    let (before, after) = (text(old), text(new));
    let diff = similar::TextDiff::from_lines(&before, &after);
    let unified = diff.unified_diff().header(from, to).to_string();
    let changes = changed(old, new).into_iter().map(Into::into).collect();
    (unified, changes)
}
