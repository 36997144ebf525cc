//! Which domains tasks must share, and which they must not, kept as choices are made.

use std::collections::BTreeMap;

use super::{Domain, Offer, Request, Spread, Task};

/// Affinity and anti-affinity of a batch. Where the tasks of one word name different kinds of domain the strictest counts: the narrowest
/// for those that share one, the widest for those that share none.
#[derive(Default)]
pub(super) struct Affinity<'a> {
    together: BTreeMap<&'a str, Together>,
    apart: BTreeMap<&'a str, Apart>,
}

struct Together {
    over: Spread,
    domain: Option<Domain>,
}

struct Apart {
    over: Spread,
    /// Whose each domain is: a task's index.
    owners: BTreeMap<Domain, u32>,
}

impl<'a> Affinity<'a> {
    pub(super) fn of(request: &'a Request) -> Self {
        let mut all = Self::default();
        if request.wire.tasks.affinity.is_empty() && request.wire.tasks.anti_affinity.is_empty() {
            return all;
        }
        for task in request.tasks() {
            if let Some(group) = task.affinity() {
                let known = all.together.entry(group.word).or_insert(Together {
                    over: group.over,
                    domain: None,
                });
                known.over = known.over.min(group.over);
            }
            if let Some(group) = task.anti_affinity() {
                let known = all.apart.entry(group.word).or_insert_with(|| Apart {
                    over: group.over,
                    owners: BTreeMap::new(),
                });
                known.over = known.over.max(group.over);
            }
        }
        all
    }

    /// The kind of domain that the task shares with those of its word.
    pub(super) fn together(&self, task: Task<'a>) -> Option<Spread> {
        Some(self.together.get(task.affinity()?.word)?.over)
    }

    /// The kind of domain that the task shares with nobody of its word.
    pub(super) fn apart(&self, task: Task<'a>) -> Option<Spread> {
        Some(self.apart.get(task.anti_affinity()?.word)?.over)
    }

    pub(super) fn admits(&self, task: Task<'_>, offer: Offer<'_>) -> bool {
        if self.together.is_empty() && self.apart.is_empty() {
            return true;
        }
        let together = task
            .affinity()
            .and_then(|group| self.together.get(group.word));
        let apart = task
            .anti_affinity()
            .and_then(|group| self.apart.get(group.word));
        together.is_none_or(|known| {
            known
                .domain
                .is_none_or(|domain| domain == offer.domain(known.over))
        }) && apart.is_none_or(|known| {
            known
                .owners
                .get(&offer.domain(known.over))
                .is_none_or(|owner| *owner == task.index())
        })
    }

    /// Replicas of the task have got a place.
    pub(super) fn placed(&mut self, task: Task<'_>, offer: Offer<'_>) {
        if self.together.is_empty() && self.apart.is_empty() {
            return;
        }
        if let Some(known) = task
            .affinity()
            .and_then(|group| self.together.get_mut(group.word))
        {
            known.domain.get_or_insert(offer.domain(known.over));
        }
        if let Some(known) = task
            .anti_affinity()
            .and_then(|group| self.apart.get_mut(group.word))
        {
            known
                .owners
                .entry(offer.domain(known.over))
                .or_insert(task.index());
        }
    }
}
