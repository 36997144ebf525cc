//! Whether the daemon can do its work, for `/readyz` and for those who wait for it.

use std::{borrow::Cow, sync::Arc};

use tokio::sync::watch;

/// Why a daemon is not ready, for people.
pub type Reason = Cow<'static, str>;

/// Set by the wiring, read by the API. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Readiness {
    state: Arc<watch::Sender<Result<(), Reason>>>,
    storage: Arc<watch::Sender<Option<&'static str>>>,
}

impl Readiness {
    /// Not ready yet.
    pub fn starting() -> Self {
        Self {
            state: Arc::new(watch::Sender::new(Err("the daemon is starting".into()))),
            storage: Arc::default(),
        }
    }

    /// The daemon can do its work.
    pub fn ready(&self) {
        self.set(Ok(()));
    }

    /// The daemon ends: it answers only what it has begun.
    pub fn stopping(&self) {
        self.set(Err("the daemon is stopping".into()));
    }

    /// Something that it can't do its work without has failed.
    pub fn failed(&self, part: &str) {
        self.set(Err(format!(
            "a part of the daemon has failed: the {part}; the daemon ends"
        )
        .into()));
    }

    /// Why the state takes no writes, if it takes none.
    pub fn storage(&self, trouble: Option<&'static str>) {
        self.storage.send_modify(|s| *s = trouble);
    }

    fn set(&self, state: Result<(), Reason>) {
        self.state.send_modify(|s| *s = state);
    }

    /// # Errors
    /// Why it is not ready.
    pub fn get(&self) -> Result<(), Reason> {
        let storage = *self.storage.borrow();
        self.state
            .borrow()
            .clone()
            .and_then(|()| storage.map_or(Ok(()), |trouble| Err(trouble.into())))
    }
}
