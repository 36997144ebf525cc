//! The rule of hedged provisioning.

use crate::base::units::{MicroUsd, Millis};

/// A task's hedge, with every default filled in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// How many places are asked in all.
    pub offers: u32,
    /// How long the group has for one of them to become ready.
    pub within: Millis,
    /// The most that the additional ones may cost together.
    pub spend_cap: Option<MicroUsd>,
}
