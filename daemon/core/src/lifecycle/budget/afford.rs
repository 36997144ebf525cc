//! The second look, at what the policy has chosen: estimates have become prices.

use std::collections::BTreeSet;

use super::{Claim, Grant, Limits, Usage};
use crate::{
    base::units::{MicroUsd, Millis},
    spec::manifest::namespace::Action,
};

/// A choice of the policy for one claim, as a whole.
#[derive(Debug, Clone, PartialEq)]
pub struct Offered {
    /// Index into the claims.
    pub claim: usize,
    /// Replicas that the policy places.
    pub replicas: u32,
    /// Of all replicas.
    pub hourly: MicroUsd,
    /// How long it lasts within the month.
    pub lasts: Millis,
    /// Places in use.
    pub allocations: u32,
    /// The policy was told a limit already.
    pub last_word: bool,
}

/// What becomes of a choice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The namespace can afford it.
    Fits,
    /// The policy may choose again, for so much per hour.
    AtMost(MicroUsd),
    /// What runs stays as it is; the reason.
    Refused(String),
}

/// Judges the choices in the order in which claims are served. `granted` is what `admit` said of the claims; what it allowed to others is
/// kept for them. The verdicts are in the order of the choices.
pub fn afford(
    limits: &Limits,
    claims: &[Claim],
    granted: &[Grant],
    offered: &[Offered],
) -> Vec<Verdict> {
    let before = |c: &Claim| c.usage(c.replicas);
    // Where nobody steps down, who is served first need not leave the others anything.
    let step_down = limits.allows(Action::StepDown);
    let chosen: BTreeSet<usize> = offered.iter().map(|o| o.claim).collect();
    let promised = |i: usize, c: &Claim, g: &Grant| match c.each.is_some()
        && (step_down || !chosen.contains(&i))
    {
        true => before(c).max(c.usage(g.replicas)),
        false => before(c),
    };
    let mut total = Usage {
        monthly: limits.spent.0,
        ..Usage::default()
    };
    for (i, (claim, grant)) in claims.iter().zip(granted).enumerate() {
        total = total.plus(promised(i, claim, grant)).plus(claim.leaving);
    }
    let mut order: Vec<usize> = (0..offered.len()).collect();
    order.sort_by_cached_key(|&i| {
        offered
            .get(i)
            .and_then(|o| claims.get(o.claim))
            .map(Claim::rank)
    });
    let mut verdicts = vec![Verdict::Fits; offered.len()];
    for i in order {
        let (Some(choice), Some(verdict)) = (offered.get(i), verdicts.get_mut(i)) else {
            continue;
        };
        let (Some(claim), Some(grant)) = (claims.get(choice.claim), granted.get(choice.claim))
        else {
            continue;
        };
        let promise = promised(choice.claim, claim, grant);
        let others = total.minus(promise).minus(claim.leaving);
        let counted = claim.usage(choice.replicas);
        let after = Usage {
            hourly: choice.hourly.0,
            monthly: super::forecast(choice.hourly, choice.lasts).0,
            allocations: u64::from(choice.allocations),
            ..counted
        };
        match limits.check(others, before(claim), after, 0) {
            Ok(()) => total = total.minus(promise).plus(after),
            Err(excess) => {
                let room = room(limits, others, choice.lasts);
                let cheaper = step_down && !choice.last_word && room < choice.hourly;
                let (left, word) = match cheaper {
                    // All of that room is kept for it: no two choices are told of the same.
                    true => {
                        let monthly = super::forecast(room, choice.lasts).0;
                        (
                            Usage {
                                hourly: room.0,
                                monthly,
                                ..after
                            },
                            Verdict::AtMost(room),
                        )
                    }
                    false => (before(claim), Verdict::Refused(excess.tell(limits))),
                };
                *verdict = word;
                total = total.minus(promise).plus(left);
            }
        }
    }
    verdicts
}

/// What is left per hour, for something that lasts so long.
fn room(limits: &Limits, others: Usage, lasts: Millis) -> MicroUsd {
    let hourly = limits.most.hourly.saturating_sub(others.hourly);
    let monthly = match limits.most.monthly {
        u64::MAX => u64::MAX,
        most => {
            let left = u128::from(most.saturating_sub(others.monthly)) * 3_600_000
                / u128::from(lasts.0.max(1));
            u64::try_from(left).unwrap_or(u64::MAX)
        }
    };
    MicroUsd(hourly.min(monthly))
}

impl Usage {
    fn max(self, other: Self) -> Self {
        self.each(other, u64::max)
    }
}
