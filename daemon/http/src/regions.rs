//! `/v1/regions`: how every region of every provider has been doing, and which are left alone for now.

use std::num::NonZeroU32;

use aide::transform::TransformOperation;
use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use schemars::JsonSchema;
use serde::Deserialize;
use tradewind_api::{Degraded, Page, RegionView};
use tradewind_controller::{ListNow, WholeList};
use tradewind_core::{
    identity::{Role, Scope},
    list::{self, Cursor, OneOf, Sort, Window},
    names::{InstanceName, Namespace},
    place_health::Circuit,
    store::Revision,
};

use super::{
    App, Error,
    access::{Reach, needs},
    auth::Caller,
    extract::{Query, Streaming},
    paging::{self, Fields, Here},
    plugins::within,
    watching::{self, Asked},
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
    /// True: server-sent events in place of pages, as of deployments: `put` has an item, `delete` the name of one that is gone or left the
    /// filter, `bookmark` a revision up to which everything has been told. The header `Accept: text/event-stream` does the same.
    #[serde(default)]
    watch: bool,
    /// Of a watch: only what changes after this revision. The header `Last-Event-ID` goes before it. Default: everything that is there, then a
    /// bookmark, then what changes. 410 when what changed since is not known any more.
    after: Option<Revision>,
}

pub(crate) async fn list(
    State(app): State<App>,
    caller: Caller,
    here: Here,
    Query(q): Query<ListQuery>,
    streaming: Streaming,
) -> Result<Response, Error> {
    let asked = Asked {
        watch: q.watch,
        after: q.after,
        streaming,
        cursor: q.cursor.as_ref(),
        arranged: q.sort.is_some() || q.fields.is_some(),
    };
    let regions = Regions {
        app: app.clone(),
        scope: within(&caller, q.namespace),
        status: q.status,
    };
    if let Some(after) = asked.of()? {
        let followed = app.lists.regions.clone();
        let events = followed
            .follow(regions, app.controller.clone(), after)
            .await?;
        return watching::answer(&app, &caller.identity, events).await;
    }
    let revision = app.controller.shown_revision();
    let window = Window::new(q.limit, q.cursor).sorted(q.sort)?;
    let (items, degraded) = regions.shown();
    let page = list::Page::of(items, &window);
    app.lists.regions.sent(&page.items);
    Ok(here
        .page(page.items, page.next)
        .at_revision(revision)
        .beside(degraded)
        .only(q.fields)?
        .into_response())
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
        .response::<200, Json<Page<RegionView, Degraded>>>()
        .with(paging::linked)
        .with(watching::described::<RegionView>)
}

/// The regions, as one reader may follow them.
struct Regions {
    app: App,
    scope: Scope,
    status: Option<OneOf<Circuit>>,
}

impl Regions {
    fn shown(&self) -> (Vec<RegionView>, Degraded) {
        let mut regions = self.app.controller.regions(&self.scope);
        let wanted =
            |region: &RegionView| self.status.as_ref().is_none_or(|s| s.has(region.circuit));
        regions.items.retain(wanted);
        (regions.items, regions.beside)
    }
}

impl WholeList for Regions {
    type Item = RegionView;

    async fn read(&self) -> Result<ListNow<RegionView>, tradewind_controller::Error> {
        Ok(ListNow {
            all: self.app.controller.regions(&Scope::All).items,
            shown: self.shown().0,
        })
    }

    fn may_know(&self, _: &(InstanceName, String)) -> Option<bool> {
        self.scope.is_all().then_some(true)
    }

    fn is_stored(&self) -> bool {
        false
    }
}
