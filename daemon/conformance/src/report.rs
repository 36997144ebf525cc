//! What the suite found, for people and for programs.

use serde::Serialize;
use tradewind_core::{names::Digest, plugin::Kind};
use tradewind_wasm::PluginInfo;

/// What became of one check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The plugin does what is asked.
    Passed,
    /// It does not.
    Failed,
    /// It does not apply to this plugin, or there is nothing to try it on.
    Skipped,
}

/// One check that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Checked {
    /// Stable: scripts may rely on it.
    pub name: &'static str,
    /// What is asked of the plugin.
    pub asks: &'static str,
    /// What became of it.
    pub outcome: Outcome,
    /// Why it failed or was skipped, or what was seen.
    pub reason: String,
    /// How long it took, in milliseconds.
    pub millis: u64,
}

/// All checks of one plugin, in the order in which they were made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The plugin's own name; empty when it can't tell.
    pub plugin: String,
    /// The plugin's version; empty when it can't tell.
    pub version: String,
    /// Provider or policy. `None`: it can't tell.
    pub kind: Option<Kind>,
    /// Of the component's bytes.
    pub digest: Option<Digest>,
    /// The name under which it was called.
    pub instance: String,
    /// Checks that passed.
    pub passed: usize,
    /// Checks that failed.
    pub failed: usize,
    /// Checks that were skipped.
    pub skipped: usize,
    /// Each check.
    pub checks: Vec<Checked>,
    /// What was made and could not be removed again, with the reason.
    pub left: Vec<String>,
    /// It was told to stop before the last check.
    pub stopped: bool,
}

impl Report {
    /// Whether nothing failed, everything that applies was tried, and nothing was left behind.
    pub fn is_good(&self) -> bool {
        self.failed == 0 && self.left.is_empty() && !self.stopped
    }

    pub(crate) fn is_about(&mut self, about: &PluginInfo, digest: Digest) {
        self.plugin = about.name.clone();
        self.version = about.version.clone();
        self.kind = Some(about.kind);
        self.digest = Some(digest);
    }

    pub(crate) fn add(&mut self, checked: Checked) {
        match checked.outcome {
            Outcome::Passed => self.passed += 1,
            Outcome::Failed => self.failed += 1,
            Outcome::Skipped => self.skipped += 1,
        }
        self.checks.push(checked);
    }
}
