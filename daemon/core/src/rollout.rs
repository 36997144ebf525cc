//! Updates: how the replicas of a new version take the place of the old ones.

mod policy;

pub use policy::{CanaryStep, Percent, Share, Strategy, Update};
