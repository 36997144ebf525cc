//! What a simulation has found, in numbers, rows and curves.

use std::{collections::BTreeMap, io::Write};

use super::{
    Fates, ImpossibleTask, Outcome, PlaceUse, Queue, Series, Summary, Utilization,
    series::{Amounts, Row},
    world::{Fate, World},
};
use crate::chart::{Chart, Curve, Panel, Shape, Unit};
use tradewind_core::{
    plugin::Identity,
    units::{GIB, MicroUsd, Millis},
};

const MOST_IMPOSSIBLE: usize = 20;
const HOUR: f64 = 3_600_000.0;

pub(super) fn outcome(mut world: World<'_>, policy: Identity, decisions: u64) -> Outcome {
    let time = Millis(world.now);
    let places = world.places();
    let (mut tasks, mut impossible) = (Fates::default(), Vec::new());
    for (i, request) in world.requests.iter().enumerate() {
        tasks.total += 1;
        match world.fate(i) {
            Fate::NotArrived => tasks.not_arrived += 1,
            Fate::Ended => tasks.ended += 1,
            Fate::Running => tasks.running += 1,
            Fate::Waiting => tasks.waiting += 1,
            Fate::Impossible(why) => {
                tasks.impossible += 1;
                if impossible.len() < MOST_IMPOSSIBLE {
                    let (namespace, name) = (request.namespace.clone(), request.name.clone());
                    impossible.push(ImpossibleTask {
                        namespace,
                        name,
                        reason: why.to_owned(),
                    });
                }
            }
        }
    }
    let (series, bookings) = (world.ledger.series, world.ledger.bookings);
    let mut by_place: BTreeMap<u32, (u128, MicroUsd)> = BTreeMap::new();
    for b in &bookings {
        let (ran, cost) = by_place.entry(b.place).or_default();
        *ran += u128::from(b.replicas) * u128::from(b.to - b.from);
        *cost = cost.saturating_add(b.cost);
    }
    let of_place = |(n, (ran, cost)): (u32, (u128, MicroUsd))| {
        let place = places.get(n as usize)?.clone();
        Some(PlaceUse {
            place,
            replica_hours: ran as f64 / HOUR,
            cost,
        })
    };
    let mut uses: Vec<PlaceUse> = by_place.into_iter().filter_map(of_place).collect();
    uses.sort_by(|a, b| b.cost.cmp(&a.cost).then_with(|| a.place.cmp(&b.place)));
    let mut all = Row::default();
    series.rows().iter().for_each(|row| all.join(row));
    let [cpu, memory, accelerators] = utilization(&all, time.0);
    let summary = Summary {
        policy,
        time,
        tasks,
        cost: MicroUsd(all.cost),
        places: uses,
        cpu,
        memory,
        accelerators,
        queue: queue(&all, time.0, &mut world.waits),
        preemptions: world.counts.preempted,
        interruptions: world.counts.interrupted,
        moves: world.counts.moved,
        lost_hours: world.counts.lost as f64 / HOUR,
        decisions,
        impossible,
    };
    Outcome {
        summary,
        series,
        bookings,
        places,
    }
}

/// Cores, GiB and accelerators, over so many milliseconds.
fn utilization(row: &Row, time: u64) -> [Utilization; 3] {
    let measures: [fn(&Amounts) -> u128; 3] = [|a| a.cpu, |a| a.memory, |a| a.accelerators];
    let mut out = [Utilization::default(); 3];
    for ((out, of), unit) in out.iter_mut().zip(measures).zip([1000.0, GIB as f64, 1.0]) {
        let average = |a: &Amounts| {
            if time == 0 {
                0.0
            } else {
                of(a) as f64 / unit / time as f64
            }
        };
        let (bounded, capacity) = (of(&row.bounded), of(&row.capacity));
        let share = (capacity > 0).then(|| bounded as f64 / capacity as f64);
        *out = Utilization {
            used: average(&row.used),
            capacity: average(&row.capacity),
            share,
        };
    }
    out
}

fn queue(all: &Row, time: u64, waits: &mut [(Millis, u32)]) -> Queue {
    waits.sort_unstable();
    let total: u64 = waits.iter().map(|(_, n)| u64::from(*n)).sum();
    let quantile = |q: f64| {
        let rank = (q * total as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        let found = waits.iter().find(|(_, n)| {
            seen += u64::from(*n);
            seen >= rank
        });
        found.map_or(Millis(0), |(wait, _)| *wait)
    };
    Queue {
        average: if time == 0 {
            0.0
        } else {
            all.waiting as f64 / time as f64
        },
        most: all.most_waiting,
        waited_half: quantile(0.5),
        waited_90: quantile(0.9),
        waited_99: quantile(0.99),
        waited_longest: quantile(1.0),
    }
}

const HEADER: [&str; 21] = [
    "start_ms",
    "end_ms",
    "cost_usd",
    "cost_per_hour_usd",
    "cumulative_cost_usd",
    "cpu_used",
    "cpu_capacity",
    "cpu_utilization",
    "memory_used_gib",
    "memory_capacity_gib",
    "memory_utilization",
    "accelerators_used",
    "accelerators_capacity",
    "accelerators_utilization",
    "replicas_running",
    "tasks_waiting",
    "most_tasks_waiting",
    "tasks_arrived",
    "tasks_ended",
    "replicas_preempted",
    "replicas_interrupted",
];

/// A row of the series with its beginning and its end: the last one ends with the simulation.
fn spans(series: &Series, time: Millis) -> impl Iterator<Item = (u64, u64, &Row)> {
    let step = series.step().0;
    let span =
        move |(i, row): (u64, _)| (i * step, ((i + 1) * step).min(time.0).max(i * step), row);
    (0u64..).zip(series.rows()).map(span)
}

impl Outcome {
    /// The series as CSV: one row per step, averages over the step but for sums of money and counts. An empty utilisation: no limit is known.
    ///
    /// # Errors
    /// The output can't be written.
    pub fn csv(&self, to: impl Write) -> Result<(), csv::Error> {
        let mut writer = csv::Writer::from_writer(to);
        writer.write_record(HEADER)?;
        let mut cumulative = 0u64;
        for (start, end, row) in spans(&self.series, self.summary.time) {
            let time = end - start;
            cumulative = cumulative.saturating_add(row.cost);
            let per = |n: u128| {
                if time == 0 {
                    0.0
                } else {
                    n as f64 / time as f64
                }
            };
            let mut fields = vec![
                start.to_string(),
                end.to_string(),
                usd(row.cost),
                usd(hourly(row.cost, time)),
                usd(cumulative),
            ];
            for u in utilization(row, time) {
                fields.extend([
                    number(u.used),
                    number(u.capacity),
                    u.share.map_or_else(String::new, number),
                ]);
            }
            fields.extend([per(row.running), per(row.waiting)].map(number));
            fields.extend(
                [
                    row.most_waiting,
                    row.arrived,
                    row.ended,
                    row.preempted,
                    row.interrupted,
                ]
                .map(|n| n.to_string()),
            );
            writer.write_record(&fields)?;
        }
        writer.flush()?;
        Ok(())
    }

    /// The series as curves.
    pub fn chart(&self) -> Chart {
        let s = &self.summary;
        let mut hour_cost = Vec::new();
        let mut sum_cost = vec![(0.0, 0.0)];
        let mut shares: [Vec<(f64, f64)>; 3] = Default::default();
        let (mut waiting, mut preempted, mut interrupted) = (Vec::new(), Vec::new(), Vec::new());
        let mut cumulative = 0u64;
        for (start, end, row) in spans(&self.series, s.time) {
            let (from, to) = (start as f64 / HOUR, end as f64 / HOUR);
            let flat = |curve: &mut Vec<(f64, f64)>, y: f64| curve.extend([(from, y), (to, y)]);
            let time = end - start;
            cumulative = cumulative.saturating_add(row.cost);
            flat(&mut hour_cost, MicroUsd(hourly(row.cost, time)).usd());
            sum_cost.push((to, MicroUsd(cumulative).usd()));
            for (curve, u) in shares.iter_mut().zip(utilization(row, time)) {
                if let Some(share) = u.share {
                    flat(curve, share * 100.0);
                }
            }
            flat(
                &mut waiting,
                if time == 0 {
                    0.0
                } else {
                    row.waiting as f64 / time as f64
                },
            );
            preempted.push((from, f64::from(row.preempted)));
            interrupted.push((from, f64::from(row.interrupted)));
        }
        let line = |name: &str, points| Curve {
            name: name.to_owned(),
            points,
        };
        let [cpu, memory, accelerators] = shares;
        let panel = |title: &str, unit, shape, curves| Panel {
            title: title.to_owned(),
            unit,
            shape,
            curves,
        };
        Chart {
            title: format!(
                "Simulation with {} {}: {} in {}",
                s.policy.plugin, s.policy.version, s.cost, s.time
            ),
            step: self.series.step().hours(),
            to: s.time.hours(),
            panels: vec![
                panel(
                    "Cost per hour",
                    Unit::Usd,
                    Shape::Line,
                    vec![line("cost per hour", hour_cost)],
                ),
                panel(
                    "Cost so far",
                    Unit::Usd,
                    Shape::Line,
                    vec![line("cost so far", sum_cost)],
                ),
                panel(
                    "Utilisation of what has a known limit",
                    Unit::Percent,
                    Shape::Line,
                    vec![
                        line("cores", cpu),
                        line("memory", memory),
                        line("accelerators", accelerators),
                    ],
                ),
                panel(
                    "Tasks that wait",
                    Unit::Count,
                    Shape::Line,
                    vec![line("tasks that wait", waiting)],
                ),
                panel(
                    "Replicas that lost their place",
                    Unit::Count,
                    Shape::Bars,
                    vec![
                        line("to a higher priority", preempted),
                        line("with the offer", interrupted),
                    ],
                ),
            ],
        }
    }
}

/// Micro-USD per hour.
fn hourly(cost: u64, time: u64) -> u64 {
    if time == 0 {
        0
    } else {
        MicroUsd(1).scaled(cost as f64 * HOUR / time as f64).0
    }
}

fn usd(micros: u64) -> String {
    MicroUsd(micros)
        .to_string()
        .trim_start_matches('$')
        .to_owned()
}

fn number(value: f64) -> String {
    format!("{value:.4}")
}
