//! An allocation's membership in a hedge.

use serde::{Deserialize, Serialize};

use crate::base::{names::AllocationId, units::Instant};

/// An allocation's membership in a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hedge {
    /// The first member's id.
    pub group: AllocationId,
    /// 0 for the one that the policy chose.
    pub rank: u32,
    /// When the group is given up.
    pub until: Instant,
}
