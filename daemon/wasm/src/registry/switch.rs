//! Exchanges what serves for a version whose bytes are kept: a roll-back, a canary's promotion. The version is loaded anew first; what serves
//! goes on when it does not load.

use std::io;

use tradewind_api::PluginView;
use tradewind_core::names::{Actor, Digest, InstanceName};

use super::{commit::Committer, jobs::Jobs};
use crate::{load::error, trial::canary::CanaryError};

/// Why an instance does not go back to an earlier version. The version that serves goes on.
#[derive(Debug, thiserror::Error)]
#[allow(
    missing_docs,
    reason = "the messages say what the variants and their fields mean"
)]
pub enum RollbackError {
    #[error("no plugin instance \"{instance}\" lies in the plugin folder")]
    UnknownInstance { instance: InstanceName },
    #[error("\"{digest}\" is no earlier version of \"{instance}\"")]
    UnknownVersion {
        instance: InstanceName,
        digest: Digest,
    },
    #[error("\"{instance}\" has no earlier version")]
    NoEarlier { instance: InstanceName },
    #[error("the kept version \"{digest}\" of \"{instance}\" can't be read")]
    Unreadable {
        instance: InstanceName,
        digest: Digest,
        source: io::Error,
    },
    #[error("the kept version \"{digest}\" of \"{instance}\" does not load any more")]
    Load {
        instance: InstanceName,
        digest: Digest,
        source: Box<error::Error>,
    },
    #[error("the plugin host has stopped")]
    Stopped,
}

pub(super) struct Switch {
    jobs: Jobs,
}

impl Switch {
    pub(super) fn new(jobs: Jobs) -> Self {
        Self { jobs }
    }

    /// Goes back to an earlier version until the folder holds something else.
    ///
    /// # Errors
    /// When there is nothing to go back to, or it does not load any more.
    pub(super) async fn roll_back(
        &self,
        committer: &mut Committer,
        instance: &InstanceName,
        wanted: Option<Digest>,
    ) -> Result<PluginView, RollbackError> {
        let unknown = || RollbackError::UnknownInstance {
            instance: instance.clone(),
        };
        let instances = committer.instances();
        let slot = instances
            .get(instance)
            .filter(|slot| slot.folder().is_some())
            .ok_or_else(unknown)?;
        let target = slot.before(wanted).ok_or_else(|| match wanted {
            Some(digest) => RollbackError::UnknownVersion {
                instance: instance.clone(),
                digest,
            },
            None => RollbackError::NoEarlier {
                instance: instance.clone(),
            },
        })?;
        let job = self
            .jobs
            .kept(instances, instance, target)
            .await
            .map_err(|source| RollbackError::Unreadable {
                instance: instance.clone(),
                digest: target.0,
                source,
            })?;
        let loaded = self.jobs.run(job).await;
        let version = loaded.outcome.map_err(|source| RollbackError::Load {
            instance: instance.clone(),
            digest: target.0,
            source: Box::new(source),
        })?;
        committer.roll_back(instance, version, loaded.kept).await;
        committer.view(instance).ok_or_else(unknown)
    }

    /// # Errors
    /// There is no canary that runs, or it does not load any more.
    pub(super) async fn promote_canary(
        &self,
        committer: &mut Committer,
        instance: &InstanceName,
        by: Actor,
    ) -> Result<PluginView, CanaryError> {
        let reason = "an operator promoted it".to_owned();
        self.promote(committer, instance, (reason, Some(by)))
            .await?;
        committer.view(instance).ok_or_else(|| CanaryError::None {
            instance: instance.clone(),
        })
    }

    /// Looks at a canary that may have to end.
    pub(super) async fn judge_canary(&self, committer: &mut Committer, instance: &InstanceName) {
        let Some(reason) = committer.judge_canary(instance).await else {
            return;
        };
        if let Err(error) = self.promote(committer, instance, (reason, None)).await {
            let reason = format!("it can't be promoted: {error}");
            committer.give_up_canary(instance, reason).await;
        }
    }

    async fn promote(
        &self,
        committer: &mut Committer,
        instance: &InstanceName,
        why: (String, Option<Actor>),
    ) -> Result<(), CanaryError> {
        let target = committer.running_canary(instance)?;
        committer.mention(instance);
        let job = self
            .jobs
            .kept(committer.instances(), instance, target)
            .await
            .map_err(CanaryError::HistoryStore)?;
        let loaded = self.jobs.run(job).await;
        let version = loaded.outcome.map_err(|e| CanaryError::Load(Box::new(e)))?;
        committer.promote(instance, version, loaded.kept, why).await;
        Ok(())
    }
}
