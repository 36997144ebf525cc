//! A policy's answer, in columns.

use super::wire;

/// What a policy decided. [`Ledger`](super::Ledger) builds one that keeps every limit.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answer {
    task: Vec<u32>,
    offer: Vec<u32>,
    replicas: Vec<u32>,
    /// How good each candidate is, lower is better; one for each candidate, or none. Never NaN.
    pub scores: Vec<f64>,
    unplaced: Vec<wire::Unplaced>,
    /// A proven lower bound of the total cost in micro-USD.
    pub lower_bound: Option<u64>,
    /// One line about how it was decided.
    pub note: String,
}

impl Answer {
    /// So many replicas in all of this task on this offer. Say it once for each pair.
    pub fn choose(&mut self, task: u32, offer: u32, replicas: u32) {
        self.task.push(task);
        self.offer.push(offer);
        self.replicas.push(replicas);
    }

    /// So many replicas of this task have no place, and why.
    pub fn leave(&mut self, task: u32, replicas: u32, reason: impl Into<String>) {
        self.unplaced.push(wire::Unplaced {
            task,
            replicas,
            reason: reason.into(),
        });
    }

    /// The choices: task, offer, replicas.
    pub fn choices(&self) -> impl Iterator<Item = (u32, u32, u32)> {
        self.task
            .iter()
            .zip(&self.offer)
            .zip(&self.replicas)
            .map(|((task, offer), replicas)| (*task, *offer, *replicas))
    }

    /// What has no place: task, replicas, reason.
    pub fn left(&self) -> impl Iterator<Item = (u32, u32, &str)> {
        self.unplaced
            .iter()
            .map(|left| (left.task, left.replicas, left.reason.as_str()))
    }
}

impl From<Answer> for wire::PlaceAnswer {
    fn from(answer: Answer) -> Self {
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
            task,
            offer,
            replicas,
            scores,
            unplaced,
            lower_bound,
            note,
        }
    }
}
