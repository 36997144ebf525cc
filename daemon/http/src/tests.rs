//! What the document of the API says of every route.

use serde_json::Value;
use tradewind_api::problem::CONTENT_TYPE;

use super::*;

#[test]
fn every_operation_tells_how_it_fails_and_what_its_numbers_are() {
    let mut api = openapi::document();
    let _ = routes().finish_api(&mut api);
    let document = openapi::render(&api).unwrap();
    let problem = Some("#/components/schemas/ProblemDetails");
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let told = operation["responses"]["default"]["content"][CONTENT_TYPE]["schema"]["$ref"]
                .as_str();
            assert_eq!(told, problem, "{method} {path}");
        }
    }
    let strict = |value: &Value| {
        assert!(
            !value["items"].is_array(),
            "a tuple of an older JSON Schema: {value}"
        );
        if matches!(
            value["format"].as_str(),
            Some("uint" | "uint32" | "uint64" | "int32" | "int64")
        ) {
            assert!(
                value["maximum"].is_number() && value["minimum"].is_number(),
                "{value}"
            );
        }
    };
    let mut left = vec![&document];
    while let Some(value) = left.pop() {
        strict(value);
        match value {
            // Examples are no schemas.
            Value::Object(fields) => left.extend(
                fields
                    .iter()
                    .filter(|(name, _)| *name != "example")
                    .map(|(_, value)| value),
            ),
            Value::Array(items) => left.extend(items),
            _ => {}
        }
    }
}

#[test]
fn every_route_says_who_may_use_it() {
    let mut api = openapi::document();
    let _ = routes().finish_api(&mut api);
    let undeclared = access::Table::of(&api).undeclared();
    assert!(
        undeclared.is_empty(),
        "say it in their documentation with `access::needs`: {undeclared:?}"
    );
}
