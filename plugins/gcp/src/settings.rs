//! The settings: which project, which zones, which machine types at which prices.

use std::collections::BTreeMap;

use serde::Deserialize;
use tradewind_plugin_sdk::{
    Error, api, settings,
    units::{Cpu, GIB, Money, Size, Span},
};

pub(crate) const SCHEMA: &str = include_str!("settings.schema.json");
const PRICES: &str = include_str!("../data/prices.json");
/// The smallest boot disk, in GiB.
pub(crate) const DISK: u64 = 10;

/// As the operator writes them. The defaults are those of the schema.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    pub(crate) project: String,
    pub(crate) zones: Vec<String>,
    #[serde(default)]
    sizes: Vec<String>,
    #[serde(default)]
    prices: BTreeMap<String, BTreeMap<String, Priced>>,
    #[serde(default = "network")]
    pub(crate) network: String,
    #[serde(default)]
    pub(crate) subnetwork: String,
    #[serde(default)]
    pub(crate) network_tags: Vec<String>,
    #[serde(default = "yes")]
    pub(crate) external_address: bool,
    #[serde(default)]
    pub(crate) service_account: String,
    #[serde(default = "image")]
    pub(crate) image: String,
    #[serde(default = "disk_type")]
    pub(crate) disk_type: String,
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

/// A machine type and its price per hour.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Priced {
    pub(crate) cpu: Cpu,
    pub(crate) memory: Size,
    pub(crate) price: Money,
}

/// What a machine type has.
#[derive(Debug, Clone, Copy, Deserialize)]
struct Shape {
    cpu: Cpu,
    memory: Size,
}

/// Per core and GiB, and hour.
#[derive(Debug, Clone, Copy, Deserialize)]
struct Rate {
    cpu: Money,
    memory: Money,
}

/// The table of prices that this plugin brings: of a core and a GiB by family and region, of a GiB of disk, of an address.
#[derive(Deserialize)]
struct Table {
    source: String,
    date: String,
    disk: Money,
    address: Money,
    sizes: BTreeMap<String, Shape>,
    families: BTreeMap<String, BTreeMap<String, Rate>>,
}

/// A machine type in a zone, its price, and where that comes from.
pub(crate) struct Quote {
    pub(crate) zone: String,
    pub(crate) size: String,
    pub(crate) what: Priced,
    pub(crate) source: String,
    /// Milliseconds since the epoch; none: now.
    pub(crate) at: Option<u64>,
}

fn network() -> String {
    "global/networks/default".to_owned()
}
fn yes() -> bool {
    true
}
fn image() -> String {
    "projects/cos-cloud/global/images/family/cos-stable".to_owned()
}
fn disk_type() -> String {
    "pd-balanced".to_owned()
}
fn url() -> String {
    "https://compute.googleapis.com/compute/v1".to_owned()
}
fn credential() -> String {
    "google".to_owned()
}
fn timeout() -> Span {
    Span::seconds(20)
}
fn settle() -> Span {
    Span::seconds(30)
}
fn create_timeout() -> Span {
    Span::seconds(600)
}

/// The region of a zone.
pub(crate) fn region(zone: &str) -> &str {
    zone.rsplit_once('-').map_or(zone, |(region, _)| region)
}

impl Settings {
    pub(crate) fn check(&self) -> Result<(), Error> {
        api::check_url(&self.url, "settings.url")?;
        settings::each_once(&self.zones, "settings.zones")?;
        let quotes = self.quotes()?;
        match self
            .zones
            .iter()
            .find(|zone| quotes.iter().all(|quote| quote.zone != **zone))
        {
            Some(zone) => Err(Error::invalid(format!("no price is known in {zone:?}"))
                .field("settings.zones")
                .remedy(format!(
                    "set some: [settings.prices.{zone}.MACHINE-TYPE] with cpu, memory and price"
                ))),
            None => Ok(()),
        }
    }

    /// What is on sale, in every zone.
    pub(crate) fn quotes(&self) -> Result<Vec<Quote>, Error> {
        let table: Table = serde_json::from_str(PRICES).map_err(|error| {
            Error::internal(format!("the table of prices can't be read: {error}"))
        })?;
        Ok(self
            .zones
            .iter()
            .flat_map(|zone| self.in_zone(&table, zone))
            .collect())
    }

    fn in_zone(&self, table: &Table, zone: &str) -> Vec<Quote> {
        let at = api::instant(&format!("{}T00:00:00Z", table.date));
        let own = self.prices.get(zone);
        let is_listed = |size: &String| self.sizes.is_empty() || self.sizes.contains(size);
        let quote = |size: &String, what, source: String, at| Quote {
            zone: zone.to_owned(),
            size: size.clone(),
            what,
            source,
            at,
        };
        let of_table = table
            .sizes
            .iter()
            .filter(|(size, _)| own.is_none_or(|own| !own.contains_key(*size)))
            .filter_map(|(size, shape)| {
                let rate = table
                    .families
                    .get(size.split('-').next()?)?
                    .get(region(zone))?;
                let what = Priced {
                    cpu: shape.cpu,
                    memory: shape.memory,
                    price: Money(self.price(table, shape, rate)),
                };
                Some(quote(
                    size,
                    what,
                    format!("{}, {}", table.source, table.date),
                    at,
                ))
            });
        let of_settings = own
            .into_iter()
            .flatten()
            .map(|(size, what)| quote(size, *what, "settings".to_owned(), None));
        of_table
            .chain(of_settings)
            .filter(|quote| is_listed(&quote.size))
            .collect()
    }

    /// What an instance costs with its boot disk and its address, in micro-USD per hour.
    fn price(&self, table: &Table, shape: &Shape, rate: &Rate) -> u64 {
        let cores = u64::from(shape.cpu.0).saturating_mul(rate.cpu.0) / 1000;
        let memory = (shape.memory.0 / GIB).saturating_mul(rate.memory.0);
        let address = if self.external_address {
            table.address.0
        } else {
            0
        };
        cores
            .saturating_add(memory)
            .saturating_add(address)
            .saturating_add(DISK.saturating_mul(table.disk.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(json: &str) -> Settings {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn prices_are_those_of_the_table_with_disk_and_address_or_those_of_the_settings() {
        let plain = settings(
            r#"{"project":"p","zones":["us-central1-a","europe-west1-b"],"sizes":["e2-standard-2"]}"#,
        );
        let told: Vec<_> = plain
            .quotes()
            .unwrap()
            .iter()
            .map(|q| (q.zone.clone(), q.what.price.0))
            .collect();
        // 2 × 0.021812 + 8 × 0.002924 + 0.005 + 10 × 0.000137.
        assert_eq!(
            told,
            [
                ("us-central1-a".to_owned(), 73_386),
                ("europe-west1-b".to_owned(), 80_084)
            ]
        );
        assert!(
            plain.quotes().unwrap()[0].source.ends_with("2025-06-01")
                && plain.quotes().unwrap()[0].at.is_some()
        );
        let inside = settings(
            r#"{"project":"p","zones":["us-central1-a"],"sizes":["e2-standard-2"],"external-address":false}"#,
        );
        assert_eq!(inside.quotes().unwrap()[0].what.price.0, 68_386);
        let own = settings(
            r#"{"project":"p","zones":["mars-north1-a"],"prices":{"mars-north1-a":{"z9-huge":{"cpu":64,"memory":"1Ti","price":"9.5"}}}}"#,
        );
        own.check().unwrap();
        assert_eq!(own.quotes().unwrap()[0].what.price.0, 9_500_000);
        let unknown = settings(r#"{"project":"p","zones":["mars-north1-a"]}"#)
            .check()
            .unwrap_err();
        assert!(
            unknown.field.as_deref() == Some("settings.zones") && unknown.remedy.is_some(),
            "{unknown:?}"
        );
        let twice = settings(r#"{"project":"p","zones":["us-central1-a","us-central1-a"]}"#)
            .check()
            .unwrap_err();
        assert_eq!(
            (twice.field.as_deref(), twice.message.as_str()),
            (Some("settings.zones"), "\"us-central1-a\" is named twice")
        );
    }
}
