//! `/v1/deployments/{name}/exec`, `port-forward`, `download` and `upload`: sessions with replicas, each over a WebSocket. It must not know how a
//! replica is reached.

mod socket;

use aide::{openapi::StatusCode as Code, transform::TransformOperation};
use axum::{extract::State, response::Response};
use schemars::JsonSchema;
use serde::Deserialize;
use tradewind_controller::{ReplicaChoice, Target};
use tradewind_core::{
    identity::Role,
    names::{AllocationId, DeploymentName, Namespace, TaskName},
    session::Opening,
};

use self::socket::Handshake;
use super::{
    App, Error,
    access::{Reach, needs},
    auth::Caller,
    deployments::Name,
    extract::{Path, Query},
};

/// Which replica.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReplicaQuery {
    /// Default: `default`.
    #[serde(default = "Namespace::default_namespace")]
    namespace: Namespace,
    /// The task. Default: the only one.
    task: Option<TaskName>,
    /// The allocation. Default: one that stays.
    allocation: Option<AllocationId>,
    /// The replica's index in its allocation. Default: the first that runs.
    replica: Option<u32>,
}

/// Which port of which replica.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PortQuery {
    /// Default: `default`.
    #[serde(default = "Namespace::default_namespace")]
    namespace: Namespace,
    /// The task. Default: the only one.
    task: Option<TaskName>,
    /// The allocation. Default: one that stays.
    allocation: Option<AllocationId>,
    /// The replica's index in its allocation. Default: the first that runs.
    replica: Option<u32>,
    /// The name of a port that the workload declares.
    port: String,
}

/// Which files of which replica.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FilesQuery {
    /// Default: `default`.
    #[serde(default = "Namespace::default_namespace")]
    namespace: Namespace,
    /// The task. Default: the only one.
    task: Option<TaskName>,
    /// The allocation. Default: one that stays.
    allocation: Option<AllocationId>,
    /// The replica's index in its allocation. Default: the first that runs.
    replica: Option<u32>,
    /// A file or folder: absolute, or from the folder in which the workload runs.
    path: String,
}

fn target(
    app: &App,
    namespace: &Namespace,
    name: &DeploymentName,
    choice: ReplicaChoice,
) -> Result<Target, Error> {
    Ok(app.controller.replica(namespace, name, &choice)?)
}

pub(crate) async fn exec(
    State(app): State<App>,
    caller: Caller,
    Path(Name { name }): Path<Name>,
    Query(query): Query<ReplicaQuery>,
    handshake: Handshake,
) -> Result<Response, Error> {
    let choice = ReplicaChoice {
        task: query.task,
        allocation: query.allocation,
        index: query.replica,
    };
    let target = target(&app, &query.namespace, &name, choice)?;
    handshake.accept(app, caller, target, None).await
}

pub(crate) fn exec_docs(op: TransformOperation) -> TransformOperation {
    op.id("execDeployment")
        .with(needs(Role::Operator, Reach::Query))
        .tag("deployments")
        .summary("Run a command beside a replica")
        .description(
            "A WebSocket of the protocol `session.v1.tradewind.dev`. The client's first message is text, `{\"exec\": {\"command\": [\"sh\"], \
             \"stdin\": true, \"terminal\": {\"columns\": 80, \"rows\": 24}}}`. Bytes go in binary frames, whose first byte is 0 for input, 1 \
             for output and 2 for errors; `\"end\"` ends the input, `{\"resize\": {…}}` tells another size. The daemon sends `{\"opened\": \
             {…}}`, and at the end `{\"exit\": {\"code\": 0}}` or `{\"problem\": {…}}`. What the command leaves running ends with the session. \
             Who did it is an event and an entry of the audit log before it begins.",
        )
        .with(switches)
}

pub(crate) async fn port_forward(
    State(app): State<App>,
    caller: Caller,
    Path(Name { name }): Path<Name>,
    Query(query): Query<PortQuery>,
    handshake: Handshake,
) -> Result<Response, Error> {
    let choice = ReplicaChoice {
        task: query.task,
        allocation: query.allocation,
        index: query.replica,
    };
    let target = target(&app, &query.namespace, &name, choice)?;
    let what = Opening::Connect { port: query.port };
    handshake.accept(app, caller, target, Some(what)).await
}

pub(crate) fn port_forward_docs(op: TransformOperation) -> TransformOperation {
    op.id("connectDeploymentPort")
        .with(needs(Role::Operator, Reach::Query))
        .tag("deployments")
        .summary("Connect to a replica's port")
        .description(
            "A WebSocket as that of `exec`, without a first message: one TCP connection to a port that the workload declares.",
        )
        .with(switches)
}

pub(crate) async fn download(
    State(app): State<App>,
    caller: Caller,
    Path(Name { name }): Path<Name>,
    Query(query): Query<FilesQuery>,
    handshake: Handshake,
) -> Result<Response, Error> {
    let (choice, path) = files(&query);
    let target = target(&app, &query.namespace, &name, choice)?;
    let what = Opening::Read { path };
    handshake.accept(app, caller, target, Some(what)).await
}

pub(crate) fn download_docs(op: TransformOperation) -> TransformOperation {
    op.id("downloadDeploymentFiles")
        .with(needs(Role::Operator, Reach::Query))
        .tag("deployments")
        .summary("Read a replica's files")
        .description(
            "A WebSocket as that of `exec`, without a first message: its output is a tar archive, of which the first entry is what was asked \
             for and the others lie below it.",
        )
        .with(switches)
}

pub(crate) async fn upload(
    State(app): State<App>,
    caller: Caller,
    Path(Name { name }): Path<Name>,
    Query(query): Query<FilesQuery>,
    handshake: Handshake,
) -> Result<Response, Error> {
    let (choice, path) = files(&query);
    let target = target(&app, &query.namespace, &name, choice)?;
    let what = Opening::Write { path };
    handshake.accept(app, caller, target, Some(what)).await
}

pub(crate) fn upload_docs(op: TransformOperation) -> TransformOperation {
    op.id("uploadDeploymentFiles")
        .with(needs(Role::Operator, Reach::Query))
        .tag("deployments")
        .summary("Write files into a folder of a replica")
        .description(
            "A WebSocket as that of `exec`, without a first message: its input is a tar archive that is unpacked into the folder, which has \
             to be there. Send `\"end\"` behind it, and wait for the exit.",
        )
        .with(switches)
}

fn files(query: &FilesQuery) -> (ReplicaChoice, String) {
    let choice = ReplicaChoice {
        task: query.task.clone(),
        allocation: query.allocation.clone(),
        index: query.replica,
    };
    (choice, query.path.clone())
}

fn switches(mut op: TransformOperation) -> TransformOperation {
    let responses = op.inner_mut().responses.get_or_insert_default();
    responses.responses.insert(
        Code::Code(101),
        aide::openapi::ReferenceOr::Item(aide::openapi::Response {
            description: "The connection is a WebSocket from here on.".to_owned(),
            ..Default::default()
        }),
    );
    op
}
