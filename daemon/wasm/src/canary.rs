//! Canaries: a new version of an instance gets a share of its calls and is compared with the old one. It returns by itself when it does
//! worse, and is promoted when it has done well for long enough. What runs beside what is in `split`; who carries it out is the writer.

mod policy;
mod provider;
mod split;

use std::{io, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::{sync::mpsc, task::spawn_blocking};
use tradewind_core::{
    canary::{Counts, Terms, Verdict},
    document::Document,
    names::{Actor, Digest, InstanceName},
    plugin::{Features, Policy, Provider},
    units::Instant,
};

use crate::{
    call::Stats,
    history_store::{Pair, Pin},
    host::Handle,
    instance_file::InstanceFile,
    load::{self, Candidate, Loader},
    registry::{Change, Contents, Slot},
    v0_1::Callable,
    version::Version,
    view::PluginView,
    writer::{Writer, run},
};

use split::{Made, Split};

/// What their files in the ledger begin with.
pub(crate) const PREFIX: &str = "canary-";

/// A new version to be tried on a share of the calls.
#[derive(Debug, Clone)]
pub struct CanaryStart {
    pub instance: InstanceName,
    pub component: Vec<u8>,
    /// The instance file. None: the one that serves.
    pub text: Option<String>,
    pub terms: Terms,
    pub by: Actor,
}

/// Where a canary stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CanaryState {
    /// It gets its share.
    Running,
    /// It gets nothing new. What it has made goes back to the old version as soon as that finds it at the cloud.
    Returning,
}

/// A canary as an operator sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CanaryView {
    pub state: CanaryState,
    pub component: Digest,
    pub settings: Digest,
    pub version: String,
    #[serde(flatten)]
    pub terms: Terms,
    #[schemars(with = "String")]
    pub by: Actor,
    pub since: Instant,
    /// Calls of the old version since then, or since the daemon started, by operation.
    pub old: Counts,
    pub new: Counts,
    /// Allocations whose state the new version has made.
    pub holds: usize,
}

/// How the last canary ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CanaryEnd {
    pub at: Instant,
    pub component: Digest,
    pub promoted: bool,
    pub reason: String,
    /// Absent: it ended by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub by: Option<Actor>,
}

#[derive(Debug, thiserror::Error)]
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
    Load(#[source] Box<load::Error>),
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

/// A canary of the registry.
#[derive(Clone)]
pub(crate) struct Canary {
    version: Arc<Version>,
    split: Arc<Split>,
}

impl Canary {
    /// The instance's provider while both serve.
    pub(crate) fn provider(&self, old: &Version) -> Option<Arc<dyn Provider>> {
        match (&old.callable, &self.version.callable) {
            (Callable::Provider(old), Callable::Provider(new)) => Some(provider::split(
                old.clone(),
                new.clone(),
                self.split.clone(),
            )),
            _ => None,
        }
    }

    /// The instance's policy while both serve.
    pub(crate) fn policy(&self, old: &Version) -> Option<Arc<dyn Policy>> {
        match (&old.callable, &self.version.callable) {
            (Callable::Policy(old), Callable::Policy(new)) => {
                Some(policy::split(old.clone(), new.clone(), self.split.clone()))
            }
            _ => None,
        }
    }

    fn pair(&self) -> Pair {
        (
            self.version.identity.component,
            self.version.identity.settings,
        )
    }

    pub(crate) fn view(&self) -> CanaryView {
        let record = self.split.record();
        let (old, new) = self.split.counts();
        CanaryView {
            state: if self.split.is_open() {
                CanaryState::Running
            } else {
                CanaryState::Returning
            },
            component: record.component,
            settings: record.settings,
            version: self.version.identity.version.clone(),
            terms: record.terms,
            by: record.by.clone(),
            since: record.since,
            old,
            new,
            holds: self.split.holds(),
        }
    }
}

fn file_name(instance: &InstanceName) -> String {
    format!("{PREFIX}{instance}")
}

/// Why a version can't take over from another. None: it can.
fn unfit(old: &Version, new: &Version) -> Option<String> {
    if old.about.kind != new.about.kind {
        return Some(format!(
            "it is a {}, and that is a {}",
            new.about.kind, old.about.kind
        ));
    }
    let (old, new) = match (&old.callable, &new.callable) {
        (Callable::Provider(o), Callable::Provider(n)) => (o, n),
        // A policy keeps nothing: any may follow any.
        _ => return None,
    };
    let (was, is) = (&old.runner.identity.plugin, &new.runner.identity.plugin);
    if was != is {
        return Some(format!(
            "it is the plugin \"{is}\", which can't read the state of \"{was}\""
        ));
    }
    let json = |f: Features| serde_json::to_value(f).unwrap_or_default();
    let (had, has) = (json(old.features), json(new.features));
    let lost = had.as_object()?.iter().find(|(name, value)| {
        value.as_bool() == Some(true) && has.get(name.as_str()) != Some(*value)
    });
    lost.map(|(name, _)| format!("it lacks the feature \"{name}\""))
}

/// One that has passed the gates.
pub(crate) struct Proven {
    record: Record,
    component: Vec<u8>,
    text: Vec<u8>,
    version: Version,
    /// What it is to be compared with.
    serving: Pair,
}

/// The version that a canary would be compared with, and what it is made of.
///
/// # Errors
/// There is none, or it has a canary already.
fn compared_with(
    contents: &Contents,
    instance: &InstanceName,
) -> Result<(Arc<Version>, Pair), CanaryError> {
    if let Some(canary) = contents.canaries.get(instance) {
        let state = if canary.split.is_open() {
            "running"
        } else {
            "returning"
        };
        return Err(CanaryError::Busy {
            instance: instance.clone(),
            state,
        });
    }
    let slot = contents.slots.get(instance);
    let serves = slot.and_then(|slot| slot.active.clone().zip(slot.serving()));
    serves.ok_or_else(|| CanaryError::UnknownInstance {
        instance: instance.clone(),
    })
}

/// Has it pass the gates of a plugin.
///
/// # Errors
/// Why it may not be one.
pub(crate) async fn prove(handle: &Handle, start: CanaryStart) -> Result<Proven, CanaryError> {
    let CanaryStart {
        instance,
        component,
        text,
        terms,
        by,
    } = start;
    if let Some(fault) = terms.fault() {
        return Err(CanaryError::Terms(fault));
    }
    let contents = handle.registry.load().contents.clone();
    let (old, serving) = compared_with(&contents, &instance)?;
    let text = match text {
        Some(text) => text.into_bytes(),
        None => {
            let ledger = handle.ledger.clone();
            let bytes = spawn_blocking(move || ledger.bytes(serving))
                .await
                .map_err(io::Error::other)
                .and_then(|r| r);
            bytes.map_err(CanaryError::HistoryStore)?.1
        }
    };
    let record = Record {
        instance: instance.clone(),
        component: Digest::of(&component),
        settings: Digest::of(&text),
        terms,
        by,
        since: handle.loader.capabilities.clock.now(),
        returning: false,
        made: Made::default(),
    };
    if (record.component, record.settings) == serving {
        return Err(CanaryError::Same);
    }
    let version = load(
        &handle.loader,
        &contents,
        &record,
        component.clone().into(),
        &text,
    )
    .await?;
    match unfit(&old, &version) {
        Some(why) => Err(CanaryError::Other { instance, why }),
        None => Ok(Proven {
            record,
            component,
            text,
            version,
            serving,
        }),
    }
}

async fn load(
    loader: &Loader,
    contents: &Contents,
    record: &Record,
    component: Arc<[u8]>,
    text: &[u8],
) -> Result<Version, CanaryError> {
    let instance = &record.instance;
    let file = match text {
        [] => InstanceFile::bare(&format!("{instance}.wasm")),
        text => InstanceFile::parse(text).map_err(|e| CanaryError::File(e.to_string()))?,
    };
    // Counts and queue of its own: one that hangs must not take the old one's turns.
    let candidate = Candidate {
        instance: instance.clone(),
        file,
        settings_digest: record.settings,
        component,
        component_digest: record.component,
        stats: Arc::<Stats>::default(),
        gate: None,
        census: contents
            .slots
            .get(instance)
            .map(|slot| slot.census.clone())
            .unwrap_or_default(),
    };
    loader
        .load(candidate)
        .await
        .map_err(|e| CanaryError::Load(Box::new(e)))
}

impl Writer {
    /// # Errors
    /// Why it may not be one; nothing has changed then.
    pub(crate) async fn start_canary(&mut self, proven: Proven) -> Result<PluginView, CanaryError> {
        let Proven {
            mut record,
            component,
            text,
            version,
            serving,
        } = proven;
        let instance = record.instance.clone();
        if compared_with(&self.contents, &instance)?.1 != serving {
            let why = "another version has taken its place meanwhile".to_owned();
            return Err(CanaryError::Other { instance, why });
        }
        record.since = self.now();
        let (ledger, keep) = (self.ledger.clone(), record.clone());
        let written = spawn_blocking(move || {
            ledger.keep_trial(
                &file_name(&keep.instance),
                &keep,
                Some(((keep.component, keep.settings), &component, &text)),
            )
        });
        written
            .await
            .map_err(io::Error::other)
            .and_then(|r| r)
            .map_err(CanaryError::HistoryStore)?;
        tracing::info!(%instance, digest = record.component.short(), share = %record.terms.share, "canary started");
        self.contents.ends.remove(&instance);
        self.watch_canary(record, version);
        self.view_of(&instance)
            .ok_or(CanaryError::UnknownInstance { instance })
    }

    /// Shows it, and sees to it that it is judged when its time is over.
    fn watch_canary(&mut self, record: Record, version: Version) {
        let (instance, clock, verdicts) = (
            record.instance.clone(),
            self.loader.capabilities.clock.clone(),
            self.verdicts.clone(),
        );
        let left = record
            .terms
            .lasts
            .0
            .saturating_sub(self.now().since(record.since).0);
        let split = Arc::new(Split::new(
            record,
            self.ledger.clone(),
            clock,
            verdicts.clone(),
        ));
        self.contents.canaries.insert(
            instance.clone(),
            Canary {
                version: Arc::new(version),
                split,
            },
        );
        self.publish(Change::Served);
        tokio::spawn(async move {
            tokio::time::sleep(std::time::Duration::from_millis(left)).await;
            // The host may have stopped.
            let _stopped = verdicts.send(instance);
        });
    }

    /// Takes up those of earlier runs.
    pub(crate) async fn resume_canaries(&mut self) {
        let ledger = self.ledger.clone();
        let records = spawn_blocking(move || ledger.trials::<Record>(PREFIX))
            .await
            .map_err(io::Error::other)
            .and_then(|r| r);
        for record in records.unwrap_or_else(|error| {
            tracing::error!(%error, "canaries of earlier runs can't be read");
            Vec::new()
        }) {
            let instance = record.instance.clone();
            let pair = (record.component, record.settings);
            let serves = self.contents.slots.get(&instance).and_then(Slot::serving) == Some(pair);
            let ledger = self.ledger.clone();
            let bytes = spawn_blocking(move || ledger.bytes(pair))
                .await
                .map_err(io::Error::other)
                .and_then(|r| r);
            let loaded = match bytes {
                // It has been promoted.
                _ if serves => None,
                Ok((component, text)) => Some(
                    load(
                        &self.loader,
                        &self.contents,
                        &record,
                        component.into(),
                        &text,
                    )
                    .await,
                ),
                Err(error) => Some(Err(CanaryError::HistoryStore(error))),
            };
            match loaded {
                Some(Ok(version)) => self.watch_canary(record, version),
                Some(Err(error)) => {
                    tracing::error!(%instance, error = &error as &dyn std::error::Error, "the canary does not load any more: the old version has all calls");
                    self.forget_canary(&instance).await;
                }
                None => self.forget_canary(&instance).await,
            }
        }
    }

    async fn forget_canary(&self, instance: &InstanceName) {
        let (ledger, file) = (self.ledger.clone(), file_name(instance));
        let gone = spawn_blocking(move || {
            ledger.forget_trial(&file)?;
            ledger.sweep()
        });
        if let Err(error) = gone.await.map_err(io::Error::other).and_then(|r| r) {
            tracing::warn!(%instance, %error, "the canary can't be forgotten on disk");
        }
    }

    /// Looks at one that may have to end.
    pub(crate) async fn judge_canary(&mut self, instance: &InstanceName) {
        let Some(canary) = self.contents.canaries.get(instance).cloned() else {
            return;
        };
        if !canary.split.is_open() {
            if !canary.split.record().returning {
                // Its last call has closed it.
                let reason = canary.split.reason();
                self.end_canary(instance, &canary, reason, None).await;
            } else if canary.split.holds() == 0 {
                self.contents.canaries.remove(instance);
                self.publish(Change::Served);
                self.forget_canary(instance).await;
            }
            return;
        }
        match canary.split.verdict() {
            Verdict::Wait => {}
            Verdict::Return(reason) => self.end_canary(instance, &canary, reason, None).await,
            Verdict::Promote => {
                let calls = canary.split.counts().1;
                let reason = format!("{} calls, {} failures", calls.calls(), calls.failures());
                if let Err(error) = self.promote(instance, &canary, reason, None).await {
                    let reason = format!("it can't be promoted: {error}");
                    self.end_canary(instance, &canary, reason, None).await;
                }
            }
        }
    }

    /// Goes back to the old version. What the new one has made stays with it until the old one has taken it over.
    async fn end_canary(
        &mut self,
        instance: &InstanceName,
        canary: &Canary,
        reason: String,
        by: Option<Actor>,
    ) {
        tracing::warn!(%instance, reason, "canary returned");
        canary.split.close().await;
        let end = CanaryEnd {
            at: self.now(),
            component: canary.pair().0,
            promoted: false,
            reason,
            by,
        };
        self.contents.ends.insert(instance.clone(), end);
        if canary.split.holds() == 0 {
            self.contents.canaries.remove(instance);
            self.forget_canary(instance).await;
        }
        self.publish(Change::Served);
    }

    /// # Errors
    /// There is none that runs.
    pub(crate) async fn abort_canary(
        &mut self,
        instance: &InstanceName,
        by: Actor,
    ) -> Result<PluginView, CanaryError> {
        let none = || CanaryError::None {
            instance: instance.clone(),
        };
        let canary = self
            .contents
            .canaries
            .get(instance)
            .filter(|c| c.split.is_open())
            .cloned()
            .ok_or_else(none)?;
        self.end_canary(
            instance,
            &canary,
            "an operator ended it".to_owned(),
            Some(by),
        )
        .await;
        self.view_of(instance).ok_or_else(none)
    }

    /// # Errors
    /// There is none that runs, or it does not load any more.
    pub(crate) async fn promote_canary(
        &mut self,
        instance: &InstanceName,
        by: Actor,
    ) -> Result<PluginView, CanaryError> {
        let none = || CanaryError::None {
            instance: instance.clone(),
        };
        let canary = self
            .contents
            .canaries
            .get(instance)
            .filter(|c| c.split.is_open())
            .cloned()
            .ok_or_else(none)?;
        self.promote(
            instance,
            &canary,
            "an operator promoted it".to_owned(),
            Some(by),
        )
        .await?;
        self.view_of(instance).ok_or_else(none)
    }

    /// The registry's swap: it serves until the folder holds something else, as after a roll-back.
    async fn promote(
        &mut self,
        instance: &InstanceName,
        canary: &Canary,
        reason: String,
        by: Option<Actor>,
    ) -> Result<(), CanaryError> {
        let target = canary.pair();
        let job = self
            .recalled(instance, target)
            .await
            .map_err(CanaryError::HistoryStore)?;
        let (_, outcome, kept) = run(self.loader.clone(), job).await;
        let version = outcome.map_err(|e| CanaryError::Load(Box::new(e)))?;
        self.contents.canaries.remove(instance);
        if let Some(slot) = self.contents.slots.get_mut(instance) {
            slot.history.pin = slot
                .folder
                .filter(|folder| *folder != target)
                .map(|refused| Pin { refused, target });
        }
        self.activate(instance, version, kept).await;
        // Told when it is on disk, not before.
        let end = CanaryEnd {
            at: self.now(),
            component: target.0,
            promoted: true,
            reason,
            by,
        };
        self.contents.ends.insert(instance.clone(), end);
        self.publish(Change::Views);
        self.forget_canary(instance).await;
        Ok(())
    }

    /// The instance has got another version by other means: there is nothing to compare with any more.
    pub(crate) async fn overtake_canary(&mut self, instance: &InstanceName) {
        let Some(canary) = self.contents.canaries.get(instance).cloned() else {
            return;
        };
        if self.contents.slots.get(instance).and_then(Slot::serving) == Some(canary.pair()) {
            let reason = "the plugin folder holds it now".to_owned();
            let end = CanaryEnd {
                at: self.now(),
                component: canary.pair().0,
                promoted: true,
                reason,
                by: None,
            };
            self.contents.canaries.remove(instance);
            self.contents.ends.insert(instance.clone(), end);
            self.publish(Change::Served);
            self.forget_canary(instance).await;
        } else if canary.split.is_open() {
            self.end_canary(
                instance,
                &canary,
                "another version was put in place".to_owned(),
                None,
            )
            .await;
        }
    }

    fn view_of(&self, instance: &InstanceName) -> Option<PluginView> {
        self.contents.view(instance)
    }
}

/// Where it is told that a canary may have to end.
pub(crate) type Verdicts = mpsc::UnboundedSender<InstanceName>;
