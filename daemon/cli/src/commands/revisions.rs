//! `revisions`, `rollback`, `promote` and `abort`.

use reqwest::Method;
use tradewind_api::{Accepted, Page, RevisionMark, RollbackTo};

use super::{
    lists, shown,
    wait::{self, Goal},
};
use crate::{
    Context, Error,
    args::{self, Rollback},
    client::Body,
    render,
};

pub(super) async fn list(
    context: &Context,
    name: &str,
    args: args::Revisions,
) -> Result<(), Error> {
    let mut query = context.namespace();
    query.extend(args.status.map(|status| ("status", status.to_string())));
    let mut marks: Page<RevisionMark> = lists::read(
        context,
        &["v1", "deployments", name, "revisions"],
        query,
        args.shown.paging(&args.paging),
    )
    .await?;
    let table = shown::arrange(&mut marks.items, &args.shown, &args.paging, |marks| {
        render::revision::table(&context.output, marks)
    })?;
    context.output.list(&marks, &table)
}

pub(super) async fn rollback(context: &Context, args: Rollback) -> Result<(), Error> {
    let body = serde_json::to_value(RollbackTo { to: args.to }).map_err(|e| Error::Encode {
        form: "JSON",
        source: e.into(),
    })?;
    let path = ["v1", "deployments", args.name.as_str(), "rollback"];
    let accepted: Accepted = context
        .client
        .send(Method::POST, &path, &context.namespace(), Body::Json(body))
        .await?;
    if args.detach {
        return context.output.show(&accepted, |_| {
            format!(
                "deployment \"{}\" returns (generation {})",
                accepted.name, accepted.generation
            )
        });
    }
    let goal = Goal::Running {
        generation: accepted.generation,
    };
    let view = wait::until(
        context,
        &accepted.namespace,
        accepted.name.as_str(),
        goal,
        args.timeout,
    )
    .await?;
    match view {
        Some(view) => context
            .output
            .show(&view, |_| render::deployment::outcome(&view)),
        None => Ok(()),
    }
}

/// `promote` and `abort`.
pub(super) async fn act(context: &Context, name: &str, action: &str) -> Result<(), Error> {
    let path = ["v1", "deployments", name, action];
    let accepted: Accepted = context
        .client
        .send(Method::POST, &path, &context.namespace(), Body::Empty)
        .await?;
    context.output.show(&accepted, |_| {
        format!(
            "deployment \"{}\": {action} accepted (generation {})",
            accepted.name, accepted.generation
        )
    })
}
