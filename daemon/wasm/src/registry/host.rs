//! Starts the host: options in, plugins and a handle out.

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tradewind_core::{
    names::InstanceName,
    plugin::{Plugins, Snapshot},
    units::Bytes,
    vital,
};

use super::{
    commit::Committer,
    handle::Handle,
    instances::Instances,
    jobs::Jobs,
    published::Registry,
    reconciler::{Cause, Reconciler},
    service::{self, Service},
    switch::Switch,
};
use crate::{
    history::store::HistoryStore,
    load::{
        compiler::Compiling,
        folder::{self, Believes, Builtin},
        loader::Loader,
        toolchain::{self, Toolchain},
        watch::Watch,
    },
    runtime::host_context::Capabilities,
    trial::{self, Deps, canary::Canaries},
};

/// How the host runs. Every folder is made if it is missing, except the plugin folder.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where components and instance files lie.
    pub folder: PathBuf,
    /// Where further components lie, for instance files that name one. A change there is seen at the next look, not by an event.
    /// Default: nowhere.
    pub components: Option<PathBuf>,
    /// Where the history and the good versions' bytes are kept. Not in the plugin folder.
    pub state_folder: PathBuf,
    /// Where compiled code is kept. Not in the plugin folder.
    pub cache_folder: PathBuf,
    /// How long the folder must be quiet before it is looked at: a quarter of it when the last event was of a file that is complete.
    /// Default 100 ms.
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
    /// Components that need no file: an instance file names one by `builtin:NAME`. Default: none.
    pub builtin: Builtin,
    /// The instance of a built-in component that is there without any file. Default: none.
    pub at_hand: Option<InstanceName>,
}

/// Why the plugin host can't start.
#[derive(Debug, thiserror::Error)]
#[allow(
    missing_docs,
    reason = "the messages say what the variants and their fields mean"
)]
pub enum Error {
    #[error("the plugin folder \"{path}\" (the setting \"plugins\") can't be read")]
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
    Engine(#[from] toolchain::Error),
}

/// The running host. The folder is watched until `Handle::shutdown`.
#[derive(Clone)]
pub struct Host {
    handle: Handle,
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
            components: None,
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
            builtin: &[],
            at_hand: None,
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
        let state_folder = options.state_folder.clone();
        let unusable = |source| Error::StateFolder {
            path: state_folder.clone(),
            source,
        };
        let opened = tokio::task::spawn_blocking({
            let options = options.clone();
            move || open(&options)
        });
        let (toolchain, store) = opened
            .await
            .map_err(|e| unusable(std::io::Error::other(e)))??;
        let clock = capabilities.clock.clone();
        let loader = Arc::new(Loader::new(toolchain, capabilities, options.slot_wait));
        let deps = Deps {
            loader: loader.clone(),
            store,
            clock,
        };
        let registry = Arc::new(Registry::new());
        let ending = CancellationToken::new();
        let (verdicts, told) = mpsc::unbounded_channel();
        let histories = deps.store.histories().map_err(unusable)?;
        let mut committer = Committer::new(
            registry.clone(),
            &deps,
            Instances::remembered(histories),
            Canaries::new(deps.clone(), verdicts),
        );
        let jobs = Jobs::new(deps.loader.clone(), deps.store.clone());
        let folder = folder::Options {
            folder: options.folder.clone(),
            components: options.components.clone(),
            size_cap: options.size_cap.0,
            believes: options.believes,
            builtin: options.builtin,
            at_hand: options.at_hand.clone(),
        };
        let reconciler = Reconciler::new(folder, jobs.clone(), ending.clone());
        // Watched before the first look, so that no change falls between them.
        let watch = Watch::start(&options.folder);
        let looked = reconciler
            .reconcile(&mut committer, Cause::Start)
            .await
            .map_err(|source| Error::Folder {
                path: options.folder.clone(),
                source,
            })?;
        committer.resume_shadows().await;
        committer.resume_canaries().await;
        let (sender, commands) = mpsc::channel(16);
        let service = Service {
            committer,
            reconciler,
            switch: Switch::new(jobs),
            commands,
            told,
            watch,
            effects: loader.effects().clone(),
            options: service::Options {
                quiet_period: options.quiet_period,
                rescan_interval: options.rescan_interval,
                drain_timeout: options.drain_timeout,
            },
        };
        tokio::spawn(vital::part("plugin writer", service.run(looked.unsettled)));
        Ok(Self {
            handle: Handle::new(sender, registry, deps, loader, ending),
        })
    }

    /// A way to it, for those who ask it.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }
}

impl Plugins for Host {
    fn snapshot(&self) -> Arc<Snapshot> {
        self.handle.snapshot()
    }
}

fn open(options: &Options) -> Result<(Toolchain, HistoryStore), Error> {
    let folder = options
        .folder
        .canonicalize()
        .map_err(|source| Error::Folder {
            path: options.folder.clone(),
            source,
        })?;
    let core_dumps = (options.core_dumps > 0).then(|| {
        (
            options.state_folder.with_file_name("core-dumps"),
            options.core_dumps,
        )
    });
    let toolchain = Toolchain::start(toolchain::Options {
        cache_folder: options.cache_folder.clone(),
        memory_ceiling: options.memory_ceiling,
        slots: options.call_slots,
        plugin_folder: folder.clone(),
        core_dumps,
        compiling: options.compiling.clone(),
    })?;
    let store = HistoryStore::open(&options.state_folder, &trial::DOCUMENTS).map_err(|source| {
        Error::StateFolder {
            path: options.state_folder.clone(),
            source,
        }
    })?;
    if store.folder().starts_with(&folder) {
        return Err(Error::StateInPlugins {
            path: options.state_folder.clone(),
        });
    }
    Ok((toolchain, store))
}
