//! What the core needs of others, as traits with their data: plugins, the store with its audit log, capabilities, grants, identities.

pub mod audit;
pub mod capability;
pub mod grant;
pub mod identity;
pub mod plugin;
pub mod session;
pub mod store;
pub mod vital;
