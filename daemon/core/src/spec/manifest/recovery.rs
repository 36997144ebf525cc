//! What a manifest says about bringing back what fails, and about asking in several places at once. Wire types and their defaults.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{
    base::units::{self, MicroUsd, Millis},
    spec::{
        health::{self, Portion},
        rules::hedge,
        workload::Run,
    },
};

/// How failed replicas, and replicas whose place does not answer, are brought back. A field that a
/// task leaves out is the deployment's. Restarts that a provider makes by itself count too; their
/// pauses are the provider's where it takes none from the daemon.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RecoverySpec {
    /// The pause before the first new attempt. It doubles with every failure. Default: `1s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_pause: Option<Millis>,
    /// The longest pause between attempts. Default: `5m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub longest_pause: Option<Millis>,
    /// How long a replica must be well until its failures are forgotten. Default: `10m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reset_after: Option<Millis>,
    /// After this many failures in a row in one place, the replica goes to another place. With 0,
    /// it stays. Default: `3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replace_after: Option<u32>,
    /// The most replicas that are replaced at one time. Default: 25%, and at least 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_concurrent: Option<PortionSpec>,
    /// How long a place may be silent until its replicas count as lost and others take over
    /// elsewhere. A job takes it from itself alone, because it might run twice. Default: 2m for
    /// services, never for jobs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failover: Option<Millis>,
}

impl RecoverySpec {
    /// It says nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Requests new replicas in several places at once. The first that is ready stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HedgeSpec {
    /// How many places are asked: 2 to 5. With 1, a service has no hedge.
    pub offers: u32,
    /// How long they have until one must be ready. Default: `2m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<Millis>,
    /// The most that the additional places may cost together, in US dollars. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spend_cap: Option<MicroUsd>,
}

/// A number of replicas, or a share such as "25%".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortionSpec(pub Portion);

// === resolving ===

/// The task's own fields replace the deployment's.
pub(super) fn recovery(all: &RecoverySpec, own: &RecoverySpec, run: &Run) -> health::Policy {
    let default = health::Policy::default_for(run);
    health::Policy {
        first: own.first_pause.or(all.first_pause).unwrap_or(default.first),
        longest: own
            .longest_pause
            .or(all.longest_pause)
            .unwrap_or(default.longest),
        reset: own.reset_after.or(all.reset_after).unwrap_or(default.reset),
        replace_after: own
            .replace_after
            .or(all.replace_after)
            .unwrap_or(default.replace_after),
        max_concurrent: own
            .max_concurrent
            .or(all.max_concurrent)
            .map_or(default.max_concurrent, |p| p.0),
        // What the deployment says about silence is meant for services: a job says so itself.
        failover: match run {
            Run::Service => own.failover.or(all.failover).or(default.failover),
            Run::Job { .. } => own.failover,
        },
    }
}

pub(super) fn hedge(all: Option<&HedgeSpec>, own: Option<&HedgeSpec>) -> Option<hedge::Policy> {
    let spec = own.or(all).filter(|s| s.offers > 1)?;
    Some(hedge::Policy {
        offers: spec.offers,
        within: spec.within.unwrap_or(Millis::from_secs(120)),
        spend_cap: spec.spend_cap,
    })
}

// === impl PortionSpec ===

impl fmt::Display for PortionSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Portion::Count(n) => write!(f, "{n}"),
            Portion::Percent(p) => write!(f, "{p}%"),
        }
    }
}

impl Serialize for PortionSpec {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Portion::Count(n) => s.serialize_u32(n),
            Portion::Percent(_) => s.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for PortionSpec {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(PortionVisitor)
    }
}

struct PortionVisitor;

impl de::Visitor<'_> for PortionVisitor {
    type Value = PortionSpec;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of replicas, or a share such as \"25%\"")
    }
    fn visit_u64<E: de::Error>(self, v: u64) -> Result<PortionSpec, E> {
        let count =
            u32::try_from(v).map_err(|_| E::invalid_value(de::Unexpected::Unsigned(v), &self))?;
        Ok(PortionSpec(Portion::Count(count)))
    }
    fn visit_f64<E: de::Error>(self, v: f64) -> Result<PortionSpec, E> {
        match units::whole(v).and_then(|v| u64::try_from(v).ok()) {
            Some(v) => self.visit_u64(v),
            None => Err(E::invalid_value(de::Unexpected::Float(v), &self)),
        }
    }
    fn visit_str<E: de::Error>(self, v: &str) -> Result<PortionSpec, E> {
        let percent = v.strip_suffix('%').and_then(|n| n.trim().parse().ok());
        percent
            .map(|p| PortionSpec(Portion::Percent(p)))
            .ok_or_else(|| E::invalid_value(de::Unexpected::Str(v), &self))
    }
}

impl JsonSchema for PortionSpec {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "PortionSpec".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A number of replicas, or a share such as \"25%\".",
            "anyOf": [{ "type": "integer", "minimum": 0, "maximum": u32::MAX }, { "type": "string", "pattern": "^[0-9]{1,3}\\s*%$" }],
        })
    }
}
