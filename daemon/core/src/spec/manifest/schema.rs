//! The published JSON Schema: what an editor needs to complete and check a manifest. `parse` is stricter: it also checks fields against each
//! other.

use serde_json::{Value, json};

use super::Manifest;

const ID: &str = "https://tradewind.dev/schemas/v1/cloud-deployment.json";

/// Mappings from names, which the derived schema takes for mappings from any text.
const KEYS: [(&str, &str); 6] = [
    ("/$defs/Spec/properties/services", "TaskName"),
    ("/$defs/Spec/properties/jobs", "TaskName"),
    ("/$defs/Service/properties/ports", "PortName"),
    ("/$defs/Job/properties/ports", "PortName"),
    ("/$defs/Service/properties/after", "TaskName"),
    ("/$defs/Job/properties/after", "TaskName"),
];

/// Types of the schema that are written as one value, by their names there, and what they are called. Names have one rule.
pub const VALUES: [(&str, &str); 14] = [
    ("MilliCpu", "cores"),
    ("MicroUsd", "dollars"),
    ("Millis", "duration"),
    ("PortionSpec", "integer or percent"),
    ("MetricName", "metric name"),
    ("TaskName", "name"),
    ("Percent", "percent"),
    ("Region", "region"),
    ("PartPercent", "share"),
    ("Bytes", "size"),
    ("PortName", "name"),
    ("InstanceName", "name"),
    ("DeploymentName", "name"),
    ("Namespace", "name"),
];

/// The published JSON Schema of the manifest (draft 2020-12).
pub fn json_schema() -> Value {
    let mut schema = schemars::schema_for!(Manifest).to_value();
    if let Some(root) = schema.as_object_mut() {
        root.insert("$id".to_owned(), json!(ID));
        root.insert("title".to_owned(), json!("CloudDeployment"));
    }
    for (map, key) in KEYS {
        if let Some(map) = schema.pointer_mut(map).and_then(Value::as_object_mut) {
            map.insert(
                "propertyNames".to_owned(),
                json!({ "$ref": format!("#/$defs/{key}") }),
            );
        }
    }
    bound_integers(&mut schema);
    schema
}

/// Tells the largest and the least number of every integer, which its `format` implies to us alone.
pub fn bound_integers(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(bound_integers),
        Value::Object(fields) => {
            fields.values_mut().for_each(bound_integers);
            let bounds = fields
                .get("format")
                .and_then(Value::as_str)
                .and_then(bounds);
            if let Some((least, most)) = bounds.filter(|_| fields.contains_key("type")) {
                fields.entry("minimum").or_insert(least);
                fields.entry("maximum").or_insert(most);
            }
        }
        _ => {}
    }
}

/// By the names that schemas have for Rust's integers.
fn bounds(format: &str) -> Option<(Value, Value)> {
    Some(match format {
        "uint8" => (json!(0), json!(u8::MAX)),
        "uint16" => (json!(0), json!(u16::MAX)),
        "uint32" => (json!(0), json!(u32::MAX)),
        "uint64" | "uint" => (json!(0), json!(u64::MAX)),
        "int8" => (json!(i8::MIN), json!(i8::MAX)),
        "int16" => (json!(i16::MIN), json!(i16::MAX)),
        "int32" => (json!(i32::MIN), json!(i32::MAX)),
        "int64" | "int" => (json!(i64::MIN), json!(i64::MAX)),
        _ => return None,
    })
}

/// A whole manifest, as short as it can be.
pub(super) fn example() -> Value {
    json!({
        "apiVersion": "tradewind.dev/v1",
        "kind": "CloudDeployment",
        "metadata": { "name": "web" },
        "spec": { "services": { "web": { "command": ["sleep", "infinity"], "replicas": 1 } } },
    })
}

/// A deployment has a service or a job.
pub(super) fn something_to_run() -> Value {
    let one =
        |of: &str| json!({ "required": [of], "properties": { (of): { "minProperties": 1 } } });
    json!([one("services"), one("jobs")])
}
