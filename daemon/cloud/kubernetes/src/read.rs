//! Looking at the cluster: what it is, what is ours in it.

use serde::Deserialize;
use serde_json::Value;
use tradewind_core::{
    capability::kubernetes::{
        Caller, ClusterInfo, ListQuery, OwnedObject, Page, Reference, ServedKind,
    },
    failure::Failure,
    workload::Labels,
};

use crate::{
    api::{Cluster, METADATA_LIST, Request, without_namespace},
    apply::{Existing, Metadata, is_ours, tidy},
    check,
    kinds::{EVENT, NODE, found},
    marks,
};

/// Objects of one page.
const PAGE: u32 = 500;
/// The most pages of one list: a cursor that never ends must not keep a call for ever.
const PAGES: usize = 1_000;

#[derive(Deserialize)]
struct Version {
    #[serde(rename = "gitVersion")]
    git: String,
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "T: Deserialize<'de>"))]
struct List<T> {
    #[serde(default)]
    metadata: ListMetadata,
    /// An empty list may be written as none.
    #[serde(default = "Option::default")]
    items: Option<Vec<T>>,
}

#[derive(Default, Deserialize)]
struct ListMetadata {
    #[serde(default, rename = "continue")]
    next: String,
}

pub(crate) async fn info(cluster: &Cluster<'_>) -> Result<ClusterInfo, Failure> {
    let version: Version = cluster
        .send(Request::get("/version".to_owned(), "tell its version"))
        .await?
        .json()?;
    let mut kinds = Vec::new();
    for name in cluster
        .grant
        .kinds
        .iter()
        .chain(&cluster.grant.read)
        .filter(|name| *name != NODE)
    {
        if let Some(kind) = found(cluster.kind(name).await)? {
            kinds.push(ServedKind {
                kind: name.clone(),
                api_version: kind.api_version(),
            });
        }
    }
    Ok(ClusterInfo {
        version: version.git,
        namespaces: cluster.grant.namespaces.clone(),
        kinds,
    })
}

pub(crate) async fn get(
    cluster: &Cluster<'_>,
    caller: &Caller,
    of: &Reference,
) -> Result<Option<String>, Failure> {
    check::readable(cluster.grant, &of.kind, "object.kind")?;
    check::namespace(cluster.grant, &of.namespace, "object.namespace")?;
    check::name(&of.name, "object.name")?;
    let kind = cluster.kind(&of.kind).await?;
    let path = format!("{}/{}", kind.path(&of.namespace), of.name);
    let look = Request::get(
        path,
        format!(
            "look at {} \"{}\" in the namespace \"{}\"",
            of.kind, of.name, of.namespace
        ),
    );
    let Some(answer) = found(cluster.send(look).await)? else {
        return Ok(None);
    };
    let mut object: Value = answer.json()?;
    let Existing { metadata } = answer.json()?;
    is_ours(&metadata, caller, of)?;
    tidy(&mut object);
    Ok(Some(object.to_string()))
}

pub(crate) async fn list(
    cluster: &Cluster<'_>,
    caller: &Caller,
    query: &ListQuery,
) -> Result<Page, Failure> {
    check::readable(cluster.grant, &query.kind, "query.kind")?;
    check::namespace(cluster.grant, &query.namespace, "query.namespace")?;
    let kind = cluster.kind(&query.kind).await?;
    for (key, value) in &query.labels {
        if !is_selectable(key) || !marks::is_label(value) {
            return Err(Failure::invalid(format!(
                "\"{}={}\" is not a label",
                key.escape_debug(),
                value.escape_debug()
            ))
            .field("query.labels"));
        }
    }
    for (key, value) in &query.fields {
        if !is_selectable(key) || value.contains([',', '=', '\\', '!']) {
            return Err(Failure::invalid(format!(
                "\"{}={}\" is not a field",
                key.escape_debug(),
                value.escape_debug()
            ))
            .field("query.fields"));
        }
    }
    let selector = match query.kind.as_str() {
        // The cluster's controllers make them, without our marks.
        EVENT => query
            .labels
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect::<Vec<_>>()
            .join(","),
        _ => marks::selector(&caller.owner, &query.labels),
    };
    let limit = if query.limit == 0 {
        PAGE
    } else {
        query.limit.min(PAGE)
    };
    let what = format!(
        "list {} in the namespace \"{}\"",
        query.kind, query.namespace
    );
    let mut request = Request::get(kind.path(&query.namespace), what).with("limit", limit);
    if !selector.is_empty() {
        request = request.with("labelSelector", selector);
    }
    if !query.fields.is_empty() {
        let fields: Vec<String> = query
            .fields
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        request = request.with("fieldSelector", fields.join(","));
    }
    if let Some(after) = &query.after {
        request = request.with("continue", after);
    }
    let list: List<Value> = cluster
        .send(request)
        .await
        .map_err(|failure| without_namespace(failure, &query.namespace))?
        .json()?;
    let tidied = list
        .items
        .unwrap_or_default()
        .into_iter()
        .map(|mut object| {
            tidy(&mut object);
            object.to_string()
        });
    Ok(Page {
        objects: tidied.collect(),
        next: Some(list.metadata.next).filter(|next| !next.is_empty()),
    })
}

/// A label's key or a field's path.
fn is_selectable(key: &str) -> bool {
    !key.is_empty()
        && key.len() <= 317
        && key
            .bytes()
            .all(|c| c.is_ascii_alphanumeric() || b"-_./".contains(&c))
}

pub(crate) async fn owned(
    cluster: &Cluster<'_>,
    caller: &Caller,
) -> Result<Vec<OwnedObject>, Failure> {
    let mut all = Vec::new();
    for name in &cluster.grant.kinds {
        // A kind that the cluster does not serve has no objects.
        let Some(kind) = found(cluster.kind(name).await)? else {
            continue;
        };
        for namespace in &cluster.grant.namespaces {
            check::namespace(cluster.grant, namespace, "grants.kubernetes.namespaces")?;
            let request = Request::get(
                kind.path(namespace),
                format!("list {name} in the namespace \"{namespace}\""),
            )
            .with(
                "labelSelector",
                marks::selector(&caller.owner, &Labels::new()),
            )
            .accept(METADATA_LIST);
            let found: Vec<Existing> = pages(cluster, &request).await?;
            all.extend(
                found
                    .into_iter()
                    .map(|Existing { metadata }| owned_object(name, metadata)),
            );
        }
    }
    Ok(all)
}

fn owned_object(kind: &str, metadata: Metadata) -> OwnedObject {
    let Metadata {
        name,
        namespace,
        labels,
        ..
    } = metadata;
    OwnedObject {
        object: Reference {
            kind: kind.to_owned(),
            namespace,
            name,
        },
        allocation: labels.get(marks::ALLOCATION).cloned().unwrap_or_default(),
        labels,
    }
}

/// All pages of a list.
pub(crate) async fn pages<T: for<'de> Deserialize<'de>>(
    cluster: &Cluster<'_>,
    first: &Request,
) -> Result<Vec<T>, Failure> {
    let first = first.clone().with("limit", PAGE);
    let (mut all, mut next) = (Vec::new(), String::new());
    for _ in 0..PAGES {
        let request = if next.is_empty() {
            first.clone()
        } else {
            first.clone().with("continue", &next)
        };
        let list: List<T> = cluster.send(request).await?.json()?;
        all.extend(list.items.unwrap_or_default());
        next = list.metadata.next;
        if next.is_empty() {
            return Ok(all);
        }
    }
    Err(Failure::internal(format!(
        "a list of more than {PAGES} pages"
    )))
}
