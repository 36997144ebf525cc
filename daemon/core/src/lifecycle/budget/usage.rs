//! What tasks use of a namespace, and what the namespace allows.

use crate::{
    base::{
        names::Namespace,
        units::{Bytes, MicroUsd, MilliCpu, Millis},
    },
    spec::manifest::namespace::{Action, Spec},
};

/// Amounts used, or more of them. Money in micro-USD.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Per hour.
    pub hourly: u64,
    /// Until the end of the month.
    pub monthly: u64,
    /// Millicores.
    pub cpu: u64,
    /// Bytes.
    pub memory: u64,
    /// Accelerators of every kind.
    pub accelerators: u64,
    /// Replicas.
    pub replicas: u64,
    /// Allocations.
    pub allocations: u64,
}

/// What a namespace allows; `u64::MAX`: no limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The namespace.
    pub namespace: Namespace,
    /// The most of each amount.
    pub most: Usage,
    /// The most deployments.
    pub deployments: u64,
    /// Spent this month already.
    pub spent: MicroUsd,
    /// What may be done where the money runs out.
    pub actions: Vec<Action>,
}

/// A limit that something would pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excess {
    what: What,
    used: u64,
    more: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Hourly,
    Monthly,
    Cpu,
    Memory,
    Accelerators,
    Replicas,
    Allocations,
    Deployments,
}

const COUNTED: [What; 7] = [
    What::Hourly,
    What::Monthly,
    What::Cpu,
    What::Memory,
    What::Accelerators,
    What::Replicas,
    What::Allocations,
];

/// What something costs in the time it will still take, within the month.
pub fn forecast(hourly: MicroUsd, lasts: Millis) -> MicroUsd {
    let exact = u128::from(hourly.0) * u128::from(lasts.0) / 3_600_000;
    MicroUsd(u64::try_from(exact).unwrap_or(u64::MAX))
}

// === impl Usage ===

impl Usage {
    pub(super) fn each(self, other: Self, f: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            hourly: f(self.hourly, other.hourly),
            monthly: f(self.monthly, other.monthly),
            cpu: f(self.cpu, other.cpu),
            memory: f(self.memory, other.memory),
            accelerators: f(self.accelerators, other.accelerators),
            replicas: f(self.replicas, other.replicas),
            allocations: f(self.allocations, other.allocations),
        }
    }

    /// The sum of each amount, saturating.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        self.each(other, u64::saturating_add)
    }

    /// The difference of each amount, at least 0.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        self.each(other, u64::saturating_sub)
    }

    /// So many times each amount, saturating.
    #[must_use]
    pub fn times(self, n: u64) -> Self {
        self.each(Self::default(), |a, _| a.saturating_mul(n))
    }

    /// `part` of `whole` equal parts, rounded up. Fewer replicas may still need every place.
    #[must_use]
    pub(super) fn share(self, part: u32, whole: u32) -> Self {
        let scaled = |a: u64| {
            let exact = (u128::from(a) * u128::from(part)).div_ceil(u128::from(whole.max(1)));
            u64::try_from(exact).unwrap_or(u64::MAX)
        };
        Self {
            allocations: self.allocations,
            ..self.each(Self::default(), |a, _| scaled(a))
        }
    }

    fn of(&self, what: What) -> u64 {
        match what {
            What::Hourly => self.hourly,
            What::Monthly => self.monthly,
            What::Cpu => self.cpu,
            What::Memory => self.memory,
            What::Accelerators => self.accelerators,
            What::Replicas => self.replicas,
            What::Allocations => self.allocations,
            What::Deployments => 0,
        }
    }
}

// === impl Limits ===

impl Limits {
    /// The limits of a namespace's document, with what has been spent this month.
    pub fn new(namespace: &Namespace, spec: &Spec, spent: MicroUsd) -> Self {
        let money = |amount: Option<MicroUsd>| amount.map_or(u64::MAX, |m| m.0);
        let count = |n: Option<u32>| n.map_or(u64::MAX, u64::from);
        let (budget, quota) = (spec.budget.as_ref(), &spec.quota);
        let most = Usage {
            hourly: money(budget.and_then(|b| b.hourly)),
            monthly: money(budget.and_then(|b| b.monthly)),
            cpu: count(quota.cpu.map(|c| c.0)),
            memory: quota.memory.map_or(u64::MAX, |m| m.0),
            accelerators: count(quota.accelerators),
            replicas: count(quota.replicas),
            allocations: count(quota.allocations),
        };
        let actions = budget.map(|b| b.on_exceeded.0.clone()).unwrap_or_default();
        Self {
            namespace: namespace.clone(),
            most,
            deployments: count(quota.deployments),
            spent,
            actions,
        }
    }

    /// Whether there is anything to hold to.
    pub fn is_none(&self) -> bool {
        self.deployments == u64::MAX && COUNTED.iter().all(|w| self.most.of(*w) == u64::MAX)
    }

    /// Whether money is limited.
    pub fn has_budget(&self) -> bool {
        self.most.hourly != u64::MAX || self.most.monthly != u64::MAX
    }

    /// Whether this may be done where the money runs out.
    pub fn allows(&self, action: Action) -> bool {
        self.actions.contains(&action)
    }

    /// Whether `after` fits beside the others in place of `before`. What does not grow passes no limit. `margin`: percent of the money
    /// that must stay free.
    pub(super) fn check(
        &self,
        others: Usage,
        before: Usage,
        after: Usage,
        margin: u64,
    ) -> Result<(), Excess> {
        for what in COUNTED {
            let limit = match what {
                What::Hourly | What::Monthly if self.most.of(what) != u64::MAX => {
                    let limit =
                        u128::from(self.most.of(what)) * u128::from(100 - margin.min(100)) / 100;
                    u64::try_from(limit).unwrap_or(u64::MAX)
                }
                _ => self.most.of(what),
            };
            let (before, after, others) = (before.of(what), after.of(what), others.of(what));
            if after > before && others.saturating_add(after) > limit {
                return Err(Excess {
                    what,
                    used: others.saturating_add(before),
                    more: after - before,
                });
            }
        }
        Ok(())
    }

    pub(super) fn check_deployments(&self, used: u64, newcomer: bool) -> Result<(), Excess> {
        if newcomer && used >= self.deployments {
            return Err(Excess {
                what: What::Deployments,
                used,
                more: 1,
            });
        }
        Ok(())
    }

    /// Whether the spending is within the budget as it is.
    pub(super) fn check_money(&self, total: Usage) -> Result<(), Excess> {
        let over = [What::Hourly, What::Monthly]
            .into_iter()
            .find(|w| total.of(*w) > self.most.of(*w));
        over.map_or(Ok(()), |what| {
            Err(Excess {
                what,
                used: total.of(what),
                more: 0,
            })
        })
    }
}

// === impl Excess ===

impl Excess {
    /// The amount of a usage that counts towards this limit.
    pub(super) fn of(&self, usage: Usage) -> u64 {
        usage.of(self.what)
    }

    pub(super) fn is_deployments(&self) -> bool {
        self.what == What::Deployments
    }

    /// For people: the limit, what is used, what is missing.
    pub fn tell(&self, limits: &Limits) -> String {
        let limit = if self.is_deployments() {
            limits.deployments
        } else {
            limits.most.of(self.what)
        };
        let show = |n: u64| match self.what {
            What::Hourly | What::Monthly => MicroUsd(n).to_string(),
            What::Cpu => MilliCpu(u32::try_from(n).unwrap_or(u32::MAX)).to_string(),
            What::Memory => Bytes(n).to_string(),
            _ => n.to_string(),
        };
        let (field, used) = match self.what {
            What::Hourly => ("budget.hourly", "is being spent"),
            What::Monthly => ("budget.monthly", "is forecast"),
            What::Cpu => ("quota.cpu", "is in use"),
            What::Memory => ("quota.memory", "is in use"),
            What::Accelerators => ("quota.accelerators", "in use"),
            What::Replicas => ("quota.replicas", "in use"),
            What::Allocations => ("quota.allocations", "in use"),
            What::Deployments => ("quota.deployments", "in use"),
        };
        let wanted = self.used.saturating_add(self.more);
        let more = if self.more == 0 {
            String::new()
        } else {
            format!(", {} more needed", show(self.more))
        };
        let missing = show(wanted.saturating_sub(limit));
        format!(
            "{field} of namespace \"{}\" is {}: {} {used}{more}, {missing} missing",
            limits.namespace,
            show(limit),
            show(self.used)
        )
    }
}
