//! `plan`: what applying would change.

use reqwest::Method;
use tradewind_api::PlanView;
use tradewind_core::plan::preview::ChangeAction;

use super::{files, plans};
use crate::{
    Context, Error,
    args::Plan,
    client::{self, Body, Document},
    render,
};

/// The exit code that stands for differences.
const DIFFERENT: u8 = 2;
/// The exit code of a manifest that asks for what no provider can ever give.
const NEVER: u8 = 4;

pub(super) async fn run(context: &Context, args: Plan) -> Result<u8, Error> {
    if let Some(command) = args.command {
        return plans::run(context, command).await.map(|()| 0);
    }
    if args.out.is_some() {
        return plans::store(context, args).await.map(|()| 0);
    }
    let documents = files::read(context, &args.files.files)?;
    let plans = files::ask(context, documents, "planned", async |document| {
        draft(context, document).await
    })
    .await?;
    context.output.show_all(&plans, |out| {
        plans
            .iter()
            .map(|p| render::plan::plan(out, p))
            .collect::<Vec<_>>()
            .join("\n\n")
    })?;
    if plans.iter().any(|p| p.unplaced.iter().any(|u| u.never)) {
        return Ok(NEVER);
    }
    let different = plans.iter().any(|p| {
        !p.unplaced.is_empty() || p.changes.iter().any(|c| c.action != ChangeAction::Keep)
    });
    Ok(if args.exit_code && different {
        DIFFERENT
    } else {
        0
    })
}

/// What applying a manifest would change.
pub(super) async fn draft(
    context: &Context,
    document: Document,
) -> Result<PlanView, client::Error> {
    let name = document.name();
    let path = ["v1", "deployments", name.as_str(), "plan"];
    context
        .client
        .send(
            Method::POST,
            &path,
            &context.namespace(),
            Body::Manifest(document),
        )
        .await
}
