//! What the rest of the daemon asks of the controller.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, stream::BoxStream};
use tradewind_api::{Accepted, DeploymentView, OfferView, OffersView, Outcome, Unoffered};
use tradewind_core::{
    cron,
    decision::Decision,
    difference::{Changed, veiled},
    event::{Cursor, Event, Reason, Severity},
    identity::Scope,
    list::{self, OneOf, Page, Selector, Window},
    manifest::Manifest,
    names::{
        Actor, AllocationId, DecisionId, DeploymentName, EventId, InstanceName, Namespace, TaskName,
    },
    order::Standing,
    placement::PlacedOffer,
    plan,
    plan::preview::{ChangeAction, PlannedChange, Preview},
    plugin::Snapshot,
    record::{DECISIONS, DeploymentKey, DeploymentRecord, EVENTS},
    scaling,
    store::{self, Expect, Record, Revision},
    units::MicroUsd,
};

use crate::{
    Error, EventFilter, EventKind, Handle,
    background::timekeeper,
    lock,
    reconcile::hedge,
    reconcile::order,
    schedule::scheduler::{DeploymentWork, Outcome as Decided, without_ended},
    service::places,
    service::plans::ByHand,
    service::render,
    service::revisions::{Why, revise},
    service::{rerun, restart},
    state::cache::DeploymentState,
    state::commit::Change,
    state::journal::{allocation_event, decode, event},
};

/// A follower that has missed a change looks again after this.
const LOOK: Duration = Duration::from_secs(1);

pub(crate) fn key_of(manifest: &Manifest) -> DeploymentKey {
    DeploymentKey {
        namespace: manifest.metadata.namespace.clone(),
        name: manifest.metadata.name.clone(),
    }
}

/// What an event shows of a deployment.
fn facts(record: &DeploymentRecord) -> impl serde::Serialize + use<> {
    serde_json::json!({ "generation": record.generation, "deleting": record.deleting, "spec": record.manifest.spec })
}

pub(crate) fn not_found(key: &DeploymentKey) -> Error {
    Error::NotFound {
        what: "deployment",
        name: key.to_string(),
    }
}

pub(crate) fn check_generation(
    key: &DeploymentKey,
    wanted: Option<u64>,
    actual: u64,
) -> Result<(), Error> {
    match wanted {
        Some(expected) if expected != actual => Err(Error::Generation {
            what: "deployment",
            name: key.to_string(),
            expected,
            actual,
        }),
        _ => Ok(()),
    }
}

impl Handle {
    /// Stores the manifest as the deployment's spec. An equal manifest changes nothing.
    /// `if_generation`: 0 wants it absent, n wants it at generation n.
    ///
    /// # Errors
    /// `Generation`, `Deleting`, `Plan` where only approved plans change something, or the state can't be written. Nothing has been
    /// changed then.
    pub async fn put(
        &self,
        actor: &Actor,
        manifest: Manifest,
        if_generation: Option<u64>,
    ) -> Result<Accepted, Error> {
        self.try_put(&manifest, if_generation)?;
        self.write_manifest(actor, manifest, if_generation, Why::put())
            .await
    }

    /// What `put` would answer now. Changes nothing.
    ///
    /// # Errors
    /// Those of `put`, but for a state that can't be written.
    pub fn try_put(
        &self,
        manifest: &Manifest,
        if_generation: Option<u64>,
    ) -> Result<Accepted, Error> {
        let key = key_of(manifest);
        let before = lock(&self.shared.cache)
            .deployments
            .get(&key)
            .map(|e| e.record.clone());
        let same = before.as_ref().is_some_and(|r| r.manifest == *manifest);
        if !same {
            self.may_change(&key.namespace, ByHand::Put)?;
        }
        let generation = before.as_ref().map_or(0, |r| r.generation);
        check_generation(&key, if_generation, generation)?;
        let (generation, outcome) = match &before {
            Some(r) if r.deleting => {
                return Err(Error::Deleting {
                    name: key.to_string(),
                });
            }
            Some(_) if same => (generation, Outcome::Unchanged),
            Some(_) => (generation + 1, Outcome::Updated),
            None => (1, Outcome::Created),
        };
        Ok(Accepted {
            namespace: key.namespace,
            name: key.name,
            generation,
            outcome,
        })
    }

    pub(crate) async fn write_manifest(
        &self,
        actor: &Actor,
        manifest: Manifest,
        if_generation: Option<u64>,
        why: Why,
    ) -> Result<Accepted, Error> {
        let key = key_of(&manifest);
        loop {
            let before = lock(&self.shared.cache)
                .deployments
                .get(&key)
                .map(|e| (e.record.clone(), e.revision));
            let generation = before.as_ref().map_or(0, |(r, _)| r.generation);
            check_generation(&key, if_generation, generation)?;
            let now = self.shared.clock.now();
            let accepted = |generation, outcome| Accepted {
                namespace: key.namespace.clone(),
                name: key.name.clone(),
                generation,
                outcome,
            };
            let (record, expect, outcome, reason) = match &before {
                Some((r, _)) if r.deleting => {
                    return Err(Error::Deleting {
                        name: key.to_string(),
                    });
                }
                Some((r, _)) if r.manifest == manifest && why.changes_nothing_else() => {
                    return Ok(accepted(generation, Outcome::Unchanged));
                }
                Some((r, revision)) => {
                    let record = DeploymentRecord {
                        generation: generation + 1,
                        manifest: manifest.clone(),
                        updated_at: now,
                        ..(**r).clone()
                    };
                    (
                        record,
                        Expect::AtRevision {
                            key: key.path(),
                            revision: *revision,
                        },
                        Outcome::Updated,
                        why.event(),
                    )
                }
                None => {
                    let record = DeploymentRecord {
                        generation: 1,
                        manifest: manifest.clone(),
                        deleting: false,
                        scales: Vec::new(),
                        created_at: now,
                        updated_at: now,
                        rollout: None,
                        revisions: Vec::new(),
                        adopt: None,
                        moves: Vec::new(),
                        reruns: Vec::new(),
                        restarts: Vec::new(),
                        schedules: Vec::new(),
                        begun: Vec::new(),
                        released: Vec::new(),
                        waiting: Vec::new(),
                    };
                    (
                        record,
                        Expect::Absent { key: key.path() },
                        Outcome::Created,
                        Reason::DeploymentCreated,
                    )
                }
            };
            let mut record = record;
            if why.of.is_none() {
                // It is stored twice: as what is wanted, and as a revision. Nobody is kept from returning to one.
                let size = |manifest: &Manifest| {
                    serde_json::to_vec(manifest).map_or(0, |bytes| bytes.len() as u64)
                };
                let had = |(r, _): &(Arc<DeploymentRecord>, Revision)| size(&r.manifest);
                let more =
                    || (2 * size(&record.manifest)).saturating_sub(before.as_ref().map_or(0, had));
                self.shared.budgets.check_room(&key.namespace, more).await?;
            }
            let (also, adopt) = why.plan.clone().unzip();
            record.adopt = adopt;
            cron::note(&mut record, before.as_ref().map(|(r, _)| &r.manifest), now);
            rerun::note(&mut record, &why.reruns, now);
            restart::note(&mut record, &why);
            let mut change = also.unwrap_or_default();
            change.expect(expect);
            revise(
                &mut change,
                &mut record,
                &key,
                actor,
                &why,
                self.shared.options.keep_revisions,
                now,
            )?;
            // Every run of a job with a schedule is told as such, also one that begins beside other jobs.
            for job in &why.reruns {
                if record.schedules.iter().any(|s| s.task == *job) {
                    change.event(timekeeper::by_hand(actor, &key, job));
                }
            }
            let told = event(
                Severity::Info,
                reason,
                actor,
                &key,
                why.message(record.generation),
            );
            let scheduled = !record.schedules.is_empty();
            match self
                .write(
                    &key,
                    before.as_ref().map(|(r, _)| r.as_ref()),
                    record,
                    change,
                    told,
                )
                .await
            {
                // Another write came first: see what it made of the condition.
                Err(Error::Store(store::Error::Conflict { key: at })) if at == key.path() => {}
                Err(error) => return Err(error),
                Ok(generation) => {
                    if scheduled {
                        self.shared.timekeeper.look_at(&key);
                    }
                    return Ok(accepted(generation, outcome));
                }
            }
        }
    }

    /// Begins the removal of everything that belongs to the deployment.
    ///
    /// # Errors
    /// `NotFound`, `Generation`, `Plan` where only approved plans change something, or the state can't be written.
    pub async fn delete(
        &self,
        actor: &Actor,
        namespace: &Namespace,
        name: &DeploymentName,
        if_generation: Option<u64>,
    ) -> Result<Accepted, Error> {
        let key = DeploymentKey {
            namespace: namespace.clone(),
            name: name.clone(),
        };
        let stands = lock(&self.shared.cache)
            .deployments
            .get(&key)
            .is_some_and(|e| !e.record.deleting);
        if stands {
            self.may_change(namespace, ByHand::Delete)?;
        }
        self.remove(actor, &key, if_generation, Change::new()).await
    }

    /// `also`: what is to be stored with it.
    pub(crate) async fn remove(
        &self,
        actor: &Actor,
        key: &DeploymentKey,
        if_generation: Option<u64>,
        also: Change,
    ) -> Result<Accepted, Error> {
        loop {
            let before = lock(&self.shared.cache)
                .deployments
                .get(key)
                .map(|e| (e.record.clone(), e.revision));
            let Some((record, revision)) = before else {
                return Err(not_found(key));
            };
            check_generation(key, if_generation, record.generation)?;
            let generation = record.generation;
            let accepted = Accepted {
                namespace: key.namespace.clone(),
                name: key.name.clone(),
                generation,
                outcome: Outcome::Deleting,
            };
            if record.deleting {
                return Ok(accepted);
            }
            let before = record;
            let record = DeploymentRecord {
                deleting: true,
                updated_at: self.shared.clock.now(),
                ..(*before).clone()
            };
            let mut change = also.clone();
            change.expect(Expect::AtRevision {
                key: key.path(),
                revision,
            });
            let told = event(
                Severity::Info,
                Reason::DeploymentDeleting,
                actor,
                key,
                format!("generation {generation}"),
            );
            match self.write(key, Some(&before), record, change, told).await {
                Err(Error::Store(store::Error::Conflict { key: at })) if at == key.path() => {}
                Err(error) => return Err(error),
                Ok(_) => return Ok(accepted),
            }
        }
    }

    /// Commits a deployment's record with its event, and wakes the controller. Answers the generation.
    async fn write(
        &self,
        key: &DeploymentKey,
        before: Option<&DeploymentRecord>,
        record: DeploymentRecord,
        mut change: Change,
        told: Event,
    ) -> Result<u64, Error> {
        let generation = record.generation;
        change.event(told.changing(before.map(facts).as_ref(), Some(&facts(&record))));
        change.put_spec(key, record)?;
        change.enqueue(key);
        self.shared.committer.accept(change).await?;
        Ok(generation)
    }

    /// Commits a record of the same generation: nothing that it asks for has changed.
    pub(crate) async fn write_same(
        &self,
        actor: &Actor,
        key: &DeploymentKey,
        record: DeploymentRecord,
        expect: Expect,
        reason: Reason,
    ) -> Result<u64, Error> {
        let generation = record.generation;
        let mut change = Change::of(event(
            Severity::Info,
            reason,
            actor,
            key,
            format!("generation {generation}"),
        ));
        change.expect(expect);
        change.put_progress(key, record)?;
        change.enqueue(key);
        self.shared.committer.accept(change).await?;
        Ok(generation)
    }

    /// A deployment as it is now. None: there is none.
    pub fn get(&self, namespace: &Namespace, name: &DeploymentName) -> Option<DeploymentView> {
        let snapshot = self.shared.plugins.snapshot();
        let key = DeploymentKey {
            namespace: namespace.clone(),
            name: name.clone(),
        };
        let (entry, cordons) = {
            let cache = lock(&self.shared.cache);
            (cache.deployments.take_copy(&key), cache.cordons.clone())
        };
        let now = self.shared.clock.now();
        entry.map(|entry| {
            let mut view = render::deployment(&key, &entry, &snapshot, now);
            places::warn(&mut view, &entry, &cordons);
            view
        })
    }

    pub(crate) fn work(&self, manifest: Manifest) -> DeploymentWork {
        let key = key_of(&manifest);
        let cache = lock(&self.shared.cache);
        let entry = cache.deployments.get(&key);
        let now = self.shared.clock.now();
        let generation = entry.map_or(0, |e| e.record.generation) + 1;
        let mut record = DeploymentRecord {
            generation,
            manifest,
            deleting: false,
            scales: entry.map(|e| e.record.scales.clone()).unwrap_or_default(),
            created_at: entry.map_or(now, |e| e.record.created_at),
            updated_at: now,
            rollout: None,
            revisions: Vec::new(),
            adopt: None,
            moves: entry.map(|e| e.record.moves.clone()).unwrap_or_default(),
            reruns: entry.map(|e| e.record.reruns.clone()).unwrap_or_default(),
            restarts: entry.map(|e| e.record.restarts.clone()).unwrap_or_default(),
            schedules: entry
                .map(|e| e.record.schedules.clone())
                .unwrap_or_default(),
            begun: Vec::new(),
            released: entry.map(|e| e.record.released.clone()).unwrap_or_default(),
            waiting: Vec::new(),
        };
        cron::note(&mut record, entry.map(|e| &e.record.manifest), now);
        let resolved = Arc::new(scaling::resolve(&record));
        let revision = entry.map(|e| e.revision).unwrap_or_default();
        let all = entry.map(DeploymentState::actual).unwrap_or_default();
        let (resolved, actual) = without_ended(resolved, hedge::visible(&all));
        DeploymentWork {
            actual,
            all,
            order: Default::default(),
            key,
            record: Arc::new(record),
            revision,
            resolved,
        }
    }

    /// What `put` would lead to. Changes nothing.
    ///
    /// # Errors
    /// `Plugin` when nothing can be decided.
    pub async fn plan(&self, manifest: Manifest) -> Result<Preview, Error> {
        let snapshot = self.shared.plugins.snapshot();
        self.draft(&snapshot, &self.work(manifest))
            .await
            .map(|(_, view)| view)
    }

    /// What would be decided about a work, and how that looks.
    pub(crate) async fn draft(
        &self,
        snapshot: &Snapshot,
        work: &DeploymentWork,
    ) -> Result<(Decided, Preview), Error> {
        // What goes needs no decision.
        let outcome = if work.record.deleting {
            Decided::default()
        } else {
            self.shared
                .scheduler
                .decide(snapshot, std::slice::from_ref(work))
                .await
                .0
                .pop()
                .unwrap_or_default()
        };
        if let Some(failure) = outcome.failure {
            return Err(Error::Plugin(failure));
        }
        let steps = if work.record.deleting {
            plan::deletion(&work.actual)
        } else {
            plan::plan(&outcome.desired, &work.actual)
        };
        let sum = |amounts: &mut dyn Iterator<Item = MicroUsd>| {
            amounts.fold(MicroUsd(0), MicroUsd::saturating_add)
        };
        let hourly_before = sum(&mut steps.iter().map(|s| s.hourly_before));
        let hourly_after = sum(&mut steps.iter().map(plan::Step::hourly_after));
        let manifest = &work.record.manifest;
        let is_job = |task: &TaskName| manifest.spec.jobs.contains_key(task);
        let services = sum(&mut steps
            .iter()
            .filter(|s| !is_job(&s.task))
            .map(plan::Step::hourly_after));
        let strategy = |s: &plan::Step| {
            let task = work
                .resolved
                .iter()
                .find(|t| t.name == s.task && t.target == s.target);
            task.map(|t| t.update.strategy).unwrap_or_default()
        };
        let order = self.order_of(work);
        let after = |s: &plan::Step| {
            let begins = matches!(s.action, ChangeAction::Create | ChangeAction::Update);
            let wait = order.waits.iter().find(|w| w.task == s.task);
            wait.filter(|_| begins)
                .map(|w| w.on.clone())
                .unwrap_or_default()
        };
        let change = |s: plan::Step| PlannedChange {
            after: after(&s),
            action: s.action,
            transition: plan::transition(&s, &outcome.desired, &work.actual, strategy(&s)),
            replicas_before: s.replicas_before,
            replicas_after: s.replicas_after(),
            hourly_before: s.hourly_before,
            hourly_after: s.hourly_after(),
            task: s.task,
            provider: s.placement.provider,
            region: s.placement.offer.region,
            size: s.placement.offer.size,
            offer: s.placement.offer.id,
            why: s.why,
        };
        let warnings = self
            .shared
            .images
            .left_loose(&work.key, snapshot, &outcome.desired, &steps);
        let before = lock(&self.shared.cache)
            .deployments
            .get(&work.key)
            .map(|e| e.record.manifest.clone());
        let keeps = steps.iter().all(|s| s.action == ChangeAction::Keep);
        let (action, fields) = changes_of(work, before.as_ref(), keeps);
        let view = Preview {
            namespace: work.key.namespace.clone(),
            name: work.key.name.clone(),
            policy: outcome.decision.as_ref().map(|d| d.policy.clone()),
            action: Some(action),
            fields,
            changes: steps.into_iter().map(change).collect(),
            scales: work.resolved.iter().filter_map(render::bounds).collect(),
            schedules: render::planned_schedules(&work.record, self.shared.clock.now()),
            unplaced: outcome.unplaced.clone(),
            hourly_before,
            hourly_after,
            estimated_cost: outcome.estimated,
            monthly_after: (!manifest.spec.services.is_empty())
                .then(|| services.saturating_mul(MONTH_HOURS)),
            jobs_cost: (!manifest.spec.jobs.is_empty()).then(|| jobs_cost(&outcome.desired)),
            certificate: outcome.decision.as_ref().and_then(|d| d.certificate),
            unanswered: outcome
                .decision
                .as_ref()
                .map(|d| d.unanswered.clone())
                .unwrap_or_default(),
            reasons: outcome
                .decision
                .as_ref()
                .map(|d| d.tasks.clone())
                .unwrap_or_default(),
            warnings,
        };
        Ok((outcome, view))
    }

    /// Which of a work's tasks would wait for others.
    fn order_of(&self, work: &DeploymentWork) -> Standing {
        let cache = lock(&self.shared.cache);
        let entry = cache.deployments.get(&work.key);
        order::standing(entry, &work.record, &scaling::resolve(&work.record))
    }

    /// None: of every provider that is open to a namespace of the scope. Answers also where the next page begins.
    ///
    /// # Errors
    /// `NotFound` for an unknown provider.
    pub async fn offers(
        &self,
        scope: &Scope,
        provider: Option<&InstanceName>,
        selector: &Selector,
        window: &Window<OfferView>,
    ) -> Result<(OffersView, Option<list::Cursor<OfferView>>), Error> {
        let snapshot = self.shared.plugins.snapshot().within(scope);
        if let Some(name) = provider.filter(|name| !snapshot.providers.contains_key(*name)) {
            return Err(Error::NotFound {
                what: "provider",
                name: name.to_string(),
            });
        }
        let (table, mut failures) = self.shared.offers.assess(&snapshot).await;
        let now = self.shared.clock.now();
        let wanted = |name: &InstanceName| provider.is_none_or(|p| p == name);
        failures.retain(|f| wanted(&f.provider));
        let mut offers: Vec<_> = table
            .offers()
            .iter()
            .filter(|o| wanted(&o.provider) && selector.admits(&o.offer.labels))
            .collect();
        let view = |o: &PlacedOffer| OfferView::new(&o.provider, &o.offer, now);
        let Page { items, next } = if window.sort.is_some() {
            Page::of(offers.into_iter().map(view), window)
        } else {
            // Only those of the page are rendered.
            offers.sort_by(|a, b| (&a.provider, &a.offer.id).cmp(&(&b.provider, &b.offer.id)));
            let behind = window.cursor.as_ref().map(list::Cursor::key);
            let begin = offers.partition_point(|o| {
                behind.is_some_and(|(provider, id)| {
                    (&o.provider, &*o.offer.id) <= (provider, id.as_str())
                })
            });
            Page::first(offers.into_iter().skip(begin).map(view), window.limit)
        };
        Ok((OffersView::new(items, Unoffered { failures }), next))
    }

    /// Newest first, as far as they are about the scope. With a namespace, and a deployment of it: only those that concern it.
    ///
    /// # Errors
    /// The state can't be read.
    pub async fn decisions(
        &self,
        scope: &Scope,
        of: Option<(&Namespace, Option<&DeploymentName>)>,
        window: &Window<Decision>,
    ) -> Result<Page<Decision>, Error> {
        let concerns = |d: &Decision| {
            of.is_none_or(|(ns, name)| {
                d.tasks
                    .iter()
                    .any(|t| t.namespace == *ns && name.is_none_or(|name| t.deployment == *name))
            })
        };
        let behind = window
            .cursor
            .as_ref()
            .map(|cursor| format!("{DECISIONS}{}", cursor.key().0));
        let mut found = Vec::new();
        for stored in self
            .shared
            .store
            .list(DECISIONS)
            .await?
            .records
            .iter()
            .rev()
        {
            if found.len() > window.limit {
                break;
            }
            // Keys are in the order of ids.
            if behind.as_ref().is_some_and(|behind| stored.key >= *behind) {
                continue;
            }
            let decision: Decision = decode(stored)?;
            if concerns(&decision) {
                found.extend(within(decision, scope));
            }
        }
        Ok(Page::first(found, window.limit))
    }

    /// # Errors
    /// `NotFound`, or the state can't be read.
    pub async fn decision(&self, scope: &Scope, id: &DecisionId) -> Result<Decision, Error> {
        let stored = self.shared.store.get(&format!("{DECISIONS}{id}")).await?;
        let found = stored
            .map(|stored| decode(&stored))
            .transpose()?
            .and_then(|decision| within(decision, scope));
        found.ok_or_else(|| Error::NotFound {
            what: "decision",
            name: id.to_string(),
        })
    }

    /// Kept events in the order in which they were recorded, and the revision behind which more can come. Without `after`, pages go from
    /// the last events back: the cursor is the place before which a page ends. With it, from there on: the place behind which it begins.
    ///
    /// # Errors
    /// The state can't be read.
    pub async fn events(
        &self,
        filter: &EventFilter,
        after: Option<&Cursor>,
        window: &Window<Event>,
    ) -> Result<(Page<Event>, Revision), Error> {
        let mut listing = self.shared.store.list(EVENTS).await?;
        // Keys are in the order in which ids were drawn, which is not that of the commits.
        listing.records.sort_by_key(|r| r.revision);
        if after.is_none() {
            listing.records.reverse();
        }
        let at = window.cursor.as_ref().map(list::Cursor::key);
        let wanted = |stored: &Record| {
            // Most are told apart by their revision: only those of the same one need their ids.
            let beside = |at: &(Revision, Option<EventId>)| {
                stored
                    .revision
                    .cmp(&at.0)
                    .then_with(|| event_id(stored).cmp(&at.1))
            };
            match after {
                None => at.is_none_or(|at| beside(at).is_lt()),
                Some(after) => {
                    let id = if stored.revision == after.revision {
                        event_id(stored)
                    } else {
                        None
                    };
                    after.precedes(stored.revision, id.as_ref())
                        && at.is_none_or(|at| beside(at).is_gt())
                }
            }
        };
        let mut found = Vec::new();
        for stored in listing.records.iter().filter(|stored| wanted(stored)) {
            if found.len() > window.limit {
                break;
            }
            let event = decode_event(stored)?;
            if filter.admits(&event) {
                found.push(event);
            }
        }
        let mut page = Page::first(found, window.limit);
        if after.is_none() {
            page.items.reverse();
        }
        Ok((page, listing.revision))
    }

    /// Events behind a place, first those that have been, then those to come: each once, without a gap.
    ///
    /// # Errors
    /// What happened after that place is not kept any more.
    pub async fn follow_events(
        &self,
        filter: EventFilter,
        after: Cursor,
    ) -> Result<BoxStream<'static, Result<Event, Error>>, Error> {
        let changes = self.shared.store.watch(EVENTS, after.follow_from()).await;
        let changes = changes.map_err(|error| match error {
            store::Error::Compacted { .. } => Error::Unfollowable {
                after: after.revision,
            },
            error => error.into(),
        })?;
        let events = changes.filter_map(move |change| {
            let event = match change {
                Ok(store::Change { value: None, .. }) => None,
                Ok(store::Change {
                    revision,
                    key,
                    value: Some(value),
                }) => match decode_event(&Record {
                    key,
                    value,
                    revision,
                }) {
                    Ok(event) => (after.precedes(revision, event.id.as_ref())
                        && filter.admits(&event))
                    .then_some(Ok(event)),
                    Err(error) => Some(Err(error.into())),
                },
                Err(error) => Some(Err(error.into())),
            };
            std::future::ready(event)
        });
        Ok(events.boxed())
    }

    /// Resolves soon after the deployment has changed, for followers. Spurious wake-ups are possible.
    ///
    /// # Errors
    /// `NotFound` when there is no such deployment (any more).
    pub async fn changed(&self, namespace: &Namespace, name: &DeploymentName) -> Result<(), Error> {
        let key = DeploymentKey {
            namespace: namespace.clone(),
            name: name.clone(),
        };
        let changed = lock(&self.shared.cache)
            .deployments
            .get(&key)
            .map(|e| e.changed.clone());
        let Some(changed) = changed else {
            return Err(not_found(&key));
        };
        // A change between the caller's last look and this call would be missed: so nobody waits for ever.
        let _ = tokio::time::timeout(LOOK, changed.notified()).await;
        Ok(())
    }

    /// Records something that happened outside the controller.
    pub async fn note(&self, event: Event) {
        self.shared.committer.emit_event(event).await;
    }

    /// Records something that has happened to an allocation. One that is gone by now is nobody's any more.
    pub async fn note_of(
        &self,
        allocation: &AllocationId,
        severity: Severity,
        reason: Reason,
        message: String,
    ) {
        let event = {
            let cache = lock(&self.shared.cache);
            cache
                .live(allocation)
                .map(|live| allocation_event(severity, reason, &live.record, message))
        };
        if let Some(event) = event {
            self.shared.committer.emit_event(event).await;
        }
    }
}

/// An event as it is stored, with what only the store knows of it.
fn decode_event(stored: &Record) -> Result<Event, store::Error> {
    Ok(Event {
        revision: stored.revision,
        id: event_id(stored),
        ..decode(stored)?
    })
}

fn event_id(stored: &Record) -> Option<EventId> {
    stored
        .key
        .strip_prefix(EVENTS)
        .and_then(|id| id.parse().ok())
}

/// What of a decision is about the scope; none when nothing is.
fn within(mut decision: Decision, scope: &Scope) -> Option<Decision> {
    if scope.is_all() {
        return Some(decision);
    }
    decision.tasks.retain(|t| scope.admits(&t.namespace));
    // What the batch costs in all may tell of others.
    if decision.tasks.len() < decision.batch as usize {
        (decision.lower_bound, decision.certificate) = (None, None);
    }
    (!decision.tasks.is_empty()).then_some(decision)
}

impl EventFilter {
    fn admits(&self, event: &Event) -> bool {
        fn same<T: PartialEq>(wanted: &Option<T>, actual: &Option<T>) -> bool {
            wanted.is_none() || wanted == actual
        }
        let reached = event
            .namespace
            .as_ref()
            .map_or(self.scope.is_all(), |n| self.scope.admits(n));
        reached
            && same(&self.namespace, &event.namespace)
            && same(&self.deployment, &event.deployment)
            && same(&self.plugin, &event.plugin)
            && self.kind.admits(event)
    }
}

impl EventKind {
    fn admits(&self, event: &Event) -> bool {
        let reason = |wanted: &OneOf<Reason>| {
            Reason::ALL
                .iter()
                .any(|reason| wanted.has(*reason) && reason.as_str() == event.reason)
        };
        self.since.is_none_or(|since| event.at >= since)
            && self
                .severity
                .as_ref()
                .is_none_or(|wanted| wanted.has(event.severity))
            && self.reason.as_ref().is_none_or(reason)
    }
}

/// The hours of a month.
const MONTH_HOURS: u64 = 730;

/// What jobs cost where they are placed, for as long as they are expected to take there.
fn jobs_cost(desired: &[plan::Desired]) -> MicroUsd {
    let of = |p: &plan::Placement| {
        let hours = p.takes.map_or(0.0, |takes| takes.0 as f64 / 3_600_000.0);
        p.hourly.scaled(hours).saturating_mul(u64::from(p.replicas))
    };
    desired
        .iter()
        .flat_map(|d| &d.placements)
        .map(of)
        .fold(MicroUsd(0), MicroUsd::saturating_add)
}

/// What becomes of a deployment, and of which fields of its manifest. `keeps`: nothing changes about what runs.
fn changes_of(
    work: &DeploymentWork,
    before: Option<&Manifest>,
    keeps: bool,
) -> (ChangeAction, Vec<Changed>) {
    let tree = |m: &Manifest| serde_json::to_value(m).unwrap_or_default();
    let manifest = &work.record.manifest;
    match before {
        _ if work.record.deleting => (ChangeAction::Destroy, Vec::new()),
        None => (ChangeAction::Create, Vec::new()),
        Some(old) if old == manifest && keeps => (ChangeAction::Keep, Vec::new()),
        Some(old) => (ChangeAction::Update, veiled(&tree(old), &tree(manifest))),
    }
}
