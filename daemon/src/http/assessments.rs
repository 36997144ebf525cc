//! `/v1/assessments`: what every cloud would cost for a manifest, and how it performs.

use aide::transform::TransformOperation;
use axum::{Json, extract::State};
use tradewind_core::{assess::Report, identity::Role};

use super::{
    App, Error,
    access::{Reach, needs},
    extract::ManifestBody,
};

pub async fn create(State(app): State<App>, ManifestBody(manifest): ManifestBody) -> Result<Json<Report>, Error> {
    Ok(Json(app.controller.assess(manifest).await?))
}

pub fn docs(op: TransformOperation) -> TransformOperation {
    op.id("assess")
        .with(needs(Role::Viewer, Reach::Manifest))
        .tag("placement")
        .summary("Assess all offers for a manifest")
        .description("Shows the terms of C = c·R·T for every candidate. Changes nothing and keeps nothing.")
}
