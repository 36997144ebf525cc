//! Types of the contract that the host lends to a call instead of owning them. The generator knows only one kind for all types of an interface.

use wasmtime::component::{ComponentType, Lower};

pub use super::provider::tradewind::plugin::types::{Fault, Host, HostWithStore, add_to_linker};

/// The contract's `metric`.
#[derive(Debug, Clone, Copy, ComponentType, Lower)]
#[component(record)]
pub struct Metric<'a> {
    pub name: &'a str,
    pub values: &'a [f64],
}

/// The contract's `offers`.
#[derive(Debug, Clone, Copy, ComponentType, Lower)]
#[component(record)]
pub struct Offers<'a> {
    pub strings: &'a [&'a str],
    pub id: &'a [u32],
    pub region: &'a [u32],
    pub zone: &'a [u32],
    pub size: &'a [u32],
    pub cpu: &'a [u32],
    pub memory: &'a [u64],
    pub disk: &'a [u64],
    pub accelerator: &'a [u32],
    #[component(name = "accelerator-count")]
    pub accelerator_count: &'a [u32],
    #[component(name = "accelerator-memory")]
    pub accelerator_memory: &'a [u64],
    pub price: &'a [u64],
    #[component(name = "price-unit")]
    pub price_unit: &'a [u8],
    #[component(name = "memory-price")]
    pub memory_price: &'a [u64],
    #[component(name = "setup-price")]
    pub setup_price: &'a [u64],
    #[component(name = "egress-price")]
    pub egress_price: &'a [u64],
    pub shared: &'a [u8],
    pub capacity: &'a [u32],
    #[component(name = "free-cpu")]
    pub free_cpu: &'a [u64],
    #[component(name = "free-memory")]
    pub free_memory: &'a [u64],
    pub spot: &'a [u8],
    pub performance: &'a [f64],
    pub availability: &'a [f64],
    pub latency: &'a [f64],
    pub bandwidth: &'a [f64],
    #[component(name = "interruption-rate")]
    pub interruption_rate: &'a [f64],
    #[component(name = "failure-rate")]
    pub failure_rate: &'a [f64],
    #[component(name = "time-to-ready")]
    pub time_to_ready: &'a [f64],
    pub load: &'a [f64],
    pub carbon: &'a [f64],
    pub source: &'a [u32],
    #[component(name = "quoted-at")]
    pub quoted_at: &'a [u64],
    #[component(name = "label-start")]
    pub label_start: &'a [u32],
    pub labels: &'a [u32],
    pub metrics: &'a [Metric<'a>],
}
