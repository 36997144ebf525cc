//! `apply`: sends manifests, then follows each deployment until it runs. `run`: has jobs run again, and follows them in the same way.

use std::time::Duration;

use reqwest::Method;
use tokio::time::Instant;
use tradewind_api::{Accepted, DeploymentView, Outcome};
use tradewind_core::units::Millis;

use super::{
    files::{self, Line, Receipt},
    plans,
    wait::{self, Goal},
};
use crate::{
    Context, Error,
    args::{Apply, Run},
    client::{self, Body, Document},
    render,
};

/// What comes after the time is over is still looked at: so long at most.
const LAST_LOOK: Duration = Duration::from_secs(2);

pub(crate) async fn run(context: &Context, args: Apply) -> Result<(), Error> {
    if let Some(plan) = &args.plan {
        let accepted = plans::accept(context, plan).await?;
        return follow(
            context,
            &[(plan.clone(), accepted)],
            args.detach,
            args.timeout,
        )
        .await;
    }
    let documents = files::read(context, &args.files)?;
    files::check(context, &documents, async |document| {
        put(context, document, true).await
    })
    .await?;
    let names: Vec<String> = documents
        .iter()
        .map(|document| document.file.display().to_string())
        .collect();
    let accepted = files::carry_out(context, documents, async |document| {
        put(context, document, false).await
    })
    .await?;
    let accepted: Vec<(String, Accepted)> = names.into_iter().zip(accepted).collect();
    follow(context, &accepted, args.detach, args.timeout).await
}

async fn put(context: &Context, document: Document, dry: bool) -> Result<Accepted, client::Error> {
    let name = document.name();
    let mut query = context.namespace();
    query.extend(dry.then(|| ("dryRun", "true".to_owned())));
    context
        .client
        .send(
            Method::PUT,
            &["v1", "deployments", name.as_str()],
            &query,
            Body::Manifest(document),
        )
        .await
}

/// `run NAME [TASK]`.
pub(crate) async fn again(context: &Context, args: Run) -> Result<(), Error> {
    let mut query = context.namespace();
    query.extend(args.task.map(|task| ("task", task)));
    let path = ["v1", "deployments", args.name.as_str(), "run"];
    let accepted: Accepted = context
        .client
        .send(Method::POST, &path, &query, Body::Empty)
        .await?;
    if args.detach {
        return context.output.show(&accepted, |_| {
            format!(
                "deployment \"{}\" runs again (generation {})",
                accepted.name, accepted.generation
            )
        });
    }
    follow(
        context,
        &[(args.name.clone(), accepted)],
        false,
        args.timeout,
    )
    .await
}

/// Waits until what was accepted runs, unless told not to. Each comes with what it is called in a list.
pub(super) async fn follow(
    context: &Context,
    accepted: &[(String, Accepted)],
    detach: bool,
    timeout: Millis,
) -> Result<(), Error> {
    let receipts: Vec<&Accepted> = accepted.iter().map(|(_, accepted)| accepted).collect();
    if detach {
        return context.output.show_all(&receipts, |_| {
            receipts
                .iter()
                .map(|a| line(a))
                .collect::<Vec<_>>()
                .join("\n")
        });
    }
    let end = Instant::now() + timeout.std();
    let mut reached: Vec<Result<Option<DeploymentView>, Error>> = Vec::new();
    for one in receipts {
        if context.output.is_for_people() {
            eprintln!("{}", line(one));
        }
        let goal = match one.outcome {
            Outcome::Deleting => Goal::Gone,
            _ => Goal::Running {
                generation: one.generation,
            },
        };
        // One time for all: what is slow takes nothing from the others' last look.
        let left = end
            .saturating_duration_since(Instant::now())
            .max(LAST_LOOK.min(timeout.std()));
        let waited = wait::until(
            context,
            &one.namespace,
            one.name.as_str(),
            goal,
            left.into(),
        )
        .await;
        reached.push(waited.map_err(|error| match error {
            Error::TimedOut {
                namespace,
                name,
                wanted,
                message,
                ..
            } => Error::TimedOut {
                namespace,
                name,
                wanted,
                after: timeout,
                message,
            },
            other => other,
        }));
    }
    if accepted.len() > 1 && reached.iter().any(Result::is_err) {
        return Err(told(context, accepted, reached));
    }
    let mut views: Vec<DeploymentView> = Vec::new();
    for one in reached {
        views.extend(one?);
    }
    context.output.show_all(&views, |_| {
        views
            .iter()
            .map(render::deployment::outcome)
            .collect::<Vec<_>>()
            .join("\n")
    })
}

/// Each one's line, when not all have come to run.
fn told(
    context: &Context,
    accepted: &[(String, Accepted)],
    reached: Vec<Result<Option<DeploymentView>, Error>>,
) -> Error {
    let (mut lines, mut errors) = (Vec::new(), Vec::new());
    for ((file, accepted), reached) in accepted.iter().zip(reached) {
        let line = Line {
            file: file.clone(),
            ..accepted.line()
        };
        match reached {
            Ok(view) => {
                let status =
                    view.map_or_else(|| "gone".to_owned(), |view| view.summary.status.to_string());
                lines.push(Line {
                    status: Some(status),
                    ..line
                });
            }
            Err(error) => {
                lines.push(line.failed(&error));
                errors.push(error);
            }
        }
    }
    files::sheet(context, &lines, errors, "all of them were accepted")
}

fn line(accepted: &Accepted) -> String {
    let what = match accepted.outcome {
        Outcome::Created => "created",
        Outcome::Updated => "updated",
        Outcome::Unchanged => "unchanged",
        Outcome::Deleting => "deleting",
    };
    format!(
        "deployment \"{}\" {what} (generation {})",
        accepted.name, accepted.generation
    )
}
