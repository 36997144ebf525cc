//! Kinds of objects: how a grant names them, and in which version and at which path a cluster serves them.
//! What a cluster serves is asked of it once and remembered for a while.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use serde::Deserialize;
use tradewind_core::failure::{Failure, FailureKind};

use crate::api::{Cluster, Request};

pub(crate) const SECRET: &str = "Secret";
/// Holds data beyond the life of what uses it.
pub(crate) const CLAIM: &str = "PersistentVolumeClaim";
pub(crate) const NODE: &str = "Node";
pub(crate) const EVENT: &str = "Event";

/// How long an answer is believed. A kind that is missing may be installed at any moment.
const SERVED: Duration = Duration::from_secs(600);
const MISSING: Duration = Duration::from_secs(10);

/// Name, group, versions from the best on, name in paths.
type Known = (
    &'static str,
    &'static str,
    &'static [&'static str],
    &'static str,
);

const KNOWN: [Known; 13] = [
    ("Deployment", "apps", &["v1"], "deployments"),
    ("ReplicaSet", "apps", &["v1"], "replicasets"),
    ("Service", "", &["v1"], "services"),
    ("Pod", "", &["v1"], "pods"),
    ("Event", "", &["v1"], "events"),
    ("Secret", "", &["v1"], "secrets"),
    ("ConfigMap", "", &["v1"], "configmaps"),
    (
        "PersistentVolumeClaim",
        "",
        &["v1"],
        "persistentvolumeclaims",
    ),
    ("Job", "batch", &["v1"], "jobs"),
    (
        "HorizontalPodAutoscaler",
        "autoscaling",
        &["v2", "v2beta2"],
        "horizontalpodautoscalers",
    ),
    (
        "PodDisruptionBudget",
        "policy",
        &["v1", "v1beta1"],
        "poddisruptionbudgets",
    ),
    (
        "VirtualService",
        "networking.istio.io",
        &["v1", "v1beta1", "v1alpha3"],
        "virtualservices",
    ),
    (
        "DestinationRule",
        "networking.istio.io",
        &["v1", "v1beta1", "v1alpha3"],
        "destinationrules",
    ),
];

/// A kind as a cluster serves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kind {
    /// As grants and plugins write it.
    pub(crate) name: String,
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) plural: String,
}

impl Kind {
    pub(crate) fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// The word in objects: without the group.
    pub(crate) fn word(&self) -> &str {
        self.name.split('.').next().unwrap_or_default()
    }

    /// The path of the kind's objects in a namespace.
    pub(crate) fn path(&self, namespace: &str) -> String {
        format!("{}/namespaces/{namespace}/{}", self.root(), self.plural)
    }

    fn root(&self) -> String {
        if self.group.is_empty() {
            format!("/api/{}", self.version)
        } else {
            format!("/apis/{}/{}", self.group, self.version)
        }
    }
}

/// What a cluster has been found to serve.
#[derive(Default)]
pub(crate) struct Served(Mutex<HashMap<String, (Instant, Option<Kind>)>>);

impl Served {
    fn known(&self, name: &str) -> Option<Option<Kind>> {
        let table = self.0.lock();
        let (at, kind) = table.get(name)?;
        let believed = if kind.is_some() { SERVED } else { MISSING };
        (at.elapsed() < believed).then(|| kind.clone())
    }

    fn learn(&self, name: &str, kind: Option<Kind>) {
        self.0
            .lock()
            .insert(name.to_owned(), (Instant::now(), kind));
    }
}

/// Whether a text can name a kind at all: it becomes a part of paths.
pub(crate) fn is_name(name: &str) -> bool {
    let (word, group) = name.split_once('.').unwrap_or((name, "x"));
    let lower = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || b"-.".contains(&c);
    let worded = word.bytes().all(|c| c.is_ascii_alphanumeric())
        && word.bytes().next().is_some_and(|c| c.is_ascii_uppercase());
    name.len() <= 253
        && worded
        && !group.is_empty()
        && !group.contains("..")
        && group.bytes().all(lower)
}

#[derive(Deserialize)]
struct Group {
    #[serde(rename = "preferredVersion")]
    preferred: Version,
}

#[derive(Deserialize)]
struct Version {
    version: String,
}

#[derive(Deserialize)]
struct Resources {
    resources: Vec<Resource>,
}

#[derive(Deserialize)]
struct Resource {
    name: String,
    kind: String,
    namespaced: bool,
}

impl Cluster<'_> {
    /// The kind as this cluster serves it.
    ///
    /// # Errors
    /// `not-found` when it does not; else what keeps the cluster from telling.
    pub(crate) async fn kind(&self, name: &str) -> Result<Kind, Failure> {
        let missing = || {
            Failure::not_found(format!(
                "the cluster serves no kind \"{}\" in a version that can be used",
                name.escape_debug()
            ))
            .field("kind")
            .code("no-such-kind")
            .remedy("install what defines it, or take it out of the settings")
        };
        if !is_name(name) {
            return Err(missing());
        }
        let connection = self.connections.get(self.grant).await?;
        if let Some(known) = connection.served.known(name) {
            return known.ok_or_else(missing);
        }
        let found = self.discover(name).await?;
        connection.served.learn(name, found.clone());
        found.ok_or_else(missing)
    }

    async fn discover(&self, name: &str) -> Result<Option<Kind>, Failure> {
        let known = KNOWN.iter().find(|(known, ..)| *known == name);
        let Some((_, group, versions, plural)) = known else {
            return self.foreign(name).await;
        };
        let kind = |version: &str| Kind {
            name: name.to_owned(),
            group: (*group).to_owned(),
            version: version.to_owned(),
            plural: (*plural).to_owned(),
        };
        // Every cluster has the core's and the old ones' first version.
        if let ([only], true) = (versions, !group.contains('.')) {
            return Ok(Some(kind(only)));
        }
        for version in *versions {
            let kind = kind(version);
            let there = self
                .resources(&kind)
                .await?
                .is_some_and(|all| all.resources.iter().any(|r| r.name == *plural));
            if there {
                return Ok(Some(kind));
            }
        }
        Ok(None)
    }

    /// `Kind.group`, in the version that the cluster prefers.
    async fn foreign(&self, name: &str) -> Result<Option<Kind>, Failure> {
        let Some((word, group)) = name.split_once('.') else {
            return Ok(None);
        };
        let Some(answer) = found(
            self.send(Request::get(
                format!("/apis/{group}"),
                "the kinds it serves",
            ))
            .await,
        )?
        else {
            return Ok(None);
        };
        let Group { preferred } = answer.json()?;
        let mut kind = Kind {
            name: name.to_owned(),
            group: group.to_owned(),
            version: preferred.version,
            plural: String::new(),
        };
        let Some(all) = self.resources(&kind).await? else {
            return Ok(None);
        };
        let plain = |r: &&Resource| r.kind == word && r.namespaced && !r.name.contains('/');
        let Some(resource) = all.resources.iter().find(plain) else {
            return Ok(None);
        };
        kind.plural.clone_from(&resource.name);
        Ok(Some(kind))
    }

    async fn resources(&self, kind: &Kind) -> Result<Option<Resources>, Failure> {
        let answer = found(
            self.send(Request::get(kind.root(), "the kinds it serves"))
                .await,
        )?;
        answer.map(|answer| answer.json()).transpose()
    }
}

/// What does not exist is no failure here.
pub(crate) fn found<T>(result: Result<T, Failure>) -> Result<Option<T>, Failure> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(failure) if failure.kind == FailureKind::NotFound => Ok(None),
        Err(failure) => Err(failure),
    }
}
