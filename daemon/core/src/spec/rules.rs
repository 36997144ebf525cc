//! The rules by which engines work, with every default filled in: what a manifest resolves to.

pub(crate) mod hedge;
pub(crate) mod replacement;
pub(crate) mod rollout;
pub(crate) mod scaling;
