//! `plan`: what applying would change.

use reqwest::Method;
use tradewind_api::PlanView;
use tradewind_core::plan::preview::ChangeAction;

use super::{files, plans, prune};
use crate::{
    Context, Error,
    args::{DIFFERENT, Plan},
    client::{self, Body, Document},
    render,
};

/// The exit code of a manifest that asks for what no provider can ever give.
const NEVER: u8 = 4;

pub(super) async fn run(context: &Context, args: Plan) -> Result<u8, Error> {
    if let Some(command) = args.command {
        return plans::run(context, command).await.map(|()| 0);
    }
    if args.out.is_some() {
        return plans::store(context, args).await.map(|()| 0);
    }
    let documents = files::read(context, &args.files.files, &args.files.reading).await?;
    let files: Vec<String> = documents.iter().map(|d| d.origin.to_string()).collect();
    let mut plans = files::ask(context, documents, "planned", async |document| {
        draft(context, document).await
    })
    .await?;
    once_each(&files, &plans)?;
    if let Some(selector) = &args.selector {
        let kept: Vec<_> = plans.iter().map(|p| (&p.namespace, &p.name)).collect();
        let surplus = prune::surplus(context, selector, &kept).await?;
        plans.extend(surplus.into_iter().map(prune::plan));
    }
    context.output.show_all(&plans, |out| {
        let mut texts: Vec<String> = plans.iter().map(|p| render::plan::plan(out, p)).collect();
        texts.push(render::plan::total(plans.iter()));
        texts.join("\n\n")
    })?;
    if plans.iter().any(|p| p.unplaced.iter().any(|u| u.never)) {
        return Ok(NEVER);
    }
    let different = plans
        .iter()
        .any(|p| !p.unplaced.is_empty() || render::plan::action(p) != ChangeAction::Keep);
    Ok(if args.exit_code && different {
        DIFFERENT
    } else {
        0
    })
}

/// As `apply` has it: the last line would count twice what is given twice.
fn once_each(files: &[String], plans: &[PlanView]) -> Result<(), Error> {
    let of = |plan: &PlanView| (plan.namespace.clone(), plan.name.clone());
    for (i, (file, plan)) in files.iter().zip(plans).enumerate() {
        let earlier = plans.iter().take(i).position(|p| of(p) == of(plan));
        if let Some(twin) = earlier.and_then(|at| files.get(at)) {
            return Err(Error::Argument {
                what: "--file",
                value: file.clone(),
                rule: format!(
                    "\"{twin}\" is about \"{}\" already: give each once",
                    plan.name
                ),
            });
        }
    }
    Ok(())
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
            &context.namespace_of(&document),
            Body::Manifest(document),
        )
        .await
}
