//! Offers as the API shows them, and as `simulate` reads them back.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use tradewind_core::{
    failure::ProviderFailure,
    list::{Listed, SortValue},
    names::InstanceName,
    offer::{Offer, PriceUnit},
    units::{Bytes, Instant, MicroUsd, MilliCpu, Millis},
    workload::Labels,
};

use crate::Page;

/// Offers of all providers, and what became of the providers that did not answer.
pub type OffersView = Page<OfferView, Unoffered>;

/// What a list of offers says beside them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Unoffered {
    /// Providers that gave no offers, and why.
    pub failures: Vec<ProviderFailure>,
}

/// One offer of one provider.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OfferView {
    /// The provider instance.
    pub provider: InstanceName,
    /// The provider's own name for it.
    pub id: String,
    /// The region. Empty: the provider has none.
    pub region: String,
    /// The zone. Empty: the provider chooses one.
    pub zone: String,
    /// The instance type or size class.
    pub size: String,
    /// Of one instance, or the most that one replica may take of a shared offer.
    pub cpu: MilliCpu,
    /// Of one instance, or the most that one replica may take of a shared offer.
    pub memory: Bytes,
    /// The kind of accelerator. Absent: none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub accelerator: String,
    /// Accelerators of one instance.
    pub accelerator_count: u32,
    /// Per unit and hour.
    pub price: MicroUsd,
    /// What the price is of.
    pub price_unit: PriceUnit,
    /// Per GiB of memory and hour, on top of the price.
    pub memory_price: MicroUsd,
    /// It may be taken back at any time.
    pub spot: bool,
    /// Replicas share one machine or pool, and pay for what they ask for.
    pub shared: bool,
    /// Absent: no known limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<u32>,
    /// Speed relative to the reference machine: a job takes its estimated duration divided by this.
    pub performance: f64,
    /// Absent: unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub availability: Option<f64>,
    /// Milliseconds. Absent: unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<f64>,
    /// Where the price comes from, in the provider's words.
    pub source: String,
    /// When the price was true, as the provider says.
    pub quoted_at: Instant,
    /// Of the quote.
    pub age: Millis,
    /// The provider's labels, which placement constraints may name.
    pub labels: Labels,
    /// Of one instance. Absent: no known limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<Bytes>,
    /// Of each accelerator.
    #[serde(default, skip_serializing_if = "nothing")]
    pub accelerator_memory: Bytes,
    /// Once per replica.
    #[serde(default, skip_serializing_if = "free")]
    pub setup_price: MicroUsd,
    /// Per GiB that leaves the region.
    #[serde(default, skip_serializing_if = "free")]
    pub egress_price: MicroUsd,
    /// Millicores left in a shared offer. Absent: no known limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free_cpu: Option<u64>,
    /// Bytes left in a shared offer. Absent: no known limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free_memory: Option<u64>,
    /// Mbit/s. Absent: unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bandwidth: Option<f64>,
    /// Per hour. Absent: unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interruption_rate: Option<f64>,
    /// 0 … 1. Absent: unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_rate: Option<f64>,
    /// Milliseconds. Absent: unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_to_ready: Option<f64>,
    /// 0 … 1. Absent: unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<f64>,
    /// Grams of CO₂ equivalent per kWh. Absent: unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub carbon: Option<f64>,
    /// The provider's own measures, by name.
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "metrics"
    )]
    #[schemars(with = "BTreeMap<String, f64>")]
    pub metrics: BTreeMap<String, f64>,
}

/// By provider, then by the provider's name for it.
impl Listed for OfferView {
    const LIST: &'static str = "offers";
    const SORTS: &'static [&'static str] = &[
        "provider", "region", "size", "price", "cpu", "memory", "quotedAt",
    ];
    type Key = (InstanceName, String);

    fn key(&self) -> Self::Key {
        (self.provider.clone(), self.id.clone())
    }

    fn sort_value(&self, field: &str) -> SortValue {
        match field {
            "provider" => self.provider.as_str().into(),
            "region" => self.region.as_str().into(),
            "size" => self.size.as_str().into(),
            "price" => self.price.into(),
            "cpu" => self.cpu.into(),
            "memory" => self.memory.into(),
            "quotedAt" => self.quoted_at.into(),
            _ => SortValue::Nothing,
        }
    }
}

/// By name; or as pairs, as version 0.1 printed them for `simulate`.
fn metrics<'de, D: serde::Deserializer<'de>>(from: D) -> Result<BTreeMap<String, f64>, D::Error> {
    struct Either;

    impl<'de> serde::de::Visitor<'de> for Either {
        type Value = BTreeMap<String, f64>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("measures by name")
        }

        fn visit_map<A: serde::de::MapAccess<'de>>(
            self,
            mut map: A,
        ) -> Result<Self::Value, A::Error> {
            std::iter::from_fn(|| map.next_entry().transpose()).collect()
        }

        fn visit_seq<A: serde::de::SeqAccess<'de>>(
            self,
            mut pairs: A,
        ) -> Result<Self::Value, A::Error> {
            std::iter::from_fn(|| pairs.next_element().transpose()).collect()
        }
    }

    from.deserialize_any(Either)
}

fn free(price: &MicroUsd) -> bool {
    price.0 == 0
}

fn nothing(size: &Bytes) -> bool {
    size.0 == 0
}

impl OfferView {
    /// The view of a provider's offer at this instant, from which its age is counted.
    pub fn new(provider: &InstanceName, offer: &Offer, now: Instant) -> Self {
        let known = |v: f64| v.is_finite().then_some(v);
        let limit = |n: u64| (n != u64::MAX).then_some(n);
        Self {
            provider: provider.clone(),
            id: offer.id.to_string(),
            region: offer.region.to_string(),
            zone: offer.zone.to_string(),
            size: offer.size.to_string(),
            cpu: offer.cpu,
            memory: offer.memory,
            accelerator: offer.accelerator.to_string(),
            accelerator_count: offer.accelerator_count,
            price: offer.price,
            price_unit: offer.price_unit,
            memory_price: offer.memory_price,
            spot: offer.spot,
            shared: offer.shared,
            capacity: (offer.capacity != u32::MAX).then_some(offer.capacity),
            performance: offer.performance,
            availability: known(offer.availability),
            latency: known(offer.latency),
            source: offer.source.to_string(),
            quoted_at: offer.quoted_at,
            age: now.since(offer.quoted_at),
            labels: offer.labels.clone(),
            disk: limit(offer.disk.0).map(Bytes),
            accelerator_memory: offer.accelerator_memory,
            setup_price: offer.setup_price,
            egress_price: offer.egress_price,
            free_cpu: limit(offer.free_cpu),
            free_memory: limit(offer.free_memory),
            bandwidth: known(offer.bandwidth),
            interruption_rate: known(offer.interruption_rate),
            failure_rate: known(offer.failure_rate),
            time_to_ready: known(offer.time_to_ready),
            load: known(offer.load),
            carbon: known(offer.carbon),
            metrics: offer
                .metrics
                .iter()
                .filter(|(_, v)| v.is_finite())
                .map(|(k, v)| (k.to_string(), *v))
                .collect(),
        }
    }

    /// The offer that this shows.
    pub fn offer(&self) -> Offer {
        let known = |v: Option<f64>| v.unwrap_or(f64::NAN);
        let limit = |n: Option<u64>| n.unwrap_or(u64::MAX);
        Offer {
            id: self.id.as_str().into(),
            region: self.region.as_str().into(),
            zone: self.zone.as_str().into(),
            size: self.size.as_str().into(),
            cpu: self.cpu,
            memory: self.memory,
            disk: Bytes(limit(self.disk.map(|b| b.0))),
            accelerator: self.accelerator.as_str().into(),
            accelerator_count: self.accelerator_count,
            accelerator_memory: self.accelerator_memory,
            price: self.price,
            price_unit: self.price_unit,
            memory_price: self.memory_price,
            setup_price: self.setup_price,
            egress_price: self.egress_price,
            shared: self.shared,
            capacity: self.capacity.unwrap_or(u32::MAX),
            free_cpu: limit(self.free_cpu),
            free_memory: limit(self.free_memory),
            spot: self.spot,
            performance: self.performance,
            availability: known(self.availability),
            latency: known(self.latency),
            bandwidth: known(self.bandwidth),
            interruption_rate: known(self.interruption_rate),
            failure_rate: known(self.failure_rate),
            time_to_ready: known(self.time_to_ready),
            load: known(self.load),
            carbon: known(self.carbon),
            source: self.source.as_str().into(),
            quoted_at: self.quoted_at,
            labels: self.labels.clone(),
            metrics: self
                .metrics
                .iter()
                .map(|(k, v)| (k.as_str().into(), *v))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_is_shown_whole() {
        let bare = Offer::new("a", MilliCpu(1500), Bytes(3 << 29), MicroUsd(123_456));
        let full = Offer {
            accelerator: "l4".into(),
            accelerator_count: 2,
            accelerator_memory: Bytes(24 << 30),
            disk: Bytes(1 << 40),
            setup_price: MicroUsd(7),
            shared: true,
            capacity: 9,
            free_cpu: 4000,
            free_memory: 5 << 30,
            carbon: 12.5,
            metrics: vec![("queue".into(), 3.0)],
            ..bare.clone()
        };
        for offer in [bare, full] {
            let provider: InstanceName = "p".parse().expect("a name");
            let text = serde_json::to_string(&OfferView::new(&provider, &offer, Instant(5)))
                .expect("JSON");
            let back: OfferView = serde_json::from_str(&text).expect("a view");
            // Unknown qualities are not equal to themselves.
            assert_eq!(format!("{:?}", back.offer()), format!("{offer:?}"));
            let formerly = text.replace("{\"queue\":3.0}", "[[\"queue\",3.0]]");
            assert_eq!(
                serde_json::from_str::<OfferView>(&formerly)
                    .expect("a view of 0.1")
                    .metrics,
                back.metrics
            );
        }
    }
}
