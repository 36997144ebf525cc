//! The document of a namespace: how much it may spend and hold, and what happens when that is not enough. Types only: the crate
//! `tradewind-manifest` reads their text, and `budget` decides by them.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, SeqAccess, Visitor, value::StrDeserializer},
};

use super::{ApiVersion, ReplacementSpec};
use crate::base::{
    names::{InstanceName, Labels, Namespace},
    units::{Bytes, MicroUsd, MilliCpu},
};

/// What a document describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "NamespaceKind")]
pub enum Kind {
    /// The limits of a namespace.
    Namespace,
}

/// A namespace: what its deployments may spend and hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "NamespaceManifest", example = example())]
pub struct Document {
    /// Always `tradewind.dev/v1`.
    pub api_version: ApiVersion,
    /// Always `Namespace`.
    pub kind: Kind,
    /// The name and the labels of the namespace.
    pub metadata: Metadata,
    /// The limits of the namespace.
    #[serde(default)]
    pub spec: Spec,
}

/// A whole document.
fn example() -> serde_json::Value {
    serde_json::json!({
        "apiVersion": "tradewind.dev/v1", "kind": "Namespace", "metadata": { "name": "default" },
        "spec": { "quota": { "replicas": 1000 } },
    })
}

/// What a namespace is called.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "NamespaceMetadata")]
pub struct Metadata {
    /// The name.
    pub name: Namespace,
    /// Labels of the namespace, for selectors and reports.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
}

/// The limits of a namespace, and what holds for deployments that say nothing themselves.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "NamespaceSpec")]
pub struct Spec {
    /// The money that it may spend. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
    /// What its deployments may hold together. Default: no limit.
    #[serde(default, skip_serializing_if = "Quota::is_none")]
    pub quota: Quota,
    /// The policy instance of deployments that name none. Default: the daemon's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<InstanceName>,
    /// Whether deployments change through approved plans only. Default: the daemon's setting
    /// `plans.approval`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Approval>,
    /// How services of deployments without `replacement` move when prices change. Default: they
    /// stay where they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replacement: Option<ReplacementSpec>,
}

/// Who has to agree before a deployment changes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Approval {
    /// A manifest is applied when it comes.
    #[default]
    None,
    /// Somebody other than the author approves a stored plan first.
    Required,
}

/// The money that a namespace may spend.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Budget {
    /// The most per hour, in US dollars, for all that runs at one time. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hourly: Option<MicroUsd>,
    /// The most per calendar month (UTC), in US dollars. The forecast counts: what was spent, and
    /// what runs until the end of the month. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monthly: Option<MicroUsd>,
    /// What is done until it fits: one action, or several in their order. Default: `queue`.
    #[serde(default, skip_serializing_if = "OnExceeded::is_default")]
    pub on_exceeded: OnExceeded,
}

/// One way out when a budget or a quota is not enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    /// The task waits. It is always the last resort.
    Queue,
    /// Tasks take cheaper offers, and services fewer replicas, down to the least that each may
    /// have.
    StepDown,
    /// Tasks of a lower priority make room. When the spending itself outgrows the budget, the
    /// lowest priority goes first.
    Evict,
}

impl Action {
    /// As manifests write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::StepDown => "step down",
            Self::Evict => "evict",
        }
    }
}

/// One action, or several in their order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct OnExceeded(pub Vec<Action>);

/// What the deployments of a namespace may hold together. A field that is left out has no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Quota {
    /// Processor cores of all replicas.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<MilliCpu>,
    /// Memory of all replicas.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Bytes>,
    /// Accelerators of all replicas.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accelerators: Option<u32>,
    /// Replicas of all tasks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u32>,
    /// Allocations: groups of replicas of one task at one place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allocations: Option<u32>,
    /// Deployments of which something runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deployments: Option<u32>,
    /// The room that its deployments, their revisions and its plans take in the daemon's state.
    /// What takes more is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<Bytes>,
}

impl Quota {
    /// It limits nothing.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

// === OnExceeded ===

impl Default for OnExceeded {
    fn default() -> Self {
        Self(vec![Action::Queue])
    }
}

impl OnExceeded {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl<'de> Deserialize<'de> for OnExceeded {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(ActionsVisitor)
    }
}

struct ActionsVisitor;

impl<'de> Visitor<'de> for ActionsVisitor {
    type Value = OnExceeded;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("queue, stepDown or evict, or a list of them")
    }
    fn visit_str<E: de::Error>(self, v: &str) -> Result<OnExceeded, E> {
        Action::deserialize(StrDeserializer::new(v)).map(|one| OnExceeded(vec![one]))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<OnExceeded, A::Error> {
        let mut actions = Vec::new();
        while let Some(action) = seq.next_element()? {
            actions.push(action);
        }
        Ok(OnExceeded(actions))
    }
}

impl JsonSchema for OnExceeded {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "OnExceeded".into()
    }
    fn json_schema(g: &mut SchemaGenerator) -> Schema {
        let one = g.subschema_for::<Action>();
        json_schema!({
            "description": "One action, or several in their order.",
            "anyOf": [one, { "type": "array", "items": one, "minItems": 1, "uniqueItems": true }],
        })
    }
}
