//! A provider: instances of a cloud with a REST API, through the `http` capability. The reference for authors: `README.md` tells what to
//! change for another cloud.
//!
//! One file for each concern; this one says what the provider is. What makes instances of allocations is the SDK's [`Fleet`].

mod client;
mod errors;
mod offers;
mod settings;

use tradewind_plugin_sdk::{
    Context, Error, Features, FleetProvider, Offer, ProviderInfo,
    api::Api,
    fleet::{Fleet, Pace},
    host::{Clock, Host, Http},
    register_provider,
    types::{Condition, OffersQuery},
};

pub use settings::Settings;

/// The cloud, on the host's capabilities or on a test's.
pub struct Rest<H = Host> {
    api: Api<H>,
    settings: Settings,
}

impl<H: Http + Clock> FleetProvider for Rest<H> {
    type Host = H;
    type Settings = Settings;

    fn info() -> ProviderInfo {
        ProviderInfo::new(
            "rest",
            env!("CARGO_PKG_VERSION"),
            "Instances of a cloud with a REST API",
        )
        .schema(settings::SCHEMA)
        .wants("http", "to call the cloud's API")
        .wants(
            "clock",
            "to tell what is too new to be listed from what is gone",
        )
        .runs(
            Features::IMAGES
                | Features::COMMANDS
                | Features::SERVICES
                | Features::JOBS
                | Features::RESIZE,
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
        self.regions_ready()
    }
    fn offers(&self, query: &OffersQuery) -> Result<Vec<Offer>, Error> {
        self.on_sale(query)
    }
}

register_provider!(Fleet<Rest<Host>>);

#[cfg(test)]
mod tests;
