//! `/openapi.json`: this API described, generated from the handlers.

use aide::{
    OperationInput,
    openapi::{Info, License, OpenApi, Tag},
    transform::TransformOperation,
};
use axum::{
    Extension,
    body::Bytes,
    http::header,
    response::{IntoResponse, Response},
};

/// The document's bytes, rendered once.
#[derive(Clone)]
pub struct Document(Bytes);

impl OperationInput for Document {}

/// The part that no handler knows.
pub fn document() -> OpenApi {
    let tag = |name: &str, text: &str| Tag { name: name.to_owned(), description: Some(text.to_owned()), ..Tag::default() };
    OpenApi {
        info: Info {
            title: "Tradewind".to_owned(),
            description: Some("State what should run; Tradewind decides where, makes it so, and can say why.".to_owned()),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            license: Some(License { name: "Apache-2.0".to_owned(), ..License::default() }),
            ..Info::default()
        },
        tags: vec![
            tag("deployments", "What should run, and what became of it."),
            tag("namespaces", "Budgets, quotas, and what has been spent."),
            tag("placement", "Offers, assessments and decisions."),
            tag("plugins", "Providers and policies."),
            tag("events", "What has happened."),
            tag("audit", "What has happened, in a log that can be checked."),
            tag("meta", "The daemon itself."),
        ],
        ..OpenApi::default()
    }
}

pub fn extension(api: &OpenApi) -> Extension<Document> {
    let bytes = serde_json::to_vec(api).unwrap_or_else(|e| {
        tracing::error!(error = %e, "the description of the api could not be rendered");
        b"{}".to_vec()
    });
    Extension(Document(bytes.into()))
}

pub async fn get(Extension(Document(bytes)): Extension<Document>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], bytes).into_response()
}

pub fn docs(op: TransformOperation) -> TransformOperation {
    op.id("getOpenApi").tag("meta").summary("This document").response::<200, axum::Json<serde_json::Value>>()
}
