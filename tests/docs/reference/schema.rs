//! A JSON Schema as a reader of a table wants to have it: the type of a field in words, its default and its meaning.

use std::collections::BTreeMap;

use serde_json::Value;

use super::table::{code, lowered, meaning};

/// A cell without content.
pub(super) const NONE: &str = "–";

pub(super) struct Schema {
    root: Value,
    /// What a type is called, by its name in the schema.
    words: BTreeMap<String, String>,
}

/// One field of an object.
pub(super) struct Field<'a> {
    pub(super) name: &'a str,
    pub(super) schema: &'a Value,
    pub(super) required: bool,
}

impl Schema {
    pub(super) fn new(root: Value, words: BTreeMap<String, String>) -> Self {
        Self { root, words }
    }

    /// Gives types a word.
    pub(super) fn call(&mut self, types: impl IntoIterator<Item = String>, word: &str) {
        self.words
            .extend(types.into_iter().map(|name| (name, word.to_owned())));
    }

    /// The definition with this name; the document itself has none.
    pub(super) fn definition(&self, name: &str) -> &Value {
        match name {
            "" => &self.root,
            name => self
                .root
                .pointer(&format!("/$defs/{name}"))
                .unwrap_or_else(|| panic!("the schema has no definition {name}")),
        }
    }

    /// Names of the definitions of objects with fields.
    pub(super) fn objects(&self) -> Vec<&str> {
        let definitions = self.root["$defs"].as_object().into_iter().flatten();
        let objects = definitions.filter(|(_, d)| d.get("properties").is_some());
        objects.map(|(name, _)| name.as_str()).collect()
    }

    /// The fields that must be given first, then in order of their names.
    pub(super) fn fields<'a>(&'a self, object: &'a Value) -> Vec<Field<'a>> {
        let required = |name: &str| {
            let names = object["required"].as_array().into_iter().flatten();
            names.filter_map(Value::as_str).any(|other| other == name)
        };
        let properties = object["properties"].as_object().into_iter().flatten();
        let mut fields: Vec<_> = properties
            .map(|(name, schema)| Field {
                name,
                schema,
                required: required(name),
            })
            .collect();
        fields.sort_by_key(|f| (!f.required, f.name));
        fields
    }

    /// The comment of a type, in one line.
    pub(super) fn about(&self, schema: &Value) -> String {
        meaning(schema["description"].as_str().unwrap_or_default()).0
    }

    /// What a field means, with what its values mean, and the default that its comment names.
    pub(super) fn meaning(&self, field: &Field) -> (String, Option<String>) {
        let comment = field.schema["description"].as_str().unwrap_or_default();
        let (mut meaning, default) = meaning(comment);
        assert!(!meaning.is_empty(), "{} has no comment", field.name);
        for (value, about) in self.values(field.schema) {
            if let Some(about) = about {
                meaning.push_str(&format!(" {}: {}", code(value), lowered(&about)));
            }
        }
        (meaning, default)
    }

    /// The type of a value in words.
    pub(super) fn kind(&self, schema: &Value) -> String {
        if let Some(name) = referred(schema) {
            return match self.words.get(name) {
                Some(word) => word.clone(),
                None => self.kind(self.definition(name)),
            };
        }
        let values: Vec<String> = own_values(schema)
            .into_iter()
            .map(|(v, _)| code(v))
            .collect();
        if !values.is_empty() {
            return values.join(", ");
        }
        let forms = schema["anyOf"].as_array().into_iter().flatten();
        let forms: Vec<String> = forms
            .filter(|form| form["type"] != "null")
            .map(|form| self.kind(form))
            .collect();
        if !forms.is_empty() {
            return forms.join(" or ");
        }
        let types = match &schema["type"] {
            Value::Array(types) => types.iter().filter_map(Value::as_str).collect(),
            one => Vec::from_iter(one.as_str()),
        };
        let text = types.contains(&"string");
        let words = types.iter().filter_map(|word| match *word {
            "string" => Some("text".to_owned()),
            "integer" => Some("integer".to_owned()),
            // Beside a text they are other ways to write it.
            "number" if !text => Some("number".to_owned()),
            "boolean" if !text => Some("`true`, `false`".to_owned()),
            "array" => Some(format!("list of {}", self.kind(&schema["items"]))),
            "object" => match &schema["additionalProperties"] {
                inner @ Value::Object(_) => Some(format!("map of {}", bracketed(self.kind(inner)))),
                _ => Some("mapping".to_owned()),
            },
            _ => None,
        });
        words.collect::<Vec<_>>().join(" or ")
    }

    /// The values of an enumeration, or of the one that a schema refers to, each with its comment.
    fn values<'a>(&'a self, schema: &'a Value) -> Vec<(&'a str, Option<String>)> {
        if let Some(name) = referred(schema) {
            return self.values(self.definition(name));
        }
        let forms = schema["anyOf"].as_array().into_iter().flatten();
        // Of a map, what its entries may be.
        let entries = schema.get("additionalProperties").filter(|e| e.is_object());
        let mut all = forms.chain(entries).map(|form| self.values(form));
        match own_values(schema) {
            own if own.is_empty() => all.find(|v| !v.is_empty()).unwrap_or_default(),
            own => own,
        }
    }
}

fn own_values(schema: &Value) -> Vec<(&str, Option<String>)> {
    let list = |key: &str| schema[key].as_array().into_iter().flatten();
    let plain = list("enum")
        .chain(schema.get("const"))
        .filter_map(Value::as_str);
    let about = schema["description"]
        .as_str()
        .filter(|_| schema.get("const").is_some());
    let about = about.map(|comment| meaning(comment).0);
    let mut values: Vec<_> = plain.map(|value| (value, about.clone())).collect();
    values.extend(list("oneOf").flat_map(own_values));
    values
}

/// The name of the definition that a schema refers to.
pub(super) fn referred(schema: &Value) -> Option<&str> {
    schema["$ref"].as_str()?.strip_prefix("#/$defs/")
}

fn bracketed(kind: String) -> String {
    match kind.contains(" or ") {
        true => format!("({kind})"),
        false => kind,
    }
}

/// A default as the schema has it.
pub(super) fn default(value: &Value) -> String {
    match value {
        Value::String(text) if text.is_empty() => "empty".to_owned(),
        Value::String(text) => code(text),
        Value::Bool(_) | Value::Number(_) => code(value),
        Value::Null | Value::Array(_) | Value::Object(_) => NONE.to_owned(),
    }
}
