//! `/v1/schema/manifest`: the manifest's JSON Schema, for editors and checkers.

use aide::transform::TransformOperation;
use axum::Json;
use tradewind_core::manifest;

pub async fn manifest() -> Json<serde_json::Value> {
    Json(manifest::json_schema())
}

pub fn docs(op: TransformOperation) -> TransformOperation {
    op.id("getManifestSchema").tag("meta").summary("The JSON Schema of the manifest")
}
