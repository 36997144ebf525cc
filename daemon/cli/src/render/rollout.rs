//! Where an update stands, in a line: the step, its share, since when, and what comes next.

use std::time::{SystemTime, UNIX_EPOCH};

use tradewind_api::{DeploymentView, RolloutView, command};
use tradewind_core::{
    manifest::UpdateSpec,
    rollout::{CanaryStep, Cause, Status, Strategy},
    units::{Instant, Millis},
};

/// This moment.
pub(crate) fn now() -> Instant {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    Instant(since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }))
}

/// The whole account: revision, step, age, and what comes next.
pub(crate) fn headline(view: &DeploymentView, now: Instant) -> String {
    let Some(rollout) = &view.rollout else {
        return String::new();
    };
    let before = rollout
        .from
        .map(|n| format!(", before it {n}"))
        .unwrap_or_default();
    let age = Millis(now.0.saturating_sub(rollout.started_at.0) / 1000 * 1000);
    let how = step(view).unwrap_or_else(|| rollout.status.as_str().to_owned());
    let mut text = format!(
        "revision {}{before}: {how}, began {age} ago",
        rollout.generation
    );
    let message = match (rollout.status, rollout.reason.as_str()) {
        // What comes next says it.
        (Status::Waiting | Status::Keeping, _) => "",
        (_, "") => view.summary.message.as_str(),
        (_, reason) => reason,
    };
    if !message.is_empty() && !text.contains(message) {
        text = format!("{text} ({message})");
    }
    match next(view, rollout) {
        Some(next) => format!("{text}\n  next: {next}"),
        None => text,
    }
}

/// The stage of an update that has stages. None: it has none, or is over.
pub(crate) fn step(view: &DeploymentView) -> Option<String> {
    let rollout = view.rollout.as_ref()?;
    let is_back = matches!(
        rollout.cause,
        Cause::Rollback | Cause::Abort | Cause::Failure
    );
    // The first version, and one that has been before, come without stages.
    let steps = match rollout.from {
        Some(_) if !is_back => steps(view),
        _ => Vec::new(),
    };
    let at = usize::try_from(rollout.step).ok()?;
    let stage = match steps.get(at) {
        Some(step) => format!("step {} of {} ({})", at + 1, steps.len(), step.weight),
        None => "all replicas".to_owned(),
    };
    match rollout.status {
        Status::Waiting if !steps.is_empty() => Some(format!("waiting at {stage}")),
        Status::Progressing if !steps.is_empty() => Some(format!("progressing to {stage}")),
        Status::Keeping => {
            Some("the new version has taken over, the old replicas stay for a while".to_owned())
        }
        _ => None,
    }
}

fn next(view: &DeploymentView, rollout: &RolloutView) -> Option<String> {
    let (namespace, name) = (&view.summary.namespace, &view.summary.name);
    let promote = command(namespace, &format!("promote {name}"));
    let abort = command(namespace, &format!("abort {name}"));
    let steps = steps(view);
    let at = usize::try_from(rollout.step).ok()?;
    match rollout.status {
        Status::Waiting => {
            let target = match steps.get(at + 1) {
                Some(step) => format!("step {} of {} ({})", at + 2, steps.len(), step.weight),
                None => "all replicas".to_owned(),
            };
            Some(match steps.get(at).and_then(|step| step.hold) {
                Some(hold) => format!(
                    "{target}, when this step has lasted {hold}; {promote} goes on now, {abort} returns"
                ),
                None => format!("{target}, when somebody says {promote}; {abort} returns"),
            })
        }
        Status::Keeping => Some(format!(
            "the old replicas end by themselves; {promote} ends them now, {abort} returns to them"
        )),
        _ => None,
    }
}

/// The stages of the canary with most of them.
fn steps(view: &DeploymentView) -> Vec<CanaryStep> {
    let spec = &view.manifest.spec;
    let updates = spec
        .services
        .values()
        .map(|service| UpdateSpec::resolve(spec.update.as_ref(), service.update.as_ref()));
    updates
        .filter(|update| update.strategy == Strategy::Canary)
        .map(|update| update.steps)
        .max_by_key(Vec::len)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn canary(status: &str, step: u32) -> DeploymentView {
        serde_json::from_value(json!({
            "namespace": "team", "name": "web", "generation": 3, "status": "progressing", "ready": 2,
            "replicas": 2, "places": [], "hourlyCost": "0", "createdAt": "2026-01-01T00:00:00Z",
            "updatedAt": "2026-01-01T00:00:00Z", "message": "", "observedGeneration": 3, "tasks": [],
            "rollout": {"generation": 3, "status": status, "cause": "put", "from": 2, "step": step,
                "startedAt": "2026-01-01T00:00:00Z"},
            "manifest": {"apiVersion": "tradewind.dev/v1", "kind": "CloudDeployment", "metadata": {"name": "web"},
                "spec": {"services": {"web": {"command": ["a"], "update": {"strategy": "canary",
                    "steps": [{"weight": "25%"}, {"weight": "50%", "hold": "10m"}]}}}}},
        }))
        .unwrap()
    }

    #[test]
    fn a_canary_says_where_it_is_and_what_comes_next() {
        let at = Instant(canary("waiting", 0).rollout.unwrap().started_at.0 + 200_400);
        for (status, step, text) in [
            (
                "waiting",
                0,
                "revision 3, before it 2: waiting at step 1 of 2 (25%), began 3m 20s ago\n  next: step 2 of 2 (50%), when somebody says \
                 `tradewind -n team promote web`; `tradewind -n team abort web` returns",
            ),
            (
                "waiting",
                1,
                "revision 3, before it 2: waiting at step 2 of 2 (50%), began 3m 20s ago\n  next: all replicas, when this step has lasted \
                 10m; `tradewind -n team promote web` goes on now, `tradewind -n team abort web` returns",
            ),
            (
                "progressing",
                2,
                "revision 3, before it 2: progressing to all replicas, began 3m 20s ago",
            ),
            ("done", 2, "revision 3, before it 2: done, began 3m 20s ago"),
        ] {
            assert_eq!(headline(&canary(status, step), at), text);
        }
    }
}
