//! Tokens: makes them, finds the one that a request carries, ends them. Others talk to it through its `Handle`.
//! The state keeps what tokens hash to, never their text. It must not know HTTP.

mod admin;
mod handle;
mod limits;
mod state;
mod table;

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio_util::sync::CancellationToken;
use tradewind_core::{
    capability::Clock,
    identity::Escalation,
    names::TokenName,
    store::{self, Store},
    units::Instant,
};

pub use admin::reset;
pub use limits::{Patience, network};
pub use table::Identity;

use limits::Limits;
use table::Table;

/// Why a token was not made or ended, or tokens can't be had at all.
#[derive(Debug, thiserror::Error)]
#[allow(
    missing_docs,
    reason = "the messages say what the variants and their fields mean"
)]
pub enum Error {
    #[error("there is an active token \"{name}\" already")]
    Exists { name: TokenName },
    #[error("there is no token \"{name}\"")]
    NotFound { name: TokenName },
    #[error("\"{name}\" is the last token that may do everything")]
    Last { name: TokenName },
    #[error("the token would never be valid: it expires at once")]
    Stillborn,
    #[error(transparent)]
    Escalation(#[from] Escalation),
    #[error("the state could not be read or written")]
    Store(#[from] store::Error),
    #[error("the machine has no random numbers to give")]
    Entropy,
    #[error("\"{}\" can't be {action}", path.display())]
    File {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
}

/// Why a request is not let in. All of them look alike from far: the status is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[allow(
    missing_docs,
    reason = "the messages say what the variants and their fields mean"
)]
pub enum Refusal {
    #[error("a token is needed: send the header \"Authorization: Bearer TOKEN\"")]
    Missing,
    #[error("the token is not known here")]
    Unknown,
    #[error("the token has expired")]
    Expired,
    #[error("the token has been revoked")]
    Revoked,
}

/// Nobody is let in: why, and whose token it was.
pub struct Denied {
    /// What is wrong with the token.
    pub refusal: Refusal,
    /// Known where the token is one that has ended.
    pub identity: Option<Arc<Identity>>,
}

impl From<Refusal> for Denied {
    fn from(refusal: Refusal) -> Self {
        Self {
            refusal,
            identity: None,
        }
    }
}

/// How tokens are kept and bounded.
#[derive(Debug, Clone)]
pub struct Options {
    /// The folder in which the first token is left for its owner.
    pub data: PathBuf,
    /// Requests per second of one token, and of one address without a token.
    pub rate: u32,
    /// How many of them may come at once.
    pub burst: u32,
}

/// The way to the tokens. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

struct Shared {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    table: RwLock<Table>,
    limits: Limits,
}

/// Between two looks at what can be forgotten and what has to be written down.
const TIDY: Duration = Duration::from_secs(60);

/// Reads the tokens; makes the first one when there is none.
///
/// # Errors
/// The state can't be read or written, or the data folder can't.
pub async fn start(
    options: Options,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
) -> Result<Handle, Error> {
    let limits = Limits::new(options.rate, options.burst);
    let mut kept = state::load(store.as_ref()).await?;
    if kept.tokens.is_empty() {
        let first = admin::make(store.as_ref(), clock.now(), &options.data, None).await?;
        tracing::info!(path = %options.data.join(tradewind_config::ADMIN_FILE).display(), "the first token was made: its file is readable by you alone");
        kept.tokens.push(first);
    }
    let table = Table::new(kept, &limits);
    Ok(Handle {
        shared: Arc::new(Shared {
            store,
            clock,
            table: RwLock::new(table),
            limits,
        }),
    })
}

impl Shared {
    fn now(&self) -> Instant {
        self.clock.now()
    }

    // A table whose writer has panicked is still plain data: the next one sees the last complete write.
    fn read(&self) -> RwLockReadGuard<'_, Table> {
        self.table.read()
    }

    fn write(&self) -> RwLockWriteGuard<'_, Table> {
        self.table.write()
    }
}

impl Handle {
    /// Writes down from time to time when tokens were last used, until told to stop.
    pub async fn tidy(self, stop: CancellationToken) {
        loop {
            let stopped = tokio::time::timeout(TIDY, stop.cancelled()).await.is_ok();
            self.shared.limits.forget();
            if let Err(error) = self.record_uses().await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "when tokens were last used could not be recorded"
                );
            }
            if stopped {
                return;
            }
        }
    }
}
