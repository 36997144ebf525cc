//! A provider: services as Deployments, jobs as Jobs, on a Kubernetes cluster, through the `kubernetes` capability.
//!
//! One file for each concern; this one only says who calls which. `README.md` tells operators how a cluster becomes an instance.

mod apply;
mod cluster;
mod events;
mod extension;
mod files;
mod istio;
mod logs;
mod names;
mod objects;
mod observe;
mod offers;
mod pod;
mod pods;
mod remove;
mod seen;
mod settings;
mod state;
mod wanted;

use tradewind_plugin_sdk::{
    Context, Error, Features, Offer, Provider, ProviderInfo,
    host::{Host, Kubernetes as Capability},
    provider::{read_state, write_state},
    register_provider,
    types::{
        Allocation, Condition, Destroyed, LogChunk, LogQuery, Observation, OffersQuery,
        OwnedAllocation, Tracked,
    },
};

pub use self::settings::Settings;
use self::{cluster::Cluster, state::State};

/// The provider, on the host's capability or on a test's.
pub struct Kubernetes<H = Host> {
    cluster: Cluster<H>,
    settings: Settings,
}

impl<H: Capability> Kubernetes<H> {
    /// On this capability.
    ///
    /// # Errors
    /// `invalid` for settings that contradict each other.
    pub fn on(host: H, settings: Settings) -> Result<Self, Error> {
        settings.check()?;
        Ok(Self {
            cluster: Cluster::new(host),
            settings,
        })
    }
}

impl<H: Capability + Default> Provider for Kubernetes<H> {
    type Settings = Settings;

    fn info() -> ProviderInfo {
        let runs = Features::IMAGES
            | Features::SERVICES
            | Features::JOBS
            | Features::VOLUMES
            | Features::SECRETS
            | Features::FILES
            | Features::RESIZE
            | Features::LOGS;
        ProviderInfo::new(
            "kubernetes",
            env!("CARGO_PKG_VERSION"),
            "Services and jobs on a Kubernetes cluster",
        )
        .schema(settings::SCHEMA)
        .wants(
            "kubernetes",
            "to write and watch the objects that run a workload",
        )
        .runs(runs)
    }

    fn new(_: Context, settings: Settings) -> Result<Self, Error> {
        Self::on(H::default(), settings)
    }

    fn check(&self) -> Result<Vec<Condition>, Error> {
        self.usable()
    }
    fn offers(&self, query: &OffersQuery) -> Result<Vec<Offer>, Error> {
        self.on_sale(query)
    }
    fn apply(&self, allocation: &Allocation, prior: Option<&[u8]>) -> Result<Vec<u8>, Error> {
        let prior: Option<State> = prior.map(read_state).transpose()?;
        write_state(&self.make_so(allocation, prior.as_ref())?)
    }
    fn observe(&self, tracked: &[Tracked]) -> Result<Vec<Observation>, Error> {
        self.look_at(tracked)
    }
    fn destroy(&self, tracked: &Tracked) -> Result<Destroyed, Error> {
        self.remove(&tracked.allocation, &read_state(&tracked.state)?)
    }
    fn owned(&self) -> Result<Vec<OwnedAllocation>, Error> {
        self.everything()
    }
    fn logs(&self, tracked: &Tracked, query: &LogQuery) -> Result<LogChunk, Error> {
        self.written(&tracked.allocation, &read_state(&tracked.state)?, query)
    }
}

register_provider!(Kubernetes<Host>);

#[cfg(test)]
mod tests;
