//! `/v1/offers`: what the providers can supply now.

use aide::transform::TransformOperation;
use axum::{Json, extract::State};
use schemars::JsonSchema;
use serde::Deserialize;
use tradewind_core::{identity::Role, names::InstanceName, view::OffersView};

use super::{
    App, Error,
    access::{Reach, needs},
    auth::Caller,
    extract::Query,
};

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OffersQuery {
    /// Only this provider instance's. Default: all.
    provider: Option<InstanceName>,
}

pub async fn list(State(app): State<App>, caller: Caller, Query(query): Query<OffersQuery>) -> Result<Json<OffersView>, Error> {
    Ok(Json(app.controller.offers(caller.scope(), query.provider.as_ref()).await?))
}

pub fn docs(op: TransformOperation) -> TransformOperation {
    op.id("listOffers")
        .with(needs(Role::Viewer, Reach::Any))
        .tag("placement")
        .summary("List offers")
        .description("Of the providers that are open to a namespace of the token. Those that gave none are listed with the reason.")
}
