//! Fields with a short and a long form: `http: 8080` or `http: {port: 8080, …}`. Each form has errors of its own, where serde's untagged
//! enums would only say that nothing matched.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, MapAccess, Visitor, value::MapAccessDeserializer},
};

use super::{PortLong, SecretSpec};
use crate::{base::units, spec::workload::Accelerator};

/// Asks a reader of manifests for a scalar as it was written; other deserializers answer as they always do.
pub const AS_WRITTEN: &str = "tradewind::AsWritten";
/// The same for a text of digits, which may be written as a whole number.
pub const DIGITS: &str = "tradewind::Digits";
/// The same for octal digits, which may be written as a number that shows that it is one: `0644` or `0o644`.
pub const OCTAL: &str = "tradewind::Octal";

/// A value, or a reference to a secret. Numbers and flags become texts, as they were written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum EnvSpec {
    /// As it stands.
    Text(String),
    /// The value of a secret.
    Secret(SecretSpec),
}

/// A port number, or the long form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum PortSpec {
    /// The number alone.
    Number(u16),
    /// With all that can be said of a port.
    Long(PortLong),
}

/// A number of accelerators of any kind, or the long form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum GpuSpec {
    /// How many of any kind.
    Count(u32),
    /// With kind and memory.
    Long(Accelerator),
}

// === EnvSpec ===

impl<'de> Deserialize<'de> for EnvSpec {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_newtype_struct(AS_WRITTEN, EnvVisitor)
    }
}

struct EnvVisitor;

impl<'de> Visitor<'de> for EnvVisitor {
    type Value = EnvSpec;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text (\"\" when empty) or {secret: NAME, key: KEY}")
    }
    fn visit_newtype_struct<D: Deserializer<'de>>(self, d: D) -> Result<EnvSpec, D::Error> {
        d.deserialize_any(self)
    }
    fn visit_str<E: de::Error>(self, v: &str) -> Result<EnvSpec, E> {
        Ok(EnvSpec::Text(v.to_owned()))
    }
    fn visit_bool<E: de::Error>(self, v: bool) -> Result<EnvSpec, E> {
        Ok(EnvSpec::Text(v.to_string()))
    }
    fn visit_u64<E: de::Error>(self, v: u64) -> Result<EnvSpec, E> {
        Ok(EnvSpec::Text(v.to_string()))
    }
    fn visit_i64<E: de::Error>(self, v: i64) -> Result<EnvSpec, E> {
        Ok(EnvSpec::Text(v.to_string()))
    }
    fn visit_f64<E: de::Error>(self, v: f64) -> Result<EnvSpec, E> {
        Ok(EnvSpec::Text(v.to_string()))
    }
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<EnvSpec, A::Error> {
        SecretSpec::deserialize(MapAccessDeserializer::new(map)).map(EnvSpec::Secret)
    }
}

impl JsonSchema for EnvSpec {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "EnvSpec".into()
    }
    fn json_schema(g: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A value, or a reference to a secret.",
            "anyOf": [{ "type": ["string", "number", "boolean"] }, g.subschema_for::<SecretSpec>()],
        })
    }
}

// === texts that are often written as numbers ===

/// A text, or a number as it was written.
struct Written(&'static str);

impl<'de> Visitor<'de> for Written {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
    fn visit_newtype_struct<D: Deserializer<'de>>(self, d: D) -> Result<Option<String>, D::Error> {
        d.deserialize_any(self)
    }
    fn visit_str<E: de::Error>(self, v: &str) -> Result<Option<String>, E> {
        Ok(Some(v.to_owned()))
    }
    fn visit_unit<E: de::Error>(self) -> Result<Option<String>, E> {
        Ok(None)
    }
    fn visit_none<E: de::Error>(self) -> Result<Option<String>, E> {
        Ok(None)
    }
}

/// `user: 1000` is the text `1000`.
pub(super) fn user<'de, D: Deserializer<'de>>(d: D) -> Result<Option<String>, D::Error> {
    d.deserialize_newtype_struct(DIGITS, Written("text or a whole number"))
}

/// `mode: 0644`, `mode: 0o644` and `mode: "644"` are the same octal digits. `mode: 644` is not: other tools read it as decimal.
pub(super) fn mode<'de, D: Deserializer<'de>>(d: D) -> Result<Option<String>, D::Error> {
    d.deserialize_newtype_struct(OCTAL, Written("octal digits as text, such as \"644\""))
}

/// The permission bits that a mode means, if it is one.
pub fn octal(mode: &str) -> Option<u32> {
    let digits = mode.strip_prefix("0o").unwrap_or(mode);
    let good = matches!(digits.len(), 1..=4) && digits.bytes().all(|c| matches!(c, b'0'..=b'7'));
    u32::from_str_radix(digits, 8).ok().filter(|_| good)
}

pub(super) fn user_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": ["string", "integer", "null"] })
}

pub(super) fn mode_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": ["string", "integer", "null"], "pattern": "^(0o)?[0-7]{1,4}$" })
}

// === PortSpec and GpuSpec ===

/// A whole number or a mapping.
macro_rules! number_or_mapping {
    ($name:ident, $visitor:ident, $short:ident($int:ty, $max:expr), $long:ty, $expecting:literal, $description:literal) => {
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                d.deserialize_any($visitor)
            }
        }

        struct $visitor;

        impl<'de> Visitor<'de> for $visitor {
            type Value = $name;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str($expecting)
            }
            fn visit_u64<E: de::Error>(self, v: u64) -> Result<$name, E> {
                <$int>::try_from(v).map($name::$short).map_err(|_| E::invalid_value(de::Unexpected::Unsigned(v), &self))
            }
            fn visit_f64<E: de::Error>(self, v: f64) -> Result<$name, E> {
                match units::whole(v).and_then(|v| u64::try_from(v).ok()) {
                    Some(v) => self.visit_u64(v),
                    None => Err(E::invalid_value(de::Unexpected::Float(v), &self)),
                }
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<$name, A::Error> {
                <$long>::deserialize(MapAccessDeserializer::new(map)).map($name::Long)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(g: &mut SchemaGenerator) -> Schema {
                json_schema!({
                    "description": $description,
                    "anyOf": [{ "type": "integer", "minimum": 0, "maximum": $max }, g.subschema_for::<$long>()],
                })
            }
        }
    };
}

number_or_mapping!(
    PortSpec,
    PortVisitor,
    Number(u16, 65_535),
    PortLong,
    "a port number from 0 to 65535 (0: the provider chooses) or {port, published, protocol, expose}",
    "A port number, or the long form. Port 0 lets the provider choose."
);
number_or_mapping!(
    GpuSpec,
    GpuVisitor,
    Count(u32, 1024),
    Accelerator,
    "a number of accelerators from 0 to 1024 or {kind, count, memory}",
    "A number of accelerators of any kind, or the long form."
);
