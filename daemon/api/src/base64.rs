//! Bytes as text.

use schemars::{JsonSchema, SchemaGenerator, json_schema};

/// The schema of bytes that are text in base64.
pub(crate) struct Base64;

impl JsonSchema for Base64 {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Base64".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> schemars::Schema {
        json_schema!({
            "type": "string", "contentEncoding": "base64", "contentMediaType": "application/wasm",
            "pattern": "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$", "description": "Bytes in base64, padded.",
        })
    }
}
