//! Which namespaces a permission is for. An instance file says it of the whole instance and of every entry of its grants, in one form.

use std::{borrow::Cow, fmt, ops::Deref};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, MapAccess, Visitor, value::MapAccessDeserializer},
};

use super::pattern;
use crate::{base::names::Namespace, ports::identity::Scope};

/// Namespaces by name or by pattern (`team-*`), as they stand in an instance file; without any: every namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub enum Spaces {
    /// Every namespace.
    #[default]
    All,
    /// Those that one of these names or patterns means.
    Only(Vec<String>),
}

/// For whatever has no limit of its own.
pub static EVERY: Spaces = Spaces::All;

impl Spaces {
    /// Whether it is for this namespace.
    pub fn admits(&self, namespace: &Namespace) -> bool {
        match self {
            Self::All => true,
            Self::Only(patterns) => patterns
                .iter()
                .any(|p| pattern::matches(p, namespace.as_str())),
        }
    }

    /// The same where it may be unknown for whom something is done: then only what is for everybody is.
    pub fn admits_known(&self, namespace: Option<&Namespace>) -> bool {
        match namespace {
            Some(namespace) => self.admits(namespace),
            None => self.is_all(),
        }
    }

    /// Whether it is for every namespace.
    pub fn is_all(&self) -> bool {
        matches!(self, Self::All)
    }

    /// One of them, where not all are: what is tried out for somebody is tried out for this one.
    pub fn example(&self) -> Option<Namespace> {
        match self {
            Self::All => None,
            Self::Only(patterns) => patterns
                .iter()
                .find_map(|p| p.replace('*', "x").parse().ok()),
        }
    }

    fn patterns(&self) -> Vec<String> {
        match self {
            Self::All => vec!["*".to_owned()],
            Self::Only(patterns) => patterns.clone(),
        }
    }
}

impl fmt::Display for Spaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.patterns().join(", "))
    }
}

impl Serialize for Spaces {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.patterns().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Spaces {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let patterns = Vec::<String>::deserialize(deserializer)?;
        if patterns.is_empty() {
            return Err(de::Error::custom(
                "namespaces is empty: name those that it is for, or leave it out for all",
            ));
        }
        let fits = |p: &&String| {
            !p.is_empty()
                && p.len() <= 63
                && p.bytes()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || b"-*".contains(&c))
        };
        if let Some(bad) = patterns.iter().find(|p| !fits(p)) {
            let shown = bad.escape_debug();
            return Err(de::Error::custom(format!(
                "namespaces holds \"{shown}\": use names of lower-case letters, digits and -, with * for any characters"
            )));
        }
        Ok(if patterns.iter().any(|p| p == "*") {
            Self::All
        } else {
            Self::Only(patterns)
        })
    }
}

impl JsonSchema for Spaces {
    fn schema_name() -> Cow<'static, str> {
        "Spaces".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "array", "items": { "type": "string" }, "minItems": 1,
            "description": "Namespaces by name or by pattern with *; \"*\" for all."
        })
    }
}

/// One entry of a grant's list: `"db-password"`, or `{ name = "stripe", namespaces = ["shop"] }`. It reads as its name; `is_for` says
/// whose workloads may have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What is granted.
    pub name: String,
    /// None: it does not say. Then it is for every namespace, but a secret's value is each namespace's own.
    pub namespaces: Option<Spaces>,
}

impl Entry {
    /// Whether workloads of this namespace may have it; none: nobody knows for whom it is asked.
    pub fn is_for(&self, namespace: Option<&Namespace>) -> bool {
        self.spaces().admits_known(namespace)
    }

    /// Whether workloads of this namespace may have the common value of a secret, the one that lies in no namespace's folder. It is for the
    /// namespaces that the entry names, and for `default` where it names none.
    pub fn shares_common(&self, namespace: Option<&Namespace>) -> bool {
        match &self.namespaces {
            Some(spaces) => spaces.admits_known(namespace),
            None => namespace == Some(&Namespace::default_namespace()),
        }
    }

    /// Whose workloads may have it.
    pub fn spaces(&self) -> &Spaces {
        self.namespaces.as_ref().unwrap_or(&EVERY)
    }
}

/// Those entries that workloads of this namespace may have.
pub(super) fn for_namespace(entries: &[Entry], namespace: Option<&Namespace>) -> Vec<Entry> {
    entries
        .iter()
        .filter(|e| e.is_for(namespace))
        .cloned()
        .collect()
}

impl Deref for Entry {
    type Target = str;
    fn deref(&self) -> &str {
        &self.name
    }
}

impl From<String> for Entry {
    fn from(name: String) -> Self {
        Self {
            name,
            namespaces: None,
        }
    }
}

impl From<&str> for Entry {
    fn from(name: &str) -> Self {
        name.to_owned().into()
    }
}

impl PartialEq<str> for Entry {
    fn eq(&self, other: &str) -> bool {
        self.name == other
    }
}

impl PartialEq<&str> for Entry {
    fn eq(&self, other: &&str) -> bool {
        self.name == *other
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Limited {
    name: String,
    namespaces: Spaces,
}

impl Serialize for Entry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.namespaces {
            None => self.name.serialize(serializer),
            Some(namespaces) => Limited {
                name: self.name.clone(),
                namespaces: namespaces.clone(),
            }
            .serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(EntryVisitor)
    }
}

struct EntryVisitor;

impl<'de> Visitor<'de> for EntryVisitor {
    type Value = Entry;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, or { name = \"…\", namespaces = [\"…\"] }")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Entry, E> {
        Ok(name.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Entry, A::Error> {
        let Limited { name, namespaces } = Limited::deserialize(MapAccessDeserializer::new(map))?;
        Ok(Entry {
            name,
            namespaces: Some(namespaces),
        })
    }
}

impl Scope {
    /// Whether something that is for these namespaces is of any use to who reaches these.
    pub fn sees(&self, spaces: &Spaces) -> bool {
        match self {
            Self::All => true,
            Self::Only(names) => names.iter().any(|name| spaces.admits(name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespace(name: &str) -> Namespace {
        name.parse().unwrap()
    }

    #[test]
    fn an_entry_is_a_text_or_says_for_whom() {
        let read: Vec<Entry> =
            serde_json::from_str(r#"["a", {"name": "b", "namespaces": ["shop", "team-*"]}]"#)
                .unwrap();
        let open = |name: &str| {
            read.iter()
                .map(|e| e.is_for(Some(&namespace(name))))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            (open("shop"), open("team-x"), open("team")),
            (vec![true, true], vec![true, true], vec![true, false])
        );
        assert_eq!(read[1].spaces().example(), Some(namespace("shop")));
        assert!(
            Spaces::Only(vec!["-*".into(), "team-*".into()])
                .example()
                .is_some_and(|n| n.as_str() == "team-x")
        );
        assert_eq!(
            read.iter().map(|e| e.is_for(None)).collect::<Vec<_>>(),
            [true, false],
            "nobody in particular has what is for some"
        );
        let text = serde_json::to_string(&read).unwrap();
        assert_eq!(serde_json::from_str::<Vec<Entry>>(&text).unwrap(), read);
        assert!(text.starts_with(r#"["a","#), "{text}");
    }

    #[test]
    fn who_shares_a_common_secret_is_named_and_every_namespace_only_where_it_says_so() {
        for (entry, shared) in [
            (r#""db""#, [true, false, false, false]),
            (
                r#"{"name":"db","namespaces":["shop","team-*"]}"#,
                [false, true, true, false],
            ),
            (
                r#"{"name":"db","namespaces":["*"]}"#,
                [true, true, true, true],
            ),
        ] {
            let read: Entry = serde_json::from_str(entry).unwrap();
            let asked = [Some("default"), Some("shop"), Some("team-a"), None]
                .map(|name| name.map(namespace));
            assert_eq!(
                asked.map(|namespace| read.shares_common(namespace.as_ref())),
                shared,
                "{entry}"
            );
            assert_eq!(
                serde_json::to_string(&read).unwrap(),
                entry,
                "it is kept as it was written"
            );
        }
    }

    #[test]
    fn what_is_no_list_of_namespaces_is_refused_with_what_would_be() {
        for (text, part) in [
            (r#"{"name": "b", "namespaces": []}"#, "namespaces is empty"),
            (r#"{"name": "b", "namespaces": ["../x"]}"#, "../x"),
            (r#"{"name": "b", "namespaces": ["Shop"]}"#, "lower-case"),
            (r#"{"name": "b", "namespace": ["shop"]}"#, "namespace"),
            (r#"{"name": "b"}"#, "namespaces"),
            ("1", "a text, or"),
        ] {
            let error = serde_json::from_str::<Entry>(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
