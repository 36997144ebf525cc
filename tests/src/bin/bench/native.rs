//! The policy `cheapest` compiled for this machine: the function that the component exports, called without any boundary.

use anyhow::{Result, anyhow};
use cheapest::Cheapest;
use tradewind_core::placement::{Request, Spread};
use tradewind_plugin_sdk::{
    bindings::{
        policy::exports::tradewind::plugin::scheduling_policy::{Candidates, Guest, PlaceAnswer, PlaceRequest, Shapes, Tasks},
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
    let tasks = &request.tasks;
    let (shapes, candidates) = (&request.shapes, &request.candidates);
    let none = || vec![0; tasks.len() + 1];
    let tasks = Tasks {
        namespace: tasks.iter().map(|t| text(t.namespace.as_str())).collect(),
        deployment: tasks.iter().map(|t| text(t.deployment.as_str())).collect(),
        name: tasks.iter().map(|t| text(t.name.as_str())).collect(),
        shape: tasks.iter().map(|t| t.shape).collect(),
        replicas: tasks.iter().map(|t| t.replicas).collect(),
        priority: tasks.iter().map(|t| t.priority).collect(),
        job: tasks.iter().map(|t| u8::from(t.job)).collect(),
        spread: tasks.iter().map(|t| u8::from(t.spread != Spread::None)).collect(),
        spread_max: tasks.iter().map(|t| t.spread_max).collect(),
        max_hourly: tasks.iter().map(|t| t.max_hourly.0).collect(),
        current_start: none(),
        current_offer: Vec::new(),
        current_replicas: Vec::new(),
        label_start: none(),
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
        cpu: shapes.iter().map(|s| s.resources.cpu.0).collect(),
        memory: shapes.iter().map(|s| s.resources.memory.0).collect(),
        disk: shapes.iter().map(|s| s.resources.disk.0).collect(),
        accelerator: vec![0; shapes.len()],
        accelerator_count: vec![0; shapes.len()],
        duration: shapes.iter().map(|s| s.duration.0).collect(),
        candidate_start: candidates.start.clone(),
    };
    let candidates = Candidates {
        offer: candidates.offer.clone(),
        cost: candidates.cost.clone(),
        hourly: Vec::new(),
        units: Vec::new(),
        hours: Vec::new(),
    };
    PlaceRequest {
        strings,
        settings: "{}".to_owned(),
        seed: request.seed,
        tasks,
        shapes,
        candidates,
        offers: offers(request),
        provider_of: Vec::new(),
    }
}

/// Only what always arrives.
fn offers(request: &Request) -> Offers {
    let offers = || request.offers.iter().map(|placed| &placed.offer);
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
        capacity: offers().map(|o| o.capacity).collect(),
        free_cpu: offers().map(|o| o.free_cpu).collect(),
        free_memory: offers().map(|o| o.free_memory).collect(),
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
    <Exported<Scored<Cheapest>> as Guest>::place(request).map_err(|fault| anyhow!("the policy refused the batch: {fault:?}"))
}
