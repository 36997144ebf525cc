//! `plan`: what applying would change.

use reqwest::Method;
use tradewind_core::view::{ChangeAction, PlanView};

use super::{about, plans, read};
use crate::{
    cli::{Context, Error, args::Plan, render},
    client::Body,
};

/// The exit code that stands for differences.
const DIFFERENT: u8 = 2;
/// The exit code of a manifest that asks for what no provider can ever give.
const NEVER: u8 = 4;

pub async fn run(context: &Context, args: Plan) -> Result<u8, Error> {
    if let Some(command) = args.command {
        return plans::run(context, command).await.map(|()| 0);
    }
    if args.out.is_some() {
        return plans::store(context, args).await.map(|()| 0);
    }
    let mut plans: Vec<PlanView> = Vec::new();
    for document in read(&args.files.files)? {
        let (file, name) = (document.file.clone(), document.name());
        let path = ["v1", "deployments", name.as_str(), "plan"];
        plans.push(context.client.send(Method::POST, &path, &[], Body::Manifest(document)).await.map_err(about(file))?);
    }
    context.output.show_all(&plans, |out| plans.iter().map(|p| render::plan::plan(out, p)).collect::<Vec<_>>().join("\n\n"))?;
    if plans.iter().any(|p| p.unplaced.iter().any(|u| u.never)) {
        return Ok(NEVER);
    }
    let different = plans.iter().any(|p| !p.unplaced.is_empty() || p.changes.iter().any(|c| c.action != ChangeAction::Keep));
    Ok(if args.exit_code && different { DIFFERENT } else { 0 })
}
