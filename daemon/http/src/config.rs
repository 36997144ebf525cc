//! `/v1/config`: the settings in force. They hold no secrets by construction: secrets are named, never written, in the configuration.

use aide::transform::TransformOperation;
use axum::{Json, extract::State};

use tradewind_core::identity::Role;

use super::{
    App,
    access::{Reach, needs},
};
use tradewind_config::Config;

pub(crate) async fn get(State(app): State<App>) -> Json<Config> {
    Json(app.config.clone())
}

pub(crate) fn docs(op: TransformOperation) -> TransformOperation {
    op.id("getConfig")
        .with(needs(Role::Viewer, Reach::All))
        .tag("meta")
        .summary("The settings in force")
}
