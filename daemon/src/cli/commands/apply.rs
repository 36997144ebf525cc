//! `apply`: sends manifests, then follows each deployment until it runs.

use reqwest::Method;
use tradewind_core::view::{Accepted, DeploymentView, Outcome};

use super::{
    about, read,
    wait::{self, Goal},
};
use crate::{
    cli::{Context, Error, args::Apply, render},
    client::Body,
};

pub async fn run(context: &Context, args: Apply) -> Result<(), Error> {
    let mut accepted = Vec::new();
    for document in read(&args.files.files)? {
        let (file, name) = (document.file.clone(), document.name());
        let path = ["v1", "deployments", name.as_str()];
        let answer: Accepted = context.client.send(Method::PUT, &path, &[], Body::Manifest(document)).await.map_err(about(file))?;
        accepted.push(answer);
    }
    if args.detach {
        return context.output.show_all(&accepted, |_| accepted.iter().map(line).collect::<Vec<_>>().join("\n"));
    }
    let mut views: Vec<DeploymentView> = Vec::new();
    for one in &accepted {
        if context.output.is_for_people() {
            eprintln!("{}", line(one));
        }
        views.extend(
            wait::until(context, one.namespace.as_str(), one.name.as_str(), Goal::Running { generation: one.generation }, args.timeout)
                .await?,
        );
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
