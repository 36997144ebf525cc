//! The order between the tasks of a deployment: which of them wait for others, and which have been released. Pure: what is known of the
//! others is brought. What holding a task back means for its replicas, this module must not know.

pub use crate::{
    spec::manifest::{Milestone, Prerequisite},
    state::order::{Released, Waiting},
};

use std::collections::BTreeSet;

use crate::{
    base::{
        names::{Digest, TaskName},
        units::Instant,
    },
    lifecycle::plan,
    schedule::placement::Need,
    spec::manifest::Resolved,
    state::{
        record::{AllocationRecord, DeploymentRecord},
        rollout::Rollout,
    },
};

/// How many versions of a task are kept that somebody may return to.
const KEPT: usize = 10;

/// What there is of a task as it is wanted now, at all of its targets together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// Replicas that it shall have, as far as limits leave them to it.
    pub wanted: u32,
    /// Those that have been started, whether they have ended or not.
    pub started: u32,
    /// Those that are ready.
    pub ready: u32,
    /// Those that have succeeded.
    pub completed: u32,
    /// How one of a job's has failed for good.
    pub failed: Option<String>,
    /// It has replicas at each of its targets that wants some.
    pub there: bool,
}

/// A task that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    /// The task.
    pub task: TaskName,
    /// What it still waits for.
    pub on: Vec<Prerequisite>,
    /// What can't come any more, and why.
    pub never: Option<(TaskName, String)>,
}

/// Who waits and who does not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// As it shall be on record.
    pub released: Vec<Released>,
    /// Those that are held back.
    pub waits: Vec<Wait>,
}

// === impl Wait ===

impl Wait {
    /// What it waits for, for people. The task is to be named before it.
    pub fn why(&self) -> String {
        let on: Vec<String> = self
            .on
            .iter()
            .map(|p| {
                let failed = self.never.as_ref().filter(|(task, _)| *task == p.task);
                let failed = failed.map(|(_, why)| format!(", which has failed{why}"));
                format!(
                    "for {} {}{}",
                    p.task,
                    p.until.awaited(),
                    failed.unwrap_or_default()
                )
            })
            .collect();
        match on.is_empty() {
            true => "waits until its update goes on".to_owned(),
            false => format!("waits {}", on.join(" and ")),
        }
    }

    /// Why it can't begin any more. None: it may.
    pub fn failed(&self) -> Option<String> {
        self.never
            .as_ref()
            .map(|_| format!("{} {}", self.task, self.why()))
    }
}

// === impl Standing ===

impl Standing {
    /// Whether a task is held back.
    pub fn holds(&self, task: &TaskName) -> bool {
        self.waits.iter().any(|w| w.task == *task)
    }

    /// Those that wait as they shall be on record. `known`: those that are.
    pub fn waiting(&self, known: &[Waiting], now: Instant) -> Vec<Waiting> {
        let one = |w: &Wait| Waiting {
            task: w.task.clone(),
            since: known
                .iter()
                .find(|k| k.task == w.task)
                .map_or(now, |k| k.since),
            why: w.why(),
        };
        self.waits.iter().map(one).collect()
    }
}

/// Who waits. `seen` tells what there is of a task as it is wanted now. A version that has been released stays so; so does what runs as it is
/// wanted, and in a return, each version that was released before. Nobody is released by a paused update.
pub fn stand(
    record: &DeploymentRecord,
    resolved: &[Resolved],
    seen: impl Fn(&TaskName) -> Seen,
) -> Standing {
    let mut out = Standing::default();
    if record.deleting {
        return out;
    }
    let update = record.rollout.as_ref();
    let (back, paused) = (
        update.is_some_and(Rollout::is_back),
        update.is_some_and(|r| r.paused.is_some()),
    );
    let mut looked: BTreeSet<&TaskName> = BTreeSet::new();
    for task in resolved.iter().filter(|t| !t.after.is_empty()) {
        if !looked.insert(&task.name) {
            continue;
        }
        let version = version(resolved.iter().filter(|t| t.name == task.name));
        let mut history: Vec<Released> = record
            .released
            .iter()
            .filter(|r| r.task == task.name)
            .cloned()
            .collect();
        let released = history.last().is_some_and(|r| r.version == version)
            || (back && history.iter().any(|r| r.version == version))
            || seen(&task.name).there;
        let (mut on, mut never) = (Vec::new(), None);
        for p in task.after.iter().filter(|_| !released) {
            let other = seen(&p.task);
            let (has, ends) = match p.until {
                Milestone::Started => (other.started, false),
                Milestone::Ready => (other.ready, false),
                Milestone::Completed => (other.completed, true),
            };
            if has < other.wanted || (ends && other.failed.is_some()) {
                let failed = other.failed.filter(|_| ends);
                never = never.or(failed.map(|why| (p.task.clone(), why)));
                on.push(p.clone());
            }
        }
        if released || (on.is_empty() && !paused) {
            history.retain(|r| r.version != version);
            history.push(Released {
                task: task.name.clone(),
                version,
                generation: record.generation,
            });
        } else {
            out.waits.push(Wait {
                task: task.name.clone(),
                on,
                never,
            });
        }
        let surplus = history.len().saturating_sub(KEPT);
        out.released.extend(history.into_iter().skip(surplus));
    }
    out
}

/// The generation that a task is kept as while it waits. None: nothing of it has been before.
pub fn kept_as(record: &DeploymentRecord, task: &TaskName) -> Option<u64> {
    let released = record.released.iter().rfind(|r| r.task == *task);
    released
        .map(|r| r.generation)
        .or_else(|| record.rollout.as_ref().and_then(|r| r.from))
}

/// Whether an allocation is of a task as it is wanted now.
pub fn is_of(record: &AllocationRecord, task: &Resolved) -> bool {
    plan::stands_for(record, task)
        && record.intent.need == plan::need_digest(&Need::of(task))
        && !plan::needs_new_replicas(&record.intent.workload, &task.workload)
}

/// Of all that asks for new replicas when it changes. A restart and another run make no other version.
fn version<'a>(tasks: impl Iterator<Item = &'a Resolved>) -> Digest {
    let parts: Vec<_> = tasks
        .map(|t| {
            let mut workload = t.workload.clone();
            (workload.labels, workload.scaling, workload.restart) = (Default::default(), None, 0);
            (t.target.clone(), workload, plan::need_digest(&Need::of(t)))
        })
        .collect();
    // Tasks are plain data: serialising them can't fail.
    Digest::of(&serde_json::to_vec(&parts).unwrap_or_default())
}

/// Circles among tasks that wait for others, each from one of its tasks on. `after`: for each task, the indices of those that it waits for.
/// Where there is none, there is an order in which all can begin.
pub fn circles(after: &[Vec<usize>]) -> Vec<Vec<usize>> {
    let mut left: Vec<usize> = after.iter().map(Vec::len).collect();
    let mut followers: Vec<Vec<usize>> = vec![Vec::new(); after.len()];
    for (task, others) in after.iter().enumerate() {
        for other in others {
            followers
                .get_mut(*other)
                .into_iter()
                .for_each(|f| f.push(task));
        }
    }
    let mut free: Vec<usize> = (0..after.len())
        .filter(|t| left.get(*t) == Some(&0))
        .collect();
    while let Some(task) = free.pop() {
        for follower in followers.get(task).into_iter().flatten() {
            if let Some(count) = left.get_mut(*follower) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    free.push(*follower);
                }
            }
        }
    }
    // Whoever is left waits for somebody who is left.
    let stuck = |t: &usize| left.get(*t).is_some_and(|n| *n > 0);
    let mut walked = BTreeSet::new();
    let mut found = Vec::new();
    for first in (0..after.len()).filter(stuck) {
        let (mut way, mut at) = (Vec::new(), first);
        while walked.insert(at) {
            way.push(at);
            let next = after
                .get(at)
                .into_iter()
                .flatten()
                .copied()
                .find(|t| stuck(t));
            at = next.unwrap_or(at);
        }
        if let Some(begin) = way.iter().position(|t| *t == at) {
            found.push(way.split_off(begin));
        }
    }
    found
}

#[cfg(test)]
mod tests;
