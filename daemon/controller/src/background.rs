//! What goes on by itself: scaling, moves, sweeps, retention, shadow policies.

pub(crate) mod autoscaler;
pub(crate) mod drainer;
pub(crate) mod orphan_sweep;
pub(crate) mod rebalancer;
pub(crate) mod reconsider;
pub(crate) mod retention;
pub(crate) mod timekeeper;
