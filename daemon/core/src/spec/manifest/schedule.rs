//! When a job runs, as it is written. What an expression means, the crate `tradewind-manifest` knows.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, MapAccess, Visitor, value::MapAccessDeserializer},
};

use crate::base::units::Millis;

/// A cron expression, or the long form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum ScheduleSpec {
    /// The expression alone.
    Cron(String),
    /// With all that can be said of a schedule.
    Long(ScheduleLong),
}

/// When a job runs, and what becomes of runs that can't begin on time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScheduleLong {
    /// The minute, the hour, the day of the month, the month and the day of the week, such as
    /// `30 3 * * 1-5`; or one of `@hourly`, `@daily`, `@weekly`, `@monthly` and `@yearly`.
    pub cron: String,
    /// The time zone of the expression, by its IANA name, such as `Europe/Berlin`. Default: `UTC`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// What becomes of a run whose time comes while the one before it has not ended.
    #[serde(default, skip_serializing_if = "Concurrency::is_default")]
    pub concurrency: Concurrency,
    /// How late a run may begin, when the daemon was stopped at its time for instance. Of several
    /// missed runs the last one is made up for. Default: however late.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starting_deadline: Option<Millis>,
    /// With `true`, no run begins by itself. What runs goes on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
    /// How many ended runs are listed, 1 to 100. Default: `10`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<u32>,
}

/// What becomes of a run whose time comes while the one before it has not ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Concurrency {
    /// The new run is left out.
    #[default]
    Forbid,
    /// The earlier run is ended, and the new one begins.
    Replace,
}

impl Concurrency {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl ScheduleSpec {
    /// The long form, whichever was written.
    pub fn long(&self) -> ScheduleLong {
        match self {
            Self::Cron(cron) => ScheduleLong {
                cron: cron.clone(),
                time_zone: None,
                concurrency: Concurrency::Forbid,
                starting_deadline: None,
                suspend: false,
                history: None,
            },
            Self::Long(long) => long.clone(),
        }
    }
}

impl<'de> Deserialize<'de> for ScheduleSpec {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(ScheduleVisitor)
    }
}

struct ScheduleVisitor;

impl<'de> Visitor<'de> for ScheduleVisitor {
    type Value = ScheduleSpec;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a cron expression such as \"0 3 * * *\" or {cron, timeZone, concurrency, startingDeadline, suspend, history}")
    }
    fn visit_str<E: de::Error>(self, v: &str) -> Result<ScheduleSpec, E> {
        Ok(ScheduleSpec::Cron(v.to_owned()))
    }
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ScheduleSpec, A::Error> {
        ScheduleLong::deserialize(MapAccessDeserializer::new(map)).map(ScheduleSpec::Long)
    }
}

impl JsonSchema for ScheduleSpec {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ScheduleSpec".into()
    }
    fn json_schema(g: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A cron expression, or the long form.",
            "anyOf": [{ "type": "string" }, g.subschema_for::<ScheduleLong>()],
        })
    }
}
