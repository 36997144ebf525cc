//! Budgets and quotas: how many replicas each task of a namespace may have, who waits, who steps down and who makes room. Pure and
//! deterministic: the same claims give the same grants, in whatever order they come. It knows no provider and no policy.
//!
//! A claim is granted as a whole or waits, unless stepping down allows less. What runs is left alone, unless the spending has outgrown the
//! budget or a higher priority needs the room and eviction is allowed. A lowered quota evicts nobody.

mod afford;
mod usage;

use std::{cmp::Reverse, collections::BTreeMap};

use crate::{
    base::{
        names::{DeploymentName, TaskName},
        units::{Instant, Millis},
    },
    spec::manifest::{Target, namespace::Action},
};

pub use crate::state::budget::{HeldBack, HeldKind};
pub use afford::{Offered, Verdict, afford};
pub use usage::{Excess, Limits, Usage, forecast};

/// What was put back because the spending outgrew the budget comes back only when so much of the limit is free …
const MARGIN_PERCENT: u64 = 5;
/// … or when so much time has passed.
const MARGIN_FOR: Millis = Millis(3_600_000);

/// What one task of a namespace wants, and what it has.
#[derive(Debug, Clone, PartialEq)]
pub struct Claim {
    /// The deployment that it belongs to.
    pub deployment: DeploymentName,
    /// The task.
    pub task: TaskName,
    /// The target whose replicas are meant. `None`: the deployment has no targets.
    pub target: Option<Target>,
    /// Higher ones get room first.
    pub priority: i32,
    /// Of equal priorities the older goes first.
    pub since: Instant,
    /// Replicas in all.
    pub wanted: u32,
    /// Fewer are of no use. A job wants all of its copies.
    pub least: u32,
    /// Replicas that it has.
    pub replicas: u32,
    /// What those use.
    pub held: Usage,
    /// What is on its way out, and used until it is gone.
    pub leaving: Usage,
    /// What one more replica would use. None: nobody offers one now.
    pub each: Option<Usage>,
    /// How it was held back before.
    pub before: Option<HeldBack>,
}

/// What a claim is granted.
#[derive(Debug, Clone, PartialEq)]
pub struct Grant {
    /// So many replicas, now.
    pub replicas: u32,
    /// Why they are fewer than wanted.
    pub held_back: Option<HeldBack>,
}

impl Claim {
    /// What so many replicas use.
    pub fn usage(&self, replicas: u32) -> Usage {
        if replicas == 0 {
            return Usage::default();
        }
        if replicas <= self.replicas {
            return self.held.share(replicas, self.replicas);
        }
        let more = self
            .each
            .unwrap_or_default()
            .times(u64::from(replicas - self.replicas));
        let first = Usage {
            allocations: u64::from(self.replicas == 0),
            ..Usage::default()
        };
        self.held.plus(more).plus(first)
    }

    /// The order in which claims are served.
    fn rank(&self) -> impl Ord {
        (
            Reverse(self.priority),
            self.since,
            self.deployment.clone(),
            self.task.clone(),
            self.target.clone(),
        )
    }

    fn name(&self) -> String {
        let target = self
            .target
            .as_ref()
            .map(|t| format!(" at {t}"))
            .unwrap_or_default();
        format!("{} of \"{}\"{target}", self.task, self.deployment)
    }
}

/// Decides about every claim of a namespace at once. The grants are in the order of the claims.
pub fn admit(limits: &Limits, claims: &[Claim], now: Instant) -> Vec<Grant> {
    let mut order: Vec<usize> = (0..claims.len()).collect();
    order.sort_by_cached_key(|&i| claims.get(i).map(Claim::rank));
    let mut book = Book::open(limits, claims, order, now);
    book.relieve();
    for i in book.order.clone() {
        book.extend(i);
    }
    book.grants()
}

/// The goals of all claims while they are being found.
struct Book<'a> {
    limits: &'a Limits,
    claims: &'a [Claim],
    /// Indices of the claims, the first served first.
    order: Vec<usize>,
    goal: Vec<u32>,
    total: Usage,
    /// Claims with replicas, by deployment.
    deployments: BTreeMap<&'a DeploymentName, u32>,
    held_back: Vec<Option<HeldBack>>,
    now: Instant,
}

impl<'a> Book<'a> {
    fn open(limits: &'a Limits, claims: &'a [Claim], order: Vec<usize>, now: Instant) -> Self {
        let total = Usage {
            monthly: limits.spent.0,
            ..Usage::default()
        };
        let (goal, held_back) = (vec![0; claims.len()], vec![None; claims.len()]);
        let mut book = Self {
            limits,
            claims,
            order,
            goal,
            total,
            deployments: BTreeMap::new(),
            held_back,
            now,
        };
        for (i, claim) in claims.iter().enumerate() {
            book.set(i, claim.replicas.min(claim.wanted));
        }
        book
    }

    fn goal(&self, i: usize) -> u32 {
        self.goal.get(i).copied().unwrap_or(0)
    }

    fn set(&mut self, i: usize, replicas: u32) {
        let (Some(claim), before) = (self.claims.get(i), self.goal(i)) else {
            return;
        };
        self.total = self
            .total
            .minus(claim.usage(before))
            .plus(claim.usage(replicas));
        let count = self.deployments.entry(&claim.deployment).or_default();
        *count = *count + u32::from(replicas > 0) - u32::from(before > 0);
        if *count == 0 {
            self.deployments.remove(&claim.deployment);
        }
        if let Some(goal) = self.goal.get_mut(i) {
            *goal = replicas;
        }
    }

    /// Whether a claim could have so many replicas beside all others' goals.
    fn would(&self, i: usize, replicas: u32) -> Result<(), Excess> {
        let Some(claim) = self.claims.get(i) else {
            return Ok(());
        };
        let (own, after) = (claim.usage(self.goal(i)), claim.usage(replicas));
        let careful = claim
            .before
            .as_ref()
            .is_some_and(|b| b.overspent && self.now.since(b.since) < MARGIN_FOR);
        let margin = if careful { MARGIN_PERCENT } else { 0 };
        self.limits
            .check(self.total.minus(own), own, after, margin)?;
        let newcomer = replicas > 0 && !self.deployments.contains_key(&claim.deployment);
        self.limits
            .check_deployments(self.deployments.len() as u64, newcomer)
    }

    /// The most replicas in `from..=to` that a test admits; admitting some admits fewer.
    fn most(from: u32, to: u32, fits: impl Fn(u32) -> bool) -> Option<u32> {
        if from > to || !fits(from) {
            return None;
        }
        let (mut good, mut bad) = (from, to.saturating_add(1));
        while bad - good > 1 {
            let middle = good + (bad - good) / 2;
            if fits(middle) {
                good = middle
            } else {
                bad = middle
            }
        }
        Some(good)
    }

    /// Brings the spending back within the budget, where that is allowed: the lowest priority goes first.
    fn relieve(&mut self) {
        for action in &self.limits.actions {
            for i in self.order.clone().into_iter().rev() {
                let Err(excess) = self.limits.check_money(self.total) else {
                    return;
                };
                let (Some(claim), goal) = (self.claims.get(i), self.goal(i)) else {
                    continue;
                };
                if goal == 0 || excess.of(claim.usage(goal)) == 0 {
                    continue;
                }
                let others = self.total.minus(claim.usage(goal));
                let fits = |n: u32| self.limits.check_money(others.plus(claim.usage(n))).is_ok();
                let least = claim.least.min(goal);
                let partly = Self::most(least, goal, fits);
                let (left, kind) = match action {
                    Action::Queue => continue,
                    Action::StepDown => (partly.unwrap_or(least), HeldKind::SteppedDown),
                    Action::Evict => match partly {
                        Some(n) => (n, HeldKind::Evicted),
                        None => (0, HeldKind::Evicted),
                    },
                };
                if left < goal {
                    self.set(i, left);
                    let mut held = self.held(
                        claim,
                        left,
                        kind,
                        format!(
                            "the lowest priority goes first: {}",
                            excess.tell(self.limits)
                        ),
                    );
                    held.overspent = true;
                    self.put(i, held);
                }
            }
        }
    }

    /// Grants what a claim wants beyond what it has, if there is a way.
    fn extend(&mut self, i: usize) {
        let Some(claim) = self.claims.get(i) else {
            return;
        };
        let reduced = self.held_back.get(i).is_some_and(Option::is_some);
        let from = self.goal(i);
        // Nobody offers it: it is for the decision to say why, and it takes no room from others.
        if reduced || from >= claim.wanted || claim.each.is_none() {
            return;
        }
        let Err(excess) = self.would(i, claim.wanted) else {
            return self.set(i, claim.wanted);
        };
        for action in &self.limits.actions {
            match action {
                Action::StepDown => {
                    let least = claim.least.max(from + 1);
                    if least < claim.wanted
                        && let Some(n) =
                            Self::most(least, claim.wanted, |n| self.would(i, n).is_ok())
                    {
                        self.set(i, n);
                        let held =
                            self.held(claim, n, HeldKind::SteppedDown, excess.tell(self.limits));
                        return self.put(i, held);
                    }
                }
                Action::Evict if self.evict_for(i, claim) => return self.set(i, claim.wanted),
                Action::Evict | Action::Queue => {}
            }
        }
        let kind = claim.before.as_ref().map_or(HeldKind::Queued, |b| b.kind);
        let kind = if kind == HeldKind::Preempted {
            HeldKind::Queued
        } else {
            kind
        };
        let told = excess.tell(self.limits);
        let by = claim
            .before
            .as_ref()
            .filter(|b| b.kind == HeldKind::Evicted && kind == b.kind)
            .and_then(|b| b.by.as_ref());
        let reason = by.map_or_else(
            || told.clone(),
            |by| format!("its room went to {by}: {told}"),
        );
        let held = self.held(claim, from, kind, reason);
        self.put(i, held);
    }

    /// Takes from lower priorities, the lowest and youngest first and no more than needed, until the claim fits. False: nothing is taken.
    fn evict_for(&mut self, i: usize, claim: &Claim) -> bool {
        let lower = |&j: &usize| {
            self.claims
                .get(j)
                .is_some_and(|c| c.priority < claim.priority)
                && self.goal(j) > 0
        };
        let candidates: Vec<usize> = self.order.iter().rev().copied().filter(lower).collect();
        let mut taken: Vec<(usize, u32, Excess)> = Vec::new();
        for j in candidates {
            let Err(excess) = self.would(i, claim.wanted) else {
                break;
            };
            let (Some(victim), goal) = (self.claims.get(j), self.goal(j)) else {
                continue;
            };
            // A quota of deployments is counted in deployments, which every claim has.
            if !excess.is_deployments() && excess.of(victim.usage(goal)) == 0 {
                continue;
            }
            taken.push((j, goal, excess));
            self.set(j, 0);
        }
        if self.would(i, claim.wanted).is_err() {
            for (j, goal, _) in taken {
                self.set(j, goal);
            }
            return false;
        }
        // What was taken in vain is given back, the best first; the last one may keep what the least allows.
        for (j, goal, excess) in taken.into_iter().rev() {
            let Some(victim) = self.claims.get(j) else {
                continue;
            };
            let beside = |n: u32| {
                let mut others = self.total.plus(victim.usage(n));
                others = others.minus(claim.usage(self.goal(i)));
                let newcomers = [(victim, n), (claim, claim.wanted)];
                let more = newcomers
                    .iter()
                    .filter(|(c, n)| *n > 0 && !self.deployments.contains_key(&c.deployment))
                    .count();
                let own = claim.usage(self.goal(i));
                self.limits
                    .check(others, own, claim.usage(claim.wanted), 0)
                    .is_ok()
                    && (self.deployments.len() + more) as u64 <= self.limits.deployments
            };
            let kept = Self::most(victim.least.min(goal), goal, beside).unwrap_or(0);
            self.set(j, kept);
            if kept < goal {
                let by = format!("{} (priority {})", claim.name(), claim.priority);
                let reason = format!(
                    "its room goes to {by}, its own priority is {}: {}",
                    victim.priority,
                    excess.tell(self.limits)
                );
                let mut held = self.held(victim, kept, HeldKind::Evicted, reason);
                held.by = Some(by);
                self.put(j, held);
            }
        }
        true
    }

    fn held(&self, claim: &Claim, replicas: u32, kind: HeldKind, reason: String) -> HeldBack {
        let before = claim.before.as_ref().filter(|b| b.kind == kind);
        HeldBack {
            task: claim.task.clone(),
            target: claim.target.clone(),
            kind,
            wanted: claim.wanted,
            replicas,
            reason,
            since: before.map_or(self.now, |b| b.since),
            overspent: before.is_some_and(|b| b.overspent),
            by: before.and_then(|b| b.by.clone()),
        }
    }

    fn put(&mut self, i: usize, held: HeldBack) {
        if let Some(slot) = self.held_back.get_mut(i) {
            *slot = Some(held);
        }
    }

    /// What may be begun now: room that is still used by what is leaving is not given twice.
    fn grants(mut self) -> Vec<Grant> {
        let mut used = Usage {
            monthly: self.limits.spent.0,
            ..Usage::default()
        };
        for claim in self.claims {
            used = used.plus(claim.usage(claim.replicas)).plus(claim.leaving);
        }
        let mut grants: Vec<Grant> = self
            .goal
            .iter()
            .map(|&replicas| Grant {
                replicas,
                held_back: None,
            })
            .collect();
        for i in self.order.clone() {
            let (Some(claim), goal) = (self.claims.get(i), self.goal(i)) else {
                continue;
            };
            let Some(grant) = grants.get_mut(i) else {
                continue;
            };
            grant.held_back = self.held_back.get_mut(i).and_then(Option::take);
            if claim.each.is_none() && claim.wanted > goal && grant.held_back.is_none() {
                grant.replicas = claim.wanted;
            }
            if goal <= claim.replicas {
                continue;
            }
            let (own, after) = (claim.usage(claim.replicas), claim.usage(goal));
            // Its own old places are being replaced: they stand in nobody's way.
            let others = used.minus(own).minus(claim.leaving);
            match self.limits.check(others, own, after, 0) {
                Ok(()) => used = used.minus(own).plus(after),
                Err(excess) => {
                    grant.replicas = claim.replicas;
                    let reason = format!(
                        "waits until what is leaving is gone: {}",
                        excess.tell(self.limits)
                    );
                    let kind = claim.before.as_ref().map_or(HeldKind::Queued, |b| b.kind);
                    grant.held_back = Some(self.held(claim, claim.replicas, kind, reason));
                }
            }
        }
        grants
    }
}

#[cfg(test)]
mod tests;
