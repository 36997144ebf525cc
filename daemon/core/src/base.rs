//! What everything else is said with: names, units, texts of failures. It must know nothing of what Tradewind is for.

pub mod alike;
pub mod diagnose;
pub mod difference;
pub mod exhausted;
pub mod failure;
pub mod field;
pub mod list;
pub mod names;
pub mod retry;
pub(crate) mod revision;
pub mod units;
pub(crate) mod version;
