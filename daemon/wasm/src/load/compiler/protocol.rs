//! What is said between the process that asks and the one that compiles: one line of JSON each way. Bytes of a component follow the first.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tradewind_core::units::{Bytes, Millis};

/// What is to be done, and with what limits.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) task: Task,
    /// Of the bytes that follow.
    pub(crate) size: u64,
    pub(crate) memory: Bytes,
    pub(crate) processor: Millis,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Task {
    /// The code goes into the cache in this folder; without one it is thrown away.
    Compile {
        folder: Option<PathBuf>,
        core_dumps: bool,
    },
    Settings {
        schema: Value,
        settings: Value,
    },
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Answer {
    Done,
    /// The component can't be compiled.
    Compile(String),
    /// The schema is none.
    Schema(String),
    /// The settings are not what the schema asks for.
    Settings {
        path: String,
        why: String,
    },
}

impl Task {
    pub(crate) fn what(&self) -> &'static str {
        match self {
            Self::Compile { .. } => "compiling it",
            Self::Settings { .. } => "comparing its settings with its schema",
        }
    }
}
