//! What a call needs: the engine and its pool, a store with its budgets and deadline, the capabilities that are lent, the contract's adapter.
//! A plugin leaves this room as a trait of the core. It must not know plugin files, how code is compiled, versions beside one another or the
//! registry.

pub(crate) mod call;
pub(crate) mod census;
pub(crate) mod clouds;
pub(crate) mod compiled;
mod coredump;
pub(crate) mod engine;
pub(crate) mod host_context;
pub(crate) mod limits;
pub(crate) mod plugin;
pub(crate) mod plugin_info;
mod state;
pub(crate) mod v0_1;
