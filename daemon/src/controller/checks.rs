//! The daemon's own health checks, for replicas of which the provider reports an endpoint and says nothing of their health. One task for each
//! replica and check, on the check's own schedule; a verdict becomes part of the allocation's observation. Verdicts are memory only: a
//! restarted daemon checks anew.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio_util::sync::{CancellationToken, DropGuard};
use tradewind_core::{
    capability::Unwell,
    health::Tally,
    names::{AllocationId, InstanceName},
    workload::{Check, Endpoint, Health, Phase, Probe, Replica, Run},
};

use super::{Shared, lock, state::Live};

/// The first checks follow each other quickly, so that a replica that is ready soon is known to be so soon.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// Keeps an interval of 0 from becoming a busy loop.
const SHORTEST: Duration = Duration::from_millis(100);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Kind {
    Readiness,
    Liveness,
}

/// All checks that are being made.
#[derive(Default)]
pub(super) struct Checking(Mutex<HashMap<AllocationId, Vec<Watched>>>);

/// One replica's check. Dropping it ends it.
struct Watched {
    subject: Subject,
    good: Option<bool>,
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

impl Shared {
    /// Begins and ends the checks of an allocation as its observation asks, and brings what they say into the observation.
    pub(super) fn overlay(self: &Arc<Self>, live: &mut Live) {
        let subjects = subjects(live);
        let id = live.record.id.clone();
        let mut checking = lock(&self.checking.0);
        live.lifeless = lifeless_there(live);
        if subjects.is_empty() {
            checking.remove(&id);
            return;
        }
        let watched = checking.entry(id.clone()).or_default();
        watched.retain(|w| subjects.contains(&w.subject));
        for subject in subjects {
            if !watched.iter().any(|w| w.subject == subject) {
                let end = CancellationToken::new();
                let (shared, id, provider) = (self.clone(), id.clone(), live.record.provider.clone());
                let (stop, checked) = (end.clone(), subject.clone());
                self.tasks.spawn(async move {
                    tokio::select! {
                        () = shared.stop.cancelled() => {}
                        () = stop.cancelled() => {}
                        () = shared.probe(&provider, &id, &checked) => {}
                    }
                });
                watched.push(Watched { subject, good: None, reason: String::new(), _end: end.drop_guard() });
            }
        }
        let Some(seen) = &mut live.observation else { return };
        for w in watched.iter() {
            let replica = seen.replicas.iter_mut().find(|r| r.index == w.subject.index);
            match (w.subject.kind, w.good, replica) {
                (Kind::Liveness, Some(false), _) => live.lifeless.push((w.subject.index, w.reason.clone())),
                (Kind::Readiness, Some(good), Some(replica)) => {
                    replica.health = if good { Health::Healthy } else { Health::Unhealthy };
                    if !good {
                        replica.message.clone_from(&w.reason);
                    }
                }
                (Kind::Readiness, None, Some(replica)) if !w.reason.is_empty() => replica.message.clone_from(&w.reason),
                _ => {}
            }
        }
    }

    /// Checks one replica until nobody wants to know any more.
    async fn probe(&self, provider: &InstanceName, id: &AllocationId, subject: &Subject) {
        let Subject { endpoint, probe, .. } = subject;
        let interval = probe.interval.std().max(SHORTEST);
        let mut tally = Tally::of(probe);
        let (mut pause, mut counted) = (FIRST_PAUSE, tokio::time::Instant::now());
        tokio::time::sleep(probe.initial_delay.std()).await;
        while lock(&self.world).live(id).is_some() {
            let Some(plugin) = self.plugins.snapshot().providers.get(provider).cloned() else {
                tokio::time::sleep(interval).await;
                continue;
            };
            let (changed, reason) = match self.prober.probe(plugin.probe_grant(), endpoint, &probe.check, probe.timeout).await {
                Ok(()) => (tally.success(), String::new()),
                Err(Unwell::NotGranted(failure)) => {
                    let remedy = failure.remedy.map(|r| format!(": {r}")).unwrap_or_default();
                    self.verdict(provider, id, subject, None, format!("{}{remedy}", failure.message));
                    tokio::time::sleep(interval).await;
                    continue;
                }
                // Of the quick checks at the start only one per interval counts, or a slow start would look like a failure.
                Err(Unwell::Failing(reason)) if tally.seen_good() || counted.elapsed() >= interval => {
                    counted = tokio::time::Instant::now();
                    (tally.failure(), reason)
                }
                Err(Unwell::Failing(reason)) => (false, reason),
            };
            if changed {
                // A liveness check that never succeeded says nothing: what has not been alive is on its way.
                let good = reason.is_empty();
                if good || subject.kind == Kind::Readiness || tally.seen_good() {
                    self.verdict(provider, id, subject, Some(good), reason);
                }
            }
            tokio::time::sleep(if tally.seen_good() { interval } else { pause }).await;
            pause = (pause * 3 / 2).min(interval);
        }
        // Gone: nobody checks it any more, this one included.
        lock(&self.checking.0).remove(id);
    }

    fn verdict(&self, provider: &InstanceName, id: &AllocationId, subject: &Subject, good: Option<bool>, reason: String) {
        let mut checking = lock(&self.checking.0);
        let watched = checking.get_mut(id).and_then(|all| all.iter_mut().find(|w| w.subject == *subject));
        if let Some(w) = watched
            && (w.good, &w.reason) != (good, &reason)
        {
            (w.good, w.reason) = (good, reason);
            drop(checking);
            self.look_at(provider, [id.clone()]);
        }
    }
}

/// Running replicas that a command at the provider has found alive once, and does no more. Providers tell one health: it is about being alive
/// where no other check is made of being ready.
fn lifeless_there(live: &Live) -> Vec<(u32, String)> {
    let (record, Some(seen)) = (&live.record, &live.observation) else { return Vec::new() };
    let probes = &record.workload.probes;
    let Some(alive) = probes.liveness.as_ref().filter(|p| matches!(p.check, Check::Command { .. })) else { return Vec::new() };
    if record.workload.run != Run::Service || probes.readiness.as_ref().is_some_and(|ready| ready.check != alive.check) {
        return Vec::new();
    }
    let dead = |r: &&Replica| r.phase == Phase::Running && r.health == Health::Unhealthy && live.was_ready.contains(&r.index);
    let told = |r: &Replica| if r.message.is_empty() { "its liveness check fails".to_owned() } else { r.message.clone() };
    seen.replicas.iter().filter(dead).map(|r| (r.index, told(r))).collect()
}

/// What is to be checked of an allocation: running replicas of services whose health the provider does not know.
fn subjects(live: &Live) -> Vec<Subject> {
    let (record, Some(seen)) = (&live.record, &live.observation) else { return Vec::new() };
    if record.workload.run != Run::Service || record.lost {
        return Vec::new();
    }
    let probes = &record.workload.probes;
    let wanted = [(Kind::Readiness, &probes.readiness), (Kind::Liveness, &probes.liveness)];
    let wanted: Vec<_> = wanted.into_iter().filter_map(|(kind, probe)| probe.as_ref().map(|p| (kind, p))).collect();
    let unknown = |r: &&Replica| r.index < record.replicas && r.phase == Phase::Running && r.health == Health::Unknown;
    let of = |replica: &Replica| -> Vec<Subject> {
        let subject = |(kind, probe): &(Kind, &Probe)| {
            let port = match &probe.check {
                Check::Http { port, .. } | Check::Tcp { port } => port,
                Check::Command { .. } => return None,
            };
            let endpoint = replica.endpoints.iter().find(|e| e.port == *port)?.clone();
            Some(Subject { index: replica.index, id: replica.id.clone(), kind: *kind, endpoint, probe: (*probe).clone() })
        };
        wanted.iter().filter_map(subject).collect()
    };
    seen.replicas.iter().filter(unknown).flat_map(of).collect()
}
