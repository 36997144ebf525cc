//! Replay: a kept policy call answered once more, and the two answers compared. Pure but for the policy itself.

mod result;

use crate::{
    base::{
        failure::Failure,
        names::{DecisionId, Digest},
        units::MicroUsd,
    },
    ports::{identity::Scope, plugin::Policy},
    schedule::placement::{self, Recorded, recorded::answer_bytes},
    spec::policy_call::{Answer, Request, Task},
};

pub use result::{ReplayView, ReplayedPlace, TaskDifference};

/// Has a policy answer a kept call, and tells what differs. What is not within the scope is left out.
///
/// # Errors
/// The policy fails.
pub async fn replay(
    id: &DecisionId,
    recorded: &Recorded,
    policy: &dyn Policy,
    scope: &Scope,
) -> Result<ReplayView, Failure> {
    let answer = policy.place(&recorded.request).await?;
    Ok(compare(id, recorded, policy, &answer, scope))
}

fn compare(
    id: &DecisionId,
    recorded: &Recorded,
    policy: &dyn Policy,
    answer: &Answer,
    scope: &Scope,
) -> ReplayView {
    let request = &recorded.request;
    let (before, after) = (answer_bytes(&recorded.answer), answer_bytes(answer));
    let mine = |task: &Task| scope.admits(&task.namespace);
    let difference = first_difference(request, &recorded.answer, answer);
    let first_difference =
        difference.map(
            |d| match d.task.and_then(|t| request.tasks.get(t as usize)) {
                Some(task) if !mine(task) => "it is about a task of another namespace".to_owned(),
                None if !scope.is_all() && !request.tasks.iter().all(mine) => {
                    "the answers differ".to_owned()
                }
                _ => d.text,
            },
        );
    let (before_rows, after_rows) = (
        Rows::of(request, &recorded.answer),
        Rows::of(request, answer),
    );
    let mut tasks = Vec::new();
    let mut sums = [MicroUsd(0); 4];
    for (i, task) in (0u32..).zip(&request.tasks).filter(|(_, task)| mine(task)) {
        let (was, is) = (
            places(request, before_rows.of_task(i), task),
            places(request, after_rows.of_task(i), task),
        );
        for (places, sums) in [&was, &is].into_iter().zip(sums.chunks_mut(2)) {
            for (place, hourly) in places {
                for (sum, amount) in sums.iter_mut().zip([place.cost, *hourly]) {
                    *sum = sum.saturating_add(amount.saturating_mul(u64::from(place.replicas)));
                }
            }
        }
        if was != is {
            let plain = |places: Vec<(ReplayedPlace, MicroUsd)>| {
                places.into_iter().map(|(place, _)| place).collect()
            };
            tasks.push(TaskDifference {
                namespace: task.namespace.clone(),
                deployment: task.deployment.clone(),
                task: task.name.clone(),
                recorded: plain(was),
                replayed: plain(is),
            });
        }
    }
    let [
        recorded_cost,
        recorded_hourly,
        replayed_cost,
        replayed_hourly,
    ] = sums;
    ReplayView {
        decision: id.clone(),
        at: recorded.at,
        recorded_policy: recorded.policy.clone(),
        replayed_policy: policy.identity().clone(),
        same_policy: same(&recorded.policy, policy),
        identical: before == after,
        recorded_answer: Digest::of(&before),
        replayed_answer: Digest::of(&after),
        first_difference,
        refused: placement::validate(request, answer)
            .err()
            .filter(|_| scope.is_all())
            .map(|e| e.to_string()),
        tasks,
        recorded_cost,
        replayed_cost,
        recorded_hourly,
        replayed_hourly,
    }
}

fn same(recorded: &crate::base::version::Identity, policy: &dyn Policy) -> bool {
    let now = policy.identity();
    (recorded.component, recorded.settings) == (now.component, now.settings)
}

/// An answer's rows, by task and then by offer: the order of the rows says nothing about places.
struct Rows(Vec<Row>);

impl Rows {
    /// An acceptable answer has a row for each replica at most: of another one, no more is looked at.
    fn of(request: &Request, answer: &Answer) -> Self {
        let most = request.tasks.iter().fold(0usize, |sum, task| {
            sum.saturating_add(task.replicas as usize)
        });
        let rows = answer
            .task
            .iter()
            .zip(&answer.offer)
            .zip(&answer.replicas)
            .take(most);
        let mut rows: Vec<Row> = rows
            .map(|((task, offer), replicas)| (*task, *offer, *replicas))
            .collect();
        rows.sort_unstable();
        Self(rows)
    }

    fn of_task(&self, task: u32) -> &[Row] {
        let from = self.0.partition_point(|(t, ..)| *t < task);
        let to = self.0.partition_point(|(t, ..)| *t <= task);
        self.0.get(from..to).unwrap_or_default()
    }
}

/// Where a task goes, by the offers' order.
fn places(request: &Request, rows: &[Row], of: &Task) -> Vec<(ReplayedPlace, MicroUsd)> {
    let range = request.candidates.of(of.shape);
    let column = request
        .candidates
        .offer
        .get(range.clone())
        .unwrap_or_default();
    let place = |&(_, offer, replicas): &Row| {
        let placed = request.offers.get(offer as usize)?;
        let row = column.binary_search(&offer).ok().map(|at| range.start + at);
        let amount =
            |column: &[u64]| MicroUsd(row.and_then(|row| column.get(row).copied()).unwrap_or(0));
        let place = ReplayedPlace {
            provider: placed.provider.clone(),
            region: placed.offer.region.to_string(),
            offer: placed.offer.id.to_string(),
            replicas,
            cost: amount(&request.candidates.cost),
        };
        Some((place, amount(&request.candidates.hourly)))
    };
    rows.iter().filter_map(place).collect()
}

/// Where two answers part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The task it is about, if it is about one.
    pub task: Option<u32>,
    /// What differs, with both values.
    pub text: String,
}

/// The first row, score or word in which two answers to one request differ, bit for bit.
pub fn first_difference(
    request: &Request,
    recorded: &Answer,
    replayed: &Answer,
) -> Option<Difference> {
    choices(request, recorded, replayed)
        .or_else(|| scores(request, recorded, replayed))
        .or_else(|| rest(request, recorded, replayed))
}

type Row = (u32, u32, u32);

fn row(answer: &Answer, i: usize) -> Option<Row> {
    Some((
        *answer.task.get(i)?,
        *answer.offer.get(i)?,
        *answer.replicas.get(i)?,
    ))
}

fn choices(request: &Request, recorded: &Answer, replayed: &Answer) -> Option<Difference> {
    let rows = recorded.task.len().max(replayed.task.len());
    let (i, was, is) = (0..rows)
        .map(|i| (i, row(recorded, i), row(replayed, i)))
        .find(|(_, was, is)| was != is)?;
    let told = |row: Option<Row>| match row {
        Some((task, offer, replicas)) => format!(
            "{replicas} replicas of {} on {}",
            task_name(request, task),
            offer_name(request, offer)
        ),
        None => "nothing".to_owned(),
    };
    let text = format!("row {i}: recorded {}, replayed {}", told(was), told(is));
    Some(Difference {
        task: was.or(is).map(|(task, _, _)| task),
        text,
    })
}

fn scores(request: &Request, recorded: &Answer, replayed: &Answer) -> Option<Difference> {
    let (was, is) = (&recorded.scores, &replayed.scores);
    if was.len() != is.len() {
        return Some(Difference {
            task: None,
            text: format!("recorded {} scores, replayed {}", was.len(), is.len()),
        });
    }
    let (row, (was, is)) = was
        .iter()
        .zip(is)
        .enumerate()
        .find(|(_, (a, b))| a.to_bits() != b.to_bits())?;
    let shape = request
        .candidates
        .start
        .partition_point(|start| *start as usize <= row)
        .saturating_sub(1);
    let task = request
        .tasks
        .iter()
        .position(|t| t.shape as usize == shape)
        .and_then(|t| u32::try_from(t).ok());
    let offer = request
        .candidates
        .offer
        .get(row)
        .map_or_else(String::new, |o| offer_name(request, *o));
    let about = task.map_or_else(|| format!("shape {shape}"), |t| task_name(request, t));
    Some(Difference {
        task,
        text: format!("the score of {about} on {offer}: recorded {was:?}, replayed {is:?}"),
    })
}

fn rest(request: &Request, recorded: &Answer, replayed: &Answer) -> Option<Difference> {
    let n = recorded.unplaced.len().max(replayed.unplaced.len());
    let unplaced = (0..n)
        .map(|i| (recorded.unplaced.get(i), replayed.unplaced.get(i)))
        .find(|(was, is)| was != is);
    if let Some((was, is)) = unplaced {
        let told = |u: Option<&(u32, u32, String)>| match u {
            Some((task, replicas, why)) => format!(
                "{replicas} replicas of {} without a place ({why})",
                task_name(request, *task)
            ),
            None => "none".to_owned(),
        };
        return Some(Difference {
            task: was.or(is).map(|u| u.0),
            text: format!("recorded {}, replayed {}", told(was), told(is)),
        });
    }
    if recorded.lower_bound != replayed.lower_bound {
        let told =
            |bound: Option<MicroUsd>| bound.map_or_else(|| "none".to_owned(), |b| b.to_string());
        let text = format!(
            "the lower bound: recorded {}, replayed {}",
            told(recorded.lower_bound),
            told(replayed.lower_bound)
        );
        return Some(Difference { task: None, text });
    }
    let text = || {
        format!(
            "the note: recorded \"{}\", replayed \"{}\"",
            recorded.note, replayed.note
        )
    };
    (recorded.note != replayed.note).then(|| Difference {
        task: None,
        text: text(),
    })
}

fn task_name(request: &Request, task: u32) -> String {
    let name = |t: &Task| format!("\"{}/{}/{}\"", t.namespace, t.deployment, t.name);
    request
        .tasks
        .get(task as usize)
        .map_or_else(|| format!("task {task}, which there is not"), name)
}

fn offer_name(request: &Request, offer: u32) -> String {
    let placed = request.offers.get(offer as usize);
    placed.map_or_else(
        || format!("offer {offer}, which there is not"),
        |p| format!("\"{}/{}\"", p.provider, p.offer.id),
    )
}
