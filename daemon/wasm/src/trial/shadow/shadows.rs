//! Which shadow policies there are. It remembers them on disk; the registry shows them and puts them into the plugin folder.

use std::{collections::BTreeMap, io, sync::Arc};

use tradewind_api::ShadowView;
use tradewind_core::names::InstanceName;

use super::{MOST, PREFIX, Proven, ShadowError, ShadowRecord, ShadowStart, Trial, file_name, load};
use crate::{load::version::Version, runtime::call::Stats, trial::Deps};

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
