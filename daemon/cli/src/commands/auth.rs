//! `auth can-i`: from what the token is, and from what the daemon's own document says that each operation takes.

use serde::Serialize;
use serde_json::Value;
use tradewind_api::WhoAmI;
use tradewind_core::{
    identity::Role,
    names::{NameError, Namespace},
};

use crate::{Context, Error, args::CanI, output::Mood};

/// One thing that can be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Operation {
    verb: String,
    resource: String,
    /// The role that it takes; none: no token is needed.
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<String>,
    #[serde(skip)]
    reach: String,
}

#[derive(Debug, Serialize)]
struct Answer {
    #[serde(flatten)]
    operation: Operation,
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

pub(super) async fn can_i(context: &Context, args: CanI) -> Result<u8, Error> {
    let who: WhoAmI = context.client.get(&["v1", "whoami"], &[]).await?;
    let document: Value = context.client.get(&["openapi.json"], &[]).await?;
    let all = operations(&document);
    let namespace = context.namespace_or_default();
    let namespace: Namespace = namespace.parse().map_err(|e: NameError| Error::Argument {
        what: "--namespace",
        value: namespace.clone(),
        rule: e.rule.to_owned(),
    })?;
    let named = context.namespace.is_some();
    let answer = |operation: &Operation| {
        let reason = refusal(operation, &who, &namespace, named);
        Answer {
            operation: operation.clone(),
            allowed: reason.is_none(),
            reason,
        }
    };
    if let (Some(verb), Some(resource)) = (&args.verb, &args.resource) {
        let answer = answer(find(&all, verb, resource)?);
        context.output.show(&answer, |_| match &answer.reason {
            None => "yes".to_owned(),
            Some(reason) => format!("no: {reason}"),
        })?;
        return Ok(u8::from(!answer.allowed));
    }
    let answers: Vec<Answer> = all.iter().map(answer).collect();
    context.output.show(&answers, |out| {
        let rows = answers.iter().map(|answer| {
            let (word, mood) = match answer.allowed {
                true => ("yes", Mood::Good),
                false => ("no", Mood::Bad),
            };
            let role = answer.operation.role.as_deref().unwrap_or("-");
            [
                out.cell(&answer.operation.resource, Mood::Plain),
                out.cell(&answer.operation.verb, Mood::Plain),
                out.cell(word, mood),
                out.cell(role, Mood::Plain),
            ]
        });
        out.table(["RESOURCE", "VERB", "ALLOWED", "ROLE"], rows)
    })?;
    Ok(0)
}

/// Every operation that takes a token, by resource.
fn operations(document: &Value) -> Vec<Operation> {
    let mut all = Vec::new();
    let paths = document.get("paths").and_then(Value::as_object);
    for (path, methods) in paths.into_iter().flatten() {
        for (method, operation) in methods.as_object().into_iter().flatten() {
            let text = |name: &str| operation.get(name).and_then(Value::as_str);
            let Some(role) = text("x-tradewind-role") else {
                continue;
            };
            let Some((verb, resource)) = named(path, method) else {
                continue;
            };
            let operation = Operation {
                verb,
                resource,
                role: (role != "none").then(|| role.to_owned()),
                reach: text("x-tradewind-namespace").unwrap_or("any").to_owned(),
            };
            if !all.contains(&operation) {
                all.push(operation);
            }
        }
    }
    all.sort_by(|a, b| (&a.resource, &a.verb).cmp(&(&b.resource, &b.verb)));
    all
}

/// The verb and the resource of a route.
fn named(path: &str, method: &str) -> Option<(String, String)> {
    let mut parts: Vec<&str> = path.strip_prefix("/v1/")?.split('/').collect();
    if let ["namespaces", namespace, _, ..] = parts.as_slice()
        && namespace.starts_with('{')
    {
        parts.drain(..2);
    }
    let words: Vec<&str> = parts
        .iter()
        .copied()
        .filter(|p| !p.starts_with('{'))
        .collect();
    let (resource, inner) = words.split_first()?;
    let one = parts.last().is_some_and(|last| last.starts_with('{'));
    Some(match (method, inner.split_last()) {
        ("get", None) if one => ("get".to_owned(), (*resource).to_owned()),
        ("get", None) => ("list".to_owned(), (*resource).to_owned()),
        ("get", Some(_)) => ("get".to_owned(), words.join("/")),
        ("put", _) => ("update".to_owned(), words.join("/")),
        ("delete", _) => ("delete".to_owned(), words.join("/")),
        ("post", None) => ("create".to_owned(), (*resource).to_owned()),
        ("post", Some((verb, before))) => {
            let resource = [&[*resource], before].concat();
            ((*verb).to_owned(), resource.join("/"))
        }
        _ => return None,
    })
}

fn find<'a>(all: &'a [Operation], verb: &str, resource: &str) -> Result<&'a Operation, Error> {
    let resources = [resource.to_owned(), format!("{resource}s")];
    let of: Vec<&Operation> = all
        .iter()
        .filter(|one| resources.contains(&one.resource))
        .collect();
    // Others' words for the same.
    let verbs: &[&str] = match verb {
        "get" | "list" | "watch" | "read" | "describe" => &["get", "list"],
        "create" | "apply" | "update" | "put" | "patch" | "edit" | "set" => &["update", "create"],
        "delete" | "remove" | "revoke" | "stop" => &["delete"],
        _ => &[],
    };
    let exact = of.iter().find(|one| one.verb == verb);
    let meant = || of.iter().find(|one| verbs.contains(&one.verb.as_str()));
    if let Some(found) = exact.or_else(meant) {
        return Ok(found);
    }
    if of.is_empty() {
        let mut known: Vec<&str> = all.iter().map(|one| one.resource.as_str()).collect();
        known.dedup();
        return Err(Error::Argument {
            what: "the resource",
            value: resource.to_owned(),
            rule: format!("use one of {}", known.join(", ")),
        });
    }
    let known: Vec<&str> = of.iter().map(|one| one.verb.as_str()).collect();
    Err(Error::Argument {
        what: "the verb",
        value: verb.to_owned(),
        rule: format!("of {resource} there are {}", known.join(", ")),
    })
}

/// Why it may not be done. None: it may.
fn refusal(
    operation: &Operation,
    who: &WhoAmI,
    namespace: &Namespace,
    named: bool,
) -> Option<String> {
    let role = operation.role.as_ref()?;
    let Ok(needed) = role.parse::<Role>() else {
        return Some(format!(
            "it takes the role \"{role}\", which this program does not know"
        ));
    };
    if !who.role.includes(needed) {
        return Some(format!(
            "it takes the role \"{needed}\", and the token has the role \"{}\"",
            who.role
        ));
    }
    let reaches = match operation.reach.as_str() {
        "any" => true,
        "all" => {
            return (!who.namespaces.is_all()).then(|| {
                format!(
                    "it is about all namespaces, and the token reaches {}",
                    who.namespaces
                )
            });
        }
        "filtered" if !named => true,
        _ => who.namespaces.admits(namespace),
    };
    (!reaches).then(|| {
        format!(
            "the token does not reach the namespace \"{namespace}\": it reaches {}",
            who.namespaces
        )
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn document() -> Vec<Operation> {
        let needs = |role: &str, reach: &str| json!({"x-tradewind-role": role, "x-tradewind-namespace": reach});
        operations(&json!({"paths": {
            "/v1/deployments": {"get": needs("viewer", "filtered")},
            "/v1/deployments/{name}": {"get": needs("viewer", "query"), "put": needs("operator", "manifest"), "delete": needs("operator", "query")},
            "/v1/namespaces/{namespace}/deployments/{name}": {"get": needs("viewer", "path")},
            "/v1/deployments/{name}/logs": {"get": needs("viewer", "query")},
            "/v1/deployments/{name}/scale": {"post": needs("operator", "query")},
            "/v1/tokens": {"post": needs("admin", "any")},
            "/v1/config": {"get": needs("viewer", "all")},
            "/healthz": {"get": needs("none", "any")},
        }}))
    }

    #[test]
    fn what_a_token_may_is_said_with_the_reason() {
        let who: WhoAmI = serde_json::from_value(
            json!({"actor": "token:ci", "role": "operator", "namespaces": ["team"]}),
        )
        .unwrap();
        let all = document();
        for (verb, resource, namespace, no) in [
            ("list", "deployments", "team", None),
            ("get", "deployment", "other", Some("does not reach")),
            ("apply", "deployments", "team", None),
            ("scale", "deployments", "team", None),
            ("get", "deployments/logs", "team", None),
            ("delete", "deployments", "default", Some("\"default\"")),
            ("create", "tokens", "team", Some("\"admin\"")),
            ("get", "config", "team", Some("all namespaces")),
        ] {
            let found = find(&all, verb, resource).unwrap();
            let reason = refusal(found, &who, &namespace.parse().unwrap(), true);
            match no {
                None => assert_eq!(reason, None, "{verb} {resource}"),
                Some(part) => assert!(
                    reason.clone().is_some_and(|r| r.contains(part)),
                    "{verb} {resource}: {reason:?}"
                ),
            }
        }
        assert!(
            find(&all, "scale", "tokens")
                .unwrap_err()
                .to_string()
                .contains("create")
        );
        assert!(
            find(&all, "get", "pods")
                .unwrap_err()
                .to_string()
                .contains("deployments")
        );
    }
}
