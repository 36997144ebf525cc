//! The daemon, told in order: settings → state → machine → plugins → controller → API → ready → drain.

mod beginning;
mod heads;
pub mod logging;
mod plugin_events;
mod reload;
mod secrets;
pub mod signals;
mod storage;
#[cfg(test)]
mod tests;

use std::{
    fs, io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures::{
    StreamExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tradewind_cloud::{SystemClock, process};
use tradewind_controller as controller;
use tradewind_core::{
    capability::Clock,
    document,
    event::{Event, Reason, Severity},
    grant::CredentialSource,
    names::Actor,
    plugin::Plugins,
    settings::CompileBounds,
    store::Store,
    vital,
};
use tradewind_credentials::{Credentials, Vault, owners};
use tradewind_store::Database;
use tradewind_wasm::{Compiling, Program, Progress};

pub use self::beginning::Beginning;
use crate::{clouds::Clouds, installation, local::COMPILE, owner};
use tradewind_config::{
    Config, Effective, Overrides, environment,
    runtime_file::{Daemon, RuntimeFile},
};
use tradewind_http::readiness::Readiness;
use tradewind_http::{App, Listener};

/// How the daemon names itself to those that it asks.
const USER_AGENT: &str = concat!("tradewind/", env!("CARGO_PKG_VERSION"));

/// The daemon could not start, or could not go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Config(#[from] tradewind_config::Error),
    #[error("the log can't be set up")]
    Logging(#[from] logging::Error),
    #[error("the setting \"{setting}\" names a folder that can't be used: \"{}\"", path.display())]
    Folder {
        setting: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error(transparent)]
    NotOurs(#[from] owner::NotOurs),
    #[error("encryption is not possible")]
    Tls(#[from] tradewind_http::tls::Error),
    #[error("the address \"{address}\" of the setting \"listen\" can't be used")]
    Listen {
        address: std::net::SocketAddr,
        source: io::Error,
    },
    #[error("the state can't be opened")]
    Store(#[from] tradewind_store::Error),
    #[error(transparent)]
    Document(#[from] tradewind_core::store::Error),
    #[error("this daemon would be a second one of its state")]
    Second(#[source] Box<tradewind_backup::Error>),
    #[error("a restore into \"{}\" did not end: run `tradewind restore FILE --force` again", data.display())]
    HalfRestored { data: PathBuf },
    #[error("the data folder can't be used")]
    Installation(#[from] installation::Error),
    #[error("processes can't be supervised")]
    Processes(#[from] process::Error),
    #[error("heads of the audit log can't be told")]
    Heads(#[from] heads::Error),
    #[error("outbound requests are not possible")]
    Outbound(#[from] tradewind_cloud::http::Error),
    #[error("the plugin host can't start")]
    Plugins(#[from] tradewind_wasm::Error),
    #[error("the controller can't start")]
    Controller(#[source] Box<controller::Error>),
    #[error("tokens can't be had")]
    Identity(#[from] tradewind_http::identity::Error),
    #[error("the runtime can't be started")]
    Runtime(#[source] io::Error),
    #[error("signals can't be received")]
    Signals(#[source] io::Error),
    #[error("a part of the daemon ended unexpectedly")]
    Task(#[from] tokio::task::JoinError),
    #[error("the api stopped")]
    Api(#[source] io::Error),
    #[error("a part of the daemon failed: the {part} (its panic is in the log)")]
    Failed { part: &'static str },
}

/// How long a daemon that has lost a part tries to end in good order.
const LAST_TRY: Duration = Duration::from_secs(15);

/// How long ending all parts may take, beside the time that requests in progress have.
const LONGEST_STOP: Duration = Duration::from_secs(60);

/// How long threads that still work may take after the end of all parts, and a part that only reads.
const LAST_WORK: Duration = Duration::from_secs(2);

/// A part that the daemon does not go on without, by its name.
type Essential = (&'static str, BoxFuture<'static, ()>);

/// Everything that runs below the API.
pub struct Parts {
    store: Database,
    processes: process::Supervisor,
    pub plugins: tradewind_wasm::Host,
    pub controller: controller::Controller,
    pub backup: tradewind_backup::Handle,
    pub identities: tradewind_http::identity::Handle,
    heads: Arc<heads::Heads>,
    /// No other daemon of this machine works with a copy of the state meanwhile.
    _claim: installation::Claim,
    store_bytes: Arc<dyn Fn() -> u64 + Send + Sync>,
    tidying: TaskTracker,
    stop: CancellationToken,
}

impl Parts {
    pub fn handles(&self) -> tradewind_http::Handles {
        tradewind_http::Handles {
            controller: self.controller.handle(),
            plugins: self.plugins.handle(),
            backup: self.backup.clone(),
            identities: self.identities.clone(),
            log_lines_dropped: logging::dropped,
            store_bytes: self.store_bytes.clone(),
        }
    }
}

/// Runs the daemon until it is told to stop.
///
/// # Errors
/// Anything that keeps it from starting, and the API's end.
pub fn run(overrides: &Overrides) -> Result<(), Error> {
    let effective = Effective::load(overrides, environment)?;
    logging::start(&effective.config.log)?;
    owners::trust_anybody(effective.config.reload.trust_any_owner);
    if !effective.config.reload.trust_any_owner {
        // The folder may be a volume that somebody else has made.
        owner::check(&effective.config.data.join("state.db"))?;
    }
    for (setting, source) in effective
        .sources
        .iter()
        .filter(|(_, s)| **s != tradewind_config::Source::Default)
    {
        tracing::debug!(setting, %source, "setting");
    }
    let open_files = process::raise_open_files();
    tracing::debug!(open_files, "the most files open at once");
    adopt_orphans();
    keep_memory_private();
    let ended = run_with(overrides, effective.config, Vec::new());
    logging::flush();
    ended
}

/// Runs the daemon with these parts beside its own. It waits for them at its end, as it does for its own.
fn run_with(overrides: &Overrides, config: Config, beside: Vec<Essential>) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Error::Runtime)?;
    let ended = runtime.block_on(daemon(config, overrides, beside));
    // What is stuck must not keep the process: it has ended in order, or somebody will start it again.
    runtime.shutdown_timeout(if matches!(ended, Err(Error::Failed { .. })) {
        Duration::ZERO
    } else {
        LAST_WORK
    });
    ended
}

/// What a replica's processes leave comes to this daemon, not to the machine's first process: it is collected here, and known.
fn adopt_orphans() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::set_child_subreaper(Some(rustix::process::getpid())) {
        tracing::debug!(error = %io::Error::from(error), "orphans of processes go to the machine's first process");
    }
}

/// Secrets pass through this process: no other process of its user reads its memory, its environment or its descriptors, and none are dumped.
fn keep_memory_private() {
    #[cfg(target_os = "linux")]
    if let Err(error) =
        rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
    {
        tracing::warn!(error = %io::Error::from(error), "other processes of this user may read the daemon's memory");
    }
}

async fn daemon(
    config: Config,
    overrides: &Overrides,
    beside: Vec<Essential>,
) -> Result<(), Error> {
    let started = std::time::Instant::now();
    let stop = signals::listen().map_err(Error::Signals)?;
    let reloads = signals::reloads().map_err(Error::Signals)?;
    let (failed, mut failure) = watch::channel(None);
    vital::listen(move |part| {
        failed.send_replace(Some(part));
    });
    make_folders(&config)?;
    // Bound first: a second daemon at the same address fails before it touches anything.
    let listener = Listener::bind(config.listen)
        .await
        .map_err(|source| Error::Listen {
            address: config.listen,
            source,
        })?;
    let settings = config.clone();
    let tls = tokio::task::spawn_blocking(move || {
        tradewind_http::tls::prepare(&settings, Arc::new(SystemClock))
    })
    .await??;
    let address = url(listener.address(), tls.is_some());
    let beginning = Beginning::new(&address, config.data.clone());
    let answered = beginning.answer(
        listener,
        &config,
        tls.as_ref().map(|t| t.certificate.clone()),
    );
    let parts = start(&config, &beginning).await?;
    record_start(&parts.controller.handle()).await;

    let providers = Plugins::snapshot(&parts.plugins).providers.len();

    let stopping = CancellationToken::new();
    let readiness = Readiness::starting();
    let app = App::new(
        parts.handles(),
        config.clone(),
        readiness.clone(),
        stopping.clone(),
        tls.as_ref().map(|t| t.certificate.clone()),
    );
    tokio::spawn(vital::part(
        "watch of the storage",
        storage::watch(parts.store.clone(), readiness.clone(), stopping.clone()),
    ));
    tokio::spawn(vital::part(
        "reload",
        reload::follow(
            reloads,
            overrides.clone(),
            config.clone(),
            parts.plugins.handle(),
        ),
    ));
    for (name, part) in beside {
        parts.tidying.spawn(vital::part(name, part));
    }
    let mut api = tokio::spawn(tradewind_http::serve(
        answered.end().await?,
        tradewind_http::router(app.clone()),
        app,
    ));
    let daemon = Daemon {
        address: address.clone(),
        fingerprint: None,
        certificate_ends: None,
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let daemon = tls.as_ref().map_or(daemon.clone(), |tls| {
        shown(&daemon, &tls.certificate.facts())
    });
    let runtime_file = RuntimeFile::write(&config.data, &daemon);
    let runtime_file = Arc::new(runtime_file.map_err(|source| Error::Folder {
        setting: "data",
        path: config.data.clone(),
        source,
    })?);
    drop(beginning);
    let ready = daemon.clone();
    let following = tls.map(|tls| {
        let follow = tls.follow(stopping.clone(), announce(runtime_file.clone(), daemon));
        tokio::spawn(vital::part("watch of the certificate", follow))
    });
    readiness.ready();
    let start_millis = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    if let (Some(fingerprint), Some(ends)) = (ready.fingerprint, ready.certificate_ends) {
        tracing::info!(%fingerprint, %ends, "clients may pin the certificate's key by its fingerprint");
    }
    tracing::info!(%address, data = %config.data.display(), plugins = %config.plugins.display(), start_millis, "tradewind is ready on {address}");

    if providers == 0 {
        tracing::warn!(
            "no provider is set up, so nothing can be placed: `tradewind init` writes a set-up with examples, `tradewind dev` shows one at work"
        );
    }

    let mut why = "the API ended".to_owned();
    let ended = tokio::select! {
        signal = stop.wait() => {
            tracing::info!(signal, "stopping: requests in progress may end");
            why = format!("signal {signal}");
            None
        }
        ended = &mut api => Some(ended),
        Ok(part) = failure.wait_for(Option::is_some) => {
            let part = part.unwrap_or_default();
            readiness.failed(part);
            tracing::error!(part, "a part of the daemon failed: it ends, and what runs for deployments goes on");
            let ending = async {
                drop(runtime_file);
                record_stop(&parts.controller.handle(), &format!("a part of it failed: the {part}")).await;
                // Until the rest has ended, the API tells what has failed.
                drain(parts).await;
                stopping.cancel();
            };
            if tokio::time::timeout(LAST_TRY, ending).await.is_err() {
                tracing::warn!(part, "the daemon ends without having ended its parts");
            }
            return Err(Error::Failed { part });
        }
    };
    readiness.stopping();
    stopping.cancel();
    let ending = async {
        // Nobody shall find a daemon that answers no more.
        if let Some(mut following) = following {
            match tokio::time::timeout(LAST_WORK, &mut following).await {
                Ok(ended) => ended?,
                Err(_) => {
                    tracing::warn!("the certificate's files can't be read to their end");
                    following.abort();
                }
            }
        }
        drop(runtime_file);
        let served = match ended {
            Some(ended) => ended,
            None => api.await,
        };
        record_stop(&parts.controller.handle(), &why).await;
        drain(parts).await;
        served?.map_err(Error::Api)
    };
    // What is stuck, on a file that nobody writes for instance, must not keep the daemon from ending.
    match tokio::time::timeout(config.api.drain.std() + LONGEST_STOP, ending).await {
        Ok(ended) => {
            tracing::info!("stopped");
            ended
        }
        Err(_) => {
            tracing::warn!(
                "stopped without having ended all parts; nothing that was answered is lost"
            );
            Ok(())
        }
    }
}

/// Tells in the events and in the audit log that the daemon has started. It goes on without: what it does matters more.
async fn record_start(controller: &controller::Handle) {
    if let Err(error) = controller.started(env!("CARGO_PKG_VERSION")).await {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "the start could not be recorded"
        );
    }
}

/// The same of the stop, which waits for it only so long.
async fn record_stop(controller: &controller::Handle, why: &str) {
    match tokio::time::timeout(LAST_WORK, controller.stopped(why)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the stop could not be recorded"
            );
        }
        Err(_) => tracing::warn!("the stop could not be recorded in time"),
    }
}

/// Where clients on this machine find it: who listens on every address does so on this machine's own.
fn url(mut bound: SocketAddr, encrypted: bool) -> String {
    if bound.ip().is_unspecified() {
        bound.set_ip(if bound.is_ipv4() {
            Ipv4Addr::LOCALHOST.into()
        } else {
            Ipv6Addr::LOCALHOST.into()
        });
    }
    format!("{}://{bound}", if encrypted { "https" } else { "http" })
}

/// The same daemon with this certificate.
fn shown(daemon: &Daemon, certificate: &tradewind_http::tls::Facts) -> Daemon {
    Daemon {
        fingerprint: Some(certificate.key),
        certificate_ends: Some(certificate.ends),
        ..daemon.clone()
    }
}

/// Tells clients on this machine of a new certificate.
fn announce(file: Arc<RuntimeFile>, daemon: Daemon) -> impl Fn(tradewind_http::tls::Facts) {
    move |certificate| {
        if let Err(error) = file.rewrite(&shown(&daemon, &certificate)) {
            tracing::warn!(%error, "clients on this machine can't be told of the new certificate");
        }
    }
}

/// Where programs keep credentials in the home folder of a user.
const HOME_CREDENTIALS: [&str; 9] = [
    ".aws",
    ".azure",
    ".config/gcloud",
    ".config/tradewind",
    ".docker",
    ".gnupg",
    ".kube",
    ".netrc",
    ".ssh",
];

/// Brings up everything below the API, each part on those before it. `beginning` tells clients how far it is.
pub async fn start(config: &Config, beginning: &Beginning) -> Result<Parts, Error> {
    if tradewind_backup::unfinished(&config.data) {
        return Err(Error::HalfRestored {
            data: config.data.clone(),
        });
    }
    let mut options = tradewind_store::Options::new(config.data.join("state.db"));
    options.keep_changes = u64::from(config.keep.changes);
    options.keep_change_bytes = config.keep.changes_size.0;
    let store = tokio::task::spawn_blocking(move || Database::open(options)).await??;
    // From here on no other daemon works with this folder.
    beginning.tell();
    document::check(&store, document::KINDS).await?;
    // Before the first effect: what runs for this state is not touched by two.
    tradewind_backup::admit(&config.data, &store)
        .await
        .map_err(|e| Error::Second(Box::new(e)))?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let installation = controller::installation(&store)
        .await
        .map_err(|e| Error::Controller(Box::new(e)))?;
    // Before anything is started or ended: the original of a copy may be at work.
    let heads = heads::Heads::new(
        &config.audit,
        Arc::new(store.clone()),
        clock.clone(),
        installation.clone(),
    )?;
    let heads = Arc::new(heads);
    let claim = installation::claim(&installation, config.data.clone()).await?;
    let options = process::Options {
        moved: config.moved,
        ..process_options(config, config.data.join("processes"))
    };
    let processes = process::Supervisor::start(options).await?;
    let identities = tradewind_http::identity::start(
        identity_options(config),
        Arc::new(store.clone()),
        clock.clone(),
    )
    .await?;
    let clouds = Clouds::new(config);
    let capabilities = capabilities(config, &processes, &clouds, clock.clone())?;
    let plugins =
        tradewind_wasm::Host::start(plugin_options(config, beginning.progress()), capabilities)
            .await?;
    let surroundings = controller::Surroundings {
        store: Arc::new(store.clone()) as Arc<dyn Store>,
        plugins: Arc::new(plugins.clone()),
        plugin_changes: plugins.handle().subscribe(),
        clock,
        prober: Arc::new(tradewind_cloud::probe::Checks::new(clouds.listeners())),
        paces: Arc::new(processes.clone()),
        registries: Arc::new(tradewind_cloud::registry::Client::new(
            USER_AGENT,
            config.registries.clone(),
            credentials(config),
        )?),
        hints: hints(&processes, &clouds),
    };
    let controller = controller::start(controller_options(config), surroundings)
        .await
        .map_err(|e| Error::Controller(Box::new(e)))?;
    let mut known = controller.handle().namespace_names();
    known.extend(identities.namespaces());
    secrets::warn(
        &config.secrets,
        &known,
        &controller.handle().secrets(),
        &plugins.handle(),
    );
    tokio::spawn(vital::part(
        "record of plugins",
        plugin_events::record(plugins.handle(), controller.handle()),
    ));
    tokio::spawn(vital::part(
        "record of notices",
        record_notices(notices(&processes, &clouds), controller.handle()),
    ));
    let backup = tradewind_backup::Handle::new(store.clone(), folders(config));
    let (tidying, stop) = (TaskTracker::new(), CancellationToken::new());
    tidying.spawn(vital::part(
        "retention of identities",
        identities.clone().tidy(stop.clone()),
    ));
    tidying.spawn(vital::part(
        "heads of the audit log",
        heads.clone().run(stop.clone()),
    ));
    tidying.close();
    Ok(Parts {
        store,
        processes,
        plugins,
        controller,
        backup,
        identities,
        heads,
        _claim: claim,
        store_bytes: storage::size(config.data.join("state.db")),
        tidying,
        stop,
    })
}

/// What the supervisor of processes and the clouds' clients have to say.
fn notices(
    processes: &process::Supervisor,
    clouds: &Clouds,
) -> BoxStream<'static, process::Notice> {
    let of_processes = stream::iter(processes.notices()).flat_map(|notices| {
        stream::unfold(notices, |mut notices| async move {
            Some((notices.recv().await?, notices))
        })
    });
    stream::select(of_processes, clouds.notices()).boxed()
}

/// Tells notices in the event log. Runs until nobody has any.
async fn record_notices(
    mut notices: BoxStream<'static, process::Notice>,
    controller: controller::Handle,
) {
    while let Some(notice) = notices.next().await {
        match notice {
            process::Notice::Exhausted(message) => {
                controller
                    .note(Event::new(
                        Severity::Error,
                        Reason::DaemonExhausted,
                        &Actor::CONTROLLER,
                        message,
                    ))
                    .await;
            }
            process::Notice::PortMoved {
                allocation,
                replica,
                message,
            } => {
                controller
                    .note_of(
                        &allocation,
                        Severity::Warning,
                        Reason::PortMoved,
                        format!("replica {replica}: {message}"),
                    )
                    .await;
            }
        }
    }
}

/// What processes are supervised with in this folder, and what of the daemon's they never reach.
pub fn process_options(config: &Config, folder: PathBuf) -> process::Options {
    let mut hidden = vec![
        config.data.clone(),
        config.plugins.clone(),
        config.secrets.clone(),
        config.seal_key.clone(),
    ];
    hidden.extend(config.file.clone());
    hidden.extend(
        Some(config.audit.webhook_headers.clone())
            .filter(|headers| !headers.as_os_str().is_empty()),
    );
    hidden.extend(Some(config.tls.key.clone()).filter(|key| !key.as_os_str().is_empty()));
    let sources = config.credentials.values().chain(
        config
            .registries
            .iter()
            .filter_map(|one| one.source.as_ref()),
    );
    let files = sources.filter_map(|source| {
        if let CredentialSource::File(path) = source {
            Some(path)
        } else {
            None
        }
    });
    hidden.extend(files.map(PathBuf::from));
    // What the clients of clouds find by themselves.
    if let Ok(user) = etcetera::home_dir() {
        hidden.extend(HOME_CREDENTIALS.iter().map(|name| user.join(name)));
    }
    let options = process::Options::new(folder, Some(config.secrets.clone()));
    process::Options {
        hidden,
        data: Some(config.data.clone()),
        collector: program().map(|program| vec![program.into()]),
        ..options
    }
}

/// This program, even when its file has been replaced meanwhile: the kernel's name for it leads to it also then.
fn program() -> Option<PathBuf> {
    const RUNNING: &str = "/proc/self/exe";
    if cfg!(test) {
        // That is the program of the tests.
        return None;
    }
    if Path::new(RUNNING).exists() {
        Some(RUNNING.into())
    } else {
        std::env::current_exe().ok()
    }
}

/// The outer side of every capability.
pub fn capabilities(
    config: &Config,
    processes: &process::Supervisor,
    clouds: &Clouds,
    clock: Arc<dyn Clock>,
) -> Result<tradewind_wasm::Capabilities, Error> {
    let outbound = tradewind_cloud::http::Options {
        user_agent: USER_AGENT.to_owned(),
        secrets: config.secrets.clone(),
    };
    let outbound = tradewind_cloud::http::Client::new(&outbound, credentials(config))?;
    Ok(clouds.lend(tradewind_wasm::Capabilities {
        processes: Arc::new(processes.clone()),
        http: Arc::new(outbound),
        clock,
        ..tradewind_wasm::Capabilities::none()
    }))
}

/// Where the daemon's credentials come from.
pub fn credentials(config: &Config) -> Credentials {
    Credentials::with_vault(config.credentials.clone(), vault(config))
}

/// The credentials that are stored on this machine.
pub fn vault(config: &Config) -> Vault {
    Vault::new(config.data.join("credentials"), config.seal_key.clone())
}

/// What a backup is made of, and goes back to.
pub fn folders(config: &Config) -> tradewind_backup::Folders {
    tradewind_backup::Folders {
        data: config.data.clone(),
        plugins: config.plugins.clone(),
    }
}

/// The reverse of `start`. What runs for deployments goes on without the daemon.
pub async fn drain(parts: Parts) {
    parts.controller.shutdown().await;
    parts.plugins.handle().shutdown().await;
    parts.processes.shutdown().await;
    parts.stop.cancel();
    parts.tidying.wait().await;
    parts.heads.tell_last().await;
    if let Err(error) = parts.store.close().await {
        tracing::warn!(%error, "the state was not closed cleanly; nothing that was answered is lost");
    }
}

fn plugin_options(config: &Config, progress: Progress) -> tradewind_wasm::Options {
    let mut options = tradewind_wasm::Options::new(
        &config.plugins,
        config.data.join("plugin-history"),
        config.data.join("cache"),
    );
    options.components = Some(config.components.clone()).filter(|p| !p.as_os_str().is_empty());
    options.quiet_period = config.reload.quiet.std();
    options.rescan_interval = config.reload.rescan.std();
    options.size_cap = config.reload.max_size;
    options.call_slots = config.calls.slots;
    options.memory_ceiling = config.calls.memory_ceiling;
    options.slot_wait = config.calls.slot_wait.std();
    options.core_dumps = config.keep.core_dumps as usize;
    options.compiling = Compiling {
        progress,
        ..compiling(config.compile.clone())
    };
    // The tests of this crate bring their own.
    if !cfg!(test) {
        options.builtin = tradewind_builtin::COMPONENTS;
    }
    options.at_hand = Some(config.policy.clone()).filter(|_| config.builtin_policy);
    options.believes = |file, path| owners::check(file, path, owners::Kind::Trusted);
    options
}

/// Components are compiled by a process of this program.
pub fn compiling(bounds: CompileBounds) -> Compiling {
    let program = program();
    if program.is_none() {
        tracing::warn!(
            "this program can't be found: components are compiled without limits of time and memory"
        );
    }
    Compiling {
        bounds,
        program: program.map(|path| Program {
            path,
            arguments: vec![COMPILE.into()],
        }),
        progress: Progress::default(),
    }
}

fn identity_options(config: &Config) -> tradewind_http::identity::Options {
    tradewind_http::identity::Options {
        data: config.data.clone(),
        rate: config.api.rate,
        burst: config.api.burst,
    }
}

pub fn controller_options(config: &Config) -> controller::Options {
    controller::Options {
        default_policy: config.policy.clone(),
        offers_ttl: config.controller.offers_ttl,
        offers_patience: config.controller.offers_patience,
        observe_interval: config.controller.observe_interval,
        observe_interval_changing: config.controller.observe_interval_changing,
        scale_interval: config.controller.scale_interval,
        concurrency: config.controller.concurrency as usize,
        preempt_across_namespaces: config.controller.preempt_across_namespaces,
        lane: config.controller.lane as usize,
        sweep_interval: config.controller.sweep_interval,
        sweep_grace: config.controller.sweep_grace,
        approval: config.plans.approval,
        plan_expiry: config.plans.expiry,
        replacement_interval: config.replacement.interval,
        replacement_max_moves: config.replacement.max_moves,
        keep_decisions: config.keep.decisions as usize,
        keep_inputs_age: config.keep.decision_inputs_age,
        keep_inputs_size: config.keep.decision_inputs_size,
        policy_fallback: config.controller.policy_fallback,
        quote_ttl: config.controller.quote_ttl,
        stale_quotes: config.controller.stale_quotes,
        keep_revisions: config.keep.revisions as usize,
        keep_events: config.keep.events as usize,
        keep_own_events: config.keep.deployment_events as usize,
        keep_own_decisions: config.keep.deployment_decisions as usize,
        keep_audit: controller::KeepAudit {
            entries: u64::from(config.keep.audit),
            age: config.keep.audit_age,
            size: config.keep.audit_size,
        },
        keep_events_size: config.keep.events_size,
        keep_decisions_size: config.keep.decisions_size,
        most_plans: config.plans.most as usize,
    }
}

/// The supervisor's and the clusters' changes as the controller wants them. Missed ones are found by its timer.
fn hints(processes: &process::Supervisor, clouds: &Clouds) -> controller::Hints {
    let changes = stream::unfold(processes.changes(), |mut changes| async move {
        Some((changes.next().await?, changes))
    });
    let of_allocations = changes.filter_map(|change| async move {
        match change {
            process::Change::Allocation { owner, allocation } => Some((owner, allocation)),
            process::Change::Missed => None,
        }
    });
    stream::select(of_allocations, clouds.changes()).boxed()
}

/// The data folder is for the daemon's user alone: it holds the output of processes.
pub fn make_folders(config: &Config) -> Result<(), Error> {
    let make = |setting: &'static str, path: &Path| {
        let made = fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path);
        made.map_err(|source| Error::Folder {
            setting,
            path: path.to_owned(),
            source,
        })
    };
    make("data", &config.data)?;
    make("plugins", &config.plugins)?;
    let private = fs::set_permissions(&config.data, fs::Permissions::from_mode(0o700));
    private.map_err(|source| Error::Folder {
        setting: "data",
        path: config.data.clone(),
        source,
    })
}
