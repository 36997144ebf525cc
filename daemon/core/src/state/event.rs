//! An event, as it is kept: what happened, who did it, what led to it, and what it changed. It must hold no secret: whoever may see an event may
//! not be meant to see every value of what it is about.

mod reason;

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::base::{
    difference::Difference,
    list::{Choice, Listed},
    names::{
        Actor, AllocationId, DecisionId, DeploymentName, EventId, InstanceName, Namespace,
        RequestId, TaskName,
    },
    revision::Revision,
    units::Instant,
};

pub use self::reason::Reason;

/// How grave an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Something has happened as it should.
    Info,
    /// Something is not as it should be, and may pass by itself.
    Warning,
    /// Something failed, or needs somebody.
    Error,
}

impl Choice for Severity {
    const WHAT: &'static str = "a severity";
    const ALL: &'static [Self] = &[Self::Info, Self::Warning, Self::Error];

    fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// What led to an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
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
    /// A `Reason`, or the word of another version of the daemon.
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

impl Event {
    /// One about nothing in particular; the moment and the revision are filled in when it is recorded.
    pub fn new(
        severity: Severity,
        reason: Reason,
        actor: &Actor,
        message: impl Into<String>,
    ) -> Self {
        Self {
            id: None,
            revision: Revision::default(),
            at: Instant::default(),
            severity,
            reason: reason.as_str().to_owned(),
            message: message.into(),
            actor: actor.clone(),
            cause: None,
            before: None,
            after: None,
            namespace: None,
            deployment: None,
            task: None,
            allocation: None,
            plugin: None,
        }
    }

    /// The same with what led to it.
    #[must_use]
    pub fn because(mut self, cause: Cause) -> Self {
        self.cause = Some(cause);
        self
    }

    /// What it changed: the fields in which `before` and `after` differ. None: there was, or is, nothing.
    #[must_use]
    pub fn changing<T: Serialize>(mut self, before: Option<&T>, after: Option<&T>) -> Self {
        let Difference { before, after } = Difference::of(before, after);
        (self.before, self.after) = (before, after);
        self
    }

    /// Where a stream that broke off after this event goes on.
    pub fn cursor(&self) -> Cursor {
        Cursor {
            revision: self.revision,
            event: self.id.clone(),
        }
    }
}

/// In the order of the stream.
impl Listed for Event {
    const LIST: &'static str = "events";
    type Key = (Revision, Option<EventId>);

    fn key(&self) -> Self::Key {
        (self.revision, self.id.clone())
    }
}

/// A place in the stream of events: after all events of a revision, or after one of them. Its text is an event's id in the stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cursor {
    /// The store's revision.
    pub revision: Revision,
    /// The event of that revision. `None`: its last one.
    pub event: Option<EventId>,
}

/// A text that is no place in the stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{value}\" is no place in the stream of events: use the id of a streamed event, or a revision"
)]
pub struct CursorError {
    value: String,
}

impl Cursor {
    /// After everything that `revision` recorded.
    pub fn after(revision: Revision) -> Self {
        Self {
            revision,
            event: None,
        }
    }

    /// The revision after which the store has to be followed, so that nothing behind this place is missed.
    pub fn follow_from(&self) -> Revision {
        match self.event {
            None => self.revision,
            Some(_) => Revision(self.revision.0.saturating_sub(1)),
        }
    }

    /// Whether an event lies behind this place.
    pub fn precedes(&self, revision: Revision, id: Option<&EventId>) -> bool {
        revision > self.revision
            || (revision == self.revision && self.event.is_some() && id > self.event.as_ref())
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.event {
            None => write!(f, "{}", self.revision.0),
            Some(event) => write!(f, "{}-{event}", self.revision.0),
        }
    }
}

impl FromStr for Cursor {
    type Err = CursorError;
    fn from_str(text: &str) -> Result<Self, CursorError> {
        let bad = || CursorError {
            value: text.chars().take(80).collect(),
        };
        let (revision, event) = match text.split_once('-') {
            None => (text, None),
            Some((revision, event)) => (revision, Some(event.parse().map_err(|_| bad())?)),
        };
        Ok(Self {
            revision: Revision(revision.parse().map_err(|_| bad())?),
            event,
        })
    }
}

impl TryFrom<String> for Cursor {
    type Error = CursorError;
    fn try_from(text: String) -> Result<Self, CursorError> {
        text.parse()
    }
}

impl From<Cursor> for String {
    fn from(cursor: Cursor) -> String {
        cursor.to_string()
    }
}

impl JsonSchema for Cursor {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Cursor".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string", "pattern": "^[0-9]{1,19}(-[0-9a-z]([-0-9a-z]{0,61}[0-9a-z])?)?$",
            "description": "A place in the stream of events: a revision, or the id of a streamed event.", "examples": ["1"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_within_a_transaction_goes_on_with_its_next_event() {
        let id = |text: &str| Some(text.parse::<EventId>().unwrap());
        let cursor: Cursor = "7-b".parse().unwrap();
        assert_eq!(
            (cursor.to_string(), cursor.follow_from()),
            ("7-b".to_owned(), Revision(6))
        );
        for (revision, event, behind) in [
            (6, "c", false),
            (7, "a", false),
            (7, "b", false),
            (7, "c", true),
            (8, "a", true),
        ] {
            assert_eq!(
                cursor.precedes(Revision(revision), id(event).as_ref()),
                behind,
                "{revision}-{event}"
            );
        }
        let whole = Cursor::after(Revision(7));
        assert_eq!(
            (whole.to_string().parse(), whole.follow_from()),
            (Ok(whole.clone()), Revision(7))
        );
        assert!(
            !whole.precedes(Revision(7), id("z").as_ref()) && whole.precedes(Revision(8), None)
        );
        for bad in ["", "x", "-a", "7-", "7-A", "7-a b"] {
            assert!(bad.parse::<Cursor>().is_err(), "{bad}");
        }
    }
}
