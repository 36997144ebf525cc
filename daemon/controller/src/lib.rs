//! The controller: compares what is desired with what is, and closes the gap. Level-triggered; events are only hints.
//! Everybody else talks to it through its `Handle`. It must not know how plugins are run, where the state lies, or who asks over which protocol: it sees
//! core's ports alone.

mod affinity;
mod apply;
mod assess;
mod audit;
mod budget;
mod checks;
mod consult;
mod deadline;
mod decide;
mod handle;
mod health;
mod hedge;
mod images;
mod journal;
mod landing;
mod lanes;
mod logs;
mod lost;
mod namespaces;
mod observe;
mod offers;
mod options;
mod plans;
mod ports;
mod preempt;
mod quality;
mod reconcile;
mod reconsider;
mod records;
mod refusals;
mod render;
mod replace;
pub mod request;
mod rerun;
mod retention;
mod revisions;
mod rollout;
mod room;
mod scale;
mod shadow;
mod spaces;
mod standing;
mod state;
mod sweep;
#[cfg(test)]
mod tests;
mod turn;
mod undecided;

use std::sync::Arc;

use futures::stream::BoxStream;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Notify, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tradewind_core::{
    capability::{Clock, Paces, Prober, Registries},
    failure::Failure,
    identity::Scope,
    manifest::namespace::Approval,
    names::{AllocationId, DecisionId, DeploymentName, InstallationId, InstanceName, Namespace, TaskName},
    plugin::Plugins,
    record::{ALLOCATIONS, AllocationRecord, DEPLOYMENTS, DeploymentKey, DeploymentRecord, Stage},
    store::{self, Store},
    units::{Bytes, Millis},
    vital,
    workload::LogQuery,
};

pub use options::{KeepAudit, Options, PolicyFallback, StaleQuotes};
pub use plans::{Draft, Error as PlanError};
use state::{Entry, World};

/// Why a request to the controller failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("there is no {what} \"{name}\"")]
    NotFound { what: &'static str, name: String },
    #[error("{what} \"{name}\" is at generation {actual}, not {expected}")]
    Generation { what: &'static str, name: String, expected: u64, actual: u64 },
    #[error("namespace \"{name}\" has deployments ({deployments}): its limits can be removed when they are gone")]
    InUse { name: String, deployments: usize },
    #[error("the inputs of decision \"{id}\" are not kept (any more)")]
    InputsGone { id: DecisionId },
    #[error("deployment \"{name}\" is being deleted")]
    Deleting { name: String },
    #[error("quota.state of namespace \"{namespace}\" is {limit}: its deployments, revisions and plans take {used}, {more} more needed")]
    StateQuota { namespace: Namespace, limit: Bytes, used: Bytes, more: Bytes },
    #[error("job \"{name}\" has not ended: it runs, or waits for its turn")]
    NotEnded { name: String },
    /// A name in the request that this daemon does not know: the field's path, the message.
    #[error("{message}")]
    Invalid { path: String, message: String },
    #[error("\"{given}\" is no place in these logs: use the `next` of an earlier answer")]
    Cursor { given: String },
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error("the plugin call failed")]
    Plugin(#[source] Failure),
    #[error("the state could not be read or written")]
    Store(#[from] store::Error),
}

/// Which logs.
#[derive(Debug, Clone, Default)]
pub struct LogsRequest {
    /// None: all tasks.
    pub task: Option<TaskName>,
    /// `after` is an opaque cursor of an earlier `LogsView::next`.
    pub query: LogQuery,
}

/// Which events.
#[derive(Debug, Clone)]
pub struct EventFilter {
    /// Only of these namespaces. Events that belong to none are for who reaches all.
    pub scope: Scope,
    pub namespace: Option<Namespace>,
    pub deployment: Option<DeploymentName>,
    pub plugin: Option<InstanceName>,
}

/// Allocations of which a provider's surroundings say that something has happened.
pub type Hints = BoxStream<'static, (InstanceName, AllocationId)>;

/// What the controller stands on.
pub struct Surroundings {
    pub store: Arc<dyn Store>,
    pub plugins: Arc<dyn Plugins>,
    /// Changes with every change of the set of plugins.
    pub plugin_changes: watch::Receiver<u64>,
    pub clock: Arc<dyn Clock>,
    pub prober: Arc<dyn Prober>,
    /// Whoever starts replicas again by itself.
    pub paces: Arc<dyn Paces>,
    pub registries: Arc<dyn Registries>,
    pub hints: Hints,
}

/// The running controller.
pub struct Controller {
    shared: Arc<Shared>,
}

/// The way to the controller. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

struct Shared {
    options: Options,
    store: Arc<dyn Store>,
    plugins: Arc<dyn Plugins>,
    plugin_changes: watch::Receiver<u64>,
    clock: Arc<dyn Clock>,
    prober: Arc<dyn Prober>,
    paces: Arc<dyn Paces>,
    registries: Arc<dyn Registries>,
    checking: checks::Checking,
    world: Mutex<World>,
    /// There may be something to decide.
    wake: Notify,
    watchlist: observe::Watchlist,
    offers: offers::Book,
    /// Taken after `world` where both are.
    namespaces: Mutex<namespaces::Book>,
    standings: Mutex<preempt::Standings>,
    scaler: scale::Scaler,
    shadows: shadow::Shadows,
    silent: lost::Silent,
    /// The turn of who writes what the images of deployments are.
    images: tokio::sync::Mutex<()>,
    meters: quality::Meters,
    ids: Mutex<ulid::Generator>,
    lanes: lanes::Lanes,
    board: standing::Board,
    sweeper: sweep::Sweeper,
    /// A provider has answered: what was decided without it is looked at once more.
    hasty: Notify,
    installation: InstallationId,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// A lock whose holder has panicked still guards plain data: the next holder sees the last complete write.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock()
}

/// The name of the installation that a state belongs to: drawn when it is asked for first.
///
/// # Errors
/// The state can't be read or written.
pub async fn installation(store: &dyn Store) -> Result<InstallationId, Error> {
    Ok(sweep::installation(store, || InstallationId::new(ulid::Ulid::r#gen())).await?)
}

/// Reads the state, takes up what was left, and begins.
///
/// # Errors
/// The state can't be read, or has a document that this version does not understand.
pub async fn start(options: Options, surroundings: Surroundings) -> Result<Controller, Error> {
    let Surroundings { store, plugins, plugin_changes, clock, prober, paces, registries, hints } = surroundings;
    let mut world = load(store.as_ref()).await?;
    let namespaces = namespaces::Book::load(store.as_ref(), &mut world).await?;
    images::load(store.as_ref(), &mut world).await?;
    reconsider::resume(store.as_ref(), &mut world, clock.now()).await?;
    let ids = journal::generator(store.as_ref()).await?;
    let meters = quality::Meters::load(store.as_ref(), clock.now()).await?;
    tracing::info!(deployments = world.deployments.len(), allocations = world.owners.len(), "state read");
    let shared = Arc::new(Shared {
        lanes: lanes::Lanes::new(options.concurrency, options.lane),
        board: standing::Board::new(),
        sweeper: sweep::Sweeper::load(store.as_ref(), clock.now(), options.sweep_grace).await?,
        installation: installation(store.as_ref()).await?,
        options,
        store,
        plugins,
        plugin_changes,
        clock,
        prober,
        paces,
        registries,
        checking: checks::Checking::default(),
        world: Mutex::new(world),
        wake: Notify::new(),
        watchlist: observe::Watchlist::default(),
        offers: offers::Book::default(),
        namespaces: Mutex::new(namespaces),
        standings: Mutex::default(),
        ids: Mutex::new(ids),
        scaler: scale::Scaler::default(),
        shadows: shadow::Shadows::default(),
        silent: lost::Silent::default(),
        hasty: Notify::new(),
        images: tokio::sync::Mutex::default(),
        meters,
        tasks: TaskTracker::new(),
        stop: CancellationToken::new(),
    });
    {
        let mut world = lock(&shared.world);
        shared.silent.resume(&world);
        world.mark_all();
    }
    let known: Vec<DeploymentKey> = lock(&shared.world).deployments.keys().cloned().collect();
    known.iter().for_each(|key| shared.tell_paces(key));
    shared.renew(&shared.plugins.snapshot());
    shared.tasks.spawn(vital::part("scheduler", shared.clone().schedule()));
    shared.tasks.spawn(vital::part("observer", shared.clone().watch_allocations(hints)));
    shared.tasks.spawn(vital::part("autoscaler", shared.clone().follow_load()));
    shared.tasks.spawn(vital::part("retention", shared.clone().tidy()));
    shared.tasks.spawn(vital::part("ledger", shared.clone().account()));
    shared.tasks.spawn(vital::part("provider checks", shared.clone().check_degraded()));
    shared.tasks.spawn(vital::part("orphan sweep", shared.clone().sweep()));
    shared.tasks.spawn(vital::part("measurements", shared.clone().keep_measures()));
    shared.tasks.spawn(vital::part("rebalancer", shared.clone().follow_prices()));
    shared.tasks.spawn(vital::part("reconsideration", shared.clone().reconsider()));
    Ok(Controller { shared })
}

async fn load(store: &dyn Store) -> Result<World, Error> {
    let mut world = World::default();
    for stored in store.list(DEPLOYMENTS).await?.records {
        let record: DeploymentRecord = journal::decode(&stored)?;
        let metadata = &record.manifest.metadata;
        let key = DeploymentKey { namespace: metadata.namespace.clone(), name: metadata.name.clone() };
        world.deployments.insert(key, Entry::new(record, stored.revision));
    }
    for stored in store.list(ALLOCATIONS).await?.records {
        let record: AllocationRecord = journal::decode(&stored)?;
        if let Some(other) = world.owners.get(&record.id) {
            let other = AllocationRecord { namespace: other.namespace.clone(), deployment: other.name.clone(), ..record }.path();
            let source = format!("its allocation is on record a second time, at \"{other}\": remove the one that does not run").into();
            return Err(Error::Store(store::Error::Backend { action: "used", path: stored.key, source }));
        }
        world.insert_allocation(record, stored.revision);
    }
    for entry in world.deployments.values_mut() {
        // A call may have been under way when the daemon was killed.
        entry.allocations.values_mut().for_each(|live| live.unsure = live.record.stage == Stage::Intended);
        // What has allocations of its generation has been planned; the rest will be.
        let newest = entry.allocations.values().map(|l| l.record.generation).max().unwrap_or(0);
        if newest == entry.record.generation {
            entry.planned = newest;
        }
    }
    Ok(world)
}

impl Controller {
    pub fn handle(&self) -> Handle {
        Handle { shared: self.shared.clone() }
    }

    /// Begins nothing new, and waits for what has been begun.
    pub async fn shutdown(self) {
        self.shared.stop.cancel();
        self.shared.lanes.close();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }
}
