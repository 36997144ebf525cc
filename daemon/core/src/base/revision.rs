//! The number of a transaction of the store.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Counts committed transactions, from 1. A key's revision is that of the transaction that last wrote it.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    JsonSchema,
)]
pub struct Revision(pub u64);
