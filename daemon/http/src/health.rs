//! `/healthz` and `/readyz`: whether the daemon lives, and whether it can do its work.

use aide::transform::TransformOperation;
use axum::{Json, extract::State};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{App, Error, access};

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "DaemonHealth")]
pub(crate) struct Health {
    pub status: String,
    /// The daemon's version.
    pub version: String,
}

fn health(status: &str) -> Json<Health> {
    Json(Health {
        status: status.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    })
}

pub(crate) async fn alive() -> Json<Health> {
    health("alive")
}

pub(crate) fn alive_docs(op: TransformOperation) -> TransformOperation {
    op.id("getHealth")
        .with(access::open)
        .tag("meta")
        .summary("Answers as long as the daemon lives")
}

pub(crate) async fn ready(State(app): State<App>) -> Result<Json<Health>, Error> {
    app.readiness
        .get()
        .map(|()| health("ready"))
        .map_err(|reason| Error::NotReady { reason })
}

pub(crate) fn ready_docs(op: TransformOperation) -> TransformOperation {
    op.id("getReadiness")
        .with(access::open)
        .tag("meta")
        .summary("503 until the state and the plugins are loaded, and again while stopping")
}
