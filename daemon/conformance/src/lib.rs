//! The conformance suite: what a plugin has to keep to, as checks that its author can run. It works on a plugin that has passed the daemon's
//! own gates, through the capabilities that it is handed, and knows neither files nor clouds.
//!
//! A provider does real things at the place that its instance file names. Everything that was made is written down before it is made, and
//! removed at the end, however the end comes.
#![warn(missing_docs)]

mod check;
mod policy;
mod ports;
mod provider;
mod report;
mod script;
mod subject;
mod suite;
mod tasks;

pub use report::{Checked, Outcome, Report};
pub use suite::{Error, Listed, Options, list, run};
pub use tasks::Tasks;
