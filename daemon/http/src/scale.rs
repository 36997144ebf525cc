//! `/v1/deployments/NAME/metrics`, `/scale` and `/wake`: load in, numbers of replicas out.

use aide::transform::TransformOperation;
use axum::{Json, extract::State, http::StatusCode};
use schemars::JsonSchema;
use serde::Deserialize;
use tradewind_api::{Samples, SamplesAccepted, ScaleBody, Scaled};
use tradewind_core::{
    identity::Role,
    names::{Namespace, TaskName},
};

use super::{
    App, Error,
    access::{Reach, needs},
    auth::Caller,
    deployments::{InNamespace, Name},
    extract::{JsonBody, Path, Query},
};

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WakeQuery {
    /// Default: `default`.
    #[serde(default = "Namespace::default_namespace")]
    namespace: Namespace,
    /// Only this one. Default: every task without replicas.
    task: Option<TaskName>,
}

pub(crate) async fn push(
    State(app): State<App>,
    Path(Name { name }): Path<Name>,
    Query(query): Query<InNamespace>,
    JsonBody(Samples { samples }): JsonBody<Samples>,
) -> Result<(StatusCode, Json<SamplesAccepted>), Error> {
    let accepted = app.controller.push(&query.namespace, &name, &samples)?;
    Ok((StatusCode::ACCEPTED, Json(SamplesAccepted { accepted })))
}

pub(crate) fn push_docs(op: TransformOperation) -> TransformOperation {
    op.id("pushMetrics")
        .with(needs(Role::Operator, Reach::Query))
        .tag("deployments")
        .summary("Push measures that tasks follow")
        .description(
            "Each value counts over all replicas of its task. Values are kept in memory and count for two minutes; the latest of each \
             measure counts.",
        )
        .response::<202, Json<SamplesAccepted>>()
}

pub(crate) async fn scale(
    State(app): State<App>,
    Path(Name { name }): Path<Name>,
    Query(query): Query<InNamespace>,
    caller: Caller,
    JsonBody(body): JsonBody<ScaleBody>,
) -> Result<(StatusCode, Json<Scaled>), Error> {
    let scaled = app
        .controller
        .scale(&caller.actor, &query.namespace, &name, &body)
        .await?;
    Ok((StatusCode::ACCEPTED, Json(scaled)))
}

pub(crate) fn scale_docs(op: TransformOperation) -> TransformOperation {
    op.id("scaleDeployment")
        .with(needs(Role::Operator, Reach::Query))
        .tag("deployments")
        .summary("Set a task's number of replicas")
        .description(
            "A task with `scale` takes the number within its bounds, as if its load had asked for it: it does not fall below before the \
             stabilization window has passed, and grows when the load asks for more. Any other task is changed in its spec.",
        )
        .response::<202, Json<Scaled>>()
}

pub(crate) async fn wake(
    State(app): State<App>,
    Path(Name { name }): Path<Name>,
    Query(query): Query<WakeQuery>,
    caller: Caller,
) -> Result<(StatusCode, Json<Scaled>), Error> {
    let scaled = app
        .controller
        .wake(&caller.actor, &query.namespace, &name, query.task.as_ref())
        .await?;
    Ok((StatusCode::ACCEPTED, Json(scaled)))
}

pub(crate) fn wake_docs(op: TransformOperation) -> TransformOperation {
    op.id("wakeDeployment")
        .with(needs(Role::Operator, Reach::Query))
        .tag("deployments")
        .summary("Give what has been scaled to zero a replica again")
        .description("A task that has replicas stays as it is.")
        .response::<202, Json<Scaled>>()
}
