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

use std::cell::RefCell;

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
pub struct Gcp<H = Host> {
    api: Api<H>,
    settings: Settings,
    /// The creations of this call that were accepted, by zone and operation.
    accepted: RefCell<Vec<(String, String)>>,
}

impl<H: Http + Clock> FleetProvider for Gcp<H> {
    type Host = H;
    type Settings = Settings;

    fn info() -> ProviderInfo {
        ProviderInfo::new("gcp", env!("CARGO_PKG_VERSION"), "Google Compute Engine")
            .schema(settings::SCHEMA)
            .wants("http", "to call the Compute Engine API")
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
        Ok(Self {
            api,
            settings,
            accepted: RefCell::default(),
        })
    }

    fn pace(&self) -> Pace {
        Pace {
            settle: self.settings.settle.millis(),
            create_timeout: self.settings.create_timeout.millis(),
        }
    }
    fn check(&self) -> Result<Vec<Condition>, Error> {
        self.project_ready()
    }
    fn offers(&self, query: &OffersQuery) -> Result<Vec<Offer>, Error> {
        self.on_sale(query)
    }
    fn logs(&self, state: &State, query: &LogQuery) -> Result<LogChunk, Error> {
        self.written(state, query)
    }
}

register_provider!(Fleet<Gcp<Host>>);

#[cfg(test)]
mod tests;
