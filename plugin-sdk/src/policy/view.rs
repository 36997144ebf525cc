//! Views over a request's columns: small, copyable handles, so that authors write `task.candidates()` and never an index.
//!
//! A column that the policy did not ask for arrives empty, and reads as its default: "" for texts, 0 for prices and counts, NaN for
//! qualities, 1 for the performance, no limit for limits.

use super::wire;
use crate::types::PriceUnit;

/// One batch.
pub struct Request {
    pub(crate) wire: wire::PlaceRequest,
}

/// One task to place.
#[derive(Clone, Copy)]
pub struct Task<'a> {
    request: &'a Request,
    index: u32,
}

/// What tasks of one shape need.
#[derive(Clone, Copy)]
pub struct Shape<'a> {
    request: &'a Request,
    index: u32,
}

/// An offer that satisfies a task's hard constraints.
#[derive(Clone, Copy)]
pub struct Candidate<'a> {
    request: &'a Request,
    row: u32,
}

/// An offer.
#[derive(Clone, Copy)]
pub struct Offer<'a> {
    request: &'a Request,
    index: u32,
}

/// Where replicas of a task run now.
#[derive(Clone, Copy)]
pub struct Current<'a> {
    request: &'a Request,
    offer: u32,
    /// How many.
    pub replicas: u32,
}

/// Over what a task's replicas shall be spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Spread {
    /// Over nothing.
    #[default]
    None,
    /// Over zones.
    Zone,
    /// Over regions.
    Region,
    /// Over providers.
    Provider,
}

/// A zone, region or provider. Equal names of different providers, or of different regions, are different domains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Domain {
    over: Spread,
    provider: u32,
    region: u32,
    zone: u32,
}

/// A word that tasks have in common, and the kind of the domain that they shall share, or shall not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Group<'a> {
    /// Tasks with the same word belong together.
    pub word: &'a str,
    /// The kind of the domain; never [`Spread::None`].
    pub over: Spread,
}

fn at<T: Copy>(column: &[T], index: u32, default: T) -> T {
    column.get(index as usize).copied().unwrap_or(default)
}

fn range(starts: &[u32], index: u32) -> std::ops::Range<u32> {
    match (starts.get(index as usize), starts.get(index as usize + 1)) {
        (Some(from), Some(to)) => *from..*to,
        _ => 0..0,
    }
}

impl Request {
    pub(crate) fn new(wire: wire::PlaceRequest) -> Self {
        Self { wire }
    }

    /// Every task, in the request's order.
    pub fn tasks(&self) -> impl ExactSizeIterator<Item = Task<'_>> + Clone {
        (0..self.wire.tasks.shape.len()).map(|index| Task {
            request: self,
            index: index as u32,
        })
    }

    /// Every task, highest priority first, equals in the request's order.
    pub fn tasks_by_priority(&self) -> impl Iterator<Item = Task<'_>> {
        let mut tasks: Vec<Task<'_>> = self.tasks().collect();
        if self
            .wire
            .tasks
            .priority
            .iter()
            .any(|priority| *priority != 0)
        {
            tasks.sort_by_key(|task| std::cmp::Reverse(task.priority()));
        }
        tasks.into_iter()
    }

    /// A task by its index.
    pub fn task(&self, index: u32) -> Option<Task<'_>> {
        ((index as usize) < self.wire.tasks.shape.len()).then_some(Task {
            request: self,
            index,
        })
    }

    /// Every shape.
    pub fn shapes(&self) -> impl ExactSizeIterator<Item = Shape<'_>> {
        (0..self.wire.shapes.cpu.len()).map(|index| Shape {
            request: self,
            index: index as u32,
        })
    }

    /// Every candidate of every shape, shape by shape.
    pub fn candidates(&self) -> impl ExactSizeIterator<Item = Candidate<'_>> {
        (0..self.wire.candidates.offer.len()).map(|row| Candidate {
            request: self,
            row: row as u32,
        })
    }

    /// A candidate by a row that there is.
    pub(super) fn row(&self, row: u32) -> Candidate<'_> {
        Candidate { request: self, row }
    }

    /// A candidate by its row.
    pub fn candidate(&self, row: u32) -> Option<Candidate<'_>> {
        ((row as usize) < self.wire.candidates.offer.len())
            .then_some(Candidate { request: self, row })
    }

    /// An offer by its index.
    pub fn offer(&self, index: u32) -> Offer<'_> {
        Offer {
            request: self,
            index,
        }
    }

    /// A number that differs between decisions.
    pub fn seed(&self) -> u64 {
        self.wire.seed
    }

    fn text(&self, column: &[u32], index: u32) -> &str {
        self.wire
            .strings
            .get(at(column, index, 0) as usize)
            .map_or("", String::as_str)
    }

    fn pairs<'a>(
        &'a self,
        starts: &[u32],
        pairs: &'a [u32],
        index: u32,
    ) -> impl Iterator<Item = (&'a str, &'a str)> {
        let text = |string: u32| {
            self.wire
                .strings
                .get(string as usize)
                .map_or("", String::as_str)
        };
        let range = range(starts, index);
        let rows = pairs
            .get(range.start as usize * 2..range.end as usize * 2)
            .unwrap_or_default();
        rows.chunks_exact(2).map(move |pair| match pair {
            [key, value] => (text(*key), text(*value)),
            _ => ("", ""),
        })
    }
}

impl<'a> Task<'a> {
    /// Its index in the request, as the answer names it.
    pub fn index(self) -> u32 {
        self.index
    }
    /// The namespace of its deployment.
    pub fn namespace(self) -> &'a str {
        self.request
            .text(&self.request.wire.tasks.namespace, self.index)
    }
    /// The deployment it belongs to.
    pub fn deployment(self) -> &'a str {
        self.request
            .text(&self.request.wire.tasks.deployment, self.index)
    }
    /// Its name within the deployment.
    pub fn name(self) -> &'a str {
        self.request.text(&self.request.wire.tasks.name, self.index)
    }
    /// What it needs.
    pub fn shape(self) -> Shape<'a> {
        Shape {
            request: self.request,
            index: at(&self.request.wire.tasks.shape, self.index, u32::MAX),
        }
    }
    /// Replicas wanted in all, those that run already included.
    pub fn replicas(self) -> u32 {
        at(&self.request.wire.tasks.replicas, self.index, 0)
    }
    /// Higher goes first.
    pub fn priority(self) -> i32 {
        at(&self.request.wire.tasks.priority, self.index, 0)
    }
    /// Whether it runs to its end.
    pub fn is_job(self) -> bool {
        at(&self.request.wire.tasks.job, self.index, 0) == 1
    }
    /// Over what its replicas shall be spread.
    pub fn spread(self) -> Spread {
        Spread::of(at(&self.request.wire.tasks.spread, self.index, 0))
    }
    /// The most replicas in one domain of the spread. A hard limit. `u32::MAX`: none.
    pub fn spread_max(self) -> u32 {
        at(&self.request.wire.tasks.spread_max, self.index, u32::MAX)
    }
    /// The most it may cost per hour in all, in micro-USD. A hard limit. `u64::MAX`: none.
    pub fn max_hourly(self) -> u64 {
        at(&self.request.wire.tasks.max_hourly, self.index, u64::MAX)
    }
    /// Tasks with the same word share a domain. A hard limit.
    pub fn affinity(self) -> Option<Group<'a>> {
        let tasks = &self.request.wire.tasks;
        self.group(&tasks.affinity, &tasks.affinity_domain)
    }
    /// Tasks with the same word share no domain. A hard limit.
    pub fn anti_affinity(self) -> Option<Group<'a>> {
        let tasks = &self.request.wire.tasks;
        self.group(&tasks.anti_affinity, &tasks.anti_affinity_domain)
    }
    fn group(self, words: &[u32], over: &[u8]) -> Option<Group<'a>> {
        let group = Group {
            word: self.request.text(words, self.index),
            over: Spread::of(at(over, self.index, 0)),
        };
        (!group.word.is_empty() && group.over != Spread::None).then_some(group)
    }
    /// What moving one running replica costs, in micro-USD.
    pub fn migration_cost(self) -> u64 {
        at(&self.request.wire.tasks.migration_cost, self.index, 0)
    }
    /// Requests per second that it is expected to serve in all. NaN: unknown.
    pub fn request_rate(self) -> f64 {
        at(&self.request.wire.tasks.request_rate, self.index, f64::NAN)
    }
    /// Where it runs now.
    pub fn current(self) -> impl Iterator<Item = Current<'a>> {
        let tasks = &self.request.wire.tasks;
        range(&tasks.current_start, self.index).map(move |row| Current {
            request: self.request,
            offer: at(&tasks.current_offer, row, u32::MAX),
            replicas: at(&tasks.current_replicas, row, 0),
        })
    }
    /// Replicas that run on this offer now.
    pub fn held(self, offer: u32) -> u32 {
        self.current()
            .filter(|current| current.offer == offer)
            .map(|current| current.replicas)
            .sum()
    }
    /// Its labels, key and value.
    pub fn labels(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.request.pairs(
            &self.request.wire.tasks.label_start,
            &self.request.wire.tasks.labels,
            self.index,
        )
    }
    /// The value of a label.
    pub fn label(self, key: &str) -> Option<&'a str> {
        self.labels()
            .find(|(name, _)| *name == key)
            .map(|(_, value)| value)
    }
    /// The offers it may use, in ascending order of the offer.
    pub fn candidates(self) -> impl ExactSizeIterator<Item = Candidate<'a>> + Clone {
        self.shape().candidates()
    }
}

impl<'a> Shape<'a> {
    /// Its index in the request.
    pub fn index(self) -> u32 {
        self.index
    }
    /// Millicores of one replica.
    pub fn cpu(self) -> u32 {
        at(&self.request.wire.shapes.cpu, self.index, 0)
    }
    /// Bytes of memory of one replica.
    pub fn memory(self) -> u64 {
        at(&self.request.wire.shapes.memory, self.index, 0)
    }
    /// Bytes of disk of one replica.
    pub fn disk(self) -> u64 {
        at(&self.request.wire.shapes.disk, self.index, 0)
    }
    /// The kind of accelerator; "" for none or any.
    pub fn accelerator(self) -> &'a str {
        self.request
            .text(&self.request.wire.shapes.accelerator, self.index)
    }
    /// Accelerators of one replica.
    pub fn accelerator_count(self) -> u32 {
        at(&self.request.wire.shapes.accelerator_count, self.index, 0)
    }
    /// The estimated duration in milliseconds: a job's on the reference machine, a service's by the clock.
    pub fn duration(self) -> u64 {
        at(&self.request.wire.shapes.duration, self.index, 0)
    }
    /// The offers that satisfy it.
    pub fn candidates(self) -> impl ExactSizeIterator<Item = Candidate<'a>> + Clone {
        let rows = self.rows();
        let request = self.request;
        (0..rows.len()).map(move |offset| Candidate {
            request,
            row: rows.start + offset as u32,
        })
    }
    /// The candidate that is this offer.
    pub fn candidate(self, offer: u32) -> Option<Candidate<'a>> {
        let rows = self.rows();
        let column = self
            .request
            .wire
            .candidates
            .offer
            .get(rows.start as usize..rows.end as usize)?;
        let position = column.binary_search(&offer).ok()?;
        Some(Candidate {
            request: self.request,
            row: rows.start + position as u32,
        })
    }
    pub(crate) fn rows(self) -> std::ops::Range<u32> {
        let rows = range(&self.request.wire.shapes.candidate_start, self.index);
        // A host that broke the contract must not make a guest loop over four thousand million rows.
        let end = rows
            .end
            .min(self.request.wire.candidates.offer.len() as u32);
        rows.start.min(end)..end
    }
}

impl<'a> Candidate<'a> {
    /// Its row among all candidates, as the scores count them.
    pub fn row(self) -> u32 {
        self.row
    }
    /// The offer.
    pub fn offer(self) -> Offer<'a> {
        Offer {
            request: self.request,
            index: at(&self.request.wire.candidates.offer, self.row, u32::MAX),
        }
    }
    /// Micro-USD for one replica for the whole estimated duration, C = c·R·T.
    pub fn cost(self) -> u64 {
        at(&self.request.wire.candidates.cost, self.row, 0)
    }
    /// The same in US dollars.
    pub fn cost_usd(self) -> f64 {
        self.cost() as f64 / 1e6
    }
    /// Micro-USD for one replica and hour. Column `TERMS`; also arrives when a task has a limit per hour.
    pub fn hourly(self) -> u64 {
        at(&self.request.wire.candidates.hourly, self.row, 0)
    }
    /// Resource units of one replica, the R of C = c·R·T. Column `TERMS`.
    pub fn units(self) -> f64 {
        at(&self.request.wire.candidates.units, self.row, 0.0)
    }
    /// Hours for which one replica is paid here, the T of C = c·R·T: of a job the duration divided by the offer's performance, of a service
    /// the duration itself. Column `TERMS`.
    pub fn hours(self) -> f64 {
        at(&self.request.wire.candidates.hours, self.row, 0.0)
    }
}

impl<'a> Current<'a> {
    /// Where they run.
    pub fn offer(self) -> Offer<'a> {
        Offer {
            request: self.request,
            index: self.offer,
        }
    }
}

macro_rules! columns {
    ($($(#[$doc:meta])* $name:ident: $type:ty = $default:expr;)+) => { $(
        $(#[$doc])*
        pub fn $name(self) -> $type {
            at(&self.request.wire.offers.$name, self.index, $default)
        }
    )+ };
}

macro_rules! texts {
    ($($(#[$doc:meta])* $name:ident;)+) => { $(
        $(#[$doc])*
        pub fn $name(self) -> &'a str {
            self.request.text(&self.request.wire.offers.$name, self.index)
        }
    )+ };
}

impl<'a> Offer<'a> {
    /// Its index in the request, as the answer names it.
    pub fn index(self) -> u32 {
        self.index
    }
    /// The provider instance. Column `PROVIDER`.
    pub fn provider(self) -> &'a str {
        self.request
            .text(&self.request.wire.provider_of, self.index)
    }
    texts! {
        /// The provider's own name for it. Column `ID`.
        id;
        /// Column `REGION`.
        region;
        /// Column `ZONE`.
        zone;
        /// The instance type or size class. Column `SIZE`.
        size;
        /// The kind of accelerator. Column `ACCELERATOR`.
        accelerator;
        /// Where the price comes from. Column `QUOTE`.
        source;
    }
    columns! {
        /// Millicores. Column `RESOURCES`.
        cpu: u32 = 0;
        /// Bytes. Column `RESOURCES`.
        memory: u64 = 0;
        /// Bytes. Column `RESOURCES`.
        disk: u64 = u64::MAX;
        /// Column `ACCELERATOR`.
        accelerator_count: u32 = 0;
        /// Bytes of each. Column `ACCELERATOR`.
        accelerator_memory: u64 = 0;
        /// Micro-USD per unit and hour. Column `PRICE`.
        price: u64 = 0;
        /// Micro-USD per GiB of memory and hour on top. Column `PRICE`.
        memory_price: u64 = 0;
        /// Micro-USD once per replica. Column `PRICE`.
        setup_price: u64 = 0;
        /// Micro-USD per GiB that leaves the region. Column `EGRESS_PRICE`.
        egress_price: u64 = 0;
        /// Replicas that can still be started; `u32::MAX`: no known limit. Always there.
        capacity: u32 = u32::MAX;
        /// Millicores still free in a shared offer. Always there.
        free_cpu: u64 = u64::MAX;
        /// Bytes still free in a shared offer. Always there.
        free_memory: u64 = u64::MAX;
        /// Relative to the reference machine. It shortens jobs; of services it is a quality, and no cost. Column `PERFORMANCE`.
        performance: f64 = 1.0;
        /// 0 … 1. Column `AVAILABILITY`.
        availability: f64 = f64::NAN;
        /// Milliseconds. Column `LATENCY`.
        latency: f64 = f64::NAN;
        /// Mbit/s. Column `BANDWIDTH`.
        bandwidth: f64 = f64::NAN;
        /// Per hour. Column `INTERRUPTION_RATE`.
        interruption_rate: f64 = f64::NAN;
        /// 0 … 1. Column `FAILURE_RATE`.
        failure_rate: f64 = f64::NAN;
        /// Milliseconds. Column `TIME_TO_READY`.
        time_to_ready: f64 = f64::NAN;
        /// 0 … 1. Column `LOAD`.
        load: f64 = f64::NAN;
        /// Grams of CO₂ equivalent per kWh. Column `CARBON`.
        carbon: f64 = f64::NAN;
        /// Milliseconds since the epoch. Column `QUOTE`.
        quoted_at: u64 = 0;
    }
    /// What one unit of the price is. Column `PRICE`.
    pub fn price_unit(self) -> PriceUnit {
        match at(&self.request.wire.offers.price_unit, self.index, 0) {
            1 => PriceUnit::Cpu,
            2 => PriceUnit::CpuMemory,
            _ => PriceUnit::Instance,
        }
    }
    /// Whether replicas share one pool. Column `SHARED`.
    pub fn shared(self) -> bool {
        at(&self.request.wire.offers.shared, self.index, 0) == 1
    }
    /// Whether it may be taken back at any time. Column `SPOT`.
    pub fn spot(self) -> bool {
        at(&self.request.wire.offers.spot, self.index, 0) == 1
    }
    /// Its labels, key and value. Column `LABELS`.
    pub fn labels(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.request.pairs(
            &self.request.wire.offers.label_start,
            &self.request.wire.offers.labels,
            self.index,
        )
    }
    /// The value of a label. Column `LABELS`.
    pub fn label(self, key: &str) -> Option<&'a str> {
        self.labels()
            .find(|(name, _)| *name == key)
            .map(|(_, value)| value)
    }
    /// A further number by its name; NaN when the offer has none. Column `METRICS`.
    pub fn metric(self, name: &str) -> f64 {
        let metric = self
            .request
            .wire
            .offers
            .metrics
            .iter()
            .find(|metric| metric.name == name);
        metric.map_or(f64::NAN, |metric| at(&metric.values, self.index, f64::NAN))
    }
    /// The domain of this kind that it belongs to. Columns `PROVIDER`, `REGION` and `ZONE`, as far as the kind needs them; the host adds
    /// them where a task's spread needs them.
    pub fn domain(self, over: Spread) -> Domain {
        let wire = &self.request.wire;
        let whole =
            |column: &[u32], counts: bool| if counts { at(column, self.index, 0) } else { 0 };
        Domain {
            over,
            provider: whole(&wire.provider_of, over != Spread::None),
            region: whole(
                &wire.offers.region,
                matches!(over, Spread::Region | Spread::Zone),
            ),
            zone: whole(&wire.offers.zone, over == Spread::Zone),
        }
    }
}

impl Spread {
    fn of(number: u8) -> Self {
        match number {
            1 => Self::Zone,
            2 => Self::Region,
            3 => Self::Provider,
            _ => Self::None,
        }
    }

    /// What one of these domains is called.
    pub fn word(self) -> &'static str {
        match self {
            Self::None => "place",
            Self::Zone => "zone",
            Self::Region => "region",
            Self::Provider => "provider",
        }
    }
}
