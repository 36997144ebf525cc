//! What a manifest says about tasks that belong together, or apart. Wire types.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    base::names::AffinityWord,
    spec::policy_call::{Group, Spread},
};

/// Tasks of one namespace with the same word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AffinitySpec {
    /// The word that these tasks have in common.
    pub with: AffinityWord,
    /// The domain that they share, or must not share. Where they name different ones, the narrowest
    /// holds for `affinity` and the widest for `antiAffinity`.
    pub domain: AffinityDomain,
}

/// Which places count as one for an affinity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AffinityDomain {
    /// Those of one zone.
    Zone,
    /// Those of one region.
    Region,
    /// Those of one provider.
    Provider,
}

impl AffinitySpec {
    pub(super) fn group(&self) -> Group {
        Group {
            word: self.with.to_string(),
            over: self.domain.over(),
        }
    }
}

impl AffinityDomain {
    /// The same, as policies are told.
    pub fn over(self) -> Spread {
        match self {
            Self::Zone => Spread::Zone,
            Self::Region => Spread::Region,
            Self::Provider => Spread::Provider,
        }
    }
}
