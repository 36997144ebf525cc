//! Following one deployment until it is as wanted, through lost connections, up to a deadline.

use std::time::Duration;

use futures::StreamExt;
use tokio::time::{Instant, sleep, timeout_at};
use tradewind_api::{DeploymentView, Status};
use tradewind_core::{
    manifest::UpdateSpec,
    names::Namespace,
    rollout::{self, Cause},
    units::Millis,
};

use crate::{Context, Error, args::Condition, client, progress::Progress};

/// Between two tries to reach a daemon that went away while we waited.
const RETRY: Duration = Duration::from_millis(500);

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Goal {
    /// This generation, or a later one, runs or has completed.
    Running {
        generation: u64,
    },
    /// The update to this generation, or to a later one, is over.
    RolledOut {
        generation: u64,
    },
    /// Whatever its generation is.
    Meets(Condition),
    Gone,
}

impl Goal {
    fn wanted(self) -> &'static str {
        match self {
            Self::Running { .. } => "running",
            Self::RolledOut { .. } => "rolled out",
            Self::Meets(condition) => condition.as_str(),
            Self::Gone => "gone",
        }
    }

    fn is_gone(self) -> bool {
        matches!(self, Self::Gone | Self::Meets(Condition::Gone))
    }

    /// The generation whose update counts, where one does.
    fn generation(self) -> Option<u64> {
        match self {
            Self::Running { generation } | Self::RolledOut { generation } => Some(generation),
            Self::Meets(_) | Self::Gone => None,
        }
    }
}

/// What has been seen of a deployment.
#[derive(Default)]
struct Seen {
    last: Option<DeploymentView>,
    /// The update that failed and makes way for what was healthy before it.
    failed: Option<FailedUpdate>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct FailedUpdate {
    to: u64,
    from: u64,
    reason: String,
}

/// The view that reached the goal; none when it is gone.
///
/// # Errors
/// `TimedOut`, `Failed`, `UpdateFailed`, `Deleted`, and whatever the first request is answered with.
pub(super) async fn until(
    context: &Context,
    namespace: &Namespace,
    name: &str,
    goal: Goal,
    timeout: Millis,
) -> Result<Option<DeploymentView>, Error> {
    let progress = Progress::new(context.output.is_for_people(), false);
    let reached = shown(context, namespace, name, goal, timeout, &progress).await;
    progress.finish(reached.is_ok());
    reached
}

/// The same with a display that others write to as well.
///
/// # Errors
/// As for `until`.
pub(super) async fn shown(
    context: &Context,
    namespace: &Namespace,
    name: &str,
    goal: Goal,
    timeout: Millis,
    progress: &Progress,
) -> Result<Option<DeploymentView>, Error> {
    let deadline = Instant::now() + timeout.std();
    let mut seen = Seen::default();
    loop {
        let followed = timeout_at(
            deadline,
            follow(context, namespace, name, goal, &mut seen, progress),
        )
        .await;
        match followed {
            Ok(Ok(Some(reached))) => return reached,
            // The stream ended, or could not be opened: the daemon restarts, or is gone for good.
            Ok(Ok(None)) => {}
            Ok(Err(client::Error::Unreachable { .. })) if seen.last.is_some() => {}
            Ok(Err(e)) => return Err(e.into()),
            Err(_) => {
                if let (Some(failed), Some(view)) = (&seen.failed, &seen.last) {
                    return Err(failed.error(view));
                }
                let message = seen
                    .last
                    .map(|v| state(&v))
                    .unwrap_or_else(|| "nothing is known of it".to_owned());
                return Err(Error::TimedOut {
                    namespace: namespace.clone(),
                    name: name.to_owned(),
                    wanted: goal.wanted(),
                    after: timeout,
                    message,
                });
            }
        }
        sleep(RETRY).await;
    }
}

type Reached = Result<Option<DeploymentView>, Error>;

/// One stream's worth. None: it ended without an outcome.
async fn follow(
    context: &Context,
    namespace: &Namespace,
    name: &str,
    goal: Goal,
    seen: &mut Seen,
    progress: &Progress,
) -> Result<Option<Reached>, client::Error> {
    let path = ["v1", "deployments", name];
    let gone = || match goal.is_gone() {
        true => Ok(None),
        false => Err(Error::Deleted {
            name: name.to_owned(),
        }),
    };
    let mut events = match context
        .client
        .follow(&path, &[("namespace", namespace.to_string())])
        .await
    {
        Ok(events) => events,
        Err(e) if e.is_not_found() => return Ok(Some(gone())),
        Err(e) => return Err(e),
    };
    while let Some(event) = events.next().await {
        let event = event?;
        match event.name.as_str() {
            "gone" => return Ok(Some(gone())),
            "deployment" => {
                let Ok(view) = serde_json::from_str::<DeploymentView>(&event.data) else {
                    continue;
                };
                progress.show(&view);
                let outcome = judge(&view, goal, &mut seen.failed);
                let done = match outcome {
                    Some(Ok(())) => Some(Ok(Some(view.clone()))),
                    Some(Err(e)) => Some(Err(e)),
                    None => None,
                };
                seen.last = Some(view);
                if done.is_some() {
                    return Ok(done);
                }
            }
            _ => {}
        }
    }
    Ok(None)
}

/// Whether the goal is reached, or can't be any more.
fn judge(
    view: &DeploymentView,
    goal: Goal,
    failed_update: &mut Option<FailedUpdate>,
) -> Option<Result<(), Error>> {
    if goal.is_gone() {
        return None;
    }
    let summary = &view.summary;
    let name = || summary.name.to_string();
    let failed = |message: String| {
        Some(Err(Error::Failed {
            namespace: summary.namespace.clone(),
            name: name(),
            message,
        }))
    };
    let status = summary.status;
    if let Goal::Meets(Condition::Status(wanted)) = goal
        && status == wanted
    {
        return Some(Ok(()));
    }
    if status == Status::Deleting {
        return Some(Err(Error::Deleted { name: name() }));
    }
    let generation = goal.generation().unwrap_or(summary.generation);
    if view.observed_generation < generation {
        return None;
    }
    if let Goal::Meets(condition) = goal {
        let stands = matches!(status, Status::Running | Status::Idle | Status::Completed);
        return match condition {
            Condition::Status(_) | Condition::Gone => None,
            Condition::Completed if status == Status::Completed => Some(Ok(())),
            Condition::Completed if !view.manifest.spec.services.is_empty() => {
                failed("it has services, which never complete".to_owned())
            }
            Condition::Running if stands => Some(Ok(())),
            Condition::Healthy if stands && is_over(view) => Some(Ok(())),
            _ if status == Status::Failed && returns(view).is_none() => failed(state(view)),
            _ => None,
        };
    }
    // It goes back by itself: what serves then is known when it is there.
    if let Some(update) = returns(view).filter(|update| update.to >= generation) {
        *failed_update = Some(update);
        return None;
    }
    if returned(view, generation) {
        let is_back = status.is_settled() || is_over(view);
        return match failed_update {
            Some(update) if is_back => Some(Err(update.error(view))),
            Some(_) => None,
            None => failed(state(view)),
        };
    }
    match status {
        Status::Failed => failed(state(view)),
        _ if matches!(goal, Goal::RolledOut { .. }) => is_over(view).then_some(Ok(())),
        // It waits for someone: there is nothing to wait for here.
        Status::Progressing | Status::Waiting if waits(view) => Some(Ok(())),
        Status::Running | Status::Idle | Status::Completed => Some(Ok(())),
        _ => None,
    }
}

/// Whether the update to the present generation is over: the new version has taken over.
fn is_over(view: &DeploymentView) -> bool {
    view.rollout.as_ref().is_none_or(|rollout| {
        matches!(
            rollout.status,
            rollout::Status::Done | rollout::Status::Keeping
        )
    })
}

/// The update that has failed and will make way for the last healthy revision, if that is how it is.
fn returns(view: &DeploymentView) -> Option<FailedUpdate> {
    let rollout = view.rollout.as_ref()?;
    let spec = &view.manifest.spec;
    let rolls_back = spec
        .services
        .values()
        .any(|service| UpdateSpec::resolve(spec.update.as_ref(), service.update.as_ref()).rollback);
    let is_back = matches!(
        rollout.cause,
        Cause::Rollback | Cause::Abort | Cause::Failure
    );
    let failed = rollout.status == rollout::Status::Failed && !is_back;
    let mut reason = rollout.reason.clone();
    let said = view.tasks.iter().map(|task| task.message.as_str());
    for said in said.filter(|said| !said.is_empty()) {
        if !reason.contains(said) && !said.contains(&reason) {
            reason = format!("{reason} ({said})");
        }
    }
    (failed && rolls_back).then_some(FailedUpdate {
        to: rollout.generation,
        from: rollout.from?,
        reason,
    })
}

/// Whether a failed update has made way for what was healthy before it.
fn returned(view: &DeploymentView, generation: u64) -> bool {
    view.rollout
        .as_ref()
        .is_some_and(|r| r.generation > generation && r.cause == Cause::Failure)
}

fn waits(view: &DeploymentView) -> bool {
    view.rollout
        .as_ref()
        .is_some_and(|r| matches!(r.status, rollout::Status::Waiting | rollout::Status::Paused))
}

impl FailedUpdate {
    /// With what serves now.
    fn error(&self, view: &DeploymentView) -> Error {
        let summary = &view.summary;
        let (ready, wanted) = (summary.ready, summary.replicas);
        let serving = match ready {
            0 => "nothing of it serves".to_owned(),
            _ => format!("revision {} serves {ready}/{wanted}", self.from),
        };
        let reason = match self.reason.as_str() {
            "" => state(view),
            reason => reason.to_owned(),
        };
        Error::UpdateFailed {
            namespace: summary.namespace.clone(),
            name: summary.name.to_string(),
            to: self.to,
            reason,
            serving,
        }
    }
}

/// What is to be said of a deployment that is not as it should be.
fn state(view: &DeploymentView) -> String {
    let mut parts = vec![view.summary.message.clone()];
    for task in view
        .tasks
        .iter()
        .filter(|t| !matches!(t.status, Status::Running | Status::Idle | Status::Completed))
    {
        let said = if task.message.is_empty() {
            task.failure
                .as_ref()
                .map(|f| f.message.clone())
                .unwrap_or_default()
        } else {
            task.message.clone()
        };
        if !said.is_empty() && !parts.iter().any(|p| p.contains(&said)) {
            parts.push(format!("{}: {said}", task.name));
        }
    }
    parts.retain(|p| !p.is_empty());
    if parts.is_empty() {
        format!("it is {}", view.summary.status)
    } else {
        parts.join("; ")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn view(generation: u64, status: &str, rollout: serde_json::Value) -> DeploymentView {
        serde_json::from_value(json!({
            "namespace": "team", "name": "web", "generation": generation, "status": status, "ready": 2,
            "replicas": 2, "places": [], "hourlyCost": "0", "createdAt": "2026-01-01T00:00:00Z",
            "updatedAt": "2026-01-01T00:00:00Z", "message": "", "observedGeneration": generation,
            "rollout": rollout, "tasks": [],
            "manifest": {"apiVersion": "tradewind.dev/v1", "kind": "CloudDeployment", "metadata": {"name": "web"},
                "spec": {"services": {"web": {"command": ["a"]}}}},
        }))
        .unwrap()
    }

    fn rollout(generation: u64, status: &str, cause: &str) -> serde_json::Value {
        json!({"generation": generation, "status": status, "cause": cause, "from": 2, "step": 0,
            "startedAt": "2026-01-01T00:00:00Z", "reason": "web/0 ends again and again"})
    }

    #[test]
    fn a_failed_update_is_told_when_what_was_before_serves_again() {
        let mut failed = None;
        let goal = Goal::Running { generation: 3 };
        let mut step = |view: DeploymentView| judge(&view, goal, &mut failed);
        assert!(step(view(3, "failed", rollout(3, "failed", "put"))).is_none());
        assert!(step(view(4, "progressing", rollout(4, "progressing", "failure"))).is_none());
        let told = step(view(4, "running", rollout(4, "done", "failure")));
        let error = told.unwrap().unwrap_err();
        assert_eq!(error.exit_code(), 1);
        assert_eq!(
            error.to_string(),
            "the update of deployment \"web\" to revision 3 failed: web/0 ends again and again; revision 2 serves 2/2"
        );
    }

    #[test]
    fn conditions_are_met_or_out_of_reach() {
        let done = || rollout(1, "done", "put");
        for (condition, view, code) in [
            (Condition::Running, view(1, "running", done()), Some(0)),
            (Condition::Running, view(1, "degraded", done()), None),
            (Condition::Running, view(1, "failed", done()), Some(1)),
            (Condition::Running, view(1, "deleting", done()), Some(5)),
            (
                Condition::Healthy,
                view(1, "running", rollout(1, "waiting", "put")),
                None,
            ),
            (Condition::Healthy, view(1, "running", done()), Some(0)),
            (Condition::Completed, view(1, "running", done()), Some(1)),
            (
                Condition::Status(Status::Failed),
                view(1, "failed", done()),
                Some(0),
            ),
            (Condition::Gone, view(1, "failed", done()), None),
        ] {
            let judged = judge(&view, Goal::Meets(condition), &mut None);
            let judged = judged.map(|reached| reached.map_or_else(|e| e.exit_code(), |()| 0));
            assert_eq!(judged, code, "{condition:?} {}", view.summary.status);
        }
    }
}
