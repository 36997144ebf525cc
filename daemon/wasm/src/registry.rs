//! Which instances there are and which version of each serves. One task writes; everyone reads what it has published without waiting. It must
//! not know wasmtime, how a file is loaded or by what a trial is judged.

mod commit;
mod handle;
mod host;
mod install;
mod instances;
mod jobs;
mod published;
mod reconciler;
mod service;
mod switch;
#[cfg(test)]
mod tests;
mod uploads;

pub use handle::Handle;
pub use host::{Error, Host, Options};
pub use reconciler::ReconcileError;
pub use switch::RollbackError;
