//! Shadow policies: candidates that are loaded through the gates of a plugin and kept beside those that serve. No decision uses one; who asks
//! them is the controller's business. What one must show is here; which of them there are is in `shadows`.

mod shadows;

use std::{io, path::PathBuf, sync::Arc};

use serde::{Deserialize, Serialize};
use tradewind_api::{ShadowFacts, ShadowView};
use tradewind_core::{
    document::Document,
    grant::Grants,
    names::{Actor, Digest, InstanceName, Namespace},
    plugin::{Kind, Shadow},
    units::Instant,
};

use crate::{
    load::{
        Load,
        candidate::Candidate,
        error,
        instance_file::{self, InstanceFile},
        version::Version,
    },
    runtime::{call::Stats, plugin::Plugin},
};

pub(crate) use shadows::Shadows;

/// The most shadow policies of a daemon: each holds compiled code.
const MOST: usize = 16;
/// What the names of their documents begin with.
pub(crate) const PREFIX: &str = "shadow-";

/// A policy to be tried.
#[derive(Debug, Clone)]
pub struct ShadowStart {
    /// The name of the shadow policy, and of the plugin when it is installed.
    pub name: InstanceName,
    /// Whose decisions it sees.
    pub namespace: Namespace,
    /// The bytes of its component.
    pub component: Vec<u8>,
    /// `[settings]` and `[limits]`, as in an instance file without its line `component`. Empty: defaults.
    pub text: String,
    /// Who starts it.
    pub by: Actor,
}

/// A shadow policy as it is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ShadowRecord {
    /// The name of the shadow policy.
    pub name: InstanceName,
    /// Whose decisions it sees.
    pub namespace: Namespace,
    /// Of the component's bytes.
    pub component: Digest,
    /// Of the instance file's content.
    pub settings: Digest,
    /// Who started it.
    pub by: Actor,
    /// When it was started.
    pub since: Instant,
}

impl Document for ShadowRecord {}

impl From<ShadowRecord> for ShadowFacts {
    fn from(from: ShadowRecord) -> Self {
        let ShadowRecord {
            name,
            namespace,
            component,
            settings,
            by,
            since,
        } = from;
        Self {
            name,
            namespace,
            component,
            settings,
            by,
            since,
        }
    }
}

/// Why a shadow policy is not started, installed or dropped.
#[derive(Debug, thiserror::Error)]
#[allow(
    missing_docs,
    reason = "the messages say what the variants and their fields mean"
)]
pub enum ShadowError {
    #[error("there is no shadow policy \"{name}\"")]
    Unknown { name: InstanceName },
    #[error("the name \"{name}\" is taken by {by}")]
    Taken {
        name: InstanceName,
        by: &'static str,
    },
    #[error("there are {MOST} shadow policies already, and no more are kept")]
    TooMany,
    #[error("the settings can't be used: {why}")]
    Settings { why: String },
    #[error("a shadow is a policy, and this component is a provider")]
    NotPolicy,
    #[error("it would be refused as a plugin")]
    Load(#[source] Box<error::Error>),
    #[error("its files can't be put into the plugin folder \"{path}\"")]
    Folder { path: PathBuf, source: io::Error },
    #[error("the plugin folder's new files are refused: {reason}")]
    Refused { reason: String },
    #[error("it can't be remembered or forgotten in the daemon's data folder")]
    HistoryStore(#[source] io::Error),
    #[error("the plugin host has stopped")]
    Stopped,
}

/// A shadow policy of the registry.
#[derive(Clone)]
pub(crate) struct Trial {
    record: ShadowRecord,
    stats: Arc<Stats>,
    loaded: Result<Arc<Version>, String>,
}

/// One that has passed the gates.
pub(crate) struct Proven {
    start: ShadowStart,
    text: Vec<u8>,
    stats: Arc<Stats>,
    version: Version,
}

impl Trial {
    pub(crate) fn callable(&self) -> Option<Shadow> {
        match &self.loaded.as_ref().ok()?.plugin {
            Plugin::Policy(p) => Some(Shadow {
                namespace: self.record.namespace.clone(),
                since: self.record.since,
                policy: p.clone(),
            }),
            Plugin::Provider(_) => None,
        }
    }

    pub(crate) fn view(&self) -> ShadowView {
        ShadowView {
            record: self.record.clone().into(),
            identity: self.loaded.as_ref().ok().map(|v| (*v.identity).clone()),
            failure: self.loaded.as_ref().err().cloned(),
            statistics: self.stats.read(),
        }
    }
}

/// Compiles, audits, links and asks it who it is.
///
/// # Errors
/// The gate that it does not pass.
pub(crate) async fn prove(loader: &dyn Load, start: ShadowStart) -> Result<Proven, ShadowError> {
    let text = instance_text(&start.name, &start.text)?;
    let stats = Arc::<Stats>::default();
    let component: Arc<[u8]> = start.component.clone().into();
    let version = load(loader, &start.name, component, &text, &stats).await?;
    Ok(Proven {
        start,
        text,
        stats,
        version,
    })
}

/// The instance file that its settings make.
fn instance_text(name: &InstanceName, given: &str) -> Result<Vec<u8>, ShadowError> {
    let refuse = |why: String| Err(ShadowError::Settings { why });
    if given.len() as u64 > instance_file::SIZE_CAP / 2 {
        return refuse(format!(
            "they have {} bytes, the most is {}",
            given.len(),
            instance_file::SIZE_CAP / 2
        ));
    }
    if given.trim().is_empty() {
        return Ok(Vec::new());
    }
    if given.lines().any(|line| {
        line.split('=')
            .next()
            .is_some_and(|key| key.trim() == "component")
    }) {
        return refuse("leave \"component\" out: it is the file that comes with them".to_owned());
    }
    Ok(format!("component = \"{name}.wasm\"\n{given}").into_bytes())
}

async fn load(
    loader: &dyn Load,
    name: &InstanceName,
    component: Arc<[u8]>,
    text: &[u8],
    stats: &Arc<Stats>,
) -> Result<Version, ShadowError> {
    let file = InstanceFile::kept(text, &format!("{name}.wasm"))
        .map_err(|e| ShadowError::Settings { why: e.to_string() })?;
    // Before anything of it runs: it could ask for what its sender may not give.
    if file.grants != Grants::default() {
        return Err(ShadowError::Settings {
            why: "grants: a policy takes none".to_owned(),
        });
    }
    let digest = Digest::of(&component);
    let candidate = Candidate {
        stats: stats.clone(),
        ..Candidate::apart(name.clone(), (file, Digest::of(text)), (component, digest))
    };
    let version = loader
        .load(candidate)
        .await
        .map_err(|e| ShadowError::Load(Box::new(e)))?;
    if version.about.kind == Kind::Policy {
        Ok(version)
    } else {
        Err(ShadowError::NotPolicy)
    }
}

fn file_name(name: &InstanceName) -> String {
    format!("{PREFIX}{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_become_an_instance_file_of_the_component() {
        let name: InstanceName = "next".parse().unwrap();
        assert_eq!(instance_text(&name, " \n").unwrap(), b"");
        let text = instance_text(&name, "[settings]\nmode = \"x\"\n").unwrap();
        assert_eq!(InstanceFile::parse(&text).unwrap().component, "next.wasm");
        let error = instance_text(&name, "component = \"other.wasm\"\n")
            .unwrap_err()
            .to_string();
        assert!(error.contains("leave \"component\" out"), "{error}");
    }
}
