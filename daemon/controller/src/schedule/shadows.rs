//! Shadow policies are told of decisions that have been made, and asked what they would have done. Each has a queue and a task of its own:
//! what is decided waits for none of it, and when a shadow can't keep up it misses decisions, which are counted.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant as Watch},
};

use parking_lot::Mutex;
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tradewind_core::{
    capability::Clock,
    event::{Event, Reason, Severity},
    names::{Actor, DecisionId, InstanceName, Namespace},
    placement,
    plugin::{Shadow, Snapshot},
    record::{DeploymentKey, SHADOWS, ShadowRecord},
    shadow::{Heard as Told, Report, Tally, compare, narrow},
    store,
    units::Instant,
};

use crate::{
    lock,
    schedule::scheduler::{DeploymentWork, Outcome},
    state::commit::{Change, Committer},
    state::inputs::Inputs,
    state::journal::{decode, namespace_event},
    state::reads::Reads,
};

/// Decisions that wait for one shadow.
const QUEUE: usize = 64;
/// How often what has come of a shadow is stored, at most.
const STORE: Duration = Duration::from_secs(1);

/// One policy call of a batch, and the decisions that came of it.
pub(crate) struct Call {
    inputs: Arc<Inputs>,
    took_micros: u64,
    decisions: HashMap<DeploymentKey, DecisionId>,
}

/// The calls that a batch's outcomes came of. None where nobody listens.
pub(crate) fn calls_of(
    snapshot: &Snapshot,
    works: &[DeploymentWork],
    outcomes: &[Outcome],
) -> Vec<Call> {
    let mut calls: Vec<Call> = Vec::new();
    if snapshot.shadows.is_empty() {
        return calls;
    }
    for (work, outcome) in works.iter().zip(outcomes) {
        let (Some(inputs), Some(decision)) = (&outcome.inputs, &outcome.decision) else {
            continue;
        };
        let known = calls.iter().position(|c| Arc::ptr_eq(&c.inputs, inputs));
        let at = known.unwrap_or_else(|| {
            calls.push(Call {
                inputs: inputs.clone(),
                took_micros: decision.took_micros,
                decisions: HashMap::new(),
            });
            calls.len() - 1
        });
        if let Some(call) = calls.get_mut(at) {
            call.decisions.insert(work.key.clone(), decision.id.clone());
        }
    }
    calls
}

/// The shadows that are being told.
pub(crate) struct Shadows {
    store: Reads,
    committer: Arc<Committer>,
    clock: Arc<dyn Clock>,
    tasks: TaskTracker,
    stop: CancellationToken,
    running: Mutex<BTreeMap<InstanceName, Running>>,
}

struct Running {
    since: Instant,
    queue: mpsc::Sender<Arc<Call>>,
    tally: Arc<Mutex<Tally>>,
    stop: CancellationToken,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// One shadow's task.
struct Listener {
    name: InstanceName,
    shadow: Shadow,
    calls: mpsc::Receiver<Arc<Call>>,
    tally: Arc<Mutex<Tally>>,
    stop: CancellationToken,
}

impl Shadows {
    pub(crate) fn new(
        store: Reads,
        committer: Arc<Committer>,
        clock: Arc<dyn Clock>,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        Self {
            store,
            committer,
            clock,
            tasks,
            stop,
            running: Mutex::default(),
        }
    }

    /// Never waits: a full queue is counted.
    pub(crate) fn notify(self: &Arc<Self>, snapshot: &Snapshot, calls: Vec<Call>) {
        if calls.is_empty() {
            return;
        }
        let mut running = lock(&self.running);
        running.retain(|name, r| {
            snapshot
                .shadows
                .get(name)
                .is_some_and(|s| s.since == r.since)
        });
        for call in calls.into_iter().map(Arc::new) {
            let of = |namespace: &Namespace| {
                call.inputs
                    .recorded()
                    .request
                    .tasks
                    .iter()
                    .any(|t| t.namespace == *namespace)
            };
            for (name, shadow) in snapshot.shadows.iter().filter(|(_, s)| of(&s.namespace)) {
                let running = running
                    .entry(name.clone())
                    .or_insert_with(|| self.listen(name, shadow));
                if let Err(TrySendError::Full(_)) = running.queue.try_send(call.clone()) {
                    lock(&running.tally).dropped += 1;
                }
            }
        }
    }

    fn listen(self: &Arc<Self>, name: &InstanceName, shadow: &Shadow) -> Running {
        let (queue, calls) = mpsc::channel(QUEUE);
        let (tally, stop) = (Arc::<Mutex<Tally>>::default(), self.stop.child_token());
        let listener = Listener {
            name: name.clone(),
            shadow: shadow.clone(),
            calls,
            tally: tally.clone(),
            stop: stop.clone(),
        };
        self.tasks.spawn(self.clone().follow(listener));
        Running {
            since: shadow.since,
            queue,
            tally,
            stop,
        }
    }

    /// Asks one shadow about decision after decision until it is dropped or the controller stops.
    async fn follow(self: Arc<Self>, mut listener: Listener) {
        match self
            .stored_tally(&listener.name, listener.shadow.since)
            .await
        {
            Ok(Some(before)) => lock(&listener.tally).resume(before),
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(shadow = %listener.name, error = &error as &dyn std::error::Error, "what has come of it can't be read: it begins anew");
            }
        }
        let mut due: Option<tokio::time::Instant> = None;
        loop {
            tokio::select! {
                () = listener.stop.cancelled() => break,
                () = tokio::time::sleep_until(due.unwrap_or_else(tokio::time::Instant::now)), if due.is_some() => {
                    due = None;
                    self.store_tally(&listener).await;
                }
                call = listener.calls.recv() => {
                    let Some(call) = call else { break };
                    // Whoever stops it does not wait for it.
                    tokio::select! {
                        () = listener.stop.cancelled() => break,
                        () = self.ask_shadow(&listener, &call) => {}
                    }
                    due.get_or_insert_with(|| tokio::time::Instant::now() + STORE);
                }
            }
        }
        // One that was dropped has nothing to remember.
        if self.stop.is_cancelled() && due.is_some() {
            self.store_tally(&listener).await;
        }
    }

    async fn ask_shadow(&self, listener: &Listener, call: &Call) {
        if lock(&listener.tally).is_suspended() {
            lock(&listener.tally).dropped += 1;
            return;
        }
        let namespace = &listener.shadow.namespace;
        let recorded = call.inputs.recorded();
        // It was accepted when it was given.
        let Ok(placed) = placement::validate(&recorded.request, &recorded.answer) else {
            return;
        };
        let narrowed = narrow(&recorded.request, &placed, namespace);
        let (request, live) = narrowed
            .as_ref()
            .map_or((&recorded.request, &placed), |(request, placed)| {
                (request, placed)
            });
        let started = Watch::now();
        let answer = listener.shadow.policy.place(request).await;
        let micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        let told = match answer {
            Err(failure) => Told::Fault(failure.message),
            Ok(answer) => match placement::validate(request, &answer) {
                Err(refusal) => Told::Refused(refusal.to_string()),
                Ok(placed) => Told::Answer(compare(
                    request,
                    live,
                    &placed,
                    self.clock.now(),
                    |deployment| {
                        let key = DeploymentKey {
                            namespace: namespace.clone(),
                            name: deployment.clone(),
                        };
                        call.decisions.get(&key).cloned()
                    },
                )),
            },
        };
        let suspended = {
            let mut tally = lock(&listener.tally);
            tally.hear(told, call.took_micros, micros);
            tally
                .is_suspended()
                .then(|| tally.last_fault.clone().unwrap_or_default())
        };
        if let Some(why) = suspended {
            let message = format!(
                "the shadow policy \"{}\" fails again and again and is asked no more: {why}",
                listener.name
            );
            let event = namespace_event(
                Severity::Warning,
                Reason::ShadowSuspended,
                &Actor::CONTROLLER,
                namespace,
                message,
            );
            self.committer
                .emit_event(Event {
                    plugin: Some(listener.name.clone()),
                    ..event
                })
                .await;
        }
    }

    async fn stored_tally(
        &self,
        name: &InstanceName,
        since: Instant,
    ) -> Result<Option<Tally>, store::Error> {
        let Some(stored) = self.store.get(&path(name)).await? else {
            return Ok(None);
        };
        let record: ShadowRecord = decode(&stored)?;
        Ok((record.since == since).then_some(record.tally))
    }

    async fn store_tally(&self, listener: &Listener) {
        let record = ShadowRecord {
            since: listener.shadow.since,
            tally: lock(&listener.tally).clone(),
        };
        let mut change = Change::new();
        let written = match change.put(path(&listener.name), &record) {
            Ok(()) => self.committer.commit(change).await.map(drop),
            Err(error) => Err(error),
        };
        if let Err(error) = written {
            tracing::warn!(shadow = %listener.name, error = &error as &dyn std::error::Error, "what has come of it could not be stored");
        }
    }
}

impl Shadows {
    /// What has come of a shadow policy that was started then.
    ///
    /// # Errors
    /// The state can't be read.
    pub(crate) async fn report(
        &self,
        name: &InstanceName,
        since: Instant,
    ) -> Result<Report, store::Error> {
        let running = lock(&self.running)
            .get(name)
            .filter(|r| r.since == since)
            .map(|r| r.tally.clone());
        let known = running.map(|tally| lock(&tally).report());
        match known {
            Some(report) => Ok(report),
            None => Ok(self
                .stored_tally(name, since)
                .await?
                .unwrap_or_default()
                .report()),
        }
    }

    /// Forgets what has come of a shadow policy that is no more.
    ///
    /// # Errors
    /// The state can't be written.
    pub(crate) async fn forget(&self, name: &InstanceName) -> Result<(), store::Error> {
        lock(&self.running).remove(name);
        let mut change = Change::new();
        change.delete(path(name));
        self.committer.accept(change).await?;
        Ok(())
    }
}

fn path(name: &InstanceName) -> String {
    format!("{SHADOWS}{name}")
}
