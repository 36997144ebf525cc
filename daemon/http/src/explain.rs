//! `/v1/deployments/{name}/explain`: why a deployment runs where it runs, and what would have to change for it to run elsewhere.

use std::sync::Arc;

use aide::transform::TransformOperation;
use axum::{Json, extract::State};
use schemars::JsonSchema;
use serde::Deserialize;
use tradewind_api::ExplainView;
use tradewind_controller as controller;
use tradewind_core::{
    identity::Role,
    names::{DeploymentName, Namespace},
    placement::BuiltIn,
    plugin::{Identity, Policy},
};

use super::{
    App, Error,
    access::{Reach, needs},
    auth::Caller,
    extract::{Path, Query},
};

const DEFAULT_ROWS: usize = 100;
const MOST_ROWS: usize = 10_000;

#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct Name {
    name: DeploymentName,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExplainQuery {
    /// Default: `default`.
    #[serde(default = "Namespace::default_namespace")]
    namespace: Namespace,
    /// At most so many candidates, and so many excluded offers, of each task. Default 100, at most 10000.
    rows: Option<usize>,
}

/// The version of a policy that made a decision.
pub(crate) async fn policy_of(app: &App, identity: &Identity) -> Result<Arc<dyn Policy>, Error> {
    let built_in = BuiltIn::new().map_err(controller::Error::Plugin)?;
    if built_in.made(identity) {
        return Ok(Arc::new(built_in));
    }
    Ok(app.plugins.load_version(identity).await?)
}

pub(crate) async fn get(
    State(app): State<App>,
    caller: Caller,
    Path(Name { name }): Path<Name>,
    Query(query): Query<ExplainQuery>,
) -> Result<Json<ExplainView>, Error> {
    let accounts = app
        .controller
        .accounts(caller.scope(), &query.namespace, &name)
        .await?;
    let mut policies = Vec::with_capacity(accounts.len());
    for account in &accounts {
        policies.push(
            policy_of(&app, account.policy())
                .await
                .map_err(|e| e.to_string()),
        );
    }
    let rows = query.rows.unwrap_or(DEFAULT_ROWS).min(MOST_ROWS);
    Ok(Json(
        app.controller
            .explain(&query.namespace, &name, &accounts, &policies, rows)
            .await,
    ))
}

pub(crate) fn docs(op: TransformOperation) -> TransformOperation {
    op.id("explainDeployment")
        .with(needs(Role::Viewer, Reach::Query))
        .tag("placement")
        .summary("Explain the last decision about each task")
        .description(
            "Every candidate's score and cost, what excluded the others and by which value, and the prices and capacities at which the answer \
             would be another, found by asking the policy of then about the inputs of then with one offer changed. Changes nothing.",
        )
}
