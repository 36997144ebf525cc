//! `/v1/deployments/{name}/revisions`, and what is done with them: roll back, promote, abort.

use std::num::NonZeroU32;

use aide::transform::TransformOperation;
use axum::{Json, extract::State, response::Response};
use schemars::JsonSchema;
use serde::Deserialize;
use tradewind_api::{RevisionMark, RevisionView, RollbackTo};
use tradewind_core::{
    identity::Role,
    list::{Cursor, OneOf, Window},
    names::{DeploymentName, Namespace},
    rollout::{Mark, Outcome},
};

use super::{
    App, Error,
    access::{Reach, needs},
    auth::Caller,
    deployments::{InNamespace, Name, accepted, accepted_response, expected},
    extract::{Condition, OptionalJson, Path, Query},
    paging::{Fields, Here, Paged, shown},
};

#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct Numbered {
    pub name: DeploymentName,
    pub generation: u64,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    /// Default: `default`.
    #[serde(default = "Namespace::default_namespace")]
    namespace: Namespace,
    /// Only those that became this, or one of several between commas.
    status: Option<OneOf<Outcome>>,
    /// Only these fields of each item, between commas, such as `generation,outcome`. Default: all.
    fields: Option<Fields>,
    /// At most so many on a page. Default 500, at most 1000; more counts as that.
    limit: Option<NonZeroU32>,
    /// Where the page begins: out of the link of the page before. Default: with the first.
    cursor: Option<Cursor<Mark>>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Against {
    /// Default: `default`.
    #[serde(default = "Namespace::default_namespace")]
    namespace: Namespace,
    /// Another revision: the answer says what differs from it.
    #[serde(default)]
    against: Option<u64>,
}

pub(crate) async fn list(
    State(app): State<App>,
    Path(Name { name }): Path<Name>,
    here: Here,
    Query(q): Query<ListQuery>,
) -> Result<Paged<RevisionMark>, Error> {
    let revision = app.controller.shown_revision();
    let page = app.controller.revisions(
        &q.namespace,
        &name,
        q.status.as_ref(),
        &Window::new(q.limit, q.cursor),
    )?;
    here.page(shown(page.items), page.next)
        .at_revision(revision)
        .only(q.fields)
}

pub(crate) fn list_docs(op: TransformOperation) -> TransformOperation {
    op.id("listRevisions")
        .with(needs(Role::Viewer, Reach::Query))
        .tag("deployments")
        .summary("List a deployment's kept revisions, newest first")
        .description("Each with who made it, why, and what became of it.")
}

pub(crate) async fn get(
    State(app): State<App>,
    Path(Numbered { name, generation }): Path<Numbered>,
    Query(query): Query<Against>,
) -> Result<Json<RevisionView>, Error> {
    Ok(Json(
        app.controller
            .revision(&query.namespace, &name, generation, query.against)
            .await?,
    ))
}

pub(crate) fn get_docs(op: TransformOperation) -> TransformOperation {
    op.id("getRevision")
        .with(needs(Role::Viewer, Reach::Query))
        .tag("deployments")
        .summary("Read a revision's manifest, and what differs from another one")
}

pub(crate) async fn rollback(
    State(app): State<App>,
    caller: Caller,
    Path(Name { name }): Path<Name>,
    Query(query): Query<InNamespace>,
    condition: Condition,
    OptionalJson(body): OptionalJson<RollbackTo>,
) -> Result<Response, Error> {
    let generation = expected(&app, condition, &query.namespace, &name)?;
    let to = body.unwrap_or_default().to;
    accepted_response(
        app.controller
            .rollback(&caller.actor, &query.namespace, &name, to, generation)
            .await?,
    )
}

pub(crate) fn rollback_docs(op: TransformOperation) -> TransformOperation {
    op.id("rollbackDeployment")
        .with(needs(Role::Operator, Reach::Query))
        .tag("deployments")
        .summary("Return to an earlier revision")
        .description("Makes a new generation with that revision's manifest. Without a body: the last healthy revision before the current.")
        .with(accepted)
}

pub(crate) async fn promote(
    State(app): State<App>,
    caller: Caller,
    Path(Name { name }): Path<Name>,
    Query(query): Query<InNamespace>,
    condition: Condition,
) -> Result<Response, Error> {
    let generation = expected(&app, condition, &query.namespace, &name)?;
    accepted_response(
        app.controller
            .promote(&caller.actor, &query.namespace, &name, generation)
            .await?,
    )
}

pub(crate) fn promote_docs(op: TransformOperation) -> TransformOperation {
    op.id("promoteDeployment")
        .with(needs(Role::Operator, Reach::Query))
        .tag("deployments")
        .summary("Let an update pass what it waits for")
        .description(
            "A canary goes on to its next step; blue-green gives up the old set before its time.",
        )
        .with(accepted)
}

pub(crate) async fn abort(
    State(app): State<App>,
    caller: Caller,
    Path(Name { name }): Path<Name>,
    Query(query): Query<InNamespace>,
    condition: Condition,
) -> Result<Response, Error> {
    let generation = expected(&app, condition, &query.namespace, &name)?;
    accepted_response(
        app.controller
            .abort(&caller.actor, &query.namespace, &name, generation)
            .await?,
    )
}

pub(crate) fn abort_docs(op: TransformOperation) -> TransformOperation {
    op.id("abortDeployment")
        .with(needs(Role::Operator, Reach::Query))
        .tag("deployments")
        .summary("Break an update off, and return to the last healthy revision")
        .with(accepted)
}
