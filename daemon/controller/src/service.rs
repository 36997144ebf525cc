//! What the handle offers, one file for each resource of the API.

pub(crate) mod assess;
pub(crate) mod audit;
pub(crate) mod decisions;
pub(crate) mod following;
pub(crate) mod handle;
mod lifetime;
pub(crate) mod listing;
pub(crate) mod logs;
pub(crate) mod measures;
pub(crate) mod namespaces;
mod pause;
pub(crate) mod places;
pub(crate) mod plans;
pub(crate) mod render;
pub(crate) mod rerun;
pub(crate) mod restart;
pub(crate) mod revisions;
pub(crate) mod session;
pub(crate) mod shadows;
mod usage;
