//! What each route demands of a token: a role, and the namespaces it is about. Declared with the route's documentation, from which the
//! table is made, so that the document and what is enforced can't differ. What declares nothing is refused.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use aide::{
    openapi::{OpenApi, Operation, Parameter},
    transform::TransformOperation,
};
use axum::http::Method;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tradewind_core::identity::Role;

use super::Error;

/// The name of the security scheme in the document.
pub(crate) const SCHEME: &str = "token";
const ROLE: &str = "x-tradewind-role";
const NAMESPACE: &str = "x-tradewind-namespace";
const OPEN: &str = "none";

/// Where a request says which namespace it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reach {
    /// It is about no namespace: every token may.
    Any,
    /// It is about all of them at once: only tokens that reach all may.
    All,
    /// In the parameter `namespace`; absent, it is `default`.
    Query,
    /// In the path: its part `{namespace}`, or `{name}` where namespaces are what it names.
    Path,
    /// In the manifest that it carries, else in the parameter `namespace`.
    Manifest,
    /// In the parameter `namespace`; absent, the answer holds what the token reaches.
    Filtered,
}

/// The operation names its namespace in its path, whatever it says.
pub(crate) fn in_path(operation: &mut Operation) {
    operation.extensions.insert(
        NAMESPACE.to_owned(),
        serde_json::to_value(Reach::Path).unwrap_or_default(),
    );
}

/// What a token needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Needs {
    pub role: Role,
    pub reach: Reach,
}

/// What a route says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// No token is needed.
    Open,
    Needs(Needs),
}

/// What there is to be said about a request by its path and method.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Rule(Rule),
    /// The path answers these methods, and not this one.
    Method(Vec<Method>),
    /// The route declares nothing.
    Undeclared,
}

/// The rules of all routes.
#[derive(Debug, Default)]
pub(crate) struct Table {
    routes: HashMap<String, BTreeMap<String, Route>>,
}

#[derive(Debug)]
struct Route {
    rule: Option<Rule>,
    /// The names of the query's parameters.
    parameters: BTreeSet<String>,
}

/// For a route's documentation: what it needs, and how it fails.
pub fn needs(role: Role, reach: Reach) -> impl FnOnce(TransformOperation) -> TransformOperation {
    move |op| {
        let mut op = op.security_requirement(SCHEME);
        let extensions = &mut op.inner_mut().extensions;
        extensions.insert(ROLE.to_owned(), role.as_str().into());
        extensions.insert(
            NAMESPACE.to_owned(),
            serde_json::to_value(reach).unwrap_or_default(),
        );
        op.default_response::<Error>()
    }
}

/// For the documentation of a route that needs no token; it fails as all others do.
pub(crate) fn open(mut op: TransformOperation) -> TransformOperation {
    op.inner_mut()
        .extensions
        .insert(ROLE.to_owned(), OPEN.into());
    op.default_response::<Error>()
}

impl Table {
    pub(crate) fn of(api: &OpenApi) -> Self {
        let mut table = Self::default();
        let paths = api.paths.iter().flat_map(|p| p.paths.iter());
        for (path, item) in paths.filter_map(|(path, item)| Some((path, item.as_item()?))) {
            for (method, operation) in item.iter() {
                let route = Route {
                    rule: rule(|name| operation.extensions.get(name)),
                    parameters: parameters(operation),
                };
                table
                    .routes
                    .entry(path.clone())
                    .or_default()
                    .insert(method.to_uppercase(), route);
            }
        }
        table
    }

    /// `path`: the route's, with the names of its parameters.
    pub(crate) fn judge(&self, path: &str, method: &Method) -> Verdict {
        let Some(methods) = self.routes.get(path) else {
            return Verdict::Undeclared;
        };
        match methods.get(answering(method)).map(|route| route.rule) {
            Some(Some(rule)) => Verdict::Rule(rule),
            Some(None) => Verdict::Undeclared,
            None => Verdict::Method(methods.keys().filter_map(|m| m.parse().ok()).collect()),
        }
    }

    /// The first parameter of a query that the route does not declare, with those that it does.
    pub(crate) fn stranger<'a>(
        &self,
        path: &str,
        method: &Method,
        query: &'a str,
    ) -> Option<(std::borrow::Cow<'a, str>, Vec<&str>)> {
        let known = &self.routes.get(path)?.get(answering(method))?.parameters;
        let mut names = url::form_urlencoded::parse(query.as_bytes()).map(|(name, _)| name);
        let stranger = names.find(|name| !known.contains(name.as_ref()))?;
        Some((stranger, known.iter().map(String::as_str).collect()))
    }

    /// Routes that declare nothing: method and path.
    #[cfg(test)]
    pub(crate) fn undeclared(&self) -> Vec<(String, String)> {
        let all = self.routes.iter().flat_map(|(path, methods)| {
            methods
                .iter()
                .map(move |(method, route)| (method, path, route))
        });
        all.filter(|(.., route)| route.rule.is_none())
            .map(|(method, path, _)| (method.clone(), path.clone()))
            .collect()
    }
}

/// The router answers HEAD by what answers GET.
fn answering(method: &Method) -> &str {
    if *method == Method::HEAD {
        Method::GET.as_str()
    } else {
        method.as_str()
    }
}

fn parameters(operation: &Operation) -> BTreeSet<String> {
    let declared = operation.parameters.iter().filter_map(|p| p.as_item());
    let of_query = declared.filter_map(|p| match p {
        Parameter::Query { parameter_data, .. } => Some(parameter_data.name.clone()),
        _ => None,
    });
    of_query.collect()
}

fn rule<'a>(extension: impl Fn(&str) -> Option<&'a serde_json::Value>) -> Option<Rule> {
    fn read<T: DeserializeOwned>(value: &serde_json::Value) -> Option<T> {
        T::deserialize(value).ok()
    }
    let role = extension(ROLE)?;
    if role.as_str() == Some(OPEN) {
        return Some(Rule::Open);
    }
    Some(Rule::Needs(Needs {
        role: read(role)?,
        reach: read(extension(NAMESPACE)?)?,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_declared_whole_is_not_declared() {
        let read = |role: Option<&str>, namespace: Option<&str>| {
            let (role, namespace) = (
                role.map(serde_json::Value::from),
                namespace.map(serde_json::Value::from),
            );
            rule(|name| {
                if name == ROLE {
                    role.as_ref()
                } else {
                    namespace.as_ref()
                }
            })
        };
        assert_eq!(read(Some("none"), None), Some(Rule::Open));
        let needs = Needs {
            role: Role::Operator,
            reach: Reach::Query,
        };
        assert_eq!(
            read(Some("operator"), Some("query")),
            Some(Rule::Needs(needs))
        );
        for (role, namespace) in [
            (None, Some("any")),
            (Some("viewer"), None),
            (Some("king"), Some("any")),
            (Some("viewer"), Some("some")),
        ] {
            assert_eq!(read(role, namespace), None, "{role:?} {namespace:?}");
        }
        assert_eq!(
            Table::default().judge("/v1/new", &Method::GET),
            Verdict::Undeclared
        );
    }
}
