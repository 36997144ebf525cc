//! Objects of several shapes as one. Generators take such shapes apart in ways of their own: one forgets the tag, the next finds two that fit.
//! All of them read one object with the properties of all shapes and a word that tells which it is.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{Fields, schemas};

/// Rewrites the named schemas that are objects of several shapes.
pub(super) fn join(document: &mut Value) {
    let Some(schemas) = schemas(document) else {
        return;
    };
    let known = schemas.clone();
    for schema in schemas.values_mut().filter_map(Value::as_object_mut) {
        let shapes: Option<Vec<Fields>> = schema
            .get("oneOf")
            .and_then(Value::as_array)
            .and_then(|shapes| shapes.iter().map(shape).collect());
        let joined = shapes.and_then(|shapes| by_tag(&shapes, &known).or_else(|| by_name(&shapes)));
        if let Some(joined) = joined {
            schema.remove("oneOf");
            schema.extend(joined);
        }
    }
}

fn shape(schema: &Value) -> Option<Fields> {
    schema["properties"].as_object()?;
    schema.as_object().cloned()
}

fn properties(shape: &Fields) -> impl Iterator<Item = (&String, &Value)> {
    let properties = shape.get("properties").and_then(Value::as_object);
    properties.into_iter().flatten()
}

fn demands(shape: &Fields, name: &str) -> bool {
    let required = shape.get("required").and_then(Value::as_array);
    required.is_some_and(|required| required.iter().any(|other| other == name))
}

/// A property as one shape has it, and the word of that shape.
#[derive(Debug, Clone, Copy)]
struct Told<'a> {
    word: &'a str,
    property: &'a Value,
}

/// Shapes told apart by a property of which each has a word of its own.
fn by_tag(shapes: &[Fields], known: &Fields) -> Option<Fields> {
    let (tag, _) =
        properties(shapes.first()?).find(|(_, property)| !property["const"].is_null())?;
    let mut words = Vec::new();
    let mut meanings = Vec::new();
    let mut told: BTreeMap<&String, Vec<Told<'_>>> = BTreeMap::new();
    for shape in shapes {
        let (_, property) = properties(shape).find(|(name, _)| *name == tag)?;
        let word = property["const"].as_str()?;
        words.push(word);
        if let Some(meaning) = shape.get("description").and_then(Value::as_str) {
            meanings.push(format!("- `{word}`: {meaning}"));
        }
        for (name, property) in properties(shape).filter(|(name, _)| *name != tag) {
            told.entry(name).or_default().push(Told { word, property });
        }
    }
    let mut joined = Fields::new();
    let word = json!({ "type": "string", "enum": words, "description": meanings.join("\n") });
    joined.insert(tag.clone(), word);
    let mut required = BTreeSet::from([tag]);
    for (name, told) in told {
        if shapes.iter().all(|shape| demands(shape, name)) {
            required.insert(name);
        }
        let everywhere = told.len() == shapes.len();
        joined.insert(name.clone(), one_of_all(&told, everywhere, known));
    }
    let fields = json!({ "type": "object", "properties": joined, "required": required });
    fields.as_object().cloned()
}

/// Shapes of one property each, and nothing else: an object with exactly one of them.
fn by_name(shapes: &[Fields]) -> Option<Fields> {
    let mut joined = Fields::new();
    for shape in shapes {
        let mut all = properties(shape);
        let (Some((name, property)), None) = (all.next(), all.next()) else {
            return None;
        };
        if shape.get("additionalProperties") != Some(&Value::Bool(false)) {
            return None;
        }
        let mut property = property.as_object()?.clone();
        if let Some(meaning) = shape.get("description") {
            property.insert("description".to_owned(), meaning.clone());
        }
        joined.insert(name.clone(), property.into());
    }
    let fields = json!({
        "type": "object", "properties": joined, "additionalProperties": false, "minProperties": 1, "maxProperties": 1,
    });
    fields.as_object().cloned()
}

/// A property that fits whichever shape has it.
fn one_of_all(told: &[Told<'_>], everywhere: bool, known: &Fields) -> Value {
    let mut forms: Vec<Fields> = Vec::new();
    for Told { property, .. } in told {
        let mut form = property.as_object().cloned().unwrap_or_default();
        form.remove("description");
        if !forms.contains(&form) {
            forms.push(form);
        }
    }
    if forms.len() > 1 {
        let several = std::mem::take(&mut forms);
        for form in several.into_iter().map(|form| bare(form, known)) {
            if !forms.contains(&form) {
                forms.push(form);
            }
        }
    }
    let mut property = match forms.as_slice() {
        [only] => only.clone(),
        _ => Fields::from_iter([("oneOf".to_owned(), forms.into())]),
    };
    let words: Vec<String> = told.iter().map(|told| format!("`{}`", told.word)).collect();
    let of = (!everywhere).then(|| format!("Of {}.", words.join(", ")));
    let about = told
        .iter()
        .find_map(|told| told.property["description"].as_str());
    let about: Vec<&str> = about.into_iter().chain(of.as_deref()).collect();
    if !about.is_empty() {
        property.insert("description".to_owned(), about.join(" ").into());
    }
    property.into()
}

/// Several kinds of text are text. What may be sent as text or as a number is always told as text.
fn bare(form: Fields, known: &Fields) -> Fields {
    let named = super::target(&form).and_then(|name| known.get(name)?.as_object());
    let meant = named.unwrap_or(&form);
    let is_text = |schema: &Fields| schema.get("type").is_some_and(|name| name == "string");
    let branches = meant.get("oneOf").and_then(Value::as_array);
    let mut branches = branches.into_iter().flatten().filter_map(Value::as_object);
    if is_text(meant) || branches.any(is_text) {
        return Fields::from_iter([("type".to_owned(), "string".into())]);
    }
    form
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_become_one_object() {
        let tagged = |kind: &str, name: &str, schema: Value| {
            json!({"type": "object", "required": ["kind", name], "properties": {
                "kind": {"type": "string", "const": kind}, name: schema}})
        };
        let single = |name: &str| json!({"type": "object", "properties": {name: {"type": "string"}}, "additionalProperties": false});
        let mut document = json!({"components": {"schemas": {
            "Id": {"type": "string", "pattern": "^r-"},
            "Cause": {"oneOf": [
                tagged("request", "id", json!({"$ref": format!("{}Id", super::super::SCHEMAS)})),
                tagged("count", "id", json!({"type": "integer"})),
                tagged("rule", "text", json!({"type": "string"})),
            ]},
            "Source": {"oneOf": [single("env"), single("file")]},
        }}});
        join(&mut document);
        assert_eq!(
            document["components"]["schemas"]["Cause"],
            json!({"type": "object", "required": ["kind"], "properties": {
                "kind": {"type": "string", "enum": ["request", "count", "rule"], "description": ""},
                "id": {"oneOf": [{"type": "string"}, {"type": "integer"}], "description": "Of `request`, `count`."},
                "text": {"type": "string", "description": "Of `rule`."},
            }})
        );
        assert_eq!(
            document["components"]["schemas"]["Source"],
            json!({"type": "object", "additionalProperties": false, "minProperties": 1, "maxProperties": 1, "properties": {
                "env": {"type": "string"}, "file": {"type": "string"},
            }})
        );
    }
}
