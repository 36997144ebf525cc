//! Updates: how the replicas of a new version take the place of the old ones. Pure: from what runs, what is wanted and the time to how many
//! replicas each group shall have now. The same mechanism serves a new version, a new place and a replacement: a group that is not wanted
//! any more gives way to those that are, replica by replica.

mod engine;
#[cfg(test)]
mod tests;

pub use crate::{
    spec::rules::rollout::{CanaryStep, Percent, Share, Strategy, Update},
    state::rollout::{
        Cause, Drain, Hold, Mark, Outcome, Pause, Progress, Rollout, Standing, Status, Told,
        Verdict,
    },
};
pub use engine::{Group, Move, Moves, Task, advance, prepared};
