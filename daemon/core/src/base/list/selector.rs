//! Label selectors, as Kubernetes writes those by equality: `app=web,tier!=cache,team,!legacy`.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};

use crate::base::names::Labels;

/// What labels must be like: all requirements hold. Without any, all labels will do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector(Vec<Requirement>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Requirement {
    Equals {
        key: String,
        value: String,
    },
    /// Labels without the key differ, too.
    Differs {
        key: String,
        value: String,
    },
    Exists {
        key: String,
    },
    Absent {
        key: String,
    },
}

/// A text that is no selector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{value}\" is no label selector: write key=value, key!=value, key or !key, several with commas between them"
)]
pub struct SelectorError {
    value: String,
}

impl Selector {
    /// Whether all labels will do.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether these labels meet every requirement.
    pub fn admits(&self, labels: &Labels) -> bool {
        self.0.iter().all(|requirement| match requirement {
            Requirement::Equals { key, value } => labels.get(key) == Some(value),
            Requirement::Differs { key, value } => labels.get(key) != Some(value),
            Requirement::Exists { key } => labels.contains_key(key),
            Requirement::Absent { key } => !labels.contains_key(key),
        })
    }
}

impl Requirement {
    fn parse(text: &str) -> Option<Self> {
        let key = |text: &str| {
            let text = text.trim();
            let good = |c: char| !c.is_whitespace() && !c.is_control() && !"=!()".contains(c);
            (!text.is_empty() && text.chars().all(good)).then(|| text.to_owned())
        };
        let value = |text: &str| {
            let text = text.trim();
            let good = |c: char| !c.is_control() && !"=!()".contains(c);
            text.chars().all(good).then(|| text.to_owned())
        };
        let text = text.trim();
        if let Some((left, right)) = text.split_once("!=") {
            return Some(Self::Differs {
                key: key(left)?,
                value: value(right)?,
            });
        }
        if let Some((left, right)) = text.split_once("==").or_else(|| text.split_once('=')) {
            return Some(Self::Equals {
                key: key(left)?,
                value: value(right)?,
            });
        }
        match text.strip_prefix('!') {
            Some(rest) => Some(Self::Absent { key: key(rest)? }),
            None => Some(Self::Exists { key: key(text)? }),
        }
    }
}

impl FromStr for Selector {
    type Err = SelectorError;
    fn from_str(text: &str) -> Result<Self, SelectorError> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let parsed = text.split(',').map(|one| {
            Requirement::parse(one).ok_or_else(|| SelectorError {
                value: text.chars().take(80).collect(),
            })
        });
        parsed.collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one = |requirement: &Requirement| match requirement {
            Requirement::Equals { key, value } => format!("{key}={value}"),
            Requirement::Differs { key, value } => format!("{key}!={value}"),
            Requirement::Exists { key } => key.clone(),
            Requirement::Absent { key } => format!("!{key}"),
        };
        f.pad(&self.0.iter().map(one).collect::<Vec<_>>().join(","))
    }
}

impl<'de> Deserialize<'de> for Selector {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Selector {
    fn schema_name() -> Cow<'static, str> {
        "LabelSelector".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let key = r"[^\s=!(),\x00-\x1f\x7f-\x9f]+";
        let value = r"[^=!(),\x00-\x1f\x7f-\x9f]*";
        let one = format!("({key}(!=|==?){value}|!?{key})");
        json_schema!({
            "type": "string", "pattern": format!("^({one}(,{one})*)?$"), "examples": ["app=web,tier!=cache,!legacy"],
            "description": "Requirements of labels, all of which hold: key=value, key!=value (also without the key), key, !key; commas mean and.",
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn labels(text: &str) -> Labels {
        text.split(',')
            .filter_map(|pair| pair.split_once('='))
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .collect()
    }

    #[test]
    fn selectors_mean_what_those_of_kubernetes_mean() {
        let web = labels("app=web,tier=front,empty=,example.com/team=a b");
        let cases = [
            ("", true),
            ("app=web", true),
            ("app==web", true),
            (" app = web , tier = front ", true),
            ("app=cache", false),
            ("app!=cache", true),
            ("app!=web", false),
            ("missing!=web", true),
            ("missing=", false),
            ("empty=", true),
            ("empty", true),
            ("app", true),
            ("missing", false),
            ("!missing", true),
            ("!app", false),
            ("app=web,!tier", false),
            ("app,tier!=back,!missing", true),
            ("example.com/team=a b", true),
            ("App=web", false),
        ];
        for (text, admitted) in cases {
            let selector: Selector = text.parse().unwrap();
            assert_eq!(selector.admits(&web), admitted, "{text}");
            assert_eq!(selector.to_string().parse(), Ok(selector), "{text}");
        }
        assert!("".parse::<Selector>().unwrap().admits(&Labels::new()));
    }

    #[test]
    fn what_is_no_selector_is_refused_whole() {
        for bad in [
            "=web",
            "!=web",
            "!",
            "app=web,",
            ",",
            "app=a=b",
            "app in (web, cache)",
            "app notin (a)",
            "a b",
            "app=!x",
            "!!app",
            "a\u{1}",
        ] {
            let error = bad.parse::<Selector>().unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("\"{bad}\" is no label selector")),
                "{error}"
            );
        }
    }

    proptest! {
        #[test]
        fn a_label_selects_what_bears_it(key in "[a-z][-a-z0-9./]{0,8}", value in "[-a-z0-9.]{0,8}", other in "[a-z]{1,4}") {
            let bearer: Labels = [(key.clone(), value.clone())].into();
            let selects = |text: String, labels: &Labels| text.parse::<Selector>().unwrap().admits(labels);
            let (equal, differs, absent) = (format!("{key}={value}"), format!("{key}!={value}"), format!("!{key}"));
            prop_assert!(selects(equal, &bearer) && selects(key.clone(), &bearer));
            prop_assert!(!selects(differs, &bearer) && !selects(absent, &bearer));
            prop_assert_eq!(selects(format!("{key}={other}"), &bearer), value == other);
        }
    }
}
