//! The daemon's own health checks, for replicas of which the provider reports an endpoint and says nothing of their health. One task for each
//! replica and check, on the check's own schedule; a verdict becomes part of the allocation's observation. Verdicts are memory only: a
//! restarted daemon checks anew.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};
use tradewind_core::{
    capability::{Probed, Prober, Unwell},
    health::{SLOW_START, SLOWER_START, Tally, liveness_counts, start_bound},
    names::{AllocationId, InstanceName},
    plugin::Plugins,
    workload::{Check, Endpoint, Health, Phase, Probe, Replica, Run},
};

use crate::{
    lock,
    observe::poller::PollSchedule,
    state::{
        cache::{AllocationState, Cache},
        notes::Incarnation,
    },
};

/// The first checks follow each other quickly, so that a replica that is ready soon is known to be so soon.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// Keeps an interval of 0 from becoming a busy loop.
const SHORTEST: Duration = Duration::from_millis(100);
/// How long after a start's time a provider that restarts by itself may take to do so.
const RESTART_PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Kind {
    Startup,
    Readiness,
    Liveness,
}

/// What the checks stand on.
pub(crate) struct Deps {
    pub(crate) cache: Arc<Mutex<Cache>>,
    pub(crate) plugins: Arc<dyn Plugins>,
    pub(crate) prober: Arc<dyn Prober>,
    pub(crate) poll_schedule: Arc<PollSchedule>,
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
}

/// All checks that are being made.
pub(crate) struct Probes {
    deps: Deps,
    checking: Mutex<HashMap<AllocationId, Vec<Watched>>>,
}

/// One replica's check. Dropping it ends it.
struct Watched {
    subject: Subject,
    good: Option<bool>,
    seen_good: bool,
    reason: String,
    _end: DropGuard,
}

/// What is checked: another incarnation or another place is another subject.
#[derive(Debug, Clone, PartialEq)]
struct Subject {
    index: u32,
    /// The cloud's name for the replica.
    id: String,
    kind: Kind,
    endpoint: Endpoint,
    probe: Probe,
}

impl Subject {
    /// Whether both are checks of one incarnation of a replica.
    fn is_of(&self, other: &Self) -> bool {
        self.index == other.index && self.id == other.id
    }
}

impl Probes {
    pub(crate) fn new(deps: Deps) -> Self {
        Self {
            deps,
            checking: Mutex::default(),
        }
    }

    /// Begins and ends the checks of an allocation as its observation asks, and brings what they say into the observation.
    pub(crate) fn overlay(self: &Arc<Self>, live: &mut AllocationState) {
        let subjects = subjects(live);
        live.failed_liveness = failed_liveness_there(live);
        let mut checking = lock(&self.checking);
        if subjects.is_empty() {
            checking.remove(&live.record.id);
            return;
        }
        let id = live.record.id.clone();
        let watched = checking.entry(id.clone()).or_default();
        watched.retain(|w| subjects.contains(&w.subject));
        for subject in subjects {
            // Until a replica has started, the other checks wait.
            let begun = |w: &Watched| {
                w.subject.kind != Kind::Startup
                    || !w.subject.is_of(&subject)
                    || w.good == Some(true)
            };
            if subject.kind != Kind::Startup && !watched.iter().all(begun) {
                continue;
            }
            if !watched.iter().any(|w| w.subject == subject) {
                let end = CancellationToken::new();
                let (this, id, provider) = (
                    self.clone(),
                    id.clone(),
                    live.record.intent.provider.clone(),
                );
                let (stop, checked) = (end.clone(), subject.clone());
                self.deps.tasks.spawn(async move {
                    tokio::select! {
                        () = this.deps.stop.cancelled() => {}
                        () = stop.cancelled() => {}
                        () = this.probe(&provider, &id, &checked) => {}
                    }
                });
                watched.push(Watched {
                    subject,
                    good: None,
                    seen_good: false,
                    reason: String::new(),
                    _end: end.drop_guard(),
                });
            }
        }
        let probed = live.record.intent.workload.probes.readiness.is_some();
        let Some(seen) = &mut live.observation else {
            return;
        };
        for w in watched.iter() {
            let replica = seen
                .replicas
                .iter_mut()
                .find(|r| r.index == w.subject.index);
            match (w.subject.kind, w.good, replica) {
                (Kind::Liveness | Kind::Startup, Some(false), _) => live
                    .failed_liveness
                    .push((w.subject.index, w.reason.clone())),
                // Where no check is made of being ready, having started is all there is to know.
                (Kind::Startup, Some(true), Some(replica)) if !probed => {
                    replica.health = Health::Healthy
                }
                (Kind::Readiness, Some(good), Some(replica)) => {
                    replica.health = if good {
                        Health::Healthy
                    } else {
                        Health::Unhealthy
                    };
                    if !good {
                        replica.message.clone_from(&w.reason);
                    }
                }
                (Kind::Readiness | Kind::Startup, None, Some(replica)) if !w.reason.is_empty() => {
                    replica.message.clone_from(&w.reason)
                }
                _ => {}
            }
        }
    }

    /// Checks one replica until nobody wants to know any more.
    async fn probe(&self, provider: &InstanceName, id: &AllocationId, subject: &Subject) {
        let Subject {
            endpoint, probe, ..
        } = subject;
        let of = Probed {
            provider,
            replica: &subject.id,
        };
        let interval = probe.interval.std().max(SHORTEST);
        let mut tally = Tally::of(probe);
        // Whether any check of this replica has succeeded.
        let started = || {
            let checking = lock(&self.checking);
            checking
                .get(id)
                .is_some_and(|all| all.iter().any(|w| w.subject.is_of(subject) && w.seen_good))
        };
        let (mut pause, mut counted) = (FIRST_PAUSE, tokio::time::Instant::now());
        tokio::time::sleep(probe.initial_delay.std()).await;
        let began = tokio::time::Instant::now();
        while lock(&self.deps.cache).live(id).is_some() {
            let Some(plugin) = self
                .deps
                .plugins
                .snapshot()
                .providers
                .get(provider)
                .cloned()
            else {
                tokio::time::sleep(interval).await;
                continue;
            };
            let (changed, reason) = match self
                .deps
                .prober
                .probe(
                    of,
                    plugin.probe_grant(),
                    endpoint,
                    &probe.check,
                    probe.timeout,
                )
                .await
            {
                Ok(()) => (tally.success(), String::new()),
                Err(Unwell::NotGranted(failure)) => {
                    let remedy = failure.remedy.map(|r| format!(": {r}")).unwrap_or_default();
                    self.verdict(
                        provider,
                        id,
                        subject,
                        None,
                        format!("{}{remedy}", failure.message),
                    );
                    tokio::time::sleep(interval).await;
                    continue;
                }
                Err(Unwell::Failing(_))
                    if subject.kind == Kind::Liveness
                        && !liveness_counts(started(), began.elapsed().into()) =>
                {
                    (false, String::new())
                }
                // Of the quick checks at the start only one per interval counts, or a slow start would look like a failure.
                Err(Unwell::Failing(reason))
                    if tally.seen_good() || counted.elapsed() >= interval =>
                {
                    counted = tokio::time::Instant::now();
                    (tally.failure(), reason)
                }
                Err(Unwell::Failing(reason)) => (false, reason),
            };
            if changed {
                let good = reason.is_empty();
                let told = match subject.kind {
                    _ if good => reason,
                    Kind::Startup => format!("its startup check fails: {reason}; {SLOWER_START}"),
                    Kind::Liveness if !started() => {
                        format!("its liveness check fails: {reason}; {SLOW_START}")
                    }
                    Kind::Readiness | Kind::Liveness => reason,
                };
                self.verdict(provider, id, subject, Some(good), told);
                if good && subject.kind == Kind::Startup {
                    return;
                }
            }
            tokio::time::sleep(if tally.seen_good() { interval } else { pause }).await;
            pause = (pause * 3 / 2).min(interval);
        }
        // Gone: nobody checks it any more, this one included.
        lock(&self.checking).remove(id);
    }

    fn verdict(
        &self,
        provider: &InstanceName,
        id: &AllocationId,
        subject: &Subject,
        good: Option<bool>,
        reason: String,
    ) {
        let mut checking = lock(&self.checking);
        let watched = checking
            .get_mut(id)
            .and_then(|all| all.iter_mut().find(|w| w.subject == *subject));
        if let Some(w) = watched
            && (w.good, &w.reason) != (good, &reason)
        {
            (w.good, w.reason) = (good, reason);
            w.seen_good |= good == Some(true);
            drop(checking);
            self.deps
                .poll_schedule
                .request_observation(provider, [id.clone()]);
        }
    }
}

/// Running replicas that a command at the provider has found alive once, and does no more, or has not found alive in the time that a start may
/// take. Providers tell one health: it is about being alive where no other check is made of being ready.
fn failed_liveness_there(live: &mut AllocationState) -> Vec<(u32, String)> {
    let (record, Some(seen)) = (&live.record, &live.observation) else {
        return Vec::new();
    };
    let probes = &record.intent.workload.probes;
    let command = |p: &&Probe| matches!(p.check, Check::Command { .. });
    let Some(alive) = probes
        .liveness
        .as_ref()
        .or(probes.startup.as_ref())
        .filter(command)
    else {
        return Vec::new();
    };
    if record.intent.workload.run != Run::Service
        || probes
            .readiness
            .as_ref()
            .is_some_and(|ready| ready.check != alive.check)
    {
        return Vec::new();
    }
    let (now, known) = (
        tokio::time::Instant::now(),
        std::mem::take(&mut live.incarnations),
    );
    let again = |r: &Replica| {
        let before = known
            .iter()
            .find(|i| (i.index, i.id.as_str(), i.restarts) == (r.index, r.id.as_str(), r.restarts));
        let well = r.health == Health::Healthy || before.is_some_and(|i| i.well);
        Incarnation {
            index: r.index,
            id: r.id.clone(),
            restarts: r.restarts,
            since: before.map_or(now, |i| i.since),
            well,
        }
    };
    // A provider that restarts by itself has done so by then.
    let patience =
        start_bound(probes).std() + record.intent.workload.stop_grace.std() + RESTART_PATIENCE;
    let mut failed_liveness = Vec::new();
    for replica in seen.replicas.iter().filter(|r| r.phase == Phase::Running) {
        let this = again(replica);
        let dead = if this.well {
            probes.liveness.is_some()
        } else {
            now.duration_since(this.since) >= patience
        };
        if dead && replica.health == Health::Unhealthy {
            let why = if replica.message.is_empty() {
                "its liveness check fails"
            } else {
                &replica.message
            };
            let way = if probes.startup.is_some() {
                SLOWER_START
            } else {
                SLOW_START
            };
            failed_liveness.push((
                this.index,
                if this.well {
                    why.to_owned()
                } else {
                    format!("{why}; {way}")
                },
            ));
        }
        live.incarnations.push(this);
    }
    failed_liveness
}

/// What is to be checked of an allocation: running replicas of services whose health the provider does not know.
fn subjects(live: &AllocationState) -> Vec<Subject> {
    let (record, Some(seen)) = (&live.record, &live.observation) else {
        return Vec::new();
    };
    if record.intent.workload.run != Run::Service || record.status.lost {
        return Vec::new();
    }
    let probes = &record.intent.workload.probes;
    let wanted = [
        (Kind::Startup, &probes.startup),
        (Kind::Readiness, &probes.readiness),
        (Kind::Liveness, &probes.liveness),
    ];
    let wanted: Vec<_> = wanted
        .into_iter()
        .filter_map(|(kind, probe)| probe.as_ref().map(|p| (kind, p)))
        .collect();
    let unknown = |r: &&Replica| {
        r.index < record.intent.replicas && r.phase == Phase::Running && r.health == Health::Unknown
    };
    let of = |replica: &Replica| -> Vec<Subject> {
        let subject = |(kind, probe): &(Kind, &Probe)| {
            let port = match &probe.check {
                Check::Http { port, .. } | Check::Tcp { port } => port,
                Check::Command { .. } => return None,
            };
            let endpoint = replica.endpoints.iter().find(|e| e.port == *port)?.clone();
            Some(Subject {
                index: replica.index,
                id: replica.id.clone(),
                kind: *kind,
                endpoint,
                probe: (*probe).clone(),
            })
        };
        wanted.iter().filter_map(subject).collect()
    };
    seen.replicas.iter().filter(unknown).flat_map(of).collect()
}
