//! Offers: what a provider can supply now, at what price and quality.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    base::{
        names::Labels,
        units::{Bytes, Instant, MicroUsd, MilliCpu},
    },
    spec::workload::Resources,
};

/// The source of an offer for which its provider has been told no price. It counts as $0.00; decisions say so.
pub const NO_PRICE: &str = "no price set";

/// How a price becomes a cost: cost = price × units × hours (C = c·R·T).
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum PriceUnit {
    /// R = 1: the whole instance.
    #[default]
    Instance,
    /// R = cores.
    Cpu,
    /// R = cores × GiB of memory.
    CpuMemory,
}

/// One offer. Texts are shared between offers of one answer. `NaN` in a quality means unknown; `MAX` in a limit means none known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Offer {
    /// The provider's own name for it, unique within the provider.
    pub id: Arc<str>,
    /// The region. Empty: the provider has none.
    pub region: Arc<str>,
    /// The zone. Empty: the provider chooses one.
    pub zone: Arc<str>,
    /// The instance type or size class.
    pub size: Arc<str>,
    /// Of one instance, or the most one replica may take of a shared offer.
    pub cpu: MilliCpu,
    /// Of one instance, or the most one replica may take of a shared offer.
    pub memory: Bytes,
    /// Local disk of one instance; `MAX`: no known limit.
    pub disk: Bytes,
    /// The kind of accelerator. Empty: none.
    pub accelerator: Arc<str>,
    /// Accelerators of one instance.
    pub accelerator_count: u32,
    /// Of each accelerator.
    pub accelerator_memory: Bytes,
    /// Per unit and hour.
    pub price: MicroUsd,
    /// What the price is of.
    pub price_unit: PriceUnit,
    /// Per GiB of memory and hour, on top.
    pub memory_price: MicroUsd,
    /// Once per replica.
    pub setup_price: MicroUsd,
    /// Per GiB that leaves the region.
    pub egress_price: MicroUsd,
    /// Replicas share one pool and pay for what they ask.
    pub shared: bool,
    /// Replicas that can still be started; `u32::MAX`: no known limit.
    pub capacity: u32,
    /// Millicores still free in a shared offer; `u64::MAX`: no known limit.
    pub free_cpu: u64,
    /// Bytes still free in a shared offer; `u64::MAX`: no known limit.
    pub free_memory: u64,
    /// It may be taken back at any time.
    pub spot: bool,
    /// Relative to the reference machine, above 0.
    pub performance: f64,
    /// Promised or measured availability, 0 … 1.
    pub availability: f64,
    /// Milliseconds.
    pub latency: f64,
    /// Mbit/s.
    pub bandwidth: f64,
    /// Per hour.
    pub interruption_rate: f64,
    /// Share of starts that fail, 0 … 1.
    pub failure_rate: f64,
    /// Milliseconds.
    pub time_to_ready: f64,
    /// 0 … 1.
    pub load: f64,
    /// Grams of CO₂ equivalent per kWh.
    pub carbon: f64,
    /// Where the price comes from.
    pub source: Arc<str>,
    /// When the price was true.
    pub quoted_at: Instant,
    /// The provider's labels.
    pub labels: Labels,
    /// Further numbers, by name.
    pub metrics: Vec<(Arc<str>, f64)>,
}

impl Offer {
    /// Whether its provider has been told no price: it counts as $0.00, whatever it really costs.
    pub fn has_no_price(&self) -> bool {
        self.price.0 == 0 && self.memory_price.0 == 0 && *self.source == *NO_PRICE
    }

    /// An offer of which only the essentials are known.
    pub fn new(id: &str, cpu: MilliCpu, memory: Bytes, price: MicroUsd) -> Self {
        let none: Arc<str> = Arc::from("");
        Self {
            id: Arc::from(id),
            region: none.clone(),
            zone: none.clone(),
            size: none.clone(),
            cpu,
            memory,
            disk: Bytes(u64::MAX),
            accelerator: none.clone(),
            accelerator_count: 0,
            accelerator_memory: Bytes(0),
            price,
            price_unit: PriceUnit::Instance,
            memory_price: MicroUsd(0),
            setup_price: MicroUsd(0),
            egress_price: MicroUsd(0),
            shared: false,
            capacity: u32::MAX,
            free_cpu: u64::MAX,
            free_memory: u64::MAX,
            spot: false,
            performance: 1.0,
            availability: f64::NAN,
            latency: f64::NAN,
            bandwidth: f64::NAN,
            interruption_rate: f64::NAN,
            failure_rate: f64::NAN,
            time_to_ready: f64::NAN,
            load: f64::NAN,
            carbon: f64::NAN,
            source: none,
            quoted_at: Instant(0),
            labels: Labels::new(),
            metrics: Vec::new(),
        }
    }

    /// Takes the room of so many replicas, each of so many millicores and bytes, off what is left. Limits that are not known stay unknown.
    pub fn take(&mut self, replicas: u32, cpu: u64, memory: u64) {
        let all = |each: u64| each.saturating_mul(u64::from(replicas));
        if self.capacity != u32::MAX {
            self.capacity = self.capacity.saturating_sub(replicas);
        }
        if self.free_cpu != u64::MAX {
            self.free_cpu = self.free_cpu.saturating_sub(all(cpu));
        }
        if self.free_memory != u64::MAX {
            self.free_memory = self.free_memory.saturating_sub(all(memory));
        }
    }
}

/// What offers are wanted for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct OffersQuery {
    /// Empty: all.
    pub regions: Vec<String>,
    /// Empty: everything on sale.
    pub shapes: Vec<Resources>,
    /// Whether offers that may be taken back are of use.
    pub spot: bool,
    /// What the instance holds already: an offer's id and its replicas.
    pub holding: Vec<(String, u32)>,
}
