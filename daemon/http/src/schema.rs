//! `/v1/schema/manifest`: the manifest's JSON Schema, for editors and checkers.

use super::access::{Reach, needs};
use aide::transform::TransformOperation;
use axum::Json;
use tradewind_core::{identity::Role, manifest};

pub(crate) async fn manifest() -> Json<serde_json::Value> {
    Json(manifest::json_schema())
}

pub(crate) fn docs(op: TransformOperation) -> TransformOperation {
    op.id("getManifestSchema")
        .with(needs(Role::Viewer, Reach::Any))
        .tag("meta")
        .summary("The JSON Schema of the manifest")
}
