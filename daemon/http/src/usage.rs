//! `/v1/usage`: what replicas use now.

use std::num::NonZeroU32;

use aide::transform::TransformOperation;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Deserialize;
use tradewind_api::ReplicaUsage;
use tradewind_core::{
    identity::Role,
    list::{Cursor, Page, Sort, Window},
    names::{DeploymentName, Namespace},
};

use super::{
    App, Error,
    access::{Reach, needs},
    auth::Caller,
    extract::Query,
    paging::{Fields, Here, Paged},
};

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    /// Only of this namespace. Default: of all that the token reaches; with `deployment`, `default`.
    namespace: Option<Namespace>,
    /// Only of this deployment.
    deployment: Option<DeploymentName>,
    /// The order: `namespace`, `deployment`, `provider`, `memoryBytes`, `restarts`, several between commas; `-` before one for the highest
    /// first. Default: by deployment. A cursor goes with its order.
    sort: Option<Sort<ReplicaUsage>>,
    /// Only these fields of each item, between commas, such as `deployment,memoryBytes`. Default: all.
    fields: Option<Fields>,
    /// At most so many on a page. Default 500, at most 1000; more counts as that.
    limit: Option<NonZeroU32>,
    /// Where the page begins: out of the link of the page before. Default: with the first.
    cursor: Option<Cursor<ReplicaUsage>>,
}

pub(crate) async fn list(
    State(app): State<App>,
    caller: Caller,
    here: Here,
    Query(q): Query<ListQuery>,
) -> Result<Paged<ReplicaUsage>, Error> {
    let (namespace, deployment) = (q.namespace.as_ref(), q.deployment.as_ref());
    let usage = app
        .controller
        .usage(caller.scope(), namespace, deployment)
        .await?;
    let page = Page::of(usage, &Window::new(q.limit, q.cursor).sorted(q.sort)?);
    here.page(page.items, page.next).only(q.fields)
}

pub(crate) fn docs(op: TransformOperation) -> TransformOperation {
    op.id("listUsage")
        .with(needs(Role::Viewer, Reach::Filtered))
        .tag("deployments")
        .summary("List replicas with the processor time and the memory that they use")
        .description("As their providers measured it last. Replicas that have ended are left out.")
}
