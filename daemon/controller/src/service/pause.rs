//! Pausing an update and letting it go on. Neither makes a revision: what is asked for stays the same.

use tradewind_api::{Accepted, Outcome};
use tradewind_core::{
    event::Reason,
    names::{Actor, DeploymentName, Namespace},
    rollout::{Rollout, Status},
    store::{self, Expect},
};

use crate::{
    Error, Handle,
    service::{handle, revisions::nothing},
};

impl Handle {
    /// Stops an update where it is: nothing more is replaced, and what runs goes on. One that is paused stays so.
    ///
    /// # Errors
    /// `NothingTo` when none is under way, `NotFound`, `Generation`, or the state can't be written.
    pub async fn pause(
        &self,
        actor: &Actor,
        namespace: &Namespace,
        name: &DeploymentName,
        if_generation: Option<u64>,
    ) -> Result<Accepted, Error> {
        let now = self.shared.clock.now();
        let change = |rollout: &mut Rollout| match rollout.status {
            Status::Paused => Some(false),
            _ => rollout.pause(actor.as_str(), now).then_some(true),
        };
        self.turn(
            actor,
            namespace,
            name,
            if_generation,
            ("pause", Reason::RolloutPaused),
            change,
        )
        .await
    }

    /// Lets a paused update go on. The time of the pause counts neither for a step nor against a deadline.
    ///
    /// # Errors
    /// `NothingTo` when none is paused, `NotFound`, `Generation`, or the state can't be written.
    pub async fn resume(
        &self,
        actor: &Actor,
        namespace: &Namespace,
        name: &DeploymentName,
        if_generation: Option<u64>,
    ) -> Result<Accepted, Error> {
        let now = self.shared.clock.now();
        let change = |rollout: &mut Rollout| rollout.resume(now).then_some(true);
        self.turn(
            actor,
            namespace,
            name,
            if_generation,
            ("resume", Reason::RolloutResumed),
            change,
        )
        .await
    }

    /// `change`: none where it does not apply, false where it is so already.
    async fn turn(
        &self,
        actor: &Actor,
        namespace: &Namespace,
        name: &DeploymentName,
        if_generation: Option<u64>,
        (action, reason): (&'static str, Reason),
        change: impl Fn(&mut Rollout) -> Option<bool>,
    ) -> Result<Accepted, Error> {
        loop {
            let (key, record, revision) = self.found_at(namespace, name)?;
            handle::check_generation(&key, if_generation, record.generation)?;
            let mut after = (*record).clone();
            let changed = after
                .rollout
                .as_mut()
                .filter(|_| !record.deleting)
                .and_then(&change);
            let accepted = |outcome| Accepted {
                namespace: key.namespace.clone(),
                name: key.name.clone(),
                generation: record.generation,
                outcome,
            };
            match changed {
                None => return Err(nothing(&key, action)),
                Some(false) => return Ok(accepted(Outcome::Unchanged)),
                Some(true) => {}
            }
            let expect = Expect::AtRevision {
                key: key.path(),
                revision,
            };
            match self.write_same(actor, &key, after, expect, reason).await {
                // A step of the update came first.
                Err(Error::Store(store::Error::Conflict { .. })) => tokio::task::yield_now().await,
                Err(error) => return Err(error),
                Ok(_) => return Ok(accepted(Outcome::Updated)),
            }
        }
    }
}
