//! Why a plugin call or a capability call failed. The daemon acts on the kind; the texts are for people.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::base::{diagnose, names::InstanceName, units::Millis, version::Identity};

/// The contract's error cases.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum FailureKind {
    /// The input can never work as it is.
    Invalid,
    /// A credential or permission is missing.
    Denied,
    /// The offer can't supply what it promised.
    OutOfCapacity,
    /// A limit of the account stands in the way.
    Quota,
    /// Too many requests.
    Throttled,
    /// No answer, or a failure that may pass.
    Unavailable,
    /// What was named does not exist.
    NotFound,
    /// A defect of the plugin: a trap, a broken limit, an answer that makes no sense.
    Internal,
}

/// The code of a refusal by a grant: the instance file does not allow what was asked.
pub const NOT_GRANTED: &str = "not-granted";
/// The code of a secret that can't be read.
pub const SECRET: &str = "secret";
/// The code of an image that its registry does not hand out.
pub const REGISTRY: &str = "registry";
/// The code of something of the name that a workload asks for and that is somebody else's.
pub const NOT_OURS: &str = "not-ours";
/// The code of a failure that one workload's own contents bring about: the place has answered, and works for others.
pub const WORKLOAD: &str = "workload";

/// The code of a workload that this provider can't run, though another may. The host sends the task elsewhere.
pub const UNSUPPORTED: &str = "unsupported";
/// The code of a provider that does not keep the output of single runs apart.
pub const RUNS_NOT_KEPT: &str = "runs-not-kept";
/// The code of a port whose number somebody else has on that machine.
pub const PORT_TAKEN: &str = "port-taken";
/// The code of a request for more than what a grant has left.
pub const GRANT_EXHAUSTED: &str = "grant-exhausted";
/// The code of a grant that allows no further process or container, however small.
pub const SLOTS_EXHAUSTED: &str = "slots-exhausted";
/// The code of a provider that has been asked for its offers and has not answered yet.
pub const NO_ANSWER_YET: &str = "no-answer-yet";

/// A failed call. `Display` gives the message alone; the plugin and the rest are fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
#[error("{message}")]
pub struct Failure {
    /// What the daemon acts on.
    pub kind: FailureKind,
    /// One sentence, lowercase, without a full stop.
    pub message: String,
    /// The field of the input at fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The cloud's or the host's own code: `InsufficientInstanceCapacity`, `deadline-exceeded`, `trapped`, `out-of-memory`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// What the operator can do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// How long the cloud asks to wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<Millis>,
    /// Which plugin instance and version said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plugin: Option<Identity>,
}

// === impl FailureKind ===

impl FailureKind {
    /// As the API and the events write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::Denied => "denied",
            Self::OutOfCapacity => "out-of-capacity",
            Self::Quota => "quota",
            Self::Throttled => "throttled",
            Self::Unavailable => "unavailable",
            Self::NotFound => "not-found",
            Self::Internal => "internal",
        }
    }
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

// === impl Failure ===

impl Failure {
    /// A failure of this kind, with a message alone.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            field: None,
            code: None,
            remedy: None,
            retry_after: None,
            plugin: None,
        }
    }

    /// The input can never work as it is.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Invalid, message)
    }

    /// The credential is missing, wrong, or lacks a permission.
    pub fn denied(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Denied, message)
    }

    /// A grant does not allow what this field asks for.
    pub fn not_granted(message: impl Into<String>, field: impl Into<String>) -> Self {
        Self::denied(message).field(field).code(NOT_GRANTED)
    }

    /// The cloud does not answer, or fails in a way that may pass.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Unavailable, message)
    }

    /// What was named does not exist.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(FailureKind::NotFound, message)
    }

    /// A defect of the plugin or of the host.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Internal, message)
    }

    /// The same with the field of the input at fault.
    #[must_use]
    pub fn field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// The same with a code of the cloud or of the host.
    #[must_use]
    pub fn code(mut self, code: impl Into<String>) -> Self {
        self.code = Some(code.into());
        self
    }

    /// The same with what the operator can do.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// The same with how long the cloud asks to wait.
    #[must_use]
    pub fn retry_after(mut self, after: Option<Millis>) -> Self {
        self.retry_after = after;
        self
    }

    /// Whether what was asked for is refused, rather than who asks: the same provider may do what others ask of it.
    pub fn refuses_the_request(&self) -> bool {
        let denied = self.kind == FailureKind::Denied
            && self.field.is_some()
            && matches!(
                self.code.as_deref(),
                Some(NOT_GRANTED | SECRET | REGISTRY | NOT_OURS)
            );
        denied || self.is_unsupported()
    }

    /// Whether the provider can never run what was asked for, though another may.
    pub fn is_unsupported(&self) -> bool {
        self.kind == FailureKind::Invalid && self.code.as_deref() == Some(UNSUPPORTED)
    }

    /// Whether there is no room for this request, while a smaller or another one may still fit. `shared`: replicas of all sizes share the
    /// offer. A limit of the machine itself, such as a full disk, is everybody's.
    pub fn lacks_room_for_the_request(&self, shared: bool) -> bool {
        let full = matches!(self.kind, FailureKind::OutOfCapacity | FailureKind::Quota);
        full && match self.code.as_deref() {
            Some(PORT_TAKEN | GRANT_EXHAUSTED) => true,
            Some(code) => shared && !is_of_the_machine(code),
            None => shared,
        }
    }

    /// Whether it says something of the one workload alone, and nothing of the place: it keeps that task away, and nobody else.
    pub fn concerns_the_workload(&self) -> bool {
        self.refuses_the_request() || self.code.as_deref() == Some(WORKLOAD)
    }

    /// The message, and what the operator can do.
    pub fn told(&self) -> String {
        match &self.remedy {
            Some(remedy) => format!("{}; {remedy}", self.message),
            None => self.message.clone(),
        }
    }

    /// The same as said by this plugin.
    #[must_use]
    pub fn from_plugin(mut self, plugin: &Identity) -> Self {
        self.plugin = Some(plugin.clone());
        self
    }
}

/// Whether a code names a limit that whoever comes next meets as well.
fn is_of_the_machine(code: &str) -> bool {
    code == SLOTS_EXHAUSTED || code.starts_with("errno-") || diagnose::CODES.contains(&code)
}

/// A provider that did not answer, and what it said instead.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProviderFailure {
    /// The provider instance.
    pub provider: InstanceName,
    /// What it said.
    pub failure: Failure,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lack_of_room_is_the_request_s_unless_the_machine_s_own_limit_is_reached() {
        let full = |code: Option<&str>| {
            let failure = Failure::new(FailureKind::OutOfCapacity, "full");
            code.map_or(failure.clone(), |code| failure.code(code))
        };
        // (code, of a shared offer, of an instance type)
        let cases = [
            (None, true, false),
            (Some(PORT_TAKEN), true, true),
            (Some(GRANT_EXHAUSTED), true, true),
            (Some("QuotaExceeded"), true, false),
            (Some("InsufficientInstanceCapacity"), true, false),
            (Some(SLOTS_EXHAUSTED), false, false),
            (Some("disk-full"), false, false),
            (Some("errno-11"), false, false),
        ];
        for (code, shared, instance) in cases {
            let told = (
                full(code).lacks_room_for_the_request(true),
                full(code).lacks_room_for_the_request(false),
            );
            assert_eq!(told, (shared, instance), "{code:?}");
        }
        assert!(
            !Failure::unavailable("no route")
                .code(PORT_TAKEN)
                .lacks_room_for_the_request(true)
        );
    }

    #[test]
    fn what_a_provider_can_not_run_is_refused_to_the_request_alone() {
        assert!(
            Failure::invalid("this provider has no ports")
                .code(UNSUPPORTED)
                .refuses_the_request()
        );
        assert!(
            !Failure::invalid("the command is empty")
                .field("command")
                .refuses_the_request()
        );
        assert!(
            !Failure::unavailable("not now")
                .code(UNSUPPORTED)
                .refuses_the_request()
        );
    }
}
