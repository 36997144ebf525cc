//! `/v1/decisions`: what policies decided, and why.

use aide::transform::TransformOperation;
use axum::{Json, extract::State};
use schemars::JsonSchema;
use serde::Deserialize;
use tradewind_core::{
    identity::Role,
    names::{DecisionId, DeploymentName, Namespace},
    view::DecisionView,
};

use super::{
    App, Error,
    access::{Reach, needs},
    auth::Caller,
    extract::{Path, Query},
};

const DEFAULT_LIMIT: usize = 50;
const MOST: usize = 1_000;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DecisionsQuery {
    /// Only decisions that concern it. Default: all that the token reaches; of `deployment`: `default`.
    namespace: Option<Namespace>,
    /// Only decisions that concern it.
    deployment: Option<DeploymentName>,
    /// At most so many, the newest first. Default 50, at most 1000.
    limit: Option<usize>,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub struct Id {
    pub id: DecisionId,
}

pub async fn list(State(app): State<App>, caller: Caller, Query(query): Query<DecisionsQuery>) -> Result<Json<Vec<DecisionView>>, Error> {
    let limit = query.limit.unwrap_or(DEFAULT_LIMIT).min(MOST);
    let namespace = query.namespace.or_else(|| query.deployment.as_ref().map(|_| Namespace::default_namespace()));
    let of = namespace.as_ref().map(|namespace| (namespace, query.deployment.as_ref()));
    Ok(Json(app.controller.decisions(caller.scope(), of, limit).await?))
}

pub fn list_docs(op: TransformOperation) -> TransformOperation {
    op.id("listDecisions").with(needs(Role::Viewer, Reach::Filtered)).tag("placement").summary("List decisions, the newest first")
}

pub async fn get(State(app): State<App>, caller: Caller, Path(Id { id }): Path<Id>) -> Result<Json<DecisionView>, Error> {
    Ok(Json(app.controller.decision(caller.scope(), &id).await?))
}

pub fn get_docs(op: TransformOperation) -> TransformOperation {
    op.id("getDecision").with(needs(Role::Viewer, Reach::Filtered)).tag("placement").summary("Read a decision")
}
