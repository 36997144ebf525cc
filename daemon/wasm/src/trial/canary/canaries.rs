//! Which canaries run and how the last ones ended. It remembers them on disk, judges them and ends them. A promotion is carried out by whoever
//! exchanges versions: it is told to, and tells when it is done.

use std::{sync::Arc, time::Duration};

use tradewind_api::CanaryEnd;
use tradewind_core::{
    canary::Verdict,
    names::{Actor, Digest, InstanceName},
};

use super::{
    CanaryError, PREFIX, Record, file_name,
    gate::{Incumbent, Proven, compared_with, load},
    published::{Canary, Published},
    split::{Split, Verdicts},
};
use crate::{base::pair::Pair, load::version::Version, trial::Deps};

pub(crate) struct Canaries {
    deps: Deps,
    verdicts: Verdicts,
    published: Published,
}

/// What follows from a step.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub(crate) enum Next {
    Nothing,
    /// What serves has changed.
    Publish,
    /// The same, and then its document may go.
    PublishAndForget,
    /// It has done well, for this reason.
    Promote(String),
}

impl Canaries {
    pub(crate) fn new(deps: Deps, verdicts: Verdicts) -> Self {
        Self {
            deps,
            verdicts,
            published: Published::default(),
        }
    }

    pub(crate) fn published(&self) -> &Published {
        &self.published
    }

    /// `active`: what serves now.
    ///
    /// # Errors
    /// Why it may not be one; nothing has changed then.
    pub(crate) async fn start(
        &mut self,
        proven: Proven,
        active: Option<Arc<Version>>,
    ) -> Result<(), CanaryError> {
        let Proven {
            mut record,
            component,
            text,
            version,
            serving,
        } = proven;
        let instance = record.instance.clone();
        if compared_with(&self.published, &instance, active)?.pair() != serving {
            let why = "another version has taken its place meanwhile".to_owned();
            return Err(CanaryError::Other { instance, why });
        }
        record.since = self.deps.clock.now();
        let keep = record.clone();
        self.deps
            .store
            .apart(move |store| {
                let bytes = Some((keep.pair(), &*component, &*text));
                store.keep_trial(&file_name(&keep.instance), &keep, bytes)
            })
            .await
            .map_err(CanaryError::HistoryStore)?;
        tracing::info!(%instance, digest = record.component.short(), share = %record.terms.share, "canary started");
        self.published.ends.remove(&instance);
        self.watch(record, version);
        Ok(())
    }

    /// Gives it its share, and sees to it that it is judged when its time is over.
    fn watch(&mut self, record: Record, version: Version) {
        let (instance, verdicts) = (record.instance.clone(), self.verdicts.clone());
        let watched = self.deps.clock.now().since(record.since);
        let left = Duration::from_millis(record.terms.lasts.0.saturating_sub(watched.0));
        let split = Split::new(
            record,
            self.deps.store.clone(),
            self.deps.clock.clone(),
            verdicts.clone(),
        );
        let canary = Canary {
            version: Arc::new(version),
            split: Arc::new(split),
        };
        self.published.running.insert(instance.clone(), canary);
        tokio::spawn(async move {
            tokio::time::sleep(left).await;
            // The host may have stopped.
            let _stopped = verdicts.send(instance);
        });
    }

    /// Takes up those of earlier runs.
    pub(crate) async fn resume(&mut self, incumbent: impl Fn(&InstanceName) -> Incumbent) -> Next {
        let records = self
            .deps
            .store
            .apart(|store| store.trials::<Record>(PREFIX))
            .await;
        for record in records.unwrap_or_else(|error| {
            tracing::error!(%error, "canaries of earlier runs can't be read");
            Vec::new()
        }) {
            let instance = record.instance.clone();
            match self.load_again(&record, incumbent(&instance)).await {
                Some(Ok(version)) => self.watch(record, version),
                Some(Err(error)) => {
                    tracing::error!(%instance, error = &error as &dyn std::error::Error, "the canary does not load any more: the old version has all calls");
                    self.forget(&instance).await;
                }
                None => self.forget(&instance).await,
            }
        }
        if self.published.running.is_empty() {
            Next::Nothing
        } else {
            Next::Publish
        }
    }

    /// None: it has been promoted.
    async fn load_again(
        &self,
        record: &Record,
        incumbent: Incumbent,
    ) -> Option<Result<Version, CanaryError>> {
        let pair = record.pair();
        if incumbent.active.is_some_and(|active| active.pair() == pair) {
            return None;
        }
        let kept = self.deps.store.apart(move |store| store.bytes(pair)).await;
        Some(match kept {
            Ok((component, text)) => {
                load(
                    &*self.deps.loader,
                    record,
                    (component.into(), &text),
                    incumbent.census,
                )
                .await
            }
            Err(error) => Err(CanaryError::HistoryStore(error)),
        })
    }

    /// Looks at one that may have to end.
    pub(crate) async fn judge(&mut self, instance: &InstanceName) -> Next {
        let Some(canary) = self.published.get(instance).cloned() else {
            return Next::Nothing;
        };
        if !canary.is_open() {
            return if !canary.split.record().returning {
                // Its last call has closed it.
                self.end(instance, &canary, canary.split.reason(), None)
                    .await
            } else if canary.split.holds() == 0 {
                self.published.running.remove(instance);
                Next::PublishAndForget
            } else {
                Next::Nothing
            };
        }
        match canary.split.verdict() {
            Verdict::Wait => Next::Nothing,
            Verdict::Return(reason) => self.end(instance, &canary, reason, None).await,
            Verdict::Promote => {
                let calls = canary.split.counts().1;
                let reason = format!("{} calls, {} failures", calls.calls(), calls.failures());
                Next::Promote(reason)
            }
        }
    }

    /// Goes back to the old version. What the new one has made stays with it until the old one has taken it over.
    async fn end(
        &mut self,
        instance: &InstanceName,
        canary: &Canary,
        reason: String,
        by: Option<Actor>,
    ) -> Next {
        tracing::warn!(%instance, reason, "canary returned");
        canary.split.close().await;
        let end = CanaryEnd {
            at: self.deps.clock.now(),
            component: canary.pair().0,
            promoted: false,
            reason,
            by,
        };
        self.published.ends.insert(instance.clone(), end);
        if canary.split.holds() == 0 {
            self.published.running.remove(instance);
            self.forget(instance).await;
        }
        Next::Publish
    }

    /// The version of one that gets its share.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn running(&self, instance: &InstanceName) -> Result<Pair, CanaryError> {
        self.open(instance).map(Canary::pair)
    }

    fn open(&self, instance: &InstanceName) -> Result<&Canary, CanaryError> {
        self.published
            .get(instance)
            .filter(|canary| canary.is_open())
            .ok_or_else(|| CanaryError::None {
                instance: instance.clone(),
            })
    }

    /// Ends one that gets its share.
    ///
    /// # Errors
    /// There is none.
    pub(crate) async fn stop(
        &mut self,
        instance: &InstanceName,
        reason: String,
        by: Option<Actor>,
    ) -> Result<Next, CanaryError> {
        let canary = self.open(instance)?.clone();
        Ok(self.end(instance, &canary, reason, by).await)
    }

    /// Ends one that can't be promoted.
    pub(crate) async fn give_up(&mut self, instance: &InstanceName, reason: String) -> Next {
        match self.published.get(instance).cloned() {
            Some(canary) => self.end(instance, &canary, reason, None).await,
            None => Next::Nothing,
        }
    }

    /// Takes it out: its version is about to serve.
    pub(crate) fn take_out(&mut self, instance: &InstanceName) {
        self.published.running.remove(instance);
    }

    /// Its version serves.
    pub(crate) fn promoted(
        &mut self,
        instance: &InstanceName,
        component: Digest,
        reason: String,
        by: Option<Actor>,
    ) {
        let end = CanaryEnd {
            at: self.deps.clock.now(),
            component,
            promoted: true,
            reason,
            by,
        };
        self.published.ends.insert(instance.clone(), end);
    }

    /// The instance has got another version by other means, or none: there is nothing to compare with any more.
    pub(crate) async fn overtaken(
        &mut self,
        instance: &InstanceName,
        serving: Option<Pair>,
    ) -> Next {
        let Some(canary) = self.published.get(instance).cloned() else {
            return Next::Nothing;
        };
        if serving == Some(canary.pair()) {
            let reason = "the plugin folder holds it now".to_owned();
            self.take_out(instance);
            self.promoted(instance, canary.pair().0, reason, None);
            Next::PublishAndForget
        } else if canary.is_open() {
            let reason = "another version was put in place".to_owned();
            self.end(instance, &canary, reason, None).await
        } else {
            Next::Nothing
        }
    }

    /// Removes its document and what only that referred to.
    pub(crate) async fn forget(&self, instance: &InstanceName) {
        let file = file_name(instance);
        let gone = self.deps.store.apart(move |store| {
            store.forget_trial(&file)?;
            store.sweep()
        });
        if let Err(error) = gone.await {
            tracing::warn!(%instance, %error, "the canary can't be forgotten on disk");
        }
    }
}
