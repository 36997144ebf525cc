//! The policy `cheapest` compiled for this machine: the function that the component exports, called without any boundary.

use anyhow::{Result, anyhow};
use cheapest::Cheapest;
use tradewind_core::placement::{Request, Spread};
use tradewind_plugin_sdk::{
    bindings::{
        policy::exports::tradewind::plugin::scheduling_policy::{
            Candidates, Guest, PlaceAnswer, PlaceRequest, Shapes, Tasks,
        },
        provider::tradewind::plugin::types::Offers,
    },
    policy::{Exported, Scored},
};

/// The columns that `cheapest` gets, from the batch.
pub(crate) fn request(request: &Request) -> PlaceRequest {
    let mut strings = vec![String::new()];
    let mut text = |text: &str| {
        strings.push(text.to_owned());
        strings.len() as u32 - 1
    };
    let mut place = empty();
    let (tasks, to) = (&request.tasks, &mut place.tasks);
    to.namespace = tasks.iter().map(|t| text(t.namespace.as_str())).collect();
    to.deployment = tasks.iter().map(|t| text(t.deployment.as_str())).collect();
    to.name = tasks.iter().map(|t| text(t.name.as_str())).collect();
    to.shape = tasks.iter().map(|t| t.shape).collect();
    to.replicas = tasks.iter().map(|t| t.replicas).collect();
    to.priority = tasks.iter().map(|t| t.priority).collect();
    to.job = tasks.iter().map(|t| u8::from(t.job)).collect();
    to.spread = tasks
        .iter()
        .map(|t| u8::from(t.spread != Spread::None))
        .collect();
    to.spread_max = tasks.iter().map(|t| t.spread_max).collect();
    to.max_hourly = tasks.iter().map(|t| t.max_hourly.0).collect();
    to.current_start = vec![0; tasks.len() + 1];
    to.label_start = vec![0; tasks.len() + 1];
    let (shapes, to) = (&request.shapes, &mut place.shapes);
    to.cpu = shapes.iter().map(|s| s.resources.cpu.0).collect();
    to.memory = shapes.iter().map(|s| s.resources.memory.0).collect();
    to.disk = shapes.iter().map(|s| s.resources.disk.0).collect();
    to.accelerator = vec![0; shapes.len()];
    to.accelerator_count = vec![0; shapes.len()];
    to.duration = shapes.iter().map(|s| s.duration.0).collect();
    to.candidate_start = request.candidates.start.clone();
    place.candidates.offer = request.candidates.offer.clone();
    place.candidates.cost = request.candidates.cost.clone();
    let offers = || request.offers.iter().map(|placed| &placed.offer);
    place.offers.capacity = offers().map(|o| o.capacity).collect();
    place.offers.free_cpu = offers().map(|o| o.free_cpu).collect();
    place.offers.free_memory = offers().map(|o| o.free_memory).collect();
    PlaceRequest {
        strings,
        seed: request.seed,
        ..place
    }
}

/// With the places of the offers, as policies get it that care for domains.
pub(crate) fn with_places(request: &Request) -> PlaceRequest {
    let mut place = self::request(request);
    let PlaceRequest {
        strings,
        offers,
        provider_of,
        ..
    } = &mut place;
    let mut text = |text: &str| {
        strings.push(text.to_owned());
        strings.len() as u32 - 1
    };
    *provider_of = request
        .offers
        .iter()
        .map(|o| text(o.provider.as_str()))
        .collect();
    offers.region = request
        .offers
        .iter()
        .map(|o| text(&o.offer.region))
        .collect();
    offers.zone = request.offers.iter().map(|o| text(&o.offer.zone)).collect();
    place
}

/// Without tasks, shapes and offers.
pub(crate) fn empty() -> PlaceRequest {
    let tasks = Tasks {
        namespace: Vec::new(),
        deployment: Vec::new(),
        name: Vec::new(),
        shape: Vec::new(),
        replicas: Vec::new(),
        priority: Vec::new(),
        job: Vec::new(),
        spread: Vec::new(),
        spread_max: Vec::new(),
        max_hourly: Vec::new(),
        current_start: Vec::new(),
        current_offer: Vec::new(),
        current_replicas: Vec::new(),
        label_start: Vec::new(),
        labels: Vec::new(),
        affinity: Vec::new(),
        affinity_domain: Vec::new(),
        anti_affinity: Vec::new(),
        anti_affinity_domain: Vec::new(),
        deadline: Vec::new(),
        migration_cost: Vec::new(),
        egress: Vec::new(),
        request_rate: Vec::new(),
    };
    let shapes = Shapes {
        cpu: Vec::new(),
        memory: Vec::new(),
        disk: Vec::new(),
        accelerator: Vec::new(),
        accelerator_count: Vec::new(),
        duration: Vec::new(),
        candidate_start: Vec::new(),
    };
    PlaceRequest {
        strings: Vec::new(),
        settings: "{}".to_owned(),
        seed: 0,
        tasks,
        shapes,
        candidates: Candidates {
            offer: Vec::new(),
            cost: Vec::new(),
            hourly: Vec::new(),
            units: Vec::new(),
            hours: Vec::new(),
        },
        offers: no_offers(),
        provider_of: Vec::new(),
    }
}

fn no_offers() -> Offers {
    Offers {
        strings: Vec::new(),
        id: Vec::new(),
        region: Vec::new(),
        zone: Vec::new(),
        size: Vec::new(),
        cpu: Vec::new(),
        memory: Vec::new(),
        disk: Vec::new(),
        accelerator: Vec::new(),
        accelerator_count: Vec::new(),
        accelerator_memory: Vec::new(),
        price: Vec::new(),
        price_unit: Vec::new(),
        memory_price: Vec::new(),
        setup_price: Vec::new(),
        egress_price: Vec::new(),
        shared: Vec::new(),
        capacity: Vec::new(),
        free_cpu: Vec::new(),
        free_memory: Vec::new(),
        spot: Vec::new(),
        performance: Vec::new(),
        availability: Vec::new(),
        latency: Vec::new(),
        bandwidth: Vec::new(),
        interruption_rate: Vec::new(),
        failure_rate: Vec::new(),
        time_to_ready: Vec::new(),
        load: Vec::new(),
        carbon: Vec::new(),
        source: Vec::new(),
        quoted_at: Vec::new(),
        label_start: Vec::new(),
        labels: Vec::new(),
        metrics: Vec::new(),
    }
}

/// What the component's export does.
pub(crate) fn place(request: PlaceRequest) -> Result<PlaceAnswer> {
    <Exported<Scored<Cheapest>> as Guest>::place(request)
        .map_err(|fault| anyhow!("the policy refused the batch: {fault:?}"))
}
