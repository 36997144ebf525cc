//! Why a file does not become a plugin.

use tradewind_core::failure::Failure;

use super::{
    audit, bounds,
    compiler::{self, Answer},
};

/// Why a file does not become a plugin.
#[derive(Debug, thiserror::Error)]
#[allow(
    missing_docs,
    reason = "the messages say what the variants and their fields mean"
)]
pub enum Error {
    #[error("it is not a WebAssembly component: {why}")]
    NotComponent { why: String },
    #[error("it can't be compiled: {why}")]
    Compile { why: String },
    #[error(transparent)]
    Audit(#[from] audit::Error),
    #[error(transparent)]
    Bounds(#[from] bounds::Error),
    #[error(transparent)]
    Budget(#[from] compiler::Error),
    #[error("{0}")]
    Limits(String),
    #[error("it needs {needs}, {most}")]
    Resources { needs: String, most: String },
    #[error("its imports or exports don't have the contract's types: {why}")]
    Types { why: String },
    #[error("it can't tell who it is: {}", .0.message)]
    Describe(Box<Failure>),
    #[error("its settings schema is not valid: {0}")]
    Schema(String),
    #[error("settings{path}: {why}")]
    Settings { path: String, why: String },
    #[error("the loading broke off")]
    Aborted,
}

impl Error {
    /// Whether the same bytes may load another time.
    pub(crate) fn may_pass(&self) -> bool {
        matches!(self, Self::Aborted)
            || matches!(self, Self::Describe(f) if f.code.as_deref() == Some("busy"))
    }
}

/// Off the async threads: what takes long there holds others up.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| Error::Aborted)
}

/// # Errors
/// What a process has found wrong.
pub(super) fn understood(answer: Answer) -> Result<(), Error> {
    match answer {
        Answer::Done => Ok(()),
        Answer::Compile(why) => Err(Error::Compile { why }),
        Answer::Schema(why) => Err(Error::Schema(why)),
        Answer::Settings { path, why } => Err(Error::Settings { path, why }),
    }
}
