//! Continuous re-placement: whether moving what runs to where it would cost less now is worth it. Pure: it is told the prices and the time.
//!
//! A move must save at least a share and an amount per hour, so that small oscillations move nothing; what it saves within the horizon must
//! pay for it; and after it the task stays where it is for a while.

pub use crate::{
    spec::rules::replacement::{HOUR, Rule},
    state::replacement::Moved,
};

use std::fmt;

use crate::base::units::{Instant, MicroUsd, Millis};

/// Replicas that began to move within the last hour.
pub fn lately(moves: &[Moved], now: Instant) -> u32 {
    moves
        .iter()
        .filter(|m| now.since(m.at) < HOUR)
        .map(|m| m.replicas)
        .sum()
}

/// A task as it runs, and as the policy would place it now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// Per hour, of all replicas, by the quotes of now.
    pub now: MicroUsd,
    /// Per hour, of all replicas, as the policy would place them now.
    pub then: MicroUsd,
    /// Replicas that would change their place.
    pub moving: u32,
    /// When the youngest of its replicas was placed.
    pub placed_at: Instant,
    /// Replicas of its deployment that have begun to move within the last hour.
    pub lately: u32,
    /// Replicas of its namespace that have begun to move within the last hour.
    pub lately_in_namespace: u32,
}

/// Why a task stays where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stay {
    /// The policy places it where it is.
    Best,
    /// It would cost no less elsewhere.
    NoCheaper,
    /// It would save too little per hour.
    Small {
        /// What it would save per hour.
        saving: MicroUsd,
        /// The least that is worth a move.
        least: MicroUsd,
    },
    /// It would save less than moving costs.
    NotWorth {
        /// What it would save within the horizon.
        saved: MicroUsd,
        /// What moving costs.
        cost: MicroUsd,
        /// The horizon of its rule.
        horizon: Millis,
    },
    /// It was placed too short a time ago.
    Cooling {
        /// Until it may move.
        left: Millis,
    },
    /// Too many replicas have moved within the last hour.
    Budget {
        /// Whose limit it is: the deployment's or the namespace's.
        what: &'static str,
        /// Replicas that have moved within the last hour.
        lately: u32,
        /// Replicas that would move.
        moving: u32,
        /// The limit.
        most: u32,
    },
}

impl fmt::Display for Stay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Best => f.write_str("it is where the policy would place it"),
            Self::NoCheaper => f.write_str("where the policy would place it, it costs no less"),
            Self::Small { saving, least } => write!(
                f,
                "it would save {saving} per hour, less than the {least} that are worth a move"
            ),
            Self::NotWorth {
                saved,
                cost,
                horizon,
            } => write!(
                f,
                "it would save {saved} within {horizon}, and moving costs {cost}"
            ),
            Self::Cooling { left } => {
                write!(f, "it was placed not long ago: it stays for another {left}")
            }
            Self::Budget {
                what,
                lately,
                moving,
                most,
            } => {
                write!(
                    f,
                    "{lately} replicas have moved within the last hour and {moving} would: {what} allows {most}"
                )
            }
        }
    }
}

/// What a change would save per hour; nothing if it costs more.
pub fn saving(change: &Change) -> MicroUsd {
    MicroUsd(change.now.0.saturating_sub(change.then.0))
}

/// What moving costs in all.
pub fn cost(rule: &Rule, change: &Change) -> MicroUsd {
    rule.migration_cost.saturating_mul(u64::from(change.moving))
}

/// Whether a task moves. `in_namespace`: the most replicas of the whole namespace that move within an hour.
///
/// # Errors
/// Why it stays.
pub fn judge(rule: &Rule, in_namespace: u32, change: &Change, now: Instant) -> Result<(), Stay> {
    if change.moving == 0 {
        return Err(Stay::Best);
    }
    let saving = saving(change);
    if saving.0 == 0 {
        return Err(Stay::NoCheaper);
    }
    let share = u128::from(change.now.0) * u128::from(rule.min_share.0) / 100;
    let least = rule
        .min_saving
        .max(MicroUsd(u64::try_from(share).unwrap_or(u64::MAX)));
    if saving < least {
        return Err(Stay::Small { saving, least });
    }
    let saved = u128::from(saving.0) * u128::from(rule.horizon.0) / u128::from(HOUR.0);
    let (saved, cost) = (
        MicroUsd(u64::try_from(saved).unwrap_or(u64::MAX)),
        cost(rule, change),
    );
    if saved <= cost {
        return Err(Stay::NotWorth {
            saved,
            cost,
            horizon: rule.horizon,
        });
    }
    let age = now.since(change.placed_at);
    if age < rule.cooldown {
        return Err(Stay::Cooling {
            left: Millis(rule.cooldown.0 - age.0),
        });
    }
    for (what, lately, most) in [
        ("replacement.maxMoves", change.lately, rule.max_moves),
        (
            "replacement.max-moves",
            change.lately_in_namespace,
            in_namespace,
        ),
    ] {
        if lately.saturating_add(change.moving) > most {
            return Err(Stay::Budget {
                what,
                lately,
                moving: change.moving,
                most,
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::base::units::Percent;

    use super::*;

    const RULE: Rule = Rule {
        horizon: Millis(24 * 3_600_000),
        migration_cost: MicroUsd(100),
        min_saving: MicroUsd(20),
        min_share: Percent(10),
        cooldown: HOUR,
        max_moves: 4,
    };

    fn change(now: u64, then: u64) -> Change {
        Change {
            now: MicroUsd(now),
            then: MicroUsd(then),
            moving: 2,
            placed_at: Instant(0),
            lately: 0,
            lately_in_namespace: 0,
        }
    }

    #[test]
    fn a_move_has_to_be_worth_it_by_every_measure() {
        let later = Instant(2 * HOUR.0);
        let judge = |rule: &Rule, change: Change, at| judge(rule, 4, &change, at);
        assert_eq!(judge(&RULE, change(1000, 800), later), Ok(()));
        assert_eq!(
            judge(
                &RULE,
                Change {
                    moving: 0,
                    ..change(1000, 800)
                },
                later
            ),
            Err(Stay::Best)
        );
        assert_eq!(
            judge(&RULE, change(1000, 1000), later),
            Err(Stay::NoCheaper)
        );
        assert_eq!(
            judge(&RULE, change(1000, 901), later),
            Err(Stay::Small {
                saving: MicroUsd(99),
                least: MicroUsd(100)
            })
        );
        assert_eq!(
            judge(&RULE, change(100, 81), later),
            Err(Stay::Small {
                saving: MicroUsd(19),
                least: MicroUsd(20)
            })
        );
        assert_eq!(
            judge(&RULE, change(1000, 800), Instant(HOUR.0 - 1)),
            Err(Stay::Cooling { left: Millis(1) })
        );
        let dear = Rule {
            migration_cost: MicroUsd(2400),
            ..RULE
        };
        let why = Stay::NotWorth {
            saved: MicroUsd(4800),
            cost: MicroUsd(4800),
            horizon: RULE.horizon,
        };
        assert_eq!(judge(&dear, change(1000, 800), later), Err(why));
        let budget = |what, lately| {
            Err(Stay::Budget {
                what,
                lately,
                moving: 2,
                most: 4,
            })
        };
        assert_eq!(
            judge(
                &RULE,
                Change {
                    lately: 3,
                    ..change(1000, 800)
                },
                later
            ),
            budget("replacement.maxMoves", 3)
        );
        assert_eq!(
            judge(
                &RULE,
                Change {
                    lately_in_namespace: 3,
                    ..change(1000, 800)
                },
                later
            ),
            budget("replacement.max-moves", 3)
        );
    }

    /// Two places whose prices follow a path; the task is judged once a quarter of an hour. Answers the moves, as (saving per hour, cost).
    fn follow(rule: &Rule, prices: &[(u64, u64)]) -> Vec<(u64, u64)> {
        let (mut here, mut placed_at, mut moves) = (0, Instant(0), Vec::new());
        let mut record: Vec<Moved> = Vec::new();
        for (i, (a, b)) in prices.iter().enumerate() {
            let now = Instant(i as u64 * HOUR.0 / 4);
            let (mine, other) = if here == 0 { (a, b) } else { (b, a) };
            let lately = lately(&record, now);
            let change = Change {
                placed_at,
                lately,
                ..change(*mine, *other)
            };
            if judge(rule, u32::MAX, &change, now).is_ok() {
                moves.push((saving(&change).0, cost(rule, &change).0));
                record.push(Moved {
                    at: now,
                    task: "web".parse().expect("name"),
                    replicas: change.moving,
                });
                (here, placed_at) = (1 - here, now);
            }
        }
        moves
    }

    proptest! {
        #[test]
        fn prices_that_oscillate_within_the_hysteresis_move_nothing(swing in proptest::collection::vec((950u64..=1000, 950u64..=1000), 1..200)) {
            prop_assert!(follow(&RULE, &swing).is_empty());
        }

        #[test]
        fn moves_never_cost_more_than_they_are_predicted_to_save(
            path in proptest::collection::vec((1u64..2000, 1u64..2000), 1..200),
            migration in 0u64..10_000,
        ) {
            let rule = Rule { migration_cost: MicroUsd(migration), ..RULE };
            let moves = follow(&rule, &path);
            let saved: u64 = moves.iter().map(|(saving, _)| saving * rule.horizon.0 / HOUR.0).sum();
            let cost: u64 = moves.iter().map(|(_, cost)| cost).sum();
            prop_assert!(moves.is_empty() || cost < saved, "{cost} {saved}");
            // Four looks an hour, and a cool-down of one hour.
            prop_assert!(moves.len() <= path.len().div_ceil(4));
        }
    }
}
