//! What only some tasks have: words that bind them to others, a deadline, what is expected of them. One row for each that has any of it.

use serde::{Deserialize, Serialize};

use super::{Error, damaged, read::spread_of, spread_code};
use crate::{
    base::units::{Bytes, MicroUsd, Millis},
    spec::policy_call::{Expected, Group, Task},
};

/// A word and the kind of its domain.
type Word = Option<(String, u8)>;

#[derive(Serialize, Deserialize)]
pub(super) struct Row {
    /// The task's index.
    task: u32,
    affinity: Word,
    anti_affinity: Word,
    deadline: Option<u64>,
    migration_cost: u64,
    egress: u64,
    request_rate: Option<f64>,
}

pub(super) fn rows(tasks: &[Task]) -> Vec<Row> {
    let has = |t: &Task| {
        t.affinity.is_some()
            || t.anti_affinity.is_some()
            || t.deadline.is_some()
            || !t.expected.is_nothing()
    };
    let word = |group: &Option<Group>| {
        group
            .as_ref()
            .map(|g| (g.word.clone(), spread_code(g.over)))
    };
    let row = |(task, t): (u32, &Task)| Row {
        task,
        affinity: word(&t.affinity),
        anti_affinity: word(&t.anti_affinity),
        deadline: t.deadline.map(|d| d.0),
        migration_cost: t.expected.migration_cost.0,
        egress: t.expected.egress.0,
        request_rate: t.expected.request_rate,
    };
    (0u32..)
        .zip(tasks)
        .filter(|(_, t)| has(t))
        .map(row)
        .collect()
}

pub(super) fn put(rows: Vec<Row>, tasks: &mut [Task]) -> Result<(), Error> {
    let group = |word: Word| {
        word.map(|(word, over)| {
            Ok::<_, Error>(Group {
                word,
                over: spread_of(over)?,
            })
        })
        .transpose()
    };
    for row in rows {
        let task = tasks
            .get_mut(row.task as usize)
            .ok_or_else(|| damaged(format!("it has no task {}", row.task)))?;
        (task.affinity, task.anti_affinity) = (group(row.affinity)?, group(row.anti_affinity)?);
        task.deadline = row.deadline.map(Millis);
        task.expected = Expected {
            migration_cost: MicroUsd(row.migration_cost),
            egress: Bytes(row.egress),
            request_rate: row.request_rate,
        };
    }
    Ok(())
}
