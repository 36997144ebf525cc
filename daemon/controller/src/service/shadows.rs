//! Shadow policies, as the API asks about them, and the promotion of one.

use tradewind_api::NamespaceOutcome;
use tradewind_core::{
    manifest::{
        ApiVersion,
        namespace::{Document, Kind, Metadata, Spec},
    },
    names::{Actor, InstanceName, Namespace},
    shadow::Report,
    units::Instant,
};

use crate::{Error, Handle};

impl Handle {
    /// What has come of a shadow policy that was started then.
    ///
    /// # Errors
    /// The state can't be read.
    pub async fn shadow_report(
        &self,
        name: &InstanceName,
        since: Instant,
    ) -> Result<Report, Error> {
        Ok(self.shared.shadows.report(name, since).await?)
    }

    /// Forgets what has come of a shadow policy that is no more.
    ///
    /// # Errors
    /// The state can't be written.
    pub async fn forget_shadow(&self, name: &InstanceName) -> Result<(), Error> {
        Ok(self.shared.shadows.forget(name).await?)
    }

    /// Has a namespace's deployments that name no policy use this one.
    ///
    /// # Errors
    /// The state can't be written, or is written by others all the time.
    pub async fn set_policy(
        &self,
        actor: &Actor,
        namespace: &Namespace,
        policy: &InstanceName,
    ) -> Result<NamespaceOutcome, Error> {
        let now = self.namespace(namespace);
        let generation = now.as_ref().map_or(0, |n| n.generation);
        let mut document = now.and_then(|n| n.manifest).unwrap_or_else(|| Document {
            api_version: ApiVersion::V1,
            kind: Kind::Namespace,
            metadata: Metadata {
                name: namespace.clone(),
                labels: Default::default(),
            },
            spec: Spec::default(),
        });
        document.spec.policy = Some(policy.clone());
        self.put_namespace(actor, document, Some(generation)).await
    }
}
