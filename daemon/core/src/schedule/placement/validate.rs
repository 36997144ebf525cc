//! The check of a policy's answer: nothing a plugin says counts before this.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{
    Answer, Request, Spread,
    affinity::{Ties, domain},
};

/// Replicas of a task on an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// Index into the request's offers.
    pub offer: u32,
    /// In all, those that run there already included.
    pub replicas: u32,
}

/// What an acceptable answer says of one task.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Placed {
    /// In the answer's order.
    pub choices: Vec<Choice>,
    /// Replicas without a place, and why.
    pub unplaced: Option<(u32, String)>,
}

/// Why an answer is not accepted. `row` is the row of the answer at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(
    missing_docs,
    reason = "the messages say what the variants and their fields mean"
)]
pub enum Refusal {
    #[error(
        "the columns task, offer and replicas have {tasks}, {offers} and {replicas} rows: they must be equally long"
    )]
    Columns {
        tasks: usize,
        offers: usize,
        replicas: usize,
    },
    #[error("row {row}: there is no task {task}, the request has {tasks}")]
    UnknownTask { row: usize, task: u32, tasks: usize },
    #[error("row {row}: there is no offer {offer}, the request has {offers}")]
    UnknownOffer {
        row: usize,
        offer: u32,
        offers: usize,
    },
    #[error("row {row}: offer {offer} (\"{id}\") is no candidate for task {task} (\"{name}\")")]
    NotACandidate {
        row: usize,
        offer: u32,
        id: String,
        task: u32,
        name: String,
    },
    #[error("row {row}: task {task} and offer {offer} appear twice")]
    Twice { row: usize, task: u32, offer: u32 },
    #[error("row {row}: zero replicas")]
    Zero { row: usize },
    #[error("row {row}: task {task} (\"{name}\") gets {given} replicas, it wants {wanted}")]
    TooMany {
        row: usize,
        task: u32,
        name: String,
        given: u64,
        wanted: u32,
    },
    #[error("row {row}: offer {offer} (\"{id}\") is overfilled: {what}")]
    Overfilled {
        row: usize,
        offer: u32,
        id: String,
        what: String,
    },
    #[error(
        "row {row}: task {task} (\"{name}\") has {given} replicas in one domain, at most {max} are allowed"
    )]
    Spread {
        row: usize,
        task: u32,
        name: String,
        given: u64,
        max: u32,
    },
    #[error("row {row}: task {task} (\"{name}\") costs more per hour than its limit")]
    Hourly { row: usize, task: u32, name: String },
    #[error("row {row}: task {task} (\"{name}\") is not in the {over} of the other tasks with affinity \"{word}\"", over = over.word())]
    Affinity {
        row: usize,
        task: u32,
        name: String,
        over: Spread,
        word: String,
    },
    #[error("row {row}: task {task} (\"{name}\") is in a {over} of task {other}, which has the anti-affinity \"{word}\" as well", over = over.word())]
    AntiAffinity {
        row: usize,
        task: u32,
        name: String,
        over: Spread,
        word: String,
        other: u32,
    },
    #[error("scores has {given} rows, there are {wanted} candidates: give all or none")]
    Scores { given: usize, wanted: usize },
    #[error("scores row {row} is not a number")]
    NotANumber { row: usize },
    #[error("unplaced row {row}: there is no task {task}, the request has {tasks}")]
    UnplacedTask { row: usize, task: u32, tasks: usize },
}

#[derive(Default)]
struct Used {
    replicas: u64,
    cpu: u64,
    memory: u64,
}

/// Accepts an answer, task by task, or says which row is at fault. Replicas that the answer passes over count as unplaced.
///
/// # Errors
/// The first rule that a row breaks.
pub fn validate(request: &Request, answer: &Answer) -> Result<Vec<Placed>, Refusal> {
    check_columns(request, answer)?;
    let mut placed = vec![Placed::default(); request.tasks.len()];
    let mut seen: HashSet<(u32, u32)> = HashSet::new();
    let mut given: BTreeMap<u32, u64> = BTreeMap::new();
    let mut hourly: BTreeMap<u32, u64> = BTreeMap::new();
    let mut domains: HashMap<(u32, (&str, &str, &str)), u64> = HashMap::new();
    let mut used: HashMap<u32, Used> = HashMap::new();
    let mut ties = Ties::of(request);

    let rows = answer
        .task
        .iter()
        .zip(&answer.offer)
        .zip(&answer.replicas)
        .map(|((t, o), r)| (*t, *o, *r));
    for (row, (task, offer, replicas)) in rows.enumerate() {
        let tasks = request.tasks.len();
        let wanted = request
            .tasks
            .get(task as usize)
            .ok_or(Refusal::UnknownTask { row, task, tasks })?;
        let offers = request.offers.len();
        let place = request
            .offers
            .get(offer as usize)
            .ok_or(Refusal::UnknownOffer { row, offer, offers })?;
        let name = || wanted.name.to_string();
        let id = || place.offer.id.to_string();
        if replicas == 0 {
            return Err(Refusal::Zero { row });
        }
        if !seen.insert((task, offer)) {
            return Err(Refusal::Twice { row, task, offer });
        }
        let range = request.candidates.of(wanted.shape);
        let column = request
            .candidates
            .offer
            .get(range.clone())
            .unwrap_or_default();
        let Ok(at) = column.binary_search(&offer) else {
            return Err(Refusal::NotACandidate {
                row,
                offer,
                id: id(),
                task,
                name: name(),
            });
        };

        let total = given.entry(task).or_default();
        *total += u64::from(replicas);
        if *total > u64::from(wanted.replicas) {
            return Err(Refusal::TooMany {
                row,
                task,
                name: name(),
                given: *total,
                wanted: wanted.replicas,
            });
        }

        // What runs there already has its capacity; only additions need more.
        let held: u32 = wanted
            .current
            .iter()
            .filter(|(o, _)| *o == offer)
            .map(|(_, n)| *n)
            .sum();
        let added = u64::from(replicas.saturating_sub(held));
        let use_ = used.entry(offer).or_default();
        use_.replicas += added;
        let limit = |what: &str, have: u64, limit: u64| Refusal::Overfilled {
            row,
            offer,
            id: id(),
            what: format!("{have} {what}, {limit} are left"),
        };
        let capacity = place.offer.capacity;
        if capacity != u32::MAX && use_.replicas > u64::from(capacity) {
            return Err(limit("replicas", use_.replicas, u64::from(capacity)));
        }
        if place.offer.shared
            && let Some(shape) = request.shapes.get(wanted.shape as usize)
        {
            use_.cpu = use_
                .cpu
                .saturating_add(added.saturating_mul(u64::from(shape.resources.cpu.0)));
            use_.memory = use_
                .memory
                .saturating_add(added.saturating_mul(shape.resources.memory.0));
            if use_.cpu > place.offer.free_cpu {
                return Err(limit("millicores", use_.cpu, place.offer.free_cpu));
            }
            if use_.memory > place.offer.free_memory {
                return Err(limit(
                    "bytes of memory",
                    use_.memory,
                    place.offer.free_memory,
                ));
            }
        }

        if wanted.spread_max != u32::MAX {
            let count = domains
                .entry((task, domain(wanted.spread, place)))
                .or_default();
            *count += u64::from(replicas);
            if *count > u64::from(wanted.spread_max) {
                return Err(Refusal::Spread {
                    row,
                    task,
                    name: name(),
                    given: *count,
                    max: wanted.spread_max,
                });
            }
        }

        ties.take(row, task, wanted, place)?;

        let rate = request
            .candidates
            .hourly
            .get(range.start + at)
            .copied()
            .unwrap_or(0);
        let sum = hourly.entry(task).or_default();
        *sum = sum.saturating_add(rate.saturating_mul(u64::from(replicas)));
        if *sum > wanted.max_hourly.0 {
            return Err(Refusal::Hourly {
                row,
                task,
                name: name(),
            });
        }
        if let Some(placed) = placed.get_mut(task as usize) {
            placed.choices.push(Choice { offer, replicas });
        }
    }
    account_for_the_rest(request, answer, &mut placed)?;
    Ok(placed)
}

fn check_columns(request: &Request, answer: &Answer) -> Result<(), Refusal> {
    let (tasks, offers, replicas) = (answer.task.len(), answer.offer.len(), answer.replicas.len());
    if tasks != offers || tasks != replicas {
        return Err(Refusal::Columns {
            tasks,
            offers,
            replicas,
        });
    }
    let wanted = request.candidates.offer.len();
    if !answer.scores.is_empty() && answer.scores.len() != wanted {
        return Err(Refusal::Scores {
            given: answer.scores.len(),
            wanted,
        });
    }
    match answer.scores.iter().position(|s| s.is_nan()) {
        Some(row) => Err(Refusal::NotANumber { row }),
        None => Ok(()),
    }
}

fn account_for_the_rest(
    request: &Request,
    answer: &Answer,
    placed: &mut [Placed],
) -> Result<(), Refusal> {
    let mut reasons: BTreeMap<u32, &str> = BTreeMap::new();
    for (row, (task, _, reason)) in answer.unplaced.iter().enumerate() {
        if *task as usize >= request.tasks.len() {
            return Err(Refusal::UnplacedTask {
                row,
                task: *task,
                tasks: request.tasks.len(),
            });
        }
        reasons.insert(*task, reason);
    }
    for (i, (task, placed)) in (0u32..).zip(request.tasks.iter().zip(placed)) {
        let got: u32 = placed.choices.iter().map(|c| c.replicas).sum();
        let missing = task.replicas.saturating_sub(got);
        if missing > 0 {
            let silent = if request.candidates.of(task.shape).is_empty() {
                "no offer satisfies every constraint"
            } else {
                "the policy gave no reason"
            };
            let reason = reasons
                .get(&i)
                .copied()
                .filter(|r| !r.trim().is_empty())
                .unwrap_or(silent);
            placed.unplaced = Some((missing, reason.chars().take(500).collect()));
        }
    }
    Ok(())
}
