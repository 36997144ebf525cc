//! `/v1/offers`: what the providers can supply now.

use std::num::NonZeroU32;

use aide::transform::TransformOperation;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Deserialize;
use tradewind_api::{OfferView, Unoffered};
use tradewind_core::{
    identity::Role,
    list::{Cursor, Selector, Sort, Window},
    names::{InstanceName, Namespace},
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
pub(crate) struct OffersQuery {
    /// Only this provider instance's. Default: all.
    provider: Option<InstanceName>,
    /// Only of providers that this namespace may use. Default: of all that a namespace of the token may.
    namespace: Option<Namespace>,
    /// Only those whose labels are so, such as `platform=EKS`. Default: whatever they are.
    selector: Option<Selector>,
    /// The order: `provider`, `region`, `size`, `price`, `cpu`, `memory`, `quotedAt`, several between commas; `-` before one for the highest
    /// first. Default: by provider and id. A cursor goes with its order.
    sort: Option<Sort<OfferView>>,
    /// Only these fields of each item, between commas, such as `provider,size,price`. Default: all.
    fields: Option<Fields>,
    /// At most so many on a page. Default 500, at most 1000; more counts as that.
    limit: Option<NonZeroU32>,
    /// Where the page begins: out of the link of the page before. Default: with the first.
    cursor: Option<Cursor<OfferView>>,
}

pub(crate) async fn list(
    State(app): State<App>,
    caller: Caller,
    here: Here,
    Query(q): Query<OffersQuery>,
) -> Result<Paged<OfferView, Unoffered>, Error> {
    let (scope, selector) = (within(&caller, q.namespace), q.selector.unwrap_or_default());
    let (view, next) = app
        .controller
        .offers(
            &scope,
            q.provider.as_ref(),
            &selector,
            &Window::new(q.limit, q.cursor).sorted(q.sort)?,
        )
        .await?;
    here.page(view.items, next)
        .beside(view.beside)
        .only(q.fields)
}

pub(crate) fn docs(op: TransformOperation) -> TransformOperation {
    op.id("listOffers").with(needs(Role::Viewer, Reach::Filtered)).tag("placement").summary("List offers, by provider and id").description(
        "Of the providers that are open to a namespace of the token. Those that gave none are listed with the reason on every page.",
    )
}
