//! The only writer of what is published. A change is made in the state, published, written to disk, and told to the instance's canary, in this
//! order: what is on disk never names a version that did not serve, and a version that serves does not wait for the disk.

use std::{collections::BTreeMap, sync::Arc};

use tradewind_api::{FolderProblem, PluginView, Refused, Rejection, ReloadReport, ShadowView};
use tradewind_core::{
    capability::Clock,
    names::{Actor, Digest, InstanceName},
};

use super::{
    instances::{Instances, Refusals, Step},
    jobs::Kept,
    published::{Change, Contents, Registry},
};
use crate::{
    base::pair::Pair,
    history::store::HistoryStore,
    load::version::Version,
    trial::{
        Deps,
        canary::{self, Canaries, CanaryError, Next},
        shadow::{self, ShadowError, Shadows},
    },
};

pub(super) struct Committer {
    registry: Arc<Registry>,
    store: HistoryStore,
    clock: Arc<dyn Clock>,
    instances: Instances,
    canaries: Canaries,
    shadows: Shadows,
    problems: Vec<FolderProblem>,
}

impl Committer {
    /// `instances`: as earlier runs left them.
    pub(super) fn new(
        registry: Arc<Registry>,
        deps: &Deps,
        instances: Instances,
        canaries: Canaries,
    ) -> Self {
        Self {
            registry,
            store: deps.store.clone(),
            clock: deps.clock.clone(),
            instances,
            canaries,
            shadows: Shadows::new(deps.clone()),
            problems: Vec::new(),
        }
    }

    pub(super) fn instances(&self) -> &Instances {
        &self.instances
    }

    pub(super) fn shadows(&self) -> &Shadows {
        &self.shadows
    }

    fn publish(&self, change: Change) {
        let contents = Contents {
            instances: self.instances.clone(),
            shadows: self.shadows.trials().clone(),
            canaries: self.canaries.published().clone(),
            problems: self.problems.clone(),
        };
        self.registry.publish(contents, change);
    }

    pub(super) fn view(&self, instance: &InstanceName) -> Option<PluginView> {
        self.registry.load().contents.view(instance)
    }

    // === the folder ===

    /// Files that can't belong to any instance.
    pub(super) fn set_problems(&mut self, problems: Vec<FolderProblem>) {
        self.problems = problems;
    }

    /// There is such an instance, if only by name.
    pub(super) fn mention(&mut self, instance: &InstanceName) {
        self.instances.mention(instance);
    }

    /// The folder holds this of it, whole.
    pub(super) fn found(
        &mut self,
        instance: &InstanceName,
        pair: Pair,
        refusals: Refusals,
    ) -> Step {
        self.instances.found(instance, pair, refusals)
    }

    /// Remembers a refusal. What serves goes on.
    pub(super) fn refuse(
        &mut self,
        instance: &InstanceName,
        (component, settings): (Option<Digest>, Digest),
        reason: String,
        report: &mut ReloadReport,
    ) {
        let rejection = Rejection {
            component,
            settings,
            reason: reason.clone(),
            at: self.clock.now(),
            current: true,
        };
        if !self.instances.refuse(instance, rejection) {
            report.unchanged.push(instance.clone());
            return;
        }
        tracing::warn!(%instance, reason, "plugin refused");
        report.rejected.push(Refused {
            instance: instance.clone(),
            reason,
        });
    }

    /// Takes out what the folder holds no more.
    pub(super) async fn drain_missing<T>(
        &mut self,
        found: &BTreeMap<InstanceName, T>,
        report: &mut ReloadReport,
    ) {
        let gone: Vec<InstanceName> = self
            .instances
            .names()
            .filter(|name| !found.contains_key(*name))
            .cloned()
            .collect();
        for instance in gone {
            self.drain(&instance, report).await;
            self.instances.gone_from_folder(&instance);
        }
    }

    /// Takes an instance out of the registry. Calls that hold its version go on.
    pub(super) async fn drain(&mut self, instance: &InstanceName, report: &mut ReloadReport) {
        if let Some(history) = self.instances.end(instance, self.clock.now()) {
            let name = instance.clone();
            let written = self
                .store
                .apart(move |store| store.keep(&name, &history, None));
            if let Err(error) = written.await {
                tracing::error!(%instance, %error, "the plugin's history can't be written");
            }
        }
        if self.instances.deactivate(instance) {
            tracing::info!(%instance, "plugin removed; calls that run go on");
            report.removed.push(instance.clone());
            self.publish(Change::Served);
            self.overtake_canary(instance).await;
        }
    }

    /// Versions of these are being loaded from now on, and of no others.
    pub(super) fn compiling<'a>(&mut self, these: impl IntoIterator<Item = &'a InstanceName>) {
        self.instances.compiling(these);
        self.publish(Change::Views);
    }

    /// Nothing is being loaded any more.
    pub(super) fn settled(&mut self) {
        self.instances.compiling([]);
    }

    /// Has a version that has proved good serve.
    pub(super) async fn activate(&mut self, instance: &InstanceName, version: Version, kept: Kept) {
        let id = version.identity.clone();
        let (from, now) = ((&*kept.file, kept.origin), self.clock.now());
        let history = self.instances.activate(instance, version, from, now);
        tracing::info!(%instance, plugin = id.plugin, version = id.version, digest = id.component.short(), "plugin active");
        self.publish(Change::Served);
        let name = instance.clone();
        let written = self.store.apart(move |store| {
            store.keep(&name, &history, Some((&kept.component, &kept.text)))?;
            store.sweep()
        });
        if let Err(error) = written.await {
            tracing::error!(%instance, %error, "the plugin's history can't be written: a roll-back to this version may fail");
        }
        self.overtake_canary(instance).await;
    }

    /// The look at the folder is over. Answers with the snapshot's version and the problems.
    pub(super) fn looked(&self) -> (u64, Vec<FolderProblem>) {
        self.publish(Change::Views);
        (self.registry.load().snapshot.version, self.problems.clone())
    }

    // === exchanges ===

    /// An operator has gone back to this version.
    pub(super) async fn roll_back(
        &mut self,
        instance: &InstanceName,
        version: Version,
        kept: Kept,
    ) {
        self.instances.pin(instance, kept.pair);
        self.instances.mark_rolled_back(instance);
        self.activate(instance, version, kept).await;
    }

    /// The instance's canary has proved good: it serves until the folder holds something else, as after a roll-back.
    pub(super) async fn promote(
        &mut self,
        instance: &InstanceName,
        version: Version,
        kept: Kept,
        (reason, by): (String, Option<Actor>),
    ) {
        let target = kept.pair;
        self.canaries.take_out(instance);
        self.instances.pin(instance, target);
        self.activate(instance, version, kept).await;
        // Told when it is on disk, not before.
        self.canaries.promoted(instance, target.0, reason, by);
        self.publish(Change::Views);
        self.canaries.forget(instance).await;
    }

    // === canaries ===

    /// Takes up those of earlier runs.
    pub(super) async fn resume_canaries(&mut self) {
        let instances = &self.instances;
        let next = self
            .canaries
            .resume(|instance| instances.incumbent(instance))
            .await;
        if next == Next::Publish {
            self.publish(Change::Served);
        }
    }

    /// # Errors
    /// Why it may not be one; nothing has changed then.
    pub(super) async fn start_canary(
        &mut self,
        proven: canary::Proven,
    ) -> Result<PluginView, CanaryError> {
        let instance = proven.instance().clone();
        let active = self.instances.incumbent(&instance).active;
        self.canaries.start(proven, active).await?;
        self.publish(Change::Served);
        self.view(&instance)
            .ok_or(CanaryError::UnknownInstance { instance })
    }

    /// The version of a canary that gets its share.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn running_canary(&self, instance: &InstanceName) -> Result<Pair, CanaryError> {
        self.canaries.running(instance)
    }

    /// # Errors
    /// There is none that runs.
    pub(super) async fn abort_canary(
        &mut self,
        instance: &InstanceName,
        by: Actor,
    ) -> Result<PluginView, CanaryError> {
        let reason = "an operator ended it".to_owned();
        let next = self.canaries.stop(instance, reason, Some(by)).await?;
        self.follow(instance, next).await;
        self.view(instance).ok_or_else(|| CanaryError::None {
            instance: instance.clone(),
        })
    }

    /// Looks at one that may have to end. Why it is to be promoted, if it is.
    pub(super) async fn judge_canary(&mut self, instance: &InstanceName) -> Option<String> {
        let next = self.canaries.judge(instance).await;
        self.follow(instance, next).await
    }

    /// Ends one that can't be promoted.
    pub(super) async fn give_up_canary(&mut self, instance: &InstanceName, reason: String) {
        let next = self.canaries.give_up(instance, reason).await;
        self.follow(instance, next).await;
    }

    /// The instance has got another version, or none.
    async fn overtake_canary(&mut self, instance: &InstanceName) {
        let serving = self.instances.serving(instance);
        let next = self.canaries.overtaken(instance, serving).await;
        self.follow(instance, next).await;
    }

    async fn follow(&mut self, instance: &InstanceName, next: Next) -> Option<String> {
        match next {
            Next::Nothing => {}
            Next::Publish => self.publish(Change::Served),
            Next::PublishAndForget => {
                self.publish(Change::Served);
                self.canaries.forget(instance).await;
            }
            Next::Promote(reason) => return Some(reason),
        }
        None
    }

    // === shadows ===

    /// Takes up those of earlier runs.
    pub(super) async fn resume_shadows(&mut self) {
        self.shadows.resume().await;
        if !self.shadows.trials().is_empty() {
            self.publish(Change::Served);
        }
    }

    /// # Errors
    /// The name is taken, there are too many, or it can't be remembered.
    pub(super) async fn take_shadow(
        &mut self,
        proven: shadow::Proven,
    ) -> Result<ShadowView, ShadowError> {
        let instances = &self.instances;
        let is_instance =
            |name: &InstanceName| instances.get(name).is_some_and(|slot| slot.is_in_use());
        let view = self.shadows.take(proven, is_instance).await?;
        self.publish(Change::Served);
        Ok(view)
    }

    /// # Errors
    /// There is none, or it can't be forgotten; it stays then.
    pub(super) async fn drop_shadow(
        &mut self,
        name: &InstanceName,
    ) -> Result<ShadowView, ShadowError> {
        let view = self.shadows.forget(name).await?;
        self.publish(Change::Served);
        Ok(view)
    }
}
