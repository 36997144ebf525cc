//! Scaling: gathers what is known of each task's load, asks the core how many replicas that wants, and stores the number with its event.
//! Numbers are durable; pushed values and what was asked for before are kept in memory, so after a restart the last number stays until
//! there is news. It must not place or start anything: the rest of the controller sees another number of replicas.

mod ask;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant as Tick};
use tokio_util::sync::CancellationToken;
use tradewind_core::{
    capability::Clock,
    event::{Event, Reason, Severity},
    manifest::{Resolved, Target},
    names::{Actor, MetricName, TaskName},
    record::{DeploymentKey, DeploymentRecord, Stage},
    scaling::{self, Load, Memory, REQUESTS, TaskScale, Told},
    store::{Error, Expect, Revision},
    units::Millis,
    workload::{Run, Usage},
};

use crate::{
    lock,
    state::cache::{Cache, DeploymentState},
    state::commit::{self, Committer},
    state::journal::{CONTROLLER, event},
};

/// What is known of the deployments that follow their load.
pub(crate) struct Scaler {
    committer: Arc<Committer>,
    cache: Arc<Mutex<Cache>>,
    clock: Arc<dyn Clock>,
    /// Between two looks at all of them.
    interval: Duration,
    stop: CancellationToken,
    deployments: Mutex<HashMap<DeploymentKey, Known>>,
    wake: Notify,
    /// Times are counted from here: the clock on the wall may jump.
    begun: Tick,
}

#[derive(Default)]
struct Known {
    memories: HashMap<(TaskName, Option<Target>), Memory>,
    told: BTreeMap<(TaskName, MetricName), Told>,
    /// When time alone changes something.
    again: Option<Tick>,
    /// There is news.
    pending: bool,
}

/// A deployment as it is looked at.
struct Look {
    key: DeploymentKey,
    record: Arc<DeploymentRecord>,
    revision: Revision,
    tasks: Vec<(Resolved, Load)>,
}

/// A task's new number.
struct Change {
    task: TaskName,
    target: Option<Target>,
    job: bool,
    before: u32,
    after: u32,
    why: String,
}

// === impl Scaler ===

impl Scaler {
    pub(crate) fn new(
        committer: Arc<Committer>,
        cache: Arc<Mutex<Cache>>,
        clock: Arc<dyn Clock>,
        interval: Duration,
        stop: CancellationToken,
    ) -> Self {
        Self {
            committer,
            cache,
            clock,
            interval,
            stop,
            deployments: Mutex::default(),
            wake: Notify::new(),
            begun: Tick::now(),
        }
    }

    fn now(&self) -> Millis {
        self.begun.elapsed().into()
    }

    /// Those with news, and those of which time alone changes something.
    fn due(&self, now: Tick) -> Vec<DeploymentKey> {
        let mut deployments = lock(&self.deployments);
        let mut due = Vec::new();
        for (key, known) in deployments.iter_mut() {
            if known.pending || known.again.is_some_and(|at| at <= now) {
                (known.pending, known.again) = (false, None);
                due.push(key.clone());
            }
        }
        due
    }

    /// When time alone changes something next.
    fn next(&self) -> Option<Tick> {
        lock(&self.deployments)
            .values()
            .filter_map(|k| k.again)
            .min()
    }

    /// What changes for a deployment, and what is remembered of it.
    fn advise(&self, look: &mut Look) -> Vec<Change> {
        let now = self.now();
        let mut deployments = lock(&self.deployments);
        let known = deployments.entry(look.key.clone()).or_default();
        let (mut changes, mut again) = (Vec::new(), None::<Millis>);
        let places = |name: &TaskName, tasks: &[(Resolved, Load)]| {
            tasks.iter().filter(|(t, _)| t.name == *name).count()
        };
        let shares: Vec<f64> = look
            .tasks
            .iter()
            .map(|(t, _)| places(&t.name, &look.tasks) as f64)
            .collect();
        for ((task, load), share) in look.tasks.iter_mut().zip(shares) {
            let Some(rule) = &task.scale else { continue };
            // What is told of a task is told of all its places together.
            let told = |name: &str| {
                let of = known
                    .told
                    .iter()
                    .find(|((t, n), _)| *t == task.name && n.as_str() == name);
                of.map(|(_, told)| Told {
                    value: told.value / share.max(1.0),
                    at: told.at,
                })
            };
            load.told_requests = told(REQUESTS);
            load.told_metric = rule
                .metric
                .as_ref()
                .and_then(|(name, _)| told(name.as_str()));
            let memory = known
                .memories
                .entry((task.name.clone(), task.target.clone()))
                .or_default();
            let advice = memory.advise(rule, task.replicas, load, now);
            again = [again, advice.again].into_iter().flatten().min();
            if advice.replicas != task.replicas {
                changes.push(Change {
                    task: task.name.clone(),
                    target: task.target.clone(),
                    job: rule.job,
                    before: task.replicas,
                    after: advice.replicas,
                    why: advice.why,
                });
            }
        }
        known.again = again.map(|after| Tick::now() + after.std());
        changes
    }

    /// Looks at the deployment as soon as possible.
    fn hurry(&self, key: &DeploymentKey) {
        lock(&self.deployments)
            .entry(key.clone())
            .or_default()
            .pending = true;
        self.wake.notify_one();
    }
}

impl Scaler {
    /// Runs until the controller stops.
    pub(crate) async fn run(self: Arc<Self>) {
        let interval = self.interval;
        let mut swept = Tick::now();
        while !self.stop.is_cancelled() {
            let now = Tick::now();
            let mut due = self.due(now);
            if now.duration_since(swept) >= interval {
                swept = now;
                due = self.scaled_deployments();
            }
            for key in due {
                self.scale_one(&key).await;
            }
            let next = self
                .next()
                .map_or(swept + interval, |at| at.min(swept + interval));
            tokio::select! {
                () = self.stop.cancelled() => {}
                () = self.wake.notified() => {}
                () = tokio::time::sleep_until(next) => {}
            }
        }
    }

    /// Every deployment that follows its load. What is known of others is forgotten.
    fn scaled_deployments(&self) -> Vec<DeploymentKey> {
        let scaled = |entry: &DeploymentState| {
            !entry.record.deleting && entry.resolved.iter().any(|t| t.scale.is_some())
        };
        let keys: Vec<_> = lock(&self.cache)
            .deployments
            .iter()
            .filter(|(_, e)| scaled(e))
            .map(|(key, _)| key.clone())
            .collect();
        // The keys are in order.
        lock(&self.deployments).retain(|key, _| keys.binary_search(key).is_ok());
        keys
    }

    async fn scale_one(&self, key: &DeploymentKey) {
        let Some(mut look) = self.look_at_load(key) else {
            return;
        };
        let changes = self.advise(&mut look);
        if changes.is_empty() {
            return;
        }
        match self
            .rescale(CONTROLLER, key, &look.record, look.revision, &changes)
            .await
        {
            Ok(()) => {}
            // Another write came first.
            Err(Error::Conflict { .. }) => self.hurry(key),
            Err(error) => {
                tracing::error!(deployment = %key, error = &error as &dyn std::error::Error, "another number of replicas could not be stored");
            }
        }
    }

    fn look_at_load(&self, key: &DeploymentKey) -> Option<Look> {
        let cache = lock(&self.cache);
        let entry = cache.deployments.get(key).filter(|e| !e.record.deleting)?;
        let tasks = entry.resolved.iter().filter(|t| t.scale.is_some());
        let tasks = tasks
            .map(|task| (task.clone(), observed(entry, task)))
            .collect();
        Some(Look {
            key: key.clone(),
            record: entry.record.clone(),
            revision: entry.revision,
            tasks,
        })
    }

    /// Stores other numbers, each with its event, and shows them to the rest of the controller.
    async fn rescale(
        &self,
        actor: &Actor,
        key: &DeploymentKey,
        before: &DeploymentRecord,
        revision: Revision,
        changes: &[Change],
    ) -> Result<(), Error> {
        let now = self.clock.now();
        let mut record = before.clone();
        for change in changes {
            record
                .scales
                .retain(|s| s.task != change.task || s.target != change.target);
            record.scales.push(TaskScale {
                task: change.task.clone(),
                target: change.target.clone(),
                replicas: change.after,
                at: now,
                why: change.why.clone(),
            });
        }
        let resolved = scaling::resolve(&record);
        // What does not follow its load any more needs no number.
        record.scales.retain(|s| {
            resolved
                .iter()
                .any(|t| t.scale.is_some() && t.name == s.task && t.target == s.target)
        });
        let mut rescaled = commit::Change::new();
        rescaled.expect(Expect::AtRevision {
            key: key.path(),
            revision,
        });
        changes
            .iter()
            .for_each(|change| rescaled.event(told(actor, key, change)));
        rescaled.put_progress(key, record)?;
        rescaled.enqueue(key);
        self.committer.accept(rescaled).await?;
        Ok(())
    }
}

fn told(actor: &Actor, key: &DeploymentKey, change: &Change) -> Event {
    let reason = if change.job {
        Reason::JobScaled
    } else {
        Reason::ServiceScaled
    };
    let place = change
        .target
        .as_ref()
        .map(|t| format!(" at {t}"))
        .unwrap_or_default();
    let message = format!(
        "{}{place}: {} → {} replicas: {}",
        change.task, change.before, change.after, change.why
    );
    let facts = |replicas: u32| serde_json::json!({ "replicas": replicas });
    let mut told = event(Severity::Info, reason, actor, key, message);
    told.task = Some(change.task.clone());
    told.changing(Some(&facts(change.before)), Some(&facts(change.after)))
}

/// What the providers have said of a task's replicas.
fn observed(entry: &DeploymentState, task: &Resolved) -> Load {
    let mine: Vec<_> = entry.current(task).collect();
    if matches!(task.workload.run, Run::Job { .. }) {
        let there: u32 = mine.iter().map(|l| l.record.intent.replicas).sum();
        return Load {
            ended: there >= task.replicas && !mine.is_empty() && mine.iter().all(|l| l.is_ready()),
            ..Load::default()
        };
    }
    let applied = mine
        .iter()
        .filter(|l| l.record.intent.stage == Stage::Applied);
    let usage: Vec<Option<Usage>> = applied
        .flat_map(|l| l.ready_replicas().map(|r| r.usage))
        .collect();
    Load {
        cpu: usage.iter().map(|u| u.map(|u| u.cpu)).collect(),
        requests: usage.iter().map(|u| u.map(|u| u.requests)).collect(),
        ..Load::default()
    }
}
