//! From the kept form back to the domain's types. What does not fit is told; nothing is guessed.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use super::{Error, Offers, Reply, Rows, ShapeRow, TaskRow, Wire, damaged};
use crate::{
    base::{
        names::{Digest, NameError},
        units::{Bytes, Instant, MicroUsd, MilliCpu, Millis},
        version::Identity,
    },
    schedule::placement::{
        Recorded,
        recorded::{Excluded, Measure, ShapeLimits},
    },
    spec::{
        offer::{Offer, PriceUnit},
        policy_call::{Answer, Candidates, Expected, PlacedOffer, Request, Shape, Spread, Task},
        workload::{Accelerator, Resources},
    },
};

impl Wire<'_> {
    pub(super) fn recorded(self) -> Result<Recorded, Error> {
        let texts: Vec<Arc<str>> = self.texts.into_iter().map(Arc::from).collect();
        let name = |e: NameError| damaged(e);
        let (shapes, limits) = self
            .shapes
            .into_iter()
            .map(|row| row.shape(&texts))
            .collect::<Result<Vec<_>, _>>()?
            .into_iter()
            .unzip();
        Ok(Recorded {
            at: Instant(self.at),
            policy: Identity {
                instance: self.policy.instance.try_into().map_err(name)?,
                plugin: self.policy.plugin,
                version: self.policy.version,
                component: Digest::from_bytes(self.policy.component),
                settings: Digest::from_bytes(self.policy.settings),
            },
            request: Request {
                seed: self.seed,
                tasks: self
                    .tasks
                    .into_iter()
                    .map(|row| row.task(&texts))
                    .collect::<Result<_, _>>()?,
                shapes,
                candidates: self.candidates.candidates(),
                offers: Arc::new(self.offers.placed(&texts)?),
            },
            limits,
            answer: self.answer.answer(),
        })
    }
}

fn text(texts: &[Arc<str>], number: u32) -> Result<&Arc<str>, Error> {
    texts
        .get(number as usize)
        .ok_or_else(|| damaged(format!("it has no text {number}")))
}

fn parsed<T: TryFrom<String, Error = NameError>>(
    texts: &[Arc<str>],
    number: u32,
) -> Result<T, Error> {
    T::try_from(text(texts, number)?.to_string()).map_err(damaged)
}

fn map(texts: &[Arc<str>], pairs: Vec<(u32, u32)>) -> Result<BTreeMap<String, String>, Error> {
    pairs
        .into_iter()
        .map(|(k, v)| Ok((text(texts, k)?.to_string(), text(texts, v)?.to_string())))
        .collect()
}

fn sums(differences: Vec<u32>) -> Vec<u32> {
    let mut sum = 0u32;
    let add = |n: u32| {
        sum = sum.wrapping_add(n);
        sum
    };
    differences.into_iter().map(add).collect()
}

pub(super) fn spread_of(code: u8) -> Result<Spread, Error> {
    let all = [Spread::None, Spread::Zone, Spread::Region, Spread::Provider];
    all.get(code as usize)
        .copied()
        .ok_or_else(|| damaged(format!("{code} is no spread")))
}

impl TaskRow {
    fn task(self, texts: &[Arc<str>]) -> Result<Task, Error> {
        Ok(Task {
            namespace: parsed(texts, self.namespace)?,
            deployment: parsed(texts, self.deployment)?,
            name: parsed(texts, self.name)?,
            shape: self.shape,
            replicas: self.replicas,
            priority: self.priority,
            job: self.job,
            spread: spread_of(self.spread)?,
            spread_max: self.spread_max,
            max_hourly: MicroUsd(self.max_hourly),
            current: self.current,
            labels: map(texts, self.labels)?,
            // Kept behind the rest.
            affinity: None,
            anti_affinity: None,
            deadline: None,
            expected: Expected::default(),
        })
    }
}

impl ShapeRow {
    fn shape(self, texts: &[Arc<str>]) -> Result<(Shape, ShapeLimits), Error> {
        let accelerator = |(kind, count, memory): (u32, u32, u64)| {
            Ok::<_, Error>(Accelerator {
                kind: text(texts, kind)?.to_string(),
                count,
                memory: Bytes(memory),
            })
        };
        let excluded = |(reason, measure, offers): (u32, u8, Vec<u32>)| {
            Ok::<_, Error>(Excluded {
                reason: text(texts, reason)?.to_string(),
                measure: measure_of(measure)?,
                offers: sums(offers),
            })
        };
        let resources = Resources {
            cpu: MilliCpu(self.cpu),
            memory: Bytes(self.memory),
            disk: Bytes(self.disk),
            accelerators: self
                .accelerators
                .into_iter()
                .map(accelerator)
                .collect::<Result<_, _>>()?,
        };
        let limits = ShapeLimits {
            max_hourly: self.max_hourly.map(MicroUsd),
            excluded: self
                .excluded
                .into_iter()
                .map(excluded)
                .collect::<Result<_, _>>()?,
        };
        Ok((
            Shape {
                resources,
                duration: Millis(self.duration),
            },
            limits,
        ))
    }
}

pub(super) fn measure_of(code: u8) -> Result<Measure, Error> {
    let all = [
        Measure::Nothing,
        Measure::Provider,
        Measure::Region,
        Measure::Cpu,
        Measure::Memory,
        Measure::Disk,
        Measure::Accelerator,
        Measure::Hourly,
        Measure::Capacity,
        Measure::Quote,
    ];
    all.get(code as usize)
        .copied()
        .ok_or_else(|| damaged(format!("{code} is no measure")))
}

impl Rows<'_> {
    fn candidates(self) -> Candidates {
        let cost = self.cost.into_owned();
        Candidates {
            start: self.start.into_owned(),
            offer: sums(self.offer),
            expected: self.expected.map_or_else(|| cost.clone(), Cow::into_owned),
            cost,
            hourly: self.hourly.into_owned(),
            units: self.units.into_owned(),
            hours: self.hours.into_owned(),
        }
    }
}

/// A column's value in one row.
fn at<T: Clone>(column: &[T], row: usize) -> Result<T, Error> {
    column
        .get(row)
        .cloned()
        .ok_or_else(|| damaged("its columns differ in length"))
}

impl Offers {
    fn placed(mut self, texts: &[Arc<str>]) -> Result<Vec<PlacedOffer>, Error> {
        let mut labels = std::mem::take(&mut self.labels).into_iter();
        let mut metrics = std::mem::take(&mut self.metrics).into_iter();
        let mut all = Vec::with_capacity(self.provider.len());
        for (row, provider) in self.provider.iter().enumerate() {
            let shared = |column: &[u32]| text(texts, at(column, row)?).cloned();
            let quality = |i: usize| at(self.qualities.get(i).map_or(&[][..], Vec::as_slice), row);
            let metric =
                |(name, value): (u32, f64)| Ok::<_, Error>((text(texts, name)?.clone(), value));
            let offer = Offer {
                id: shared(&self.id)?,
                region: shared(&self.region)?,
                zone: shared(&self.zone)?,
                size: shared(&self.size)?,
                cpu: MilliCpu(at(&self.cpu, row)?),
                memory: Bytes(at(&self.memory, row)?),
                disk: Bytes(at(&self.disk, row)?),
                accelerator: shared(&self.accelerator)?,
                accelerator_count: at(&self.accelerator_count, row)?,
                accelerator_memory: Bytes(at(&self.accelerator_memory, row)?),
                price: MicroUsd(at(&self.price, row)?),
                price_unit: match at(&self.price_unit, row)? {
                    0 => PriceUnit::Instance,
                    1 => PriceUnit::Cpu,
                    2 => PriceUnit::CpuMemory,
                    other => return Err(damaged(format!("{other} is no unit of a price"))),
                },
                memory_price: MicroUsd(at(&self.memory_price, row)?),
                setup_price: MicroUsd(at(&self.setup_price, row)?),
                egress_price: MicroUsd(at(&self.egress_price, row)?),
                shared: at(&self.shared, row)?,
                capacity: at(&self.capacity, row)?,
                free_cpu: at(&self.free_cpu, row)?,
                free_memory: at(&self.free_memory, row)?,
                spot: at(&self.spot, row)?,
                performance: quality(0)?,
                availability: quality(1)?,
                latency: quality(2)?,
                bandwidth: quality(3)?,
                interruption_rate: quality(4)?,
                failure_rate: quality(5)?,
                time_to_ready: quality(6)?,
                load: quality(7)?,
                carbon: quality(8)?,
                source: shared(&self.source)?,
                quoted_at: Instant(at(&self.quoted_at, row)?),
                labels: map(texts, labels.next().unwrap_or_default())?,
                metrics: metrics
                    .next()
                    .unwrap_or_default()
                    .into_iter()
                    .map(metric)
                    .collect::<Result<_, _>>()?,
            };
            all.push(PlacedOffer {
                provider: parsed(texts, *provider)?,
                offer,
            });
        }
        Ok(all)
    }
}

impl Reply<'_> {
    fn answer(self) -> Answer {
        Answer {
            task: self.task.into_owned(),
            offer: self.offer.into_owned(),
            replicas: self.replicas.into_owned(),
            scores: self.scores.into_owned(),
            unplaced: self
                .unplaced
                .into_iter()
                .map(|(task, replicas, why)| (task, replicas, why.into_owned()))
                .collect(),
            lower_bound: self.lower_bound.map(MicroUsd),
            note: self.note.into_owned(),
        }
    }
}
