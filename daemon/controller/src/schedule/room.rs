//! What a batch has placed, taken off the room of the offers that the rest of it is decided with.

use std::collections::HashMap;

use tradewind_core::{
    manifest::Target,
    names::{InstanceName, TaskName},
    placement::Table,
    plan::Placement,
    workload::Resources,
};

use crate::schedule::scheduler::DeploymentWork;

/// Millicores and bytes of each of so many replicas.
struct Take {
    replicas: u32,
    cpu: u64,
    memory: u64,
}

/// Replicas of a task that have been given a place.
pub(crate) struct Added<'a> {
    pub(crate) work: &'a DeploymentWork,
    pub(crate) task: &'a TaskName,
    pub(crate) target: Option<&'a Target>,
    pub(crate) resources: &'a Resources,
    pub(crate) placement: &'a Placement,
}

impl Added<'_> {
    /// Those that do not run there yet.
    fn new_ones(&self) -> u32 {
        let p = self.placement;
        let there = self
            .work
            .actual
            .iter()
            .filter(|r| r.intent.provider == p.provider && r.intent.offer.id == p.offer.id);
        let held: u32 = there
            .filter(|r| r.serves(self.task, self.target))
            .map(|r| r.intent.replicas)
            .sum();
        p.replicas.saturating_sub(held)
    }
}

/// The table after what has been placed.
pub(crate) fn less<'a>(table: &Table, placed: impl Iterator<Item = Added<'a>>) -> Table {
    let mut added: HashMap<(&InstanceName, &str), Vec<Take>> = HashMap::new();
    for one in placed {
        let replicas = one.new_ones();
        if replicas > 0 {
            let takes = added
                .entry((&one.placement.provider, one.placement.offer.id.as_str()))
                .or_default();
            takes.push(Take {
                replicas,
                cpu: u64::from(one.resources.cpu.0),
                memory: one.resources.memory.0,
            });
        }
    }
    if added.is_empty() {
        return table.clone();
    }
    table.clone().map_offers(|placed| {
        let id = placed.offer.id.clone();
        for take in added.get(&(&placed.provider, &*id)).into_iter().flatten() {
            placed.offer.take(take.replicas, take.cpu, take.memory);
        }
    })
}
