//! `/v1/regions`: how every region of every provider has been doing, and which are left alone for now.

use aide::transform::TransformOperation;
use axum::{Json, extract::State};
use tradewind_core::{identity::Role, view::RegionsView};

use super::{
    App,
    access::{Reach, needs},
    auth::Caller,
};

pub async fn list(State(app): State<App>, caller: Caller) -> Json<RegionsView> {
    Json(app.controller.regions(caller.scope()))
}

pub fn docs(op: TransformOperation) -> TransformOperation {
    op.id("listRegions")
        .with(needs(Role::Viewer, Reach::Any))
        .tag("placement")
        .summary("List regions and how they stand")
        .description("Of the providers that are open to a namespace of the token: error rate and latency of recent calls, open circuits, what cools down, and providers that are degraded.")
}
