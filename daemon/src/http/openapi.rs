//! `/openapi.json`: this API described, generated from the handlers.

use aide::{
    OperationInput,
    openapi::{Components, Info, License, OpenApi, ReferenceOr, SecurityScheme, Tag},
    transform::TransformOperation,
};
use axum::{
    Extension,
    body::Bytes,
    http::header,
    response::{IntoResponse, Response},
};

use super::access;

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
            tag("identity", "Tokens: who may do what."),
            tag("meta", "The daemon itself."),
        ],
        components: Some(Components {
            security_schemes: [(access::SCHEME.to_owned(), ReferenceOr::Item(scheme()))].into(),
            ..Components::default()
        }),
        ..OpenApi::default()
    }
}

fn scheme() -> SecurityScheme {
    SecurityScheme::Http {
        scheme: "bearer".to_owned(),
        bearer_format: Some("tw_…".to_owned()),
        description: Some(
            "A token. `x-tradewind-role` is the role that an operation needs (`none`: no token at all); `x-tradewind-namespace` tells \
             where it says which namespace it is about."
                .to_owned(),
        ),
        extensions: Default::default(),
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
    op.id("getOpenApi").with(access::open).tag("meta").summary("This document").response::<200, axum::Json<serde_json::Value>>()
}
