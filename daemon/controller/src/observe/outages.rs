//! Regions that do not answer: for how long each has been silent, what counts as lost there, and what follows when it answers again.
//! It decides nothing about places: it marks what is lost as superseded, and the next decision finds it another place.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use parking_lot::Mutex;
use tokio::time::Instant as Tick;
use tradewind_core::{
    event::{Event, Reason, Severity},
    exhausted,
    failure::{Failure, FailureKind},
    health::{self, Silence},
    names::AllocationId,
    place_health::Place,
    record::{AllocationRecord, Stage},
    store::Error,
    units::Millis,
};

use crate::{
    lock,
    observe::poller::PollSchedule,
    state::cache::Cache,
    state::commit::Committer,
    state::journal::{CONTROLLER, allocation_event},
};

/// The most allocations in one commit.
const BATCH: usize = 200;

/// The regions that do not answer at the moment.
pub(crate) struct Outages {
    committer: Arc<Committer>,
    cache: Arc<Mutex<Cache>>,
    poll_schedule: Arc<PollSchedule>,
    silent: Mutex<BTreeMap<Place, Outage>>,
}

/// A region's silence. Measured by a clock that nobody sets; a restarted daemon begins to count anew.
struct Outage {
    since: Tick,
    cause: String,
    /// Something there counts as lost.
    lost: bool,
}

impl Outages {
    pub(crate) fn new(
        committer: Arc<Committer>,
        cache: Arc<Mutex<Cache>>,
        poll_schedule: Arc<PollSchedule>,
    ) -> Self {
        Self {
            committer,
            cache,
            poll_schedule,
            silent: Mutex::default(),
        }
    }

    /// The regions in which something is lost: nothing new goes there.
    pub(crate) fn lost(&self) -> BTreeSet<Place> {
        lock(&self.silent)
            .iter()
            .filter(|(_, q)| q.lost)
            .map(|(place, _)| place.clone())
            .collect()
    }

    /// What was lost before the daemon was restarted still is.
    pub(crate) fn resume(&self, cache: &Cache) {
        let mut silent = lock(&self.silent);
        for live in cache
            .deployments
            .values()
            .flat_map(|e| e.allocations.values())
            .filter(|l| l.record.status.lost && !l.record.is_over())
        {
            let quiet = Outage {
                since: Tick::now(),
                cause: "it was lost before the daemon was restarted".to_owned(),
                lost: true,
            };
            silent.entry(Place::of(&live.record)).or_insert(quiet);
        }
    }
}

impl Outages {
    /// A call there has failed. Only silence counts: a refusal is an answer, and a daemon that could not call has heard nothing either way.
    pub(crate) fn record_unreachable(&self, place: &Place, failure: &Failure) {
        let own = failure.code.as_deref() == Some(exhausted::BUSY);
        if failure.kind == FailureKind::Unavailable && !failure.concerns_the_workload() && !own {
            let quiet = || Outage {
                since: Tick::now(),
                cause: failure.message.clone(),
                lost: false,
            };
            lock(&self.silent)
                .entry(place.clone())
                .or_insert_with(quiet);
            self.poll_schedule.wake();
        }
    }

    /// A call there has succeeded.
    pub(crate) async fn record_reachable(&self, place: &Place) {
        let was_lost = lock(&self.silent).get(place).is_some_and(|q| q.lost);
        if was_lost && !self.revise_place(place, returned).await {
            // It stays lost until that is on record.
            return;
        }
        if lock(&self.silent).remove(place).is_some_and(|q| q.lost) {
            let message = format!("{} answers again", place);
            self.committer
                .emit_event(place_event(
                    Severity::Info,
                    Reason::RegionBack,
                    place,
                    message,
                ))
                .await;
        }
    }

    /// Takes what has been silent for too long for lost. Answers when to look again.
    pub(crate) async fn declare_lost(&self, now: Tick) -> Option<Tick> {
        let silent: Vec<(Place, Tick)> = lock(&self.silent)
            .iter()
            .map(|(place, q)| (place.clone(), q.since))
            .collect();
        let mut next: Option<Tick> = None;
        for (place, since) in silent {
            let silent_for = Millis::from(now.duration_since(since));
            let mut soonest: Option<Millis> = None;
            let lost = {
                let cache = lock(&self.cache);
                let mut lost = BTreeSet::new();
                for live in cache
                    .lives_of(&place.provider)
                    .filter(|l| l.record.intent.offer.region == place.region)
                {
                    match self.silence_of(&cache, &live.record, silent_for) {
                        Silence::Fine => {}
                        Silence::LostIn(left) => {
                            soonest = Some(soonest.map_or(left, |s| s.min(left)))
                        }
                        Silence::Lost => drop(lost.insert(live.record.id.clone())),
                    }
                }
                lost
            };
            if let Some(left) = soonest {
                let at = now + left.std();
                next = Some(next.map_or(at, |n| n.min(at)));
            }
            if !lost.is_empty() {
                self.lose(&place, &lost, silent_for).await;
            }
        }
        next
    }

    /// What this silence means for one allocation. A hedged one has rivals that answer for it.
    fn silence_of(&self, cache: &Cache, record: &AllocationRecord, silent_for: Millis) -> Silence {
        if record.status.lost
            || record.intent.stage == Stage::Removing
            || record.intent.hedge.is_some()
            || record.is_over()
        {
            return Silence::Fine;
        }
        let Some(entry) = cache.deployments.get(&record.key()) else {
            return Silence::Fine;
        };
        let task = entry
            .resolved
            .iter()
            .find(|t| t.name == record.task && t.target == record.target);
        task.map_or(Silence::Fine, |t| {
            health::silence(&t.recovery, Some(silent_for))
        })
    }

    async fn lose(&self, place: &Place, ids: &BTreeSet<AllocationId>, silent_for: Millis) {
        let first = lock(&self.silent)
            .get_mut(place)
            .map(|q| (!std::mem::replace(&mut q.lost, true), q.cause.clone()));
        let Some((first, cause)) = first else { return };
        if first {
            let message = format!("{} has not answered for {silent_for}: {cause}", place);
            tracing::warn!(provider = %place.provider, region = place.region, %silent_for, cause, "the region counts as lost");
            self.committer
                .emit_event(place_event(
                    Severity::Error,
                    Reason::RegionLost,
                    place,
                    message,
                ))
                .await;
        }
        self.revise_place(place, |_, record| {
            let message = format!(
                "{} × {} on {}: other replicas take over elsewhere",
                record.intent.replicas, record.task, place
            );
            let told = allocation_event(Severity::Warning, Reason::AllocationLost, record, message);
            let mut after = record.clone();
            (after.status.lost, after.intent.superseded) = (true, true);
            ids.contains(&record.id).then_some((after, Some(told)))
        })
        .await;
    }

    /// Changes the records of a region, each as it is by then. False: not all of it is on record, because another write came first or because
    /// there can be none at the moment. The next look finds what is left.
    async fn revise_place(
        &self,
        place: &Place,
        change: impl Fn(&Cache, &AllocationRecord) -> Option<(AllocationRecord, Option<Event>)>,
    ) -> bool {
        let changes: Vec<_> = {
            let mut cache = lock(&self.cache);
            let ids: Vec<AllocationId> = cache
                .lives_of(&place.provider)
                .filter(|l| l.record.intent.offer.region == place.region)
                .map(|l| l.record.id.clone())
                .collect();
            for id in &ids {
                // What waits there to be tried again is tried now.
                let key = cache.live_mut(id).map(|live| {
                    live.retry_at = None;
                    live.record.key()
                });
                key.iter().for_each(|key| cache.enqueue(key));
            }
            let lives = ids.iter().filter_map(|id| cache.live(id));
            lives
                .filter_map(|l| {
                    change(&cache, &l.record).map(|(after, told)| (after, told, l.revision))
                })
                .collect()
        };
        let mut whole = true;
        for batch in changes.chunks(BATCH) {
            if let Err(error) = self.committer.revise(batch).await {
                whole = false;
                if !matches!(error, Error::Conflict { .. }) {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "what became of a region could not be stored"
                    );
                }
            }
        }
        // What waits there is tried again even where nothing has changed.
        self.committer.wake.notify_one();
        whole
    }
}

/// A record of a region that answers again.
fn returned(cache: &Cache, record: &AllocationRecord) -> Option<(AllocationRecord, Option<Event>)> {
    let mut after = record.clone();
    after.status.lost = false;
    // Where nothing has taken over, it does so itself; else it goes once what has taken over is ready.
    after.intent.superseded = cache.deployments.get(&record.key()).is_some_and(|e| {
        let others = e.allocations.values().map(|l| &l.record);
        others.into_iter().any(|r| {
            r.id != record.id
                && r.task == record.task
                && r.target == record.target
                && r.intent.stays()
        })
    });
    (record.status.lost && record.intent.stage != Stage::Removing).then_some((after, None))
}

/// An event about a region.
fn place_event(severity: Severity, reason: Reason, place: &Place, message: String) -> Event {
    Event {
        plugin: Some(place.provider.clone()),
        ..Event::new(severity, reason, CONTROLLER, message)
    }
}
