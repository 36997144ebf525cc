//! `/v1/deployments/{name}/restart`, and the pauses of updates: `pause` and `resume` beside it.

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
    deployments::{InNamespace, Name, accepted, accepted_response, expected},
    extract::{Condition, Path, Query},
};

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RestartQuery {
    /// Default: `default`.
    #[serde(default = "Namespace::default_namespace")]
    namespace: Namespace,
    /// Only this service. Default: every service of the deployment.
    task: Option<TaskName>,
    /// Why, for the revision: one line of at most 200 characters. Default: none.
    #[serde(default)]
    reason: String,
}

pub(crate) async fn create(
    State(app): State<App>,
    Path(Name { name }): Path<Name>,
    Query(query): Query<RestartQuery>,
    caller: Caller,
    condition: Condition,
) -> Result<Response, Error> {
    let generation = expected(&app, condition, &query.namespace, &name)?;
    let accepted = app.controller.restart(
        &caller.actor,
        &query.namespace,
        &name,
        query.task.as_ref(),
        &query.reason,
        generation,
    );
    accepted_response(accepted.await?)
}

pub(crate) fn docs(op: TransformOperation) -> TransformOperation {
    op.id("restartDeployment")
        .with(needs(Role::Operator, Reach::Query))
        .tag("deployments")
        .summary("Replace the replicas of services without a change of the manifest")
        .description(
            "Makes a new generation with the same manifest, of which the services' replicas are replaced as their `update` says: a canary \
             waits, blue-green switches. Jobs stay as they are. Refused for jobs.",
        )
        .with(accepted)
}

pub(crate) async fn pause(
    State(app): State<App>,
    caller: Caller,
    Path(Name { name }): Path<Name>,
    Query(query): Query<InNamespace>,
    condition: Condition,
) -> Result<Response, Error> {
    let generation = expected(&app, condition, &query.namespace, &name)?;
    let accepted = app
        .controller
        .pause(&caller.actor, &query.namespace, &name, generation);
    accepted_response(accepted.await?)
}

pub(crate) fn pause_docs(op: TransformOperation) -> TransformOperation {
    op.id("pauseDeployment")
        .with(needs(Role::Operator, Reach::Query))
        .tag("deployments")
        .summary("Stop an update where it is")
        .description(
            "Nothing more is replaced. What runs goes on, and its health is still watched: an update whose new replicas fail is failed, and \
             returns as its `rollback` says. The pause outlives the daemon, and ends with `resume` or with the next generation.",
        )
        .with(accepted)
}

pub(crate) async fn resume(
    State(app): State<App>,
    caller: Caller,
    Path(Name { name }): Path<Name>,
    Query(query): Query<InNamespace>,
    condition: Condition,
) -> Result<Response, Error> {
    let generation = expected(&app, condition, &query.namespace, &name)?;
    let accepted = app
        .controller
        .resume(&caller.actor, &query.namespace, &name, generation);
    accepted_response(accepted.await?)
}

pub(crate) fn resume_docs(op: TransformOperation) -> TransformOperation {
    op.id("resumeDeployment")
        .with(needs(Role::Operator, Reach::Query))
        .tag("deployments")
        .summary("Let a paused update go on")
        .description("The time of the pause counts neither for a step's hold nor against the update's deadline.")
        .with(accepted)
}
