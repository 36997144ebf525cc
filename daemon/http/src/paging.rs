//! A page of a list as an answer: the body as it is, and in the head the way to the next page, as a link with the relation `next` (RFC 8288).
//! It must not know what is listed.

use std::convert::Infallible;

use aide::{
    OperationInput, OperationOutput,
    generate::GenContext,
    openapi::{
        self, Header, HeaderStyle, Operation, ParameterSchemaOrContent, ReferenceOr, SchemaObject,
        StatusCode,
    },
    transform::TransformOperation,
};
use axum::{
    Json,
    extract::FromRequestParts,
    http::{HeaderValue, Uri, header, request::Parts},
    response::{IntoResponse, Response},
};
use schemars::{JsonSchema, json_schema};
use serde::Serialize;
use tradewind_api::CURSOR;
use tradewind_core::list::{Cursor, Listed};
use url::form_urlencoded;

/// The address that was asked for.
#[derive(Debug)]
pub(crate) struct Here(Uri);

/// A page, and where the next one is.
#[derive(Debug)]
pub(crate) struct Paged<B> {
    body: B,
    next: Option<HeaderValue>,
}

impl Here {
    pub(crate) fn page<B, T: Listed>(&self, body: B, next: Option<Cursor<T>>) -> Paged<B> {
        let link = next.map(|cursor| link(&self.0, &cursor.to_string()));
        // What a URI consists of may stand in a header.
        Paged {
            body,
            next: link.and_then(|link| HeaderValue::try_from(link).ok()),
        }
    }
}

/// What the state holds, as the API shows it.
pub(crate) fn shown<T, V: From<T>>(items: Vec<T>) -> Vec<V> {
    items.into_iter().map(V::from).collect()
}

/// The same address with this cursor. It has no host: who asked knows it, whatever lies between.
fn link(here: &Uri, cursor: &str) -> String {
    let pairs = form_urlencoded::parse(here.query().unwrap_or_default().as_bytes())
        .filter(|(name, _)| name != CURSOR);
    let query = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(pairs)
        .append_pair(CURSOR, cursor)
        .finish();
    format!("<{}?{query}>; rel=\"next\"", here.path())
}

impl<S: Send + Sync> FromRequestParts<S> for Here {
    type Rejection = Infallible;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(parts.uri.clone()))
    }
}

impl OperationInput for Here {}

impl<B: Serialize> IntoResponse for Paged<B> {
    fn into_response(self) -> Response {
        let mut response = Json(self.body).into_response();
        if let Some(next) = self.next {
            response.headers_mut().insert(header::LINK, next);
        }
        response
    }
}

impl<B: JsonSchema> OperationOutput for Paged<B> {
    type Inner = B;

    fn operation_response(
        context: &mut GenContext,
        operation: &mut Operation,
    ) -> Option<openapi::Response> {
        let mut response = Json::<B>::operation_response(context, operation)?;
        describe(&mut response);
        Some(response)
    }

    fn inferred_responses(
        context: &mut GenContext,
        operation: &mut Operation,
    ) -> Vec<(Option<u16>, openapi::Response)> {
        Self::operation_response(context, operation)
            .map(|response| (Some(200), response))
            .into_iter()
            .collect()
    }
}

/// For the documentation of a route that answers with a page among other things.
pub(crate) fn linked(mut op: TransformOperation) -> TransformOperation {
    let responses = op.inner_mut().responses.get_or_insert_default();
    if let Some(ReferenceOr::Item(response)) = responses.responses.get_mut(&StatusCode::Code(200)) {
        describe(response);
    }
    op
}

fn describe(response: &mut openapi::Response) {
    let header = Header {
        description: Some(
            "`<URL>; rel=\"next\"` (RFC 8288): the next page. Absent: this is the last one."
                .to_owned(),
        ),
        style: HeaderStyle::Simple,
        required: false,
        deprecated: None,
        format: ParameterSchemaOrContent::Schema(SchemaObject {
            json_schema: json_schema!({ "type": "string" }),
            external_docs: None,
            example: None,
        }),
        example: None,
        examples: Default::default(),
        extensions: Default::default(),
    };
    response
        .headers
        .insert("Link".to_owned(), ReferenceOr::Item(header));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_keeps_what_was_asked_and_moves_on() {
        let here = "/v1/deployments?selector=app%3Dweb%2C!old&limit=2&cursor=b2xk"
            .parse()
            .unwrap();
        let wanted =
            "</v1/deployments?selector=app%3Dweb%2C%21old&limit=2&cursor=bmV3>; rel=\"next\"";
        assert_eq!(link(&here, "bmV3"), wanted);
        assert_eq!(
            link(&"/v1/tokens".parse().unwrap(), "bmV3"),
            "</v1/tokens?cursor=bmV3>; rel=\"next\""
        );
    }
}
