//! Which fields of a list's items are sent. It must not know any list: what there is, the schema of an item tells.

use std::{collections::BTreeMap, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings, json_schema};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// Paths such as `name` or `spend.hourly`. A field of items of a list in an item is one of all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fields {
    text: String,
    tree: Tree,
}

/// What is wanted of an object. Nothing in it: all of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Tree(BTreeMap<String, Tree>);

/// A path that no item can have, or none at all.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(
        "fields \"{text}\" has an empty name in it: write names between commas, such as \"name,status\""
    )]
    Empty { text: String },
    #[error("there is no field \"{path}\": {of} has {known}")]
    Unknown {
        path: String,
        of: String,
        known: String,
    },
}

impl Fields {
    /// Refuses what no item of this type has.
    pub(super) fn check<T: JsonSchema>(&self) -> Result<(), Error> {
        let schema = SchemaSettings::draft2020_12().into_generator();
        let schema = schema.into_root_schema_for::<T>().to_value();
        self.tree.check(&[&schema], &schema, "")
    }

    /// What is left of an item.
    pub(super) fn of(&self, item: Value) -> Value {
        self.tree.of(item)
    }
}

impl Tree {
    fn add(&mut self, path: &str) -> Option<()> {
        let mut here = self;
        for name in path.split('.') {
            if name.is_empty() {
                return None;
            }
            here = here.0.entry(name.to_owned()).or_default();
        }
        // All of it is more than a part.
        here.0.clear();
        Some(())
    }

    fn of(&self, value: Value) -> Value {
        if self.0.is_empty() {
            return value;
        }
        match value {
            Value::Array(items) => items.into_iter().map(|item| self.of(item)).collect(),
            Value::Object(mut all) => {
                let kept = self.0.iter().filter_map(|(name, tree)| {
                    let (name, value) = all.remove_entry(name)?;
                    Some((name, tree.of(value)))
                });
                Value::Object(kept.collect())
            }
            other => other,
        }
    }

    fn check(&self, schemas: &[&Value], root: &Value, above: &str) -> Result<(), Error> {
        for (name, tree) in &self.0 {
            let path = if above.is_empty() {
                name.clone()
            } else {
                format!("{above}.{name}")
            };
            let (mut known, mut inner) = (Vec::new(), Vec::new());
            let mut found = false;
            for schema in schemas {
                found |= find(schema, root, name, &mut inner, &mut known);
            }
            if !found {
                known.sort_unstable();
                known.dedup();
                return Err(Error::Unknown {
                    path,
                    of: if above.is_empty() {
                        "an item".to_owned()
                    } else {
                        format!("\"{above}\"")
                    },
                    known: if known.is_empty() {
                        "no fields".to_owned()
                    } else {
                        known.join(", ")
                    },
                });
            }
            tree.check(&inner, root, &path)?;
        }
        Ok(())
    }
}

/// Looks for the field in everything that the value may be. Whether it is there, the schemas that it may have, and what else there is.
fn find<'a>(
    schema: &'a Value,
    root: &'a Value,
    name: &str,
    inner: &mut Vec<&'a Value>,
    known: &mut Vec<&'a str>,
) -> bool {
    // Anything may be in it.
    let Value::Object(fields) = schema else {
        let any = *schema == Value::Bool(true);
        inner.extend(any.then_some(schema));
        return any;
    };
    let mut found = false;
    if let Some(target) = fields.get("$ref").and_then(Value::as_str) {
        let target = target
            .strip_prefix('#')
            .and_then(|place| root.pointer(place));
        found |= target.is_some_and(|target| find(target, root, name, inner, known));
    }
    for branches in ["anyOf", "oneOf", "allOf"] {
        for branch in fields
            .get(branches)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            found |= find(branch, root, name, inner, known);
        }
    }
    if let Some(items) = fields.get("items") {
        found |= find(items, root, name, inner, known);
    }
    let properties = fields.get("properties").and_then(Value::as_object);
    if let Some(properties) = properties {
        known.extend(properties.keys().map(String::as_str));
        if let Some(property) = properties.get(name) {
            inner.push(property);
            return true;
        }
    }
    match fields.get("additionalProperties") {
        Some(Value::Bool(false)) => {}
        Some(values) => {
            inner.push(values);
            found = true;
        }
        // A schema that says nothing admits everything.
        None if is_bare(fields) => {
            inner.push(schema);
            found = true;
        }
        None => {}
    }
    found
}

fn is_bare(schema: &Map<String, Value>) -> bool {
    let says = [
        "type",
        "properties",
        "$ref",
        "anyOf",
        "oneOf",
        "allOf",
        "enum",
        "const",
        "items",
    ];
    !says.iter().any(|word| schema.contains_key(*word))
}

impl FromStr for Fields {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        let mut tree = Tree::default();
        // What is wanted whole stays so, whatever part of it is named as well.
        let mut paths: Vec<&str> = text.split(',').collect();
        paths.sort_unstable_by_key(|path| std::cmp::Reverse(path.len()));
        for path in paths {
            tree.add(path).ok_or_else(|| Error::Empty {
                text: text.chars().take(80).collect(),
            })?;
        }
        Ok(Self {
            text: text.to_owned(),
            tree,
        })
    }
}

impl fmt::Display for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Fields {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Fields".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[^,.]+(\\.[^,.]+)*(,[^,.]+(\\.[^,.]+)*)*$" })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tradewind_api::{DeploymentSummary, PluginView};

    use super::*;

    fn fields(text: &str) -> Fields {
        text.parse().unwrap()
    }

    #[test]
    fn an_item_is_left_with_what_is_wanted() {
        let item = json!({"name": "web", "labels": {"app": "web", "tier": "x"}, "tasks": [{"name": "a", "ready": 1}, {"ready": 2}]});
        let left = |text: &str| fields(text).of(item.clone());
        assert_eq!(left("name,nothing"), json!({"name": "web"}));
        assert_eq!(
            left("labels.app,tasks.ready"),
            json!({"labels": {"app": "web"}, "tasks": [{"ready": 1}, {"ready": 2}]})
        );
        assert_eq!(left("labels,labels.app"), json!({"labels": item["labels"]}));
        assert_eq!(left("labels.app,labels"), json!({"labels": item["labels"]}));
        for bad in ["", "name,", "labels..app"] {
            assert!(bad.parse::<Fields>().is_err(), "{bad}");
        }
    }

    #[test]
    fn what_no_item_has_is_refused_with_what_there_is() {
        let told = |text: &str| {
            let checked = fields(text).check::<DeploymentSummary>();
            checked.err().map(|e| e.to_string()).unwrap_or_default()
        };
        assert_eq!(told("name,status,labels.app,places"), "");
        let text = told("name,phase");
        assert!(
            text.starts_with("there is no field \"phase\": an item has createdAt, generation,"),
            "{text}"
        );
        let text = told("name.first");
        assert!(text.ends_with("\"name\" has no fields"), "{text}");
        let plugin = fields("identity.version,settingsSchema.x.y,limits").check::<PluginView>();
        assert!(plugin.is_ok(), "{plugin:?}");
    }
}
