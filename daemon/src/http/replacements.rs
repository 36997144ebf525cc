//! `/v1/replacements`: what would move to where it costs less, and why the rest stays.

use aide::transform::TransformOperation;
use axum::{Json, extract::State};
use schemars::JsonSchema;
use serde::Deserialize;
use tradewind_core::{identity::Role, names::Namespace, view::ReplacementsView};

use super::{
    App,
    access::{Reach, needs},
    auth::Caller,
    extract::Query,
};

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListQuery {
    /// Only this namespace. Default: all that the token reaches.
    namespace: Option<Namespace>,
}

pub async fn list(State(app): State<App>, caller: Caller, Query(query): Query<ListQuery>) -> Json<ReplacementsView> {
    let mut view = app.controller.replacements().await;
    view.services.retain(|s| caller.scope().admits(&s.namespace) && query.namespace.as_ref().is_none_or(|n| *n == s.namespace));
    Json(view)
}

pub fn docs(op: TransformOperation) -> TransformOperation {
    op.id("listReplacements")
        .with(needs(Role::Viewer, Reach::Filtered))
        .tag("placement")
        .summary("Report what would move to where it costs less, and why the rest stays")
        .description(
            "By the quotes of now, as if it ran nowhere. Changes nothing; only deployments with `spec.replacement` move by themselves.",
        )
}
