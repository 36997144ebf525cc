//! `restart`, `rollout pause` and `rollout resume`.

use reqwest::Method;
use tradewind_api::{Accepted, Outcome};

use super::apply;
use crate::{Context, Error, args::Restart, client::Body};

pub(super) async fn run(context: &Context, args: Restart) -> Result<(), Error> {
    let mut query = context.namespace();
    query.extend(args.task.map(|task| ("task", task)));
    query.extend(args.reason.map(|reason| ("reason", reason)));
    let accepted = post(context, &args.name, "restart", &query).await?;
    if args.detach {
        return context.output.show(&accepted, |_| {
            format!(
                "deployment \"{}\" restarts (generation {})",
                accepted.name, accepted.generation
            )
        });
    }
    apply::follow(context, (args.name.clone(), accepted), false, args.timeout).await
}

pub(super) async fn pause(context: &Context, name: &str) -> Result<(), Error> {
    let accepted = post(context, name, "pause", &context.namespace()).await?;
    let said = match accepted.outcome {
        Outcome::Unchanged => "was paused before",
        _ => "is paused",
    };
    told(context, &accepted, said)
}

pub(super) async fn resume(context: &Context, name: &str) -> Result<(), Error> {
    let accepted = post(context, name, "resume", &context.namespace()).await?;
    told(context, &accepted, "goes on")
}

fn told(context: &Context, accepted: &Accepted, said: &str) -> Result<(), Error> {
    context.output.show(accepted, |_| {
        format!(
            "the update of deployment \"{}\" to generation {} {said}",
            accepted.name, accepted.generation
        )
    })
}

async fn post(
    context: &Context,
    name: &str,
    action: &str,
    query: &[(&'static str, String)],
) -> Result<Accepted, Error> {
    let path = ["v1", "deployments", name, action];
    Ok(context
        .client
        .send(Method::POST, &path, query, Body::Empty)
        .await?)
}
