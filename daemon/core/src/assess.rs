//! Assessment: what every cloud would cost and how it performs, before anything is decided. Shows the terms of C = c·R·T, not only the result.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    cost::{self, Terms},
    names::{InstanceName, TaskName},
    offer::{Offer, PriceUnit},
    placement::{PlacedOffer, RankBy, Table, Want},
    units::{Bytes, Instant, MicroUsd, MilliCpu, Millis},
    view::{ExcludedView, ProviderFailure},
};

/// The report for a manifest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    pub at: Instant,
    pub tasks: Vec<TaskReport>,
    /// Providers that gave no offers, and why.
    pub failures: Vec<ProviderFailure>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskReport {
    pub task: TaskName,
    pub replicas: u32,
    pub cpu: MilliCpu,
    pub memory: Bytes,
    /// On the reference machine.
    pub duration: Millis,
    /// Cheapest first.
    pub offers: Vec<OfferReport>,
    pub excluded: Vec<ExcludedView>,
    /// What the policy would choose now.
    pub choice: Vec<ChoiceReport>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unplaced: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChoiceReport {
    pub provider: InstanceName,
    pub region: String,
    pub size: String,
    pub offer: String,
    pub replicas: u32,
    /// The policy instance that chose.
    pub policy: InstanceName,
}

/// One candidate with every number of the cost, resource and time models. For one replica.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OfferReport {
    pub provider: InstanceName,
    pub region: String,
    pub zone: String,
    pub size: String,
    pub offer: String,
    /// What is paid for: the size of the instance, or of the share of a shared offer.
    pub cpu: MilliCpu,
    pub memory: Bytes,
    pub spot: bool,
    /// c: the unit price per hour.
    pub unit_price: MicroUsd,
    /// What a unit is for this offer.
    pub price_unit: PriceUnit,
    /// T in hours: the duration divided by the performance.
    pub hours: f64,
    /// The model in force: R by the offer's own unit, and C = c·R·T with it. This is what policies see.
    pub units: f64,
    pub cost: MicroUsd,
    /// Per hour.
    pub hourly: MicroUsd,
    /// R and C with R = cores.
    pub by_cpu: Model,
    /// R and C with R = cores × GiB.
    pub by_cpu_memory: Model,
    pub performance: f64,
    /// Absent: unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub availability: Option<f64>,
    /// Milliseconds. Absent: unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<f64>,
    /// Milliseconds. Absent: unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_to_ready: Option<f64>,
    /// Grams of CO₂ equivalent per kWh. Absent: unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub carbon: Option<f64>,
    /// Replicas that can still be started. Absent: no known limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<u32>,
    pub source: String,
    /// Age of the quote.
    pub age: Millis,
}

/// R and C under one model of the resource product.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Model {
    /// R.
    pub units: f64,
    /// C.
    pub cost: MicroUsd,
}

/// The report of one task: its candidates from `table`, cheapest first.
pub fn task(want: &Want, table: &Table, now: Instant) -> (Vec<OfferReport>, Vec<ExcludedView>) {
    let ranked = table.ranked(want, RankBy::Cost);
    let offers = ranked.into_iter().filter_map(|i| table.offers().get(i as usize)).map(|placed| offer(want, placed, now)).collect();
    (offers, table.excluded(want))
}

fn offer(want: &Want, placed: &PlacedOffer, now: Instant) -> OfferReport {
    let offer = &placed.offer;
    let terms = Terms::of(&want.need.resources, want.need.duration, offer);
    let (cpu, memory) = cost::paid_size(&want.need.resources, offer);
    let model = |unit: PriceUnit| {
        let units = cost::units(unit, cpu, memory);
        Model { units, cost: offer.price.scaled(units * terms.hours) }
    };
    let known = |v: f64| v.is_finite().then_some(v);
    let Offer { ref region, ref zone, ref size, ref id, ref source, .. } = *offer;
    OfferReport {
        provider: placed.provider.clone(),
        region: region.to_string(),
        zone: zone.to_string(),
        size: size.to_string(),
        offer: id.to_string(),
        cpu,
        memory,
        spot: offer.spot,
        unit_price: offer.price,
        price_unit: offer.price_unit,
        hours: terms.hours,
        units: terms.units,
        cost: terms.cost,
        hourly: terms.hourly,
        by_cpu: model(PriceUnit::Cpu),
        by_cpu_memory: model(PriceUnit::CpuMemory),
        performance: offer.performance,
        availability: known(offer.availability),
        latency: known(offer.latency),
        time_to_ready: known(offer.time_to_ready),
        carbon: known(offer.carbon),
        capacity: (offer.capacity != u32::MAX).then_some(offer.capacity),
        source: source.to_string(),
        age: now.since(offer.quoted_at),
    }
}
