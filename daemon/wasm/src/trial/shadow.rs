//! Shadow policies: candidates that are loaded through the gates of a plugin and kept beside those that serve. No decision uses one; who asks
//! them is the controller's business.

use std::{collections::BTreeMap, io, path::PathBuf, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tradewind_core::{
    document::Document,
    grant::Grants,
    list::Listed,
    names::{Actor, Digest, InstanceName, Namespace},
    plugin::{Identity, Shadow},
    units::Instant,
};

use super::Deps;
use crate::{
    load::{
        Load,
        candidate::Candidate,
        error,
        instance_file::{self, InstanceFile},
        version::Version,
    },
    runtime::{
        call::{CallStatistics, Stats},
        plugin::Plugin,
        plugin_info::Kind,
    },
};

/// The most shadow policies of a daemon: each holds compiled code.
const MOST: usize = 16;
/// What the names of their documents begin with.
pub(crate) const PREFIX: &str = "shadow-";

/// A policy to be tried.
#[derive(Debug, Clone)]
pub struct ShadowStart {
    pub name: InstanceName,
    /// Whose decisions it sees.
    pub namespace: Namespace,
    pub component: Vec<u8>,
    /// `[settings]` and `[limits]`, as in an instance file without its line `component`. Empty: defaults.
    pub text: String,
    pub by: Actor,
}

/// A shadow policy as it is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ShadowRecord {
    pub name: InstanceName,
    /// Whose decisions it sees.
    pub namespace: Namespace,
    /// Of the component's bytes.
    pub component: Digest,
    /// Of the instance file's content.
    pub settings: Digest,
    /// Who started it.
    #[schemars(with = "String")]
    pub by: Actor,
    pub since: Instant,
}

impl Document for ShadowRecord {}

/// A shadow policy, as an operator sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ShadowView {
    #[serde(flatten)]
    pub record: ShadowRecord,
    /// Absent when it does not load any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
    /// Why it does not load any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    #[serde(default)]
    pub statistics: CallStatistics,
}

/// By name, which no other shadow has.
impl Listed for ShadowView {
    const LIST: &'static str = "shadows";
    type Key = InstanceName;

    fn key(&self) -> InstanceName {
        self.record.name.clone()
    }
}

#[derive(Debug, thiserror::Error)]
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
            record: self.record.clone(),
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

/// The shadow policies of a daemon.
pub(crate) struct Shadows {
    deps: Deps,
    trials: BTreeMap<InstanceName, Trial>,
}

impl Shadows {
    pub(crate) fn new(deps: Deps) -> Self {
        Self {
            deps,
            trials: BTreeMap::new(),
        }
    }

    /// By name.
    pub(crate) fn trials(&self) -> &BTreeMap<InstanceName, Trial> {
        &self.trials
    }

    /// Takes up those of earlier runs. One that does not load any more is kept and says why.
    pub(crate) async fn resume(&mut self) {
        let records = self
            .deps
            .store
            .apart(|store| store.trials::<ShadowRecord>(PREFIX))
            .await;
        let records = records.unwrap_or_else(|error| {
            tracing::error!(%error, "shadow policies of earlier runs can't be read");
            Vec::new()
        });
        for record in records {
            let stats = Arc::<Stats>::default();
            let loaded = self.load_again(&record, &stats).await;
            if let Err(why) = &loaded {
                tracing::warn!(shadow = %record.name, why, "the shadow policy does not load any more");
            }
            let trial = Trial {
                record,
                stats,
                loaded: loaded.map(Arc::new),
            };
            self.trials.insert(trial.record.name.clone(), trial);
        }
    }

    async fn load_again(
        &self,
        record: &ShadowRecord,
        stats: &Arc<Stats>,
    ) -> Result<Version, String> {
        let (component, text) = self
            .kept(record)
            .await
            .map_err(|e| format!("its bytes can't be read: {e}"))?;
        load(
            &*self.deps.loader,
            &record.name,
            component.into(),
            &text,
            stats,
        )
        .await
        .map_err(|e| match e {
            ShadowError::Load(why) => why.to_string(),
            other => other.to_string(),
        })
    }

    async fn kept(&self, record: &ShadowRecord) -> io::Result<(Vec<u8>, Vec<u8>)> {
        let pair = (record.component, record.settings);
        self.deps.store.apart(move |store| store.bytes(pair)).await
    }

    /// Remembers one that has passed the gates. `is_instance`: whether a plugin instance has a name.
    ///
    /// # Errors
    /// The name is taken, there are too many, or it can't be remembered.
    pub(crate) async fn take(
        &mut self,
        proven: Proven,
        is_instance: impl FnOnce(&InstanceName) -> bool,
    ) -> Result<ShadowView, ShadowError> {
        let Proven {
            start:
                ShadowStart {
                    name,
                    namespace,
                    component,
                    by,
                    ..
                },
            text,
            stats,
            version,
        } = proven;
        let taken = |by| ShadowError::Taken {
            name: name.clone(),
            by,
        };
        if self.trials.contains_key(&name) {
            return Err(taken("a shadow policy"));
        }
        if is_instance(&name) {
            return Err(taken("a plugin instance"));
        }
        if self.trials.len() >= MOST {
            return Err(ShadowError::TooMany);
        }
        let (component_digest, settings) = version.pair();
        let record = ShadowRecord {
            name: name.clone(),
            namespace,
            component: component_digest,
            settings,
            by,
            since: self.deps.clock.now(),
        };
        let keep = record.clone();
        self.deps
            .store
            .apart(move |store| {
                store.keep_trial(
                    &file_name(&keep.name),
                    &keep,
                    Some(((keep.component, keep.settings), &component, &text)),
                )
            })
            .await
            .map_err(ShadowError::HistoryStore)?;
        tracing::info!(shadow = %name, namespace = %record.namespace, digest = record.component.short(), "shadow policy started");
        let trial = Trial {
            record,
            stats,
            loaded: Ok(Arc::new(version)),
        };
        let view = trial.view();
        self.trials.insert(name, trial);
        Ok(view)
    }

    /// # Errors
    /// There is none, or it can't be forgotten; it stays then.
    pub(crate) async fn forget(&mut self, name: &InstanceName) -> Result<ShadowView, ShadowError> {
        let view = self.find(name)?.view();
        let file = file_name(name);
        self.deps
            .store
            .apart(move |store| {
                store.forget_trial(&file)?;
                store.sweep()
            })
            .await
            .map_err(ShadowError::HistoryStore)?;
        self.trials.remove(name);
        Ok(view)
    }

    /// What it is made of: its record, and the bytes of its component and its instance file.
    ///
    /// # Errors
    /// There is none, or its bytes can't be read.
    pub(crate) async fn files(
        &self,
        name: &InstanceName,
    ) -> Result<(ShadowRecord, Vec<u8>, Vec<u8>), ShadowError> {
        let record = self.find(name)?.record.clone();
        let (component, text) = self
            .kept(&record)
            .await
            .map_err(ShadowError::HistoryStore)?;
        Ok((record, component, text))
    }

    fn find(&self, name: &InstanceName) -> Result<&Trial, ShadowError> {
        self.trials
            .get(name)
            .ok_or_else(|| ShadowError::Unknown { name: name.clone() })
    }
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
