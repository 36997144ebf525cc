//! What a manifest says about moving what runs to where it costs less. Wire types and their defaults.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    base::units::{MicroUsd, Millis, Percent},
    spec::rules::replacement::Rule,
};

/// Lets services move when prices change, if the move pays. It holds for the deployment that has
/// it, or for those of a namespace that have none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReplacementSpec {
    /// The time ahead over which savings count. Default: `24h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub horizon: Option<Millis>,
    /// What the move of one replica costs, in US dollars. The move must save it within `horizon`.
    /// Default: `0`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub migration_cost: Option<MicroUsd>,
    /// The least that a move must save per hour, in US dollars. Default: `0`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_saving: Option<MicroUsd>,
    /// The least share of its cost that a move must save. Default: `10%`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_share: Option<Percent>,
    /// How long a service stays where it was placed. Default: `1h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cooldown: Option<Millis>,
    /// The most replicas of the deployment that move within an hour. With 0, none moves, whatever
    /// the namespace says. Default: `10`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_moves: Option<u32>,
}

impl ReplacementSpec {
    /// The rule, with every default filled in.
    pub fn rule(&self) -> Rule {
        let default = Rule::default();
        Rule {
            horizon: self.horizon.unwrap_or(default.horizon),
            migration_cost: self.migration_cost.unwrap_or(default.migration_cost),
            min_saving: self.min_saving.unwrap_or(default.min_saving),
            min_share: self.min_share.unwrap_or(default.min_share),
            cooldown: self.cooldown.unwrap_or(default.cooldown),
            max_moves: self.max_moves.unwrap_or(default.max_moves),
        }
    }
}
