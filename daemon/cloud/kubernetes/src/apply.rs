//! Making objects so: checked as a whole batch, marked, then each applied under our own field manager if it is ours or not there yet.

use futures::{StreamExt, stream};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tradewind_core::{
    capability::kubernetes::{Caller, Reference},
    failure::{Failure, FailureKind, NOT_OURS, WORKLOAD},
    workload::Labels,
};

use crate::{
    api::{Cluster, MANAGER, METADATA, Request, without_namespace},
    check,
    kinds::{CLAIM, Kind, SECRET, found},
    marks, pod,
};

/// Requests of one call at a time.
pub(crate) const AT_ONCE: usize = 8;

/// What is known of an object without its contents.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Existing {
    pub(crate) metadata: Metadata,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Metadata {
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) uid: String,
    pub(crate) labels: Labels,
    pub(crate) deletion_timestamp: Option<String>,
}

/// An object that has passed the checks.
pub(crate) struct Checked {
    pub(crate) to: Reference,
    pub(crate) kind: Kind,
    pub(crate) object: Map<String, Value>,
}

/// # Errors
/// The first failure, in the order of the objects; some of the others may have been written.
pub(crate) async fn objects(
    cluster: &Cluster<'_>,
    caller: &Caller,
    objects: &[String],
) -> Result<Vec<String>, Failure> {
    let mut checked = Vec::new();
    for (i, text) in objects.iter().enumerate() {
        let at = format!("objects[{i}]");
        checked.push(
            check_one(cluster, caller, text, &at)
                .await
                .map_err(|failure| below(&at, failure))?,
        );
    }
    let writes = checked.into_iter().map(|one| write(cluster, caller, one));
    // All are awaited: a request that is under way when another fails would have an unknown end.
    let ends: Vec<Result<Value, Failure>> = stream::iter(writes).buffered(AT_ONCE).collect().await;
    ends.into_iter()
        .map(|end| end.map(|object| object.to_string()))
        .collect()
}

/// Puts the place in the batch before a failure's field.
fn below(at: &str, failure: Failure) -> Failure {
    let field = match &failure.field {
        Some(field) if field.starts_with("grants.") || field == "credential" => return failure,
        Some(field) => format!("{at}.{field}"),
        None => at.to_owned(),
    };
    failure.field(field)
}

async fn check_one(
    cluster: &Cluster<'_>,
    caller: &Caller,
    text: &str,
    at: &str,
) -> Result<Checked, Failure> {
    let object: Value = serde_json::from_str(text)
        .map_err(|error| Failure::invalid(format!("{at} is not JSON: {error}")))?;
    let Value::Object(mut object) = object else {
        return Err(Failure::invalid(format!("{at} is not an object")));
    };
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
    let metadata = object.get("metadata");
    let word = text(object.get("kind"));
    let api_version = text(object.get("apiVersion"));
    let name = granted_as(cluster, &word, &api_version);
    if word == SECRET {
        return Err(
            Failure::denied("secrets are made of references, on the host's side")
                .field("kind")
                .code("secret"),
        );
    }
    check::writable(cluster.grant, &name, "kind")?;
    let to = Reference {
        kind: name,
        namespace: text(metadata.and_then(|m| m.get("namespace"))),
        name: text(metadata.and_then(|m| m.get("name"))),
    };
    check::namespace(cluster.grant, &to.namespace, "metadata.namespace")?;
    check::name(&to.name, "metadata.name")?;
    let allocation = caller
        .attempt
        .as_ref()
        .map(|attempt| attempt.allocation.as_str());
    pod::check(cluster.grant, &Value::Object(object.clone()), &|secret| {
        allocation.is_some_and(|id| is_own(secret, id))
    })?;
    let kind = cluster.kind(&to.kind).await?;
    if api_version.is_empty() {
        object.insert("apiVersion".to_owned(), json!(kind.api_version()));
    } else if kind.api_version() != api_version {
        let message = format!(
            "\"{}\" is not the version in which the cluster has {}: write {}",
            api_version.escape_debug(),
            word,
            kind.api_version()
        );
        return Err(Failure::invalid(message).field("apiVersion"));
    }
    if let Some(target) = object
        .get("spec")
        .and_then(|spec| spec.get("scaleTargetRef"))
    {
        let target = Reference {
            kind: text(target.get("kind")),
            namespace: to.namespace.clone(),
            name: text(target.get("name")),
        };
        check::writable(cluster.grant, &target.kind, "spec.scaleTargetRef.kind")?;
        check::name(&target.name, "spec.scaleTargetRef.name")?;
        let there = existing(cluster, &cluster.kind(&target.kind).await?, &target).await?;
        there.map_or(Ok(()), |there| {
            is_ours(&there.metadata, caller, &target)
                .map_err(|f| f.field("spec.scaleTargetRef.name"))
        })?;
    }
    Ok(Checked { to, kind, object })
}

/// How the grant names an object's kind: the bare word, or with its group.
fn granted_as(cluster: &Cluster<'_>, word: &str, api_version: &str) -> String {
    let qualified = api_version
        .split_once('/')
        .map(|(group, _)| format!("{word}.{group}"));
    match qualified {
        Some(qualified) if cluster.grant.kinds.contains(&qualified) => qualified,
        _ => word.to_owned(),
    }
}

/// Whether a secret object's name is one of this allocation's.
pub(crate) fn is_own(secret: &str, allocation: &str) -> bool {
    secret
        .strip_prefix(allocation)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

/// Applies one object. Answers it as the cluster has it.
///
/// # Errors
/// `denied` for an object that others made, what the API server says otherwise.
pub(crate) async fn write(
    cluster: &Cluster<'_>,
    caller: &Caller,
    checked: Checked,
) -> Result<Value, Failure> {
    let Checked { to, kind, object } = checked;
    let what = format!(
        "{} {} \"{}\" in the namespace \"{}\"",
        "apply", to.kind, to.name, to.namespace
    );
    let path = format!("{}/{}", kind.path(&to.namespace), to.name);
    let existing = existing(cluster, &kind, &to)
        .await
        .map_err(|failure| of_kind(&to.kind, failure))?;
    if let Some(existing) = &existing {
        is_ours(&existing.metadata, caller, &to)?;
        is_its_own(&existing.metadata, caller, &to)?;
    }
    let marks = match (&caller.attempt, &existing) {
        (Some(attempt), _) => marks::of(&caller.owner, attempt),
        (None, Some(existing)) => marks::among(&existing.metadata.labels),
        (None, None) => {
            return Err(Failure::denied(format!(
                "{} \"{}\" does not exist, and only an apply makes new objects",
                to.kind, to.name
            ))
            .code("no-attempt"));
        }
    };
    let body = marked(
        object,
        &to,
        kind.word(),
        &marks,
        existing.as_ref().map(|e| e.metadata.uid.as_str()),
    );
    let force = cluster.grant.force_conflicts;
    let request = Request::apply(path, what, body.to_string().into_bytes())
        .with("fieldManager", MANAGER)
        .with("force", force);
    let mut written: Value = cluster
        .send(request)
        .await
        .map_err(|failure| of_kind(&to.kind, without_namespace(failure, &to.namespace)))
        .map_err(|failure| {
            // There is no such object to write to: not the same as an object that is gone.
            if failure.kind == FailureKind::NotFound {
                Failure {
                    kind: FailureKind::Unavailable,
                    ..failure
                }
            } else {
                failure
            }
        })?
        .json()?;
    tidy(&mut written);
    Ok(written)
}

pub(crate) async fn existing(
    cluster: &Cluster<'_>,
    kind: &Kind,
    of: &Reference,
) -> Result<Option<Existing>, Failure> {
    let path = format!("{}/{}", kind.path(&of.namespace), of.name);
    let look = Request::get(
        path,
        format!(
            "look at {} \"{}\" in the namespace \"{}\"",
            of.kind, of.name, of.namespace
        ),
    )
    .accept(METADATA);
    found(cluster.send(look).await)?
        .map(|answer| answer.json())
        .transpose()
}

/// # Errors
/// `denied` for what bears no mark of this instance.
pub(crate) fn is_ours(metadata: &Metadata, caller: &Caller, of: &Reference) -> Result<(), Failure> {
    if marks::is_of(&metadata.labels, &caller.owner) {
        return Ok(());
    }
    let Reference {
        kind,
        namespace,
        name,
    } = of;
    Err(Failure::denied(format!(
        "{kind} \"{name}\" in the namespace \"{namespace}\" was not made by the plugin instance \"{}\"",
        caller.owner
    ))
    .field("metadata.name")
    .code(NOT_OURS)
    .remedy("objects of others are left alone: remove or rename it, or use another namespace"))
}

/// What every workload is made of: a user who may not write these is of no use to anybody.
const EVERYBODYS: [&str; 2] = ["Deployment", "Job"];

/// A right that the kubeconfig's user lacks on a kind that only some workloads have keeps those away, and nobody else.
pub(crate) fn of_kind(kind: &str, failure: Failure) -> Failure {
    let lacks = failure.kind == FailureKind::Denied && failure.code.as_deref() == Some("Forbidden");
    if lacks && !EVERYBODYS.contains(&kind) {
        failure.field("kind").code(WORKLOAD)
    } else {
        failure
    }
}

/// A claim holds data, and so stays one deployment's.
///
/// # Errors
/// `denied` for a claim of another one.
pub(crate) fn is_its_own(
    metadata: &Metadata,
    caller: &Caller,
    of: &Reference,
) -> Result<(), Failure> {
    let Some(attempt) = caller.attempt.as_ref().filter(|_| of.kind == CLAIM) else {
        return Ok(());
    };
    let same = |key: &str| {
        attempt
            .tags
            .get(key)
            .is_none_or(|tag| metadata.labels.get(key).is_none_or(|label| label == tag))
    };
    if [marks::NAMESPACE, marks::DEPLOYMENT].into_iter().all(same) {
        return Ok(());
    }
    Err(Failure::denied(format!(
        "{CLAIM} \"{}\" in the namespace \"{}\" is another deployment's",
        of.name, of.namespace
    ))
    .field("metadata.name")
    .code(NOT_OURS)
    .remedy("give the volume another name"))
}

/// The object as it is sent: its own contents, and of its metadata what a plugin may choose.
fn marked(
    mut object: Map<String, Value>,
    to: &Reference,
    word: &str,
    marks: &Labels,
    uid: Option<&str>,
) -> Value {
    let given = object
        .remove("metadata")
        .and_then(|m| {
            if let Value::Object(m) = m {
                Some(m)
            } else {
                None
            }
        })
        .unwrap_or_default();
    let map = |key: &str| {
        given
            .get(key)
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default()
    };
    let mut labels = map("labels");
    marks::put(&mut labels, marks);
    let mut metadata = Map::new();
    metadata.insert("name".to_owned(), json!(to.name));
    metadata.insert("namespace".to_owned(), json!(to.namespace));
    metadata.insert("labels".to_owned(), Value::Object(labels));
    let annotations = map("annotations");
    if !annotations.is_empty() {
        metadata.insert("annotations".to_owned(), Value::Object(annotations));
    }
    // Should it be replaced by another of its name meanwhile, nothing is written.
    if let Some(uid) = uid {
        metadata.insert("uid".to_owned(), json!(uid));
    }
    object.remove("status");
    // The pods that it means are this instance's own, whatever a plugin writes.
    if let Some(labels) = meant(&mut object, word) {
        let mine = marks
            .iter()
            .filter(|(key, _)| [marks::MANAGED_BY, marks::INSTANCE].contains(&key.as_str()));
        labels.extend(mine.map(|(key, value)| (key.clone(), json!(value))));
    }
    object.insert("kind".to_owned(), json!(word));
    object.insert("metadata".to_owned(), Value::Object(metadata));
    for template in [
        "/spec/template",
        "/spec/jobTemplate",
        "/spec/jobTemplate/spec/template",
    ] {
        let mut whole = Value::Object(object);
        if let Some(Value::Object(template)) = whole.pointer_mut(template) {
            let metadata = template.entry("metadata").or_insert_with(|| json!({}));
            let labels = metadata
                .as_object_mut()
                .map(|m| m.entry("labels").or_insert_with(|| json!({})));
            if let Some(labels) = labels.and_then(Value::as_object_mut) {
                marks::put(labels, marks);
            }
        }
        object = if let Value::Object(object) = whole {
            object
        } else {
            Map::new()
        };
    }
    Value::Object(object)
}

/// The labels by which an object means pods. Without a selector it means none, and so does a service with an empty one; a disruption
/// budget with an empty one means every pod of its namespace.
fn meant<'a>(object: &'a mut Map<String, Value>, word: &str) -> Option<&'a mut Map<String, Value>> {
    let selector = object
        .get_mut("spec")?
        .get_mut("selector")?
        .as_object_mut()?;
    match word {
        "Service" => Some(selector).filter(|labels| !labels.is_empty()),
        "PodDisruptionBudget" => {
            let labels = selector.entry("matchLabels").or_insert(Value::Null);
            if labels.is_null() {
                *labels = json!({});
            }
            labels.as_object_mut()
        }
        _ => None,
    }
}

/// Takes out what only the API server needs, and what is long.
pub(crate) fn tidy(object: &mut Value) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
}
