//! The settings: a table of regions and sizes, in layers, and what shall go wrong.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::{Map, Value};
use tradewind_plugin_sdk::{
    Error, Offer, settings,
    types::PriceUnit,
    units::{Cpu, Money, Size, Span},
};

use crate::faults::Fault;

/// The JSON Schema of [`Settings`].
pub const SCHEMA: &str = include_str!("settings.schema.json");

/// A cloud as a table. An offer is made of layers, each overriding the one before: `defaults`, the size, the region's `offer`, the region's own
/// entry for the size.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Settings {
    /// What all offers share.
    pub defaults: Map<String, Value>,
    /// Sizes by name: what one instance has and costs.
    pub sizes: BTreeMap<String, Map<String, Value>>,
    /// Regions by name.
    pub regions: BTreeMap<String, Region>,
    /// What shall go wrong.
    pub faults: Vec<Fault>,
    /// How long jobs run that don't say it themselves. Default: 10 seconds.
    pub job_duration: Option<Span>,
}

/// A region.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Region {
    /// One offer for each zone and size; without zones one for each size.
    zones: Vec<String>,
    /// All prices here are multiplied by it.
    price_factor: Option<f64>,
    /// What all offers of the region share (latency, carbon, labels …).
    offer: Map<String, Value>,
    /// Which sizes it sells, with what is different here. Empty: all sizes as they are.
    sizes: BTreeMap<String, Map<String, Value>>,
}

/// Everything an offer can carry, as it is written in a table.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Entry {
    cpu: Cpu,
    memory: Size,
    price: Money,
    disk: Option<Size>,
    accelerator: Option<String>,
    accelerator_count: Option<u32>,
    accelerator_memory: Option<Size>,
    price_unit: Option<Unit>,
    memory_price: Option<Money>,
    setup_price: Option<Money>,
    egress_price: Option<Money>,
    shared: Option<bool>,
    capacity: Option<u32>,
    free_cpu: Option<Cpu>,
    free_memory: Option<Size>,
    spot: Option<bool>,
    performance: Option<f64>,
    availability: Option<f64>,
    latency: Option<f64>,
    bandwidth: Option<f64>,
    interruption_rate: Option<f64>,
    failure_rate: Option<f64>,
    time_to_ready: Option<Span>,
    load: Option<f64>,
    carbon: Option<f64>,
    source: Option<String>,
    quoted_at: Option<u64>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    metrics: BTreeMap<String, f64>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Unit {
    Instance,
    Cpu,
    CpuMemory,
}

impl Settings {
    /// Every offer, in the order of regions, zones and sizes.
    pub(crate) fn table(&self) -> Result<Vec<Offer>, Error> {
        let mut offers = Vec::new();
        for (name, region) in &self.regions {
            let all: Vec<&String> = if region.sizes.is_empty() {
                self.sizes.keys().collect()
            } else {
                region.sizes.keys().collect()
            };
            let zones: &[String] = if region.zones.is_empty() {
                &[String::new()]
            } else {
                &region.zones
            };
            for size in all {
                let entry = self.entry(name, region, size)?;
                let made = zones.iter().map(|zone| {
                    entry
                        .clone()
                        .offer(name, zone, size, region.price_factor.unwrap_or(1.0))
                });
                offers.extend(made);
            }
        }
        let mut ids = BTreeSet::new();
        if let Some(twice) = offers.iter().find(|offer| !ids.insert(offer.id.as_str())) {
            let message = format!(
                "the offer {:?} is there twice: name each zone once",
                twice.id
            );
            return Err(Error::invalid(message).field(format!("settings.regions.{}", twice.region)));
        }
        Ok(offers)
    }

    fn entry(&self, name: &str, region: &Region, size: &str) -> Result<Entry, Error> {
        let field = format!("settings.regions.{name}.sizes.{size}");
        let mut layered = Map::new();
        let layers = [
            Some(&self.defaults),
            self.sizes.get(size),
            Some(&region.offer),
            region.sizes.get(size),
        ];
        layers
            .into_iter()
            .flatten()
            .for_each(|layer| overlay(&mut layered, layer));
        let entry: Entry =
            settings::section(&Value::Object(layered), &field).map_err(|mut error| {
                error.message = format!("size {size:?} in region {name:?}: {}", error.message);
                error
            })?;
        let positive =
            |value: Option<f64>| value.is_none_or(|value| value.is_finite() && value > 0.0);
        if !positive(entry.performance) || !positive(region.price_factor) {
            return Err(Error::invalid(format!(
                "size {size:?} in region {name:?}: performance and price-factor must be above 0"
            ))
            .field(field));
        }
        Ok(entry)
    }
}

/// Lays one layer over another; labels and metrics are merged, everything else is replaced.
fn overlay(under: &mut Map<String, Value>, over: &Map<String, Value>) {
    for (key, value) in over {
        match (under.get_mut(key), value) {
            (Some(Value::Object(below)), Value::Object(above)) => below.extend(above.clone()),
            _ => drop(under.insert(key.clone(), value.clone())),
        }
    }
}

impl Entry {
    fn offer(self, region: &str, zone: &str, size: &str, factor: f64) -> Offer {
        let id = if zone.is_empty() {
            format!("{region}/{size}")
        } else {
            format!("{region}/{zone}/{size}")
        };
        let priced = |price: Money| (price.0 as f64 * factor).round() as u64;
        let unknown = |value: Option<f64>| value.unwrap_or(f64::NAN);
        let mut offer = Offer::new(id, self.cpu, self.memory, Money(priced(self.price)));
        region.clone_into(&mut offer.region);
        zone.clone_into(&mut offer.zone);
        size.clone_into(&mut offer.size);
        offer.disk = self.disk.map_or(u64::MAX, |disk| disk.0);
        offer.accelerator_count = self
            .accelerator_count
            .unwrap_or(u32::from(self.accelerator.is_some()));
        offer.accelerator = self.accelerator.unwrap_or_default();
        offer.accelerator_memory = self.accelerator_memory.unwrap_or_default().0;
        offer.price_unit = match self.price_unit {
            None | Some(Unit::Instance) => PriceUnit::Instance,
            Some(Unit::Cpu) => PriceUnit::Cpu,
            Some(Unit::CpuMemory) => PriceUnit::CpuMemory,
        };
        offer.memory_price = priced(self.memory_price.unwrap_or_default());
        offer.setup_price = priced(self.setup_price.unwrap_or_default());
        offer.egress_price = priced(self.egress_price.unwrap_or_default());
        offer.shared = self.shared.unwrap_or(false);
        offer.capacity = self.capacity.unwrap_or(u32::MAX);
        offer.free_cpu = self.free_cpu.map_or(u64::MAX, |cpu| u64::from(cpu.0));
        offer.free_memory = self.free_memory.map_or(u64::MAX, |memory| memory.0);
        offer.spot = self.spot.unwrap_or(false);
        offer.performance = self.performance.unwrap_or(1.0);
        offer.availability = unknown(self.availability);
        offer.latency = unknown(self.latency);
        offer.bandwidth = unknown(self.bandwidth);
        offer.interruption_rate = unknown(self.interruption_rate);
        offer.failure_rate = unknown(self.failure_rate);
        offer.time_to_ready = self
            .time_to_ready
            .map_or(f64::NAN, |span| span.millis() as f64);
        offer.load = unknown(self.load);
        offer.carbon = unknown(self.carbon);
        offer.source = self.source.unwrap_or_else(|| "settings".to_owned());
        offer.quoted_at = self.quoted_at;
        offer.labels = self.labels.into_iter().collect();
        offer.metrics = self.metrics.into_iter().collect();
        offer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_override_each_other_and_labels_merge() {
        let settings: Settings = serde_json::from_str(
            r#"{
                "defaults": {"time-to-ready": "5s", "labels": {"platform": "EKS"}},
                "sizes": {"small": {"cpu": 2, "memory": "4Gi", "price": "0.05"}, "big": {"cpu": "8", "memory": "32Gi", "price": 0.2, "capacity": 3}},
                "regions": {
                    "eu": {"zones": ["a", "b"], "price-factor": 1.2, "offer": {"latency": 10, "labels": {"tier": "1"}}},
                    "us": {"sizes": {"small": {"spot": true, "price": "0.01"}}}
                }
            }"#,
        )
        .unwrap();
        let table = settings.table().unwrap();
        let ids: Vec<_> = table.iter().map(|offer| offer.id.as_str()).collect();
        assert_eq!(
            ids,
            [
                "eu/a/big",
                "eu/b/big",
                "eu/a/small",
                "eu/b/small",
                "us/small"
            ]
        );
        assert_eq!(
            (
                table[0].price,
                table[0].capacity,
                table[0].latency,
                table[0].time_to_ready
            ),
            (240_000, 3, 10.0, 5000.0)
        );
        assert_eq!(table[0].labels.len(), 2);
        assert_eq!(
            (table[4].price, table[4].spot, table[4].cpu),
            (10_000, true, 2000)
        );
    }

    #[test]
    fn an_entry_that_makes_no_sense_is_named() {
        let read = |text: &str| {
            serde_json::from_str::<Settings>(text)
                .unwrap()
                .table()
                .unwrap_err()
        };
        let error = read(r#"{"sizes": {"s": {"cpu": 1, "memory": "1Gi"}}, "regions": {"eu": {}}}"#);
        assert_eq!(error.field.as_deref(), Some("settings.regions.eu.sizes.s"));
        assert!(error.message.contains("missing field `price`"), "{error}");
        let error = read(
            r#"{"regions": {"eu": {"sizes": {"s": {"cpu": 1, "memory": "1Gi", "price": 1, "prize": 2}}}}}"#,
        );
        assert!(
            error.message.contains("prize")
                && error.field.as_deref() == Some("settings.regions.eu.sizes.s.prize"),
            "{error:?}"
        );
        let error = read(
            r#"{"sizes": {"s": {"cpu": 1, "memory": "1Gi", "price": "zero"}}, "regions": {"eu": {}}}"#,
        );
        let told = "size \"s\" in region \"eu\": \"zero\" is not an amount of money: write US dollars such as 0.25";
        assert_eq!(
            (error.message.as_str(), error.field.as_deref()),
            (told, Some("settings.regions.eu.sizes.s.price"))
        );
        let error = read(
            r#"{"sizes": {"s": {"cpu": 1, "memory": "1Gi", "price": 1}}, "regions": {"eu": {"zones": ["a", "a"]}}}"#,
        );
        assert!(
            error.message.contains("\"eu/a/s\" is there twice"),
            "{error}"
        );
    }
}
