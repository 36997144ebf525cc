//! One step of the controller: take what may differ from what is wanted, decide, plan, store the intent, and have it carried out.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures::future::join_all;
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, mpsc, watch},
    time::Instant as Tick,
};
use tokio_util::sync::CancellationToken;
use tradewind_core::{
    capability::Clock,
    event::{Cause, Reason, Severity},
    failure::Failure,
    health::Recovery,
    ledger::Meter,
    names::{AllocationId, InstallationId},
    place_health::Place,
    plan::preview::{ChangeAction, Unplaced},
    plan::{self, Desired, Placement, Step},
    plugin::Plugins,
    record::{AllocationRecord, AllocationStatus, DeploymentKey, Handle, Intent, Stage},
    retry,
    store::{Error, Expect, Revision},
    units::Instant,
    workload::{Phase, Run},
};

use crate::{
    Options,
    execute::dispatcher::Dispatcher,
    execute::outcome::Outcomes,
    lock,
    observe::place_health::PlaceHealth,
    observe::recovery::Healer,
    reconcile::hedge,
    reconcile::order,
    reconcile::rollout::{self, Return, Rolled},
    schedule::admission::Budgets,
    schedule::offers::{OfferCache, Offers},
    schedule::preemption::Preemptor,
    schedule::scheduler::{DeploymentWork, Outcome, Scheduler, without_ended},
    schedule::shadows::{self as shadow, Shadows},
    state::cache::{Cache, DeploymentState, InFlight, Next, Reserved},
    state::commit::{Change, Committer, Ids},
    state::journal::replicas_have,
    state::journal::{CONTROLLER, allocation_event, changing, event, revision_event},
    state::notes::Hasty,
    state::reads::Reads,
};

/// How often a place is looked for when there was none.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// How soon a decision is made anew when another write came first.
const AFTER_CONFLICT: Duration = Duration::from_millis(2);
/// It doubles so many times when other writes keep coming first: to a second.
const AFTER_CONFLICT_DOUBLES: u32 = 9;
/// How soon an intent that could not be stored is decided about again.
const STORE_AGAIN: Duration = Duration::from_secs(5);

/// Works on the deployments that may differ from what is wanted.
pub(crate) struct Reconciler {
    pub(crate) cache: Arc<Mutex<Cache>>,
    pub(crate) committer: Arc<Committer>,
    pub(crate) reads: Reads,
    pub(crate) plugins: Arc<dyn Plugins>,
    pub(crate) plugin_changes: watch::Receiver<u64>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) options: Arc<Options>,
    pub(crate) ids: Arc<Ids>,
    pub(crate) installation: InstallationId,
    pub(crate) quotes: Arc<OfferCache>,
    pub(crate) offers: Arc<Offers>,
    pub(crate) place_health: Arc<PlaceHealth>,
    pub(crate) scheduler: Arc<Scheduler>,
    pub(crate) preemption: Arc<Preemptor>,
    pub(crate) budgets: Arc<Budgets>,
    pub(crate) dispatcher: Arc<Dispatcher>,
    pub(crate) outcomes: Arc<Outcomes>,
    pub(crate) recovery: Arc<Healer>,
    pub(crate) shadows: Arc<Shadows>,
    pub(crate) wake: Arc<Notify>,
    pub(crate) stop: CancellationToken,
    /// Updates that have failed and return by themselves.
    pub(crate) returns: mpsc::UnboundedSender<Return>,
}

impl Reconciler {
    /// Runs until the controller stops.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut plugins = self.plugin_changes.clone();
        let mut before = self.plugins.snapshot();
        // None: what has changed since the start is still to be looked at.
        let mut version = match plugins.has_changed() {
            Ok(false) => Some(*plugins.borrow()),
            _ => None,
        };
        while !self.stop.is_cancelled() {
            loop {
                let ready = lock(&self.cache).drain_ready(Tick::now());
                if ready.is_empty() || self.stop.is_cancelled() {
                    break;
                }
                let timings = &self.committer.timings;
                timings.reconcile.time(self.step(ready)).await;
            }
            let next = lock(&self.cache).next_delayed();
            let delayed = async {
                match next {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.stop.cancelled() => {}
                () = self.wake.notified() => {}
                () = delayed => {}
                changed = plugins.changed() => match changed {
                    // The plugin host looked at its folder and found nothing else to serve.
                    Ok(()) if version == Some(*plugins.borrow()) => {}
                    Ok(()) => {
                        version = Some(*plugins.borrow_and_update());
                        let now = self.plugins.snapshot();
                        self.place_health.reset_changed_providers(&now);
                        self.tell_closed(&before, &now).await;
                        before = now;
                        lock(&self.cache).enqueue_all();
                    }
                    Err(_) => self.stop.cancelled().await,
                },
            }
        }
    }

    /// Works on a batch of deployments. Returns when all of them have been decided; the calls are made beside.
    async fn step(self: &Arc<Self>, keys: Vec<DeploymentKey>) {
        let snapshot = self.plugins.snapshot();
        let (mut works, mut going) = (Vec::new(), Vec::new());
        let asks_anew = self.quotes.asks_anew(&snapshot, self.options.offers_ttl);
        {
            let cache = lock(&self.cache);
            // Room that nobody has seen yet goes to those who have waited for it, not to who comes by now.
            let before = if asks_anew {
                cache.others_waiting(&keys)
            } else {
                Vec::new()
            };
            for key in keys.into_iter().chain(before) {
                let Some(entry) = cache.deployments.get(&key) else {
                    continue;
                };
                let (record, revision, resolved) =
                    (entry.record.clone(), entry.revision, entry.resolved.clone());
                let all = entry.actual();
                let order = order::standing(Some(entry), &record, &resolved);
                let (resolved, actual) = if record.deleting {
                    (resolved, all.clone())
                } else if order.waits.is_empty() {
                    without_ended(resolved, hedge::visible(&all))
                } else {
                    (resolved, Vec::new())
                };
                let work = DeploymentWork {
                    key,
                    record,
                    revision,
                    resolved,
                    actual,
                    all,
                    order,
                };
                if work.record.deleting {
                    going.push(work)
                } else {
                    works.push(work)
                }
            }
        }
        join_all(works.iter_mut().map(|work| self.hold_back(work))).await;
        // The oldest first, also after a restart. Priorities go before age within the decision.
        works.sort_by(|a: &DeploymentWork, b: &DeploymentWork| {
            (a.record.created_at, &a.key).cmp(&(b.record.created_at, &b.key))
        });
        // Removal owes no decision and waits for none.
        join_all(
            going
                .into_iter()
                .map(|work| self.commit_outcome(work, Outcome::default())),
        )
        .await;
        let deciding = self.scheduler.decide(&snapshot, &works);
        let (outcomes, _) = if works.is_empty() {
            deciding.await
        } else {
            self.committer.timings.decision.time(deciding).await
        };
        let heard = shadow::calls_of(&snapshot, &works, &outcomes);
        join_all(
            works
                .into_iter()
                .zip(outcomes)
                .map(|(work, outcome)| self.commit_outcome(work, outcome)),
        )
        .await;
        self.shadows.notify(&snapshot, heard);
    }

    /// Stores what has been decided for one deployment, then starts the calls that are due.
    async fn commit_outcome(self: &Arc<Self>, work: DeploymentWork, mut outcome: Outcome) {
        let preemptions = std::mem::take(&mut outcome.preemptions);
        match self.commit_intent(&work, outcome).await {
            Ok(due) => {
                self.dispatcher.launch(&work.key, due);
                self.preemption.preempt(&work.key, preemptions).await;
                self.return_if_failed(&work.key);
                self.recovery.tell_paces(&work.key);
                if work.record.deleting {
                    self.outcomes.finish_deletion(&work.key).await;
                }
            }
            Err(Error::Conflict { .. }) => {
                let mut cache = lock(&self.cache);
                let conflicts = cache
                    .deployments
                    .get_mut(&work.key)
                    .map_or(0, DeploymentState::conflicted);
                cache.enqueue_at(
                    &work.key,
                    Tick::now() + AFTER_CONFLICT * (1 << conflicts.min(AFTER_CONFLICT_DOUBLES)),
                );
            }
            Err(error) => {
                tracing::error!(deployment = %work.key, error = &error as &dyn std::error::Error, "the intent could not be stored");
                lock(&self.cache).enqueue_at(&work.key, Tick::now() + STORE_AGAIN);
            }
        }
    }

    /// Commits the intent of every step, then shows it to the rest of the daemon. Nothing has had an effect before this returns.
    /// Answers the allocations whose calls are due; they count as in flight.
    async fn commit_intent(
        self: &Arc<Self>,
        work: &DeploymentWork,
        outcome: Outcome,
    ) -> Result<Vec<AllocationId>, Error> {
        let Outcome {
            desired,
            mut unplaced,
            stuck,
            held,
            others,
            decision,
            inputs,
            failure,
            ..
        } = outcome;
        let failed = failure.is_some();
        let steps = if failed {
            Vec::new()
        } else {
            plan::plan(&desired, &work.actual)
        };
        let mut told = Vec::new();
        let mut records = self.records(work, &desired, &steps);
        name_the_way(work, &mut unplaced);
        let mut rolled = match &failure {
            _ if work.record.deleting => Rolled::default(),
            // Without a decision what is there stays as it is, and its update is judged all the same.
            Some(failure) => self.judge_undecided(work, failure),
            None => self.roll(work, &desired, &unplaced, &mut records),
        };
        self.hedge(work, &desired, &mut records, &mut told);
        if !work.record.deleting {
            self.hold_to_deadlines(work, &mut records, &mut rolled, &mut told);
        }
        // Promised from here on: whoever asks for room while this is being stored finds it taken.
        self.reserve(&mut lock(&self.cache), &work.all, &records);
        if let Some(adopt) = work.record.adopt.as_ref().filter(|_| !failed) {
            // It has been taken over with this intent, but for what has not begun.
            let later = adopt.for_later(|task| work.order.holds(task));
            if later.as_ref() != Some(adopt) {
                rolled
                    .deployment
                    .get_or_insert_with(|| (*work.record).clone())
                    .adopt = later;
            }
        }
        if !work.record.deleting
            && let Some(news) = order::news(work, self.clock.now(), &mut rolled.told)
        {
            let record = rolled
                .deployment
                .get_or_insert_with(|| (*work.record).clone());
            (record.released, record.waiting) = news;
        }
        let changed: Vec<&AllocationRecord> =
            records.iter().filter(|r| differs(r, &work.all)).collect();

        let changed_nothing = changed.is_empty() && rolled.deployment.is_none();
        let decided = !changed_nothing && decision.is_some();
        let mut change = Change::new();
        if !changed_nothing {
            // Of the spec that was decided about: an older decision never goes over a newer spec.
            change.expect(Expect::AtRevision {
                key: work.key.path(),
                revision: work.revision,
            });
            if let Some(decision) = &decision {
                change.decision(decision)?;
                if let Some(why) = &decision.fallback {
                    let fell = event(
                        Severity::Warning,
                        Reason::PolicyFellBack,
                        CONTROLLER,
                        &work.key,
                        format!("the built-in order decided: {why}"),
                    );
                    change.event(fell.because(Cause::Decision(decision.id.clone())));
                }
            }
            if let Some(deployment) = rolled.deployment {
                change.put_progress(&work.key, deployment)?;
            }
            rolled
                .told
                .into_iter()
                .for_each(|event| change.event(event));
            for record in changed {
                if let Some(before) = work.all.iter().find(|r| r.id == record.id) {
                    let revision = self
                        .unchanged(before)
                        .inspect_err(|_| lock(&self.cache).unreserve(&work.all, &records))?;
                    if let Some(mut told) = revision_event(before, record) {
                        let decided = record
                            .intent
                            .decision
                            .clone()
                            .filter(|id| decision.as_ref().is_some_and(|d| d.id == *id));
                        told.cause = Some(
                            decided
                                .map_or(Cause::Generation(work.record.generation), Cause::Decision),
                        );
                        change.event(told);
                    }
                    change.put_allocation(record.clone(), revision)?;
                } else {
                    let place = Place::of(record);
                    // Cordoned since it was decided: it is decided again.
                    let cordons = lock(&self.cache).cordons.clone();
                    if cordons.close(&place.provider, &place.region) {
                        lock(&self.cache).unreserve(&work.all, &records);
                        return Err(Error::Conflict {
                            key: work.key.path(),
                        });
                    }
                    let message = format!(
                        "{} × {} placed on {place} ({})",
                        record.intent.goal(),
                        record.task,
                        record.intent.offer.id
                    );
                    let mut placed = changing(
                        allocation_event(Severity::Info, Reason::AllocationPlaced, record, message),
                        None,
                        Some(record),
                    );
                    placed.cause = record.intent.decision.clone().map(Cause::Decision);
                    change.event(placed);
                    change.place(record.clone())?;
                }
            }
        }
        told.into_iter().for_each(|event| change.event(event));
        if let Some(failure) = &failure
            && self.is_news(&work.key, failure)
        {
            let message = format!("nothing could be decided: {}", failure.told());
            let undecided = event(
                Severity::Warning,
                Reason::Undecided,
                CONTROLLER,
                &work.key,
                message,
            );
            change.event(undecided.because(Cause::Failure(failure.kind.to_string())));
        }
        if !failed {
            self.budgets.put_held(&mut change, &work.key, &held)?;
        }
        // What is held back has been told with its kind.
        for task in unplaced
            .iter()
            .filter(|u| !held.iter().any(|h| h.task == u.task))
        {
            let known = lock(&self.cache)
                .deployments
                .get(&work.key)
                .is_some_and(|e| e.unplaced.contains(task));
            if !known {
                let message = format!(
                    "{}: {} no place: {}",
                    task.task,
                    replicas_have(task.replicas),
                    task.reason
                );
                change.event(event(
                    Severity::Warning,
                    Reason::Unplaced,
                    CONTROLLER,
                    &work.key,
                    message,
                ));
            }
        }
        change.inputs(inputs.as_ref().filter(|_| decided));
        let hasty = decision
            .as_ref()
            .filter(|_| decided)
            .and_then(|d| Hasty::of(d, work.record.generation));
        let again = rolled
            .again
            .into_iter()
            .chain(hedge::next_end(&records))
            .min();
        let (key, generation, now) = (&work.key, work.record.generation, self.clock.now());
        // What the reconciler knows of the deployment is shown with what it has stored.
        let show = |cache: &mut Cache| {
            others
                .iter()
                .filter(|other| *other != key)
                .for_each(|other| cache.enqueue(other));
            let Some(entry) = cache.deployments.get_mut(key) else {
                return Vec::new();
            };
            if entry.failure != failure
                && let Some(failure) = &failure
            {
                tracing::warn!(deployment = %key, kind = %failure.kind, message = failure.message, "no decision");
            }
            if !failed {
                (entry.held, entry.crowded, entry.planned) = (held, rolled.crowded, generation);
            }
            entry.failure = failure;
            entry.conflicts = 0;
            entry.attempts = if failed {
                entry.attempts.saturating_add(1)
            } else {
                0
            };
            entry.hasty = hasty.or_else(|| entry.hasty.take());
            // What can never be placed ends an update: the next look sees it.
            let never = unplaced.iter().any(|u| u.never) && entry.unplaced != unplaced;
            cache.set_unplaced(key, unplaced, stuck);
            if never {
                cache.enqueue(key);
            }
            if let Some(at) = again {
                cache.enqueue_at(key, Tick::now() + at.since(now).std());
            }
            due(cache, key)
        };
        if change.is_empty() {
            return Ok(show(&mut lock(&self.cache)));
        }
        match self.committer.commit_showing(change, show).await {
            Ok((_, due)) => Ok(due),
            Err(error) => {
                lock(&self.cache).unreserve(&work.all, &records);
                Err(error)
            }
        }
    }

    /// Whether a deployment has not been known to lack a decision for this reason.
    fn is_news(&self, key: &DeploymentKey, failure: &Failure) -> bool {
        let cache = lock(&self.cache);
        let entry = cache.deployments.get(key);
        entry.is_some_and(|entry| entry.failure.as_ref() != Some(failure))
    }

    /// The revision of a record that is still what was decided about. Observations are written beside decisions.
    fn unchanged(&self, before: &AllocationRecord) -> Result<Revision, Error> {
        let mut cache = lock(&self.cache);
        match cache.live_mut(&before.id) {
            Some(live) if live.record == *before => Ok(live.revision),
            _ => Err(Error::Conflict { key: before.path() }),
        }
    }

    /// Each step's record as it shall be stored.
    fn records(
        &self,
        work: &DeploymentWork,
        desired: &[Desired],
        steps: &[Step],
    ) -> Vec<AllocationRecord> {
        let now = self.clock.now();
        // Without a plan (the policy failed) what is there stays as it is.
        if steps.is_empty() {
            return work.actual.clone();
        }
        let by_id: BTreeMap<&AllocationId, &AllocationRecord> =
            work.actual.iter().map(|r| (&r.id, r)).collect();
        let forgetful: BTreeSet<AllocationId> = {
            let cache = lock(&self.cache);
            let forgotten = |r: &&AllocationRecord| cache.live(&r.id).is_some_and(|l| l.forgotten);
            work.actual
                .iter()
                .filter(forgotten)
                .map(|r| r.id.clone())
                .collect()
        };
        let record = |step: &Step| {
            let existing = step
                .allocation
                .as_ref()
                .and_then(|id| by_id.get(id))
                .map(|r| (*r).clone());
            let want = step.desired.and_then(|i| desired.get(i));
            match (step.action, existing, want) {
                (ChangeAction::Create, _, Some(want)) => {
                    vec![self.fresh(work, want, &step.placement, now)]
                }
                // Another version comes beside it, and takes its place replica by replica.
                (ChangeAction::Update, Some(mut r), Some(want))
                    if plan::needs_new_replicas(&r.intent.workload, &want.workload) =>
                {
                    r.intent.superseded = true;
                    vec![self.fresh(work, want, &step.placement, now), r]
                }
                // Of a job that is over there is nothing to be asked for.
                (ChangeAction::Update | ChangeAction::Resize, Some(mut r), Some(want))
                    if r.is_over() =>
                {
                    (r.intent.workload, r.intent.need, r.intent.generation) =
                        (want.workload.clone(), want.need, work.record.generation);
                    (r.intent.superseded, r.intent.wanted) = (false, Some(r.intent.replicas));
                    vec![r]
                }
                // Asked again, its provider would run those again that have ended: the rest of them ends first.
                (ChangeAction::Update | ChangeAction::Resize, Some(r), Some(_))
                    if forgetful.contains(&r.id) =>
                {
                    vec![r]
                }
                (ChangeAction::Update | ChangeAction::Resize, Some(mut r), Some(want)) => {
                    let (intent, place) = (&mut r.intent, &step.placement);
                    (intent.replicas, intent.wanted) = (place.replicas, Some(place.replicas));
                    (intent.hourly, intent.offer) = (place.hourly, place.offer.clone());
                    (intent.workload, intent.need, intent.takes) =
                        (want.workload.clone(), want.need, place.takes);
                    intent.decision = want.decision.clone().or(intent.decision.take());
                    (intent.superseded, intent.generation) = (false, work.record.generation);
                    intent.apply_again();
                    r.status.phase = Phase::Starting;
                    vec![r]
                }
                (ChangeAction::Destroy, Some(mut r), _) => {
                    let replaced = desired
                        .iter()
                        .any(|d| d.task == r.task && d.target == r.target && d.replicas > 0);
                    match replaced
                        && r.status.phase != Phase::Gone
                        && r.intent.stage != Stage::Removing
                    {
                        true => r.intent.superseded = true,
                        false => r.intent.stage = Stage::Removing,
                    }
                    vec![r]
                }
                (_, existing, _) => existing.into_iter().collect(),
            }
        };
        steps.iter().flat_map(record).collect()
    }

    /// The record of replicas that are to be made in a place.
    pub(crate) fn fresh(
        &self,
        work: &DeploymentWork,
        want: &Desired,
        placement: &Placement,
        now: Instant,
    ) -> AllocationRecord {
        AllocationRecord {
            id: AllocationId::new(&self.installation, self.ids.draw()),
            namespace: work.key.namespace.clone(),
            deployment: work.key.name.clone(),
            task: want.task.clone(),
            target: want.target.clone(),
            intent: Intent {
                provider: placement.provider.clone(),
                offer: placement.offer.clone(),
                hourly: placement.hourly,
                takes: placement.takes,
                replicas: placement.replicas,
                generation: work.record.generation,
                run: want.since.run,
                workload: want.workload.clone(),
                need: want.need,
                decision: want.decision.clone(),
                stage: Stage::Intended,
                superseded: false,
                wanted: Some(placement.replicas),
                drain: None,
                traffic: None,
                attempt: 0,
                created_at: now,
                hedge: None,
                deadline: None,
            },
            handle: Handle::default(),
            status: AllocationStatus {
                phase: Phase::Pending,
                meter: Some(Meter::default()),
                recovery: inherited(work, want),
                lost: false,
                ended: BTreeMap::new(),
                began: None,
            },
        }
    }

    /// Notes what the steps promise, so that the next batch does not promise it again.
    pub(crate) fn reserve(
        &self,
        cache: &mut Cache,
        before: &[AllocationRecord],
        after: &[AllocationRecord],
    ) {
        for record in after.iter().filter(|r| r.intent.stage == Stage::Intended) {
            // Accepted meanwhile.
            if cache.live(&record.id).is_some_and(|l| {
                l.record.intent.attempt == record.intent.attempt
                    && l.record.intent.stage != Stage::Intended
            }) {
                continue;
            }
            let held = before.iter().find(|r| r.id == record.id).map_or(0, |r| {
                if r.handle.state.is_some() {
                    r.intent.replicas
                } else {
                    0
                }
            });
            let reserved = Reserved {
                offer: record.intent.offer.id.clone(),
                replicas: record.intent.replicas.saturating_sub(held),
                cpu: record.intent.workload.resources.cpu.0,
                memory: record.intent.workload.resources.memory.0,
                settled: None,
            };
            if reserved.replicas > 0 {
                let reservations = cache
                    .reserved
                    .entry(record.intent.provider.clone())
                    .or_default();
                reservations
                    .entry((record.id.clone(), record.intent.attempt))
                    .or_insert(reserved);
            }
        }
    }
}

/// What the replicas of a task that go have been through: those in their stead go on from there.
fn inherited(work: &DeploymentWork, want: &Desired) -> Recovery {
    let going = |r: &&AllocationRecord| {
        r.task == want.task
            && r.target == want.target
            && (r.intent.superseded || r.status.phase == Phase::Gone)
            && !r.status.lost
    };
    Recovery::inherited(work.all.iter().filter(going).map(|r| &r.status.recovery))
}

/// Says of a task whose new version has no place what would give it one: what runs of the old one keeps its own until then.
fn name_the_way(work: &DeploymentWork, unplaced: &mut [Unplaced]) {
    for one in unplaced {
        let Some(task) = work.resolved.iter().find(|t| t.name == one.task) else {
            continue;
        };
        let runs = |r: &&AllocationRecord| {
            r.intent.replicas > 0
                && !r.status.lost
                && r.status.recovery.here == 0
                && r.status.phase != Phase::Gone
        };
        let other = |r: &&AllocationRecord| {
            r.intent.superseded || plan::needs_new_replicas(&r.intent.workload, &task.workload)
        };
        let mut mine = work
            .all
            .iter()
            .filter(|r| r.task == task.name && r.target == task.target);
        let gives_way = mine.any(|r| runs(&r) && other(&r));
        if let Some(way) =
            rollout::way(task).filter(|_| gives_way && task.workload.run == Run::Service)
        {
            one.reason = format!("{}; {way}", one.reason);
        }
    }
}

fn differs(record: &AllocationRecord, actual: &[AllocationRecord]) -> bool {
    actual.iter().find(|r| r.id == record.id) != Some(record)
}

/// The allocations whose calls shall begin now: each is in flight from here on. What is due later marks the deployment for then.
fn due(cache: &mut Cache, key: &DeploymentKey) -> Vec<AllocationId> {
    let now = Tick::now();
    let Some(entry) = cache.deployments.get_mut(key) else {
        return Vec::new();
    };
    let failed = entry
        .failure
        .as_ref()
        .map(|_| now + retry::backoff(entry.attempts.saturating_sub(1), key.name.as_str()).std());
    let lacks = !entry.unplaced.is_empty() || !entry.stuck.is_empty();
    let unplaced = lacks.then(|| now + LOOK_AGAIN);
    let mut again: Vec<Tick> = [failed, unplaced].into_iter().flatten().collect();
    let mut due = Vec::new();
    for (id, live) in &mut entry.allocations {
        match live.next(now) {
            Next::Nothing => {}
            Next::Later(at) => again.push(at),
            Next::Call => {
                live.in_flight = Some(InFlight::of(&live.record));
                due.push(id.clone());
            }
        }
    }
    entry.changed.notify_waiters();
    if let Some(at) = again.into_iter().min() {
        cache.enqueue_at(key, at);
    }
    due
}
