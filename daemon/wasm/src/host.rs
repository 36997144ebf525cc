//! The plugin host as the daemon sees it: options in, plugins and a handle out. The channels to the writer stay in here.

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio::{
    sync::{Semaphore, mpsc, oneshot, watch},
    time::{Instant, MissedTickBehavior, interval_at, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use tradewind_core::{
    grant::{Entry, Spaces},
    identity::Scope,
    names::{Actor, Digest, InstanceName},
    plugin::{Plugins, Snapshot},
    units::Bytes,
    vital,
};

use crate::{
    canary::{self, CanaryError, CanaryStart},
    compiler::Compiling,
    engine::{self, Engine},
    history_store::HistoryStore,
    host_context::Capabilities,
    load::{self, Loader},
    registry::{Contents, Registry},
    shadow::{self, ShadowError, ShadowStart, ShadowView},
    view::{PluginView, Problem, Report},
    watch::Watch,
    writer::{Cause, Writer},
};

/// How often is asked whether the folder's name means another folder.
const PULSE: Duration = Duration::from_millis(250);

/// How the host runs. Every folder is made if it is missing, except the plugin folder.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where components and instance files lie.
    pub folder: PathBuf,
    /// Where the history and the good versions' bytes are kept. Not in the plugin folder.
    pub state_folder: PathBuf,
    /// Where compiled code is kept. Not in the plugin folder.
    pub cache_folder: PathBuf,
    /// How long the folder must be quiet before it is looked at. Default 100 ms.
    pub quiet_period: Duration,
    /// How often the folder is looked at without any event. Default 30 s.
    pub rescan_interval: Duration,
    /// The largest component. Default 64Mi.
    pub size_cap: Bytes,
    /// Calls at once, each counted by its component's memories. Default 128.
    pub call_slots: u32,
    /// The most an instance file may ask for in `limits.memory`. Default 512Mi.
    pub memory_ceiling: Bytes,
    /// How long a call waits for a slot before it is refused as busy. Default 5 s.
    pub slot_wait: Duration,
    /// How long a shutdown waits for effects that plugins began. Default 10 s.
    pub drain_timeout: Duration,
    /// How many core dumps of plugins that trapped are kept, in the folder `core-dumps` beside the state folder. Default 0: none are written.
    pub core_dumps: usize,
    /// How components are compiled. Default: in this process, within the default bounds.
    pub compiling: Compiling,
    /// Whether a file that is open, found at this path, may be believed: components and instance files decide what is done. Default: yes.
    pub believes: Believes,
}

/// Looks at an open file and at the folders on the way to it.
pub type Believes = fn(&std::fs::File, &std::path::Path) -> std::io::Result<()>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("plugins.folder \"{path}\" can't be read")]
    Folder {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("the plugins' state folder \"{path}\" can't be used")]
    StateFolder {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("the plugins' state folder \"{path}\" must not lie in the plugin folder")]
    StateInPlugins { path: PathBuf },
    #[error(transparent)]
    Engine(#[from] engine::Error),
}

#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    #[error("plugins.folder \"{path}\" can't be read; what served goes on serving")]
    Folder {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("the plugin host has stopped")]
    Stopped,
}

#[derive(Debug, thiserror::Error)]
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
        source: std::io::Error,
    },
    #[error("the kept version \"{digest}\" of \"{instance}\" does not load any more")]
    Load {
        instance: InstanceName,
        digest: Digest,
        source: Box<load::Error>,
    },
    #[error("the plugin host has stopped")]
    Stopped,
}

/// The running host. The folder is watched until `Handle::shutdown`.
#[derive(Clone)]
pub struct Host {
    handle: Handle,
}

/// Talks to the host. Cheap to clone; calls after the shutdown answer that it has stopped.
#[derive(Clone)]
pub struct Handle {
    commands: mpsc::Sender<Command>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) loader: Arc<Loader>,
    pub(crate) ledger: HistoryStore,
    /// Turns of those that load what never serves.
    pub(crate) looks: Arc<Semaphore>,
    ending: CancellationToken,
}

enum Command {
    Reconcile(oneshot::Sender<Result<Report, ReconcileError>>),
    RollBack(
        InstanceName,
        Option<Digest>,
        oneshot::Sender<Result<PluginView, RollbackError>>,
    ),
    TakeShadow(
        Box<shadow::Proven>,
        oneshot::Sender<Result<ShadowView, ShadowError>>,
    ),
    DropShadow(
        InstanceName,
        oneshot::Sender<Result<ShadowView, ShadowError>>,
    ),
    InstallShadow(
        InstanceName,
        oneshot::Sender<Result<PluginView, ShadowError>>,
    ),
    StartCanary(
        Box<canary::Proven>,
        oneshot::Sender<Result<PluginView, CanaryError>>,
    ),
    PromoteCanary(
        InstanceName,
        Actor,
        oneshot::Sender<Result<PluginView, CanaryError>>,
    ),
    AbortCanary(
        InstanceName,
        Actor,
        oneshot::Sender<Result<PluginView, CanaryError>>,
    ),
    Shutdown(oneshot::Sender<()>),
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

/// The task that owns the writer.
struct Service {
    writer: Writer,
    commands: mpsc::Receiver<Command>,
    /// Canaries that may have to end.
    told: mpsc::UnboundedReceiver<InstanceName>,
    watch: Watch,
    options: Options,
}

// === impl Options ===

impl Options {
    /// The defaults, with these folders.
    pub fn new(
        folder: impl Into<PathBuf>,
        state_folder: impl Into<PathBuf>,
        cache_folder: impl Into<PathBuf>,
    ) -> Self {
        Self {
            folder: folder.into(),
            state_folder: state_folder.into(),
            cache_folder: cache_folder.into(),
            quiet_period: Duration::from_millis(100),
            rescan_interval: Duration::from_secs(30),
            size_cap: Bytes(64 << 20),
            call_slots: 128,
            memory_ceiling: Bytes(512 << 20),
            slot_wait: Duration::from_secs(5),
            drain_timeout: Duration::from_secs(10),
            core_dumps: 0,
            compiling: Compiling::default(),
            believes: |_, _| Ok(()),
        }
    }
}

// === impl Host ===

impl Host {
    /// Starts the engine, loads what lies in the folder, then watches it. A plugin that is refused does not keep the host from starting.
    ///
    /// # Errors
    /// When a folder can't be used or the engine can't start.
    pub async fn start(options: Options, capabilities: Capabilities) -> Result<Self, Error> {
        let opened = tokio::task::spawn_blocking({
            let options = options.clone();
            move || open(&options)
        });
        let (engine, ledger) = match opened.await {
            Ok(opened) => opened?,
            Err(e) => {
                return Err(Error::StateFolder {
                    path: options.state_folder,
                    source: std::io::Error::other(e),
                });
            }
        };
        let loader = Arc::new(Loader::new(engine, capabilities, options.slot_wait));
        let registry = Arc::new(Registry::new());
        let (verdicts, told) = mpsc::unbounded_channel();
        let ending = CancellationToken::new();
        let mut writer = Writer {
            folder: options.folder.clone(),
            size_cap: options.size_cap.0,
            believes: options.believes,
            loader: loader.clone(),
            ledger: ledger.clone(),
            registry: registry.clone(),
            contents: Contents::default(),
            verdicts,
            ending: ending.clone(),
        };
        writer.remember().map_err(|source| Error::StateFolder {
            path: options.state_folder.clone(),
            source,
        })?;
        // Watched before the first look, so that no change falls between them.
        let watch = Watch::start(&options.folder);
        let looked = writer
            .reconcile(Cause::Start)
            .await
            .map_err(|source| Error::Folder {
                path: options.folder.clone(),
                source,
            })?;
        writer.resume_shadows().await;
        writer.resume_canaries().await;
        let (sender, commands) = mpsc::channel(16);
        tokio::spawn(vital::part(
            "plugin writer",
            Service {
                writer,
                commands,
                told,
                watch,
                options,
            }
            .run(looked.unsettled),
        ));
        Ok(Self {
            handle: Handle {
                commands: sender,
                registry,
                loader,
                ledger,
                looks: Arc::new(Semaphore::new(1)),
                ending,
            },
        })
    }

    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }
}

impl Plugins for Host {
    fn snapshot(&self) -> Arc<Snapshot> {
        self.handle.snapshot()
    }
}

impl Plugins for Handle {
    fn snapshot(&self) -> Arc<Snapshot> {
        self.registry.snapshot()
    }
}

fn open(options: &Options) -> Result<(Engine, HistoryStore), Error> {
    let folder = options
        .folder
        .canonicalize()
        .map_err(|source| Error::Folder {
            path: options.folder.clone(),
            source,
        })?;
    let engine = Engine::start(&engine::Options {
        cache_folder: options.cache_folder.clone(),
        memory_ceiling: options.memory_ceiling,
        slots: options.call_slots,
        plugin_folder: folder.clone(),
        core_dumps: (options.core_dumps > 0).then(|| {
            (
                options.state_folder.with_file_name("core-dumps"),
                options.core_dumps,
            )
        }),
        compiling: options.compiling.clone(),
    })?;
    let ledger =
        HistoryStore::open(&options.state_folder).map_err(|source| Error::StateFolder {
            path: options.state_folder.clone(),
            source,
        })?;
    if ledger.folder().starts_with(&folder) {
        return Err(Error::StateInPlugins {
            path: options.state_folder.clone(),
        });
    }
    Ok((engine, ledger))
}

// === impl Handle ===

impl Handle {
    /// Looks at the folder now. Answers when everything that changed is active or refused.
    ///
    /// # Errors
    /// When the folder can't be listed; nothing changes then.
    pub async fn reconcile(&self) -> Result<Report, ReconcileError> {
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
            .slots
            .keys()
            .filter_map(|name| contents.view(name))
            .collect()
    }

    pub fn inspect(&self, instance: &InstanceName) -> Option<PluginView> {
        self.registry.load().contents.view(instance)
    }

    /// Every instance that whoever reaches these namespaces may know of.
    pub fn list_for(&self, scope: &Scope) -> Vec<PluginView> {
        let published = self.registry.load();
        let contents = &published.contents;
        contents
            .slots
            .keys()
            .filter_map(|name| contents.view_for(name, scope))
            .collect()
    }

    pub fn inspect_for(&self, instance: &InstanceName, scope: &Scope) -> Option<PluginView> {
        self.registry.load().contents.view_for(instance, scope)
    }

    /// By instance, for whose workloads it is and which secrets they may have.
    pub fn secrets(&self) -> Vec<(InstanceName, Spaces, Vec<Entry>)> {
        let published = self.registry.load();
        let active = published
            .contents
            .slots
            .iter()
            .filter_map(|(name, slot)| Some((name, slot.active.as_deref()?)));
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
    pub fn problems(&self) -> Vec<Problem> {
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
        let proven = shadow::prove(&self.loader, start).await?;
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
        let proven = canary::prove(self, start).await?;
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
        self.loader.census.alive()
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

// === impl Service ===

impl Service {
    async fn run(mut self, unsettled: bool) {
        let mut timer = interval_at(
            Instant::now() + self.options.rescan_interval,
            self.options.rescan_interval,
        );
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut pulse = interval_at(Instant::now() + PULSE, PULSE);
        pulse.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut due = unsettled.then(|| self.soon());
        // Steady writing must not put a look off for ever.
        let mut latest: Option<Instant> = None;
        loop {
            let look_at = due;
            tokio::select! {
                command = self.commands.recv() => match command {
                    Some(Command::Reconcile(answer)) => {
                        due = self.demand(answer).await.then(|| self.soon());
                    }
                    Some(Command::RollBack(instance, version, answer)) => {
                        // The asker may have gone.
                        let _gone = answer.send(self.writer.roll_back(&instance, version).await);
                    }
                    Some(Command::TakeShadow(proven, answer)) => {
                        let _gone = answer.send(self.writer.take_shadow(*proven).await);
                    }
                    Some(Command::DropShadow(name, answer)) => {
                        let _gone = answer.send(self.writer.drop_shadow(&name).await);
                    }
                    Some(Command::InstallShadow(name, answer)) => {
                        let _gone = answer.send(self.writer.install_shadow(&name).await);
                    }
                    Some(Command::StartCanary(proven, answer)) => {
                        let _gone = answer.send(self.writer.start_canary(*proven).await);
                    }
                    Some(Command::PromoteCanary(instance, by, answer)) => {
                        let _gone = answer.send(self.writer.promote_canary(&instance, by).await);
                    }
                    Some(Command::AbortCanary(instance, by, answer)) => {
                        let _gone = answer.send(self.writer.abort_canary(&instance, by).await);
                    }
                    Some(Command::Shutdown(answer)) => {
                        self.finish().await;
                        let _gone = answer.send(());
                        return;
                    }
                    None => return self.finish().await,
                },
                Some(instance) = self.told.recv() => self.writer.judge_canary(&instance).await,
                Some(()) = self.watch.hints.recv() => {
                    let last = *latest.get_or_insert_with(|| Instant::now() + 10 * self.options.quiet_period);
                    due = Some(self.soon().min(last));
                }
                () = sleep_until(look_at.unwrap_or_else(Instant::now)), if look_at.is_some() => {
                    latest = None;
                    due = self.look().await.then(|| self.soon());
                }
                _ = timer.tick() => {
                    due = self.look().await.then(|| self.soon()).or(due);
                }
                _ = pulse.tick() => if self.watch.follow().await {
                    due = Some(self.soon());
                }
            }
        }
    }

    fn soon(&self) -> Instant {
        Instant::now() + self.options.quiet_period
    }

    /// Whether to look again soon.
    async fn look(&mut self) -> bool {
        match self.writer.reconcile(Cause::Hint).await {
            Ok(looked) => looked.unsettled,
            Err(error) => {
                tracing::warn!(folder = %self.options.folder.display(), %error, "the plugin folder can't be read; what served goes on serving");
                false
            }
        }
    }

    async fn demand(&mut self, answer: oneshot::Sender<Result<Report, ReconcileError>>) -> bool {
        let outcome = self.writer.reconcile(Cause::Demand).await;
        let unsettled = outcome.as_ref().is_ok_and(|looked| looked.unsettled);
        let path = self.options.folder.clone();
        let _gone = answer.send(
            outcome
                .map(|looked| looked.report)
                .map_err(|source| ReconcileError::Folder { path, source }),
        );
        unsettled
    }

    async fn finish(self) {
        let effects = self.writer.loader.effects.clone();
        effects.close();
        if timeout(self.options.drain_timeout, effects.wait())
            .await
            .is_err()
        {
            tracing::warn!(
                running = effects.len(),
                "effects that plugins began are still running at shutdown"
            );
        }
    }
}

/// What an operator may know of a component file without running the daemon.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FileInspection {
    pub digest: Digest,
    pub size: Bytes,
    pub imports: Vec<String>,
    pub exports: Vec<String>,
    /// What it says about itself.
    pub about: crate::plugin_info::PluginInfo,
}

#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    #[error(transparent)]
    Engine(#[from] engine::Error),
    #[error(transparent)]
    Load(#[from] load::Error),
}

/// Compiles a component and asks it who it is, with nothing granted but the look at its imports.
///
/// # Errors
/// When it is no plugin of this contract.
pub async fn inspect_file(
    bytes: Vec<u8>,
    cache_folder: PathBuf,
    compiling: Compiling,
) -> Result<FileInspection, InspectError> {
    let size = Bytes(bytes.len() as u64);
    let options = engine::Options::outside(cache_folder, compiling);
    let engine = tokio::task::spawn_blocking(move || Engine::start(&options))
        .await
        .map_err(|_| load::Error::Aborted)??;
    let digest = Digest::of(&bytes);
    let (imports, exports, about) = load::inspect(engine, bytes.into(), digest).await?;
    Ok(FileInspection {
        digest,
        size,
        imports,
        exports,
        about,
    })
}
