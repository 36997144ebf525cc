//! The rule of continuous re-placement.

use crate::base::units::{MicroUsd, Millis, Percent};

/// When a deployment's services move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// How far savings are counted ahead.
    pub horizon: Millis,
    /// Of one replica.
    pub migration_cost: MicroUsd,
    /// The least that is saved per hour, as an amount.
    pub min_saving: MicroUsd,
    /// The least that is saved per hour, as a share of what it costs now.
    pub min_share: Percent,
    /// How long a task stays where it is after a move, or after it was placed.
    pub cooldown: Millis,
    /// The most replicas of the deployment that move within an hour.
    pub max_moves: u32,
}

impl Default for Rule {
    fn default() -> Self {
        Self {
            horizon: Millis(24 * HOUR.0),
            migration_cost: MicroUsd(0),
            min_saving: MicroUsd(0),
            min_share: Percent(10),
            cooldown: HOUR,
            max_moves: 10,
        }
    }
}

/// The span over which moves are counted against `max_moves`.
pub const HOUR: Millis = Millis(3_600_000);
