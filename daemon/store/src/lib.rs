//! The embedded state: core's `Store` over one SQLite file that one daemon owns.
//!
//! Writes go through one thread, which commits whatever has queued up together, so that many writers share one sync to disk; reads
//! run on blocking threads with connections of their own. It knows keys and bytes, and nothing of what they mean.
#![warn(missing_docs)]

mod audit;
mod database;
mod error;
mod file;
mod options;
mod readers;
mod schema;
mod snapshot;
mod tables;
mod tail;
mod watching;
mod writer;

pub use database::Database;
pub use error::Error;
pub use file::Lock;
pub use options::Options;
pub use snapshot::{Snapshot, inspect, read, renumber};
