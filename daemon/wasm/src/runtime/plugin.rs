//! A loaded plugin as everything above this room sees it: a trait of the core. Knows neither the contract nor wasmtime.

use std::sync::Arc;

use tradewind_core::plugin::{Policy, Provider};

#[derive(Clone)]
pub enum Plugin {
    Provider(Arc<dyn Provider>),
    Policy(Arc<dyn Policy>),
}
