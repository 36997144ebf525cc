//! A filter by a field that has one of a few values: `failed`, or `failed,degraded`.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};

/// A type with a few values, each with a name.
pub trait Choice: Copy + PartialEq + Sized + 'static {
    /// What such a value is, for messages: `a status`.
    const WHAT: &'static str;
    /// Every value.
    const ALL: &'static [Self];

    /// The value's name in a filter.
    fn name(self) -> &'static str;
}

/// One or several of the values, of which any will do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OneOf<C>(Vec<C>);

/// A text that names none of the values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{value}\" is not {what}: {}", remedy(value, known))]
pub struct UnknownChoice {
    value: String,
    what: &'static str,
    known: Vec<&'static str>,
}

/// More names than these are too many to be read: those that are most alike are named then.
const READABLE: usize = 12;
const ALIKE: usize = 3;

fn remedy(value: &str, known: &[&str]) -> String {
    if known.len() <= READABLE {
        return format!("use {}", known.join(", "));
    }
    let value = value.to_ascii_lowercase();
    let mut by_distance: Vec<(usize, &str)> = known
        .iter()
        .map(|name| {
            let distance = strsim::damerau_levenshtein(&value, &name.to_ascii_lowercase());
            (distance, *name)
        })
        .collect();
    by_distance.sort();
    let alike: Vec<&str> = by_distance
        .iter()
        .take(ALIKE)
        .map(|(_, name)| *name)
        .collect();
    format!("the most alike are {}", alike.join(", "))
}

impl<C: Choice> OneOf<C> {
    /// Whether the filter lets this value through.
    pub fn has(&self, value: C) -> bool {
        self.0.contains(&value)
    }
}

impl<C: Choice> FromStr for OneOf<C> {
    type Err = UnknownChoice;
    fn from_str(text: &str) -> Result<Self, UnknownChoice> {
        let one = |name: &str| {
            let found = C::ALL
                .iter()
                .copied()
                .find(|choice| choice.name() == name.trim());
            found.ok_or_else(|| UnknownChoice {
                value: name.chars().take(80).collect(),
                what: C::WHAT,
                known: C::ALL.iter().map(|choice| choice.name()).collect(),
            })
        };
        text.split(',').map(one).collect::<Result<_, _>>().map(Self)
    }
}

impl<C: Choice> fmt::Display for OneOf<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.0.iter().map(|choice| choice.name()).collect();
        f.pad(&names.join(","))
    }
}

impl<'de, C: Choice> Deserialize<'de> for OneOf<C> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

impl<C: Choice> JsonSchema for OneOf<C> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "OneOf".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let names: Vec<&str> = C::ALL.iter().map(|choice| choice.name()).collect();
        let one = names.join("|");
        let example = names.first().copied().unwrap_or_default();
        json_schema!({ "type": "string", "pattern": format!("^({one})(,({one}))*$"), "examples": [example] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::plan::stored::PlanStatus;

    #[test]
    fn values_are_known_by_their_names() {
        let wanted: OneOf<PlanStatus> = "rejected, expired".parse().unwrap();
        assert!(
            wanted.has(PlanStatus::Rejected)
                && wanted.has(PlanStatus::Expired)
                && !wanted.has(PlanStatus::Pending)
        );
        assert_eq!(wanted.to_string(), "rejected,expired");
        for (bad, value) in [
            ("broken", "broken"),
            ("", ""),
            ("rejected,", ""),
            ("Rejected", "Rejected"),
        ] {
            let error = bad.parse::<OneOf<PlanStatus>>().unwrap_err().to_string();
            let start =
                format!("\"{value}\" is not a plan's status: use pending, approved, rejected,");
            assert!(error.starts_with(&start), "{error}");
        }
    }
}
