//! `/v1/plugins/{name}/canary`: a new version of an instance on a share of its calls.

use aide::transform::TransformOperation;
use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use schemars::JsonSchema;
use serde::Deserialize;
use tradewind_api::{Canary, CanaryStart, PluginView};
use tradewind_core::{identity::Role, names::InstanceName};

use super::{
    App, Error,
    access::{Reach, needs},
    auth::Caller,
    extract::{Path, Upload, component},
};

#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct Instance {
    name: InstanceName,
}

fn shown(view: PluginView) -> Json<Canary> {
    Json(Canary {
        instance: view.instance,
        canary: view.canary,
        last: view.last_canary,
    })
}

pub(crate) async fn start(
    State(app): State<App>,
    caller: Caller,
    Path(Instance { name }): Path<Instance>,
    Upload(CanaryStart {
        component: text,
        instance_file,
        terms,
    }): Upload<CanaryStart>,
) -> Result<Response, Error> {
    let component = component(&app, text).await?;
    let start = tradewind_wasm::CanaryStart {
        instance: name,
        component,
        text: instance_file,
        terms,
        by: caller.actor,
    };
    Ok((
        StatusCode::CREATED,
        shown(app.plugins.start_canary(start).await?),
    )
        .into_response())
}

pub(crate) fn start_docs(op: TransformOperation) -> TransformOperation {
    op.id("startCanary")
        .with(needs(Role::Admin, Reach::All))
        .tag("plugins")
        .summary("Give a new version of a plugin instance a share of its calls")
        .description(
            "It passes the gates of a plugin. It returns by itself when it fails more often or takes longer than the terms allow, and is \
             promoted when its time is over and enough calls were seen.",
        )
        .response::<201, Json<Canary>>()
}

pub(crate) async fn get(
    State(app): State<App>,
    caller: Caller,
    Path(Instance { name }): Path<Instance>,
) -> Result<Json<Canary>, Error> {
    let found = app.plugins.inspect_for(&name, caller.scope()).map(shown);
    found.ok_or_else(|| Error::NotFound {
        what: "plugin instance",
        name: name.to_string(),
    })
}

pub(crate) fn get_docs(op: TransformOperation) -> TransformOperation {
    op.id("getCanary")
        .with(needs(Role::Viewer, Reach::Any))
        .tag("plugins")
        .summary("Read how the canary of a plugin instance does")
}

pub(crate) async fn promote(
    State(app): State<App>,
    caller: Caller,
    Path(Instance { name }): Path<Instance>,
) -> Result<Json<Canary>, Error> {
    Ok(shown(app.plugins.promote_canary(name, caller.actor).await?))
}

pub(crate) fn promote_docs(op: TransformOperation) -> TransformOperation {
    op.id("promoteCanary")
        .with(needs(Role::Admin, Reach::All))
        .tag("plugins")
        .summary("Let the canary take all calls now")
        .description("It serves, also after a restart, until the plugin folder changes.")
}

pub(crate) async fn abort(
    State(app): State<App>,
    caller: Caller,
    Path(Instance { name }): Path<Instance>,
) -> Result<Json<Canary>, Error> {
    Ok(shown(app.plugins.abort_canary(name, caller.actor).await?))
}

pub(crate) fn abort_docs(op: TransformOperation) -> TransformOperation {
    op.id("abortCanary")
        .with(needs(Role::Admin, Reach::All))
        .tag("plugins")
        .summary("Give all calls back to the old version")
        .description("What the new version of a provider has made goes back as soon as the old one finds it at the cloud.")
}
