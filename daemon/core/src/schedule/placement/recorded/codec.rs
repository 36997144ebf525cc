//! The kept form of a policy call: four bytes that name it, a version, then columns of plain numbers in postcard, packed by LZ4. Texts are
//! stored once. Behind them, since version 2: what only some tasks have. A version that this code does not know is refused: nothing is guessed. Here are the form and the writing; `read` is the way back.

mod bound;
mod read;

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{Measure, Recorded, ShapeLimits};
use crate::spec::{
    offer::{Offer, PriceUnit},
    policy_call::{Answer, Candidates, PlacedOffer, Shape, Spread, Task},
    workload::Resources,
};

const MAGIC: [u8; 4] = *b"TWDR";
/// Of the form. A change of what is written is another version.
pub const VERSION: u16 = 2;
/// The most bytes that a record may unpack to.
const LARGEST: usize = 1 << 30;

/// Why kept bytes are no record that can be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bytes do not begin as a record does.
    #[error("it is no record of a decision")]
    Foreign,
    /// A newer daemon wrote it.
    #[error("it is a record of version {found}, and this daemon reads versions up to {VERSION}")]
    Version {
        /// The record's version.
        found: u16,
    },
    /// It ends early, or its numbers contradict each other.
    #[error("the record is damaged: {0}")]
    Damaged(String),
    /// It is larger than what is kept.
    #[error("it would take {size} bytes, at most {LARGEST} are kept")]
    TooLarge {
        /// Bytes that it would take.
        size: usize,
    },
}

fn damaged(what: impl std::fmt::Display) -> Error {
    Error::Damaged(what.to_string())
}

/// The record's bytes.
///
/// # Errors
/// A call too large to be kept.
pub fn encode(recorded: &Recorded) -> Result<Vec<u8>, Error> {
    let mut packed = postcard::to_allocvec(&Wire::of(recorded)).map_err(damaged)?;
    packed.extend(postcard::to_allocvec(&bound::rows(&recorded.request.tasks)).map_err(damaged)?);
    if packed.len() > LARGEST {
        return Err(Error::TooLarge { size: packed.len() });
    }
    let mut bytes = Vec::with_capacity(packed.len() / 4);
    bytes.extend(MAGIC);
    bytes.extend(VERSION.to_le_bytes());
    bytes.extend(lz4_flex::block::compress_prepend_size(&packed));
    Ok(bytes)
}

/// # Errors
/// Bytes that are no record, one of another version, or a damaged one.
pub fn decode(bytes: &[u8]) -> Result<Recorded, Error> {
    let rest = bytes.strip_prefix(&MAGIC).ok_or(Error::Foreign)?;
    let (version, packed) = rest.split_first_chunk::<2>().ok_or(Error::Foreign)?;
    let found = u16::from_le_bytes(*version);
    if !(1..=VERSION).contains(&found) {
        return Err(Error::Version { found });
    }
    let size = packed
        .first_chunk::<4>()
        .map_or(0, |n| u32::from_le_bytes(*n) as usize);
    if size > LARGEST {
        return Err(damaged(format!("it claims to unpack to {size} bytes")));
    }
    let unpacked = lz4_flex::block::decompress_size_prepended(packed).map_err(damaged)?;
    let (wire, rest) = postcard::take_from_bytes::<Wire<'_>>(&unpacked).map_err(damaged)?;
    let rows: Vec<bound::Row> = if found > 1 {
        read(rest)?
    } else {
        read::<()>(rest).map(|()| Vec::new())?
    };
    let mut recorded = wire.recorded()?;
    bound::put(rows, &mut recorded.request.tasks)?;
    Ok(recorded)
}

/// An answer's bytes: equal answers, bit for bit, have equal bytes.
pub fn answer_bytes(answer: &Answer) -> Vec<u8> {
    // Plain numbers and texts always have a form.
    postcard::to_allocvec(&Reply::of(answer)).unwrap_or_default()
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    let (value, rest) = postcard::take_from_bytes(bytes).map_err(damaged)?;
    if rest.is_empty() {
        Ok(value)
    } else {
        Err(damaged(format!("{} bytes too many", rest.len())))
    }
}

/// Large columns are not copied to be written.
type Column<'a, T> = Cow<'a, [T]>;

#[derive(Serialize, Deserialize)]
struct Wire<'a> {
    at: u64,
    policy: Who,
    seed: u64,
    texts: Vec<String>,
    tasks: Vec<TaskRow>,
    shapes: Vec<ShapeRow>,
    candidates: Rows<'a>,
    offers: Offers,
    answer: Reply<'a>,
}

#[derive(Serialize, Deserialize)]
struct Who {
    instance: String,
    plugin: String,
    version: String,
    component: [u8; 32],
    settings: [u8; 32],
}

/// Texts by their number.
#[derive(Serialize, Deserialize)]
struct TaskRow {
    namespace: u32,
    deployment: u32,
    name: u32,
    shape: u32,
    replicas: u32,
    priority: i32,
    job: bool,
    spread: u8,
    spread_max: u32,
    max_hourly: u64,
    current: Vec<(u32, u32)>,
    labels: Vec<(u32, u32)>,
}

#[derive(Serialize, Deserialize)]
struct ShapeRow {
    cpu: u32,
    memory: u64,
    disk: u64,
    /// Kind, count, memory of each.
    accelerators: Vec<(u32, u32, u64)>,
    duration: u64,
    max_hourly: Option<u64>,
    /// Reason, measure, offers as differences.
    excluded: Vec<(u32, u8, Vec<u32>)>,
}

#[derive(Serialize, Deserialize)]
struct Rows<'a> {
    start: Column<'a, u32>,
    /// Each less the one before: most differ by little.
    offer: Vec<u32>,
    cost: Column<'a, u64>,
    /// Empty: not given. None: the cost itself.
    expected: Option<Column<'a, u64>>,
    hourly: Column<'a, u64>,
    units: Column<'a, f64>,
    hours: Column<'a, f64>,
}

#[derive(Serialize, Deserialize)]
struct Offers {
    provider: Vec<u32>,
    id: Vec<u32>,
    region: Vec<u32>,
    zone: Vec<u32>,
    size: Vec<u32>,
    accelerator: Vec<u32>,
    source: Vec<u32>,
    cpu: Vec<u32>,
    accelerator_count: Vec<u32>,
    capacity: Vec<u32>,
    price_unit: Vec<u8>,
    shared: Vec<bool>,
    spot: Vec<bool>,
    memory: Vec<u64>,
    disk: Vec<u64>,
    accelerator_memory: Vec<u64>,
    price: Vec<u64>,
    memory_price: Vec<u64>,
    setup_price: Vec<u64>,
    egress_price: Vec<u64>,
    free_cpu: Vec<u64>,
    free_memory: Vec<u64>,
    quoted_at: Vec<u64>,
    /// One column for each quality, in the order of `qualities`.
    qualities: Vec<Vec<f64>>,
    labels: Vec<Vec<(u32, u32)>>,
    metrics: Vec<Vec<(u32, f64)>>,
}

#[derive(Serialize, Deserialize)]
struct Reply<'a> {
    task: Column<'a, u32>,
    offer: Column<'a, u32>,
    replicas: Column<'a, u32>,
    scores: Column<'a, f64>,
    unplaced: Vec<(u32, u32, Cow<'a, str>)>,
    lower_bound: Option<u64>,
    note: Cow<'a, str>,
}

const QUALITIES: usize = 9;

fn qualities(o: &Offer) -> [f64; QUALITIES] {
    [
        o.performance,
        o.availability,
        o.latency,
        o.bandwidth,
        o.interruption_rate,
        o.failure_rate,
        o.time_to_ready,
        o.load,
        o.carbon,
    ]
}

/// Texts by number, each once.
#[derive(Default)]
struct Texts<'a> {
    list: Vec<String>,
    number: HashMap<&'a str, u32>,
}

impl<'a> Texts<'a> {
    fn add(&mut self, text: &'a str) -> u32 {
        *self.number.entry(text).or_insert_with(|| {
            self.list.push(text.to_owned());
            u32::try_from(self.list.len() - 1).unwrap_or(u32::MAX)
        })
    }
}

impl<'a> Wire<'a> {
    fn of(recorded: &'a Recorded) -> Self {
        let Recorded {
            at,
            policy,
            request,
            limits,
            answer,
        } = recorded;
        let mut texts = Texts::default();
        let t = &mut texts;
        let tasks = request
            .tasks
            .iter()
            .map(|task| TaskRow::of(task, t))
            .collect();
        let nothing = ShapeLimits::default();
        let limits = limits.iter().chain(std::iter::repeat(&nothing));
        let shapes = request
            .shapes
            .iter()
            .zip(limits)
            .map(|(shape, limits)| ShapeRow::of(shape, limits, t))
            .collect();
        let offers = Offers::of(&request.offers, t);
        Self {
            at: at.0,
            policy: Who {
                instance: policy.instance.to_string(),
                plugin: policy.plugin.clone(),
                version: policy.version.clone(),
                component: *policy.component.bytes(),
                settings: *policy.settings.bytes(),
            },
            seed: request.seed,
            tasks,
            shapes,
            candidates: Rows::of(&request.candidates),
            offers,
            answer: Reply::of(answer),
            texts: texts.list,
        }
    }
}

fn pairs<'a>(labels: &'a BTreeMap<String, String>, texts: &mut Texts<'a>) -> Vec<(u32, u32)> {
    labels
        .iter()
        .map(|(k, v)| (texts.add(k), texts.add(v)))
        .collect()
}

fn spread_code(spread: Spread) -> u8 {
    match spread {
        Spread::None => 0,
        Spread::Zone => 1,
        Spread::Region => 2,
        Spread::Provider => 3,
    }
}

impl TaskRow {
    fn of<'a>(task: &'a Task, texts: &mut Texts<'a>) -> Self {
        Self {
            namespace: texts.add(task.namespace.as_str()),
            deployment: texts.add(task.deployment.as_str()),
            name: texts.add(task.name.as_str()),
            shape: task.shape,
            replicas: task.replicas,
            priority: task.priority,
            job: task.job,
            spread: spread_code(task.spread),
            spread_max: task.spread_max,
            max_hourly: task.max_hourly.0,
            current: task.current.clone(),
            labels: pairs(&task.labels, texts),
        }
    }
}

impl ShapeRow {
    fn of<'a>(shape: &'a Shape, limits: &'a ShapeLimits, texts: &mut Texts<'a>) -> Self {
        let Resources {
            cpu,
            memory,
            disk,
            accelerators,
        } = &shape.resources;
        Self {
            cpu: cpu.0,
            memory: memory.0,
            disk: disk.0,
            accelerators: accelerators
                .iter()
                .map(|a| (texts.add(&a.kind), a.count, a.memory.0))
                .collect(),
            duration: shape.duration.0,
            max_hourly: limits.max_hourly.map(|m| m.0),
            excluded: limits
                .excluded
                .iter()
                .map(|e| {
                    (
                        texts.add(&e.reason),
                        measure_code(e.measure),
                        differences(&e.offers),
                    )
                })
                .collect(),
        }
    }
}

fn measure_code(measure: Measure) -> u8 {
    match measure {
        Measure::Nothing => 0,
        Measure::Provider => 1,
        Measure::Region => 2,
        Measure::Cpu => 3,
        Measure::Memory => 4,
        Measure::Disk => 5,
        Measure::Accelerator => 6,
        Measure::Hourly => 7,
        Measure::Capacity => 8,
        Measure::Quote => 9,
    }
}

fn differences(numbers: &[u32]) -> Vec<u32> {
    let mut before = 0u32;
    numbers
        .iter()
        .map(|n| n.wrapping_sub(std::mem::replace(&mut before, *n)))
        .collect()
}

impl<'a> Rows<'a> {
    fn of(candidates: &'a Candidates) -> Self {
        let Candidates {
            start,
            offer,
            cost,
            expected,
            hourly,
            units,
            hours,
        } = candidates;
        Self {
            start: Cow::Borrowed(start),
            offer: differences(offer),
            cost: Cow::Borrowed(cost),
            expected: (expected != cost).then_some(Cow::Borrowed(expected)),
            hourly: Cow::Borrowed(hourly),
            units: Cow::Borrowed(units),
            hours: Cow::Borrowed(hours),
        }
    }
}

impl Offers {
    fn of<'a>(placed: &'a [PlacedOffer], texts: &mut Texts<'a>) -> Self {
        fn col<T>(placed: &[PlacedOffer], of: impl Fn(&Offer) -> T) -> Vec<T> {
            placed.iter().map(|p| of(&p.offer)).collect()
        }
        let quality = |i: usize| col(placed, |o| qualities(o).get(i).copied().unwrap_or(f64::NAN));
        Self {
            provider: placed
                .iter()
                .map(|p| texts.add(p.provider.as_str()))
                .collect(),
            id: placed.iter().map(|p| texts.add(&p.offer.id)).collect(),
            region: placed.iter().map(|p| texts.add(&p.offer.region)).collect(),
            zone: placed.iter().map(|p| texts.add(&p.offer.zone)).collect(),
            size: placed.iter().map(|p| texts.add(&p.offer.size)).collect(),
            accelerator: placed
                .iter()
                .map(|p| texts.add(&p.offer.accelerator))
                .collect(),
            source: placed.iter().map(|p| texts.add(&p.offer.source)).collect(),
            cpu: col(placed, |o| o.cpu.0),
            accelerator_count: col(placed, |o| o.accelerator_count),
            capacity: col(placed, |o| o.capacity),
            price_unit: col(placed, |o| match o.price_unit {
                PriceUnit::Instance => 0,
                PriceUnit::Cpu => 1,
                PriceUnit::CpuMemory => 2,
            }),
            shared: col(placed, |o| o.shared),
            spot: col(placed, |o| o.spot),
            memory: col(placed, |o| o.memory.0),
            disk: col(placed, |o| o.disk.0),
            accelerator_memory: col(placed, |o| o.accelerator_memory.0),
            price: col(placed, |o| o.price.0),
            memory_price: col(placed, |o| o.memory_price.0),
            setup_price: col(placed, |o| o.setup_price.0),
            egress_price: col(placed, |o| o.egress_price.0),
            free_cpu: col(placed, |o| o.free_cpu),
            free_memory: col(placed, |o| o.free_memory),
            quoted_at: col(placed, |o| o.quoted_at.0),
            qualities: (0..QUALITIES).map(quality).collect(),
            labels: placed
                .iter()
                .map(|p| pairs(&p.offer.labels, texts))
                .collect(),
            metrics: placed
                .iter()
                .map(|p| {
                    p.offer
                        .metrics
                        .iter()
                        .map(|(name, value)| (texts.add(name), *value))
                        .collect()
                })
                .collect(),
        }
    }
}

impl<'a> Reply<'a> {
    fn of(answer: &'a Answer) -> Self {
        let Answer {
            task,
            offer,
            replicas,
            scores,
            unplaced,
            lower_bound,
            note,
        } = answer;
        Self {
            task: Cow::Borrowed(task),
            offer: Cow::Borrowed(offer),
            replicas: Cow::Borrowed(replicas),
            scores: Cow::Borrowed(scores),
            unplaced: unplaced
                .iter()
                .map(|(task, replicas, why)| (*task, *replicas, Cow::Borrowed(why.as_str())))
                .collect(),
            lower_bound: lower_bound.map(|b| b.0),
            note: Cow::Borrowed(note),
        }
    }
}

#[cfg(test)]
mod tests;
