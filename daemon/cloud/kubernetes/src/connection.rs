//! Connections to API servers: made when first asked for, shared by all who are granted the same, made anew when what they were made of has
//! changed or is refused.

use std::sync::Arc;

use kube::Client;
use parking_lot::Mutex;
use tradewind_core::{
    failure::Failure,
    grant::{CredentialSource, KubernetesGrant},
};
use tradewind_credentials::{Credentials, Secret};

use crate::{failure, kinds::Served, source};

/// What a connection depends on.
#[derive(Clone, PartialEq, Eq)]
struct Key {
    kubeconfig: Option<String>,
    credential: Option<CredentialSource>,
    in_cluster: bool,
    context: Option<String>,
    exec: bool,
    timeout: u64,
}

/// A client, and what it has learnt of its server.
pub(crate) struct Connection {
    pub(crate) client: Client,
    pub(crate) served: Served,
    made_of: Option<Secret>,
}

/// A place for one connection. Held while it is being made: that may take a program's time, and nobody else waits for it.
type Slot = Arc<tokio::sync::Mutex<Option<Arc<Connection>>>>;

/// All of them. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Connections(Arc<Inner>);

struct Inner {
    credentials: Credentials,
    slots: Mutex<Vec<(Key, Slot)>>,
}

impl Connections {
    pub(crate) fn new(credentials: Credentials) -> Self {
        Self(Arc::new(Inner {
            credentials,
            slots: Mutex::default(),
        }))
    }

    /// The connection of a grant, as its source is now.
    ///
    /// # Errors
    /// `denied` when the credentials can't be had or used.
    pub(crate) async fn get(&self, grant: &KubernetesGrant) -> Result<Arc<Connection>, Failure> {
        let text = source::text(&self.0.credentials, grant).await?;
        let slot = self.slot(grant);
        let mut held = slot.lock().await;
        let same = |known: &&Arc<Connection>| {
            known.made_of.as_ref().map(Secret::expose) == text.as_ref().map(Secret::expose)
        };
        if let Some(known) = held.as_ref().filter(same) {
            return Ok(known.clone());
        }
        let config = source::config(text.as_ref(), grant).await?;
        // Making one may run a program and wait for it.
        let made = tokio::task::spawn_blocking(move || Client::try_from(config)).await;
        let client = made
            .map_err(|_| Failure::internal("making a client broke off"))?
            .map_err(|error| failure::unconnected(&error))?;
        let connection = Arc::new(Connection {
            client,
            served: Served::default(),
            made_of: text,
        });
        *held = Some(connection.clone());
        Ok(connection)
    }

    /// This connection's credential has been refused: the next one gets a new one, if there is one.
    pub(crate) async fn refused(&self, grant: &KubernetesGrant, connection: &Arc<Connection>) {
        self.0.credentials.forget();
        let slot = self.slot(grant);
        let mut held = slot.lock().await;
        if held
            .as_ref()
            .is_some_and(|known| Arc::ptr_eq(known, connection))
        {
            *held = None;
        }
    }

    fn slot(&self, grant: &KubernetesGrant) -> Slot {
        let key = Key {
            kubeconfig: grant.kubeconfig.clone(),
            credential: grant.credential.clone(),
            in_cluster: grant.in_cluster,
            context: grant.context.clone(),
            exec: grant.exec,
            timeout: grant.timeout.0,
        };
        let mut slots = self.0.slots.lock();
        if let Some((_, slot)) = slots.iter().find(|(known, _)| *known == key) {
            return slot.clone();
        }
        let slot = Slot::default();
        slots.push((key, slot.clone()));
        slot
    }
}
