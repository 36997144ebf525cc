//! Canaries: a new version of an instance gets a share of its calls and is compared with the old one. It returns by itself when it does
//! worse, and is to be promoted when it has done well for long enough. What a version must show to become one is in `gate`, which of them there
//! are in `canaries`, and what runs beside what in `split`.

mod canaries;
mod gate;
mod policy;
mod provider;
mod published;
mod split;

use std::io;

use serde::{Deserialize, Serialize};
use tradewind_core::{
    canary::Terms,
    document::Document,
    names::{Actor, Digest, InstanceName},
    units::Instant,
};

use crate::{base::pair::Pair, load::error};

pub(crate) use canaries::{Canaries, Next};
pub(crate) use gate::{Gate, Incumbent, Proven};
pub(crate) use published::{Canary, Published};

use split::Made;

/// What the names of their documents begin with.
pub(crate) const PREFIX: &str = "canary-";

/// A new version to be tried on a share of the calls.
#[derive(Debug, Clone)]
pub struct CanaryStart {
    /// The instance that gets it.
    pub instance: InstanceName,
    /// The bytes of the new component.
    pub component: Vec<u8>,
    /// The instance file. None: the one that serves.
    pub text: Option<String>,
    /// Its share of the calls, and what it has to show.
    pub terms: Terms,
    /// Who starts it.
    pub by: Actor,
}

/// Why a canary is not started, promoted or ended.
#[derive(Debug, thiserror::Error)]
#[allow(
    missing_docs,
    reason = "the messages say what the variants and their fields mean"
)]
pub enum CanaryError {
    #[error("no plugin instance \"{instance}\" serves")]
    UnknownInstance { instance: InstanceName },
    #[error("\"{instance}\" has no canary")]
    None { instance: InstanceName },
    #[error("\"{instance}\" has a canary already, which is {state}")]
    Busy {
        instance: InstanceName,
        state: &'static str,
    },
    #[error("{0}")]
    Terms(String),
    #[error("this component with these settings serves already")]
    Same,
    #[error("it can't take over from \"{instance}\": {why}")]
    Other { instance: InstanceName, why: String },
    #[error("the instance file can't be used: {0}")]
    File(String),
    #[error("it would be refused as a plugin")]
    Load(#[source] Box<error::Error>),
    #[error("it can't be read, remembered or forgotten in the daemon's data folder")]
    HistoryStore(#[source] io::Error),
    #[error("the plugin host has stopped")]
    Stopped,
}

/// A canary as it is remembered.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    instance: InstanceName,
    component: Digest,
    settings: Digest,
    terms: Terms,
    by: Actor,
    since: Instant,
    returning: bool,
    #[serde(default)]
    made: Made,
}

impl Document for Record {}

impl Record {
    fn pair(&self) -> Pair {
        (self.component, self.settings)
    }
}

fn file_name(instance: &InstanceName) -> String {
    format!("{PREFIX}{instance}")
}
