//! The plugin host as the daemon talks to it. The channels to the writer stay in here; it has no logic of its own.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tradewind_api::{FolderProblem, PluginView, ReloadReport, ShadowView};
use tradewind_core::{
    grant::{Entry, Spaces},
    identity::Scope,
    names::{Actor, Digest, InstanceName},
    plugin::{Identity, Plugins, Policy, Snapshot},
};

use super::{
    published::Registry, reconciler::ReconcileError, service::Command, switch::RollbackError,
    uploads::Uploads,
};
use crate::{
    load::loader::Loader,
    trial::{
        Deps,
        canary::{self, CanaryError, CanaryStart},
        recall::{Recall, RecallError},
        shadow::{self, ShadowError, ShadowStart},
    },
};

/// Talks to the host. Cheap to clone; calls after the shutdown answer that it has stopped.
#[derive(Clone)]
pub struct Handle {
    commands: mpsc::Sender<Command>,
    registry: Arc<Registry>,
    /// What loads outside the writer.
    deps: Deps,
    gate: canary::Gate,
    uploads: Uploads,
    recall: Arc<Recall>,
    /// For counts alone.
    loader: Arc<Loader>,
    ending: CancellationToken,
}

/// The host answers no more.
struct Stopped;

impl From<Stopped> for ShadowError {
    fn from(Stopped: Stopped) -> Self {
        Self::Stopped
    }
}

impl From<Stopped> for CanaryError {
    fn from(Stopped: Stopped) -> Self {
        Self::Stopped
    }
}

impl Plugins for Handle {
    fn snapshot(&self) -> Arc<Snapshot> {
        self.registry.snapshot()
    }
}

impl Handle {
    pub(super) fn new(
        commands: mpsc::Sender<Command>,
        registry: Arc<Registry>,
        deps: Deps,
        loader: Arc<Loader>,
        ending: CancellationToken,
    ) -> Self {
        Self {
            commands,
            registry,
            gate: canary::Gate::new(deps.clone()),
            uploads: Uploads::default(),
            recall: Arc::new(Recall::new(deps.loader.clone(), deps.store.clone())),
            deps,
            loader,
            ending,
        }
    }

    /// Looks at the folder now. Answers when everything that changed is active or refused.
    ///
    /// # Errors
    /// When the folder can't be listed; nothing changes then.
    pub async fn reconcile(&self) -> Result<ReloadReport, ReconcileError> {
        let (answer, answered) = oneshot::channel();
        self.commands
            .send(Command::Reconcile(answer))
            .await
            .map_err(|_| ReconcileError::Stopped)?;
        answered.await.map_err(|_| ReconcileError::Stopped)?
    }

    /// Every instance that is or was in the folder, by name.
    pub fn list(&self) -> Vec<PluginView> {
        let published = self.registry.load();
        let contents = &published.contents;
        contents
            .instances
            .names()
            .filter_map(|name| contents.view(name))
            .map(|view| self.uploads.over(view))
            .collect()
    }

    /// An instance that is or was in the folder. None: there is none of this name.
    pub fn inspect(&self, instance: &InstanceName) -> Option<PluginView> {
        let view = self.registry.load().contents.view(instance);
        view.map(|view| self.uploads.over(view))
    }

    /// Every instance that whoever reaches these namespaces may know of.
    pub fn list_for(&self, scope: &Scope) -> Vec<PluginView> {
        let published = self.registry.load();
        let contents = &published.contents;
        contents
            .instances
            .names()
            .filter_map(|name| contents.view_for(name, scope))
            .map(|view| self.uploads.over(view))
            .collect()
    }

    /// An instance, as whoever reaches these namespaces may know of it. None: there is none of this name for them.
    pub fn inspect_for(&self, instance: &InstanceName, scope: &Scope) -> Option<PluginView> {
        let view = self.registry.load().contents.view_for(instance, scope);
        view.map(|view| self.uploads.over(view))
    }

    /// By instance, for whose workloads it is and which secrets they may have.
    pub fn secrets(&self) -> Vec<(InstanceName, Spaces, Vec<Entry>)> {
        let published = self.registry.load();
        let active = published.contents.instances.active();
        active
            .map(|(name, version)| {
                (
                    name.clone(),
                    version.namespaces.clone(),
                    version.grants.secrets().cloned().collect(),
                )
            })
            .collect()
    }

    /// Files that can't belong to any instance.
    pub fn problems(&self) -> Vec<FolderProblem> {
        self.registry.load().contents.problems.clone()
    }

    /// Goes back to the version with this component digest, or to the one before. It serves, also after a restart, until the folder holds
    /// something else than what it holds now.
    ///
    /// # Errors
    /// When there is no such version; what serves goes on.
    pub async fn rollback(
        &self,
        instance: InstanceName,
        version: Option<Digest>,
    ) -> Result<PluginView, RollbackError> {
        let (answer, answered) = oneshot::channel();
        self.commands
            .send(Command::RollBack(instance, version, answer))
            .await
            .map_err(|_| RollbackError::Stopped)?;
        answered.await.map_err(|_| RollbackError::Stopped)?
    }

    /// Loads a policy through the gates of a plugin and keeps it beside the registry, also over a restart. No decision uses it.
    ///
    /// # Errors
    /// Why it may not be one; nothing has changed then.
    pub async fn start_shadow(&self, start: ShadowStart) -> Result<ShadowView, ShadowError> {
        // Outside the writer: what takes long to compile holds nothing up.
        let proven = shadow::prove(&*self.deps.loader, start).await?;
        self.ask(|answer| Command::TakeShadow(Box::new(proven), answer))
            .await?
    }

    /// Forgets a shadow policy. Calls on it that run go on.
    ///
    /// # Errors
    /// There is none of this name, or it can't be forgotten on disk.
    pub async fn drop_shadow(&self, name: InstanceName) -> Result<ShadowView, ShadowError> {
        self.ask(|answer| Command::DropShadow(name, answer)).await?
    }

    /// Puts a shadow policy's files into the plugin folder and looks at it, as if an operator had. The shadow stays until it is dropped.
    /// Once more is the same.
    ///
    /// # Errors
    /// The name is taken, the folder can't be written, or it is refused; what has been put there is gone again then.
    pub async fn install_shadow(&self, name: InstanceName) -> Result<PluginView, ShadowError> {
        self.ask(|answer| Command::InstallShadow(name, answer))
            .await?
    }

    /// Every shadow policy, by name.
    pub fn shadows(&self) -> Vec<ShadowView> {
        self.registry
            .load()
            .contents
            .shadows
            .values()
            .map(shadow::Trial::view)
            .collect()
    }

    /// The shadow policy of this name. None: there is none.
    pub fn shadow(&self, name: &InstanceName) -> Option<ShadowView> {
        self.registry
            .load()
            .contents
            .shadows
            .get(name)
            .map(shadow::Trial::view)
    }

    /// Loads a new version through the gates of a plugin and gives it a share of the instance's calls, until it returns or is promoted.
    ///
    /// # Errors
    /// Why it may not be one; nothing has changed then.
    pub async fn start_canary(&self, start: CanaryStart) -> Result<PluginView, CanaryError> {
        // Outside the writer: what takes long to compile holds nothing up, and ends when nobody waits for it.
        let published = self.registry.load();
        let contents = &published.contents;
        let incumbent = contents.instances.incumbent(&start.instance);
        let upload = self.uploads.begin(&start.instance);
        let proven = self
            .gate
            .prove(start, &contents.canaries, incumbent)
            .await?;
        drop((published, upload));
        self.ask(|answer| Command::StartCanary(Box::new(proven), answer))
            .await?
    }

    /// Ends a canary well: it serves until the plugin folder changes, as after a roll-back.
    ///
    /// # Errors
    /// There is none that runs, or it does not load any more.
    pub async fn promote_canary(
        &self,
        instance: InstanceName,
        by: Actor,
    ) -> Result<PluginView, CanaryError> {
        self.ask(|answer| Command::PromoteCanary(instance, by, answer))
            .await?
    }

    /// Goes back to the old version.
    ///
    /// # Errors
    /// There is none that runs.
    pub async fn abort_canary(
        &self,
        instance: InstanceName,
        by: Actor,
    ) -> Result<PluginView, CanaryError> {
        self.ask(|answer| Command::AbortCanary(instance, by, answer))
            .await?
    }

    /// The version of a policy that has this component and these settings: the one that serves, else one out of the kept bytes.
    ///
    /// # Errors
    /// When it is not kept any more, or does not load any more.
    pub async fn load_version(&self, identity: &Identity) -> Result<Arc<dyn Policy>, RecallError> {
        let serves = self
            .snapshot()
            .policies
            .get(&identity.instance)
            .filter(|p| {
                let id = p.identity();
                (id.component, id.settings) == (identity.component, identity.settings)
            })
            .cloned();
        match serves {
            Some(policy) => Ok(policy),
            None => self.recall.version(identity).await,
        }
    }

    /// A component that does not lie in the plugin folder, with the settings and limits that another policy had if it takes them and they are
    /// kept, else with none. It is granted nothing.
    ///
    /// # Errors
    /// When it is no policy that could serve.
    pub async fn load_candidate(
        &self,
        component: Vec<u8>,
        like: &Identity,
    ) -> Result<Arc<dyn Policy>, RecallError> {
        self.recall.visitor(component, like).await
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, Stopped> {
        let (answer, answered) = oneshot::channel();
        self.commands
            .send(command(answer))
            .await
            .map_err(|_| Stopped)?;
        answered.await.map_err(|_| Stopped)
    }

    /// Wakes after every look that changed something; the value is the snapshot's version.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.registry.subscribe()
    }

    /// Versions in memory: those that serve, and old ones that a call or a snapshot still holds.
    pub fn live_versions(&self) -> usize {
        self.loader.live_versions()
    }

    /// Compiled components in memory.
    pub fn live_components(&self) -> usize {
        self.loader.live_components()
    }

    /// Stops watching and waits for the effects that plugins began. What holds a snapshot can still call.
    pub async fn shutdown(&self) {
        self.ending.cancel();
        let (answer, answered) = oneshot::channel();
        if self.commands.send(Command::Shutdown(answer)).await.is_ok() {
            // An error means that it has stopped already.
            let _stopped = answered.await;
        }
    }
}
