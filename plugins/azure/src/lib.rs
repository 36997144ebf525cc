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
    Context, Error, Features, FleetProvider, Offer, ProviderInfo,
    api::Api,
    fleet::{Fleet, Pace, State},
    host::{Clock, Host, Http},
    register_provider,
    types::{Condition, LogChunk, LogQuery, OffersQuery},
};

pub use settings::Settings;

/// The cloud, on the host's capabilities or on a test's.
pub struct Azure<H = Host> {
    api: Api<H>,
    settings: Settings,
}

impl<H: Http + Clock> FleetProvider for Azure<H> {
    type Host = H;
    type Settings = Settings;

    fn info() -> ProviderInfo {
        ProviderInfo::new(
            "azure",
            env!("CARGO_PKG_VERSION"),
            "Azure Container Instances",
        )
        .schema(settings::SCHEMA)
        .wants("http", "to call the resource manager")
        .wants(
            "clock",
            "to tell what is too new to be listed from what is gone",
        )
        .runs(
            Features::IMAGES
                | Features::SERVICES
                | Features::JOBS
                | Features::SECRETS
                | Features::RESIZE
                | Features::LOGS,
        )
    }

    fn new(host: H, _: &Context, settings: Settings) -> Result<Self, Error> {
        settings.check()?;
        let api = Api::new(
            host,
            &settings.url,
            &settings.credential,
            settings.timeout.millis(),
            errors::refusal,
        );
        Ok(Self { api, settings })
    }

    fn pace(&self) -> Pace {
        Pace {
            settle: self.settings.settle.millis(),
            create_timeout: self.settings.create_timeout.millis(),
        }
    }
    fn check(&self) -> Result<Vec<Condition>, Error> {
        self.group_ready()
    }
    fn offers(&self, query: &OffersQuery) -> Result<Vec<Offer>, Error> {
        self.on_sale(query)
    }
    fn logs(&self, state: &State, query: &LogQuery) -> Result<LogChunk, Error> {
        self.written(state, query)
    }
}

register_provider!(Fleet<Azure<Host>>);

#[cfg(test)]
mod tests;
