//! Stored plans: a dry run that is kept with what it was made from, shown to others, approved by somebody else, and carried out as it is or
//! not at all. The places of an applied plan go into the deployment's record, from which the next step takes them over.

use std::collections::{BTreeMap, BTreeSet};

use tradewind_api::{Accepted, PlanDiff, PlanSummary, StoredPlanView, command};
use tradewind_core::{
    budget::Verdict,
    cordon::CordonRecord,
    event::{Event, Reason, Severity},
    failure::ProviderFailure,
    list::{Page, Window},
    manifest::{Manifest, namespace::Approval},
    names::{Actor, Namespace, PlanId},
    placement::{Exclusion, Need, Table},
    plan::stored::PlanStatus,
    plan::{
        self, Desired,
        stored::{
            Adds, Adoption, Applied, Basis, PLANS, PlanRecord, Present, Quote, Review, Running,
        },
    },
    plugin::Snapshot,
    record::{DeploymentKey, DeploymentRecord},
    store::{self, Expect, Revision},
    units::{Bytes, Instant, MilliCpu, Millis},
};

use crate::{
    Filter, Handle, Shared, lock,
    schedule::admission::Chosen,
    schedule::cordons,
    schedule::scheduler::DeploymentWork,
    service::handle::{key_of, not_found},
    service::revisions::{Why, compare},
    state::commit::{Change, Committer},
    state::journal::{decode, encode, event},
    state::reads::Reads,
};

/// How long plans that can't be applied any more stay readable.
const KEPT: Millis = Millis(30 * 24 * 3_600_000);

/// A change by hand that needs a stored plan where approval is required.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByHand {
    /// A manifest was sent.
    Put,
    /// A task's number of replicas was set.
    Scale,
    /// A return to an earlier revision.
    Return,
    /// A job was to run again.
    Run,
    /// Services were to restart.
    Restart,
    /// The deployment was to be deleted.
    Delete,
}

/// Why something about a plan is refused.
#[derive(Debug, thiserror::Error)]
#[allow(
    missing_docs,
    reason = "the messages say what the variants and their fields mean"
)]
pub enum Error {
    #[error("there is a plan \"{id}\" already")]
    Exists { id: PlanId, namespace: Namespace },
    #[error("the time until a plan expires can't be 0")]
    Stillborn,
    #[error("the plan has no place for everything: {missing}")]
    Incomplete { missing: String },
    #[error("plan \"{id}\" was made by {author}: nobody approves a plan of their own")]
    Own { id: PlanId, author: Actor },
    #[error("plan \"{id}\" is {status}, so it can't be {action}")]
    Status {
        id: PlanId,
        status: PlanStatus,
        action: &'static str,
    },
    #[error("plan \"{id}\" needs an approval: namespace \"{namespace}\" requires it")]
    Unapproved { id: PlanId, namespace: Namespace },
    #[error("deployments of namespace \"{namespace}\" change through approved plans only")]
    ApprovalRequired {
        namespace: Namespace,
        change: ByHand,
    },
    #[error(
        "namespace \"{namespace}\" has {most} plans that can still be applied: the setting \"plans.most\" allows no more"
    )]
    TooMany { namespace: Namespace, most: usize },
    #[error("plan \"{id}\" does not hold any more: {}", moved.join("; "))]
    Moved { id: PlanId, moved: Vec<String> },
}

/// A plan to be stored.
#[derive(Debug)]
pub struct Draft {
    /// What the deployment would be.
    pub manifest: Manifest,
    /// Its deployment is to be deleted; the manifest only names it.
    pub deletes: bool,
    /// None: it is drawn.
    pub id: Option<PlanId>,
    /// None: as the daemon is set.
    pub expires_in: Option<Millis>,
}

// === impl ByHand ===

impl ByHand {
    /// How its plan is stored.
    pub fn plan(self, namespace: &Namespace) -> String {
        let stored = |words| format!("{} stores a plan", command(namespace, words));
        let put = || stored("plan -f FILE --out NAME");
        match self {
            Self::Put => put(),
            Self::Scale => format!("with the number changed in its manifest, {}", put()),
            Self::Return => format!("with the earlier manifest, {}", put()),
            Self::Run => format!(
                "with something of the job changed in its manifest, such as a variable, {}",
                put()
            ),
            Self::Restart => format!(
                "with something of the service changed in its manifest, such as a variable, {}",
                put()
            ),
            Self::Delete => stored("plan -f FILE --delete --out NAME"),
        }
    }
}

impl Handle {
    /// Plans what the manifest would lead to with quotes asked for anew, and stores it with what its decision was made from.
    ///
    /// # Errors
    /// `Plugin` when nothing can be decided, `Plan` when a task would have no place or the name is taken, `NotFound` when there is nothing
    /// to delete.
    pub async fn store_plan(
        &self,
        actor: &Actor,
        draft: Draft,
    ) -> Result<StoredPlanView, crate::Error> {
        let Draft {
            manifest,
            deletes,
            id,
            expires_in,
        } = draft;
        let expires_in = expires_in.unwrap_or(self.shared.options.plan_expiry);
        if expires_in.0 == 0 {
            return Err(Error::Stillborn.into());
        }
        let snapshot = self.shared.plugins.snapshot();
        self.shared.forget_quotes(&snapshot);
        let work = if deletes {
            self.going(&manifest)?
        } else {
            self.work(manifest)
        };
        let (outcome, view) = self.draft(&snapshot, &work).await?;
        if !view.unplaced.is_empty() {
            let missing = view
                .unplaced
                .iter()
                .map(|u| format!("{} of {}: {}", u.replicas, u.task, u.reason));
            return Err(Error::Incomplete {
                missing: missing.collect::<Vec<_>>().join("; "),
            }
            .into());
        }
        let (table, _) = self.shared.offers.assess(&snapshot).await;
        let now = self.shared.clock.now();
        let record = PlanRecord {
            id: id.unwrap_or_else(|| PlanId::new(self.shared.ids.draw())),
            author: actor.clone(),
            created_at: now,
            expires_at: now.plus(expires_in),
            deletes,
            review: None,
            applied: None,
            manifest: work.record.manifest.clone(),
            basis: basis(
                &work,
                &outcome.desired,
                &snapshot,
                &table,
                view.policy.clone(),
            ),
            adoption: Adoption::of(&outcome.desired, outcome.decision),
            plan: view,
        };
        let path = PlanRecord::path(&work.key.namespace, &record.id);
        let size = encode(&record)?.len() as u64;
        self.shared
            .budgets
            .check_room(&work.key.namespace, || size)
            .await?;
        let mut change = self
            .shared
            .make_room_for_plan(&work.key.namespace, now)
            .await?;
        change.expect(Expect::Absent { key: path.clone() });
        change.put(path, &record)?;
        change.event(
            plan_event(&record, Reason::PlanCreated, actor, "")
                .changing(None, Some(&facts(&record, now))),
        );
        change.inputs(outcome.inputs.as_ref());
        match self.shared.committer.accept(change).await {
            Err(store::Error::Conflict { .. }) => Err(Error::Exists {
                id: record.id,
                namespace: work.key.namespace,
            }
            .into()),
            Err(error) => Err(error.into()),
            Ok(_) => Ok(self.shared.plan_view(record)),
        }
    }

    /// Stored plans, the newest first.
    ///
    /// # Errors
    /// The state can't be read.
    pub async fn plans(
        &self,
        filter: &Filter<PlanStatus>,
        window: &Window<PlanSummary>,
    ) -> Result<Page<PlanSummary>, crate::Error> {
        let records = match &filter.namespace {
            Some(namespace) => {
                self.shared
                    .store
                    .list(&format!("{PLANS}{namespace}/"))
                    .await?
                    .records
            }
            None => self.shared.store.list(PLANS).await?.records,
        };
        let plans = records
            .iter()
            .map(decode::<PlanRecord>)
            .collect::<Result<Vec<_>, _>>()?;
        let wanted = |p: &PlanRecord| {
            let metadata = &p.manifest.metadata;
            filter.reaches(&metadata.namespace) && filter.selector.admits(&metadata.labels)
        };
        let plans = plans
            .into_iter()
            .filter(wanted)
            .map(|p| self.shared.summary(&p))
            .filter(|p| filter.has(p.status));
        Ok(Page::of(plans, window))
    }

    /// One plan; `against` another of the same namespace, with what differs.
    ///
    /// # Errors
    /// `NotFound`, or the state can't be read.
    pub async fn stored_plan(
        &self,
        namespace: &Namespace,
        id: &PlanId,
        against: Option<&PlanId>,
    ) -> Result<StoredPlanView, crate::Error> {
        let (record, _) = self.found_plan(namespace, id).await?;
        let shown = self.shared.plan_view(record);
        let diff = match against {
            None => None,
            Some(other) => {
                let (old, _) = self.found_plan(namespace, other).await?;
                let old = self.shared.plan_view(old);
                let (text, fields) =
                    compare((other.as_str(), &tree(&old)), (id.as_str(), &tree(&shown)));
                Some(PlanDiff {
                    against: other.clone(),
                    text,
                    fields,
                })
            }
        };
        Ok(StoredPlanView { diff, ..shown })
    }

    /// Says that a plan may, or may not, be applied.
    ///
    /// # Errors
    /// `Plan` for one's own plan, and for one that is applied or has expired; `NotFound`.
    pub async fn review_plan(
        &self,
        actor: &Actor,
        namespace: &Namespace,
        id: &PlanId,
        approved: bool,
        comment: String,
    ) -> Result<StoredPlanView, crate::Error> {
        let (before, revision) = self.found_plan(namespace, id).await?;
        let now = self.shared.clock.now();
        let action = if approved { "approved" } else { "rejected" };
        let status = before.status(now);
        if !matches!(status, PlanStatus::Pending | PlanStatus::Approved) {
            return Err(Error::Status {
                id: id.clone(),
                status,
                action,
            }
            .into());
        }
        if approved && before.author == *actor {
            return Err(Error::Own {
                id: id.clone(),
                author: actor.clone(),
            }
            .into());
        }
        let review = Review {
            by: actor.clone(),
            at: now,
            approved,
            comment: comment.clone(),
        };
        let record = PlanRecord {
            review: Some(review),
            ..before.clone()
        };
        let reason = if approved {
            Reason::PlanApproved
        } else {
            Reason::PlanRejected
        };
        let told = plan_event(&record, reason, actor, &comment)
            .changing(Some(&facts(&before, now)), Some(&facts(&record, now)));
        let mut change = Change::of(told);
        put_plan(&mut change, namespace, &record, revision)?;
        self.shared.committer.accept(change).await?;
        Ok(self.shared.plan_view(record))
    }

    /// Carries a plan out, if nothing that it was made from has moved: the manifest becomes the deployment's spec, and the places are those
    /// of the plan.
    ///
    /// # Errors
    /// `Plan` with everything that has moved, or without the approval that is required; `NotFound`, `Generation`, `Deleting`.
    pub async fn apply_plan(
        &self,
        actor: &Actor,
        namespace: &Namespace,
        id: &PlanId,
    ) -> Result<Accepted, crate::Error> {
        let (before, revision) = self.found_plan(namespace, id).await?;
        let now = self.shared.clock.now();
        let status = before.status(now);
        if !matches!(status, PlanStatus::Pending | PlanStatus::Approved) {
            return Err(Error::Status {
                id: id.clone(),
                status,
                action: "applied",
            }
            .into());
        }
        if status == PlanStatus::Pending && self.shared.approval(namespace) == Approval::Required {
            return Err(Error::Unapproved {
                id: id.clone(),
                namespace: namespace.clone(),
            }
            .into());
        }
        let moved = self.moved(&before).await;
        if !moved.is_empty() {
            let told = plan_event(&before, Reason::PlanRefused, actor, &moved.join("; "));
            self.shared
                .committer
                .emit_event(Event {
                    severity: Severity::Warning,
                    ..told
                })
                .await;
            return Err(Error::Moved {
                id: id.clone(),
                moved,
            }
            .into());
        }
        let generation = before.basis.generation + u64::from(!before.deletes);
        let record = PlanRecord {
            applied: Some(Applied {
                by: actor.clone(),
                at: now,
                generation,
            }),
            ..before.clone()
        };
        let what = if before.deletes {
            "its deployment is deleted".to_owned()
        } else {
            format!("generation {generation}")
        };
        let told = plan_event(&record, Reason::PlanApplied, actor, &what);
        let told = told.changing(Some(&facts(&before, now)), Some(&facts(&record, now)));
        let mut change = Change::of(told);
        put_plan(&mut change, namespace, &record, revision)?;
        if before.deletes {
            return self
                .remove(
                    actor,
                    &key_of(&before.manifest),
                    Some(before.basis.generation),
                    change,
                )
                .await;
        }
        let why = Why {
            reason: format!("plan {id}"),
            plan: Some((change, before.adoption)),
            ..Why::put()
        };
        self.write_manifest(actor, before.manifest, Some(before.basis.generation), why)
            .await
    }

    /// # Errors
    /// `NotFound`, or the state can't be written.
    pub async fn delete_plan(
        &self,
        actor: &Actor,
        namespace: &Namespace,
        id: &PlanId,
    ) -> Result<StoredPlanView, crate::Error> {
        let (record, revision) = self.found_plan(namespace, id).await?;
        let path = PlanRecord::path(namespace, id);
        let told = plan_event(&record, Reason::PlanDeleted, actor, "")
            .changing(Some(&facts(&record, self.shared.clock.now())), None);
        let mut change = Change::of(told);
        change.expect(Expect::AtRevision {
            key: path.clone(),
            revision,
        });
        change.delete(path);
        self.shared.committer.accept(change).await?;
        Ok(self.shared.plan_view(record))
    }

    /// Whether a deployment may be changed by hand without a plan.
    ///
    /// # Errors
    /// `Plan` where approval is required.
    pub(crate) fn may_change(
        &self,
        namespace: &Namespace,
        change: ByHand,
    ) -> Result<(), crate::Error> {
        match self.shared.approval(namespace) {
            Approval::None => Ok(()),
            Approval::Required => Err(Error::ApprovalRequired {
                namespace: namespace.clone(),
                change,
            }
            .into()),
        }
    }

    /// A deployment of which nothing is wanted any more.
    fn going(&self, manifest: &Manifest) -> Result<DeploymentWork, crate::Error> {
        let key = key_of(manifest);
        let cache = lock(&self.shared.cache);
        let entry = cache.deployments.get(&key).ok_or_else(|| not_found(&key))?;
        // The basis is what it has, as for a new manifest.
        let record = DeploymentRecord {
            deleting: true,
            generation: entry.record.generation + 1,
            ..(*entry.record).clone()
        };
        let all = entry.actual();
        Ok(DeploymentWork {
            key,
            record: record.into(),
            revision: entry.revision,
            resolved: Vec::new().into(),
            actual: all.clone(),
            all,
            order: Default::default(),
        })
    }

    async fn found_plan(
        &self,
        namespace: &Namespace,
        id: &PlanId,
    ) -> Result<(PlanRecord, Revision), crate::Error> {
        let stored = self
            .shared
            .store
            .get(&PlanRecord::path(namespace, id))
            .await?;
        let stored = stored.ok_or_else(|| crate::Error::NotFound {
            what: "plan",
            name: format!("{namespace}/{id}"),
        })?;
        Ok((decode(&stored)?, stored.revision))
    }

    /// Everything that has moved since a plan was made, its quotes asked for anew.
    async fn moved(&self, record: &PlanRecord) -> Vec<String> {
        let snapshot = self
            .shared
            .plugins
            .snapshot()
            .open_to(&record.manifest.metadata.namespace);
        self.shared.forget_quotes(&snapshot);
        let (table, failures) = self.shared.offers.assess(&snapshot).await;
        let work = match record.deletes.then(|| self.going(&record.manifest)) {
            Some(Ok(work)) => work,
            _ => self.work(record.manifest.clone()),
        };
        let present = present(&work, &snapshot, &table, failures);
        let mut moved = record.basis.moved(&present);
        moved.extend(closed(record, &work, &table, &moved));
        moved.extend(self.shared.cordoned(record, &work, &moved));
        for task in work.resolved.iter() {
            let planned = record
                .adoption
                .tasks
                .iter()
                .find(|a| a.task == task.name && a.target == task.target);
            match planned {
                Some(planned) if planned.replicas != task.replicas => {
                    moved.push(format!(
                        "{} wants {} replicas, planned for {}",
                        task.name, task.replicas, planned.replicas
                    ));
                }
                _ => {}
            }
        }
        moved.extend(self.shared.beyond_limits(record, &work, &table));
        moved
    }
}

impl Shared {
    /// Who has to agree to changes in a namespace.
    fn approval(&self, namespace: &Namespace) -> Approval {
        lock(&self.namespaces)
            .approval(namespace)
            .unwrap_or(self.options.approval)
    }

    /// The next assessment asks every provider.
    fn forget_quotes(&self, snapshot: &Snapshot) {
        snapshot
            .providers
            .keys()
            .for_each(|provider| self.quotes.invalidate(provider));
    }

    fn summary(&self, record: &PlanRecord) -> PlanSummary {
        let metadata = &record.manifest.metadata;
        PlanSummary {
            id: record.id.clone(),
            namespace: metadata.namespace.clone(),
            deployment: metadata.name.clone(),
            labels: metadata.labels.clone(),
            deletes: record.deletes,
            status: record.status(self.clock.now()),
            approval_required: self.approval(&metadata.namespace) == Approval::Required,
            author: record.author.clone(),
            created_at: record.created_at,
            expires_at: record.expires_at,
            hourly_before: record.plan.hourly_before,
            hourly_after: record.plan.hourly_after,
            estimated_cost: record.plan.estimated_cost,
        }
    }

    fn plan_view(&self, record: PlanRecord) -> StoredPlanView {
        StoredPlanView {
            summary: self.summary(&record),
            review: record.review.map(Into::into),
            applied: record.applied.map(Into::into),
            basis: record.basis.into(),
            plan: record.plan.into(),
            manifest: record.manifest,
            diff: None,
        }
    }

    /// Places of the plan at which something would begin, or stay, against a cordon or a drain.
    fn cordoned(
        &self,
        record: &PlanRecord,
        work: &DeploymentWork,
        known: &[String],
    ) -> Vec<String> {
        let (cordons, now) = (lock(&self.cache).cordons.clone(), self.clock.now());
        let mut out = Vec::new();
        for (task, at) in work.resolved.iter().zip(cordons::look(&cordons, work, now)) {
            let Some((placements, _)) = record.adoption.places(task) else {
                continue;
            };
            for place in placements
                .iter()
                .filter(|p| !at.admits(std::slice::from_ref(*p), &cordons))
            {
                let closed = cordons
                    .over(&place.provider, &place.offer.region)
                    .map(CordonRecord::place)
                    .next()
                    .unwrap_or_default();
                if !known
                    .iter()
                    .any(|told| told.contains(&format!("\"{closed}\" is cordoned")))
                {
                    out.push(format!(
                        "{} goes to \"{closed}\", which is cordoned",
                        task.name
                    ));
                }
            }
        }
        out
    }

    /// What the namespace's limits leave no room for.
    fn beyond_limits(
        &self,
        record: &PlanRecord,
        work: &DeploymentWork,
        table: &Table,
    ) -> Vec<String> {
        let works = std::slice::from_ref(work);
        if !self.budgets.is_limited(works) {
            return Vec::new();
        }
        let mut admission = self.budgets.admit(works, Some(table));
        let chosen = work.resolved.iter().filter_map(|task| {
            let planned = record
                .adoption
                .tasks
                .iter()
                .find(|a| a.task == task.name && a.target == task.target)?;
            Some(Chosen {
                key: &work.key,
                task,
                placements: planned.placements.iter().collect(),
            })
        });
        let chosen: Vec<Chosen<'_>> = chosen.collect();
        let judged = admission.judge(&chosen, true);
        let refused = chosen
            .iter()
            .zip(judged)
            .filter_map(|(c, verdict)| match verdict {
                Verdict::Refused(reason) => Some(format!("{}: {reason}", c.task.name)),
                Verdict::AtMost(most) => {
                    Some(format!("{}: its limits leave {most} per hour", c.task.name))
                }
                Verdict::Fits => None,
            });
        refused.collect()
    }

    /// Lets go of plans that can't be applied any more, the oldest first, where a namespace has as many as it may have.
    async fn make_room_for_plan(
        &self,
        namespace: &Namespace,
        now: Instant,
    ) -> Result<Change, crate::Error> {
        let most = self.options.most_plans;
        let stored = self
            .store
            .list(&format!("{PLANS}{namespace}/"))
            .await?
            .records;
        let surplus = (stored.len() + 1).saturating_sub(most);
        if surplus == 0 {
            return Ok(Change::new());
        }
        let mut ended = Vec::new();
        for record in stored {
            let plan: PlanRecord = decode(&record)?;
            if !matches!(plan.status(now), PlanStatus::Pending | PlanStatus::Approved) {
                ended.push((plan.created_at, record.key));
            }
        }
        if ended.len() < surplus {
            return Err(Error::TooMany {
                namespace: namespace.clone(),
                most,
            }
            .into());
        }
        ended.sort();
        let mut change = Change::new();
        ended
            .into_iter()
            .take(surplus)
            .for_each(|(_, key)| change.delete(key));
        Ok(change)
    }
}

/// Removes plans that have been of no use for long.
///
/// # Errors
/// The state can't be read or written.
pub(crate) async fn forget(
    store: &Reads,
    committer: &Committer,
    now: Instant,
) -> Result<(), store::Error> {
    let mut change = Change::new();
    for stored in store.list(PLANS).await?.records {
        let record: PlanRecord = decode(&stored)?;
        let end = record.applied.as_ref().map_or(record.expires_at, |a| a.at);
        if end.plus(KEPT) < now {
            change.delete(stored.key);
        }
    }
    if change.is_empty() {
        Ok(())
    } else {
        committer.commit(change).await.map(drop)
    }
}

/// Names of the inputs of decisions that plans can still lead to.
///
/// # Errors
/// The state can't be read.
pub(crate) async fn open_inputs(
    store: &Reads,
    now: Instant,
) -> Result<BTreeSet<String>, store::Error> {
    let mut planned = BTreeSet::new();
    for stored in store.list(PLANS).await?.records {
        let record: PlanRecord = decode(&stored)?;
        let open = matches!(
            record.status(now),
            PlanStatus::Pending | PlanStatus::Approved
        );
        let inputs = record
            .adoption
            .decision
            .and_then(|d| d.inputs)
            .filter(|_| open);
        planned.extend(inputs.map(|id| id.to_string()));
    }
    Ok(planned)
}

/// A plan whose document was of this revision.
fn put_plan(
    change: &mut Change,
    namespace: &Namespace,
    record: &PlanRecord,
    revision: Revision,
) -> Result<(), store::Error> {
    let path = PlanRecord::path(namespace, &record.id);
    change.expect(Expect::AtRevision {
        key: path.clone(),
        revision,
    });
    change.put(path, record)
}

/// What a plan rests on.
fn basis(
    work: &DeploymentWork,
    desired: &[Desired],
    snapshot: &Snapshot,
    table: &Table,
    policy: Option<tradewind_core::plugin::Identity>,
) -> Basis {
    let mut adds: BTreeMap<(&str, &str), Adds> = BTreeMap::new();
    for step in plan::plan(desired, &work.actual) {
        let Some(want) = step
            .desired
            .and_then(|i| desired.get(i))
            .filter(|d| d.decision.is_some())
        else {
            continue;
        };
        let Some(placement) = want.placements.iter().find(|p| {
            p.provider == step.placement.provider && p.offer.id == step.placement.offer.id
        }) else {
            continue;
        };
        let more = step.placement.replicas.saturating_sub(step.replicas_before);
        let of = adds
            .entry((placement.provider.as_str(), &placement.offer.id))
            .or_default();
        let resources = &want.workload.resources;
        of.replicas = of.replicas.saturating_add(more);
        of.cpu = MilliCpu(
            of.cpu
                .0
                .saturating_add(resources.cpu.0.saturating_mul(more)),
        );
        of.memory = Bytes(
            of.memory
                .0
                .saturating_add(resources.memory.0.saturating_mul(u64::from(more))),
        );
    }
    let quote = |((provider, offer), adds): ((&str, &str), Adds)| {
        let placed = table
            .offers()
            .iter()
            .find(|p| p.provider.as_str() == provider && *p.offer.id == *offer)?;
        Some(Quote::new(placed, adds))
    };
    let used: BTreeSet<_> = desired
        .iter()
        .flat_map(|d| &d.placements)
        .map(|p| &p.provider)
        .collect();
    let stored = work.record.generation.saturating_sub(1);
    Basis {
        generation: stored,
        running: Running::of(&work.actual),
        policy,
        providers: used
            .into_iter()
            .filter_map(|name| snapshot.providers.get(name))
            .map(|p| p.identity().clone())
            .collect(),
        quotes: adds.into_iter().filter_map(quote).collect(),
    }
}

fn present<'a>(
    work: &DeploymentWork,
    snapshot: &Snapshot,
    table: &'a Table,
    failures: Vec<ProviderFailure>,
) -> Present<'a> {
    Present {
        generation: work.record.generation.saturating_sub(1),
        running: Running::of(&work.actual),
        policies: snapshot
            .policies
            .iter()
            .map(|(name, p)| (name.clone(), p.identity().clone()))
            .collect(),
        providers: snapshot
            .providers
            .iter()
            .map(|(name, p)| (name.clone(), p.identity().clone()))
            .collect(),
        offers: table.offers(),
        silent: failures
            .into_iter()
            .map(|f| (f.provider, f.failure.message))
            .collect(),
    }
}

/// Places of the plan that are closed for reasons that no quote shows.
fn closed(
    record: &PlanRecord,
    work: &DeploymentWork,
    table: &Table,
    known: &[String],
) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for quote in record.basis.quotes.iter().filter(|q| q.adds.replicas > 0) {
        let told = known.iter().any(|m| m.contains(&quote.place()));
        let Some(placed) = table
            .offers()
            .iter()
            .find(|p| p.provider == quote.provider && *p.offer.id == *quote.offer)
        else {
            continue;
        };
        let uses = |t: &&tradewind_core::plan::stored::AdoptedTask| {
            t.placements
                .iter()
                .any(|p| p.provider == quote.provider && p.offer.id == quote.offer)
        };
        for task in record.adoption.tasks.iter().filter(uses) {
            let Some(resolved) = work
                .resolved
                .iter()
                .find(|r| r.name == task.task && r.target == task.target)
            else {
                continue;
            };
            match table.admits(&Need::of(resolved), placed, false) {
                Ok(()) | Err(Exclusion::Capacity) => {}
                Err(_) if told => {}
                Err(why) => out.push(format!(
                    "{} is closed to {}: {why}",
                    quote.place(),
                    task.task
                )),
            }
        }
    }
    out
}

/// What two plans are compared by.
fn tree(shown: &StoredPlanView) -> serde_json::Value {
    let StoredPlanView {
        summary,
        manifest,
        basis,
        plan,
        ..
    } = shown;
    serde_json::json!({
        "deletes": summary.deletes,
        "manifest": manifest, "generation": basis.generation, "policy": basis.policy, "providers": basis.providers, "quotes": basis.quotes,
        "changes": plan.changes, "hourlyBefore": plan.hourly_before, "hourlyAfter": plan.hourly_after, "estimatedCost": plan.estimated_cost,
        "certificate": plan.certificate,
    })
}

/// What an event shows of a plan.
fn facts(record: &PlanRecord, now: Instant) -> impl serde::Serialize + use<> {
    serde_json::json!({
        "plan": record.id, "deletes": record.deletes, "status": record.status(now), "author": record.author, "expiresAt": record.expires_at,
        "hourlyAfter": record.plan.hourly_after, "review": record.review, "applied": record.applied,
    })
}

fn plan_event(record: &PlanRecord, reason: Reason, actor: &Actor, more: &str) -> Event {
    let metadata = &record.manifest.metadata;
    let key = DeploymentKey {
        namespace: metadata.namespace.clone(),
        name: metadata.name.clone(),
    };
    let more = if more.is_empty() {
        String::new()
    } else {
        format!(": {more}")
    };
    event(
        Severity::Info,
        reason,
        actor,
        &key,
        format!("plan \"{}\"{more}", record.id),
    )
}
