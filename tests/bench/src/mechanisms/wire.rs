//! What goes over a wire: the columns that `cheapest` gets and its answer, once for both encodings. Columns are kind to both of them: rows
//! would repeat every field's name in JSON and every field's tag in protobuf.

use serde::{Deserialize, Serialize};
use tradewind_plugin_sdk::bindings::policy::exports::tradewind::plugin::scheduling_policy::{
    PlaceAnswer, PlaceRequest, Unplaced,
};

use crate::native;

#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
pub(super) struct Place {
    #[prost(string, repeated, tag = "1")]
    strings: Vec<String>,
    #[prost(string, tag = "2")]
    settings: String,
    #[prost(uint64, tag = "3")]
    seed: u64,
    #[prost(message, optional, tag = "4")]
    tasks: Option<Tasks>,
    #[prost(message, optional, tag = "5")]
    shapes: Option<Shapes>,
    #[prost(uint32, repeated, tag = "6")]
    candidate_offer: Vec<u32>,
    #[prost(uint64, repeated, tag = "7")]
    candidate_cost: Vec<u64>,
    #[prost(uint32, repeated, tag = "8")]
    capacity: Vec<u32>,
    #[prost(uint64, repeated, tag = "9")]
    free_cpu: Vec<u64>,
    #[prost(uint64, repeated, tag = "10")]
    free_memory: Vec<u64>,
}

#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
pub(super) struct Tasks {
    #[prost(uint32, repeated, tag = "1")]
    namespace: Vec<u32>,
    #[prost(uint32, repeated, tag = "2")]
    deployment: Vec<u32>,
    #[prost(uint32, repeated, tag = "3")]
    name: Vec<u32>,
    #[prost(uint32, repeated, tag = "4")]
    shape: Vec<u32>,
    #[prost(uint32, repeated, tag = "5")]
    replicas: Vec<u32>,
    #[prost(sint32, repeated, tag = "6")]
    priority: Vec<i32>,
    #[prost(bytes = "vec", tag = "7")]
    job: Vec<u8>,
    #[prost(bytes = "vec", tag = "8")]
    spread: Vec<u8>,
    #[prost(uint32, repeated, tag = "9")]
    spread_max: Vec<u32>,
    #[prost(uint64, repeated, tag = "10")]
    max_hourly: Vec<u64>,
    #[prost(uint32, repeated, tag = "11")]
    current_start: Vec<u32>,
    #[prost(uint32, repeated, tag = "12")]
    label_start: Vec<u32>,
}

#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
pub(super) struct Shapes {
    #[prost(uint32, repeated, tag = "1")]
    cpu: Vec<u32>,
    #[prost(uint64, repeated, tag = "2")]
    memory: Vec<u64>,
    #[prost(uint64, repeated, tag = "3")]
    disk: Vec<u64>,
    #[prost(uint32, repeated, tag = "4")]
    accelerator: Vec<u32>,
    #[prost(uint32, repeated, tag = "5")]
    accelerator_count: Vec<u32>,
    #[prost(uint64, repeated, tag = "6")]
    duration: Vec<u64>,
    #[prost(uint32, repeated, tag = "7")]
    candidate_start: Vec<u32>,
}

#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
pub(super) struct Placed {
    #[prost(uint32, repeated, tag = "1")]
    task: Vec<u32>,
    #[prost(uint32, repeated, tag = "2")]
    offer: Vec<u32>,
    #[prost(uint32, repeated, tag = "3")]
    replicas: Vec<u32>,
    #[prost(double, repeated, tag = "4")]
    scores: Vec<f64>,
    #[prost(message, repeated, tag = "5")]
    unplaced: Vec<NotPlaced>,
    #[prost(string, tag = "6")]
    note: String,
}

#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
pub(super) struct NotPlaced {
    #[prost(uint32, tag = "1")]
    task: u32,
    #[prost(uint32, tag = "2")]
    replicas: u32,
    #[prost(string, tag = "3")]
    reason: String,
}

impl Place {
    /// What the other process does with it.
    pub(super) fn decide(self) -> anyhow::Result<Placed> {
        Ok(Placed::from(native::place(self.into())?))
    }
}

/// Moves the columns that are sent; all others are empty for this policy.
impl From<PlaceRequest> for Place {
    fn from(request: PlaceRequest) -> Self {
        let PlaceRequest {
            strings,
            settings,
            seed,
            tasks,
            shapes,
            candidates,
            offers,
            ..
        } = request;
        Self {
            strings,
            settings,
            seed,
            tasks: Some(Tasks {
                namespace: tasks.namespace,
                deployment: tasks.deployment,
                name: tasks.name,
                shape: tasks.shape,
                replicas: tasks.replicas,
                priority: tasks.priority,
                job: tasks.job,
                spread: tasks.spread,
                spread_max: tasks.spread_max,
                max_hourly: tasks.max_hourly,
                current_start: tasks.current_start,
                label_start: tasks.label_start,
            }),
            shapes: Some(Shapes {
                cpu: shapes.cpu,
                memory: shapes.memory,
                disk: shapes.disk,
                accelerator: shapes.accelerator,
                accelerator_count: shapes.accelerator_count,
                duration: shapes.duration,
                candidate_start: shapes.candidate_start,
            }),
            candidate_offer: candidates.offer,
            candidate_cost: candidates.cost,
            capacity: offers.capacity,
            free_cpu: offers.free_cpu,
            free_memory: offers.free_memory,
        }
    }
}

impl From<Place> for PlaceRequest {
    fn from(place: Place) -> Self {
        let (tasks, shapes) = (
            place.tasks.unwrap_or_default(),
            place.shapes.unwrap_or_default(),
        );
        let mut request = native::empty();
        (request.strings, request.settings, request.seed) =
            (place.strings, place.settings, place.seed);
        let to = &mut request.tasks;
        (to.namespace, to.deployment, to.name, to.shape) =
            (tasks.namespace, tasks.deployment, tasks.name, tasks.shape);
        (to.replicas, to.priority, to.job, to.spread) =
            (tasks.replicas, tasks.priority, tasks.job, tasks.spread);
        (to.spread_max, to.max_hourly) = (tasks.spread_max, tasks.max_hourly);
        (to.current_start, to.label_start) = (tasks.current_start, tasks.label_start);
        let to = &mut request.shapes;
        (to.cpu, to.memory, to.disk, to.duration) =
            (shapes.cpu, shapes.memory, shapes.disk, shapes.duration);
        (to.accelerator, to.accelerator_count, to.candidate_start) = (
            shapes.accelerator,
            shapes.accelerator_count,
            shapes.candidate_start,
        );
        (request.candidates.offer, request.candidates.cost) =
            (place.candidate_offer, place.candidate_cost);
        let to = &mut request.offers;
        (to.capacity, to.free_cpu, to.free_memory) =
            (place.capacity, place.free_cpu, place.free_memory);
        request
    }
}

impl From<PlaceAnswer> for Placed {
    fn from(answer: PlaceAnswer) -> Self {
        let PlaceAnswer {
            task,
            offer,
            replicas,
            scores,
            unplaced,
            note,
            ..
        } = answer;
        let unplaced = unplaced
            .into_iter()
            .map(|u| NotPlaced {
                task: u.task,
                replicas: u.replicas,
                reason: u.reason,
            })
            .collect();
        Self {
            task,
            offer,
            replicas,
            scores,
            unplaced,
            note,
        }
    }
}

impl From<Placed> for PlaceAnswer {
    fn from(placed: Placed) -> Self {
        let Placed {
            task,
            offer,
            replicas,
            scores,
            unplaced,
            note,
        } = placed;
        let unplaced = unplaced
            .into_iter()
            .map(|u| Unplaced {
                task: u.task,
                replicas: u.replicas,
                reason: u.reason,
            })
            .collect();
        Self {
            task,
            offer,
            replicas,
            scores,
            unplaced,
            lower_bound: None,
            note,
        }
    }
}
