//! Assessment: what every cloud would cost and how it performs, before anything is decided. Shows the terms of C = c·R·T, not only the result.

mod benefit;
mod quality;
mod shape;

use std::collections::HashMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    base::{
        failure::ProviderFailure,
        names::{InstanceName, TaskName},
        units::{Bytes, Instant, MicroUsd, MilliCpu, Millis},
    },
    schedule::{
        cost,
        placement::{RankBy, Table, Want},
    },
    spec::{
        manifest::Target,
        offer::{Offer, PriceUnit},
        policy_call::PlacedOffer,
    },
    state::{decision::ExcludedCount, quality::Measures},
};

pub use benefit::{Alternative, Benefit, Bill, Difference, More};
pub use quality::{Basis, Figure, MeasuredFigure, QualityReport, Quoted, fill};
pub use shape::Shape;

/// The report for a manifest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "AssessmentReport")]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// When it was made.
    pub at: Instant,
    /// Every service and job of the manifest.
    pub tasks: Vec<TaskReport>,
    /// Providers that gave no offers, and why.
    pub failures: Vec<ProviderFailure>,
}

/// What every offer would cost for one task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskReport {
    /// The task's name in the manifest.
    pub task: TaskName,
    /// The target at which it would run, where the manifest names some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// Replicas that are asked for.
    pub replicas: u32,
    /// What one replica asks for.
    pub cpu: MilliCpu,
    /// What one replica asks for.
    pub memory: Bytes,
    /// A job's on the reference machine, a service's by the clock.
    pub duration: Millis,
    /// Cheapest first.
    pub offers: Vec<OfferReport>,
    /// Offers that are no candidates, by reason.
    pub excluded: Vec<Excluded>,
    /// What the policy would choose now.
    pub choice: Vec<ChoiceReport>,
    /// What that costs, and what the alternatives would.
    pub benefit: Benefit,
    /// Why replicas would have no place. Absent: all would have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unplaced: Option<String>,
}

/// Offers that are no candidates for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Excluded {
    /// The constraint, with its value.
    pub reason: String,
    /// How many offers it excludes.
    pub offers: u32,
}

/// Where the policy would place replicas.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChoiceReport {
    /// The provider instance.
    pub provider: InstanceName,
    /// The region. Empty: the provider has none.
    pub region: String,
    /// The instance type or size class.
    pub size: String,
    /// The provider's name for the offer.
    pub offer: String,
    /// How many.
    pub replicas: u32,
    /// The policy instance that chose.
    pub policy: InstanceName,
}

/// One candidate with every number of the cost, resource and time models. For one replica.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OfferReport {
    /// The provider instance.
    pub provider: InstanceName,
    /// The region. Empty: the provider has none.
    pub region: String,
    /// The zone. Empty: the provider chooses one.
    pub zone: String,
    /// The instance type or size class.
    pub size: String,
    /// The provider's name for the offer.
    pub offer: String,
    /// What is paid for: the cores of the instance, or of the share of a shared offer.
    pub cpu: MilliCpu,
    /// What is paid for: the memory of the instance, or of the share of a shared offer.
    pub memory: Bytes,
    /// It may be taken back at any time.
    pub spot: bool,
    /// c: the unit price per hour.
    pub unit_price: MicroUsd,
    /// What a unit is for this offer.
    pub price_unit: PriceUnit,
    /// T in hours: of a job the duration divided by the performance, of a service the duration by the clock.
    pub hours: f64,
    /// R by the offer's own unit: the model in force, which policies see.
    pub units: f64,
    /// C = c·R·T by the model in force.
    pub cost: MicroUsd,
    /// Per hour.
    pub hourly: MicroUsd,
    /// What is expected to leave the region, per hour.
    #[serde(default)]
    pub egress_hourly: MicroUsd,
    /// All replicas of the task, were they here.
    pub total: Bill,
    /// R and C with R = cores.
    pub by_cpu: Model,
    /// R and C with R = cores × GiB.
    pub by_cpu_memory: Model,
    /// Speed relative to the reference machine: a job takes its estimated duration divided by this.
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
    /// The share of starts that fail. Absent: unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_rate: Option<f64>,
    /// These figures as quoted and as measured.
    pub quality: QualityReport,
    /// Grams of CO₂ equivalent per kWh. Absent: unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub carbon: Option<f64>,
    /// Replicas that can still be started. Absent: no known limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<u32>,
    /// Where the price comes from, in the provider's words.
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

/// What is known besides what policies see.
#[derive(Debug)]
pub struct Background<'a> {
    /// Offers as their providers quoted them: by provider and id.
    pub quotes: &'a HashMap<(InstanceName, String), Offer>,
    /// What has been measured of places.
    pub measures: &'a Measures,
    /// The present instant, from which ages are counted.
    pub now: Instant,
}

/// The report of one task: its candidates from `table`, cheapest first.
pub fn task(
    want: &Want,
    table: &Table,
    background: &Background<'_>,
) -> (Vec<OfferReport>, Vec<Excluded>) {
    let ranked = table
        .ranked(want, RankBy::Cost)
        .into_iter()
        .filter_map(|i| table.offers().get(i as usize));
    let offers = ranked
        .map(|placed| offer(want, placed, background))
        .collect();
    let excluded = table.excluded(want).into_iter();
    let excluded = excluded.map(|ExcludedCount { reason, offers }| Excluded { reason, offers });
    (offers, excluded.collect())
}

fn offer(want: &Want, placed: &PlacedOffer, background: &Background<'_>) -> OfferReport {
    let (offer, now) = (&placed.offer, background.now);
    let quote = background
        .quotes
        .get(&(placed.provider.clone(), offer.id.to_string()));
    let measured = background
        .measures
        .of(&placed.provider, &offer.region, &offer.size);
    let terms = want.need.terms(offer);
    let (cpu, memory) = cost::paid_size(&want.need.resources, offer);
    let model = |unit: PriceUnit| {
        let units = cost::units(unit, cpu, memory);
        Model {
            units,
            cost: offer.price.scaled(units * terms.hours),
        }
    };
    let known = |v: f64| v.is_finite().then_some(v);
    let Offer {
        ref region,
        ref zone,
        ref size,
        ref id,
        ref source,
        ..
    } = *offer;
    let mut report = OfferReport {
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
        egress_hourly: offer.egress_price.scaled(want.expected.egress.gib()),
        total: Bill::default(),
        by_cpu: model(PriceUnit::Cpu),
        by_cpu_memory: model(PriceUnit::CpuMemory),
        performance: offer.performance,
        availability: known(offer.availability),
        latency: known(offer.latency),
        time_to_ready: known(offer.time_to_ready),
        failure_rate: known(offer.failure_rate),
        quality: QualityReport::of(offer, quote, measured, now),
        carbon: known(offer.carbon),
        capacity: (offer.capacity != u32::MAX).then_some(offer.capacity),
        source: source.to_string(),
        age: now.since(offer.quoted_at),
    };
    report.total = Bill::of(&report, want.replicas);
    report
}
