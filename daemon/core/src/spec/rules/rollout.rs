//! How a task's replicas are exchanged for those of a new version: the strategy with every default filled in, and the small quantities it is
//! written with. Knows nothing of what runs.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::base::units::{Millis, UnitError};

/// In which order old replicas go and new ones come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// A few replicas at a time.
    #[default]
    Rolling,
    /// All old replicas go first.
    Recreate,
    /// A share of new replicas goes first, and has to prove itself.
    Canary,
    /// A whole new set runs beside the old one, then takes all traffic at once.
    BlueGreen,
}

impl Strategy {
    /// As manifests write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rolling => "rolling",
            Self::Recreate => "recreate",
            Self::Canary => "canary",
            Self::BlueGreen => "blue-green",
        }
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A share of a whole, from 0 to 100 in a hundred.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Percent(pub u32);

/// A number of replicas: absolute, or a share of those that are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Share {
    /// So many.
    Count(u32),
    /// So many of a hundred.
    Percent(Percent),
}

impl Share {
    /// Of `n`, rounded up.
    pub fn up(self, n: u32) -> u32 {
        self.of(n, 99)
    }

    /// Of `n`, rounded down.
    pub fn down(self, n: u32) -> u32 {
        self.of(n, 0)
    }

    fn of(self, n: u32, rounding: u64) -> u32 {
        match self {
            Self::Count(count) => count,
            Self::Percent(Percent(p)) => {
                u32::try_from((u64::from(n) * u64::from(p) + rounding) / 100).unwrap_or(u32::MAX)
            }
        }
    }

    /// Whether it is none of anything.
    pub fn is_none(self) -> bool {
        matches!(self, Self::Count(0) | Self::Percent(Percent(0)))
    }
}

/// One stage of a canary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CanaryStep {
    /// Of the replicas and of the traffic.
    pub weight: Percent,
    /// How long it lasts; none: until someone promotes it.
    pub hold: Option<Millis>,
}

/// A task's way of being updated.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Update {
    /// How replicas are exchanged.
    pub strategy: Strategy,
    /// Replicas that may exist beyond those that are wanted.
    pub max_surge: Share,
    /// Replicas that may be missing.
    pub max_unavailable: Share,
    /// How long a replica must have been ready before it counts.
    pub min_ready: Millis,
    /// Without progress for so long, the update has failed.
    pub deadline: Millis,
    /// How long a replica goes on serving after it has been taken off the endpoints.
    pub drain: Millis,
    /// Whether a failed update returns to the last healthy revision by itself.
    pub rollback: bool,
    /// Of a canary.
    pub steps: Vec<CanaryStep>,
    /// Of blue-green: how long the old set stays for an instant return.
    pub keep: Millis,
}

impl Default for Update {
    fn default() -> Self {
        Self {
            strategy: Strategy::Rolling,
            max_surge: Share::Count(1),
            max_unavailable: Share::Count(0),
            min_ready: Millis(0),
            deadline: Millis::from_secs(600),
            drain: Millis::from_secs(1),
            rollback: true,
            steps: Vec::new(),
            keep: Millis::from_secs(300),
        }
    }
}

impl Update {
    /// Replicas that may exist beyond `n`, and that may be missing of `n`. Never none of both, or nothing could move.
    pub fn bounds(&self, n: u32) -> (u32, u32) {
        let (surge, unavailable) = (self.max_surge.up(n), self.max_unavailable.down(n).min(n));
        if surge == 0 && unavailable == 0 {
            (0, 1)
        } else {
            (surge, unavailable)
        }
    }
}

// === text ===

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

impl FromStr for Percent {
    type Err = UnitError;
    fn from_str(s: &str) -> Result<Self, UnitError> {
        let number = s
            .trim()
            .strip_suffix('%')
            .and_then(|n| n.trim().parse().ok())
            .filter(|n| *n <= 100);
        number.map(Self).ok_or_else(|| UnitError {
            what: "a share",
            value: s.to_owned(),
            hint: "0% to 100%, such as 25%",
        })
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(n) => write!(f, "{n}"),
            Self::Percent(p) => write!(f, "{p}"),
        }
    }
}

// === serde ===

impl Serialize for Percent {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Percent {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        match d.deserialize_any(ShareVisitor("a share of 0% to 100%, such as 25%"))? {
            Share::Percent(p) => Ok(p),
            Share::Count(n) => Err(de::Error::custom(format!(
                "found the number {n}, expected a share: write \"{}%\"",
                n.min(100)
            ))),
        }
    }
}

impl JsonSchema for Percent {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "PartPercent".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": r"^\s*(100|[0-9]{1,2})\s*%\s*$", "description": "A share of 0% to 100%.", "examples": ["25%"] })
    }
}

impl Serialize for Share {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Count(n) => s.serialize_u32(*n),
            Self::Percent(p) => p.serialize(s),
        }
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(ShareVisitor("a number of replicas, or a share such as 25%"))
    }
}

impl JsonSchema for Share {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Share".into()
    }
    fn json_schema(g: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "A number of replicas, or a share of those that are wanted.",
            "anyOf": [{ "type": "integer", "minimum": 0, "maximum": 10_000 }, g.subschema_for::<Percent>()],
        })
    }
}

struct ShareVisitor(&'static str);

impl de::Visitor<'_> for ShareVisitor {
    type Value = Share;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
    fn visit_u64<E: de::Error>(self, v: u64) -> Result<Share, E> {
        u32::try_from(v)
            .map(Share::Count)
            .map_err(|_| E::invalid_value(de::Unexpected::Unsigned(v), &self))
    }
    fn visit_f64<E: de::Error>(self, v: f64) -> Result<Share, E> {
        match crate::base::units::whole(v).and_then(|v| u64::try_from(v).ok()) {
            Some(v) => self.visit_u64(v),
            None => Err(E::invalid_value(de::Unexpected::Float(v), &self)),
        }
    }
    fn visit_str<E: de::Error>(self, v: &str) -> Result<Share, E> {
        v.parse().map(Share::Percent).map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_numbers_or_percents_and_round_to_the_safe_side() {
        for (text, n, up, down) in [
            ("1", 10, 1, 1),
            ("\"25%\"", 10, 3, 2),
            ("\"25%\"", 3, 1, 0),
            ("\"100%\"", 7, 7, 7),
            ("\"0%\"", 7, 0, 0),
        ] {
            let share: Share = serde_json::from_str(text).expect(text);
            assert_eq!((share.up(n), share.down(n)), (up, down), "{text} of {n}");
            assert_eq!(serde_json::to_string(&share).expect("text"), text);
        }
        for bad in ["-1", "\"25\"", "\"101%\"", "0.5", "\"many\"", "99999999999"] {
            assert!(serde_json::from_str::<Share>(bad).is_err(), "{bad}");
        }
        assert!(
            serde_json::from_str::<Percent>("10").is_err(),
            "a weight says its unit"
        );
    }

    #[test]
    fn something_can_always_move() {
        let update = Update {
            max_surge: Share::Count(0),
            max_unavailable: Share::Percent(Percent(25)),
            ..Update::default()
        };
        assert_eq!(update.bounds(3), (0, 1));
        assert_eq!(update.bounds(8), (0, 2));
        assert_eq!(Update::default().bounds(5), (1, 0));
    }
}
