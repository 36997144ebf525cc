//! What tells versions of one instance apart.

use tradewind_core::names::Digest;

/// Component and instance file: what makes a version.
pub(crate) type Pair = (Digest, Digest);
