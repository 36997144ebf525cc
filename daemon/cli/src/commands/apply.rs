//! `apply`: sends manifests, then follows each deployment until it runs. `run`: has jobs run again, and follows them in the same way.

use futures::future::join_all;
use reqwest::Method;
use tradewind_api::{Accepted, DeploymentView, Outcome};
use tradewind_core::units::Millis;

use super::{
    about,
    files::{self, Line, Receipt},
    plans, prune,
    wait::{self, Goal},
};
use crate::{
    Context, Error,
    args::{Apply, Run},
    client::{self, Body, Document},
    progress::Progress,
    render,
};

pub(crate) async fn run(context: &Context, args: Apply) -> Result<(), Error> {
    if let Some(plan) = &args.plan {
        let accepted = plans::accept(context, plan).await?;
        return follow(context, (plan.clone(), accepted), args.detach, args.timeout).await;
    }
    let documents = files::read(context, &args.files, &args.reading).await?;
    files::check(context, &documents, async |document| {
        put(context, document, true).await
    })
    .await?;
    let mut sent = Vec::new();
    for document in documents {
        let origin = document.origin.clone();
        let accepted = put(context, document, false).await;
        sent.push((origin.to_string(), accepted.map_err(about(origin))));
    }
    // Nothing is deleted where something was refused.
    let kept: Option<Vec<_>> = sent
        .iter()
        .map(|(_, sent)| sent.as_ref().ok().map(|a| (&a.namespace, &a.name)))
        .collect();
    if let (Some(selector), Some(kept)) = (&args.selector, kept) {
        let surplus = prune::surplus(context, selector, &kept).await?;
        sent.extend(prune::delete(context, surplus).await);
    }
    follow_all(context, sent, args.detach, args.timeout).await
}

async fn put(context: &Context, document: Document, dry: bool) -> Result<Accepted, client::Error> {
    let name = document.name();
    let mut query = context.namespace_of(&document);
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
    follow(context, (args.name.clone(), accepted), false, args.timeout).await
}

/// Waits until what was accepted runs, unless told not to. It comes with what it is called in a list.
///
/// # Errors
/// Why it does not run.
pub(super) async fn follow(
    context: &Context,
    (name, accepted): (String, Accepted),
    detach: bool,
    timeout: Millis,
) -> Result<(), Error> {
    follow_all(context, vec![(name, Ok(accepted))], detach, timeout).await
}

/// The same for several, side by side: what is slow or refused takes nothing from the others.
async fn follow_all(
    context: &Context,
    sent: Vec<(String, Result<Accepted, Error>)>,
    detach: bool,
    timeout: Millis,
) -> Result<(), Error> {
    let several = sent.len() > 1;
    let progress = Progress::new(context.output.is_for_people(), several);
    if !detach && context.output.is_for_people() {
        let accepted = sent.iter().filter_map(|(_, sent)| sent.as_ref().ok());
        accepted.for_each(|one| eprintln!("{}", line(one)));
    }
    let waits = sent.into_iter().map(async |(name, sent)| {
        let accepted = match sent {
            Ok(accepted) => accepted,
            Err(error) => return (name, Err((None, error))),
        };
        if detach {
            return (name, Ok((accepted, None)));
        }
        let goal = match accepted.outcome {
            Outcome::Deleting => Goal::Gone,
            _ => Goal::Running {
                generation: accepted.generation,
            },
        };
        let of = (&accepted.namespace, accepted.name.as_str());
        let reached = wait::shown(context, of.0, of.1, goal, timeout, &progress).await;
        match reached {
            Ok(view) => (name, Ok((accepted, view))),
            Err(error) => (name, Err((Some(accepted), error))),
        }
    });
    let reached: Vec<(String, Reached)> = join_all(waits).await;
    progress.finish(reached.iter().all(|(_, reached)| reached.is_ok()));
    if several && reached.iter().any(|(_, reached)| reached.is_err()) {
        return Err(told(context, reached, detach));
    }
    let mut done = Vec::new();
    for (_, reached) in reached {
        done.push(reached.map_err(|(_, error)| error)?);
    }
    if detach {
        let receipts: Vec<&Accepted> = done.iter().map(|(accepted, _)| accepted).collect();
        let lines = || receipts.iter().map(|a| line(a)).collect::<Vec<_>>();
        return context.output.show_all(&receipts, |_| lines().join("\n"));
    }
    let lines: Vec<String> = done
        .iter()
        .map(|(accepted, view)| match view {
            Some(view) => render::deployment::outcome(view),
            None => gone(accepted),
        })
        .collect();
    let views: Vec<DeploymentView> = done.into_iter().filter_map(|(_, view)| view).collect();
    context.output.show_all(&views, |_| lines.join("\n"))
}

/// What was accepted, and how it looks in the end; or what was accepted at all, and why it came to nothing.
type Reached = Result<(Accepted, Option<DeploymentView>), (Option<Accepted>, Error)>;

pub(super) fn gone(accepted: &Accepted) -> String {
    format!("deployment \"{}\" is gone", accepted.name)
}

/// Each one's line, when not all have come to run.
fn told(context: &Context, reached: Vec<(String, Reached)>, detach: bool) -> Error {
    let (mut lines, mut errors, mut refused) = (Vec::new(), Vec::new(), false);
    for (file, reached) in reached {
        match reached {
            Ok((accepted, view)) => {
                let status =
                    view.map_or_else(|| "gone".to_owned(), |view| view.summary.status.to_string());
                lines.push(Line {
                    file,
                    status: (!detach).then_some(status),
                    ..accepted.line()
                });
            }
            Err((accepted, error)) => {
                refused |= accepted.is_none();
                let line = match accepted {
                    Some(accepted) => accepted.line(),
                    None => Line {
                        outcome: "refused",
                        ..Line::default()
                    },
                };
                lines.push(Line { file, ..line }.failed(&error));
                errors.push(error);
            }
        }
    }
    let summary = if refused {
        "the others were accepted"
    } else {
        "all of them were accepted"
    };
    files::sheet(&context.output, &lines, errors, summary)
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
