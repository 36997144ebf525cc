//! The batch as an integer program with all its limits, for the solver. One unit of a variable is one replica.

use std::collections::BTreeMap;

use microlp::{ComparisonOp, OptimizationDirection, Problem, SolveOptions, SolveOutcome, Variable};
use tradewind_plugin_sdk::{Ledger, policy::Domain};

use crate::model::{Class, Model};

/// What shall be least.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Goal {
    /// The replicas of this priority without a place.
    Unplaced(usize),
    /// The cost.
    Cost,
}

/// What the solver is given besides the batch.
#[derive(Debug)]
pub(crate) struct Task<'a> {
    pub(crate) goal: Goal,
    /// The most replicas of each priority without a place, as far as known.
    pub(crate) unplaced: &'a [u32],
    /// The columns that may be used.
    pub(crate) open: &'a [bool],
    /// Replicas of each column to begin with.
    pub(crate) start: Option<&'a [u32]>,
    pub(crate) nodes: u64,
}

/// What the solver found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Replicas of each column.
    pub(crate) counts: Option<Vec<u32>>,
    /// What the goal can't be less than, if anything is known. Shut columns are not considered.
    pub(crate) bound: Option<f64>,
    /// The counts are the optimum.
    pub(crate) proven: bool,
    /// Branches that were looked at.
    pub(crate) nodes: u64,
    /// Why the solver found nothing.
    pub(crate) failure: Option<String>,
}

/// The largest difference between what the solver says and what is: its tolerance, in units of the goal.
const TOLERANCE: f64 = 1e-6;

/// Variables of a limit, with how much of it one unit takes and how many units there may be.
type Row = Vec<(Variable, u64, u32)>;

struct Program<'m, 'a> {
    model: &'m Model<'a>,
    problem: Problem,
    /// One for each column that may be used.
    columns: Vec<Option<Variable>>,
    skips: Vec<Option<Variable>>,
}

pub(crate) fn solve(model: &Model<'_>, task: &Task<'_>) -> Found {
    let mut program = Program::new(model, task);
    // Costs count from the cheapest column of each class on, so that what is compared stays small.
    let fixed = match task.goal {
        Goal::Unplaced(_) => 0,
        Goal::Cost => model
            .classes
            .iter()
            .map(|class| least(class) * i64::from(class.demand))
            .sum::<i64>(),
    };
    program.limit(task);
    let mut options = SolveOptions::default();
    options.node_limit = Some(task.nodes);
    options.warm_start = task.start.map(|start| program.hint(start));
    let outcome = match program.problem.solve_with(options) {
        Ok(outcome) => outcome,
        Err(error) => {
            return Found {
                failure: Some(error.to_string()),
                ..Found::default()
            };
        }
    };
    let stats = outcome.stats();
    let bound = stats
        .best_bound
        .map(|bound| bound - TOLERANCE * (1.0 + bound.abs()) + fixed as f64);
    let proven = outcome.is_optimal();
    let SolveOutcome::Solution(solution) = outcome else {
        return Found {
            bound,
            nodes: stats.nodes_solved,
            ..Found::default()
        };
    };
    let count = |variable: &Option<Variable>| {
        variable.map_or(0, |variable| solution.var_value(variable).round() as u32)
    };
    Found {
        counts: Some(program.columns.iter().map(count).collect()),
        bound,
        proven,
        nodes: stats.nodes_solved,
        failure: None,
    }
}

/// The cheapest that a replica of a class can be.
fn least(class: &Class<'_>) -> i64 {
    class
        .columns
        .iter()
        .map(|column| column.cost)
        .min()
        .unwrap_or(0)
}

impl<'m, 'a> Program<'m, 'a> {
    fn new(model: &'m Model<'a>, task: &Task<'_>) -> Self {
        let mut problem = Problem::new(OptimizationDirection::Minimize);
        let cost = |class: &Class<'_>, cost: i64| match task.goal {
            Goal::Cost => (cost - least(class)) as f64,
            Goal::Unplaced(_) => 0.0,
        };
        let most = |most: u32| i32::try_from(most).unwrap_or(i32::MAX);
        let columns = model
            .columns()
            .zip(task.open)
            .map(|((class, column), open)| {
                let upper = most(column.upper.min(class.demand));
                open.then(|| problem.add_integer_var(cost(class, column.cost), (0, upper)))
            })
            .collect();
        let skip = |class: &Class<'a>| {
            let known = task.unplaced.get(class.level).copied().unwrap_or(u32::MAX);
            let weight = match task.goal {
                Goal::Unplaced(level) if level == class.level => 1.0,
                Goal::Unplaced(_) => 0.0,
                Goal::Cost => cost(class, class.skip_cost),
            };
            (known > 0).then(|| problem.add_integer_var(weight, (0, most(class.demand))))
        };
        let skips = model.classes.iter().map(skip).collect();
        Self {
            model,
            problem,
            columns,
            skips,
        }
    }

    fn hint(&self, start: &[u32]) -> Vec<(Variable, f64)> {
        self.columns
            .iter()
            .zip(start)
            .filter_map(|(variable, count)| Some(((*variable)?, f64::from(*count))))
            .collect()
    }

    fn limit(&mut self, task: &Task<'_>) {
        self.everybody_is_somewhere();
        for (level, most) in task
            .unplaced
            .iter()
            .enumerate()
            .filter(|(_, most)| **most > 0)
        {
            let skips = self
                .model
                .classes
                .iter()
                .zip(&self.skips)
                .filter(|(class, _)| class.level == level);
            let skips: Vec<(Variable, f64)> = skips
                .filter_map(|(_, skip)| Some(((*skip)?, 1.0)))
                .collect();
            self.problem
                .add_constraint(skips, ComparisonOp::Le, f64::from(*most));
        }
        self.rooms();
        self.spreads_and_budgets();
        self.affinities();
    }

    fn everybody_is_somewhere(&mut self) {
        let mut columns = self.columns.iter();
        for (class, skip) in self.model.classes.iter().zip(&self.skips) {
            let mut row: Vec<(Variable, f64)> = columns
                .by_ref()
                .take(class.columns.len())
                .flatten()
                .map(|variable| (*variable, 1.0))
                .collect();
            row.extend(skip.map(|skip| (skip, 1.0)));
            if class.demand > 0 {
                self.problem
                    .add_constraint(row, ComparisonOp::Eq, f64::from(class.demand));
            }
        }
    }

    /// Replicas, processors and memory of each offer.
    fn rooms(&mut self) {
        let mut offers: BTreeMap<u32, [Row; 3]> = BTreeMap::new();
        for ((class, column), variable) in self
            .model
            .columns()
            .zip(&self.columns)
            .filter(|((_, column), _)| !column.held)
        {
            let Some(variable) = *variable else { continue };
            let (cpu, memory) = class.size();
            for (row, size) in offers
                .entry(column.offer)
                .or_default()
                .iter_mut()
                .zip([1, cpu, memory])
            {
                row.push((variable, size, column.upper.min(class.demand)));
            }
        }
        for (offer, [replicas, cpu, memory]) in offers {
            let room = self.model.room(offer);
            let capacity = if room.replicas == u32::MAX {
                u64::MAX
            } else {
                u64::from(room.replicas)
            };
            self.at_most(&replicas, capacity);
            self.at_most(&cpu, room.cpu);
            self.at_most(&memory, room.memory);
        }
    }

    /// Σ size × variable ≤ limit, where that limits anything. Sizes are divided by what they have in common: the solver likes small numbers.
    fn at_most(&mut self, row: &[(Variable, u64, u32)], limit: u64) {
        let most = row
            .iter()
            .map(|(_, size, upper)| u128::from(*size) * u128::from(*upper))
            .sum::<u128>();
        if limit == u64::MAX || most <= u128::from(limit) {
            return;
        }
        let unit = row
            .iter()
            .fold(0, |unit, (_, size, _)| gcd(unit, *size))
            .max(1);
        let row: Vec<(Variable, f64)> = row
            .iter()
            .filter(|(_, size, _)| *size > 0)
            .map(|(variable, size, _)| (*variable, (size / unit) as f64))
            .collect();
        self.problem
            .add_constraint(row, ComparisonOp::Le, (limit / unit) as f64);
    }

    fn spreads_and_budgets(&mut self) {
        let mut at = 0;
        for class in &self.model.classes {
            let mut domains: BTreeMap<Domain, (u32, Row)> = BTreeMap::new();
            let mut hourly = Vec::new();
            for (column, variable) in class
                .columns
                .iter()
                .zip(self.columns.get(at..).unwrap_or_default())
            {
                let Some(variable) = *variable else { continue };
                let upper = column.upper.min(class.demand);
                if let Some((domain, most)) = class.domain(self.model.request.offer(column.offer)) {
                    domains
                        .entry(domain)
                        .or_insert((most, Vec::new()))
                        .1
                        .push((variable, 1, upper));
                }
                let price = self
                    .model
                    .request
                    .candidate(column.row)
                    .map_or(0, |candidate| candidate.hourly());
                hourly.push((variable, price, upper));
            }
            at += class.columns.len();
            for (most, row) in domains.into_values() {
                self.at_most(&row, u64::from(most));
            }
            if let Some(budget) = class.budget {
                self.at_most(&hourly, budget);
            }
        }
    }

    /// A variable of its own for each domain says whether it is the word's, or the task's of that word.
    fn affinities(&mut self) {
        let ledger = Ledger::new(self.model.request);
        let mut together: BTreeMap<&str, BTreeMap<Domain, Variable>> = BTreeMap::new();
        let mut apart: BTreeMap<(&str, Domain), Vec<(Variable, f64)>> = BTreeMap::new();
        let mut at = 0;
        for class in &self.model.classes {
            let variables = self
                .columns
                .get(at..at + class.columns.len())
                .unwrap_or_default()
                .to_vec();
            at += class.columns.len();
            let Some(task) = class.tasks.first().copied() else {
                continue;
            };
            let in_domains = |over| {
                let mut domains: BTreeMap<Domain, Vec<(Variable, f64)>> = BTreeMap::new();
                for (column, variable) in class.columns.iter().zip(&variables) {
                    let domain = self.model.request.offer(column.offer).domain(over);
                    domains
                        .entry(domain)
                        .or_default()
                        .extend(variable.map(|variable| (variable, 1.0)));
                }
                domains
            };
            let together_over = task
                .affinity()
                .zip(ledger.together(task))
                .map(|(group, over)| (group.word, in_domains(over)));
            let apart_over = task
                .anti_affinity()
                .zip(ledger.apart(task))
                .map(|(group, over)| (group.word, in_domains(over)));
            let demand = f64::from(class.demand);
            if let Some((word, domains)) = together_over {
                for (domain, mut row) in domains {
                    let chosen = *together
                        .entry(word)
                        .or_default()
                        .entry(domain)
                        .or_insert_with(|| self.problem.add_binary_var(0.0));
                    row.push((chosen, -demand));
                    self.problem.add_constraint(row, ComparisonOp::Le, 0.0);
                }
            }
            if let Some((word, domains)) = apart_over {
                for (domain, mut row) in domains {
                    let chosen = self.problem.add_binary_var(0.0);
                    row.push((chosen, -demand));
                    self.problem.add_constraint(row, ComparisonOp::Le, 0.0);
                    apart.entry((word, domain)).or_default().push((chosen, 1.0));
                }
            }
        }
        let one_of: Vec<Vec<(Variable, f64)>> = together
            .into_values()
            .map(|domains| domains.into_values().map(|chosen| (chosen, 1.0)).collect())
            .collect();
        for row in one_of.into_iter().chain(apart.into_values()) {
            self.problem.add_constraint(row, ComparisonOp::Le, 1.0);
        }
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}
