//! Places that take nothing new: cordoning, draining, lifting, and what is left there.

use std::collections::BTreeSet;

use tradewind_api::{
    CordonView, DeploymentView, LeftView, Outcome, PlaceOutcome, PlaceView, command,
};
use tradewind_core::{
    alike,
    cordon::{self, CordonRecord, Cordons, DrainRecord, Fate},
    event::{Event, Reason, Severity},
    manifest::Resolved,
    names::{Actor, InstanceName},
    place_health::Place,
    plan,
    record::{AllocationRecord, Stage},
    rollout::Status,
    store,
    units::{Instant, Millis},
    workload::Run,
};

use crate::{
    Error, Handle, lock,
    service::restart::check_reason,
    state::cache::{AllocationState, Cache, DeploymentState},
    state::commit::Change,
};

/// How a place is to be drained.
#[derive(Debug, Clone, Default)]
pub struct Draining {
    /// Why, for people. None: as the cordon says already.
    pub reason: Option<String>,
    /// The time after which jobs are stopped, and services moved without regard to their updates' bounds. None: all that they take.
    pub deadline: Option<Millis>,
    /// Jobs are left alone, and the drain ends without them.
    pub ignore_jobs: bool,
}

impl Handle {
    /// A place, and what is there. An empty region means all of the provider.
    ///
    /// # Errors
    /// `NoPlace`.
    pub async fn place(&self, provider: &InstanceName, region: &str) -> Result<PlaceView, Error> {
        self.check_place(provider, region).await?;
        Ok(self.place_view(provider, region))
    }

    /// Closes a place to new replicas. What runs there goes on. One that is drained stays so.
    ///
    /// # Errors
    /// `NoPlace`, `Invalid` for the reason, or the state can't be written.
    pub async fn cordon(
        &self,
        actor: &Actor,
        provider: &InstanceName,
        region: &str,
        reason: Option<&str>,
    ) -> Result<PlaceOutcome, Error> {
        check_reason(reason.unwrap_or_default())?;
        self.revise(actor, (provider, region), |before, now| {
            let mut record = before.cloned().unwrap_or_else(|| CordonRecord {
                provider: provider.clone(),
                region: region.to_owned(),
                reason: String::new(),
                by: actor.clone(),
                since: now,
                drain: None,
            });
            if let Some(reason) = reason {
                reason.clone_into(&mut record.reason);
            }
            (record, Reason::PlaceCordoned)
        })
        .await
    }

    /// Closes a place, and has what runs there move elsewhere. The last order counts where there are several.
    ///
    /// # Errors
    /// As for `cordon`.
    pub async fn drain(
        &self,
        actor: &Actor,
        provider: &InstanceName,
        region: &str,
        how: &Draining,
    ) -> Result<PlaceOutcome, Error> {
        check_reason(how.reason.as_deref().unwrap_or_default())?;
        let done = self
            .revise(actor, (provider, region), |before, now| {
                let mut record = before.cloned().unwrap_or_else(|| CordonRecord {
                    provider: provider.clone(),
                    region: region.to_owned(),
                    reason: String::new(),
                    by: actor.clone(),
                    since: now,
                    drain: None,
                });
                if let Some(reason) = &how.reason {
                    reason.clone_into(&mut record.reason);
                }
                let order = DrainRecord {
                    by: actor.clone(),
                    since: now,
                    deadline: how.deadline.map(|span| now.plus(span)),
                    ignore_jobs: how.ignore_jobs,
                    overdue: false,
                    drained_at: None,
                };
                record.drain = match record.drain {
                    // It is under way as it is asked for.
                    Some(known)
                        if order.deadline.is_none()
                            && known.deadline.is_none()
                            && known.ignore_jobs == order.ignore_jobs =>
                    {
                        Some(known)
                    }
                    _ => Some(order),
                };
                (record, Reason::PlaceDraining)
            })
            .await?;
        self.shared.drainer.wake();
        Ok(done)
    }

    /// Opens a place again. A drain ends with it: what has begun to move goes on to where it goes.
    ///
    /// # Errors
    /// `NoPlace`, `CordonedWhole` where the whole provider is cordoned, or the state can't be written.
    pub async fn uncordon(
        &self,
        actor: &Actor,
        provider: &InstanceName,
        region: &str,
    ) -> Result<PlaceOutcome, Error> {
        self.check_place(provider, region).await?;
        loop {
            let found = {
                let cache = lock(&self.shared.cache);
                let record = cache.cordons.get(provider, region).cloned();
                // It would stay closed, whatever becomes of its own.
                if !region.is_empty() && cache.cordons.get(provider, "").is_some() {
                    return Err(Error::CordonedWhole {
                        place: told(provider, region),
                        provider: provider.clone(),
                    });
                }
                record.and_then(|record| Some((cache.cordon_revision(&record)?, record)))
            };
            let Some((revision, record)) = found else {
                return Ok(self.answer(provider, region, Outcome::Unchanged));
            };
            let message = format!("{} takes new replicas again", record.place());
            let event = place_event(
                Severity::Info,
                Reason::PlaceUncordoned,
                actor,
                &record,
                message,
            );
            let mut change = Change::of(event.changing(Some(&facts(&record)), None));
            change.uncordon(record, revision);
            match self.shared.committer.accept(change).await {
                Err(store::Error::Conflict { .. }) => tokio::task::yield_now().await,
                Err(error) => return Err(error.into()),
                Ok(_) => return Ok(self.answer(provider, region, Outcome::Updated)),
            }
        }
    }

    /// Writes a cordon as it shall be. `after`: from what it is now.
    async fn revise(
        &self,
        actor: &Actor,
        (provider, region): (&InstanceName, &str),
        after: impl Fn(Option<&CordonRecord>, Instant) -> (CordonRecord, Reason),
    ) -> Result<PlaceOutcome, Error> {
        self.check_place(provider, region).await?;
        loop {
            let (before, revision) = {
                let cache = lock(&self.shared.cache);
                let before = cache.cordons.get(provider, region).cloned();
                let revision = before.as_ref().and_then(|r| cache.cordon_revision(r));
                (before, revision)
            };
            let (record, reason) = after(before.as_ref(), self.shared.clock.now());
            if before.as_ref() == Some(&record) {
                return Ok(self.answer(provider, region, Outcome::Unchanged));
            }
            let message = announcement(&record, reason);
            let event = place_event(Severity::Info, reason, actor, &record, message)
                .changing(before.as_ref().map(facts).as_ref(), Some(&facts(&record)));
            let mut change = Change::of(event);
            change.cordon(record, revision)?;
            match self.shared.committer.accept(change).await {
                // Another write came first.
                Err(store::Error::Conflict { .. }) => tokio::task::yield_now().await,
                Err(error) => return Err(error.into()),
                Ok(_) => {
                    let outcome = match before {
                        Some(_) => Outcome::Updated,
                        None => Outcome::Created,
                    };
                    return Ok(self.answer(provider, region, outcome));
                }
            }
        }
    }

    fn answer(&self, provider: &InstanceName, region: &str, outcome: Outcome) -> PlaceOutcome {
        PlaceOutcome {
            outcome,
            place: self.place_view(provider, region),
        }
    }

    fn place_view(&self, provider: &InstanceName, region: &str) -> PlaceView {
        let now = self.shared.clock.now();
        let cache = lock(&self.shared.cache);
        PlaceView {
            provider: provider.clone(),
            region: region.to_owned(),
            cordon: cache.cordons.get(provider, region).map(CordonView::from),
            left: left(&cache, provider, region, now),
        }
    }

    /// Whether there is such a place: one that is cordoned, one that is offered, or one where something runs. Of a provider that has not told its
    /// regions any may be meant.
    async fn check_place(&self, provider: &InstanceName, region: &str) -> Result<(), Error> {
        if self.knows_place(provider, region) {
            return Ok(());
        }
        let shared = &self.shared;
        let snapshot = shared.plugins.snapshot();
        // After a restart nobody may have asked for offers yet.
        let (_, silent) = shared.offers.assess(&snapshot).await;
        if self.knows_place(provider, region) || silent.iter().any(|f| f.provider == *provider) {
            return Ok(());
        }
        let providers = snapshot.providers.keys().map(ToString::to_string);
        let places = self.known_places(provider);
        let names: BTreeSet<String> = providers
            .chain(places.iter().map(ToString::to_string))
            .collect();
        let given = told(provider, region);
        Err(Error::NoPlace {
            alike: alike::nearest(&given, names.iter().map(String::as_str)).map(str::to_owned),
            known: names.into_iter().collect(),
            given,
        })
    }

    fn knows_place(&self, provider: &InstanceName, region: &str) -> bool {
        let snapshot = self.shared.plugins.snapshot();
        let cordoned = lock(&self.shared.cache)
            .cordons
            .get(provider, region)
            .is_some();
        cordoned
            || region.is_empty() && snapshot.providers.contains_key(provider)
            || self
                .known_places(provider)
                .iter()
                .any(|p| p.provider == *provider && (region.is_empty() || p.region == region))
    }

    /// The places of all offers and calls, and those where this provider has something.
    fn known_places(&self, provider: &InstanceName) -> BTreeSet<Place> {
        let mut known = self.shared.quotes.known_places();
        known.extend(self.shared.place_health.called());
        let cache = lock(&self.shared.cache);
        known.extend(cache.lives_of(provider).map(|l| Place::of(&l.record)));
        known
    }
}

/// Says of a deployment's allocations that their places are cordoned or drained.
pub(crate) fn warn(view: &mut DeploymentView, entry: &DeploymentState, cordons: &Cordons) {
    if cordons.is_empty() {
        return;
    }
    for allocation in view.tasks.iter_mut().flat_map(|t| &mut t.allocations) {
        let Some(record) = entry.allocations.get(&allocation.id).map(|l| &l.record) else {
            continue;
        };
        if record.is_over() {
            continue;
        }
        for cordon in cordons.over(&record.intent.provider, &record.intent.offer.region) {
            let stuck = entry
                .stuck
                .iter()
                .find(|s| s.task == record.task && s.target == record.target);
            let then = match (&cordon.drain, stuck) {
                (None, _) => "what runs there goes on, new replicas go elsewhere".to_owned(),
                (Some(_), None) => "it is drained: what runs there moves elsewhere".to_owned(),
                (Some(_), Some(stuck)) => format!(
                    "it is drained, and {} × {} has no room elsewhere: {}",
                    stuck.replicas, record.task, stuck.reason
                ),
            };
            allocation
                .warnings
                .push(format!("{}: {then}", cordoned(cordon)));
        }
    }
}

/// `"aws" is cordoned by WHO since WHEN: WHY`.
fn cordoned(record: &CordonRecord) -> String {
    let why = if record.reason.is_empty() {
        String::new()
    } else {
        format!(" ({})", record.reason)
    };
    format!(
        "\"{}\" is cordoned by {} since {}{why}",
        record.place(),
        record.by,
        record.since
    )
}

fn announcement(record: &CordonRecord, reason: Reason) -> String {
    let place = record.place();
    let why = if record.reason.is_empty() {
        String::new()
    } else {
        format!(": {}", record.reason)
    };
    match (reason, &record.drain) {
        (Reason::PlaceDraining, Some(drain)) => {
            let by = drain
                .deadline
                .map(|at| format!(" until {at}"))
                .unwrap_or_default();
            let jobs = if drain.ignore_jobs {
                ", jobs left alone"
            } else {
                ""
            };
            format!("what runs at {place} moves elsewhere{by}{jobs}{why}")
        }
        _ => format!("{place} takes no new replicas{why}"),
    }
}

fn told(provider: &InstanceName, region: &str) -> String {
    match region.is_empty() {
        true => provider.to_string(),
        false => format!("{provider}/{region}"),
    }
}

/// An event about a place.
pub(crate) fn place_event(
    severity: Severity,
    reason: Reason,
    actor: &Actor,
    record: &CordonRecord,
    message: String,
) -> Event {
    Event {
        plugin: Some(record.provider.clone()),
        ..Event::new(severity, reason, actor, message)
    }
}

/// What an event shows of a cordon.
pub(crate) fn facts(record: &CordonRecord) -> CordonView {
    CordonView::from(record)
}

/// What is at a place that may still exist, with how it stands. What has ended for good is no part of it.
pub(crate) fn left(
    cache: &Cache,
    provider: &InstanceName,
    region: &str,
    now: Instant,
) -> Vec<LeftView> {
    let here = |l: &&AllocationState| {
        let intent = &l.record.intent;
        (region.is_empty() || intent.offer.region == region)
            && !l.record.is_over()
            && (intent.replicas.max(l.record.handle.held) > 0 || intent.stage == Stage::Removing)
    };
    let lives = cache.lives_of(provider).filter(here);
    let mut all: Vec<LeftView> = lives
        .filter_map(|live| {
            let entry = cache.deployments.get(&live.record.key())?;
            Some(one(entry, live, &cache.cordons, now))
        })
        .collect();
    all.sort_by(|a, b| {
        (&a.namespace, &a.deployment, &a.task, &a.allocation).cmp(&(
            &b.namespace,
            &b.deployment,
            &b.task,
            &b.allocation,
        ))
    });
    all
}

fn one(
    entry: &DeploymentState,
    live: &AllocationState,
    cordons: &Cordons,
    now: Instant,
) -> LeftView {
    let record = &live.record;
    let job = matches!(record.intent.workload.run, Run::Job { .. });
    let ignored = job
        && cordons
            .over(&record.intent.provider, &record.intent.offer.region)
            .filter_map(|cordon| cordon.drain.as_ref())
            .any(|drain| drain.ignore_jobs);
    let (stuck, why) = standing(entry, record, cordons, now);
    LeftView {
        namespace: record.namespace.clone(),
        deployment: record.deployment.clone(),
        task: record.task.clone(),
        target: record.target.clone(),
        allocation: record.id.clone(),
        region: record.intent.offer.region.clone(),
        replicas: record.intent.replicas.max(record.handle.held),
        job,
        ignored: ignored && record.intent.stage != Stage::Removing,
        stuck,
        why,
    }
}

/// Whether an allocation can't leave its place at the moment, and why it is still there.
fn standing(
    entry: &DeploymentState,
    record: &AllocationRecord,
    cordons: &Cordons,
    now: Instant,
) -> (bool, String) {
    let same = |task: &_, target: &_| *task == record.task && *target == record.target;
    let moves = |text: String| (false, text);
    let stuck = |text: String| (true, text);
    let drain = cordons
        .over(&record.intent.provider, &record.intent.offer.region)
        .filter_map(|cordon| cordon.drain.as_ref())
        .min_by_key(|drain| (drain.deadline.is_none(), drain.deadline));
    if record.status.lost {
        return stuck("the place does not answer".to_owned());
    }
    if record.intent.stage == Stage::Removing {
        return moves("it is being stopped".to_owned());
    }
    let Some(drain) = drain else {
        return moves("it goes on".to_owned());
    };
    let job = matches!(record.intent.workload.run, Run::Job { .. });
    let data = cordon::data_of(&record.intent.workload);
    if let Some(path) = data.filter(|_| !job && record.intent.stays()) {
        let line = command(&record.namespace, &format!("restart {}", record.deployment));
        return stuck(format!(
            "it keeps data there (\"{path}\"): {line} begins it elsewhere, without them"
        ));
    }
    if cordons.fate(record, now) == Some(Fate::Stay) {
        let end = drain.deadline.filter(|_| !drain.ignore_jobs);
        return moves(match end {
            _ if drain.ignore_jobs => "jobs are left alone".to_owned(),
            Some(at) => format!("a job, left to end until {at}"),
            None => "a job, left to end".to_owned(),
        });
    }
    if let Some(failure) = &entry.failure {
        return stuck(format!("nothing could be decided: {}", failure.told()));
    }
    if let Some(found) = entry.stuck.iter().find(|s| same(&s.task, &s.target)) {
        return stuck(format!(
            "there is no room elsewhere for {} of them: {}",
            found.replicas, found.reason
        ));
    }
    let another_version = |task: &Resolved| {
        same(&task.name, &task.target)
            && plan::needs_new_replicas(&record.intent.workload, &task.workload)
    };
    if entry.resolved.iter().any(another_version) {
        let name = &record.deployment;
        let waits = match entry.record.rollout.as_ref().map(|r| r.status) {
            Some(Status::Paused) => Some(("is paused", format!("rollout resume {name}"))),
            Some(Status::Waiting) => Some(("waits", format!("promote {name}"))),
            _ => None,
        };
        if let Some((what, line)) = waits {
            let line = command(&record.namespace, &line);
            return stuck(format!("its update {what}: {line} lets it go on"));
        }
    }
    if let Some(unplaced) = entry.unplaced.iter().find(|u| u.task == record.task) {
        return stuck(format!(
            "what takes its place has none: {}",
            unplaced.reason
        ));
    }
    if let Some((_, _, why)) = entry.crowded.iter().find(|(t, at, _)| same(t, at)) {
        return stuck(why.clone());
    }
    let others = || {
        entry.allocations.values().filter(|l| {
            same(&l.record.task, &l.record.target)
                && l.record.intent.stays()
                && l.record.id != record.id
        })
    };
    let (ready, wanted) = others().fold((0u32, 0u32), |(ready, wanted), l| {
        (
            ready.saturating_add(l.ready()),
            wanted.saturating_add(l.record.intent.goal()),
        )
    });
    moves(match wanted {
        0 => "its move is being decided".to_owned(),
        _ => format!("{ready} of {wanted} replicas elsewhere are ready"),
    })
}
