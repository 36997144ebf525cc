//! A moment, or a time back from now.

use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};
use tradewind_core::units::{Instant, Millis};

/// Where a span of the past begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Since {
    At(Instant),
    Ago(Millis),
}

/// A text that is neither a moment nor a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{value}\" is neither a moment nor a duration: write one such as 2026-07-01T12:00:00Z, or a time back from now such as 1h"
)]
pub(crate) struct BadSince {
    value: String,
}

impl Since {
    /// The moment that is meant.
    pub(crate) fn before(self, now: Instant) -> Instant {
        match self {
            Self::At(at) => at,
            Self::Ago(span) => Instant(now.0.saturating_sub(span.0)),
        }
    }
}

impl FromStr for Since {
    type Err = BadSince;
    fn from_str(text: &str) -> Result<Self, BadSince> {
        let at = || text.parse().map(Self::At).ok();
        let ago = || text.parse().map(Self::Ago).ok();
        at().or_else(ago).ok_or_else(|| BadSince {
            value: text.chars().take(80).collect(),
        })
    }
}

impl<'de> Deserialize<'de> for Since {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Since {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Since".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "minLength": 1, "examples": ["1h"] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_or_a_time_back_is_meant() {
        let now = Instant(7_200_000);
        let before = |text: &str| text.parse::<Since>().map(|since| since.before(now));
        assert_eq!(before("1h"), Ok(Instant(3_600_000)));
        assert_eq!(before("30d"), Ok(Instant(0)));
        assert_eq!(before("1970-01-01T00:00:01Z"), Ok(Instant(1_000)));
        for bad in ["", "yesterday", "-1h", "1"] {
            assert!(before(bad).is_err(), "{bad}");
        }
    }
}
