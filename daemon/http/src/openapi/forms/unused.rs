//! Which named schemas a document uses, and for what.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{SCHEMAS, schemas};

/// Takes out the schemas to which nothing leads: those of whole queries, whose parameters are told one by one.
pub(super) fn remove(document: &mut Value) {
    let mut roots = BTreeSet::new();
    for (name, part) in document.as_object().into_iter().flatten() {
        if name != "components" {
            named(part, &mut roots);
        }
    }
    let used = closure(document, roots);
    if let Some(schemas) = schemas(document) {
        schemas.retain(|name, _| used.contains(name));
    }
}

/// The schemas of what clients send.
pub(super) fn reached_by_requests(document: &Value) -> BTreeSet<String> {
    let mut roots = BTreeSet::new();
    let paths = document["paths"].as_object().into_iter().flatten();
    for (_, operation) in paths.filter_map(|(_, path)| path.as_object()).flatten() {
        for part in ["requestBody", "parameters"] {
            named(&operation[part], &mut roots);
        }
    }
    closure(document, roots)
}

/// The names of all schemas to which these lead, with their own.
fn closure(document: &Value, mut found: BTreeSet<String>) -> BTreeSet<String> {
    let mut next: Vec<String> = found.iter().cloned().collect();
    while let Some(name) = next.pop() {
        let mut more = BTreeSet::new();
        let all = document.pointer("/components/schemas");
        if let Some(schema) = all.and_then(|all| all.get(&name)) {
            named(schema, &mut more);
        }
        next.extend(more.into_iter().filter(|name| found.insert(name.clone())));
    }
    found
}

fn named(value: &Value, names: &mut BTreeSet<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| named(item, names)),
        Value::Object(fields) => {
            let name = fields.get("$ref").and_then(Value::as_str);
            let name = name.and_then(|name| name.strip_prefix(SCHEMAS));
            names.extend(name.map(str::to_owned));
            fields.values().for_each(|value| named(value, names));
        }
        _ => {}
    }
}
