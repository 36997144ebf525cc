//! `/v1/tokens` and `/v1/whoami`: who may do what. A token's text is in the answer that makes it and nowhere else.

use aide::transform::TransformOperation;
use axum::{
    Json,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use schemars::JsonSchema;
use serde::Deserialize;
use tradewind_core::{
    identity::Role,
    names::TokenName,
    view::{TokenCreated, TokenRequest, TokenView, WhoAmI},
};

use super::{
    App, Error,
    access::{Reach, needs},
    auth::Caller,
    deployments::ListQuery,
    extract::{JsonBody, Path, Query},
};

#[derive(Debug, Deserialize, JsonSchema)]
pub struct Name {
    name: TokenName,
}

pub async fn list(State(app): State<App>, caller: Caller, Query(query): Query<ListQuery>) -> Json<Vec<TokenView>> {
    let mut list = app.identities.list(&caller.identity);
    list.retain(|token| query.namespace.as_ref().is_none_or(|name| token.namespaces.admits(name)));
    Json(list)
}

pub fn list_docs(op: TransformOperation) -> TransformOperation {
    op.id("listTokens")
        .tag("identity")
        .summary("List tokens, those that have ended included")
        .description("Those whose namespaces are all within the sender's own.")
        .with(needs(Role::Admin, Reach::Filtered))
}

pub async fn create(State(app): State<App>, caller: Caller, JsonBody(request): JsonBody<TokenRequest>) -> Result<Response, Error> {
    let created = app.identities.create(&caller.identity, request).await?;
    // Nothing on the way may keep the answer.
    let headers = [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    Ok((StatusCode::CREATED, headers, Json(created)).into_response())
}

pub fn create_docs(op: TransformOperation) -> TransformOperation {
    op.id("createToken")
        .tag("identity")
        .summary("Make a token")
        .description("Its namespaces must be within the sender's own, and it must not outlive the sender's token.")
        .with(needs(Role::Admin, Reach::Filtered))
        .response::<201, Json<TokenCreated>>()
}

pub async fn revoke(State(app): State<App>, caller: Caller, Path(Name { name }): Path<Name>) -> Result<Json<TokenView>, Error> {
    Ok(Json(app.identities.revoke(&caller.identity, &name).await?))
}

pub fn revoke_docs(op: TransformOperation) -> TransformOperation {
    op.id("revokeToken")
        .tag("identity")
        .summary("Revoke a token")
        .description("At once: requests with it are refused, and streams that it has opened end.")
        .with(needs(Role::Admin, Reach::Filtered))
}

pub async fn whoami(State(app): State<App>, caller: Caller) -> Json<WhoAmI> {
    let certificate_ends = app.certificate.as_ref().map(|certificate| certificate.facts().ends);
    Json(WhoAmI { certificate_ends, ..caller.identity.whoami() })
}

pub fn whoami_docs(op: TransformOperation) -> TransformOperation {
    op.id("whoAmI").tag("identity").summary("What the sender's token may do").with(needs(Role::Viewer, Reach::Any))
}
