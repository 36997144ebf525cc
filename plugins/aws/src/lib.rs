//! A provider: instances of AWS EC2, behind an application load balancer where they serve the public, through the `aws` capability.
//!
//! One file for each concern; this one only says who calls which.

mod apply;
mod balance;
mod console;
mod observe;
mod offers;
mod prices;
mod remove;
mod script;
mod settings;
mod state;
mod wanted;

use tradewind_plugin_sdk::{
    Context, Error, Features, Offer, Provider, ProviderInfo,
    host::{Clock, Host, aws::Aws},
    provider::{read_state, write_state},
    register_provider,
    types::{
        Allocation, Condition, Destroyed, LogChunk, LogQuery, Observation, OffersQuery,
        OwnedAllocation, Tracked,
    },
};

pub use settings::Settings;

use self::state::State;

/// The provider, on the host's capabilities or on a test's.
pub struct Ec2<H = Host> {
    host: H,
    settings: Settings,
}

impl<H: Aws + Clock> Ec2<H> {
    /// On these capabilities.
    ///
    /// # Errors
    /// `invalid` for settings that can't work.
    pub fn on(host: H, settings: Settings) -> Result<Self, Error> {
        settings.check()?;
        Ok(Self { host, settings })
    }
}

impl<H: Aws + Clock + Default> Provider for Ec2<H> {
    type Settings = Settings;

    fn info() -> ProviderInfo {
        let runs = Features::IMAGES
            | Features::COMMANDS
            | Features::SERVICES
            | Features::JOBS
            | Features::SECRETS
            | Features::FILES
            | Features::RESIZE
            | Features::LOGS;
        ProviderInfo::new(
            "aws",
            env!("CARGO_PKG_VERSION"),
            "Instances of AWS EC2, behind load balancers where they serve the public",
        )
        .schema(settings::SCHEMA)
        .wants("aws", "to run instances and load balancers")
        .wants(
            "clock",
            "to tell what is too new to be listed from what is gone",
        )
        .runs(runs)
    }

    fn new(_: Context, settings: Settings) -> Result<Self, Error> {
        Self::on(H::default(), settings)
    }

    fn check(&self) -> Result<Vec<Condition>, Error> {
        self.regions_ready()
    }
    fn offers(&self, query: &OffersQuery) -> Result<Vec<Offer>, Error> {
        self.on_sale(query)
    }
    fn apply(&self, allocation: &Allocation, prior: Option<&[u8]>) -> Result<Vec<u8>, Error> {
        let prior: Option<State> = prior.map(read_state).transpose()?;
        write_state(&self.make_so(allocation, prior)?)
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
        self.consoles(&read_state(&tracked.state)?, query)
    }
}

register_provider!(Ec2<Host>);

#[cfg(test)]
mod tests;
