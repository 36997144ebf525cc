//! What can be typed of the rows of a list: their order, and which are left.

use std::{num::NonZeroU32, str::FromStr};

use clap::Args;
use serde_json::Value;

use super::Paging;
use crate::output::Sort;

/// The order of a list, and a filter on what it has.
#[derive(Debug, Clone, Default, Args)]
#[group(skip)]
pub struct Shown {
    /// Sort by a column, such as `cost`; `-cost` or `cost:desc` begins with the highest. `--limit`
    /// then counts from there
    #[arg(
        long,
        value_name = "COLUMN",
        allow_hyphen_values = true,
        conflicts_with = "cursor"
    )]
    pub sort: Option<Sort>,
    /// Only those with this value in their JSON form, such as `status=running`, `labels.app!=web` or
    /// `places=north/eu-north-1`. May be given several times
    #[arg(long = "field", value_name = "PATH=VALUE", conflicts_with = "cursor")]
    pub fields: Vec<Field>,
}

/// A condition on the JSON form of an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    path: String,
    value: String,
    differs: bool,
}

// === impl Shown ===

impl Shown {
    /// Whether the list is shown as it comes.
    pub(crate) fn is_empty(&self) -> bool {
        self.sort.is_none() && self.fields.is_empty()
    }

    /// What is to be read for it: the limit counts what is left of the whole list.
    pub(crate) fn paging(&self, asked: &Paging) -> Paging {
        if self.is_empty() {
            return asked.clone();
        }
        Paging {
            limit: None,
            ..asked.clone()
        }
    }

    /// The order in which the daemon shall send the list, so that no more has to be read than is wanted. None: the whole list is needed.
    /// `known`: orders as they are typed, each with that of the API.
    pub(crate) fn sent_sorted(
        &self,
        asked: &Paging,
        known: &[(&str, &'static str)],
    ) -> Option<&'static str> {
        let typed = self.sort.as_ref()?.to_string();
        let enough = asked.limit.is_some() && self.fields.is_empty();
        let (_, order) = known.iter().find(|(order, _)| *order == typed && enough)?;
        Some(order)
    }

    /// How many rows are left.
    pub(crate) fn most(asked: &Paging) -> usize {
        let most = asked.limit.map_or(u32::MAX, NonZeroU32::get);
        usize::try_from(most).unwrap_or(usize::MAX)
    }
}

// === impl Field ===

impl Field {
    /// Whether an item has it. What is missing is equal to nothing but the empty text.
    pub(crate) fn holds(&self, item: &Value) -> bool {
        let mut found = Vec::new();
        find(item, &self.path, &mut found);
        let is = if found.is_empty() {
            self.value.is_empty()
        } else {
            found.iter().any(|value| is(value, &self.value))
        };
        is != self.differs
    }
}

/// Every value at the path; of a list, those of all its items. Names may have dots in them, as those of labels do.
fn find<'a>(value: &'a Value, path: &str, found: &mut Vec<&'a Value>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| find(item, path, found)),
        _ if path.is_empty() => found.push(value),
        Value::Object(fields) => {
            for (name, inner) in fields {
                match path.strip_prefix(name.as_str()) {
                    Some("") => find(inner, "", found),
                    Some(rest) if rest.starts_with('.') => {
                        find(inner, rest.trim_start_matches('.'), found);
                    }
                    _ => {}
                }
            }
        }
        _ => {}
    }
}

fn is(value: &Value, wanted: &str) -> bool {
    match value {
        Value::String(text) => text == wanted,
        Value::Number(number) => {
            number.to_string() == wanted
                || wanted
                    .parse()
                    .is_ok_and(|n: f64| number.as_f64() == Some(n))
        }
        Value::Null => wanted.is_empty(),
        Value::Bool(truth) => wanted == if *truth { "true" } else { "false" },
        Value::Array(_) | Value::Object(_) => {
            serde_json::to_string(value).is_ok_and(|text| text == wanted)
        }
    }
}

impl FromStr for Field {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (path, value) = text.split_once('=').ok_or_else(|| {
            format!("\"{text}\" has no value: write PATH=VALUE, such as status=running")
        })?;
        let (path, differs) = match path.strip_suffix('!') {
            Some(path) => (path, true),
            None => (path, false),
        };
        // As with the forms of output, a path may begin at its root.
        let path = path.trim_start_matches("$").trim_start_matches('.');
        if path.is_empty() {
            return Err(format!(
                "\"{text}\" has no path: write PATH=VALUE, such as status=running"
            ));
        }
        Ok(Self {
            path: path.to_owned(),
            value: value.trim_start_matches('=').to_owned(),
            differs,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_looks_at_the_json_of_an_item() {
        let item = serde_json::json!({
            "status": "running", "ready": 2, "held": false, "places": ["north/a", "south/b"],
            "labels": {"app.kubernetes.io/name": "web"}, "tasks": [{"name": "x"}, {"name": "y"}],
        });
        for (condition, holds) in [
            ("status=running", true),
            ("status!=running", false),
            ("status!=failed", true),
            ("ready=2", true),
            ("ready=2.0", true),
            ("held=false", true),
            ("places=south/b", true),
            ("tasks.name=y", true),
            ("tasks.name=z", false),
            ("labels.app.kubernetes.io/name=web", true),
            ("message=", true),
            ("message=x", false),
            ("message!=x", true),
        ] {
            let field: Field = condition.parse().unwrap();
            assert_eq!(field.holds(&item), holds, "{condition}");
        }
        assert!("status".parse::<Field>().is_err() && "=x".parse::<Field>().is_err());
    }
}
