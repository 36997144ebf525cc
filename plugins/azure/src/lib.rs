//! A provider: Azure Container Instances, one container group for each replica, through the resource manager's REST API.
//!
//! What makes container groups of allocations is the SDK's [`Fleet`]; this crate knows Azure's words.

mod client;
mod errors;
mod group;
mod logs;
mod offers;
mod settings;

use tradewind_plugin_sdk::{
    Context, Error, Features, Offer, Provider, ProviderInfo,
    fleet::{Fleet, Pace, State},
    host::{Clock, Host, Http},
    provider::{read_state, write_state},
    register_provider,
    types::{Allocation, Condition, Destroyed, LogChunk, LogQuery, Observation, OffersQuery, OwnedAllocation, Tracked},
};

use self::client::Client;
pub use settings::Settings;

/// The provider, on the host's capabilities or on a test's.
pub struct Azure<H = Host> {
    client: Client<H>,
    /// The instance's name: what it owns is tagged with it.
    instance: String,
    settings: Settings,
}

impl<H: Http + Clock> Azure<H> {
    /// On these capabilities.
    ///
    /// # Errors
    /// `invalid` for settings that can't work.
    pub fn on(host: H, context: Context, settings: Settings) -> Result<Self, Error> {
        settings.check()?;
        Ok(Self { client: Client::new(host, &settings), instance: context.instance, settings })
    }

    fn fleet(&self) -> Fleet<'_, Client<H>> {
        let pace = Pace { settle: self.settings.settle.millis(), create_timeout: self.settings.create_timeout.millis() };
        Fleet::new(&self.client, &self.instance, pace)
    }
}

impl<H: Http + Clock + Default> Provider for Azure<H> {
    type Settings = Settings;

    fn info() -> ProviderInfo {
        ProviderInfo::new("azure", env!("CARGO_PKG_VERSION"), "Azure Container Instances")
            .schema(settings::SCHEMA)
            .wants("http", "to call the resource manager")
            .wants("clock", "to tell what is too new to be listed from what is gone")
            .runs(Features::IMAGES | Features::SERVICES | Features::JOBS | Features::SECRETS | Features::RESIZE | Features::LOGS)
    }

    fn new(context: Context, settings: Settings) -> Result<Self, Error> {
        Self::on(H::default(), context, settings)
    }

    fn check(&self) -> Result<Vec<Condition>, Error> {
        self.group_ready()
    }
    fn offers(&self, query: &OffersQuery) -> Result<Vec<Offer>, Error> {
        self.on_sale(query)
    }
    fn apply(&self, allocation: &Allocation, prior: Option<&[u8]>) -> Result<Vec<u8>, Error> {
        let prior: Option<State> = prior.map(read_state).transpose()?;
        write_state(&self.fleet().make_so(allocation, prior)?)
    }
    fn observe(&self, tracked: &[Tracked]) -> Result<Vec<Observation>, Error> {
        self.fleet().look_at(tracked)
    }
    fn destroy(&self, tracked: &Tracked) -> Result<Destroyed, Error> {
        self.fleet().remove(&tracked.allocation, &read_state(&tracked.state)?)
    }
    fn owned(&self) -> Result<Vec<OwnedAllocation>, Error> {
        self.fleet().everything()
    }
    fn logs(&self, tracked: &Tracked, query: &LogQuery) -> Result<LogChunk, Error> {
        self.client.logs(&read_state(&tracked.state)?, query)
    }
}

register_provider!(Azure<Host>);

#[cfg(test)]
mod tests;
