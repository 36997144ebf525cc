//! The document of a namespace: how much it may spend and hold, and what happens when that is not enough. Wire types and their reading;
//! `budget` decides by them.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, SeqAccess, Visitor, value::StrDeserializer},
};

use super::{ApiVersion, Format, Invalid, ReplacementSpec, check, parse::document};
use crate::{
    names::{InstanceName, Namespace},
    units::{Bytes, MicroUsd, MilliCpu},
    workload::Labels,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "NamespaceKind")]
pub enum Kind {
    Namespace,
}

/// What a namespace may spend and hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "NamespaceManifest", example = example())]
pub struct Document {
    /// Always tradewind.dev/v1.
    pub api_version: ApiVersion,
    /// Always Namespace.
    pub kind: Kind,
    /// Its name and labels.
    pub metadata: Metadata,
    /// Its limits.
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

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "NamespaceMetadata")]
pub struct Metadata {
    pub name: Namespace,
    /// For selecting and for reports.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "NamespaceSpec")]
pub struct Spec {
    /// Money. Absent: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
    /// What its deployments may hold in all. What is absent has no limit.
    #[serde(default, skip_serializing_if = "Quota::is_none")]
    pub quota: Quota,
    /// The policy instance of deployments that name none. Default: the daemon's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<InstanceName>,
    /// Whether deployments change through approved plans only. Default: the daemon's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Approval>,
    /// How services of deployments that say nothing themselves move when prices do. Absent: they stay where they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replacement: Option<ReplacementSpec>,
}

/// Who has to agree before a deployment changes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Approval {
    /// Nobody: manifests are applied as they come.
    #[default]
    None,
    /// Somebody other than the author of its stored plan.
    Required,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Budget {
    /// The most per hour, of everything that runs at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hourly: Option<MicroUsd>,
    /// The most per calendar month (UTC), as forecast from what has been spent and what runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monthly: Option<MicroUsd>,
    /// What is done, in this order, until it fits. Default: queue.
    #[serde(default, skip_serializing_if = "OnExceeded::is_default")]
    pub on_exceeded: OnExceeded,
}

/// One way out when a budget or a quota is not enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    /// It waits. Always the last resort.
    Queue,
    /// Cheaper offers, and fewer replicas of services, down to the least that each may have.
    StepDown,
    /// Tasks of a lower priority make room; when the spending itself outgrows the budget, the lowest priority goes first.
    Evict,
}

impl Action {
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

/// Absent: no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Quota {
    /// Processor cores of all replicas.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<MilliCpu>,
    /// Memory of all replicas.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Bytes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accelerators: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u32>,
    /// Groups of replicas of one task at one place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allocations: Option<u32>,
    /// Deployments of which something runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deployments: Option<u32>,
    /// What its deployments, their revisions and its plans take in the daemon's state. What would take more is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<Bytes>,
}

impl Quota {
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// Reads and checks the document of a namespace.
///
/// # Errors
/// `Invalid` with every problem that could be found.
pub fn parse(text: &[u8], format: Format) -> Result<Document, Invalid> {
    document(text, format, check::check_namespace)
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

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "apiVersion: tradewind.dev/v1\nkind: Namespace\nmetadata: {name: team}\n";

    fn read(spec: &str) -> Result<Document, Vec<(String, String)>> {
        let text = format!("{HEAD}spec: {spec}\n");
        let problems = |e: Invalid| {
            e.problems
                .into_iter()
                .map(|p| (p.path, p.message))
                .collect()
        };
        parse(text.as_bytes(), Format::Yaml).map_err(problems)
    }

    #[test]
    fn limits_are_written_as_in_manifests() {
        let spec = read(
            "{budget: {hourly: 0.50, monthly: $300, onExceeded: [stepDown, evict]}, quota: {cpu: 4, memory: 64Gi, replicas: 9}}",
        );
        let spec = spec.expect("valid").spec;
        let budget = spec.budget.expect("a budget");
        assert_eq!(
            (budget.hourly, budget.monthly),
            (Some(MicroUsd(500_000)), Some(MicroUsd(300_000_000)))
        );
        assert_eq!(budget.on_exceeded.0, [Action::StepDown, Action::Evict]);
        assert_eq!(
            (spec.quota.cpu, spec.quota.memory, spec.quota.replicas),
            (Some(MilliCpu(4000)), Some(Bytes(64 << 30)), Some(9))
        );
        let one = read("{budget: {hourly: 1, onExceeded: evict}}")
            .expect("valid")
            .spec
            .budget
            .expect("a budget");
        assert_eq!(one.on_exceeded.0, [Action::Evict]);
        assert_eq!(
            parse(HEAD.as_bytes(), Format::Yaml)
                .expect("no limits")
                .spec,
            Spec::default()
        );
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_its_path() {
        let cases = [
            ("{budget: {}}", "spec.budget", "hourly"),
            (
                "{budget: {hourly: 1, onExceeded: []}}",
                "spec.budget.onExceeded",
                "at least one",
            ),
            (
                "{budget: {hourly: 1, onExceeded: [queue, evict]}}",
                "spec.budget.onExceeded",
                "last",
            ),
            (
                "{budget: {hourly: 1, onExceeded: [evict, evict]}}",
                "spec.budget.onExceeded",
                "twice",
            ),
            (
                "{budget: {hourly: 1, onExceeded: evikt}}",
                "spec.budget.onExceeded",
                "did you mean \"evict\"",
            ),
            (
                "{budget: {hourly: cheap}}",
                "spec.budget.hourly",
                "\"cheap\"",
            ),
            (
                "{quota: {cpus: 4}}",
                "spec.quota.cpus",
                "did you mean \"cpu\"",
            ),
            (
                "{replacement: {minShare: 120%}}",
                "spec.replacement.minShare",
                "at most 100%",
            ),
        ];
        for (spec, path, told) in cases {
            let problems = read(spec).expect_err(spec);
            let found = problems.iter().any(|(p, m)| p == path && m.contains(told));
            assert!(found, "{spec}: {problems:?}");
        }
    }
}
