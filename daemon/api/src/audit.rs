//! The audit log, as the API shows it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tradewind_core::audit::{Bounds, Line};

use crate::Page;

/// Entries of the audit log, the oldest first.
pub type AuditView = Page<Line, Kept>;

/// What a list of audit entries says beside them.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "AuditKept")]
#[serde(rename_all = "camelCase")]
pub struct Kept {
    /// What is kept in all.
    pub bounds: Bounds,
}

impl From<tradewind_core::audit::Page> for AuditView {
    fn from(page: tradewind_core::audit::Page) -> Self {
        let tradewind_core::audit::Page { bounds, entries } = page;
        Self::new(entries, Kept { bounds })
    }
}
