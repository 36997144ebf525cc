//! Fields of a document: the one way to write where a field is, in refusals, events and comparisons alike, and the one way to take a
//! document apart into fields. Knows no document's meaning.

use std::{collections::BTreeMap, fmt};

use serde_json::Value;

/// One step from a value to one inside it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Into a map, by key.
    Key(String),
    /// Into a list, by index from 0.
    Index(usize),
}

/// From the root to a value. Printed as `spec.targets[0].region`, and as `metadata.labels["app.kubernetes.io/name"]` where a key is no plain word.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Path(pub Vec<Step>);

/// Every leaf of a document under its path. A list of plain values is a leaf: what moved inside it says little. What is null is absent.
pub fn fields(document: &Value) -> BTreeMap<Path, &Value> {
    let mut fields = BTreeMap::new();
    gather(document, &Path::default(), &mut fields);
    fields
}

fn gather<'a>(value: &'a Value, at: &Path, fields: &mut BTreeMap<Path, &'a Value>) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            for (name, member) in members {
                gather(member, &at.clone().key(name), fields);
            }
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            for (i, item) in items.iter().enumerate() {
                gather(item, &at.clone().index(i), fields);
            }
        }
        Value::Null => {}
        leaf => drop(fields.insert(at.clone(), leaf)),
    }
}

/// Keeps a text from filling a message.
pub fn short(text: &str) -> String {
    let mut chars = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let kept: String = chars.by_ref().take(60).collect();
    if chars.next().is_some() {
        format!("{kept}…")
    } else {
        kept
    }
}

// === impl Path ===

impl Path {
    /// The path of a field of what this one leads to.
    pub fn key(mut self, key: &str) -> Self {
        self.0.push(Step::Key(key.to_owned()));
        self
    }

    /// The path of an item of what this one leads to.
    pub fn index(mut self, index: usize) -> Self {
        self.0.push(Step::Index(index));
        self
    }

    /// Whether it leads through one of these keys.
    pub fn passes(&self, keys: &[&str]) -> bool {
        self.0
            .iter()
            .any(|step| matches!(step, Step::Key(key) if keys.contains(&key.as_str())))
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |k: &str| {
            !k.is_empty()
                && k.chars()
                    .all(|c| c.is_alphanumeric() || c == '-' || c == '_' || c == '$')
        };
        for (i, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if plain(key) && i == 0 => f.write_str(key)?,
                Step::Key(key) if plain(key) => write!(f, ".{key}")?,
                Step::Key(key) => write!(f, "[\"{}\"]", short(key))?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_leaf_has_one_path() {
        let document = json!({
            "spec": {"targets": [{"region": "a"}, {"region": "b", "sizes": ["s", "m"]}], "none": null, "empty": {}, "nothing": []},
            "labels": {"app.kubernetes.io/name": "web", "": 1},
        });
        let shown: Vec<String> = fields(&document)
            .iter()
            .map(|(path, value)| format!("{path}={value}"))
            .collect();
        let expected = [
            "labels[\"\"]=1",
            "labels[\"app.kubernetes.io/name\"]=\"web\"",
            "spec.empty={}",
            "spec.nothing=[]",
            "spec.targets[0].region=\"a\"",
            "spec.targets[1].region=\"b\"",
            "spec.targets[1].sizes=[\"s\",\"m\"]",
        ];
        assert_eq!(shown, expected);
        let long = json!({"list": (0..12).map(|i| json!({"i": i})).collect::<Vec<_>>()});
        assert_eq!(
            fields(&long).keys().map(Path::to_string).nth(10).as_deref(),
            Some("list[10].i"),
            "in the order of the list"
        );
        assert_eq!(
            fields(&json!("text"))
                .keys()
                .map(Path::to_string)
                .collect::<Vec<_>>(),
            [""]
        );
        assert!(
            fields(&json!({"a": [{"env": 1}]}))
                .keys()
                .all(|path| path.passes(&["env"]) && !path.passes(&["b"]))
        );
    }
}
