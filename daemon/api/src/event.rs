//! Events, as the API shows them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tradewind_core::{
    event::{Cursor, Severity},
    names::{
        Actor, AllocationId, DecisionId, DeploymentName, EventId, InstanceName, Namespace,
        RequestId, TaskName,
    },
    store::Revision,
    units::Instant,
};

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventView {
    /// Given when it is recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<EventId>,
    /// The store's revision that recorded it. Events of one transaction share it.
    #[serde(default)]
    pub revision: Revision,
    /// When it happened.
    pub at: Instant,
    /// How grave it is.
    pub severity: Severity,
    /// CamelCase: `DeploymentCreated`, `AllocationRunning`, `PluginRejected`.
    pub reason: String,
    /// What happened, for people.
    pub message: String,
    /// Who did it: `token:NAME`, `controller`, `plugins`.
    pub actor: Actor,
    /// What led to it, where one thing did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// What it changed, as it was: fields by their paths. Absent: there was nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// The same as it is now. Absent: there is nothing any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
    /// The namespace that it is about. Absent: none, as for the fields below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Namespace>,
    /// The deployment that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment: Option<DeploymentName>,
    /// The task that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskName>,
    /// The allocation that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allocation: Option<AllocationId>,
    /// The plugin instance that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plugin: Option<InstanceName>,
}

impl From<tradewind_core::event::Event> for EventView {
    fn from(from: tradewind_core::event::Event) -> Self {
        let tradewind_core::event::Event {
            id,
            revision,
            at,
            severity,
            reason,
            message,
            actor,
            cause,
            before,
            after,
            namespace,
            deployment,
            task,
            allocation,
            plugin,
        } = from;
        Self {
            id,
            revision,
            at,
            severity,
            reason,
            message,
            actor,
            cause: cause.map(Into::into),
            before,
            after,
            namespace,
            deployment,
            task,
            allocation,
            plugin,
        }
    }
}

impl EventView {
    /// Where a stream that broke off after this event goes on.
    pub fn cursor(&self) -> Cursor {
        Cursor {
            revision: self.revision,
            event: self.id.clone(),
        }
    }
}

/// What led to an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "EventCause")]
#[serde(tag = "kind", content = "id", rename_all = "kebab-case")]
pub enum Cause {
    /// A request to the API, by its id.
    Request(RequestId),
    /// A decision about places.
    Decision(DecisionId),
    /// An earlier event.
    Event(EventId),
    /// What a deployment's specification wants, by its generation.
    Generation(u64),
    /// What was seen at a provider, in a few words.
    Observation(String),
    /// How a call of a plugin failed: its kind, then its code.
    Failure(String),
    /// A rule of the daemon's own, by the setting or the field of the manifest that states it.
    Rule(String),
}

impl From<tradewind_core::event::Cause> for Cause {
    fn from(from: tradewind_core::event::Cause) -> Self {
        use tradewind_core::event::Cause as Kept;
        match from {
            Kept::Request(it) => Self::Request(it),
            Kept::Decision(it) => Self::Decision(it),
            Kept::Event(it) => Self::Event(it),
            Kept::Generation(it) => Self::Generation(it),
            Kept::Observation(it) => Self::Observation(it),
            Kept::Failure(it) => Self::Failure(it),
            Kept::Rule(it) => Self::Rule(it),
        }
    }
}
