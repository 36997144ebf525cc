//! What differs between two documents, small enough and harmless enough for an event: fields by their paths, long texts cut,
//! values of environment variables never shown.

use serde::Serialize;
use serde_json::{Map, Value};

/// The most fields of one side.
const MOST_FIELDS: usize = 40;
/// The longest text of one field.
const LONGEST: usize = 200;
/// In place of a value that may be a secret.
const HIDDEN: &str = "(not shown)";
/// Names below which every value is hidden.
const SECRET: [&str; 2] = ["env", "state"];

/// The fields of two documents that are not the same.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Difference {
    pub before: Option<Value>,
    pub after: Option<Value>,
}

impl Difference {
    /// None: there is no such document. A document that has no JSON form counts as none.
    pub fn of<T: Serialize>(before: Option<&T>, after: Option<&T>) -> Self {
        let fields = |document: Option<&T>| {
            let mut fields = Map::new();
            if let Some(value) = document.and_then(|d| serde_json::to_value(d).ok()) {
                flatten(&value, "", &mut fields);
            }
            fields
        };
        let (old, new) = (fields(before), fields(after));
        let only = |these: &Map<String, Value>, others: &Map<String, Value>| {
            let differing = these.iter().filter(|(path, value)| others.get(*path) != Some(value));
            shown(differing.map(|(path, value)| (path.clone(), value.clone())))
        };
        Self { before: before.map(|_| only(&old, &new)), after: after.map(|_| only(&new, &old)) }
    }
}

/// Every leaf under its dotted path. Lists of plain values count as leaves: what moved inside them says little.
fn flatten(value: &Value, path: &str, fields: &mut Map<String, Value>) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            for (name, member) in members {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                flatten(member, &path, fields);
            }
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            for (i, item) in items.iter().enumerate() {
                flatten(item, &format!("{path}.{i}"), fields);
            }
        }
        Value::Null => {}
        leaf => drop(fields.insert(path.to_owned(), leaf.clone())),
    }
}

fn shown(fields: impl Iterator<Item = (String, Value)>) -> Value {
    let mut shown = Map::new();
    let mut more = 0u32;
    for (path, value) in fields {
        if shown.len() >= MOST_FIELDS {
            more += 1;
            continue;
        }
        let secret = path.split('.').any(|part| SECRET.contains(&part));
        shown.insert(path, if secret { HIDDEN.into() } else { cut(value) });
    }
    if more > 0 {
        shown.insert("…".to_owned(), format!("{more} more").into());
    }
    Value::Object(shown)
}

fn cut(value: Value) -> Value {
    let text = match &value {
        Value::String(text) => text.clone(),
        Value::Array(_) | Value::Object(_) => value.to_string(),
        _ => return value,
    };
    if text.len() <= LONGEST { value } else { text.chars().take(LONGEST).chain(['…']).collect::<String>().into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_what_differs_is_told_and_no_secret() {
        let web = |replicas: u32, password: &str| json!({"spec": {"services": {"web": {"replicas": replicas, "image": "a", "env": {"PASSWORD": password}}}}});
        let told = Difference::of(Some(&web(1, "one")), Some(&web(2, "two")));
        let side = |replicas: u32| Some(json!({"spec.services.web.replicas": replicas, "spec.services.web.env.PASSWORD": HIDDEN}));
        assert_eq!(told, Difference { before: side(1), after: side(2) });
        let same = Difference::of(Some(&web(1, "one")), Some(&web(1, "one")));
        assert_eq!(same, Difference { before: Some(json!({})), after: Some(json!({})) });
        assert_eq!(Difference::of(None, Some(&json!({"a": null, "b": [1]}))), Difference { before: None, after: Some(json!({"b": [1]})) });
    }

    #[test]
    fn an_event_stays_small() {
        let large: Map<String, Value> = (0..1000).map(|i| (format!("f{i:04}"), "ä".repeat(1000).into())).collect();
        let after = Difference::of(None, Some(&large)).after.unwrap();
        assert_eq!(after.as_object().map(Map::len), Some(MOST_FIELDS + 1));
        assert_eq!(after["…"], "960 more");
        assert!(after.to_string().len() < MOST_FIELDS * (2 * LONGEST + 40));
    }
}
