//! What is stored: documents, plain data, each with the version in which it is kept. It must not know what is decided with it.

pub(crate) mod budget;
pub(crate) mod cordon;
pub mod decision;
pub mod document;
pub mod event;
pub(crate) mod forms;
pub(crate) mod hedge;
pub(crate) mod job;
pub mod ledger;
pub(crate) mod order;
pub(crate) mod plan;
pub mod quality;
pub mod record;
pub(crate) mod replacement;
pub(crate) mod rollout;
pub(crate) mod scaling;
pub(crate) mod schedule;
pub(crate) mod shadow;
