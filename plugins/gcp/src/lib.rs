//! A provider: Google Compute Engine, one instance with a container-optimised image for each replica, through its REST API.
//!
//! What makes instances of allocations is the SDK's [`Fleet`]; this crate knows Google's words.

mod client;
mod errors;
mod logs;
mod machine;
mod offers;
mod script;
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
pub struct Gcp<H = Host> {
    client: Client<H>,
    /// The instance's name: what it owns is tagged with it.
    instance: String,
    settings: Settings,
}

impl<H: Http + Clock> Gcp<H> {
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

impl<H: Http + Clock + Default> Provider for Gcp<H> {
    type Settings = Settings;

    fn info() -> ProviderInfo {
        ProviderInfo::new("gcp", env!("CARGO_PKG_VERSION"), "Google Compute Engine")
            .schema(settings::SCHEMA)
            .wants("http", "to call the Compute Engine API")
            .wants("clock", "to tell what is too new to be listed from what is gone")
            .runs(Features::IMAGES | Features::SERVICES | Features::JOBS | Features::SECRETS | Features::RESIZE | Features::LOGS)
    }

    fn new(context: Context, settings: Settings) -> Result<Self, Error> {
        Self::on(H::default(), context, settings)
    }

    fn check(&self) -> Result<Vec<Condition>, Error> {
        self.project_ready()
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

register_provider!(Gcp<Host>);

#[cfg(test)]
mod tests;
