//! `/v1/audit`: the log of everything that has happened, whose every entry is chained to the one before it.

use std::num::NonZeroU32;

use aide::transform::TransformOperation;
use axum::{Json, extract::State};
use schemars::JsonSchema;
use serde::Deserialize;
use tradewind_api::{AuditView, Kept};
use tradewind_core::{
    audit::{Bounds, Line, Verdict},
    identity::Role,
    list::{Cursor, Window},
    names::Digest,
};

use super::{
    App, Error,
    access::{Reach, needs},
    extract::{OptionalJson, Query},
    paging::{Fields, Here, Paged},
};

const DEFAULT_LIMIT: usize = 100;
const MOST: usize = 10_000;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AuditQuery {
    /// Only those behind this number, page by page. Default: the last ones; the next page has those before.
    after: Option<u64>,
    /// Only these fields of each item, between commas, such as `seq,hash`. Default: all.
    fields: Option<Fields>,
    /// At most so many on a page. Default 100, at most 10000; more counts as that.
    limit: Option<NonZeroU32>,
    /// Where the page lies: out of the link of the page before.
    cursor: Option<Cursor<Line>>,
}

/// What is to be checked beyond the chain itself.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AuditCheck {
    /// A hash that was noted earlier: some entry must have it.
    expect: Option<Digest>,
}

pub(crate) async fn list(
    State(app): State<App>,
    here: Here,
    Query(query): Query<AuditQuery>,
) -> Result<Paged<Line, Kept>, Error> {
    // The description's integers are signed: what is beyond them is refused as it says.
    if let Some(after) = query.after.filter(|after| i64::try_from(*after).is_err()) {
        let message = format!(
            "after \"{after}\" is no number of an entry: use at most {}",
            i64::MAX
        );
        return Err(Error::Parameters { message });
    }
    let window = Window::within(query.limit, query.cursor, DEFAULT_LIMIT, MOST);
    let (page, next) = app.controller.audit(query.after, &window).await?;
    let AuditView { items, beside, .. } = page.into();
    here.page(items, next).beside(beside).only(query.fields)
}

pub(crate) fn list_docs(op: TransformOperation) -> TransformOperation {
    op.id("listAudit")
        .with(needs(Role::Viewer, Reach::All))
        .tag("audit")
        .summary("Read the audit log")
        .description("An entry's hash is the SHA-256 of the hash before it, its number, its revision and the bytes of its event.")
}

pub(crate) async fn head(State(app): State<App>) -> Result<Json<Bounds>, Error> {
    Ok(Json(app.controller.audit_bounds().await?))
}

pub(crate) fn head_docs(op: TransformOperation) -> TransformOperation {
    op.id("getAuditHead")
        .with(needs(Role::Viewer, Reach::All))
        .tag("audit")
        .summary("Number and hash of the last entry")
        .description("Noted elsewhere, it shows later that the log's end was not cut off.")
}

pub(crate) async fn verify(
    State(app): State<App>,
    OptionalJson(check): OptionalJson<AuditCheck>,
) -> Result<Json<Verdict>, Error> {
    let AuditCheck { expect } = check.unwrap_or_default();
    Ok(Json(app.controller.audit_verify(expect).await?))
}

pub(crate) fn verify_docs(op: TransformOperation) -> TransformOperation {
    op.id("verifyAudit")
        .with(needs(Role::Viewer, Reach::All))
        .tag("audit")
        .summary("Check the chain of the whole audit log")
}
