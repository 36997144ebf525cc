//! A loaded plugin as everything above this room sees it: a trait of the core. Knows neither the contract nor wasmtime.

use std::sync::Arc;

use tradewind_core::plugin::{Policy, Provider};

/// A loaded plugin, of the kind that its exports tell.
#[derive(Clone)]
pub enum Plugin {
    /// It lists offers, and runs workloads on them.
    Provider(Arc<dyn Provider>),
    /// It decides where workloads run.
    Policy(Arc<dyn Policy>),
}
