//! Which versions of an instance have served, and their bytes: what a roll-back and a restart need. It must not know plugins, how they load or
//! what else is tried.

pub(crate) mod store;
pub(crate) mod versions;
