//! What differs between two documents, small enough and harmless enough for an event: fields by their paths, long texts cut,
//! values of environment variables never shown.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::base::field::{Path, Step, fields};

/// The most fields of one side.
const MOST_FIELDS: usize = 40;
/// The longest text of one field.
const LONGEST: usize = 200;
/// In place of a value that may be a secret.
const HIDDEN: &str = "(not shown)";
/// Names below which every value is hidden.
const SECRET: [&str; 2] = ["env", "state"];

/// The most fields of a veiled list.
const MOST_VEILED: usize = 200;

/// A field that differs between two documents.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Changed {
    /// Where the field is, such as `spec.targets[0].region`.
    pub path: String,
    /// The field's value in the first document. `None`: it is absent there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// The field's value in the second document. `None`: it is absent there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
}

/// Every field that differs between two documents, with whole values.
pub fn changed(old: &Value, new: &Value) -> Vec<Changed> {
    differing(old, new, |_, value| value.clone())
}

/// The same for readers who may not see what could be a secret: values of variables are hidden, long values are cut, and the list is
/// bounded. References to secrets are shown.
pub fn veiled(old: &Value, new: &Value) -> Vec<Changed> {
    let veil = |path: &Path, value: &Value| {
        if path.passes(&SECRET) && !names_secret(path) {
            HIDDEN.into()
        } else {
            cut(value)
        }
    };
    let mut all = differing(old, new, veil);
    if all.len() > MOST_VEILED {
        let more = format!("{} more", all.len() - MOST_VEILED);
        all.truncate(MOST_VEILED);
        all.push(Changed {
            path: "…".to_owned(),
            before: None,
            after: Some(more.into()),
        });
    }
    all
}

fn differing(old: &Value, new: &Value, show: impl Fn(&Path, &Value) -> Value) -> Vec<Changed> {
    let (old, new) = (fields(old), fields(new));
    let paths: BTreeSet<&Path> = old.keys().chain(new.keys()).collect();
    paths
        .into_iter()
        .filter(|path| old.get(*path) != new.get(*path))
        .map(|path| Changed {
            path: path.to_string(),
            before: old.get(path).map(|value| show(path, value)),
            after: new.get(path).map(|value| show(path, value)),
        })
        .collect()
}

/// Whether a field of a manifest is the name or the key of the secret that a variable takes its value from.
fn names_secret(path: &Path) -> bool {
    let [
        Step::Key(_),
        Step::Key(_),
        Step::Key(_),
        Step::Key(env),
        Step::Key(_),
        Step::Key(last),
    ] = path.0.as_slice()
    else {
        return false;
    };
    env == "env" && matches!(last.as_str(), "secret" | "key")
}

/// The fields of two documents that are not the same.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Difference {
    /// The differing fields as they were, by their paths. `None`: there was no document.
    pub before: Option<Value>,
    /// The same as they are now. `None`: there is no document any more.
    pub after: Option<Value>,
}

impl Difference {
    /// None: there is no such document. A document that has no JSON form counts as none.
    pub fn of<T: Serialize>(before: Option<&T>, after: Option<&T>) -> Self {
        let tree = |document: Option<&T>| {
            document
                .and_then(|d| serde_json::to_value(d).ok())
                .unwrap_or_default()
        };
        let (old, new) = (tree(before), tree(after));
        let (old, new) = (fields(&old), fields(&new));
        let only = |these: &BTreeMap<Path, &Value>, others: &BTreeMap<Path, &Value>| {
            shown(
                these
                    .iter()
                    .filter(|(path, value)| others.get(*path) != Some(*value))
                    .map(|(path, value)| (path, *value)),
            )
        };
        Self {
            before: before.map(|_| only(&old, &new)),
            after: after.map(|_| only(&new, &old)),
        }
    }
}

fn shown<'a>(fields: impl Iterator<Item = (&'a Path, &'a Value)>) -> Value {
    let mut shown = Map::new();
    let mut more = 0u32;
    for (path, value) in fields {
        if shown.len() >= MOST_FIELDS {
            more += 1;
            continue;
        }
        shown.insert(
            path.to_string(),
            if path.passes(&SECRET) {
                HIDDEN.into()
            } else {
                cut(value)
            },
        );
    }
    if more > 0 {
        shown.insert("…".to_owned(), format!("{more} more").into());
    }
    Value::Object(shown)
}

fn cut(value: &Value) -> Value {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Array(_) | Value::Object(_) => value.to_string(),
        _ => return value.clone(),
    };
    if text.len() <= LONGEST {
        value.clone()
    } else {
        text.chars()
            .take(LONGEST)
            .chain(['…'])
            .collect::<String>()
            .into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_what_differs_is_told_and_no_secret() {
        let web = |replicas: u32, password: &str| json!({"spec": {"services": {"web": {"replicas": replicas, "image": "a", "env": {"PASSWORD": password}}}}});
        let told = Difference::of(Some(&web(1, "one")), Some(&web(2, "two")));
        let side = |replicas: u32| {
            Some(
                json!({"spec.services.web.replicas": replicas, "spec.services.web.env.PASSWORD": HIDDEN}),
            )
        };
        assert_eq!(
            told,
            Difference {
                before: side(1),
                after: side(2)
            }
        );
        let same = Difference::of(Some(&web(1, "one")), Some(&web(1, "one")));
        assert_eq!(
            same,
            Difference {
                before: Some(json!({})),
                after: Some(json!({}))
            }
        );
        let listed = Difference::of(
            None,
            Some(&json!({"containers": [{"env": [{"name": "A", "value": "secret"}]}]})),
        )
        .after;
        assert_eq!(
            listed,
            Some(
                json!({"containers[0].env[0].name": HIDDEN, "containers[0].env[0].value": HIDDEN})
            )
        );
        assert_eq!(
            Difference::of(None, Some(&json!({"a": null, "b": [1]}))),
            Difference {
                before: None,
                after: Some(json!({"b": [1]}))
            }
        );
    }

    #[test]
    fn a_veiled_list_names_secrets_and_shows_no_value_of_a_variable() {
        let web = |env: Value| json!({"spec": {"services": {"web": {"env": env, "replicas": 1}}}});
        let told = veiled(
            &web(json!({"MODE": "one", "TOKEN": {"secret": "a"}, "secret": "x"})),
            &web(json!({"MODE": "two", "TOKEN": {"secret": "b"}, "secret": "y"})),
        );
        let told: Vec<(&str, Value, Value)> = told
            .iter()
            .map(|c| {
                let side = |v: &Option<Value>| v.clone().unwrap_or_default();
                (c.path.as_str(), side(&c.before), side(&c.after))
            })
            .collect();
        assert_eq!(
            told,
            [
                ("spec.services.web.env.MODE", HIDDEN.into(), HIDDEN.into()),
                ("spec.services.web.env.TOKEN.secret", "a".into(), "b".into()),
                ("spec.services.web.env.secret", HIDDEN.into(), HIDDEN.into()),
            ]
        );
        let many: Map<String, Value> = (0..500).map(|i| (i.to_string(), i.into())).collect();
        let told = veiled(&Value::Null, &many.into());
        assert_eq!(told.len(), MOST_VEILED + 1);
        assert_eq!(told[MOST_VEILED].after, Some("300 more".into()));
    }

    #[test]
    fn an_event_stays_small() {
        let large: Map<String, Value> = (0..1000)
            .map(|i| (format!("f{i:04}"), "ä".repeat(1000).into()))
            .collect();
        let after = Difference::of(None, Some(&large)).after.unwrap();
        assert_eq!(after.as_object().map(Map::len), Some(MOST_FIELDS + 1));
        assert_eq!(after["…"], "960 more");
        assert!(after.to_string().len() < MOST_FIELDS * (2 * LONGEST + 40));
    }
}
