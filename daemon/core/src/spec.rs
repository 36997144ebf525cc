//! What is asked for, and what is offered: manifests and the tasks they become, the rules of the engines, offers, and the call of a policy. It must
//! not know what runs.

pub mod health;
pub mod image;
pub mod manifest;
pub mod offer;
pub mod output;
pub(crate) mod policy_call;
pub(crate) mod rules;
pub mod settings;
pub mod workload;
