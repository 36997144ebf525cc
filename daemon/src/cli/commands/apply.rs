//! `apply`: sends manifests, then follows each deployment until it runs.

use reqwest::Method;
use tradewind_core::{
    units::Millis,
    view::{Accepted, DeploymentView, Outcome},
};

use super::{
    about, plans, read,
    wait::{self, Goal},
};
use crate::{
    cli::{Context, Error, args::Apply, render},
    client::Body,
};

pub async fn run(context: &Context, args: Apply) -> Result<(), Error> {
    let mut accepted = Vec::new();
    if let Some(plan) = &args.plan {
        accepted.push(plans::accept(context, plan).await?);
    }
    for document in read(&args.files)? {
        let (file, name) = (document.file.clone(), document.name());
        let path = ["v1", "deployments", name.as_str()];
        let answer: Accepted = context.client.send(Method::PUT, &path, &[], Body::Manifest(document)).await.map_err(about(file))?;
        accepted.push(answer);
    }
    follow(context, &accepted, args.detach, args.timeout).await
}

/// Waits until what was accepted runs, unless told not to.
pub(super) async fn follow(context: &Context, accepted: &[Accepted], detach: bool, timeout: Millis) -> Result<(), Error> {
    if detach {
        return context.output.show_all(accepted, |_| accepted.iter().map(line).collect::<Vec<_>>().join("\n"));
    }
    let mut views: Vec<DeploymentView> = Vec::new();
    for one in accepted {
        if context.output.is_for_people() {
            eprintln!("{}", line(one));
        }
        let goal = match one.outcome {
            Outcome::Deleting => Goal::Gone,
            _ => Goal::Running { generation: one.generation },
        };
        views.extend(wait::until(context, one.namespace.as_str(), one.name.as_str(), goal, timeout).await?);
    }
    context.output.show_all(&views, |_| views.iter().map(render::deployment::outcome).collect::<Vec<_>>().join("\n"))
}

fn line(accepted: &Accepted) -> String {
    let what = match accepted.outcome {
        Outcome::Created => "created",
        Outcome::Updated => "updated",
        Outcome::Unchanged => "unchanged",
        Outcome::Deleting => "deleting",
    };
    format!("deployment \"{}\" {what} (generation {})", accepted.name, accepted.generation)
}
