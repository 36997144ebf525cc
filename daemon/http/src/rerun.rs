//! `/v1/deployments/{name}/run`: a job that has ended runs again.

use aide::transform::TransformOperation;
use axum::{extract::State, response::Response};
use schemars::JsonSchema;
use serde::Deserialize;
use tradewind_core::{
    identity::Role,
    names::{Namespace, TaskName},
};

use super::{
    App, Error,
    access::{Reach, needs},
    auth::Caller,
    deployments::{Name, accepted, accepted_response, expected},
    extract::{Condition, Path, Query},
};

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RunQuery {
    /// Default: `default`.
    #[serde(default = "Namespace::default_namespace")]
    namespace: Namespace,
    /// Only this job. Default: every job of the deployment.
    task: Option<TaskName>,
}

pub(crate) async fn create(
    State(app): State<App>,
    Path(Name { name }): Path<Name>,
    Query(query): Query<RunQuery>,
    caller: Caller,
    condition: Condition,
) -> Result<Response, Error> {
    let generation = expected(&app, condition, &query.namespace, &name)?;
    accepted_response(
        app.controller
            .rerun(
                &caller.actor,
                &query.namespace,
                &name,
                query.task.as_ref(),
                generation,
            )
            .await?,
    )
}

pub(crate) fn docs(op: TransformOperation) -> TransformOperation {
    op.id("runDeployment")
        .with(needs(Role::Operator, Reach::Query))
        .tag("deployments")
        .summary("Run jobs again that have ended")
        .description(
            "Makes a new generation with the same manifest, of which the jobs begin anew, wherever the policy places them by now. Services \
             stay as they are. Refused for services, and while a job still runs.",
        )
        .with(accepted)
}
