//! Where things go: offers, limits, the policy, preemption. It decides; it starts and writes nothing but what it has decided.

pub(crate) mod admission;
pub(crate) mod affinity;
pub(crate) mod cordons;
pub(crate) mod offers;
pub(crate) mod policy_call;
pub(crate) mod ports;
pub(crate) mod preemption;
pub(crate) mod refusals;
pub(crate) mod room;
pub(crate) mod scheduler;
pub(crate) mod shadows;
pub(crate) mod spaces;
pub(crate) mod turn;
