//! A page of a list as an answer: `items`, with the way to the next page as `next`, and in the head as a link with the relation `next`
//! (RFC 8288). It must not know what is listed.

pub(crate) mod fields;

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
use serde_json::Value;
use tradewind_api::{CURSOR, Nothing, Page};
use tradewind_core::{
    list::{Cursor, Listed},
    store::Revision,
};
use url::form_urlencoded;

use super::{Error, namespaced::Asked};
pub(crate) use fields::Fields;

/// The address that was asked for.
#[derive(Debug)]
pub(crate) struct Here(Uri);

/// A page, and where the next one is.
#[derive(Debug)]
pub(crate) struct Paged<T, B = Nothing> {
    page: Page<T, B>,
    link: Option<HeaderValue>,
    /// None: all fields of the items.
    fields: Option<Fields>,
}

impl Here {
    pub(crate) fn page<T, L: Listed>(&self, items: Vec<T>, next: Option<Cursor<L>>) -> Paged<T> {
        let next = next.map(|cursor| cursor.to_string());
        let link = next.as_ref().map(|cursor| link(&self.0, cursor));
        Paged {
            page: Page {
                next,
                ..Page::new(items, Nothing {})
            },
            // What a URI consists of may stand in a header.
            link: link.and_then(|link| HeaderValue::try_from(link).ok()),
            fields: None,
        }
    }
}

impl<T> Paged<T> {
    /// What the list says beside its items.
    pub(crate) fn beside<B>(self, beside: B) -> Paged<T, B> {
        let Page {
            items,
            next,
            revision,
            ..
        } = self.page;
        Paged {
            page: Page {
                items,
                next,
                revision,
                beside,
            },
            link: self.link,
            fields: self.fields,
        }
    }

    /// The revision must have been read before the items.
    pub(crate) fn at_revision(mut self, revision: Revision) -> Self {
        self.page.revision = Some(revision);
        self
    }
}

impl<T: JsonSchema, B> Paged<T, B> {
    /// Only these fields of the items.
    ///
    /// # Errors
    /// `Parameters` where no item can have one of them.
    pub(crate) fn only(mut self, fields: Option<Fields>) -> Result<Self, Error> {
        if let Some(fields) = &fields {
            fields.check::<T>()?;
        }
        self.fields = fields;
        Ok(self)
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
        let asked = parts.extensions.get::<Asked>();
        Ok(Self(asked.map_or_else(
            || parts.uri.clone(),
            |Asked(uri)| uri.clone(),
        )))
    }
}

impl OperationInput for Here {}

impl<T: Serialize, B: Serialize> IntoResponse for Paged<T, B> {
    fn into_response(self) -> Response {
        let mut response = match self.fields {
            None => Json(self.page).into_response(),
            Some(fields) => part(self.page, &fields),
        };
        if let Some(next) = self.link {
            response.headers_mut().insert(header::LINK, next);
        }
        response
    }
}

/// The page with what is left of its items.
fn part<T: Serialize, B: Serialize>(page: Page<T, B>, fields: &Fields) -> Response {
    let items: Result<Vec<Value>, _> = page
        .items
        .into_iter()
        .map(|item| serde_json::to_value(item).map(|item| fields.of(item)))
        .collect();
    match items {
        Ok(items) => Json(Page {
            items,
            next: page.next,
            revision: page.revision,
            beside: page.beside,
        })
        .into_response(),
        Err(e) => Error::Encode(e.into()).into_response(),
    }
}

impl<T: JsonSchema, B: JsonSchema> OperationOutput for Paged<T, B> {
    type Inner = Page<T, B>;

    fn operation_response(
        context: &mut GenContext,
        operation: &mut Operation,
    ) -> Option<openapi::Response> {
        let mut response = Json::<Page<T, B>>::operation_response(context, operation)?;
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
