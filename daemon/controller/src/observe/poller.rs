//! Observing: asks the providers what became of the allocations, in batches, and turns differences into state, events and work.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use futures::StreamExt;
use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant as Tick};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tradewind_core::{
    capability::Clock,
    event::{Cause, Event, Reason, Severity},
    image, job, metering,
    names::{AllocationId, InstanceName},
    place_health::Place,
    plugin::{Plugins, Provider, Snapshot, Tracked},
    record::{AllocationRecord, Stage},
    store::Error,
    units::Instant,
    workload::{Observation, Phase, Run},
};

use crate::{
    Hints, Options,
    execute::images::Images,
    lock,
    observe::measurements::Meters,
    observe::outages::Outages,
    observe::probes::Probes,
    observe::recovery::Healer,
    state::cache::{AllocationState, Cache},
    state::commit::{Change, Committer},
    state::journal::{allocation_event, changing},
};

/// The most allocations in one call.
const BATCH: usize = 500;
/// The most allocations that are looked at per second only because time has passed: what a look costs bounds what thousands of them cost, here
/// and at the clouds.
const LOOKS_PER_SECOND: u64 = 3_000;
/// How soon a region that has not answered is asked again.
const SILENT: Duration = Duration::from_millis(500);

/// What shall be looked at, and when.
#[derive(Default)]
pub(crate) struct PollSchedule {
    providers: Mutex<HashMap<InstanceName, Turn>>,
    wake: Notify,
}

#[derive(Default)]
struct Turn {
    /// To be looked at now.
    pending: BTreeSet<AllocationId>,
    /// To be looked at again soon.
    soon: BTreeSet<AllocationId>,
    soon_at: Option<Tick>,
    /// When everything was looked at last.
    swept: Option<Tick>,
    /// Regions with a look under way: a region that hangs holds no other.
    running: BTreeSet<String>,
}

/// One region's next call.
struct Due {
    place: Place,
    only: Vec<Tracked>,
}

impl PollSchedule {
    fn due<'w>(
        &self,
        cache: &'w Cache,
        snapshot: &Snapshot,
        now: Tick,
        interval: Duration,
    ) -> Vec<Due> {
        let mut turns = lock(&self.providers);
        // A provider that comes back begins with a look at everything.
        turns.retain(|provider, turn| {
            !turn.running.is_empty() || snapshot.providers.contains_key(provider)
        });
        let mut due = Vec::new();
        for provider in snapshot.providers.keys() {
            let turn = turns.entry(provider.clone()).or_default();
            if turn.soon_at.is_some_and(|at| at <= now) {
                turn.pending.append(&mut turn.soon);
                turn.soon_at = None;
            }
            let mut lanes: BTreeMap<&str, Vec<Tracked>> = BTreeMap::new();
            let mut later = BTreeSet::new();
            let take = |live: &'w AllocationState| {
                let Some((region, tracked)) = tracked(&live.record, provider) else {
                    return;
                };
                if turn.running.contains(region) {
                    later.insert(tracked.allocation);
                } else {
                    lanes.entry(region).or_default().push(tracked);
                }
            };
            let pending = std::mem::take(&mut turn.pending);
            if turn
                .swept
                .is_none_or(|at| now.duration_since(at) >= interval)
            {
                turn.swept = Some(now);
                cache
                    .deployments
                    .values()
                    .flat_map(|e| e.allocations.values())
                    .for_each(take);
            } else {
                pending
                    .iter()
                    .filter_map(|id| cache.live(id))
                    .for_each(take);
            }
            turn.pending = later;
            for (region, only) in lanes {
                turn.running.insert(region.to_owned());
                due.push(Due {
                    place: Place {
                        provider: provider.clone(),
                        region: region.to_owned(),
                    },
                    only,
                });
            }
        }
        due
    }

    fn next(&self, now: Tick, interval: Duration) -> Tick {
        let turns = lock(&self.providers);
        let times = turns
            .values()
            .flat_map(|t| [t.soon_at, t.swept.map(|at| at + interval)]);
        times.flatten().min().unwrap_or(now + interval)
    }

    /// Looks at these allocations as soon as possible.
    pub(crate) fn request_observation(
        &self,
        provider: &InstanceName,
        ids: impl IntoIterator<Item = AllocationId>,
    ) {
        lock(&self.providers)
            .entry(provider.clone())
            .or_default()
            .pending
            .extend(ids);
        self.wake.notify_one();
    }

    /// Something may have changed that decides when to look next.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    fn finish(&self, place: &Place, again: BTreeSet<AllocationId>, at: Tick) {
        if let Some(turn) = lock(&self.providers).get_mut(&place.provider) {
            turn.running.remove(&place.region);
            if !again.is_empty() {
                turn.soon.extend(again);
                turn.soon_at.get_or_insert(at);
            }
        }
        self.wake.notify_one();
    }
}

/// How long a look at so many allocations takes at least.
fn spread_over(allocations: usize) -> Duration {
    Duration::from_millis(
        u64::try_from(allocations)
            .unwrap_or(u64::MAX)
            .saturating_mul(1_000)
            / LOOKS_PER_SECOND,
    )
}

/// What the provider has accepted and nobody is changing at the moment.
fn tracked<'a>(
    record: &'a AllocationRecord,
    provider: &InstanceName,
) -> Option<(&'a str, Tracked)> {
    match (&record.handle.state, record.intent.stage) {
        // What has ended is known for good.
        (Some(_), Stage::Applied) if !record.status.ended.is_empty() && record.is_over() => None,
        (Some(state), Stage::Applied) if record.intent.provider == *provider => Some((
            &record.intent.offer.region,
            Tracked {
                allocation: record.id.clone(),
                state: state.clone(),
            },
        )),
        _ => None,
    }
}

/// Asks the providers what became of the allocations.
pub(crate) struct Poller {
    pub(crate) cache: Arc<Mutex<Cache>>,
    pub(crate) committer: Arc<Committer>,
    pub(crate) plugins: Arc<dyn Plugins>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) options: Arc<Options>,
    pub(crate) poll_schedule: Arc<PollSchedule>,
    pub(crate) probes: Arc<Probes>,
    pub(crate) meters: Arc<Meters>,
    pub(crate) recovery: Arc<Healer>,
    pub(crate) outages: Arc<Outages>,
    pub(crate) images: Arc<Images>,
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
}

impl Poller {
    /// Runs until the controller stops.
    pub(crate) async fn run(self: Arc<Self>, mut hints: Hints) {
        let mut hints_open = true;
        while !self.stop.is_cancelled() {
            let now = Tick::now();
            let snapshot = self.plugins.snapshot();
            let (due, interval) = {
                let cache = lock(&self.cache);
                let interval = self
                    .options
                    .observe_interval
                    .std()
                    .max(spread_over(cache.owners.len()));
                (
                    self.poll_schedule.due(&cache, &snapshot, now, interval),
                    interval,
                )
            };
            for due in due {
                if let Some(provider) = snapshot.providers.get(&due.place.provider).cloned() {
                    let this = self.clone();
                    self.tasks
                        .spawn(async move { this.observe(due, provider).await });
                }
            }
            let lost_at = self.outages.declare_lost(now).await;
            let next = self.poll_schedule.next(now, interval);
            tokio::select! {
                () = self.stop.cancelled() => {}
                () = self.poll_schedule.wake.notified() => {}
                () = tokio::time::sleep_until(lost_at.map_or(next, |at| at.min(next))) => {}
                hint = hints.next(), if hints_open => match hint {
                    Some((provider, id)) => self.poll_schedule.request_observation(&provider, [id]),
                    None => hints_open = false,
                },
            }
        }
    }

    async fn observe(self: Arc<Self>, due: Due, provider: Arc<dyn Provider>) {
        let (mut again, mut silent) = (BTreeSet::new(), false);
        for batch in due.only.chunks(BATCH) {
            let asked: BTreeSet<&AllocationId> = batch.iter().map(|t| &t.allocation).collect();
            match provider.observe(batch).await {
                Ok(observations) => {
                    self.outages.record_reachable(&due.place).await;
                    let valid = observations
                        .into_iter()
                        .filter(|o| asked.contains(&o.allocation))
                        .collect();
                    again.append(&mut self.apply_observations(valid).await);
                    again.append(&mut self.recovery.heal(&asked).await);
                }
                Err(failure) => {
                    tracing::warn!(
                        provider = %provider.identity(), region = due.place.region, kind = %failure.kind, code = failure.code,
                        message = failure.message, "the region could not be observed"
                    );
                    self.outages.record_unreachable(&due.place, &failure);
                    silent = true;
                    // Its answer decides whether its replicas are lost: it is asked again soon.
                    again.extend(asked.into_iter().cloned());
                }
            }
        }
        let changing = self.options.observe_interval_changing.std();
        let pause = if silent {
            changing.max(SILENT)
        } else {
            changing
        };
        self.poll_schedule
            .finish(&due.place, again, Tick::now() + pause);
    }

    /// Takes observations in: shows them, then puts on record what they change there. Who is told of a change finds it shown.
    /// Answers the allocations that are to be looked at again soon.
    async fn apply_observations(
        self: &Arc<Self>,
        observations: Vec<Observation>,
    ) -> BTreeSet<AllocationId> {
        let (mut again, mut news, mut images) = (BTreeSet::new(), Vec::new(), Vec::new());
        let (mut change, now) = (Change::new(), self.clock.now());
        {
            let mut cache = lock(&self.cache);
            for mut observation in observations {
                let Some((watching, live)) = cache
                    .watched_mut(&observation.allocation)
                    .filter(|(_, l)| l.record.intent.stage == Stage::Applied)
                else {
                    continue;
                };
                let mut after = matches!(live.record.intent.workload.run, Run::Job { .. })
                    .then(|| live.record.clone());
                let concluded = after
                    .as_mut()
                    .map(|job| job::conclude(job, &mut observation, now))
                    .unwrap_or_default();
                live.forgotten = concluded.forgotten;
                let moved = live.record.status.phase != observation.phase;
                if moved
                    || concluded.more
                    || observation.state.is_some()
                    || !metering::is_settled(&live.record, observation.metered_cost)
                {
                    let after = after.unwrap_or_else(|| live.record.clone());
                    match recorded(live, after, &observation, now) {
                        Ok(one) => {
                            news.push(live.record.id.clone());
                            change = std::mem::take(&mut change).and(one);
                        }
                        Err(error) => tracing::error!(
                            error = &error as &dyn std::error::Error,
                            "an observation could not be encoded"
                        ),
                    }
                }
                let runs = image::told(&observation.conditions);
                if !runs.is_empty() && live.images != runs {
                    live.images = runs;
                    images.push(live.record.id.clone());
                }
                let seen = self.merge(live, observation, now);
                if seen.under_way {
                    again.insert(live.record.id.clone());
                }
                let matters = moved || seen.became_ready;
                if matters || seen.differs {
                    watching.changed.notify_waiters();
                    let key = live.record.key();
                    cache.restarted(&key, seen.restarts);
                    cache.observed(&key);
                    // An update is judged by more than phases: restarts and health that comes and goes.
                    if matters || watching.updates {
                        cache.enqueue(&key);
                    }
                }
            }
        }
        if !news.is_empty()
            && let Err(error) = self.committer.commit(change).await
        {
            if !matches!(error, Error::Conflict { .. }) {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "observations could not be stored"
                );
            }
            again.extend(news);
        }
        self.images.learn_images(images).await;
        self.committer.wake.notify_one();
        again
    }

    /// Takes one observation in.
    fn merge(
        self: &Arc<Self>,
        live: &mut AllocationState,
        observation: Observation,
        now: Instant,
    ) -> Seen {
        let (phase, was_ready) = (observation.phase, live.is_ready());
        let before = live.observation.replace(observation);
        self.probes.overlay(live);
        live.note_running(now);
        live.note_ready(now);
        self.meters.looked(live, now, self.options.observe_interval);
        let ready = live.is_ready();
        Seen {
            differs: live.observation != before,
            became_ready: ready && !was_ready,
            under_way: !phase.is_final() && !ready,
            restarts: live.count_restarts(),
        }
    }
}

/// What a look at an allocation has shown.
struct Seen {
    /// It is not as it was at the last look.
    differs: bool,
    became_ready: bool,
    /// To be looked at again soon.
    under_way: bool,
    /// How often replicas were started again since the last look.
    restarts: u64,
}

/// The record as an observation makes it.
fn recorded(
    live: &AllocationState,
    mut after: AllocationRecord,
    observation: &Observation,
    now: Instant,
) -> Result<Change, Error> {
    after.status.phase = observation.phase;
    let mut change = Change::new();
    change.segment(
        &live.record.id,
        metering::observed(&mut after, observation.metered_cost, now),
    );
    if let Some(state) = &observation.state {
        after.handle.state = Some(state.clone());
    }
    if live.record.status.phase != after.status.phase {
        change.event(phase_event(&live.record, &after, &observation.message));
    }
    change.enqueue(&after.key());
    change.put_allocation(after, live.revision)?;
    Ok(change)
}

fn phase_event(before: &AllocationRecord, record: &AllocationRecord, message: &str) -> Event {
    let (severity, reason) = match record.status.phase {
        Phase::Pending | Phase::Starting => (Severity::Info, Reason::AllocationStarting),
        Phase::Running => (Severity::Info, Reason::AllocationRunning),
        Phase::Succeeded => (Severity::Info, Reason::AllocationSucceeded),
        Phase::Failed => (Severity::Error, Reason::AllocationFailed),
        Phase::Stopping => (Severity::Info, Reason::AllocationStopping),
        Phase::Gone => (Severity::Warning, Reason::AllocationGone),
    };
    let place = format!(
        "{} × {} on {}",
        record.intent.replicas,
        record.task,
        Place::of(record)
    );
    let message = if message.is_empty() {
        place
    } else {
        format!("{place}: {message}")
    };
    let mut told = changing(
        allocation_event(severity, reason, record, message),
        Some(before),
        Some(record),
    );
    told.cause = Some(Cause::Observation(format!(
        "{} says that it is {}",
        record.intent.provider, record.status.phase
    )));
    told
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::commit::Scene;

    const INTERVAL: Duration = Duration::from_secs(5);

    #[tokio::test(start_paused = true)]
    async fn a_region_is_asked_once_at_a_time_and_all_of_it_now_and_then() {
        let scene = Scene::new().await;
        let (poll_schedule, snapshot) = (PollSchedule::default(), scene.shared.plugins.snapshot());
        let (provider, id) = (
            scene.record.intent.provider.clone(),
            scene.record.id.clone(),
        );
        let asked = || -> Vec<AllocationId> {
            let due =
                poll_schedule.due(&lock(&scene.shared.cache), &snapshot, Tick::now(), INTERVAL);
            due.into_iter()
                .flat_map(|due| due.only)
                .map(|tracked| tracked.allocation)
                .collect()
        };
        let place = Place::of(&scene.record);
        assert_eq!(
            asked(),
            std::slice::from_ref(&id),
            "the first look is at everything"
        );
        // The call hangs: nobody asks beside it, and what is wanted meanwhile is asked after it.
        poll_schedule.request_observation(&provider, [id.clone()]);
        tokio::time::advance(INTERVAL).await;
        assert!(asked().is_empty());
        poll_schedule.finish(&place, BTreeSet::new(), Tick::now());
        assert_eq!(asked(), std::slice::from_ref(&id));
        poll_schedule.finish(&place, BTreeSet::new(), Tick::now());
        assert!(asked().is_empty(), "nobody wants to know");
        // What changes is looked at again soon, everything after the interval.
        tokio::time::advance(Duration::from_secs(1)).await;
        poll_schedule.request_observation(&provider, [id.clone()]);
        assert_eq!(asked().len(), 1);
        poll_schedule.finish(
            &place,
            BTreeSet::from([id.clone()]),
            Tick::now() + Duration::from_millis(100),
        );
        assert!(asked().is_empty());
        tokio::time::advance(Duration::from_millis(100)).await;
        assert_eq!(asked().len(), 1);
        poll_schedule.finish(&place, BTreeSet::new(), Tick::now());
        tokio::time::advance(INTERVAL).await;
        assert_eq!(asked(), [id]);
    }
}
