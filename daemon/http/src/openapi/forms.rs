//! Forms of schemas of which generators of clients make types. JSON Schema says one thing in several ways, and generators know some of them: of
//! the others they make empty types, or code that does not compile. What is told here holds for the same values, or for a few more in answers.
//! It must not know any operation.

mod tagged;
mod unused;

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

type Fields = Map<String, Value>;

/// Where the document keeps its named schemas.
const SCHEMAS: &str = "#/components/schemas/";
/// Answers with a null where something is missing: these are sent as they are stored.
const WITH_NULLS: [&str; 2] = ["Target", "PlanBasis"];
/// What bounds values of one type alone.
const STRINGS: [&str; 4] = ["pattern", "minLength", "maxLength", "format"];
const NUMBERS: [&str; 4] = ["minimum", "maximum", "multipleOf", "format"];

/// Rewrites every schema of the document.
pub(super) fn mend(document: &mut Value) {
    each(document, &mut |schema| {
        one_type(schema);
        disjoint(schema);
        number(schema);
        words(schema);
    });
    let words = names_of(document, |schema| schema.contains_key("enum"));
    each(document, &mut |schema| default(schema, &words));
    parameters(document);
    contents(document);
    unused::remove(document);
    let sent = unused::reached_by_requests(document);
    if let Some(schemas) = schemas(document) {
        for (name, schema) in schemas {
            if sent.contains(name) || WITH_NULLS.contains(&name.as_str()) {
                continue;
            }
            let shapes = schema.get_mut("oneOf").and_then(Value::as_array_mut);
            for shape in shapes
                .into_iter()
                .flatten()
                .filter_map(Value::as_object_mut)
            {
                absent_is_not_null(shape);
            }
            if let Some(fields) = schema.as_object_mut() {
                absent_is_not_null(fields);
            }
        }
    }
    tagged::join(document);
}

/// Visits every object, inner ones first.
fn each(value: &mut Value, visit: &mut impl FnMut(&mut Fields)) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| each(item, visit)),
        Value::Object(fields) => {
            for (name, value) in fields.iter_mut() {
                match (name.as_str(), value) {
                    ("example" | "examples" | "enum" | "const", _) => {}
                    // The names in there are not a schema's own.
                    ("properties" | "responses", Value::Object(named)) => {
                        named.values_mut().for_each(|value| each(value, visit));
                    }
                    (_, value) => each(value, visit),
                }
            }
            visit(fields);
        }
        _ => {}
    }
}

fn schemas(document: &mut Value) -> Option<&mut Fields> {
    document
        .pointer_mut("/components/schemas")
        .and_then(Value::as_object_mut)
}

fn names_of(document: &mut Value, wanted: impl Fn(&Fields) -> bool) -> BTreeSet<String> {
    let schemas = schemas(document).into_iter().flatten();
    let wanted = schemas.filter(|(_, schema)| schema.as_object().is_some_and(&wanted));
    wanted.map(|(name, _)| name.clone()).collect()
}

/// The named schema that this one stands for.
fn target(schema: &Fields) -> Option<&str> {
    schema.get("$ref")?.as_str()?.strip_prefix(SCHEMAS)
}

/// A value of several types is one of several schemas, each of one type with the bounds that are its own.
fn one_type(schema: &mut Fields) {
    let Some(types) = schema.get("type").and_then(Value::as_array) else {
        return;
    };
    let types: Vec<String> = types
        .iter()
        .filter_map(|name| name.as_str().map(str::to_owned))
        .collect();
    match types.as_slice() {
        [only] => {
            schema.insert("type".to_owned(), only.as_str().into());
        }
        several if several.iter().filter(|name| *name != "null").count() > 1 => {
            let bounds: Vec<(String, Value)> = STRINGS
                .iter()
                .chain(&NUMBERS)
                .filter_map(|bound| schema.remove_entry(*bound))
                .collect();
            let branch = |name: &String| {
                let known: &[&str] = match name.as_str() {
                    "string" => &STRINGS,
                    "integer" | "number" => &NUMBERS,
                    _ => &[],
                };
                let own = bounds
                    .iter()
                    .filter(|(bound, _)| known.contains(&bound.as_str()));
                let mut branch: Fields = own.cloned().collect();
                branch.insert("type".to_owned(), name.as_str().into());
                number(&mut branch);
                Value::Object(branch)
            };
            let branches: Vec<Value> = several.iter().map(branch).collect();
            schema.remove("type");
            schema.insert("oneOf".to_owned(), branches.into());
        }
        _ => {}
    }
}

/// Alternatives of which no value fits two are told as such. A value that may be null stays as it is: every generator knows that form.
fn disjoint(schema: &mut Fields) {
    let Some(branches) = schema.get("anyOf").and_then(Value::as_array) else {
        return;
    };
    // Beside the properties of an object, it tells which there have to be: no type can.
    if schema.contains_key("properties") {
        schema.remove("anyOf");
        return;
    }
    if schema.contains_key("type") || branches.iter().any(|branch| branch["type"] == "null") {
        return;
    }
    let mut flat = Vec::new();
    for branch in branches {
        match branch.get("oneOf").and_then(Value::as_array) {
            Some(inner) => flat.extend(inner.iter().cloned()),
            None => flat.push(branch.clone()),
        }
    }
    // A word or a list of such words: generators would bring the type of the word in twice.
    if let [word, list] = flat.as_mut_slice()
        && list["items"] == *word
    {
        *word = json!({ "type": "string" });
        if let Some(list) = list.as_object_mut() {
            list.remove("uniqueItems");
        }
    }
    schema.remove("anyOf");
    schema.insert("oneOf".to_owned(), flat.into());
}

/// OpenAPI knows signed integers of 32 and 64 bits, beyond which nothing here counts, and floating-point numbers.
fn number(schema: &mut Fields) {
    const LARGEST: u64 = i64::MAX as u64;
    let format = schema.get("format").and_then(Value::as_str);
    let known = match format {
        Some("uint64" | "uint" | "uint32") => "int64",
        Some("uint16" | "uint8" | "int16" | "int8") => "int32",
        None if schema.get("type").is_some_and(|name| name == "number") => "double",
        None if schema.get("type").is_some_and(|name| name == "integer") => {
            let most = schema.get("maximum").and_then(Value::as_u64);
            if most.is_some_and(|most| most <= i32::MAX as u64) {
                return;
            }
            "int64"
        }
        _ => return,
    };
    schema.insert("format".to_owned(), known.into());
    if known == "int64" {
        schema.entry("minimum").or_insert(i64::MIN.into());
        schema.entry("maximum").or_insert(i64::MAX.into());
    }
    if let Some(most) = schema.get_mut("maximum")
        && most.as_u64().is_some_and(|most| most > LARGEST)
    {
        *most = LARGEST.into();
    }
}

/// Words that are paths get the names under which code knows them.
fn words(schema: &mut Fields) {
    let all = schema.get("enum").and_then(Value::as_array);
    let words: Vec<&str> = all
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    if !words.iter().any(|word| word.contains('/')) {
        return;
    }
    let name = |word: &&str| -> String {
        let last = word.rsplit('/').next().unwrap_or(word);
        let parts = last.split(|c: char| !c.is_ascii_alphanumeric());
        parts
            .filter_map(|part| Some(part.get(..1)?.to_uppercase() + part.get(1..)?))
            .collect()
    };
    let names: Vec<String> = words.iter().map(name).collect();
    schema.insert("x-enum-varnames".to_owned(), names.into());
}

/// A default is kept where a generator can write it down: not that of an object, nor one beside the name of a type that is no list of words.
/// Its description tells it then.
fn default(schema: &mut Fields, words: &BTreeSet<String>) {
    let named = target(schema).is_some_and(|name| !words.contains(name));
    let writable = |default: &Value| !default.is_object() && !default.is_null() && !named;
    if schema.get("default").is_some_and(writable) {
        return;
    }
    let Some(default) = schema.remove("default") else {
        return;
    };
    let about = schema.get("description").and_then(Value::as_str);
    let about = about.unwrap_or_default();
    let telling = match &default {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    if let Some(value) = telling.filter(|_| !about.contains("Default")) {
        let about = format!("{about} Default: `{value}`.").trim().to_owned();
        schema.insert("description".to_owned(), about.into());
    }
}

/// What is missing is left out of answers.
fn absent_is_not_null(schema: &mut Fields) {
    let required: BTreeSet<String> = schema
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|name| name.as_str().map(str::to_owned))
        .collect();
    let properties = schema.get_mut("properties").and_then(Value::as_object_mut);
    for (name, property) in properties.into_iter().flatten() {
        if let Some(property) = property
            .as_object_mut()
            .filter(|_| !required.contains(name))
        {
            not_null(property);
        }
    }
}

/// Takes null from what a value may be.
fn not_null(schema: &mut Fields) {
    if let Some(types) = schema.get_mut("type").and_then(Value::as_array_mut) {
        types.retain(|name| name != "null");
        one_type(schema);
    }
    let Some(branches) = schema.get_mut("anyOf").and_then(Value::as_array_mut) else {
        return;
    };
    branches.retain(|branch| branch["type"] != "null");
    if let [Value::Object(only)] = branches.as_slice() {
        let only = only.clone();
        schema.remove("anyOf");
        for (name, value) in only {
            schema.entry(name).or_insert(value);
        }
    }
}

/// Parameters are text, and never null: generators write down one of a named type as if it were JSON.
fn parameters(document: &mut Value) {
    let known = schemas(document).cloned().unwrap_or_default();
    each(document, &mut |fields| {
        if !fields.contains_key("in") {
            return;
        }
        let Some(schema) = fields.get_mut("schema").and_then(Value::as_object_mut) else {
            return;
        };
        not_null(schema);
        schema.remove("not");
        let named = target(schema).and_then(|name| known.get(name)?.as_object());
        if let Some(named) = named {
            schema.remove("$ref");
            for (name, value) in named {
                schema.entry(name.clone()).or_insert(value.clone());
            }
        }
        let branches = schema.get("oneOf").and_then(Value::as_array);
        let text = branches.and_then(|all| all.iter().find(|branch| branch["type"] == "string"));
        if let Some(text) = text.and_then(Value::as_object).cloned() {
            schema.remove("oneOf");
            schema.extend(text);
        }
    });
}

/// Contents have a schema that is an object.
fn contents(document: &mut Value) {
    each(document, &mut |fields| {
        let contents = fields.get_mut("content").and_then(Value::as_object_mut);
        for (media, content) in contents.into_iter().flatten() {
            let Some(content) = content.as_object_mut() else {
                continue;
            };
            let schema = content.entry("schema").or_insert(Value::Bool(true));
            if schema.is_boolean() {
                *schema = match media.as_str() {
                    "application/json" => json!({ "type": "object" }),
                    text if text.starts_with("text/") => json!({ "type": "string" }),
                    _ => json!({ "type": "string", "format": "binary" }),
                };
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mended(schemas: Value) -> Value {
        let mut document = json!({
            "paths": {"/": {"get": {"responses": {"200": {"content": {"application/json": {
                "schema": {"$ref": "#/components/schemas/All"}}}}}}}},
            "components": {"schemas": schemas},
        });
        mend(&mut document);
        document["components"]["schemas"].take()
    }

    #[test]
    fn what_generators_know_is_what_they_are_told() {
        let size = json!({"type": ["string", "integer"], "pattern": "^[0-9]+$", "minimum": 0});
        let schemas = mended(json!({
            "Unused": {"type": "string"},
            "Size": size,
            "State": {"type": "string", "enum": ["up", "down"]},
            "All": {"type": "object", "required": ["state"], "properties": {
                "size": {"$ref": "#/components/schemas/Size", "default": "1Gi", "description": "Of all."},
                "state": {"$ref": "#/components/schemas/State", "default": "up"},
                "count": {"type": ["integer", "null"], "format": "uint64", "minimum": 0, "maximum": u64::MAX},
                "last": {"anyOf": [{"$ref": "#/components/schemas/Size"}, {"type": "null"}]},
            }},
        }));
        assert_eq!(
            schemas,
            json!({
                "Size": {"oneOf": [
                    {"type": "string", "pattern": "^[0-9]+$"},
                    {"type": "integer", "format": "int64", "minimum": 0, "maximum": i64::MAX},
                ]},
                "State": {"type": "string", "enum": ["up", "down"]},
                "All": {"type": "object", "required": ["state"], "properties": {
                    "size": {"$ref": "#/components/schemas/Size", "description": "Of all. Default: `1Gi`."},
                    "state": {"$ref": "#/components/schemas/State", "default": "up"},
                    "count": {"type": "integer", "format": "int64", "minimum": 0, "maximum": i64::MAX},
                    "last": {"$ref": "#/components/schemas/Size"},
                }},
            })
        );
    }
}
