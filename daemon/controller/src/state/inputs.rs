//! A policy call on its way into the store: kept with the first of the decisions that came of it.

use std::sync::Arc;

use tokio::{sync::MutexGuard, task::spawn_blocking, time::Instant as Tick};
use tradewind_core::{
    names::DecisionId,
    placement::{Recorded, recorded},
    record::{INPUT_SIZES, INPUTS, InputSize},
    store::{self, Txn},
};

use crate::state::journal::encode;

/// Larger ones are not kept: a transaction has to end.
const MOST_BYTES: usize = 32 << 20;

/// One policy call, shared by the decisions that came of it.
#[derive(Debug)]
pub(crate) struct Inputs {
    pub(crate) id: DecisionId,
    recorded: Recorded,
    stored: tokio::sync::Mutex<bool>,
}

impl Inputs {
    pub(crate) fn new(id: DecisionId, recorded: Recorded) -> Self {
        Self {
            id,
            recorded,
            stored: tokio::sync::Mutex::new(false),
        }
    }

    pub(crate) fn recorded(&self) -> &Recorded {
        &self.recorded
    }

    /// Adds the inputs to a transaction, unless another one has stored them: of a batch's decisions the first to be stored does, and
    /// the others wait for that. Whoever gets `Storing` says when it is done; dropped before, the next one stores them.
    pub(crate) async fn join<'a>(
        self: &'a Arc<Self>,
        txn: Txn,
    ) -> Result<(Txn, Storing<'a>), store::Error> {
        let stored = self.stored.lock().await;
        if *stored {
            return Ok((txn, Storing(None)));
        }
        let this = self.clone();
        let began = Tick::now();
        let bytes = match spawn_blocking(move || recorded::encode(&this.recorded)).await {
            Ok(Ok(bytes)) if bytes.len() <= MOST_BYTES => bytes,
            Ok(Ok(bytes)) => {
                return Ok((
                    self.pass_over(
                        txn,
                        &format!("{} bytes, at most {MOST_BYTES} are kept", bytes.len()),
                    ),
                    Storing(None),
                ));
            }
            Ok(Err(error)) => return Ok((self.pass_over(txn, &error.to_string()), Storing(None))),
            Err(error) => return Ok((self.pass_over(txn, &error.to_string()), Storing(None))),
        };
        tracing::debug!(decision = %self.id, bytes = bytes.len(), micros = began.elapsed().as_micros(), "inputs packed");
        let size = InputSize {
            at: self.recorded.at,
            size: bytes.len() as u64,
        };
        let txn = txn
            .put(format!("{INPUT_SIZES}{}", self.id), encode(&size)?)
            .archive(format!("{INPUTS}{}", self.id), bytes);
        Ok((txn, Storing(Some(stored))))
    }

    /// A decision without its inputs is still a decision.
    fn pass_over(&self, txn: Txn, why: &str) -> Txn {
        tracing::warn!(decision = %self.id, why, "the inputs of the decision are not kept: it can't be replayed");
        txn
    }
}

/// Held by who stores the inputs, until that is done.
pub(crate) struct Storing<'a>(Option<MutexGuard<'a, bool>>);

impl Storing<'_> {
    pub(crate) fn done(self) {
        if let Some(mut stored) = self.0 {
            *stored = true;
        }
    }
}
