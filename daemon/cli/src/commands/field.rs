//! `explain FIELD`: what a field of the manifest is, out of the manifest's JSON Schema.

use serde::Serialize;
use serde_json::Value;
use tradewind_core::manifest::{self, VALUES};

use crate::{Error, Output};

/// Stands for the whole manifest.
const WHOLE: &str = "manifest";

/// Columns of a text.
const WIDTH: usize = 80;

#[derive(Debug, Serialize)]
struct Explained {
    field: String,
    #[serde(rename = "type")]
    kind: String,
    required: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    default: Option<String>,
    description: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    values: Vec<Choice>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fields: Vec<Explained>,
}

#[derive(Debug, Serialize)]
struct Choice {
    value: String,
    description: String,
}

/// Whether it is about the manifest: the names of deployments have no dots.
pub(crate) fn is_field(name: &str) -> bool {
    name == WHOLE || name.contains('.')
}

pub(crate) fn run(output: &Output, path: &str) -> Result<(), Error> {
    let schema = manifest::json_schema();
    let explained = explain(&schema, path)?;
    output.show(&explained, |_| text(&explained))
}

fn explain(root: &Value, path: &str) -> Result<Explained, Error> {
    // `spec.targets[].services` and `.spec` are other ways to write it.
    let words: Vec<String> = path
        .split('.')
        .map(|word| word.split('[').next().unwrap_or_default().to_owned())
        .filter(|word| !word.is_empty() && word != WHOLE)
        .collect();
    let (mut schema, mut required) = (root, true);
    let mut walked: Vec<String> = Vec::new();
    for word in words {
        let next = step(root, schema, &word);
        let Some((inner, needed)) = next else {
            let mut known = fields(root, schema, &mut |name, _| name.to_owned());
            known.sort();
            let parent = match walked.as_slice() {
                [] => WHOLE.to_owned(),
                walked => walked.join("."),
            };
            return Err(Error::NoField {
                field: path.to_owned(),
                known: match known.is_empty() {
                    true => format!("\"{parent}\" has no fields"),
                    false => format!("\"{parent}\" has {}", known.join(", ")),
                },
            });
        };
        (schema, required) = (inner, needed);
        walked.push(word);
    }
    let name = match walked.as_slice() {
        [] => WHOLE.to_owned(),
        walked => walked.join("."),
    };
    let mut explained = describe(root, &name, schema, required);
    let of = |name: &str| {
        let found = step(root, schema, name);
        found.map(|(inner, required)| describe(root, name, inner, required))
    };
    let mut names = fields(root, schema, &mut |name, _| name.to_owned());
    names.sort();
    explained.fields = names.iter().filter_map(|name| of(name)).collect();
    explained.fields.sort_by_key(|field| !field.required);
    Ok(explained)
}

fn referred<'a>(root: &'a Value, schema: &'a Value) -> Option<(&'a str, &'a Value)> {
    let name = schema.get("$ref")?.as_str()?.strip_prefix("#/$defs/")?;
    Some((name, root.get("$defs")?.get(name)?))
}

/// The forms that a value may have: what it refers to, one of several, the items of a list, the values of a map.
fn forms<'a>(root: &'a Value, schema: &'a Value) -> Vec<&'a Value> {
    let mut all = vec![schema];
    if let Some((_, inner)) = referred(root, schema) {
        all.extend(forms(root, inner));
    }
    for key in ["anyOf", "allOf", "oneOf"] {
        let several = schema.get(key).and_then(Value::as_array);
        for one in several.into_iter().flatten() {
            all.extend(forms(root, one));
        }
    }
    if let Some(items) = schema.get("items").filter(|items| items.is_object()) {
        all.extend(forms(root, items));
    }
    all
}

/// The schema of a field, or of a map's value, and whether it must be given. A map's key may be left out, as an index of a list may.
fn step<'a>(root: &'a Value, schema: &'a Value, word: &str) -> Option<(&'a Value, bool)> {
    let all = forms(root, schema);
    let own = all.iter().find_map(|form| {
        let found = form.get("properties")?.get(word)?;
        let needed = form.get("required").and_then(Value::as_array);
        let required = needed.is_some_and(|names| names.iter().any(|name| name == word));
        Some((found, required))
    });
    let values = || {
        all.iter().find_map(|form| {
            form.get("additionalProperties")
                .filter(|values| values.is_object())
        })
    };
    match own {
        Some(own) => Some(own),
        None => {
            let values = values()?;
            let inner = step(root, values, word);
            Some(inner.unwrap_or((values, false)))
        }
    }
}

fn fields<T>(root: &Value, schema: &Value, make: &mut impl FnMut(&str, &Value) -> T) -> Vec<T> {
    for form in forms(root, schema) {
        if let Some(properties) = form.get("properties").and_then(Value::as_object) {
            return properties
                .iter()
                .map(|(name, inner)| make(name, inner))
                .collect();
        }
    }
    for form in forms(root, schema) {
        if let Some(values) = form.get("additionalProperties").filter(|v| v.is_object()) {
            return fields(root, values, make);
        }
    }
    Vec::new()
}

fn describe(root: &Value, name: &str, schema: &Value, required: bool) -> Explained {
    let comment = |schema: &Value| {
        let text = schema.get("description").and_then(Value::as_str);
        let text = text.unwrap_or_default();
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let mut own = comment(schema);
    if own.is_empty()
        && let Some((_, inner)) = referred(root, schema)
    {
        own = comment(inner);
    }
    let (description, said) = match own.rsplit_once("Default: ") {
        Some((meaning, default)) => (
            meaning.trim().to_owned(),
            Some(default.trim_end_matches('.').replace('`', "")),
        ),
        None => (own, None),
    };
    let default = said.or_else(|| match schema.get("default") {
        Some(Value::String(text)) if !text.is_empty() => Some(text.clone()),
        Some(value @ (Value::Bool(_) | Value::Number(_))) => Some(value.to_string()),
        _ => None,
    });
    Explained {
        field: name.to_owned(),
        kind: kind(root, schema),
        required,
        default,
        description,
        values: choices(root, schema),
        fields: Vec::new(),
    }
}

fn kind(root: &Value, schema: &Value) -> String {
    if let Some((name, inner)) = referred(root, schema) {
        let word = VALUES.iter().find(|(known, _)| *known == name);
        return word.map_or_else(|| kind(root, inner), |(_, word)| (*word).to_owned());
    }
    let values = own_values(schema);
    if !values.is_empty() {
        let values: Vec<String> = values.into_iter().map(|choice| choice.value).collect();
        return values.join(", ");
    }
    for key in ["anyOf", "oneOf", "allOf"] {
        if let Some(several) = schema.get(key).and_then(Value::as_array) {
            let mut words: Vec<String> = several
                .iter()
                .filter(|form| form.get("type").is_none_or(|kind| kind != "null"))
                .map(|form| kind(root, form))
                .collect();
            words.dedup();
            return words.join(" or ");
        }
    }
    let types: Vec<&str> = match schema.get("type") {
        Some(Value::Array(types)) => types.iter().filter_map(Value::as_str).collect(),
        Some(one) => one.as_str().into_iter().collect(),
        None => Vec::new(),
    };
    let text = types.contains(&"string");
    let words = types.iter().filter_map(|word| match *word {
        "string" => Some("text".to_owned()),
        "integer" => Some("integer".to_owned()),
        // Beside a text they are other ways to write it.
        "number" if !text => Some("number".to_owned()),
        "boolean" if !text => Some("true or false".to_owned()),
        "array" => {
            let items = schema.get("items").map(|items| kind(root, items));
            Some(format!("list of {}", items.unwrap_or_default()))
        }
        "object" => match schema.get("additionalProperties") {
            Some(values @ Value::Object(_)) => Some(format!("map of {}", kind(root, values))),
            _ => Some("mapping".to_owned()),
        },
        _ => None,
    });
    let words: Vec<String> = words.collect();
    match words.is_empty() {
        true => "any value".to_owned(),
        false => words.join(" or "),
    }
}

fn own_values(schema: &Value) -> Vec<Choice> {
    let about = |schema: &Value| {
        let text = schema.get("description").and_then(Value::as_str);
        text.unwrap_or_default().to_owned()
    };
    let plain = schema.get("enum").and_then(Value::as_array);
    let mut values: Vec<Choice> = plain
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(|value| Choice {
            value: value.to_owned(),
            description: String::new(),
        })
        .collect();
    if let Some(value) = schema.get("const").and_then(Value::as_str) {
        values.push(Choice {
            value: value.to_owned(),
            description: about(schema),
        });
    }
    let several = schema.get("oneOf").and_then(Value::as_array);
    values.extend(several.into_iter().flatten().flat_map(own_values));
    values
}

fn choices(root: &Value, schema: &Value) -> Vec<Choice> {
    let all = forms(root, schema);
    // Of a map, what its entries may be.
    let of_entries = all
        .iter()
        .filter_map(|form| form.get("additionalProperties"));
    let entries: Vec<&Value> = of_entries.flat_map(|entry| forms(root, entry)).collect();
    let mut found = all.into_iter().chain(entries).map(own_values);
    found.find(|values| !values.is_empty()).unwrap_or_default()
}

fn text(explained: &Explained) -> String {
    let mut text = format!(
        "FIELD    {}\nTYPE     {}\n",
        explained.field, explained.kind
    );
    match &explained.default {
        Some(default) => text.push_str(&wrapped(&format!("DEFAULT  {default}"), 9)),
        None if explained.required => text.push_str("DEFAULT  none: it must be given"),
        None => text.push_str("DEFAULT  none"),
    }
    if !explained.description.is_empty() {
        text.push_str(&format!("\n\n{}", wrapped(&explained.description, 0)));
    }
    if !explained.values.is_empty() {
        text.push_str("\n\nVALUES");
        for choice in &explained.values {
            let about = match choice.description.as_str() {
                "" => String::new(),
                about => format!(": {about}"),
            };
            text.push('\n');
            text.push_str(&wrapped(&format!("  {}{about}", choice.value), 4));
        }
    }
    if !explained.fields.is_empty() {
        text.push_str("\n\nFIELDS");
        for field in &explained.fields {
            let more = match (&field.default, field.required) {
                (_, true) => ", must be given".to_owned(),
                (Some(default), _) => format!(", default: {default}"),
                (None, _) => String::new(),
            };
            text.push('\n');
            text.push_str(&wrapped(
                &format!("  {}: {}{more}", field.field, field.kind),
                6,
            ));
            if !field.description.is_empty() {
                text.push_str("\n      ");
                text.push_str(&wrapped(&field.description, 6));
            }
        }
    }
    text
}

/// In lines of bounded width, those after the first behind a margin.
fn wrapped(text: &str, margin: usize) -> String {
    let indent: String = text.chars().take_while(|c| *c == ' ').collect();
    let mut out = indent.clone();
    let mut width = indent.len().max(margin.min(indent.len()));
    let mut begun = false;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if begun && width + 1 + length > WIDTH - if indent.is_empty() { margin } else { 0 } {
            out.push('\n');
            out.push_str(&" ".repeat(margin));
            width = margin;
        } else if begun {
            out.push(' ');
            width += 1;
        }
        out.push_str(word);
        width += length;
        begun = true;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(path: &str) -> Explained {
        explain(&manifest::json_schema(), path).unwrap()
    }

    #[test]
    fn a_field_is_explained_by_its_path() {
        let update = of("spec.services.web.update");
        assert_eq!(update.kind, "mapping");
        assert!(
            update.description.contains("replaces the old one"),
            "{update:?}"
        );
        let deadline = update
            .fields
            .iter()
            .find(|f| f.field == "deadline")
            .unwrap();
        assert_eq!(
            (deadline.kind.as_str(), deadline.default.as_deref()),
            ("duration", Some("10m"))
        );
        let strategy = of("spec.update.strategy");
        assert!(
            strategy
                .values
                .iter()
                .any(|v| v.value == "canary" && !v.description.is_empty())
        );
        let after = of("spec.services.web.after");
        let words: Vec<&str> = after.values.iter().map(|v| v.value.as_str()).collect();
        assert_eq!(words, ["started", "ready", "completed"], "{after:?}");
        // A key of a map and an index of a list may be left out.
        for same in [
            "spec.services.update",
            ".spec.services.web.update",
            "manifest.spec.services.x.update",
        ] {
            assert_eq!(of(same).description, update.description, "{same}");
        }
        assert_eq!(
            of("spec.targets[0].provider").kind,
            of("spec.targets.provider").kind
        );
        let metadata = of("manifest");
        assert!(
            metadata
                .fields
                .iter()
                .any(|f| f.field == "spec" && f.required)
        );
    }

    #[test]
    fn a_field_that_is_not_there_is_told_with_those_that_are() {
        let error = explain(&manifest::json_schema(), "spec.sevices.web").unwrap_err();
        let told = error.to_string();
        assert!(
            told.contains("\"spec\" has") && told.contains("services"),
            "{told}"
        );
        assert_eq!(error.exit_code(), 3);
    }

    #[test]
    fn every_field_can_be_explained_within_the_width() {
        fn walk(root: &Value, path: &str, depth: usize) {
            let explained = explain(root, path).unwrap();
            let text = text(&explained);
            assert!(
                text.lines().all(|line| line.chars().count() <= WIDTH + 20),
                "{text}"
            );
            assert!(!explained.kind.is_empty(), "{path}");
            for field in explained.fields.iter().filter(|_| depth < 5) {
                walk(root, &format!("{path}.{}", field.field), depth + 1);
            }
        }
        walk(&manifest::json_schema(), "manifest", 0);
    }

    #[test]
    fn names_of_deployments_are_no_fields() {
        assert!(!is_field("web") && !is_field("spec"));
        assert!(is_field("spec.services") && is_field("manifest"));
    }
}
