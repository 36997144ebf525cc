//! Sessions with replicas: which replica is meant, the event and the entry of the audit log that come before, and the way to its provider. It must
//! not read what is said in one.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use tradewind_core::{
    event::{Reason, Severity},
    failure::Failure,
    names::{Actor, AllocationId, DeploymentName, InstanceName, Namespace, TaskName},
    plugin::Provider,
    record::{AllocationRecord, DeploymentKey, Stage},
    session::{Opening, ReplicaRef, Session},
    units::Instant,
    workload::{Phase, Replica},
};

use crate::{
    Error, Handle, lock,
    service::handle::not_found,
    service::rerun::no_task,
    state::cache::{AllocationState, DeploymentState},
    state::commit::Change,
    state::journal::event,
};

/// Which replica of a deployment.
#[derive(Debug, Clone, Default)]
pub struct ReplicaChoice {
    /// None: the only task.
    pub task: Option<TaskName>,
    /// None: whichever has such a replica; the one that stays where there are several.
    pub allocation: Option<AllocationId>,
    /// Its index in the allocation. None: the first that runs.
    pub index: Option<u32>,
}

/// A replica that was found.
pub struct Target {
    key: DeploymentKey,
    task: TaskName,
    provider: InstanceName,
    replica: ReplicaRef,
    version: Arc<dyn Provider>,
}

/// Connections that were recorded lately: a browser opens many to one port.
#[derive(Default)]
pub(crate) struct Recorded(Mutex<HashMap<String, Instant>>);

/// One entry for so long.
const LATELY: u64 = 60_000;
/// Entries that are remembered.
const REMEMBERED: usize = 1_024;
/// Characters of a command that are recorded.
const SHOWN: usize = 500;

impl Target {
    /// The replica's index in its allocation.
    pub fn index(&self) -> u32 {
        self.replica.index
    }

    /// Its allocation.
    pub fn allocation(&self) -> &AllocationId {
        &self.replica.allocation
    }

    /// The task's name.
    pub fn task(&self) -> &TaskName {
        &self.task
    }
}

impl Recorded {
    /// Whether this is news.
    fn is_news(&self, what: String, now: Instant) -> bool {
        let mut known = self.0.lock();
        if known
            .get(&what)
            .is_some_and(|at| now.0.saturating_sub(at.0) < LATELY)
        {
            return false;
        }
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(what, now);
        true
    }
}

impl Handle {
    /// The replica that is meant.
    ///
    /// # Errors
    /// `NotFound`, `NoTask`, `Invalid` where the choice fits several tasks or no replica, `Session` where its provider does not serve.
    pub fn replica(
        &self,
        namespace: &Namespace,
        name: &DeploymentName,
        choice: &ReplicaChoice,
    ) -> Result<Target, Error> {
        let key = DeploymentKey {
            namespace: namespace.clone(),
            name: name.clone(),
        };
        let (task, provider, replica) = {
            let cache = lock(&self.shared.cache);
            let entry = cache.deployments.get(&key).ok_or_else(|| not_found(&key))?;
            let task = task_of(&key, entry, choice.task.as_ref())?;
            let (record, replica) = chosen(entry, &task, choice)?;
            let replica = ReplicaRef {
                namespace: key.namespace.clone(),
                allocation: record.id.clone(),
                index: replica.index,
                id: replica.id.clone(),
                ports: record.intent.workload.ports.clone(),
            };
            (task, record.intent.provider.clone(), replica)
        };
        let version = self.shared.plugins.snapshot();
        let version = version.providers.get(&provider).cloned().ok_or_else(|| {
            Error::Session(Failure::unavailable(format!(
                "the provider \"{provider}\" does not serve"
            )))
        })?;
        Ok(Target {
            key,
            task,
            provider,
            replica,
            version,
        })
    }

    /// Opens a session, after it has been recorded who does.
    ///
    /// # Errors
    /// `Session` when the replica's provider refuses, `Store` when it can't be recorded: nothing is opened then.
    pub async fn open(
        &self,
        actor: &Actor,
        target: &Target,
        what: Opening,
    ) -> Result<Session, Error> {
        let told = told(target, &what);
        let often = matches!(what, Opening::Connect { .. });
        let same = format!("{actor} {} {told}", target.key);
        if !often || self.shared.sessions.is_news(same, self.shared.clock.now()) {
            let mut opened = event(
                Severity::Info,
                Reason::SessionOpened,
                actor,
                &target.key,
                told,
            );
            opened.task = Some(target.task.clone());
            opened.allocation = Some(target.replica.allocation.clone());
            opened.plugin = Some(target.provider.clone());
            self.shared.committer.commit(Change::of(opened)).await?;
        }
        target
            .version
            .open(&target.replica, what)
            .await
            .map_err(Error::Session)
    }
}

/// What is recorded of a session.
fn told(target: &Target, what: &Opening) -> String {
    let of = format!("replica {} of \"{}\"", target.replica.index, target.task);
    match what {
        Opening::Exec { command, .. } => {
            let words: Vec<String> = command
                .iter()
                .map(|word| word.escape_default().to_string())
                .collect();
            let line: String = words.join(" ").chars().take(SHOWN).collect();
            format!("a command in {of}: {line}")
        }
        Opening::Connect { port } => {
            format!(
                "connections to the port \"{}\" of {of}",
                port.escape_debug()
            )
        }
        Opening::Read { path } => format!("files read from {of}: {}", path.escape_debug()),
        Opening::Write { path } => format!("files written to {of}: {}", path.escape_debug()),
    }
}

fn invalid(path: &str, message: String) -> Error {
    Error::Invalid {
        path: path.to_owned(),
        message,
    }
}

fn task_of(
    key: &DeploymentKey,
    entry: &DeploymentState,
    wanted: Option<&TaskName>,
) -> Result<TaskName, Error> {
    if let Some(task) = wanted {
        return if entry.resolved.iter().any(|t| t.name == *task) {
            Ok(task.clone())
        } else {
            Err(no_task(key, &entry.resolved, task))
        };
    }
    match entry.resolved.as_slice() {
        [only] => Ok(only.name.clone()),
        all => {
            let names: Vec<String> = all.iter().map(|t| format!("\"{}\"", t.name)).collect();
            let message = format!(
                "\"{key}\" has several tasks: name one of {}",
                names.join(", ")
            );
            Err(invalid("task", message))
        }
    }
}

/// The allocation that stays comes before one that is superseded, and a replica that runs before one that does not.
fn chosen<'a>(
    entry: &'a DeploymentState,
    task: &TaskName,
    choice: &ReplicaChoice,
) -> Result<(&'a AllocationRecord, &'a Replica), Error> {
    let of_task = |a: &&AllocationState| {
        a.record.task == *task
            && choice
                .allocation
                .as_ref()
                .is_none_or(|id| *id == a.record.id)
    };
    let allocations: Vec<&AllocationState> = entry.allocations.values().filter(of_task).collect();
    let fits = |replica: &&Replica| choice.index.is_none_or(|index| index == replica.index);
    let goes = |record: &AllocationRecord| {
        record.intent.superseded || record.intent.stage == Stage::Removing
    };
    allocations
        .iter()
        .filter_map(|a| Some((&a.record, a.observation.as_ref()?)))
        .flat_map(|(record, seen)| {
            let replicas = seen.replicas.iter().filter(fits);
            replicas.map(move |replica| (record, replica))
        })
        .min_by_key(|(record, replica)| {
            (goes(record), replica.phase != Phase::Running, replica.index)
        })
        .ok_or_else(|| match (&choice.allocation, choice.index) {
            (Some(id), None) => invalid(
                "allocation",
                format!("\"{task}\" has no replica in the allocation \"{id}\""),
            ),
            (_, Some(index)) => invalid(
                "replica",
                format!("\"{task}\" has no replica {index} there"),
            ),
            (None, None) => invalid("task", format!("\"{task}\" has no replica yet")),
        })
}
