//! The controller: compares what is desired with what is, and closes the gap. Level-triggered; events are only hints.
//! Everybody else talks to it through its `Handle`.

use futures::stream::BoxStream;
use tradewind_core::{
    assess,
    failure::Failure,
    manifest::Manifest,
    names::{DecisionId, DeploymentName, InstanceName, Namespace, TaskName},
    store::{self, Revision},
    view::{Accepted, DecisionView, DeploymentSummary, DeploymentView, Event, LogsView, OffersView, PlanView},
    workload::LogQuery,
};

/// Why a request to the controller failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("there is no {what} \"{name}\"")]
    NotFound { what: &'static str, name: String },
    #[error("deployment \"{name}\" is at generation {actual}, not {expected}")]
    Generation { name: String, expected: u64, actual: u64 },
    #[error("deployment \"{name}\" is being deleted")]
    Deleting { name: String },
    /// A name in the request that this daemon does not know: the field's path, the message.
    #[error("{message}")]
    Invalid { path: String, message: String },
    #[error("the plugin call failed")]
    Plugin(#[source] Failure),
    #[error("the state could not be read or written")]
    Store(#[from] store::Error),
    #[error("the controller has stopped")]
    Closed,
}

/// Which logs.
#[derive(Debug, Clone, Default)]
pub struct LogsRequest {
    /// None: all tasks.
    pub task: Option<TaskName>,
    /// `after` is an opaque cursor of an earlier `LogsView::next`.
    pub query: LogQuery,
}

/// Which events.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    pub namespace: Option<Namespace>,
    pub deployment: Option<DeploymentName>,
    pub plugin: Option<InstanceName>,
}

/// The way to the controller. Cheap to clone.
#[derive(Clone)]
pub struct Handle {}

impl Handle {
    /// Stores the manifest as the deployment's spec. An equal manifest changes nothing.
    /// `if_generation`: 0 wants it absent, n wants it at generation n.
    pub async fn put(&self, _manifest: Manifest, _if_generation: Option<u64>) -> Result<Accepted, Error> {
        Err(Error::Closed)
    }

    pub async fn delete(&self, _namespace: &Namespace, _name: &DeploymentName, _if_generation: Option<u64>) -> Result<Accepted, Error> {
        Err(Error::Closed)
    }

    /// None: every namespace.
    pub fn list(&self, _namespace: Option<&Namespace>) -> Vec<DeploymentSummary> {
        Vec::new()
    }

    pub fn get(&self, _namespace: &Namespace, _name: &DeploymentName) -> Option<DeploymentView> {
        None
    }

    /// What `put` would lead to. Changes nothing.
    pub async fn plan(&self, _manifest: Manifest) -> Result<PlanView, Error> {
        Err(Error::Closed)
    }

    pub async fn assess(&self, _manifest: Manifest) -> Result<assess::Report, Error> {
        Err(Error::Closed)
    }

    pub async fn offers(&self, _provider: Option<&InstanceName>) -> Result<OffersView, Error> {
        Err(Error::Closed)
    }

    /// Newest first, at most `limit`. With a deployment: only those that concern it.
    pub async fn decisions(&self, _deployment: Option<(&Namespace, &DeploymentName)>, _limit: usize) -> Result<Vec<DecisionView>, Error> {
        Err(Error::Closed)
    }

    pub async fn decision(&self, _id: &DecisionId) -> Result<DecisionView, Error> {
        Err(Error::Closed)
    }

    pub async fn logs(&self, _namespace: &Namespace, _name: &DeploymentName, _request: LogsRequest) -> Result<LogsView, Error> {
        Err(Error::Closed)
    }

    /// Kept events, oldest first, the last `limit` of them.
    pub async fn events(&self, _filter: &EventFilter, _limit: usize) -> Result<Vec<Event>, Error> {
        Err(Error::Closed)
    }

    /// Events after a revision, first those kept, then those to come, without a gap.
    pub async fn follow_events(&self, _filter: EventFilter, _after: Revision) -> Result<BoxStream<'static, Result<Event, Error>>, Error> {
        Err(Error::Closed)
    }

    /// Resolves when the deployment has changed since `get` was last called (spurious wake-ups are possible), for followers.
    pub async fn changed(&self, _namespace: &Namespace, _name: &DeploymentName) -> Result<(), Error> {
        Err(Error::Closed)
    }
}
