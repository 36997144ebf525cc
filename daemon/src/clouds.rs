//! The clients of clouds that this daemon was built with: one cargo feature each. A capability without its client is absent: the plugin host
//! refuses who asks for it. Knows neither plugins nor the controller.

use std::sync::Arc;

use futures::{StreamExt, stream, stream::BoxStream};
use tradewind_cloud::process::Notice;
use tradewind_config::Config;
use tradewind_core::{
    capability::Listeners,
    names::{AllocationId, InstanceName},
};
use tradewind_wasm::Capabilities;

/// The names, under `[grants]`, of the capabilities that this daemon was built without.
const ABSENT: &[&str] = &[
    #[cfg(not(feature = "aws"))]
    "aws",
    #[cfg(not(feature = "containers"))]
    "containers",
    #[cfg(not(feature = "kubernetes"))]
    "kubernetes",
];

/// One client for each cloud. Cheap to clone.
#[derive(Clone)]
pub struct Clouds {
    #[cfg(feature = "aws")]
    accounts: Arc<tradewind_aws::Accounts>,
    #[cfg(feature = "containers")]
    engines: tradewind_containers::Engines,
    #[cfg(feature = "kubernetes")]
    clusters: tradewind_kubernetes::Clusters,
}

impl Clouds {
    /// Connects to nothing before somebody asks.
    #[cfg_attr(
        not(any(feature = "aws", feature = "containers", feature = "kubernetes")),
        expect(unused_variables, reason = "every client needs the settings")
    )]
    pub fn new(config: &Config) -> Self {
        Self {
            #[cfg(feature = "aws")]
            accounts: Arc::new(tradewind_aws::Accounts::new(tradewind_aws::Options {
                credentials: crate::serve::credentials(config),
                secrets: config.secrets.clone(),
            })),
            #[cfg(feature = "containers")]
            engines: tradewind_containers::Engines::new(tradewind_containers::Options {
                credentials: crate::serve::credentials(config),
                secrets: config.secrets.clone(),
            }),
            #[cfg(feature = "kubernetes")]
            clusters: tradewind_kubernetes::Clusters::new(tradewind_kubernetes::Options {
                credentials: crate::serve::credentials(config),
                secrets: config.secrets.clone(),
            }),
        }
    }

    /// The same capabilities with these clients behind them.
    pub fn lend(&self, capabilities: Capabilities) -> Capabilities {
        Capabilities {
            #[cfg(feature = "aws")]
            aws: self.accounts.clone(),
            #[cfg(feature = "containers")]
            containers: Arc::new(self.engines.clone()),
            #[cfg(feature = "kubernetes")]
            kubernetes: Arc::new(self.clusters.clone()),
            absent: ABSENT,
            ..capabilities
        }
    }

    /// Who tells whether a replica itself listens at an address.
    pub fn listeners(&self) -> Arc<dyn Listeners> {
        #[cfg(feature = "containers")]
        return Arc::new(self.engines.clone());
        #[cfg(not(feature = "containers"))]
        Arc::new(absent::Anybody)
    }

    /// Allocations that a cloud says have changed. Some may be missing.
    pub fn changes(&self) -> BoxStream<'static, (InstanceName, AllocationId)> {
        #[cfg(feature = "kubernetes")]
        return self.clusters.changes().boxed();
        #[cfg(not(feature = "kubernetes"))]
        stream::empty().boxed()
    }

    /// What people should know of, from the start on. Only the first who asks gets it.
    pub fn notices(&self) -> BoxStream<'static, Notice> {
        #[cfg(feature = "containers")]
        if let Some(notices) = self.engines.notices() {
            return stream::unfold(notices, |mut notices| async move {
                let moved = notices.recv().await?;
                let moved = Notice::PortMoved {
                    allocation: moved.allocation,
                    replica: moved.replica,
                    message: moved.message,
                };
                Some((moved, notices))
            })
            .boxed();
        }
        stream::empty().boxed()
    }
}

#[cfg(not(feature = "containers"))]
mod absent {
    use std::net::SocketAddr;

    use async_trait::async_trait;
    use tradewind_core::capability::{Listeners, Probed};

    /// Without containers no replica shares the machine's network but processes, whose ports are checked where they start.
    pub(super) struct Anybody;

    #[async_trait]
    impl Listeners for Anybody {
        async fn listens(&self, _: Probed<'_>, _: SocketAddr) -> Result<(), String> {
            Ok(())
        }
    }
}
