//! `get` and `describe`.

use serde::Serialize;
use tradewind_api::{DecisionView, DeploymentSummary, DeploymentView, EventView};

use super::lists;
use crate::{Context, Error, args, render};

const EVENTS: usize = 10;

/// Everything `describe` tells.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Description {
    pub(crate) deployment: DeploymentView,
    pub(crate) decision: Option<DecisionView>,
    pub(crate) events: Vec<EventView>,
}

pub(super) async fn list(context: &Context, args: args::Deployments) -> Result<(), Error> {
    let mut query = context.namespace();
    query.extend(args.status.map(|status| ("status", status.to_string())));
    query.extend(
        args.selector
            .map(|selector| ("selector", selector.to_string())),
    );
    let list: Vec<DeploymentSummary> =
        lists::read(context, &["v1", "deployments"], query, args.paging).await?;
    context
        .output
        .show(&list, |out| render::deployment::list(out, &list))
}

pub(super) async fn get(context: &Context, name: &str) -> Result<(), Error> {
    let view: DeploymentView = context
        .client
        .get(&["v1", "deployments", name], &context.namespace())
        .await?;
    context
        .output
        .show(&view, |out| render::deployment::one(out, &view))
}

pub(super) async fn describe(context: &Context, name: &str) -> Result<(), Error> {
    let namespace = context.namespace();
    let deployment: DeploymentView = context
        .client
        .get(&["v1", "deployments", name], &namespace)
        .await?;
    let mut query = namespace.clone();
    query.extend([("deployment", name.to_owned()), ("limit", "1".to_owned())]);
    let decisions: Vec<DecisionView> = context.client.get(&["v1", "decisions"], &query).await?;
    let mut query = namespace;
    query.push(("limit", EVENTS.to_string()));
    let events: Vec<EventView> = context
        .client
        .get(&["v1", "deployments", name, "events"], &query)
        .await?;
    let description = Description {
        deployment,
        decision: decisions.into_iter().next(),
        events,
    };
    context.output.show(&description, |out| {
        render::deployment::describe(out, &description)
    })
}
