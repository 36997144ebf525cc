//! `/v1/regions`: how every region of every provider has been doing, and which are left alone for now.

use aide::transform::TransformOperation;
use axum::{Json, extract::State};
use tradewind_core::{identity::Role, view::RegionsView};

use super::{
    App,
    access::{Reach, needs},
};

pub async fn list(State(app): State<App>) -> Json<RegionsView> {
    Json(app.controller.regions())
}

pub fn docs(op: TransformOperation) -> TransformOperation {
    op.id("listRegions")
        .with(needs(Role::Viewer, Reach::Any))
        .tag("placement")
        .summary("List regions and how they stand")
        .description("Error rate and latency of recent calls, open circuits, what cools down, and providers that are degraded.")
}
