//! `/v1/replacements`: what would move to where it costs less, and why the rest stays.

use std::num::NonZeroU32;

use aide::transform::TransformOperation;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Deserialize;
use tradewind_api::{Looked, ReplacementView};
use tradewind_core::{
    identity::Role,
    list::{Cursor, Page, Window},
    names::Namespace,
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
    /// Only this namespace. Default: all that the token reaches.
    namespace: Option<Namespace>,
    /// Only these fields of each item, between commas, such as `deployment,task`. Default: all.
    fields: Option<Fields>,
    /// At most so many on a page. Default 500, at most 1000; more counts as that.
    limit: Option<NonZeroU32>,
    /// Where the page begins: out of the link of the page before. Default: with the first.
    cursor: Option<Cursor<ReplacementView>>,
}

pub(crate) async fn list(
    State(app): State<App>,
    caller: Caller,
    here: Here,
    Query(q): Query<ListQuery>,
) -> Result<Paged<ReplacementView, Looked>, Error> {
    let services = app.controller.replacements().await;
    let wanted = |s: &ReplacementView| {
        caller.scope().admits(&s.namespace)
            && q.namespace.as_ref().is_none_or(|n| *n == s.namespace)
    };
    let page = Page::of(
        services.items.into_iter().filter(wanted),
        &Window::new(q.limit, q.cursor),
    );
    here.page(page.items, page.next)
        .beside(services.beside)
        .only(q.fields)
}

pub(crate) fn docs(op: TransformOperation) -> TransformOperation {
    op.id("listReplacements")
        .with(needs(Role::Viewer, Reach::Filtered))
        .tag("placement")
        .summary("Report what would move to where it costs less, and why the rest stays")
        .description(
            "By the quotes of now, as if it ran nowhere. Changes nothing; only deployments with `spec.replacement` move by themselves.",
        )
}
