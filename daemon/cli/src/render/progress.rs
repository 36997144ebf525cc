//! Where a task stands while somebody waits for it: what is ready, what is waited for, and why it does not go on.

use std::collections::BTreeMap;

use tradewind_api::{AllocationView, DeploymentView, Status, TaskView};
use tradewind_core::workload::Phase;

use super::place;
use crate::output::counted;

/// The most groups of replicas that a line tells apart.
const GROUPS: usize = 2;

/// A line, and what is said beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) line: String,
    /// Why it does not go on. Empty: nothing is known.
    pub(crate) reason: String,
    /// There is nothing to wait for.
    pub(crate) stands: bool,
}

// === impl Standing ===

impl Standing {
    /// For one line.
    pub(crate) fn whole(&self) -> String {
        match self.reason.as_str() {
            "" => self.line.clone(),
            reason => format!("{}: {reason}", self.line),
        }
    }
}

/// A task at one of its targets. `name`: what it is called.
pub(crate) fn task(name: &str, task: &TaskView) -> Standing {
    let (ready, wanted) = (task.ready, task.replicas);
    let stands = matches!(
        task.status,
        Status::Running | Status::Idle | Status::Completed
    );
    let line = match task.status {
        Status::Idle => format!("{name}: idle"),
        Status::Completed => format!("{name}: completed"),
        Status::Failed => format!("{name}: failed, {ready}/{wanted} ready"),
        _ => format!("{name}: {ready}/{wanted} ready"),
    };
    let awaited = if stands { None } else { awaited(task) };
    Standing {
        line: awaited.map_or(line.clone(), |what| format!("{line}, waiting for {what}")),
        reason: if stands {
            String::new()
        } else {
            beside(reason(task))
        },
        stands,
    }
}

/// A task of a deployment that is being deleted.
pub(crate) fn ending(name: &str, task: &TaskView) -> Standing {
    let left: u32 = task.allocations.iter().map(|a| a.replicas).sum();
    let stands = left == 0;
    Standing {
        line: match stands {
            true => format!("{name}: ended"),
            false => format!("{name}: {} to end", replicas(left)),
        },
        reason: match stands {
            true => String::new(),
            false => task.failure.iter().map(|f| f.message.clone()).collect(),
        },
        stands,
    }
}

/// What is to be said of a deployment beside its tasks.
pub(crate) fn deployment(view: &DeploymentView) -> Option<Standing> {
    let summary = &view.summary;
    let told = |task: &TaskView| {
        let reason = reason(task);
        !reason.is_empty() && summary.message.contains(&reason)
    };
    let stands = summary.status.is_settled();
    let silent = summary.message.is_empty() || stands || view.tasks.iter().any(told);
    (!silent).then(|| Standing {
        line: format!("{}: {}", summary.name, summary.message),
        reason: String::new(),
        stands: false,
    })
}

fn awaited(task: &TaskView) -> Option<String> {
    let current: Vec<&AllocationView> = task.allocations.iter().filter(|a| is_current(a)).collect();
    let mut groups: BTreeMap<(Step, String), u32> = BTreeMap::new();
    for allocation in &current {
        let at = place(&allocation.provider, &allocation.region);
        for (step, count) in missing(allocation, task.kind == "job") {
            *groups.entry((step, at.clone())).or_default() += count;
        }
    }
    let placed: u32 = current.iter().map(|a| a.replicas).sum();
    let mut parts = Vec::new();
    match task.replicas.saturating_sub(placed) {
        0 => {}
        1 if task.replicas == 1 => parts.push("a place".to_owned()),
        count => parts.push(format!("places of {}", replicas(count))),
    }
    let several = groups.len();
    let shown = groups.into_iter().take(GROUPS);
    parts.extend(shown.map(|((step, at), count)| {
        let step = step.as_str();
        format!("{} {step} at {at}", replicas(count))
    }));
    if let Some(rest) = several.checked_sub(GROUPS).filter(|rest| *rest > 0) {
        parts.push(format!("{rest} more"));
    }
    if parts.is_empty() {
        // All that is wanted is there.
        let old = task.allocations.iter().filter(|a| !is_current(a));
        match old.map(|a| a.replicas).sum::<u32>() {
            0 => {}
            old => parts.push(format!(
                "{} to end",
                counted(old, "old replica", "old replicas")
            )),
        }
    }
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// What replicas have before them until they are ready, the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    End,
    Health,
    Again,
    Start,
    Made,
}

impl Step {
    fn as_str(self) -> &'static str {
        match self {
            Self::End => "to end",
            Self::Health => "to become healthy",
            Self::Again => "to be started again",
            Self::Start => "to start",
            Self::Made => "to be made",
        }
    }
}

fn is_current(allocation: &AllocationView) -> bool {
    !allocation.superseded && !matches!(allocation.phase, Phase::Stopping | Phase::Gone)
}

/// How many replicas of an allocation are not ready, by what they wait for.
fn missing(allocation: &AllocationView, is_job: bool) -> Vec<(Step, u32)> {
    let runs = if is_job { Step::End } else { Step::Health };
    let mut left = allocation.replicas.saturating_sub(allocation.ready);
    let phases = allocation
        .replica_status
        .iter()
        .map(|replica| replica.phase);
    let count = |step: fn(Phase) -> bool| phases.clone().filter(|phase| step(*phase)).count();
    let steps = [
        (Step::Start, count(|p| p == Phase::Starting)),
        (
            Step::Again,
            count(|p| matches!(p, Phase::Failed | Phase::Gone | Phase::Stopping)),
        ),
        (Step::Made, count(|p| p == Phase::Pending)),
    ];
    let mut found = Vec::new();
    for (step, count) in steps {
        let count = u32::try_from(count).unwrap_or(u32::MAX).min(left);
        left -= count;
        found.push((step, count));
    }
    // What its provider says nothing of, or says to run.
    let rest = match allocation.phase {
        _ if !allocation.replica_status.is_empty() => runs,
        Phase::Pending => Step::Made,
        Phase::Failed => Step::Again,
        Phase::Running => runs,
        _ => Step::Start,
    };
    found.push((rest, left));
    found.retain(|(_, count)| *count > 0);
    found
}

fn replicas(count: u32) -> String {
    counted(count, "replica", "replicas")
}

/// Without what the line says already.
fn beside(reason: String) -> String {
    match reason.split_once(" no place: ") {
        Some((_, why)) => why.to_owned(),
        None => reason,
    }
}

/// The first that is said: of the task, of what is not ready of it, of a replica.
fn reason(task: &TaskView) -> String {
    let failure = task.failure.iter().map(|failure| failure.message.as_str());
    let late = task
        .allocations
        .iter()
        .filter(|a| is_current(a) && a.ready < a.replicas);
    let of_allocation = late.flat_map(|a| {
        let replicas = a.replica_status.iter().map(|r| r.message.as_str());
        std::iter::once(a.message.as_str())
            .chain([a.recovery.reason.as_str()])
            .chain(replicas)
    });
    let mut said = std::iter::once(task.message.as_str())
        .chain(failure)
        .chain(of_allocation);
    said.find(|said| !said.is_empty())
        .unwrap_or_default()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn of(kind: &str, status: &str, counts: (u32, u32), message: &str, places: Value) -> String {
        let task: TaskView = serde_json::from_value(json!({
            "name": "web", "kind": kind, "status": status, "ready": counts.0, "replicas": counts.1,
            "message": message, "allocations": places,
        }))
        .unwrap();
        match status {
            "deleting" => ending("web", &task).whole(),
            _ => super::task("web", &task).whole(),
        }
    }

    fn at(region: &str, counts: (u32, u32), phases: &[&str], more: Value) -> Value {
        let replicas: Vec<Value> = (0..)
            .zip(phases)
            .map(|(i, phase)| json!({"index": i, "id": "", "phase": phase, "health": "unknown"}))
            .collect();
        let mut allocation = json!({
            "id": "a", "provider": "north", "region": region, "zone": "", "size": "", "offer": "o", "spot": false,
            "ready": counts.0, "replicas": counts.1, "phase": "starting", "hourlyCost": "0", "endpoints": [],
            "replicaStatus": replicas, "message": "", "superseded": false, "createdAt": "2026-01-01T00:00:00Z",
        });
        let (Some(allocation_fields), Value::Object(more)) = (allocation.as_object_mut(), more)
        else {
            unreachable!()
        };
        allocation_fields.extend(more);
        allocation
    }

    #[test]
    fn a_line_says_what_is_waited_for_and_why() {
        let started = at(
            "eu",
            (1, 3),
            &["running", "starting", "starting"],
            json!({}),
        );
        let made = at(
            "us",
            (0, 1),
            &[],
            json!({"phase": "pending", "message": "quota"}),
        );
        let unwell = at("eu", (0, 1), &["running"], json!({"phase": "running"}));
        let old = at("eu", (1, 1), &["running"], json!({"superseded": true}));
        let good = at("eu", (1, 1), &["running"], json!({}));
        for (found, expected) in [
            (
                of(
                    "service",
                    "pending",
                    (0, 2),
                    "2 replicas have no place: full",
                    json!([]),
                ),
                "web: 0/2 ready, waiting for places of 2 replicas: full",
            ),
            (
                of("service", "pending", (0, 1), "", json!([])),
                "web: 0/1 ready, waiting for a place",
            ),
            (
                of("service", "progressing", (1, 4), "", json!([started, made])),
                "web: 1/4 ready, waiting for 2 replicas to start at north/eu, 1 replica to be made at north/us: quota",
            ),
            (
                of(
                    "service",
                    "degraded",
                    (0, 1),
                    "its readiness probe fails",
                    json!([unwell]),
                ),
                "web: 0/1 ready, waiting for 1 replica to become healthy at north/eu: its readiness probe fails",
            ),
            (
                of("service", "progressing", (1, 1), "", json!([good, old])),
                "web: 1/1 ready, waiting for 1 old replica to end",
            ),
            (
                of(
                    "job",
                    "progressing",
                    (0, 2),
                    "",
                    json!([at("eu", (0, 2), &["running", "running"], json!({}))]),
                ),
                "web: 0/2 ready, waiting for 2 replicas to end at north/eu",
            ),
            (
                of("service", "running", (1, 1), "so", json!([good])),
                "web: 1/1 ready",
            ),
            (
                of("service", "deleting", (1, 1), "", json!([good, old])),
                "web: 2 replicas to end",
            ),
            (
                of("service", "deleting", (0, 1), "", json!([])),
                "web: ended",
            ),
            (
                of("job", "completed", (1, 1), "", json!([])),
                "web: completed",
            ),
        ] {
            assert_eq!(found, expected);
        }
    }
}
