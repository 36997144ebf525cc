//! The settings: which resource group, which locations, at which prices.

use std::collections::BTreeMap;

use serde::Deserialize;
use tradewind_plugin_sdk::{
    Error, api, settings,
    units::{Cpu, GIB, Money, Size, Span},
};

pub(crate) const SCHEMA: &str = include_str!("settings.schema.json");
const PRICES: &str = include_str!("../data/prices.json");

/// As the operator writes them. The defaults are those of the schema.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    pub(crate) subscription: String,
    pub(crate) resource_group: String,
    pub(crate) locations: Vec<String>,
    #[serde(default)]
    pub(crate) subnet: String,
    #[serde(default)]
    prices: BTreeMap<String, Price>,
    #[serde(default = "largest_cpu")]
    pub(crate) largest_cpu: Cpu,
    #[serde(default = "largest_memory")]
    pub(crate) largest_memory: Size,
    #[serde(default = "url")]
    pub(crate) url: String,
    #[serde(default = "credential")]
    pub(crate) credential: String,
    #[serde(default = "timeout")]
    pub(crate) timeout: Span,
    #[serde(default = "settle")]
    pub(crate) settle: Span,
    #[serde(default = "create_timeout")]
    pub(crate) create_timeout: Span,
}

/// Per hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Price {
    /// Of a core.
    pub(crate) cpu: Money,
    /// Of a GiB.
    pub(crate) memory: Money,
}

/// The table of prices that this plugin brings.
#[derive(Deserialize)]
struct Table {
    source: String,
    date: String,
    regions: BTreeMap<String, Price>,
}

/// A price and where it comes from.
pub(crate) struct Quote {
    pub(crate) price: Price,
    pub(crate) source: String,
    /// Milliseconds since the epoch; none: now.
    pub(crate) at: Option<u64>,
}

fn largest_cpu() -> Cpu {
    Cpu(4000)
}
fn largest_memory() -> Size {
    Size(16 * GIB)
}
fn url() -> String {
    "https://management.azure.com".to_owned()
}
fn credential() -> String {
    "azure".to_owned()
}
fn timeout() -> Span {
    Span::seconds(20)
}
fn settle() -> Span {
    Span::seconds(30)
}
fn create_timeout() -> Span {
    Span::seconds(900)
}

impl Settings {
    pub(crate) fn check(&self) -> Result<(), Error> {
        api::check_url(&self.url, "settings.url")?;
        settings::each_once(&self.locations, "settings.locations")?;
        self.quotes().map(drop)
    }

    /// The price of each location.
    pub(crate) fn quotes(&self) -> Result<Vec<(&str, Quote)>, Error> {
        let table: Table = serde_json::from_str(PRICES).map_err(|error| {
            Error::internal(format!("the table of prices can't be read: {error}"))
        })?;
        self.locations
            .iter()
            .map(|location| Ok((location.as_str(), self.quote(&table, location)?)))
            .collect()
    }

    fn quote(&self, table: &Table, location: &str) -> Result<Quote, Error> {
        if let Some(price) = self.prices.get(location) {
            return Ok(Quote {
                price: *price,
                source: "settings".to_owned(),
                at: None,
            });
        }
        let price = table.regions.get(location).ok_or_else(|| {
            Error::invalid(format!("the price of {location:?} is not known"))
                .field("settings.locations")
                .remedy(format!("set it: [settings.prices.{location}] with cpu and memory in US dollars per hour"))
        })?;
        let (source, at) = (
            format!("{}, {}", table.source, table.date),
            api::instant(&format!("{}T00:00:00Z", table.date)),
        );
        Ok(Quote {
            price: *price,
            source,
            at,
        })
    }
}
