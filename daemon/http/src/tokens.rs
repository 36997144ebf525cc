//! `/v1/tokens` and `/v1/whoami`: who may do what. A token's text is in the answer that makes it and nowhere else.

use std::num::NonZeroU32;

use aide::transform::TransformOperation;
use axum::{
    Json,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use schemars::JsonSchema;
use serde::Deserialize;
use tradewind_api::{TokenCreated, TokenRequest, TokenView, WhoAmI};
use tradewind_core::{
    identity::{Role, TokenState},
    list::{Cursor, OneOf, Page, Sort, Window},
    names::{Namespace, TokenName},
};

use super::{
    App, Error,
    access::{Reach, needs},
    auth::Caller,
    extract::{JsonBody, Path, Query},
    paging::{Fields, Here, Paged},
};

#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct Name {
    name: TokenName,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    /// Only those that reach this namespace. Default: all that the sender may manage.
    namespace: Option<Namespace>,
    /// Only those with this status, or with one of several between commas.
    status: Option<OneOf<TokenState>>,
    /// The order: `name`, `role`, `state`, `createdAt`, `expiresAt`, `lastUsed`, several between commas; `-` before one for the highest first.
    /// Default: by name. A cursor goes with its order.
    sort: Option<Sort<TokenView>>,
    /// Only these fields of each item, between commas, such as `name,state`. Default: all.
    fields: Option<Fields>,
    /// At most so many on a page. Default 500, at most 1000; more counts as that.
    limit: Option<NonZeroU32>,
    /// Where the page begins: out of the link of the page before. Default: with the first.
    cursor: Option<Cursor<TokenView>>,
}

pub(crate) async fn list(
    State(app): State<App>,
    caller: Caller,
    here: Here,
    Query(q): Query<ListQuery>,
) -> Result<Paged<TokenView>, Error> {
    let wanted = |token: &TokenView| {
        q.namespace
            .as_ref()
            .is_none_or(|name| token.namespaces.admits(name))
            && q.status.as_ref().is_none_or(|s| s.has(token.state))
    };
    let tokens = app
        .identities
        .list(&caller.identity)
        .into_iter()
        .filter(wanted);
    let page = Page::of(tokens, &Window::new(q.limit, q.cursor).sorted(q.sort)?);
    here.page(page.items, page.next).only(q.fields)
}

pub(crate) fn list_docs(op: TransformOperation) -> TransformOperation {
    op.id("listTokens")
        .tag("identity")
        .summary("List tokens by name, those that have ended included")
        .description("Those whose namespaces are all within the sender's own.")
        .with(needs(Role::Admin, Reach::Filtered))
}

pub(crate) async fn create(
    State(app): State<App>,
    caller: Caller,
    JsonBody(request): JsonBody<TokenRequest>,
) -> Result<Response, Error> {
    let created = app.identities.create(&caller.identity, request).await?;
    // Nothing on the way may keep the answer.
    let headers = [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    Ok((StatusCode::CREATED, headers, Json(created)).into_response())
}

pub(crate) fn create_docs(op: TransformOperation) -> TransformOperation {
    op.id("createToken")
        .tag("identity")
        .summary("Make a token")
        .description("Its namespaces must be within the sender's own, and it must not outlive the sender's token.")
        .with(needs(Role::Admin, Reach::Filtered))
        .response::<201, Json<TokenCreated>>()
}

pub(crate) async fn revoke(
    State(app): State<App>,
    caller: Caller,
    Path(Name { name }): Path<Name>,
) -> Result<Json<TokenView>, Error> {
    Ok(Json(app.identities.revoke(&caller.identity, &name).await?))
}

pub(crate) fn revoke_docs(op: TransformOperation) -> TransformOperation {
    op.id("revokeToken")
        .tag("identity")
        .summary("Revoke a token")
        .description("At once: requests with it are refused, and streams that it has opened end.")
        .with(needs(Role::Admin, Reach::Filtered))
}

pub(crate) async fn whoami(State(app): State<App>, caller: Caller) -> Json<WhoAmI> {
    let certificate_ends = app
        .certificate
        .as_ref()
        .map(|certificate| certificate.facts().ends);
    Json(WhoAmI {
        certificate_ends,
        ..caller.identity.whoami()
    })
}

pub(crate) fn whoami_docs(op: TransformOperation) -> TransformOperation {
    op.id("whoAmI")
        .tag("identity")
        .summary("What the sender's token may do")
        .with(needs(Role::Viewer, Reach::Any))
}
