//! Against every possible answer of thousands of small batches: none is better. `Batch` itself refuses answers that break a limit.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "the helpers of tests are not marked as tests"
)]

use std::collections::BTreeSet;

use balanced::Balanced;
use cheapest::Cheapest;
use fastest::Fastest;
use optimal::Optimal;
use spot::Spot;
use tradewind_plugin_sdk::{
    Policy,
    policy::{Scored, Spread},
    testing::{Batch, OfferSpec, Placement, TaskSpec},
};
use weighted::Weighted;

struct Random(u64);

impl Random {
    fn below(&mut self, below: u32) -> u32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % u64::from(below)) as u32
    }

    fn one_in(&mut self, n: u32) -> bool {
        self.below(n) == 0
    }
}

struct Offer {
    cents: u32,
    zone: u32,
    capacity: u32,
    /// Free cores and GiB of a shared one.
    shared: Option<(u32, u32)>,
}

#[derive(Default)]
struct Task {
    replicas: u32,
    cores: u32,
    gib: u32,
    priority: i32,
    zone_max: Option<u32>,
    max_cents: Option<u32>,
    together: bool,
    apart: bool,
    held: Vec<u32>,
    moving: u32,
}

struct Instance {
    offers: Vec<Offer>,
    tasks: Vec<Task>,
}

impl Instance {
    fn new(random: &mut Random) -> Self {
        let offers = (0..1 + random.below(4))
            .map(|_| Offer {
                cents: 1 + random.below(12),
                zone: random.below(3),
                capacity: random.below(4),
                shared: random.one_in(3).then(|| (random.below(7), random.below(7))),
            })
            .collect::<Vec<_>>();
        let task = |random: &mut Random| Task {
            replicas: 1 + random.below(3),
            cores: 1 + random.below(3),
            gib: 1 + random.below(3),
            priority: if random.one_in(3) { 1 } else { 0 },
            zone_max: random.one_in(4).then(|| 1 + random.below(2)),
            max_cents: random.one_in(5).then(|| random.below(25)),
            together: random.one_in(4),
            apart: random.one_in(4),
            held: offers
                .iter()
                .map(|_| if random.one_in(6) { random.below(3) } else { 0 })
                .collect(),
            moving: random.below(6),
        };
        let tasks = (0..1 + random.below(3)).map(|_| task(random)).collect();
        Self { offers, tasks }
    }

    fn batch(&self) -> Batch {
        let mut batch = Batch::new();
        for (i, offer) in self.offers.iter().enumerate() {
            let zone = format!("z{}", offer.zone);
            let spec = OfferSpec::new(&format!("o{i}"), f64::from(offer.cents) / 100.0)
                .place("r", &zone)
                .capacity(offer.capacity);
            batch = batch.offer(spec.with(|spec| {
                if let Some((cores, gib)) = offer.shared {
                    (spec.shared, spec.free_cpu, spec.free_memory) =
                        (true, u64::from(cores) * 1000, u64::from(gib) << 30);
                }
            }));
        }
        for (i, task) in self.tasks.iter().enumerate() {
            let mut spec = TaskSpec::new(&format!("t{i}"), task.replicas)
                .needs(task.cores * 1000, u64::from(task.gib) << 30);
            spec = spec
                .priority(task.priority)
                .migration_cost(f64::from(task.moving) / 100.0);
            spec = task
                .zone_max
                .into_iter()
                .fold(spec, |spec, most| spec.spread(Spread::Zone, most));
            spec = task
                .max_cents
                .into_iter()
                .fold(spec, |spec, most| spec.max_hourly(f64::from(most) / 100.0));
            spec = if task.together {
                spec.affinity("with", Spread::Zone)
            } else {
                spec
            };
            spec = if task.apart {
                spec.anti_affinity("without", Spread::Zone)
            } else {
                spec
            };
            let held = task.held.iter().enumerate().filter(|(_, held)| **held > 0);
            batch = batch.task(held.fold(spec, |spec, (offer, held)| {
                spec.runs_on(&format!("o{offer}"), *held)
            }));
        }
        batch
    }

    /// What an answer leaves of the high and of the low priority, and its cost in cents, moves included; none for one that is not allowed.
    fn judge(&self, answer: &[Vec<u32>]) -> Option<([u32; 2], u32)> {
        let (mut left, mut cost) = ([0, 0], 0);
        for (task, counts) in self.tasks.iter().zip(answer) {
            let placed: u32 = counts.iter().sum();
            left[usize::from(task.priority == 0)] += task.replicas.checked_sub(placed)?;
            let hourly: u32 = counts
                .iter()
                .zip(&self.offers)
                .map(|(n, offer)| n * offer.cents)
                .sum();
            let in_zone = |zone: u32| {
                counts
                    .iter()
                    .zip(&self.offers)
                    .filter(|(_, o)| o.zone == zone)
                    .map(|(n, _)| *n)
                    .sum::<u32>()
            };
            let most = task.zone_max.unwrap_or(u32::MAX);
            if hourly > task.max_cents.unwrap_or(u32::MAX)
                || (0..3).any(|zone| in_zone(zone) > most)
            {
                return None;
            }
            let stay: u32 = counts
                .iter()
                .zip(&task.held)
                .map(|(n, held)| *n.min(held))
                .sum();
            cost +=
                hourly + task.moving * (task.held.iter().sum::<u32>().min(task.replicas) - stay);
        }
        let added = |t: usize, o: usize| answer[t][o].saturating_sub(self.tasks[t].held[o]);
        for (o, offer) in self.offers.iter().enumerate() {
            let sum = |each: fn(&Task) -> u32| {
                (0..self.tasks.len())
                    .map(|t| added(t, o) * each(&self.tasks[t]))
                    .sum::<u32>()
            };
            let (cores, gib) = offer.shared.unwrap_or((u32::MAX, u32::MAX));
            if sum(|_| 1) > offer.capacity
                || sum(|task| task.cores) > cores
                || sum(|task| task.gib) > gib
            {
                return None;
            }
        }
        let zones = |t: usize| {
            (0..self.offers.len())
                .filter(|o| answer[t][*o] > 0)
                .map(|o| self.offers[o].zone)
                .collect::<BTreeSet<u32>>()
        };
        let all: Vec<BTreeSet<u32>> = (0..self.tasks.len()).map(zones).collect();
        let together = all
            .iter()
            .zip(&self.tasks)
            .filter(|(_, task)| task.together)
            .flat_map(|(zones, _)| zones);
        if together.collect::<BTreeSet<_>>().len() > 1 {
            return None;
        }
        let apart: Vec<&u32> = all
            .iter()
            .zip(&self.tasks)
            .filter(|(_, task)| task.apart)
            .flat_map(|(zones, _)| zones)
            .collect();
        (apart.iter().collect::<BTreeSet<_>>().len() == apart.len()).then_some((left, cost))
    }

    /// The best of all answers.
    fn best(&self) -> ([u32; 2], u32) {
        let ways: Vec<Vec<Vec<u32>>> = self
            .tasks
            .iter()
            .map(|task| shares(task.replicas, self.offers.len()))
            .collect();
        let mut best = ([u32::MAX; 2], u32::MAX);
        let mut at = vec![0; ways.len()];
        loop {
            let answer: Vec<Vec<u32>> = at
                .iter()
                .zip(&ways)
                .map(|(i, ways)| ways[*i].clone())
                .collect();
            best = self.judge(&answer).map_or(best, |judged| judged.min(best));
            let Some(next) = (0..at.len()).find(|t| at[*t] + 1 < ways[*t].len()) else {
                return best;
            };
            at[next] += 1;
            at[..next].fill(0);
        }
    }

    fn of(&self, placed: &Placement) -> Vec<Vec<u32>> {
        let mut answer = vec![vec![0; self.offers.len()]; self.tasks.len()];
        placed
            .answer
            .choices()
            .for_each(|(task, offer, replicas)| answer[task as usize][offer as usize] = replicas);
        answer
    }
}

/// Every way to share up to so many replicas among so many offers.
fn shares(replicas: u32, offers: usize) -> Vec<Vec<u32>> {
    if offers == 0 {
        return vec![Vec::new()];
    }
    let one = |first: u32| {
        shares(replicas - first, offers - 1)
            .into_iter()
            .map(move |rest| [vec![first], rest].concat())
    };
    (0..=replicas).flat_map(one).collect()
}

#[test]
fn no_answer_is_better() {
    let mut random = Random(20_260_101);
    for round in 0..3000 {
        let instance = Instance::new(&mut random);
        let batch = instance.batch();
        let placed = batch.place::<Optimal>(r#"{"sticky": false}"#).unwrap();
        let best = instance.best();
        let note = &placed.answer.note;
        assert_eq!(
            instance.judge(&instance.of(&placed)),
            Some(best),
            "round {round}: {note}: {placed:#?}"
        );
        assert_eq!(
            placed.answer.lower_bound,
            Some(u64::from(best.1) * 10_000),
            "round {round}: {note}"
        );
        assert!(
            note.contains("least possible") && !note.contains("not proven"),
            "round {round}: {note}"
        );
        if round % 10 == 0 {
            let again = batch.place::<Optimal>(r#"{"sticky": false}"#).unwrap();
            assert_eq!(
                again.answer, placed.answer,
                "round {round}: the same request, the same answer"
            );
            let sticky = batch.place::<Optimal>("{}").unwrap();
            assert!(
                instance
                    .judge(&instance.of(&sticky))
                    .is_some_and(|judged| judged >= best),
                "round {round}"
            );
        }
    }
}

/// It breaks no limit, and the same request gets the same answer.
fn holds<P: Policy>(name: &str, round: u32, instance: &Instance, batch: &Batch) {
    let placed = batch.place::<P>("{}").unwrap();
    assert!(
        instance.judge(&instance.of(&placed)).is_some(),
        "{name}, round {round}: {placed:#?}"
    );
    assert_eq!(
        batch.place::<P>("{}").unwrap().answer,
        placed.answer,
        "{name}, round {round}"
    );
}

#[test]
fn no_policy_breaks_a_limit() {
    let mut random = Random(20_260_102);
    for round in 0..3000 {
        let instance = Instance::new(&mut random);
        let batch = instance.batch();
        holds::<Scored<Cheapest>>("cheapest", round, &instance, &batch);
        holds::<Scored<Fastest>>("fastest", round, &instance, &batch);
        holds::<Weighted>("weighted", round, &instance, &batch);
        holds::<Balanced>("balanced", round, &instance, &batch);
        holds::<spread::Spread>("spread", round, &instance, &batch);
        holds::<Spot>("spot", round, &instance, &batch);
    }
}
