//! An answer as it would really be: placed in the ledger, which keeps every limit, and judged by what it leaves and costs.

use std::collections::HashMap;

use tradewind_plugin_sdk::{
    Ledger, Ranking, Request,
    policy::{Candidate, Placing, Task},
};

use crate::{
    model::{COST_MAX, Model},
    prices::Prices,
};

/// An answer. The better of two leaves fewer replicas of the highest priority where they differ, or costs less.
pub(crate) struct Trial<'a> {
    pub(crate) ledger: Ledger<'a>,
    /// Replicas without a place, priority by priority.
    pub(crate) missing: Vec<u32>,
    /// Micro-USD, moves included.
    pub(crate) cost: i64,
}

/// What stays where it runs, by the rules of a ranking by cost.
pub(crate) fn kept(request: &Request, sticky: bool) -> Placing<'_> {
    let mut placing = Ranking::by(request, |candidate| candidate.cost_usd())
        .sticky(sticky)
        .start(request);
    for task in request.tasks_by_priority() {
        placing.keep(task, u32::MAX, |_| true);
    }
    placing
}

impl<'a> Trial<'a> {
    /// Task after task to the cheapest place that is left: an answer that is always there.
    pub(crate) fn greedy(model: &Model<'a>, sticky: bool) -> Self {
        let mut placing = kept(model.request, sticky);
        for task in model.request.tasks_by_priority() {
            placing.fill(task, u32::MAX, |_| true);
        }
        Self::judge(model, placing.ledger)
    }

    /// Task after task to the place that is cheapest with what its room is worth, the largest first.
    pub(crate) fn priced(model: &Model<'a>, sticky: bool, prices: &Prices) -> Self {
        let mut known = vec![f64::NAN; model.request.candidates().len()];
        for (shape, candidate) in model
            .request
            .shapes()
            .flat_map(|shape| shape.candidates().map(move |candidate| (shape, candidate)))
        {
            if let Some(price) = known.get_mut(candidate.row() as usize) {
                let room = prices.room(
                    candidate.offer().index(),
                    (u64::from(shape.cpu()), shape.memory()),
                );
                *price = candidate.cost() as f64 + room;
            }
        }
        let price = |candidate: Candidate<'a>| {
            known
                .get(candidate.row() as usize)
                .copied()
                .unwrap_or(f64::NAN)
        };
        let mut placing = Ranking::by(model.request, price).start(model.request);
        placing.ledger = kept(model.request, sticky).ledger;
        let mut tasks: Vec<Task<'a>> = model.request.tasks_by_priority().collect();
        let most =
            |size: fn(Task<'_>) -> f64| tasks.iter().map(|task| size(*task)).fold(1.0, f64::max);
        let (cpu, memory) = (
            most(|task| f64::from(task.shape().cpu())),
            most(|task| task.shape().memory() as f64),
        );
        let size = |task: &Task<'_>| {
            f64::from(task.shape().cpu()) / cpu + task.shape().memory() as f64 / memory
        };
        tasks.sort_by(|a, b| {
            b.priority()
                .cmp(&a.priority())
                .then(size(b).total_cmp(&size(a)))
        });
        for task in tasks {
            placing.fill(task, u32::MAX, |_| true);
        }
        Self::judge(model, placing.ledger)
    }

    /// Replicas of each column as far as they fit, and then every replica that is left to the cheapest place that is left.
    pub(crate) fn of(model: &Model<'a>, counts: &[u32]) -> Self {
        let mut placing =
            Ranking::by(model.request, |candidate| candidate.cost_usd()).start(model.request);
        for (task, offer, replicas) in model.choices(counts) {
            if let Some(task) = model.request.task(task)
                && let Some(candidate) = task.shape().candidate(offer)
            {
                placing.ledger.place(task, candidate, replicas);
            }
        }
        for task in model.request.tasks_by_priority() {
            placing.fill(task, u32::MAX, |_| true);
        }
        Self::judge(model, placing.ledger)
    }

    fn judge(model: &Model<'a>, ledger: Ledger<'a>) -> Self {
        let mut missing = vec![0; model.levels];
        for class in &model.classes {
            if let Some(level) = missing.get_mut(class.level) {
                *level += class
                    .tasks
                    .iter()
                    .map(|task| ledger.missing(*task))
                    .sum::<u32>();
            }
        }
        let cost = model.request.tasks().map(|task| cost(task, &ledger)).sum();
        Self {
            ledger,
            missing,
            cost,
        }
    }

    pub(crate) fn is_better_than(&self, other: &Self) -> bool {
        (&self.missing, self.cost) < (&other.missing, other.cost)
    }

    /// Replicas of each of the model's columns.
    pub(crate) fn counts(&self, model: &Model<'_>) -> Vec<u32> {
        let mut counts = Vec::with_capacity(model.columns().count());
        for class in &model.classes {
            let mut added: HashMap<u32, u32> = HashMap::new();
            for task in &class.tasks {
                self.ledger
                    .choices(*task)
                    .for_each(|(offer, replicas)| *added.entry(offer).or_default() += replicas);
                let base = model.base.get(task.index() as usize).into_iter().flatten();
                base.for_each(|(offer, replicas)| *added.entry(*offer).or_default() -= replicas);
            }
            for column in &class.columns {
                let left = added.entry(column.offer).or_default();
                let count = column.upper.min(*left);
                *left -= count;
                counts.push(count);
            }
        }
        counts
    }
}

/// What the task's choices cost, and its moves.
fn cost(task: Task<'_>, ledger: &Ledger<'_>) -> i64 {
    let mut total = 0;
    let mut stay = 0;
    for (offer, replicas) in ledger.choices(task) {
        let each = task
            .shape()
            .candidate(offer)
            .map_or(0, |candidate| candidate.cost().min(COST_MAX) as i64);
        total += each * i64::from(replicas);
        stay += replicas.min(task.held(offer));
    }
    total + migration(task) * i64::from(movable(task).saturating_sub(stay))
}

/// What moving one replica of a task costs, in micro-USD.
pub(crate) fn migration(task: Task<'_>) -> i64 {
    task.migration_cost().min(COST_MAX) as i64
}

/// How many replicas of a task could stay where they are.
pub(crate) fn movable(task: Task<'_>) -> u32 {
    task.current()
        .map(|current| current.replicas)
        .fold(0, u32::saturating_add)
        .min(task.replicas())
}
