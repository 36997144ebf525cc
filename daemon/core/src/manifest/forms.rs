//! Fields with a short and a long form: `http: 8080` or `http: {port: 8080, …}`. Each form has errors of its own, where serde's untagged
//! enums would only say that nothing matched.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, MapAccess, Visitor, value::MapAccessDeserializer},
};

use super::{PortLong, SecretSpec, read::AS_WRITTEN};
use crate::workload::Accelerator;

/// A value, or a reference to a secret. Numbers and flags become texts, as they were written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum EnvSpec {
    Text(String),
    Secret(SecretSpec),
}

/// A port number, or the long form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum PortSpec {
    Number(u16),
    Long(PortLong),
}

/// A number of accelerators of any kind, or the long form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum GpuSpec {
    Count(u32),
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
