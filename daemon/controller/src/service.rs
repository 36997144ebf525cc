//! What the handle offers, one file for each resource of the API.

pub(crate) mod assess;
pub(crate) mod audit;
pub(crate) mod decisions;
pub(crate) mod handle;
pub(crate) mod listing;
pub(crate) mod logs;
pub(crate) mod namespaces;
pub(crate) mod plans;
pub(crate) mod render;
pub(crate) mod rerun;
pub(crate) mod revisions;
pub(crate) mod shadows;
