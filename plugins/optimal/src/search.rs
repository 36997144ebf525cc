//! The search: a greedy answer first, then the flow that bounds it, then the integer program for what is still open. Whatever happens, the
//! best answer so far is there, with what is proven about it.

use tradewind_plugin_sdk::Request;

use crate::{
    model::{COST_MAX, Model},
    polish,
    prices::{self, Prices},
    program::{self, Goal},
    relaxation::{self, Relaxed},
    trial::{self, Trial},
};

/// The most columns of one integer program. With more the best ones by reduced cost take part, and the flow's bound is all that is proven.
const COLUMNS: usize = 1500;

/// More classes than this are left to small changes, unless their replicas have ties.
const CLASSES: usize = 64;

/// What was found.
pub(crate) struct Result<'a> {
    pub(crate) best: Trial<'a>,
    /// Micro-USD that no answer with as few replicas left over can cost less than.
    pub(crate) bound: i64,
    /// No answer leaves fewer replicas over.
    pub(crate) placed_most: bool,
    /// Branches of the integer programs.
    pub(crate) nodes: u64,
    /// What kept the search from its end besides the limit.
    pub(crate) trouble: Option<String>,
}

struct Search<'m, 'a> {
    model: &'m Model<'a>,
    best: Trial<'a>,
    sticky: bool,
    node_limit: u64,
    nodes: u64,
    trouble: Option<String>,
}

/// Places a batch, looking at no more than so many branches of each integer program.
pub(crate) fn run(request: &Request, sticky: bool, node_limit: u64) -> Result<'_> {
    let model = Model::new(request, trial::kept(request, sticky).ledger);
    let best = Trial::greedy(&model, sticky);
    let mut search = Search {
        model: &model,
        best,
        sticky,
        node_limit,
        nodes: 0,
        trouble: None,
    };
    let placed_most = search.place_most();
    let bound = search.cost_least();
    Result {
        bound: bound.min(search.best.cost),
        best: search.best,
        placed_most,
        nodes: search.nodes,
        trouble: search.trouble,
    }
}

impl<'a> Search<'_, 'a> {
    /// Leaves as few replicas as can be without a place, the highest priority first. Says whether that is proven.
    fn place_most(&mut self) -> bool {
        if self.best.missing.iter().all(|missing| *missing == 0)
            || relaxation::least_unplaced(self.model, &self.best.missing) == self.best.missing
        {
            return true;
        }
        let open: Vec<i64> = self
            .model
            .columns()
            .map(|(_, column)| column.cost)
            .collect();
        let (open, all) = self.open(&open, i64::MAX);
        let mut proven = true;
        for level in 0..self.model.levels {
            if self
                .best
                .missing
                .get(level)
                .is_none_or(|missing| *missing == 0)
            {
                continue;
            }
            let known: Vec<u32> = self.best.missing.iter().take(level).copied().collect();
            let found = self.solve(Goal::Unplaced(level), &known, &open);
            let least = found.bound.map_or(0, |bound| bound.ceil().max(0.0) as u32);
            proven &= all
                && (found.proven
                    || self
                        .best
                        .missing
                        .get(level)
                        .is_some_and(|missing| *missing <= least));
        }
        proven
    }

    /// Brings the cost down as far as it goes with as few replicas left. Returns what it can't be less than.
    fn cost_least(&mut self) -> i64 {
        let Some(relaxed) = relaxation::cheapest(self.model, &self.best.missing) else {
            return 0;
        };
        let fixed = fixed_cost(self.model);
        let bound = relaxed.cost + fixed;
        self.consider(&relaxed.counts);
        let gap = self.best.cost - bound;
        if gap <= 0 {
            return bound;
        }
        // The least that an answer with a replica in a column costs.
        let mut with: Vec<i64> = relaxed
            .reduced
            .iter()
            .map(|reduced| bound + reduced)
            .collect();
        let mut bound = bound;
        if prices::matter(self.model)
            && let Some(prices) = self.raise(&relaxed, fixed)
        {
            bound = bound.max(prices.bound + fixed);
            for (with, reduced) in with.iter_mut().zip(prices.reduced(self.model)) {
                *with = (*with).max(prices.bound.saturating_add(fixed).saturating_add(reduced));
            }
        }
        if self.best.cost <= bound {
            return bound;
        }
        let (open, all) = self.open(&with, self.best.cost);
        if !all
            && self.model.classes.len() > CLASSES
            && self.model.classes.iter().all(polish::is_free)
        {
            // A part of the columns proves nothing, and where few of them are a class's own small changes find as much, sooner.
            return bound;
        }
        let known = self.best.missing.clone();
        let found = self.solve(Goal::Cost, &known, &open);
        // An answer with a column that was shut for its reduced cost is no better than the best one.
        match found.bound {
            Some(_) if all && found.proven => self.best.cost,
            Some(value) if all => bound.max(value.floor() as i64 + fixed),
            _ => bound,
        }
    }

    /// A better bound by prices for room, and the answers that the prices lead to.
    fn raise(&mut self, relaxed: &Relaxed, fixed: i64) -> Option<Prices> {
        let (model, sticky) = (self.model, self.sticky);
        let (known, cost) = (self.best.missing.clone(), self.best.cost - fixed);
        prices::raise(model, &known, relaxed, cost, |prices| {
            let trial = Trial::priced(model, sticky, prices);
            if let Some(counts) = polish::improve(model, &trial.counts(model)) {
                self.consider(&counts);
            }
            self.take(trial);
            self.best.cost - fixed
        })
    }

    fn solve(&mut self, goal: Goal, unplaced: &[u32], open: &[bool]) -> program::Found {
        let start = self.best.counts(self.model);
        let task = program::Task {
            goal,
            unplaced,
            open,
            start: Some(&start),
            nodes: self.node_limit,
        };
        let found = program::solve(self.model, &task);
        self.nodes += found.nodes;
        if let Some(failure) = &found.failure {
            self.trouble = Some(format!("the solver gave up: {failure}"));
        }
        if let Some(counts) = &found.counts {
            self.consider(counts);
        }
        found
    }

    fn consider(&mut self, counts: &[u32]) {
        self.take(Trial::of(self.model, counts));
    }

    fn take(&mut self, trial: Trial<'a>) {
        if trial.is_better_than(&self.best) {
            self.best = trial;
        }
    }

    /// The columns that an integer program looks at: those whose weight is within the gap, the lightest and the best answer's own where
    /// that is too many; and whether those are all.
    fn open(&mut self, weights: &[i64], gap: i64) -> (Vec<bool>, bool) {
        let mut within: Vec<i64> = weights
            .iter()
            .copied()
            .filter(|weight| *weight <= gap)
            .collect();
        if within.len() <= COLUMNS {
            return (weights.iter().map(|weight| *weight <= gap).collect(), true);
        }
        let (_, most, _) = within.select_nth_unstable(COLUMNS - 1);
        let most = *most;
        self.trouble = Some(format!(
            "only {COLUMNS} of {} columns were looked at",
            within.len()
        ));
        let own = self.best.counts(self.model);
        (
            weights
                .iter()
                .zip(own)
                .map(|(weight, own)| *weight < most || own > 0)
                .collect(),
            false,
        )
    }
}

/// What the model leaves out of the cost: what stays where it is, and what the model counts for moves that are none.
fn fixed_cost(model: &Model<'_>) -> i64 {
    let of_task = |(task, base): (tradewind_plugin_sdk::policy::Task<'_>, &Vec<(u32, u32)>)| {
        let each = |offer: u32| {
            task.shape()
                .candidate(offer)
                .map_or(0, |candidate| candidate.cost().min(COST_MAX) as i64)
        };
        let base: i64 = base
            .iter()
            .map(|(offer, replicas)| each(*offer) * i64::from(*replicas))
            .sum();
        let holds = task.current().any(|current| current.replicas > 0);
        let moves = if holds {
            trial::migration(task) * (i64::from(trial::movable(task)) - i64::from(task.replicas()))
        } else {
            0
        };
        base + moves
    };
    model.request.tasks().zip(&model.base).map(of_task).sum()
}
