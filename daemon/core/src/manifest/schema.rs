//! The published JSON Schema: what an editor needs to complete and check a manifest. `parse` is stricter: it also checks fields against each
//! other.

use serde_json::{Value, json};

use super::Manifest;

const ID: &str = "https://tradewind.dev/schemas/v1/cloud-deployment.json";

/// How quantities are written as text, by the name of their definition.
const PATTERNS: [(&str, &str); 4] = [
    ("MilliCpu", r"^\s*((0|[1-9][0-9]*)?\.[0-9]{1,3}0*|(0|[1-9][0-9]*)m?)\s*$"),
    ("Bytes", r"^\s*((0|[1-9][0-9]*)?\.[0-9]+|0|[1-9][0-9]*)\s*([KMGT]i?|k)?\s*B?\s*$"),
    ("MicroUsd", r"^\s*\$?\s*([0-9]+(\.[0-9]{0,6})?|\.[0-9]{1,6})\s*(USD|usd)?\s*$"),
    (
        "Millis",
        r"^\s*([0-9]+(\.[0-9]+)?\s*(nanos|nsec|ns|usec|us|µs|millis|msec|ms|seconds?|secs?|s|minutes?|mins?|m|hours?|hrs?|h|days?|d|weeks?|wks?|w)\s*)+$",
    ),
];

/// Mappings from names, which the derived schema takes for mappings from any text.
const KEYS: [(&str, &str); 4] = [
    ("/$defs/Spec/properties/services", "TaskName"),
    ("/$defs/Spec/properties/jobs", "TaskName"),
    ("/$defs/Service/properties/ports", "PortName"),
    ("/$defs/Job/properties/ports", "PortName"),
];

/// The published JSON Schema of the manifest (draft 2020-12).
pub fn json_schema() -> Value {
    let mut schema = schemars::schema_for!(Manifest).to_value();
    if let Some(root) = schema.as_object_mut() {
        root.insert("$id".to_owned(), json!(ID));
        root.insert("title".to_owned(), json!("CloudDeployment"));
    }
    for (name, pattern) in PATTERNS {
        if let Some(definition) = schema.pointer_mut(&format!("/$defs/{name}")).and_then(Value::as_object_mut) {
            definition.insert("pattern".to_owned(), json!(pattern));
            definition.insert("minimum".to_owned(), json!(0));
        }
    }
    for (map, key) in KEYS {
        if let Some(map) = schema.pointer_mut(map).and_then(Value::as_object_mut) {
            map.insert("propertyNames".to_owned(), json!({ "$ref": format!("#/$defs/{key}") }));
        }
    }
    schema
}
