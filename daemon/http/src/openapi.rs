//! `/openapi.json`: this API described, generated from the handlers.

mod finish;
mod forms;

use aide::{
    OperationInput, OperationOutput,
    generate::{GenContext, in_context},
    openapi::{
        Components, Info, License, MediaType, OpenApi, Operation, ReferenceOr, SchemaObject,
        SecurityScheme, StatusCode, Tag,
    },
    transform::TransformOperation,
};
use axum::{
    Extension,
    body::Bytes,
    http::header,
    response::{IntoResponse, Response},
};

use schemars::{SchemaGenerator, generate::SchemaSettings, json_schema};
use serde_json::Value;
use tradewind_core::manifest::bound_integers;

use super::access;

/// The document's bytes, rendered once.
#[derive(Clone)]
pub(crate) struct Document(Bytes);

impl OperationInput for Document {}

/// The part that no handler knows. To be called before routes are described.
pub(crate) fn document() -> OpenApi {
    // OpenAPI 3.1 is JSON Schema 2020-12; what aide brings is older, and writes tuples in a way that no reader of 3.1 takes.
    let settings = SchemaSettings::draft2020_12()
        .with(|settings| settings.definitions_path = "/components/schemas".into());
    in_context(|context| context.schema = SchemaGenerator::new(settings));
    let tag = |name: &str, text: &str| Tag {
        name: name.to_owned(),
        description: Some(text.to_owned()),
        ..Tag::default()
    };
    OpenApi {
        info: Info {
            title: "Tradewind".to_owned(),
            description: Some(
                "State what should run; Tradewind decides where, makes it so, and can say why."
                    .to_owned(),
            ),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            license: Some(License {
                name: "Apache-2.0".to_owned(),
                identifier: Some("Apache-2.0".to_owned()),
                ..License::default()
            }),
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

/// The document as it is sent.
pub(crate) fn render(api: &OpenApi) -> serde_json::Result<Value> {
    let mut document = serde_json::to_value(api)?;
    bound_integers(&mut document);
    join_words(&mut document);
    finish::finish(&mut document);
    forms::mend(&mut document);
    Ok(document)
}

/// Where a value is one of several words, a schema has each with its meaning as a schema of its own (`oneOf`, `const`). Generators of clients
/// make a type of words only of an `enum`: the meanings go into the description.
fn join_words(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(join_words),
        Value::Object(fields) => {
            fields.values_mut().for_each(join_words);
            let Some(words) = fields.get("oneOf").and_then(words) else {
                return;
            };
            fields.remove("oneOf");
            let mut description: Vec<String> = fields
                .get("description")
                .and_then(Value::as_str)
                .map(|about| format!("{about}\n"))
                .into_iter()
                .collect();
            description.extend(
                words.iter().filter_map(|(word, meaning)| {
                    Some(format!("- `{word}`: {}", meaning.as_ref()?))
                }),
            );
            let words: Vec<String> = words.into_iter().map(|(word, _)| word).collect();
            fields.insert("description".to_owned(), description.join("\n").into());
            fields.insert("type".to_owned(), "string".into());
            fields.insert("enum".to_owned(), words.into());
        }
        _ => {}
    }
}

/// The words of schemas that are words and nothing else, each with its meaning.
fn words(schemas: &Value) -> Option<Vec<(String, Option<String>)>> {
    let known = ["type", "const", "enum", "description"];
    let mut words = Vec::new();
    for schema in schemas.as_array()? {
        let schema = schema.as_object()?;
        if !schema.keys().all(|key| known.contains(&key.as_str())) {
            return None;
        }
        let meaning = schema.get("description").and_then(Value::as_str);
        let meaning = meaning.map(str::to_owned);
        match (schema.get("const"), schema.get("enum")) {
            (Some(word), None) => words.push((word.as_str()?.to_owned(), meaning)),
            (None, Some(all)) => {
                for word in all.as_array()? {
                    words.push((word.as_str()?.to_owned(), None));
                }
            }
            _ => return None,
        }
    }
    Some(words)
}

pub(crate) fn extension(api: &OpenApi) -> Extension<Document> {
    let bytes = render(api)
        .and_then(|document| serde_json::to_vec(&document))
        .unwrap_or_else(|e| {
            tracing::error!(error = %e, "the description of the api could not be rendered");
            b"{}".to_vec()
        });
    Extension(Document(bytes.into()))
}

/// For a route's documentation: with status 200, text of this type may come as well.
pub(crate) fn or_text(
    media_type: &'static str,
    description: &'static str,
) -> impl FnOnce(TransformOperation) -> TransformOperation {
    or_media(media_type, text(description))
}

/// Of a text of any kind.
pub(crate) fn text(description: &'static str) -> MediaType {
    let schema = json_schema!({ "type": "string", "description": description });
    MediaType {
        schema: Some(SchemaObject {
            json_schema: schema,
            external_docs: None,
            example: None,
        }),
        ..MediaType::default()
    }
}

/// For a route's documentation: with status 200, this may come as well.
pub(crate) fn or_media(
    media_type: &'static str,
    media: MediaType,
) -> impl FnOnce(TransformOperation) -> TransformOperation {
    move |mut op| {
        let responses = op.inner_mut().responses.get_or_insert_default();
        if let Some(ReferenceOr::Item(response)) =
            responses.responses.get_mut(&StatusCode::Code(200))
        {
            response.content.insert(media_type.to_owned(), media);
        }
        op
    }
}

/// A body of this type that is no JSON: text, or bytes.
#[derive(Debug)]
pub(crate) struct Raw<const TEXT: bool>;

impl<const TEXT: bool> Raw<TEXT> {
    /// For a route's documentation: that is what comes with status 200.
    pub(crate) fn answer(
        media_type: &'static str,
        description: &'static str,
    ) -> impl FnOnce(TransformOperation) -> TransformOperation {
        move |op| {
            op.response_with::<200, Self, _>(|mut response| {
                let content = &mut response.inner().content;
                *content = content
                    .drain(..)
                    .map(|(_, media)| (media_type.to_owned(), media))
                    .collect();
                response.description(description)
            })
        }
    }
}

impl<const TEXT: bool> OperationOutput for Raw<TEXT> {
    type Inner = String;

    fn operation_response(
        context: &mut GenContext,
        operation: &mut Operation,
    ) -> Option<aide::openapi::Response> {
        if TEXT {
            String::operation_response(context, operation)
        } else {
            Vec::<u8>::operation_response(context, operation)
        }
    }
}

pub(crate) async fn get(Extension(Document(bytes)): Extension<Document>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], bytes).into_response()
}

pub(crate) fn docs(op: TransformOperation) -> TransformOperation {
    op.id("getOpenApi")
        .with(access::open)
        .tag("meta")
        .summary("This document")
        .response::<200, axum::Json<serde_json::Value>>()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn words_are_one_enum_and_keep_their_meanings() {
        let mut schema = json!({"properties": {
            "state": {"description": "How it is.", "oneOf": [
                {"type": "string", "const": "up", "description": "It answers."},
                {"type": "string", "enum": ["down", "lost"]},
            ]},
            "size": {"oneOf": [{"type": "string", "const": "all"}, {"type": "integer"}]},
        }});
        let size = schema["properties"]["size"].clone();
        join_words(&mut schema);
        assert_eq!(
            schema["properties"],
            json!({
                "state": {
                    "type": "string",
                    "description": "How it is.\n\n- `up`: It answers.",
                    "enum": ["up", "down", "lost"],
                },
                "size": size,
            })
        );
    }
}
