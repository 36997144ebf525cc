//! From offers to a checked decision: cost, candidates, bounds, validation, how places have been doing, and the account of it all.

pub mod assess;
pub mod cost;
pub mod explain;
pub mod place_health;
pub mod placement;
pub mod preempt;
pub mod replay;
