//! The cluster's side of the Kubernetes capability: what a plugin asks is checked against its grant, marked as ours, and sent to the API server.
//!
//! It knows Kubernetes' API and no workload: what objects mean is for the plugin that writes them. Whatever bears no mark of the asking
//! instance is neither shown nor touched, and no value of a secret leaves it but into the cluster.
#![warn(missing_docs)]

mod api;
mod apply;
mod check;
mod connection;
mod failure;
mod kinds;
mod logs;
mod marks;
mod nodes;
mod pod;
mod quantity;
mod read;
mod remove;
mod secret;
mod session;
mod source;
mod watch;

#[cfg(test)]
mod tests;

use std::{path::PathBuf, sync::Arc};

use async_trait::async_trait;
use futures::{Stream, stream};
use tokio::sync::broadcast::error::RecvError;
use tradewind_core::{
    capability::kubernetes::{
        Caller, ClusterInfo, Deletion, Kubernetes, ListQuery, Node, OwnedObject, Page, PodLog,
        PodLogQuery, Propagation, Reference, SecretItem,
    },
    failure::Failure,
    grant::KubernetesGrant,
    session::{Opening, ReplicaRef, Session},
};
use tradewind_credentials::Credentials;

pub use self::watch::Change;
use self::{api::Cluster, connection::Connections, watch::Watches};

/// What it works with.
#[derive(Clone)]
pub struct Options {
    /// Where credentials of clusters come from.
    pub credentials: Credentials,
    /// Holds the secrets of workloads as files.
    pub secrets: PathBuf,
}

/// Serves the capability for every instance. Cheap to clone.
#[derive(Clone)]
pub struct Clusters {
    connections: Connections,
    secrets: PathBuf,
    watches: Arc<Watches>,
}

impl Clusters {
    /// Clusters that nobody has connected to yet.
    pub fn new(options: Options) -> Self {
        Self {
            connections: Connections::new(options.credentials),
            secrets: options.secrets,
            watches: Watches::new(),
        }
    }

    /// Changes of pods from now on, of instances that have looked at pods. Some may be missing.
    pub fn changes(&self) -> impl Stream<Item = Change> + Send + use<> {
        stream::unfold(self.watches.subscribe(), |mut changes| async move {
            loop {
                match changes.recv().await {
                    Ok(change) => return Some((change, changes)),
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return None,
                }
            }
        })
    }

    fn of<'a>(&'a self, grant: &'a KubernetesGrant) -> Cluster<'a> {
        Cluster {
            connections: &self.connections,
            grant,
        }
    }
}

#[async_trait]
impl Kubernetes for Clusters {
    async fn info(&self, grant: &KubernetesGrant) -> Result<ClusterInfo, Failure> {
        read::info(&self.of(grant)).await
    }
    async fn apply(
        &self,
        caller: &Caller,
        grant: &KubernetesGrant,
        objects: Vec<String>,
    ) -> Result<Vec<String>, Failure> {
        apply::objects(&self.of(grant), caller, &objects).await
    }
    async fn apply_secret(
        &self,
        caller: &Caller,
        grant: &KubernetesGrant,
        namespace: &str,
        name: &str,
        items: Vec<SecretItem>,
    ) -> Result<String, Failure> {
        let to = Reference {
            kind: kinds::SECRET.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        };
        secret::apply(&self.of(grant), caller, &self.secrets, to, items).await
    }
    async fn get(
        &self,
        caller: &Caller,
        grant: &KubernetesGrant,
        object: &Reference,
    ) -> Result<Option<String>, Failure> {
        read::get(&self.of(grant), caller, object).await
    }
    async fn list(
        &self,
        caller: &Caller,
        grant: &KubernetesGrant,
        query: &ListQuery,
    ) -> Result<Page, Failure> {
        let page = read::list(&self.of(grant), caller, query).await?;
        // Who looks at pods wants to know when they change.
        if query.kind == "Pod" {
            self.watches
                .over(&self.connections, &caller.owner, grant, &query.namespace);
        }
        Ok(page)
    }
    async fn delete(
        &self,
        caller: &Caller,
        grant: &KubernetesGrant,
        objects: Vec<Reference>,
        propagation: Propagation,
    ) -> Result<Vec<Deletion>, Failure> {
        remove::objects(&self.of(grant), caller, &objects, propagation).await
    }
    async fn owned(
        &self,
        caller: &Caller,
        grant: &KubernetesGrant,
    ) -> Result<Vec<OwnedObject>, Failure> {
        read::owned(&self.of(grant), caller).await
    }
    async fn logs(
        &self,
        caller: &Caller,
        grant: &KubernetesGrant,
        query: &PodLogQuery,
    ) -> Result<PodLog, Failure> {
        logs::read(&self.of(grant), caller, query).await
    }
    async fn nodes(
        &self,
        grant: &KubernetesGrant,
        annotations: &[String],
    ) -> Result<Vec<Node>, Failure> {
        nodes::all(&self.of(grant), annotations).await
    }
    async fn open(
        &self,
        caller: &Caller,
        grant: &KubernetesGrant,
        replica: &ReplicaRef,
        what: Opening,
    ) -> Result<Session, Failure> {
        session::open(&self.of(grant), caller, replica, what).await
    }
}
