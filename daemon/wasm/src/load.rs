//! From a file to something that can be called: the plugin folder and its instance files, compiling, the audit, the settings. It loads one
//! candidate at a time. It must not know which versions serve, which are on trial or which were good before.

pub(crate) mod audit;
pub(crate) mod bounds;
mod cache;
pub(crate) mod candidate;
pub(crate) mod compiler;
mod components;
pub(crate) mod error;
pub(crate) mod folder;
pub(crate) mod inspect;
pub(crate) mod instance_file;
pub(crate) mod loader;
pub(crate) mod progress;
mod schema;
mod settings;
pub(crate) mod standalone;
mod survey;
pub(crate) mod toolchain;
pub(crate) mod version;
pub(crate) mod watch;

use async_trait::async_trait;

use candidate::Candidate;
use error::Error;
use version::Version;

/// All that the rooms above need of a loader.
#[async_trait]
pub(crate) trait Load: Send + Sync {
    /// # Errors
    /// Why it may not serve, as a sentence about the plugin.
    async fn load(&self, candidate: Candidate) -> Result<Version, Error>;
}
