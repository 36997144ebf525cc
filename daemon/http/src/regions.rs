//! `/v1/regions`: how every region of every provider has been doing, and which are left alone for now.

use std::num::NonZeroU32;

use aide::transform::TransformOperation;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Deserialize;
use tradewind_api::{Degraded, RegionView};
use tradewind_core::{
    identity::Role,
    list::{Cursor, OneOf, Page, Sort, Window},
    names::Namespace,
    place_health::Circuit,
};

use super::{
    App, Error,
    access::{Reach, needs},
    auth::Caller,
    extract::Query,
    paging::{Fields, Here, Paged},
    plugins::within,
};

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    /// Only of providers that this namespace may use. Default: of all that a namespace of the token may.
    namespace: Option<Namespace>,
    /// Only those whose circuit is so, or in one of several states between commas.
    status: Option<OneOf<Circuit>>,
    /// The order: `provider`, `region`, `circuit`, `latency`, `timeToReady`, several between commas; `-` before one for the highest first.
    /// Default: by provider and region. A cursor goes with its order.
    sort: Option<Sort<RegionView>>,
    /// Only these fields of each item, between commas, such as `region,circuit`. Default: all.
    fields: Option<Fields>,
    /// At most so many on a page. Default 500, at most 1000; more counts as that.
    limit: Option<NonZeroU32>,
    /// Where the page begins: out of the link of the page before. Default: with the first.
    cursor: Option<Cursor<RegionView>>,
}

pub(crate) async fn list(
    State(app): State<App>,
    caller: Caller,
    here: Here,
    Query(q): Query<ListQuery>,
) -> Result<Paged<RegionView, Degraded>, Error> {
    let regions = app.controller.regions(&within(&caller, q.namespace));
    let degraded = regions.beside;
    let regions = regions
        .items
        .into_iter()
        .filter(|region| q.status.as_ref().is_none_or(|s| s.has(region.circuit)));
    let page = Page::of(regions, &Window::new(q.limit, q.cursor).sorted(q.sort)?);
    here.page(page.items, page.next)
        .beside(degraded)
        .only(q.fields)
}

pub(crate) fn docs(op: TransformOperation) -> TransformOperation {
    op.id("listRegions")
        .with(needs(Role::Viewer, Reach::Filtered))
        .tag("placement")
        .summary("List regions by provider and name, and how they stand")
        .description(
            "Of the providers that are open to a namespace of the token: error rate and latency of recent calls, open circuits, what cools \
             down. Providers that are degraded are on every page.",
        )
}
