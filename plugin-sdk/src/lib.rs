//! Write Tradewind providers and policies.
//!
//! A plugin is a crate that implements one trait and registers it:
//!
//! * [`Score`] and [`register_score!`]: rank candidates; everything else about placing is done for you;
//! * [`Policy`] and [`register_policy!`]: decide a whole batch yourself, with views over the request and a [`Ledger`] that keeps the limits;
//! * [`Provider`] and [`register_provider!`]: make allocations real on some cloud;
//! * [`FleetProvider`], [`fleet::Cloud`] and `register_provider!(Fleet<MyCloud<Host>>)`: the same for a cloud whose unit is an instance, with
//!   little more than the cloud's own calls.
//!
//! `README.md` beside this crate is the author's guide. [`testing`] runs a plugin's logic under plain `cargo test`.
//!
//! This crate hides the generated bindings; nothing in it may depend on the daemon.

pub mod api;
#[doc(hidden)]
pub mod bindings;
mod error;
pub mod fleet;
pub mod host;
pub mod log;
#[doc(hidden)]
#[cfg(target_family = "wasm")]
pub mod memory;
pub mod policy;
pub mod provider;
pub mod settings;
#[cfg(not(target_family = "wasm"))]
pub mod testing;
pub mod types;
pub mod units;

pub use error::{Error, ErrorKind, UNSUPPORTED};
pub use fleet::FleetProvider;
pub use policy::{Answer, Columns, Ledger, Policy, PolicyInfo, Ranking, Request, Score};
pub use provider::{Context, Features, Offer, Provider, ProviderInfo};

/// The author's guide: its examples compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Guide;
