//! Following one deployment until it is as wanted, through lost connections, up to a deadline.

use std::time::Duration;

use futures::StreamExt;
use tokio::time::{Instant, sleep, timeout_at};
use tradewind_api::{DeploymentView, Status};
use tradewind_core::{
    names::Namespace,
    rollout::{self, Cause},
    units::Millis,
};

use crate::{Context, Error, client, progress::Progress};

/// Between two tries to reach a daemon that went away while we waited.
const RETRY: Duration = Duration::from_millis(500);

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Goal {
    /// This generation, or a later one, runs or has completed.
    Running {
        generation: u64,
    },
    Gone,
}

impl Goal {
    fn wanted(self) -> &'static str {
        match self {
            Self::Running { .. } => "running",
            Self::Gone => "gone",
        }
    }
}

/// The view that reached the goal; none when it is gone.
///
/// # Errors
/// `TimedOut`, `Failed`, `Deleted`, and whatever the first request is answered with.
pub(super) async fn until(
    context: &Context,
    namespace: &Namespace,
    name: &str,
    goal: Goal,
    timeout: Millis,
) -> Result<Option<DeploymentView>, Error> {
    let deadline = Instant::now() + timeout.std();
    let mut progress = Progress::new(context.output.is_for_people());
    let mut last: Option<DeploymentView> = None;
    loop {
        let followed = timeout_at(
            deadline,
            follow(context, namespace, name, goal, &mut last, &mut progress),
        )
        .await;
        match followed {
            Ok(Ok(Some(reached))) => {
                progress.finish();
                return reached;
            }
            // The stream ended, or could not be opened: the daemon restarts, or is gone for good.
            Ok(Ok(None)) => {}
            Ok(Err(client::Error::Unreachable { .. })) if last.is_some() => {}
            Ok(Err(e)) => return Err(e.into()),
            Err(_) => {
                progress.finish();
                let message = last
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
    last: &mut Option<DeploymentView>,
    progress: &mut Progress,
) -> Result<Option<Reached>, client::Error> {
    let path = ["v1", "deployments", name];
    let gone = || match goal {
        Goal::Gone => Ok(None),
        Goal::Running { .. } => Err(Error::Deleted {
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
                let outcome = judge(&view, goal);
                let done = match outcome {
                    Some(Ok(())) => Some(Ok(Some(view.clone()))),
                    Some(Err(e)) => Some(Err(e)),
                    None => None,
                };
                *last = Some(view);
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
fn judge(view: &DeploymentView, goal: Goal) -> Option<Result<(), Error>> {
    let Goal::Running { generation } = goal else {
        return None;
    };
    let summary = &view.summary;
    let name = || summary.name.to_string();
    let failed = || Error::Failed {
        namespace: summary.namespace.clone(),
        name: name(),
        message: state(view),
    };
    match summary.status {
        Status::Deleting => Some(Err(Error::Deleted { name: name() })),
        _ if view.observed_generation < generation => None,
        _ if returned(view, generation) => Some(Err(failed())),
        // It waits for someone: there is nothing to wait for here.
        Status::Progressing if waits(view) => Some(Ok(())),
        Status::Running | Status::Idle | Status::Completed => Some(Ok(())),
        Status::Failed => Some(Err(failed())),
        Status::Pending | Status::Progressing | Status::Degraded => None,
    }
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
        .is_some_and(|r| r.status == rollout::Status::Waiting)
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
