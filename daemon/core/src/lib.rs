//! Tradewind's core: domain types, ports and pure logic. It depends on no engine, no cloud and no database, does no I/O and has no clock.
//!
//! Groups, each of which uses only those before it: `base`, `spec`, `ports`, `state`, `schedule`, `lifecycle` (`tests/groups.rs` of
//! the repository holds them to it). Users name modules without their group. An engine that has a rule in `spec` and stored data in `state` shows both in its own module.
#![warn(missing_docs)]

mod base;
mod lifecycle;
mod ports;
mod schedule;
mod spec;
mod state;

pub use base::{alike, diagnose, difference, exhausted, failure, field, list, names, retry, units};
pub use lifecycle::{
    budget, canary, cordon, cron, hedge, job, metering, order, plan, replacement, rollout, scaling,
    shadow,
};
pub use ports::{audit, capability, grant, identity, plugin, session, store, vital};
pub use schedule::{assess, cost, explain, place_health, placement, preempt, replay};
pub use spec::{health, image, manifest, offer, output, settings, workload};
pub use state::{decision, document, event, ledger, quality, record};
