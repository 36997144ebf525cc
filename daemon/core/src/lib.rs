//! Tradewind's core: domain types, ports and pure logic. It depends on no engine, no cloud and no database, does no I/O and has no clock.

pub mod assess;
pub mod audit;
pub mod budget;
pub mod capability;
pub mod cost;
pub mod difference;
pub mod failure;
pub mod grant;
pub mod identity;
pub mod ledger;
pub mod manifest;
pub mod names;
pub mod offer;
pub mod placement;
pub mod plan;
pub mod plugin;
pub mod preempt;
pub mod record;
pub mod retry;
pub mod rollout;
pub mod scaling;
pub mod standing;
pub mod store;
pub mod units;
pub mod view;
pub mod workload;
