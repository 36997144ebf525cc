//! Reading and writing the controller's documents, each with the event that tells of it.

use serde::{Serialize, de::DeserializeOwned};
use tradewind_core::{
    names::Actor,
    record::{AllocationRecord, DECISIONS, DeploymentKey, DeploymentRecord, EVENTS},
    store::{Error, Record, Txn},
    view::{DecisionView, Event, Severity},
};
use ulid::Ulid;

use super::Shared;

/// Who causes what nobody asked for in particular.
pub(super) const CONTROLLER: &Actor = &Actor::CONTROLLER;

/// The JSON of a document. Documents are plain data, so this fails only on a defect; the state is left alone then.
pub(super) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(value).map_err(|e| Error::Backend {
        action: "encoded",
        path: std::any::type_name::<T>().to_owned(),
        source: e.into(),
    })
}

/// # Errors
/// A document that this version does not understand: nothing is guessed.
pub(super) fn decode<T: DeserializeOwned>(record: &Record) -> Result<T, Error> {
    serde_json::from_slice(&record.value).map_err(|e| Error::Backend { action: "understood", path: record.key.clone(), source: e.into() })
}

/// An event about a deployment.
pub(super) fn event(severity: Severity, reason: &str, actor: &Actor, key: &DeploymentKey, message: impl Into<String>) -> Event {
    Event {
        revision: Default::default(),
        at: Default::default(),
        severity,
        reason: reason.to_owned(),
        message: message.into(),
        actor: actor.clone(),
        namespace: Some(key.namespace.clone()),
        deployment: Some(key.name.clone()),
        task: None,
        allocation: None,
        plugin: None,
    }
}

/// An event about one of its allocations.
pub(super) fn allocation_event(severity: Severity, reason: &str, record: &AllocationRecord, message: impl Into<String>) -> Event {
    Event {
        task: Some(record.task.clone()),
        allocation: Some(record.id.clone()),
        plugin: Some(record.provider.clone()),
        ..event(severity, reason, CONTROLLER, &record.key(), message)
    }
}

impl Shared {
    /// A new identifier: ordered by time, unique.
    pub(super) fn ulid(&self) -> Ulid {
        let since_epoch = std::time::Duration::from_millis(self.clock.now().0);
        let now = std::time::UNIX_EPOCH.checked_add(since_epoch).unwrap_or(std::time::UNIX_EPOCH);
        let mut generator = super::lock(&self.ids);
        // The generator runs out only after 2^80 identifiers within one millisecond.
        generator.generate_from_datetime(now).unwrap_or_else(|_| Ulid::r#gen())
    }

    pub(super) fn tell(&self, txn: Txn, mut event: Event) -> Result<Txn, Error> {
        event.at = self.clock.now();
        Ok(txn.put(format!("{EVENTS}{}", self.ulid().to_string().to_lowercase()), encode(&event)?))
    }

    /// An event that comes with no other change.
    pub(super) async fn note(&self, event: Event) {
        let txn = self.tell(Txn::new(), event);
        let written = match txn {
            Ok(txn) => self.store.commit(txn).await.map(|_| ()),
            Err(e) => Err(e),
        };
        if let Err(error) = written {
            tracing::error!(error = &error as &dyn std::error::Error, "an event could not be recorded");
        }
    }

    pub(super) fn put_deployment(txn: Txn, key: &DeploymentKey, record: &DeploymentRecord) -> Result<Txn, Error> {
        Ok(txn.put(key.path(), encode(record)?))
    }

    pub(super) fn put_allocation(txn: Txn, record: &AllocationRecord) -> Result<Txn, Error> {
        Ok(txn.put(record.path(), encode(record)?))
    }

    pub(super) fn put_decision(txn: Txn, decision: &DecisionView) -> Result<Txn, Error> {
        Ok(txn.put(format!("{DECISIONS}{}", decision.id), encode(decision)?))
    }
}
