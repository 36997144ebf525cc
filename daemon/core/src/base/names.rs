//! Names and identifiers, checked once where they enter. Inside, none of them is a bare string, and a copy costs nothing.

use std::{
    borrow::{Borrow, Cow},
    fmt,
    str::FromStr,
    sync::Arc,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// A text that is not a valid name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{value}\" is not a valid {what}: {rule}")]
pub struct NameError {
    /// What the text should have been: "deployment name".
    pub what: &'static str,
    /// The text.
    pub value: String,
    /// What such a name looks like.
    pub rule: &'static str,
}

const DNS_LABEL: &str = "use 1 to 63 lowercase letters, digits and hyphens, beginning and ending with a letter or digit";
const FREE_NAME: &str = "use 1 to 128 letters, digits and any of - _ . : / without spaces";

fn is_dns_label(s: &str) -> bool {
    let inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    let bytes = s.as_bytes();
    matches!(bytes.len(), 1..=63)
        && bytes.iter().all(|&c| inner(c))
        && bytes.first() != Some(&b'-')
        && bytes.last() != Some(&b'-')
}

fn is_free_name(s: &str) -> bool {
    matches!(s.len(), 1..=128)
        && s.bytes()
            .all(|c| c.is_ascii_alphanumeric() || b"-_.:/".contains(&c))
}

const TOKEN: &str = "use 1 to 64 letters, digits and any of - _ .";

fn is_token(s: &str) -> bool {
    matches!(s.len(), 1..=64)
        && s.bytes()
            .all(|c| c.is_ascii_alphanumeric() || b"-_.".contains(&c))
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $check:ident, $rule:ident, $pattern:literal, $example:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name(Arc<str>);

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(s: &str) -> Result<Self, NameError> {
                Self::try_from(s.to_owned())
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(value: String) -> Result<Self, NameError> {
                if $check(&value) { Ok(Self(value.into())) } else { Err(NameError { what: $what, value: cap(value), rule: $rule }) }
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0.as_ref().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "pattern": $pattern, "description": concat!("A ", $what, "."), "examples": [$example] })
            }
        }
    };
}

/// Keeps an absurd input from filling an error message.
fn cap(mut value: String) -> String {
    if value.len() > 80 {
        let end = (0..=77)
            .rev()
            .find(|&i| value.is_char_boundary(i))
            .unwrap_or(0);
        value.truncate(end);
        value.push('…');
    }
    value
}

name!(/** The name of a deployment, unique in its namespace. */ DeploymentName, "deployment name", is_dns_label, DNS_LABEL, "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", "web");
name!(/** A namespace: the unit of budgets, quotas and roles. */ Namespace, "namespace", is_dns_label, DNS_LABEL, "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", "default");
name!(/** The name of a service or job inside a deployment. */ TaskName, "task name", is_dns_label, DNS_LABEL, "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", "web");
name!(/** The name of a plugin instance: a provider or policy as the operator configured it. */ InstanceName, "plugin instance name", is_dns_label, DNS_LABEL, "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", "local");
name!(/** The name of a port inside a workload. */ PortName, "port name", is_dns_label, DNS_LABEL, "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", "http");
name!(/** A region of a provider, in the provider's own spelling. */ Region, "region", is_free_name, FREE_NAME, "^[-_.:/A-Za-z0-9]{1,128}$", "eu-central-1");
name!(/** The name of a measure that is pushed for a task. */ MetricName, "metric name", is_free_name, FREE_NAME, "^[-_.:/A-Za-z0-9]{1,128}$", "queue-length");
name!(/** What tasks that belong together, or apart, have in common. */ AffinityWord, "affinity word", is_dns_label, DNS_LABEL, "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", "database");
name!(/** The host-chosen name of an allocation. */ AllocationId, "allocation id", is_dns_label, DNS_LABEL, "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", "a-2v7k9wq3zr-01kb7v2m3n4p5q6r7s8t9v0w1x");
name!(/** The identifier of an event. */ EventId, "event id", is_dns_label, DNS_LABEL, "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", "01kb7v2m3n4p5q6r7s8t9v0w1x");
name!(/** The identifier of a request to the API: the client's choice, or the daemon's. */ RequestId, "request id", is_token, TOKEN, "^[-_.A-Za-z0-9]{1,64}$", "r-01kb7v2m3n4p5q6r7s8t9v0w1x");
name!(/** The name of a daemon's state, drawn once: part of every allocation's id. */ InstallationId, "installation id", is_dns_label, DNS_LABEL, "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", "2v7k9wq3zr");
name!(/** The identifier of a recorded decision. */ DecisionId, "decision id", is_dns_label, DNS_LABEL, "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", "d-01kb7v2m3n4p5q6r7s8t9v0w1x");

name!(/** The name of a stored plan: its author's choice, or drawn. */ PlanId, "plan's name", is_dns_label, DNS_LABEL, "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", "friday");

name!(/** The name of a token; events name it as `token:NAME`. */ TokenName, "token name", is_dns_label, DNS_LABEL, "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", "ci");
name!(/** The identifier of a token, never used again. */ TokenId, "token id", is_dns_label, DNS_LABEL, "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", "t-01kb7v2m3n4p5q6r7s8t9v0w1x");

impl Namespace {
    /// The namespace of a manifest that names none.
    pub fn default_namespace() -> Self {
        Self("default".into())
    }
}

impl InstallationId {
    /// The random end of a ULID: short enough for a tag, long enough to tell installations in one account apart.
    pub fn new(ulid: ulid::Ulid) -> Self {
        Self(
            ulid.to_string()
                .to_lowercase()
                .chars()
                .skip(18)
                .collect::<String>()
                .into(),
        )
    }
}

impl AllocationId {
    /// A new id. `ulid` supplies time order and uniqueness; the host draws it before any effect.
    pub fn new(installation: &InstallationId, ulid: ulid::Ulid) -> Self {
        Self(format!("a-{installation}-{}", ulid.to_string().to_lowercase()).into())
    }

    /// Whether that installation has drawn it.
    pub fn is_of(&self, installation: &InstallationId) -> bool {
        let rest = self
            .0
            .strip_prefix("a-")
            .and_then(|rest| rest.strip_prefix(installation.as_str()));
        rest.is_some_and(|rest| rest.len() == 27 && rest.starts_with('-'))
    }
}

impl EventId {
    /// The id that is made of this number.
    pub fn new(ulid: ulid::Ulid) -> Self {
        Self(ulid.to_string().to_lowercase().into())
    }
}

impl RequestId {
    /// The id that is made of this number.
    pub fn new(ulid: ulid::Ulid) -> Self {
        Self(format!("r-{}", ulid.to_string().to_lowercase()).into())
    }
}

impl TokenName {
    /// The name of the first token.
    pub fn admin() -> Self {
        Self("admin".into())
    }
}

impl TokenId {
    /// The id that is made of this number.
    pub fn new(ulid: ulid::Ulid) -> Self {
        Self(format!("t-{}", ulid.to_string().to_lowercase()).into())
    }
}

impl DecisionId {
    /// The id that is made of this number.
    pub fn new(ulid: ulid::Ulid) -> Self {
        Self(format!("d-{}", ulid.to_string().to_lowercase()).into())
    }
}

impl PlanId {
    /// The id that is made of this number.
    pub fn new(ulid: ulid::Ulid) -> Self {
        Self(format!("p-{}", ulid.to_string().to_lowercase()).into())
    }
}

/// Who caused a change: `token:NAME`, `controller`, `plugins` or `local`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Actor(Cow<'static, str>);

impl Actor {
    /// The daemon itself, closing the gap between what is wanted and what is.
    pub const CONTROLLER: Self = Self(Cow::Borrowed("controller"));
    /// The plugin folder: what changes there is not asked for through the API.
    pub const PLUGINS: Self = Self(Cow::Borrowed("plugins"));
    /// Somebody who has the data folder in hand, and needs no token.
    pub const LOCAL: Self = Self(Cow::Borrowed("local"));

    /// The holder of the token with this name.
    pub fn token(name: &TokenName) -> Self {
        Self(Cow::Owned(format!("token:{name}")))
    }

    /// As events name it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Actor {
    type Error = NameError;
    fn try_from(value: String) -> Result<Self, NameError> {
        if is_free_name(&value) {
            Ok(Self(Cow::Owned(value)))
        } else {
            Err(NameError {
                what: "actor",
                value: cap(value),
                rule: FREE_NAME,
            })
        }
    }
}

impl From<Actor> for String {
    fn from(actor: Actor) -> String {
        actor.0.into_owned()
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl JsonSchema for Actor {
    fn schema_name() -> Cow<'static, str> {
        "Actor".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^[-_.:/A-Za-z0-9]{1,128}$", "description": "Who caused a change." })
    }
}

/// The SHA-256 of some bytes: the identity of a component, of settings, of a request.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

impl Digest {
    /// 32 zero bytes: the digest of nothing, before the first entry of a chain.
    pub const ZERO: Self = Self([0; 32]);

    /// Of what is already told apart: the parts one after the other, without frames.
    pub fn of_all(parts: &[&[u8]]) -> Self {
        let mut hasher = Sha256::new();
        parts.iter().for_each(|part| hasher.update(part));
        Self(hasher.finalize().into())
    }

    /// Its 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The digest that consists of these bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The SHA-256 digest of the bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The digest of several parts, each framed by its length so that parts can't run into each other.
    pub fn of_parts(parts: &[&[u8]]) -> Self {
        let mut hasher = Sha256::new();
        for part in parts {
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        Self(hasher.finalize().into())
    }

    /// The first 12 hexadecimal digits, for tables and logs.
    pub fn short(&self) -> String {
        self.to_string()
            .chars()
            .skip("sha256:".len())
            .take(12)
            .collect()
    }

    /// Its 32 bytes.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// All 64 hexadecimal digits, for file names.
    pub fn hex(&self) -> String {
        self.0.iter().map(|b| format!("{b:02x}")).collect()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = NameError;
    fn from_str(s: &str) -> Result<Self, NameError> {
        let bad = || NameError {
            what: "digest",
            value: cap(s.to_owned()),
            rule: "use sha256: and 64 hexadecimal digits",
        };
        let hex = s.strip_prefix("sha256:").unwrap_or(s);
        if hex.len() != 64 || !hex.is_ascii() {
            return Err(bad());
        }
        let mut out = [0u8; 32];
        for (i, byte) in out.iter_mut().enumerate() {
            let pair = hex.get(2 * i..2 * i + 2).ok_or_else(bad)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| bad())?;
        }
        Ok(Self(out))
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Digest {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Digest".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^sha256:[0-9a-f]{64}$", "description": "A SHA-256." })
    }
}

/// What somebody wrote on something, to find it again.
pub type Labels = std::collections::BTreeMap<String, String>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_dns_labels() {
        for good in ["a", "web-1", "0", &"x".repeat(63)] {
            assert!(good.parse::<DeploymentName>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a_b", "a b", "ä", &"x".repeat(64)] {
            assert!(bad.parse::<DeploymentName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_allocation_is_of_the_installation_that_drew_it() {
        let ulid = ulid::Ulid::from_parts(1, 2);
        let (ours, other) = (
            InstallationId::new(ulid::Ulid::from_parts(1, 3)),
            InstallationId::new(ulid::Ulid::from_parts(1, 4)),
        );
        let id = AllocationId::new(&ours, ulid);
        assert!(id.is_of(&ours) && !id.is_of(&other));
        assert!(is_dns_label(id.as_str()), "{id}");
        assert!(!AllocationId("a-01arz3ndektsv4rrffq69g5fav".into()).is_of(&ours));
    }

    #[test]
    fn a_digest_survives_its_text() {
        let d = Digest::of(b"x");
        assert_eq!(d.to_string().parse(), Ok(d));
        assert_ne!(
            Digest::of_parts(&[b"ab", b"c"]),
            Digest::of_parts(&[b"a", b"bc"])
        );
    }
}
