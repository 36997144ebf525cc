//! Shadow policies: candidates that are loaded through the gates of a plugin and kept beside the registry. No decision uses one; who asks
//! them is the controller's business. Installed, one becomes an ordinary file of the plugin folder.

use std::{io, path::PathBuf, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;
use tradewind_core::{
    document::Document,
    grant::Grants,
    list::Listed,
    names::{Actor, Digest, InstanceName, Namespace},
    plugin::{Identity, Shadow},
    units::Instant,
};

use crate::{
    call::{CallStatistics, Stats},
    history_store,
    instance_file::{self, InstanceFile},
    load::{self, Candidate, Loader},
    plugin_info::Kind,
    registry::Change,
    v0_1::Callable,
    version::{Census, Version},
    view::PluginView,
    writer::{Cause, Writer},
};

/// The most shadow policies of a daemon: each holds compiled code.
const MOST: usize = 16;
/// What their files in the ledger begin with.
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
    Load(#[source] Box<load::Error>),
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
        match &self.loaded.as_ref().ok()?.callable {
            Callable::Policy(p) => Some(Shadow {
                namespace: self.record.namespace.clone(),
                since: self.record.since,
                policy: p.clone(),
            }),
            Callable::Provider(_) => None,
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
pub(crate) async fn prove(loader: &Loader, start: ShadowStart) -> Result<Proven, ShadowError> {
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
    loader: &Loader,
    name: &InstanceName,
    component: Arc<[u8]>,
    text: &[u8],
    stats: &Arc<Stats>,
) -> Result<Version, ShadowError> {
    let file = match text {
        [] => InstanceFile::bare(&format!("{name}.wasm")),
        text => {
            InstanceFile::parse(text).map_err(|e| ShadowError::Settings { why: e.to_string() })?
        }
    };
    // Before anything of it runs: it could ask for what its sender may not give.
    if file.grants != Grants::default() {
        return Err(ShadowError::Settings {
            why: "grants: a policy takes none".to_owned(),
        });
    }
    let candidate = Candidate {
        instance: name.clone(),
        file,
        settings_digest: Digest::of(text),
        component_digest: Digest::of(&component),
        component,
        stats: stats.clone(),
        gate: None,
        census: Census::default(),
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

impl Writer {
    /// Takes up those of earlier runs. One that does not load any more is kept and says why.
    pub(crate) async fn resume_shadows(&mut self) {
        let ledger = self.ledger.clone();
        let records = spawn_blocking(move || ledger.trials::<ShadowRecord>(PREFIX))
            .await
            .map_err(io::Error::other)
            .and_then(|r| r);
        let records = records.unwrap_or_else(|error| {
            tracing::error!(%error, "shadow policies of earlier runs can't be read");
            Vec::new()
        });
        for record in records {
            let stats = Arc::<Stats>::default();
            let loaded = self.resume(&record, &stats).await;
            if let Err(why) = &loaded {
                tracing::warn!(shadow = %record.name, why, "the shadow policy does not load any more");
            }
            self.contents.shadows.insert(
                record.name.clone(),
                Trial {
                    record,
                    stats,
                    loaded: loaded.map(Arc::new),
                },
            );
        }
        if !self.contents.shadows.is_empty() {
            self.publish(Change::Served);
        }
    }

    async fn resume(&self, record: &ShadowRecord, stats: &Arc<Stats>) -> Result<Version, String> {
        let (component, text) = self
            .kept(record)
            .await
            .map_err(|e| format!("its bytes can't be read: {e}"))?;
        load(&self.loader, &record.name, component.into(), &text, stats)
            .await
            .map_err(|e| match e {
                ShadowError::Load(why) => why.to_string(),
                other => other.to_string(),
            })
    }

    async fn kept(&self, record: &ShadowRecord) -> io::Result<(Vec<u8>, Vec<u8>)> {
        let (ledger, pair) = (self.ledger.clone(), (record.component, record.settings));
        spawn_blocking(move || ledger.bytes(pair))
            .await
            .map_err(io::Error::other)?
    }

    /// # Errors
    /// The name is taken, there are too many, or it can't be remembered.
    pub(crate) async fn take_shadow(&mut self, proven: Proven) -> Result<ShadowView, ShadowError> {
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
        let in_folder = |s: &crate::registry::Slot| {
            s.active.is_some()
                || s.folder.is_some()
                || s.rejection.as_ref().is_some_and(|r| r.current)
        };
        if self.contents.shadows.contains_key(&name) {
            return Err(ShadowError::Taken {
                name,
                by: "a shadow policy",
            });
        }
        if self.contents.slots.get(&name).is_some_and(in_folder) {
            return Err(ShadowError::Taken {
                name,
                by: "a plugin instance",
            });
        }
        if self.contents.shadows.len() >= MOST {
            return Err(ShadowError::TooMany);
        }
        let (component_digest, settings) = (version.identity.component, version.identity.settings);
        let record = ShadowRecord {
            name: name.clone(),
            namespace,
            component: component_digest,
            settings,
            by,
            since: self.now(),
        };
        let (ledger, keep) = (self.ledger.clone(), record.clone());
        let written = spawn_blocking(move || {
            ledger.keep_trial(
                &file_name(&keep.name),
                &keep,
                Some(((keep.component, keep.settings), &component, &text)),
            )
        });
        written
            .await
            .map_err(io::Error::other)
            .and_then(|r| r)
            .map_err(ShadowError::HistoryStore)?;
        tracing::info!(shadow = %name, namespace = %record.namespace, digest = record.component.short(), "shadow policy started");
        let trial = Trial {
            record,
            stats,
            loaded: Ok(Arc::new(version)),
        };
        let view = trial.view();
        self.contents.shadows.insert(name, trial);
        self.publish(Change::Served);
        Ok(view)
    }

    /// # Errors
    /// There is none, or it can't be forgotten; it stays then.
    pub(crate) async fn drop_shadow(
        &mut self,
        name: &InstanceName,
    ) -> Result<ShadowView, ShadowError> {
        let view = self
            .contents
            .shadows
            .get(name)
            .map(Trial::view)
            .ok_or_else(|| ShadowError::Unknown { name: name.clone() })?;
        let (ledger, file) = (self.ledger.clone(), file_name(name));
        let gone = spawn_blocking(move || {
            ledger.forget_trial(&file)?;
            ledger.sweep()
        });
        gone.await
            .map_err(io::Error::other)
            .and_then(|r| r)
            .map_err(ShadowError::HistoryStore)?;
        self.contents.shadows.remove(name);
        self.publish(Change::Served);
        Ok(view)
    }

    /// Makes it a plugin of the folder.
    ///
    /// # Errors
    /// The name is taken, the folder can't be written, or what has been put there is refused; it is gone again then.
    pub(crate) async fn install_shadow(
        &mut self,
        name: &InstanceName,
    ) -> Result<PluginView, ShadowError> {
        let unknown = || ShadowError::Unknown { name: name.clone() };
        let record = self
            .contents
            .shadows
            .get(name)
            .map(|t| t.record.clone())
            .ok_or_else(unknown)?;
        let (component, text) = self
            .kept(&record)
            .await
            .map_err(ShadowError::HistoryStore)?;
        let mut files = vec![(self.folder.join(format!("{name}.wasm")), component)];
        if !text.is_empty() {
            // First: the component alone would be a plugin with the default settings.
            files.insert(0, (self.folder.join(format!("{name}.toml")), text));
        }
        let folder = self.folder.clone();
        let failed = |source| ShadowError::Folder {
            path: folder.clone(),
            source,
        };
        let paths: Vec<PathBuf> = files.iter().map(|(path, _)| path.clone()).collect();
        let free = spawn_blocking(move || put(&files))
            .await
            .map_err(io::Error::other)
            .and_then(|r| r);
        let looked = match free {
            Ok(true) => self.reconcile(Cause::Demand).await.map(|_| ()),
            Ok(false) => {
                return Err(ShadowError::Taken {
                    name: name.clone(),
                    by: "a file of the plugin folder",
                });
            }
            Err(error) => Err(error),
        };
        let slot = self.contents.slots.get(name);
        if slot.is_some_and(|s| s.serving() == Some((record.component, record.settings))) {
            return self.contents.view(name).ok_or_else(unknown);
        }
        let reason = slot
            .and_then(|s| s.rejection.as_ref())
            .map_or_else(|| "it did not load".to_owned(), |r| r.reason.clone());
        let removed = spawn_blocking(move || {
            paths
                .iter()
                .for_each(|path| drop(std::fs::remove_file(path)))
        });
        let _gone = removed.await;
        Err(looked.map_or_else(failed, |()| ShadowError::Refused { reason }))
    }
}

/// Writes files that are not there yet, or are so already. False: others have their names; nothing has been written.
fn put(files: &[(PathBuf, Vec<u8>)]) -> io::Result<bool> {
    if files
        .iter()
        .any(|(path, bytes)| std::fs::read(path).is_ok_and(|there| there != *bytes))
    {
        return Ok(false);
    }
    files
        .iter()
        .try_for_each(|(path, bytes)| history_store::write(path, bytes))?;
    Ok(true)
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
