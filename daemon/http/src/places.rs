//! `/v1/places/{provider}`: closing a place to new replicas, emptying it, and opening it again. A place is a provider instance, or one region of it.

use aide::transform::TransformOperation;
use axum::{Json, extract::State};
use schemars::JsonSchema;
use serde::Deserialize;
use tradewind_api::{PlaceOutcome, PlaceView};
use tradewind_controller::Draining;
use tradewind_core::{
    identity::Role,
    names::{InstanceName, Region},
    units::Millis,
};

use super::{
    App, Error,
    access::{Reach, needs},
    auth::Caller,
    extract::{Path, Query},
};

#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct Provider {
    /// The provider instance.
    provider: InstanceName,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Where {
    /// One region of the provider. Default: all of it.
    region: Option<Region>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CordonQuery {
    /// One region of the provider. Default: all of it.
    region: Option<Region>,
    /// Why, for those whose replicas find no place there: one line of at most 200 characters. Default: as it was.
    reason: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct DrainQuery {
    /// One region of the provider. Default: all of it.
    region: Option<Region>,
    /// Why, for those whose replicas find no place there: one line of at most 200 characters. Default: as it was.
    reason: Option<String>,
    /// The time after which jobs are stopped and started elsewhere, and services moved without regard to the bounds of their updates, such
    /// as `10m`. Default: they have all the time that they take.
    deadline: Option<Millis>,
    /// Leave jobs alone, and end without them.
    #[serde(default)]
    ignore_jobs: bool,
}

fn region(given: Option<&Region>) -> &str {
    given.map(Region::as_str).unwrap_or_default()
}

pub(crate) async fn get(
    State(app): State<App>,
    Path(Provider { provider }): Path<Provider>,
    Query(query): Query<Where>,
) -> Result<Json<PlaceView>, Error> {
    let region = region(query.region.as_ref());
    Ok(Json(app.controller.place(&provider, region).await?))
}

pub(crate) fn get_docs(op: TransformOperation) -> TransformOperation {
    op.id("getPlace")
        .with(needs(Role::Admin, Reach::All))
        .tag("placement")
        .summary("Read whether a place is cordoned or drained, and what is there")
        .description(
            "Of all namespaces. While it is drained, each entry says how far its move is, or what keeps it.",
        )
}

pub(crate) async fn cordon(
    State(app): State<App>,
    caller: Caller,
    Path(Provider { provider }): Path<Provider>,
    Query(query): Query<CordonQuery>,
) -> Result<Json<PlaceOutcome>, Error> {
    let region = region(query.region.as_ref());
    let done = app
        .controller
        .cordon(&caller.actor, &provider, region, query.reason.as_deref());
    Ok(Json(done.await?))
}

pub(crate) fn cordon_docs(op: TransformOperation) -> TransformOperation {
    op.id("cordonPlace")
        .with(needs(Role::Admin, Reach::All))
        .tag("placement")
        .summary("Close a place to new replicas")
        .description(
            "Nothing new is placed there, whoever asks. What runs there goes on, and is restarted in place. It outlives the daemon and the \
             provider instance.",
        )
}

pub(crate) async fn drain(
    State(app): State<App>,
    caller: Caller,
    Path(Provider { provider }): Path<Provider>,
    Query(query): Query<DrainQuery>,
) -> Result<Json<PlaceOutcome>, Error> {
    let region = region(query.region.as_ref());
    let how = Draining {
        reason: query.reason,
        deadline: query.deadline,
        ignore_jobs: query.ignore_jobs,
    };
    let done = app.controller.drain(&caller.actor, &provider, region, &how);
    Ok(Json(done.await?))
}

pub(crate) fn drain_docs(op: TransformOperation) -> TransformOperation {
    op.id("drainPlace")
        .with(needs(Role::Admin, Reach::All))
        .tag("placement")
        .summary("Close a place, and move what runs there elsewhere")
        .description(
            "Services move within the bounds of their updates, new replicas first. Jobs are left to end. What has no room elsewhere stays. It \
             goes on over restarts of the daemon; `drainedAt` says when nothing was left. The last order counts.",
        )
}

pub(crate) async fn uncordon(
    State(app): State<App>,
    caller: Caller,
    Path(Provider { provider }): Path<Provider>,
    Query(query): Query<Where>,
) -> Result<Json<PlaceOutcome>, Error> {
    let region = region(query.region.as_ref());
    let done = app.controller.uncordon(&caller.actor, &provider, region);
    Ok(Json(done.await?))
}

pub(crate) fn uncordon_docs(op: TransformOperation) -> TransformOperation {
    op.id("uncordonPlace")
        .with(needs(Role::Admin, Reach::All))
        .tag("placement")
        .summary("Open a place to new replicas again")
        .description("A drain ends with it. What has moved stays where it is.")
}
