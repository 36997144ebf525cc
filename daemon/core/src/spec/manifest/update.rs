//! How a new version takes the place of the old one, as a user writes it: for all services under `spec.update`, for one under its own
//! `update`, whose fields win one by one.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    base::units::Millis,
    spec::rules::rollout::{CanaryStep, Percent, Share, Strategy, Update},
};

/// How a new version of a service replaces the old one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct UpdateSpec {
    /// In which order old replicas go and new ones come. A task that can't run twice in one place
    /// is always recreated: fixed ports of a plain command, published ports, a persistent volume.
    /// Default: `rolling`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strategy: Option<Strategy>,
    /// Replicas that may exist beyond the wanted number. Default: `1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_surge: Option<Share>,
    /// Replicas that may be missing during the update. Default: `0`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_unavailable: Option<Share>,
    /// How long a replica must be ready before it counts. Default: `0s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_ready: Option<Millis>,
    /// An update without progress for this time has failed. Default: `10m`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Millis>,
    /// How long a replica goes on serving after it left the endpoints. Default: `1s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain: Option<Millis>,
    /// Whether a failed update returns to the last healthy revision. Default: `true`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollback: Option<bool>,
    /// The stages of a canary, with growing weights. After the last one the update goes on to all
    /// replicas.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<CanaryStepSpec>,
    /// How long the old replicas of `blue-green` stay after the switch, for an instant return.
    /// Default: `5m`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep: Option<Millis>,
}

/// One stage of a canary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CanaryStepSpec {
    /// The new version's share of the replicas and of the traffic.
    pub weight: Percent,
    /// How long the stage lasts. Default: until somebody promotes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Millis>,
}

impl UpdateSpec {
    /// `own` over `all`, field by field, with the defaults for what neither says.
    pub fn resolve(all: Option<&Self>, own: Option<&Self>) -> Update {
        fn pick<T: Clone>(
            all: Option<&UpdateSpec>,
            own: Option<&UpdateSpec>,
            field: impl Fn(&UpdateSpec) -> Option<T>,
        ) -> Option<T> {
            own.and_then(&field).or_else(|| all.and_then(&field))
        }
        let default = Update::default();
        let steps =
            pick(all, own, |u| (!u.steps.is_empty()).then(|| u.steps.clone())).unwrap_or_default();
        Update {
            strategy: pick(all, own, |u| u.strategy).unwrap_or(default.strategy),
            max_surge: pick(all, own, |u| u.max_surge).unwrap_or(default.max_surge),
            max_unavailable: pick(all, own, |u| u.max_unavailable)
                .unwrap_or(default.max_unavailable),
            min_ready: pick(all, own, |u| u.min_ready).unwrap_or(default.min_ready),
            deadline: pick(all, own, |u| u.deadline).unwrap_or(default.deadline),
            drain: pick(all, own, |u| u.drain).unwrap_or(default.drain),
            rollback: pick(all, own, |u| u.rollback).unwrap_or(default.rollback),
            steps: steps
                .into_iter()
                .map(|s| CanaryStep {
                    weight: s.weight,
                    hold: s.hold,
                })
                .collect(),
            keep: pick(all, own, |u| u.keep).unwrap_or(default.keep),
        }
    }
}
