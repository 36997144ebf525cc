//! Offers as records for authors, and as columns for the contract. A column in which every offer has the default is left out.

use std::collections::{BTreeSet, HashMap};

use crate::{
    bindings::provider::tradewind::plugin::types::{Metric, Offers},
    types::PriceUnit,
    units::{Cpu, Money, Size},
};

/// The source of an offer whose price nobody has set: it counts as $0.00, and the host says so wherever it tells a cost.
pub const NO_PRICE: &str = "no price set";

/// An undated quote in a column with dated ones. The host takes a quote from the future as one of now.
const UNDATED: u64 = u64::MAX;

/// One thing that can be had. Begin with [`Offer::new`] and set what is known; the rest keeps the contract's defaults.
#[derive(Debug, Clone, PartialEq)]
pub struct Offer {
    /// The provider's own name for it, unique in the answer.
    pub id: String,
    /// The region. Default: none.
    pub region: String,
    /// The zone. Default: the provider chooses one.
    pub zone: String,
    /// The instance type or size class. Default: none.
    pub size: String,
    /// Millicores.
    pub cpu: u32,
    /// Bytes.
    pub memory: u64,
    /// Bytes.
    pub disk: u64,
    /// The kind of accelerator, in lowercase. Default: none.
    pub accelerator: String,
    /// Accelerators of one instance. Default 0.
    pub accelerator_count: u32,
    /// Bytes of each.
    pub accelerator_memory: u64,
    /// Micro-USD per unit and hour.
    pub price: u64,
    /// What `price` is of. Default: the whole instance.
    pub price_unit: PriceUnit,
    /// Micro-USD per GiB and hour on top.
    pub memory_price: u64,
    /// Micro-USD once per replica.
    pub setup_price: u64,
    /// Micro-USD per GiB.
    pub egress_price: u64,
    /// Replicas share one machine or pool, within `free_cpu` and `free_memory`, and pay for what they ask for. Default: each gets an
    /// instance of the full size.
    pub shared: bool,
    /// Replicas that can still be started; `u32::MAX`: no known limit.
    pub capacity: u32,
    /// Millicores; `u64::MAX`: no known limit.
    pub free_cpu: u64,
    /// Bytes; `u64::MAX`: no known limit.
    pub free_memory: u64,
    /// It may be taken back at any time. Default: it stays.
    pub spot: bool,
    /// Speed relative to the reference machine, above 0: a job of estimate d takes d ÷ performance. Default 1.
    pub performance: f64,
    /// Promised or measured availability, 0 … 1. NaN: unknown.
    pub availability: f64,
    /// Milliseconds.
    pub latency: f64,
    /// Mbit/s.
    pub bandwidth: f64,
    /// Per hour.
    pub interruption_rate: f64,
    /// Share of starts that fail, 0 … 1. NaN: unknown.
    pub failure_rate: f64,
    /// Milliseconds.
    pub time_to_ready: f64,
    /// How busy it is, 0 … 1. NaN: unknown.
    pub load: f64,
    /// Grams of CO₂ equivalent per kWh.
    pub carbon: f64,
    /// Where the price comes from, such as "price list of 2026-10-01". [`NO_PRICE`]: nobody has set one.
    pub source: String,
    /// Milliseconds since the epoch; none: now.
    pub quoted_at: Option<u64>,
    /// Labels by key. Placement constraints and policies see them.
    pub labels: Vec<(String, String)>,
    /// Further numbers that a policy may weigh. A name is lowercase words joined by hyphens, with the unit last.
    pub metrics: Vec<(String, f64)>,
}

impl Offer {
    /// An offer of which only the essentials are known. The price is per instance and hour; `id` is unique in the answer.
    pub fn new(id: impl Into<String>, cpu: Cpu, memory: Size, price: Money) -> Self {
        let unknown = f64::NAN;
        Self {
            id: id.into(),
            region: String::new(),
            zone: String::new(),
            size: String::new(),
            cpu: cpu.0,
            memory: memory.0,
            disk: u64::MAX,
            accelerator: String::new(),
            accelerator_count: 0,
            accelerator_memory: 0,
            price: price.0,
            price_unit: PriceUnit::Instance,
            memory_price: 0,
            setup_price: 0,
            egress_price: 0,
            shared: false,
            capacity: u32::MAX,
            free_cpu: u64::MAX,
            free_memory: u64::MAX,
            spot: false,
            performance: 1.0,
            availability: unknown,
            latency: unknown,
            bandwidth: unknown,
            interruption_rate: unknown,
            failure_rate: unknown,
            time_to_ready: unknown,
            load: unknown,
            carbon: unknown,
            source: String::new(),
            quoted_at: None,
            labels: Vec::new(),
            metrics: Vec::new(),
        }
    }
}

/// Each text once, the empty one first.
#[derive(Default)]
pub(crate) struct Strings {
    known: HashMap<String, u32>,
    list: Vec<String>,
}

impl Strings {
    pub(crate) fn new() -> Self {
        let mut strings = Self::default();
        strings.index("");
        strings
    }

    pub(crate) fn index(&mut self, text: &str) -> u32 {
        if let Some(index) = self.known.get(text) {
            return *index;
        }
        let index = self.list.len() as u32;
        self.known.insert(text.to_owned(), index);
        self.list.push(text.to_owned());
        index
    }

    /// Takes in another list of texts, and says which number each of them has here.
    #[cfg(not(target_family = "wasm"))]
    pub(crate) fn append(&mut self, texts: Vec<String>) -> Vec<u32> {
        texts.iter().map(|text| self.index(text)).collect()
    }

    pub(crate) fn into_list(self) -> Vec<String> {
        self.list
    }
}

/// A column, empty when it says nothing but the default.
fn column<T: Copy + PartialEq>(
    offers: &[Offer],
    default: T,
    value: impl Fn(&Offer) -> T,
) -> Vec<T> {
    if offers.iter().all(|offer| value(offer) == default) {
        Vec::new()
    } else {
        offers.iter().map(value).collect()
    }
}

/// A column of qualities, where NaN means unknown.
fn numbers(offers: &[Offer], value: impl Fn(&Offer) -> f64) -> Vec<f64> {
    if offers.iter().all(|offer| value(offer).is_nan()) {
        Vec::new()
    } else {
        offers.iter().map(value).collect()
    }
}

/// The contract's form of a list of offers.
pub(crate) fn columns(offers: Vec<Offer>) -> Offers {
    let mut strings = Strings::new();
    let mut texts = |value: fn(&Offer) -> &str| -> Vec<u32> {
        if offers.iter().all(|offer| value(offer).is_empty()) {
            return Vec::new();
        }
        offers
            .iter()
            .map(|offer| strings.index(value(offer)))
            .collect()
    };
    let (region, zone, size) = (
        texts(|offer| &offer.region),
        texts(|offer| &offer.zone),
        texts(|offer| &offer.size),
    );
    let (accelerator, source) = (
        texts(|offer| &offer.accelerator),
        texts(|offer| &offer.source),
    );
    let id = offers
        .iter()
        .map(|offer| strings.index(&offer.id))
        .collect();
    let (label_start, labels) = label_columns(&offers, &mut strings);
    Offers {
        id,
        region,
        zone,
        size,
        cpu: offers.iter().map(|offer| offer.cpu).collect(),
        memory: offers.iter().map(|offer| offer.memory).collect(),
        disk: column(&offers, u64::MAX, |offer| offer.disk),
        accelerator,
        accelerator_count: column(&offers, 0, |offer| offer.accelerator_count),
        accelerator_memory: column(&offers, 0, |offer| offer.accelerator_memory),
        price: offers.iter().map(|offer| offer.price).collect(),
        price_unit: column(&offers, 0, |offer| offer.price_unit as u8),
        memory_price: column(&offers, 0, |offer| offer.memory_price),
        setup_price: column(&offers, 0, |offer| offer.setup_price),
        egress_price: column(&offers, 0, |offer| offer.egress_price),
        shared: column(&offers, 0, |offer| u8::from(offer.shared)),
        capacity: column(&offers, u32::MAX, |offer| offer.capacity),
        free_cpu: column(&offers, u64::MAX, |offer| offer.free_cpu),
        free_memory: column(&offers, u64::MAX, |offer| offer.free_memory),
        spot: column(&offers, 0, |offer| u8::from(offer.spot)),
        performance: column(&offers, 1.0, |offer| offer.performance),
        availability: numbers(&offers, |offer| offer.availability),
        latency: numbers(&offers, |offer| offer.latency),
        bandwidth: numbers(&offers, |offer| offer.bandwidth),
        interruption_rate: numbers(&offers, |offer| offer.interruption_rate),
        failure_rate: numbers(&offers, |offer| offer.failure_rate),
        time_to_ready: numbers(&offers, |offer| offer.time_to_ready),
        load: numbers(&offers, |offer| offer.load),
        carbon: numbers(&offers, |offer| offer.carbon),
        source,
        quoted_at: column(&offers, UNDATED, |offer| offer.quoted_at.unwrap_or(UNDATED)),
        label_start,
        labels,
        metrics: metric_columns(&offers),
        strings: strings.into_list(),
    }
}

fn label_columns(offers: &[Offer], strings: &mut Strings) -> (Vec<u32>, Vec<u32>) {
    if offers.iter().all(|offer| offer.labels.is_empty()) {
        return (Vec::new(), Vec::new());
    }
    let (mut starts, mut labels) = (vec![0], Vec::new());
    for offer in offers {
        for (key, value) in &offer.labels {
            labels.push(strings.index(key));
            labels.push(strings.index(value));
        }
        starts.push(labels.len() as u32 / 2);
    }
    (starts, labels)
}

fn metric_columns(offers: &[Offer]) -> Vec<Metric> {
    let names: BTreeSet<&str> = offers
        .iter()
        .flat_map(|offer| offer.metrics.iter().map(|(name, _)| name.as_str()))
        .collect();
    let value = |offer: &Offer, name: &str| {
        offer
            .metrics
            .iter()
            .find(|(known, _)| known == name)
            .map_or(f64::NAN, |(_, value)| *value)
    };
    names
        .into_iter()
        .map(|name| Metric {
            name: name.to_owned(),
            values: offers.iter().map(|offer| value(offer, name)).collect(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_of_defaults_are_left_out() {
        let plain = Offer::new("a", Cpu(1000), Size(1), Money(5));
        let rich = Offer {
            region: "eu".into(),
            spot: true,
            labels: vec![("k".into(), "v".into())],
            ..Offer::new("b", Cpu(2000), Size(2), Money(6))
        };
        let table = columns(vec![plain.clone()]);
        assert_eq!((table.id.len(), table.price.clone()), (1, vec![5]));
        assert!(
            table.region.is_empty()
                && table.capacity.is_empty()
                && table.latency.is_empty()
                && table.label_start.is_empty()
        );
        let table = columns(vec![plain, rich]);
        let text = |index: u32| table.strings[index as usize].as_str();
        assert_eq!(
            table
                .region
                .iter()
                .map(|index| text(*index))
                .collect::<Vec<_>>(),
            ["", "eu"]
        );
        assert_eq!((table.spot, table.label_start), (vec![0, 1], vec![0, 0, 1]));
        assert_eq!(
            table
                .labels
                .iter()
                .map(|index| text(*index))
                .collect::<Vec<_>>(),
            ["k", "v"]
        );
        assert_eq!(table.strings[0], "");
    }

    #[test]
    fn a_dated_quote_keeps_its_date_beside_an_undated_one() {
        let undated = Offer::new("a", Cpu(1000), Size(1), Money(5));
        let dated = Offer {
            id: "b".into(),
            quoted_at: Some(1_748_736_000_000),
            ..undated.clone()
        };
        let column = |offers: &[&Offer]| {
            columns(offers.iter().map(|offer| (*offer).clone()).collect()).quoted_at
        };
        assert!(column(&[&undated]).is_empty());
        assert_eq!(column(&[&dated]), [1_748_736_000_000]);
        assert_eq!(column(&[&undated, &dated]), [u64::MAX, 1_748_736_000_000]);
    }
}
