//! The namespaces that a token reaches: all of them, or those it lists.

use std::{borrow::Cow, collections::BTreeSet, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::base::names::{NameError, Namespace};

/// Written as a list: `["*"]`, or names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub enum Scope {
    /// Every namespace.
    All,
    /// These.
    Only(BTreeSet<Namespace>),
}

/// A list that is no scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    /// The list names nothing.
    #[error("no namespace is named: list them, or \"*\" alone for all")]
    Empty,
    /// `*` stands beside names.
    #[error("\"*\" means all namespaces and stands alone")]
    Mixed,
    /// One of them is no name of a namespace.
    #[error(transparent)]
    Name(#[from] NameError),
}

const EVERY: &str = "*";

impl Scope {
    /// Whether it reaches this namespace.
    pub fn admits(&self, namespace: &Namespace) -> bool {
        match self {
            Self::All => true,
            Self::Only(names) => names.contains(namespace),
        }
    }

    /// Whether everything in the other is in this one, too.
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::All, _) => true,
            (Self::Only(_), Self::All) => false,
            (Self::Only(own), Self::Only(other)) => other.is_subset(own),
        }
    }

    /// Whether it reaches every namespace.
    pub fn is_all(&self) -> bool {
        matches!(self, Self::All)
    }
}

impl TryFrom<Vec<String>> for Scope {
    type Error = ScopeError;
    fn try_from(names: Vec<String>) -> Result<Self, ScopeError> {
        if names.is_empty() {
            return Err(ScopeError::Empty);
        }
        match names.iter().filter(|n| *n == EVERY).count() {
            0 => Ok(Self::Only(
                names
                    .into_iter()
                    .map(Namespace::try_from)
                    .collect::<Result<_, _>>()?,
            )),
            n if n == names.len() => Ok(Self::All),
            _ => Err(ScopeError::Mixed),
        }
    }
}

impl From<Scope> for Vec<String> {
    fn from(scope: Scope) -> Self {
        match scope {
            Scope::All => vec![EVERY.to_owned()],
            Scope::Only(names) => names.into_iter().map(String::from).collect(),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&Vec::from(self.clone()).join(", "))
    }
}

impl JsonSchema for Scope {
    fn schema_name() -> Cow<'static, str> {
        "Scope".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Namespaces by name, or \"*\" alone for all.",
            "type": "array", "minItems": 1,
            "items": { "type": "string", "pattern": "^(\\*|[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)$" },
            "examples": [["default"], ["*"]],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(names: &[&str]) -> Result<Scope, ScopeError> {
        Scope::try_from(names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn a_scope_is_all_or_a_list() {
        assert_eq!(scope(&["*"]), Ok(Scope::All));
        assert_eq!(scope(&[]), Err(ScopeError::Empty));
        assert_eq!(scope(&["*", "a"]), Err(ScopeError::Mixed));
        assert!(matches!(scope(&["No Name"]), Err(ScopeError::Name(_))));
        let two = scope(&["b", "a", "b"]).unwrap();
        assert_eq!(serde_json::to_string(&two).unwrap(), r#"["a","b"]"#);
        assert!(
            two.covers(&scope(&["a"]).unwrap())
                && !two.covers(&Scope::All)
                && Scope::All.covers(&two)
        );
        assert!(!scope(&["a"]).unwrap().covers(&two));
    }
}
