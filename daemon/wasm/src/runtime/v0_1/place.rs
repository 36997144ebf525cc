//! The policy call's request and answer: from the batch to only those columns the policy reads.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;
use tradewind_core::{
    placement::{Answer, Group, PlacedOffer, Request, Spread, Task},
    units::{Bytes, MicroUsd},
};

use super::{
    bindings::{
        lent::{Metric, Offers},
        policy::exports::tradewind::plugin::scheduling_policy as wit,
    },
    convert::{Nonsense, nonsense},
};
use crate::base::text::tame;

/// Strings by number, each once; number 0 is the empty one.
#[derive(Clone, Default)]
struct Strings<'a> {
    list: Vec<String>,
    number: HashMap<&'a str, u32>,
    /// The last string and its number: neighbours are often the same shared text.
    last: Option<(*const u8, usize, u32)>,
}

impl<'a> Strings<'a> {
    fn new() -> Self {
        Self {
            list: vec![String::new()],
            number: HashMap::from([("", 0)]),
            last: None,
        }
    }

    fn add(&mut self, text: &'a str) -> u32 {
        let (start, len) = (text.as_ptr(), text.len());
        if let Some((p, l, n)) = self.last
            && p == start
            && l == len
        {
            return n;
        }
        let n = *self.number.entry(text).or_insert_with(|| {
            self.list.push(text.to_owned());
            u32::try_from(self.list.len() - 1).unwrap_or(u32::MAX)
        });
        self.last = Some((start, len, n));
        n
    }
}

/// The offers' columns of one list of offers, kept while that list lives: the requests of one assessment share their offers.
#[derive(Default)]
pub(super) struct Cache(Mutex<Option<Cached>>);

struct Cached {
    of: Weak<Vec<PlacedOffer>>,
    wants: wit::Columns,
    columns: Arc<Columns>,
}

/// Everything of a request that depends on the offers alone.
pub(super) struct Columns {
    strings: Vec<String>,
    offers: OfferColumns,
    provider_of: Vec<u32>,
}

/// The contract's `offers`, owned; what nobody asked for is empty.
#[derive(Default)]
struct OfferColumns {
    id: Vec<u32>,
    region: Vec<u32>,
    zone: Vec<u32>,
    size: Vec<u32>,
    cpu: Vec<u32>,
    memory: Vec<u64>,
    disk: Vec<u64>,
    accelerator: Vec<u32>,
    accelerator_count: Vec<u32>,
    accelerator_memory: Vec<u64>,
    price: Vec<u64>,
    price_unit: Vec<u8>,
    memory_price: Vec<u64>,
    setup_price: Vec<u64>,
    egress_price: Vec<u64>,
    shared: Vec<u8>,
    capacity: Vec<u32>,
    free_cpu: Vec<u64>,
    free_memory: Vec<u64>,
    spot: Vec<u8>,
    performance: Vec<f64>,
    availability: Vec<f64>,
    latency: Vec<f64>,
    bandwidth: Vec<f64>,
    interruption_rate: Vec<f64>,
    failure_rate: Vec<f64>,
    time_to_ready: Vec<f64>,
    load: Vec<f64>,
    carbon: Vec<f64>,
    source: Vec<u32>,
    quoted_at: Vec<u64>,
    label_start: Vec<u32>,
    labels: Vec<u32>,
    metrics: Vec<(String, Vec<f64>)>,
}

impl Cache {
    /// The columns of a request's offers: what the policy asked for, and what the batch needs besides.
    pub(super) fn columns(&self, request: &Request, asked: wit::Columns) -> Arc<Columns> {
        let (offers, wants) = (&request.offers, wanted(request, asked));
        let mut slot = self.0.lock();
        if let Some(cached) = slot.as_ref()
            && cached.wants == wants
            && std::ptr::eq(cached.of.as_ptr(), Arc::as_ptr(offers))
        {
            return cached.columns.clone();
        }
        let columns = Arc::new(columns(offers, wants));
        *slot = Some(Cached {
            of: Arc::downgrade(offers),
            wants,
            columns: columns.clone(),
        });
        columns
    }
}

/// What the policy asked for and what the batch needs besides.
fn wanted(request: &Request, asked: wit::Columns) -> wit::Columns {
    let mut wants = asked;
    let groups = |t: &Task| {
        [&t.affinity, &t.anti_affinity].map(|group| group.as_ref().map_or(Spread::None, |g| g.over))
    };
    for domain in request
        .tasks
        .iter()
        .flat_map(|t| groups(t).into_iter().chain([t.spread]))
    {
        match domain {
            Spread::None => {}
            Spread::Provider => wants |= wit::Columns::PROVIDER,
            Spread::Region => wants |= wit::Columns::PROVIDER | wit::Columns::REGION,
            Spread::Zone => {
                wants |= wit::Columns::PROVIDER | wit::Columns::REGION | wit::Columns::ZONE
            }
        }
    }
    wants
}

/// The columns of one batch. What is as long as its offers or its candidates is lent, not copied.
pub(super) struct Batch<'a> {
    request: &'a Request,
    settings: &'a str,
    asked: wit::Columns,
    columns: &'a Columns,
    /// Those of the offers, then those of the batch.
    strings: Vec<&'a str>,
    metrics: Vec<Metric<'a>>,
    tasks: TaskColumns,
    shapes: ShapeColumns,
}

impl<'a> Batch<'a> {
    /// `columns`: those of the request's offers.
    pub(super) fn new(
        request: &'a Request,
        settings: &'a str,
        asked: wit::Columns,
        columns: &'a Columns,
    ) -> Self {
        let mut late = Late {
            list: columns.strings.iter().map(String::as_str).collect(),
            number: HashMap::new(),
        };
        let tasks = tasks(request, &mut late);
        let shapes = shapes(request, &mut late);
        let metrics = columns.offers.metrics.iter();
        Self {
            request,
            settings,
            asked,
            columns,
            strings: late.list,
            metrics: metrics
                .map(|(name, values)| Metric { name, values })
                .collect(),
            tasks,
            shapes,
        }
    }

    pub(super) fn lend(&self) -> wit::PlaceRequest<'_> {
        let (tasks, c) = (&self.request.tasks, &self.request.candidates);
        let terms = self.asked.contains(wit::Columns::TERMS);
        let hourly = terms || tasks.iter().any(|t| t.max_hourly != MicroUsd::MAX);
        wit::PlaceRequest {
            strings: &self.strings,
            settings: self.settings,
            seed: self.request.seed,
            tasks: self.tasks.lend(),
            shapes: self.shapes.lend(&c.start),
            candidates: wit::Candidates {
                offer: &c.offer,
                cost: if c.expected.is_empty() {
                    &c.cost
                } else {
                    &c.expected
                },
                hourly: if hourly { &c.hourly } else { &[] },
                units: if terms { &c.units } else { &[] },
                hours: if terms { &c.hours } else { &[] },
            },
            offers: self.columns.offers.lend(&self.metrics),
            provider_of: &self.columns.provider_of,
        }
    }
}

/// The contract's `tasks`, owned.
struct TaskColumns {
    namespace: Vec<u32>,
    deployment: Vec<u32>,
    name: Vec<u32>,
    shape: Vec<u32>,
    replicas: Vec<u32>,
    priority: Vec<i32>,
    job: Vec<u8>,
    spread: Vec<u8>,
    spread_max: Vec<u32>,
    max_hourly: Vec<u64>,
    current_start: Vec<u32>,
    current_offer: Vec<u32>,
    current_replicas: Vec<u32>,
    label_start: Vec<u32>,
    labels: Vec<u32>,
    affinity: Vec<u32>,
    affinity_domain: Vec<u8>,
    anti_affinity: Vec<u32>,
    anti_affinity_domain: Vec<u8>,
    deadline: Vec<u64>,
    migration_cost: Vec<u64>,
    egress: Vec<u64>,
    request_rate: Vec<f64>,
}

/// The contract's `shapes`, owned, but for where each one's candidates begin.
struct ShapeColumns {
    cpu: Vec<u32>,
    memory: Vec<u64>,
    disk: Vec<u64>,
    accelerator: Vec<u32>,
    accelerator_count: Vec<u32>,
    duration: Vec<u64>,
}

impl TaskColumns {
    fn lend(&self) -> wit::Tasks<'_> {
        wit::Tasks {
            namespace: &self.namespace,
            deployment: &self.deployment,
            name: &self.name,
            shape: &self.shape,
            replicas: &self.replicas,
            priority: &self.priority,
            job: &self.job,
            spread: &self.spread,
            spread_max: &self.spread_max,
            max_hourly: &self.max_hourly,
            current_start: &self.current_start,
            current_offer: &self.current_offer,
            current_replicas: &self.current_replicas,
            label_start: &self.label_start,
            labels: &self.labels,
            affinity: &self.affinity,
            affinity_domain: &self.affinity_domain,
            anti_affinity: &self.anti_affinity,
            anti_affinity_domain: &self.anti_affinity_domain,
            deadline: &self.deadline,
            migration_cost: &self.migration_cost,
            egress: &self.egress,
            request_rate: &self.request_rate,
        }
    }
}

impl ShapeColumns {
    fn lend<'a>(&'a self, candidate_start: &'a [u32]) -> wit::Shapes<'a> {
        wit::Shapes {
            cpu: &self.cpu,
            memory: &self.memory,
            disk: &self.disk,
            accelerator: &self.accelerator,
            accelerator_count: &self.accelerator_count,
            duration: &self.duration,
            candidate_start,
        }
    }
}

impl OfferColumns {
    fn lend<'a>(&'a self, metrics: &'a [Metric<'a>]) -> Offers<'a> {
        Offers {
            strings: &[],
            id: &self.id,
            region: &self.region,
            zone: &self.zone,
            size: &self.size,
            cpu: &self.cpu,
            memory: &self.memory,
            disk: &self.disk,
            accelerator: &self.accelerator,
            accelerator_count: &self.accelerator_count,
            accelerator_memory: &self.accelerator_memory,
            price: &self.price,
            price_unit: &self.price_unit,
            memory_price: &self.memory_price,
            setup_price: &self.setup_price,
            egress_price: &self.egress_price,
            shared: &self.shared,
            capacity: &self.capacity,
            free_cpu: &self.free_cpu,
            free_memory: &self.free_memory,
            spot: &self.spot,
            performance: &self.performance,
            availability: &self.availability,
            latency: &self.latency,
            bandwidth: &self.bandwidth,
            interruption_rate: &self.interruption_rate,
            failure_rate: &self.failure_rate,
            time_to_ready: &self.time_to_ready,
            load: &self.load,
            carbon: &self.carbon,
            source: &self.source,
            quoted_at: &self.quoted_at,
            label_start: &self.label_start,
            labels: &self.labels,
            metrics,
        }
    }
}

/// Strings of one batch, behind those of its offers. A text may so appear twice; texts compare, numbers need not.
struct Late<'a> {
    list: Vec<&'a str>,
    number: HashMap<&'a str, u32>,
}

impl<'a> Late<'a> {
    fn add(&mut self, text: &'a str) -> u32 {
        if text.is_empty() {
            return 0;
        }
        let next = count(self.list.len());
        *self.number.entry(text).or_insert_with(|| {
            self.list.push(text);
            next
        })
    }
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

fn tasks<'a>(request: &'a Request, strings: &mut Late<'a>) -> TaskColumns {
    let all = &request.tasks;
    let mut current_start = vec![0];
    let mut current_offer = Vec::new();
    let mut current_replicas = Vec::new();
    let mut label_start = vec![0];
    let mut labels = Vec::new();
    for task in all {
        for &(offer, replicas) in &task.current {
            current_offer.push(offer);
            current_replicas.push(replicas);
        }
        current_start.push(count(current_offer.len()));
        for (key, value) in &task.labels {
            labels.push(strings.add(key));
            labels.push(strings.add(value));
        }
        label_start.push(count(labels.len() / 2));
    }
    TaskColumns {
        namespace: all
            .iter()
            .map(|t| strings.add(t.namespace.as_str()))
            .collect(),
        deployment: all
            .iter()
            .map(|t| strings.add(t.deployment.as_str()))
            .collect(),
        name: all.iter().map(|t| strings.add(t.name.as_str())).collect(),
        shape: all.iter().map(|t| t.shape).collect(),
        replicas: all.iter().map(|t| t.replicas).collect(),
        priority: all.iter().map(|t| t.priority).collect(),
        job: all.iter().map(|t| u8::from(t.job)).collect(),
        spread: all.iter().map(|t| kind(t.spread)).collect(),
        spread_max: all.iter().map(|t| t.spread_max).collect(),
        max_hourly: all.iter().map(|t| t.max_hourly.0).collect(),
        current_start,
        current_offer,
        current_replicas,
        label_start,
        labels,
        affinity: used(
            all,
            |t| t.affinity.is_some(),
            |t| word(&t.affinity, strings),
        ),
        affinity_domain: used(all, |t| t.affinity.is_some(), |t| domain(&t.affinity)),
        anti_affinity: used(
            all,
            |t| t.anti_affinity.is_some(),
            |t| word(&t.anti_affinity, strings),
        ),
        anti_affinity_domain: used(
            all,
            |t| t.anti_affinity.is_some(),
            |t| domain(&t.anti_affinity),
        ),
        deadline: used(
            all,
            |t| t.deadline.is_some(),
            |t| t.deadline.map_or(u64::MAX, |d| d.0),
        ),
        migration_cost: used(
            all,
            |t| t.expected.migration_cost != MicroUsd(0),
            |t| t.expected.migration_cost.0,
        ),
        egress: used(
            all,
            |t| t.expected.egress != Bytes(0),
            |t| t.expected.egress.0,
        ),
        request_rate: used(
            all,
            |t| t.expected.request_rate.is_some(),
            |t| t.expected.request_rate.unwrap_or(f64::NAN),
        ),
    }
}

/// A column that is empty when no task of the batch has anything to say there.
fn used<'a, T>(
    tasks: &'a [Task],
    says: impl Fn(&Task) -> bool,
    value: impl FnMut(&'a Task) -> T,
) -> Vec<T> {
    if tasks.iter().any(says) {
        tasks.iter().map(value).collect()
    } else {
        Vec::new()
    }
}

fn word<'a>(group: &'a Option<Group>, strings: &mut Late<'a>) -> u32 {
    group.as_ref().map_or(0, |g| strings.add(&g.word))
}

fn domain(group: &Option<Group>) -> u8 {
    group.as_ref().map_or(0, |g| kind(g.over))
}

fn kind(over: Spread) -> u8 {
    match over {
        Spread::None => 0,
        Spread::Zone => 1,
        Spread::Region => 2,
        Spread::Provider => 3,
    }
}

fn shapes<'a>(request: &'a Request, strings: &mut Late<'a>) -> ShapeColumns {
    let all = &request.shapes;
    ShapeColumns {
        cpu: all.iter().map(|s| s.resources.cpu.0).collect(),
        memory: all.iter().map(|s| s.resources.memory.0).collect(),
        disk: all.iter().map(|s| s.resources.disk.0).collect(),
        accelerator: all
            .iter()
            .map(|s| {
                s.resources
                    .accelerators
                    .first()
                    .map_or(0, |a| strings.add(&a.kind))
            })
            .collect(),
        accelerator_count: all
            .iter()
            .map(|s| s.resources.accelerators.first().map_or(0, |a| a.count))
            .collect(),
        duration: all.iter().map(|s| s.duration.0).collect(),
    }
}

fn columns(placed: &[PlacedOffer], wants: wit::Columns) -> Columns {
    use wit::Columns as C;
    let mut strings = Strings::new();
    let s = &mut strings;

    macro_rules! column {
        ($flag:expr, |$o:ident| $value:expr) => {
            if wants.contains($flag) {
                placed
                    .iter()
                    .map(|p| {
                        let $o = &p.offer;
                        $value
                    })
                    .collect()
            } else {
                Vec::new()
            }
        };
    }

    let mut label_start = Vec::new();
    let mut labels = Vec::new();
    if wants.contains(C::LABELS) {
        label_start.push(0);
        for p in placed {
            for (key, value) in &p.offer.labels {
                labels.push(s.add(key));
                labels.push(s.add(value));
            }
            label_start.push(count(labels.len() / 2));
        }
    }
    let provider_of = if wants.contains(C::PROVIDER) {
        placed.iter().map(|p| s.add(p.provider.as_str())).collect()
    } else {
        Vec::new()
    };
    let offers = OfferColumns {
        id: column!(C::ID, |o| s.add(&o.id)),
        region: column!(C::REGION, |o| s.add(&o.region)),
        zone: column!(C::ZONE, |o| s.add(&o.zone)),
        size: column!(C::SIZE, |o| s.add(&o.size)),
        cpu: column!(C::RESOURCES, |o| o.cpu.0),
        memory: column!(C::RESOURCES, |o| o.memory.0),
        disk: column!(C::RESOURCES, |o| o.disk.0),
        accelerator: column!(C::ACCELERATOR, |o| s.add(&o.accelerator)),
        accelerator_count: column!(C::ACCELERATOR, |o| o.accelerator_count),
        accelerator_memory: column!(C::ACCELERATOR, |o| o.accelerator_memory.0),
        price: column!(C::PRICE, |o| o.price.0),
        price_unit: column!(C::PRICE, |o| o.price_unit as u8),
        memory_price: column!(C::PRICE, |o| o.memory_price.0),
        setup_price: column!(C::PRICE, |o| o.setup_price.0),
        egress_price: column!(C::EGRESS_PRICE, |o| o.egress_price.0),
        shared: column!(C::SHARED, |o| u8::from(o.shared)),
        capacity: placed.iter().map(|p| p.offer.capacity).collect(),
        free_cpu: placed.iter().map(|p| p.offer.free_cpu).collect(),
        free_memory: placed.iter().map(|p| p.offer.free_memory).collect(),
        spot: column!(C::SPOT, |o| u8::from(o.spot)),
        performance: column!(C::PERFORMANCE, |o| o.performance),
        availability: column!(C::AVAILABILITY, |o| o.availability),
        latency: column!(C::LATENCY, |o| o.latency),
        bandwidth: column!(C::BANDWIDTH, |o| o.bandwidth),
        interruption_rate: column!(C::INTERRUPTION_RATE, |o| o.interruption_rate),
        failure_rate: column!(C::FAILURE_RATE, |o| o.failure_rate),
        time_to_ready: column!(C::TIME_TO_READY, |o| o.time_to_ready),
        load: column!(C::LOAD, |o| o.load),
        carbon: column!(C::CARBON, |o| o.carbon),
        source: column!(C::QUOTE, |o| s.add(&o.source)),
        quoted_at: column!(C::QUOTE, |o| o.quoted_at.0),
        label_start,
        labels,
        metrics: if wants.contains(C::METRICS) {
            metrics(placed)
        } else {
            Vec::new()
        },
    };
    Columns {
        strings: strings.list,
        offers,
        provider_of,
    }
}

/// One column per name; NaN where an offer lacks it.
fn metrics(placed: &[PlacedOffer]) -> Vec<(String, Vec<f64>)> {
    let mut out: Vec<(String, Vec<f64>)> = Vec::new();
    let mut at: HashMap<&str, usize> = HashMap::new();
    for (i, p) in placed.iter().enumerate() {
        for (name, value) in &p.offer.metrics {
            let n = *at.entry(name).or_insert_with(|| {
                out.push((name.to_string(), vec![f64::NAN; placed.len()]));
                out.len() - 1
            });
            if let Some(cell) = out.get_mut(n).and_then(|(_, values)| values.get_mut(i)) {
                *cell = *value;
            }
        }
    }
    out
}

/// The answer's shape is checked here; whether the choices are acceptable is the scheduler's business.
///
/// # Errors
/// When columns that belong together differ in length, or a score is not a number.
pub(super) fn answer(a: wit::PlaceAnswer, candidates: usize) -> Result<Answer, Nonsense> {
    if a.task.len() != a.offer.len() || a.task.len() != a.replicas.len() {
        return nonsense(format!(
            "the columns \"task\", \"offer\" and \"replicas\" have {}, {} and {} entries",
            a.task.len(),
            a.offer.len(),
            a.replicas.len()
        ));
    }
    if !a.scores.is_empty() && a.scores.len() != candidates {
        return nonsense(format!(
            "{} scores for {candidates} candidates",
            a.scores.len()
        ));
    }
    if let Some(i) = a.scores.iter().position(|s| s.is_nan()) {
        return nonsense(format!("the score of candidate {i} is not a number"));
    }
    Ok(Answer {
        task: a.task,
        offer: a.offer,
        replicas: a.replicas,
        scores: a.scores,
        unplaced: a
            .unplaced
            .into_iter()
            .map(|u| (u.task, u.replicas, tame(&u.reason)))
            .collect(),
        lower_bound: a.lower_bound.map(MicroUsd),
        note: tame(&a.note),
    })
}
