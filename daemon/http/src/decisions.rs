//! `/v1/decisions`: what policies decided, and why.

use std::num::NonZeroU32;

use aide::transform::TransformOperation;
use axum::{Json, extract::State};
use schemars::JsonSchema;
use serde::Deserialize;
use tradewind_api::DecisionView;
use tradewind_core::{
    decision::Decision,
    identity::Role,
    list::{Cursor, Window},
    names::{DecisionId, DeploymentName, Namespace},
};

use super::{
    App, Error,
    access::{Reach, needs},
    auth::Caller,
    extract::{Path, Query},
    paging::{Fields, Here, Paged, shown},
};

const DEFAULT_LIMIT: usize = 50;
const MOST: usize = 1_000;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DecisionsQuery {
    /// Only decisions that concern it. Default: all that the token reaches; of `deployment`: `default`.
    namespace: Option<Namespace>,
    /// Only decisions that concern it.
    deployment: Option<DeploymentName>,
    /// Only these fields of each item, between commas, such as `id,at,policy.instance`. Default: all.
    fields: Option<Fields>,
    /// At most so many on a page, the newest first. Default 50, at most 1000; more counts as that.
    limit: Option<NonZeroU32>,
    /// Where the page begins: out of the link of the page before. Default: with the newest.
    cursor: Option<Cursor<Decision>>,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct Id {
    pub id: DecisionId,
}

pub(crate) async fn list(
    State(app): State<App>,
    caller: Caller,
    here: Here,
    Query(query): Query<DecisionsQuery>,
) -> Result<Paged<DecisionView>, Error> {
    let window = Window::within(query.limit, query.cursor, DEFAULT_LIMIT, MOST);
    let namespace = query.namespace.or_else(|| {
        query
            .deployment
            .as_ref()
            .map(|_| Namespace::default_namespace())
    });
    let of = namespace
        .as_ref()
        .map(|namespace| (namespace, query.deployment.as_ref()));
    let revision = app.controller.shown_revision();
    let page = app
        .controller
        .decisions(caller.scope(), of, &window)
        .await?;
    here.page(shown(page.items), page.next)
        .at_revision(revision)
        .only(query.fields)
}

pub(crate) fn list_docs(op: TransformOperation) -> TransformOperation {
    op.id("listDecisions")
        .with(needs(Role::Viewer, Reach::Filtered))
        .tag("placement")
        .summary("List decisions, the newest first")
}

pub(crate) async fn get(
    State(app): State<App>,
    caller: Caller,
    Path(Id { id }): Path<Id>,
) -> Result<Json<DecisionView>, Error> {
    let decision = app.controller.decision(caller.scope(), &id).await?;
    Ok(Json(decision.into()))
}

pub(crate) fn get_docs(op: TransformOperation) -> TransformOperation {
    op.id("getDecision")
        .with(needs(Role::Viewer, Reach::Filtered))
        .tag("placement")
        .summary("Read a decision")
}
