//! What a manifest says about moving what runs to where it costs less. Wire types and their defaults.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    base::units::{MicroUsd, Millis, Percent},
    spec::rules::replacement::Rule,
};

/// Lets services move when prices have, if that is worth it. Absent: as their namespace says, by default they stay where they are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReplacementSpec {
    /// How far savings are counted ahead. Default 24h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub horizon: Option<Millis>,
    /// What moving one replica costs, in US dollars: it has to be saved within the horizon. Default 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub migration_cost: Option<MicroUsd>,
    /// The least amount that a move saves per hour, in US dollars. Default 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_saving: Option<MicroUsd>,
    /// The least share of its cost that a move saves. Default 10%.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_share: Option<Percent>,
    /// How long a service stays where it was placed. Default 1h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cooldown: Option<Millis>,
    /// The most replicas of the deployment that move within an hour; 0: none do, whatever the namespace says. Default 10.
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
