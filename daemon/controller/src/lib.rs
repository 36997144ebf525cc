//! The controller: compares what is desired with what is, and closes the gap. Level-triggered; events are only hints.
//! Everybody else talks to it through its `Handle`. It must not know how plugins are run, where the state lies, or who asks over which protocol: it sees
//! core's ports alone, and answers with the types of the API.
#![warn(missing_docs)]

mod background;
mod execute;
mod observe;
mod options;
mod reconcile;
pub mod request;
mod schedule;
mod service;
mod state;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use futures::stream::BoxStream;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tradewind_core::{
    capability::{Clock, Paces, Prober, Registries},
    cordon::{CordonRecord, PLACES},
    event::{Reason, Severity},
    failure::Failure,
    identity::Scope,
    list::OneOf,
    names::{
        AllocationId, DecisionId, DeploymentName, InstallationId, InstanceName, Namespace, TaskName,
    },
    plugin::Plugins,
    record::{ALLOCATIONS, AllocationRecord, DEPLOYMENTS, DeploymentKey, DeploymentRecord, Stage},
    store::{self, Revision, Store},
    units::{Bytes, Instant},
    vital,
    workload::LogQuery,
};

pub use options::{KeepAudit, Options};
pub use service::following::{Followed, ListChange, ListEvent, ListNow, WholeList};
pub use service::listing::Filter;
pub use service::measures::{DeploymentMeasure, Measures};
pub use service::places::Draining;
pub use service::plans::{ByHand, Draft, Error as PlanError};
pub use service::session::{ReplicaChoice, Target};
use state::cache::{Cache, DeploymentState};
use state::commit::{Committer, Ids};
use state::progress::Progress;
use state::reads::Reads;
pub use state::timings::{BOUNDS, Times};

/// Why a request to the controller failed.
#[derive(Debug, thiserror::Error)]
#[allow(
    missing_docs,
    reason = "the messages say what the variants and their fields mean"
)]
pub enum Error {
    #[error("there is no {what} \"{name}\"")]
    NotFound { what: &'static str, name: String },
    #[error("{what} \"{name}\" is at generation {actual}, not {expected}")]
    Generation {
        what: &'static str,
        name: String,
        expected: u64,
        actual: u64,
    },
    #[error(
        "namespace \"{name}\" has deployments ({deployments}): its limits can be removed when they are gone"
    )]
    InUse { name: String, deployments: usize },
    #[error("the inputs of decision \"{id}\" are not kept (any more)")]
    InputsGone { id: DecisionId },
    #[error("deployment \"{name}\" is being deleted")]
    Deleting { name: String },
    #[error(
        "quota.state of namespace \"{namespace}\" is {limit}: its deployments, revisions and plans take {used}, {more} more needed"
    )]
    StateQuota {
        namespace: Namespace,
        limit: Bytes,
        used: Bytes,
        more: Bytes,
    },
    #[error("job \"{name}\" has not ended: it runs, or waits for its turn")]
    NotEnded { name: String },
    #[error("there is nothing to {action}: no update of \"{name}\" waits for it")]
    NothingTo { action: &'static str, name: String },
    #[error("the update of \"{name}\" is paused")]
    Paused { name: DeploymentKey },
    #[error("there is no place \"{given}\"{}", alike.as_ref().map(|a| format!(", did you mean \"{a}\"?")).unwrap_or_default())]
    NoPlace {
        given: String,
        alike: Option<String>,
        known: Vec<String>,
    },
    #[error("\"{place}\" is cordoned with all of \"{provider}\"")]
    CordonedWhole {
        place: String,
        provider: InstanceName,
    },
    #[error("there is no task \"{task}\" in \"{name}\"")]
    NoTask {
        name: String,
        task: TaskName,
        known: Vec<TaskName>,
    },
    /// A value in the request that can't be used: the field's path, the message.
    #[error("{message}")]
    Invalid { path: String, message: String },
    #[error("\"{given}\" is no place in these logs: use the `next` of an earlier answer")]
    Cursor { given: String },
    #[error("nothing is kept of a run of \"{key}\" before the present one")]
    NoPreviousRun { key: DeploymentKey },
    #[error("{provider} does not keep the output of single runs apart")]
    RunsNotKept { provider: String },
    #[error("what changed after revision {} is not known any more", after.0)]
    Unfollowable { after: Revision },
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error("the plugin call failed")]
    Plugin(#[source] Failure),
    /// A session with a replica could not be opened, or broke off.
    #[error(transparent)]
    Session(Failure),
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
    /// Only of this namespace. None: of all.
    pub namespace: Option<Namespace>,
    /// Only of deployments of this name. None: of all, and those of no deployment.
    pub deployment: Option<DeploymentName>,
    /// Only of this plugin instance. None: of all, and those of no plugin.
    pub plugin: Option<InstanceName>,
    /// What kind of events, whatever they are about.
    pub kind: EventKind,
}

/// What kind of events. The default: every kind.
#[derive(Debug, Clone, Default)]
pub struct EventKind {
    /// Only with one of these severities.
    pub severity: Option<OneOf<Severity>>,
    /// Only for one of these reasons.
    pub reason: Option<OneOf<Reason>>,
    /// Only those that happened at this moment or later.
    pub since: Option<Instant>,
}

/// Allocations of which a provider's surroundings say that something has happened.
pub type Hints = BoxStream<'static, (InstanceName, AllocationId)>;

/// What the controller stands on.
pub struct Surroundings {
    /// The durable state.
    pub store: Arc<dyn Store>,
    /// The providers and policies.
    pub plugins: Arc<dyn Plugins>,
    /// Changes with every change of the set of plugins.
    pub plugin_changes: watch::Receiver<u64>,
    /// Where every time comes from.
    pub clock: Arc<dyn Clock>,
    /// Makes the health checks of endpoints.
    pub prober: Arc<dyn Prober>,
    /// Whoever starts replicas again by itself.
    pub paces: Arc<dyn Paces>,
    /// Tell which image a tag names.
    pub registries: Arc<dyn Registries>,
    /// Has an allocation looked at before its turn.
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

/// The parts that the handle speaks to.
struct Shared {
    options: Arc<Options>,
    store: Reads,
    committer: Arc<Committer>,
    plugins: Arc<dyn Plugins>,
    clock: Arc<dyn Clock>,
    cache: Arc<Mutex<Cache>>,
    /// Taken after `cache` where both are.
    namespaces: Arc<Mutex<state::book::NamespaceBook>>,
    ids: Arc<Ids>,
    quotes: Arc<schedule::offers::OfferCache>,
    offers: Arc<schedule::offers::Offers>,
    meters: Arc<observe::measurements::Meters>,
    lanes: execute::lanes::Lanes,
    place_health: Arc<observe::place_health::PlaceHealth>,
    budgets: Arc<schedule::admission::Budgets>,
    images: Arc<execute::images::Images>,
    scheduler: Arc<schedule::scheduler::Scheduler>,
    scaler: Arc<background::autoscaler::Scaler>,
    timekeeper: Arc<background::timekeeper::Timekeeper>,
    rebalancer: Arc<background::rebalancer::Rebalancer>,
    drainer: Arc<background::drainer::Drainer>,
    shadows: Arc<schedule::shadows::Shadows>,
    sessions: service::session::Recorded,
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
    Ok(
        background::orphan_sweep::installation(store, || InstallationId::new(ulid::Ulid::r#gen()))
            .await?,
    )
}

/// Reads the state, takes up what was left, and begins.
///
/// # Errors
/// The state can't be read, or has a document that this version does not understand.
pub async fn start(options: Options, surroundings: Surroundings) -> Result<Controller, Error> {
    let Surroundings {
        store,
        plugins,
        plugin_changes,
        clock,
        prober,
        paces,
        registries,
        hints,
    } = surroundings;
    let mut cache = load(store.as_ref()).await?;
    let progress = Arc::new(Progress::at(cache.deployments.changes.shown()));
    let namespaces = state::book::NamespaceBook::load(store.as_ref(), &mut cache).await?;
    execute::images::load(store.as_ref(), &mut cache).await?;
    background::reconsider::resume(store.as_ref(), &mut cache, clock.now()).await?;
    let ids = Arc::new(Ids::new(
        clock.clone(),
        state::journal::generator(store.as_ref()).await?,
    ));
    let meters = Arc::new(observe::measurements::Meters::load(store.as_ref(), clock.now()).await?);
    tracing::info!(
        deployments = cache.deployments.len(),
        allocations = cache.owners.len(),
        "state read"
    );
    let (cache, namespaces, wake) = (
        Arc::new(Mutex::new(cache)),
        Arc::new(Mutex::new(namespaces)),
        Arc::new(Notify::new()),
    );
    let committer = Arc::new(Committer {
        store: store.clone(),
        clock: clock.clone(),
        ids: ids.clone(),
        paces: paces.clone(),
        cache: cache.clone(),
        namespaces: namespaces.clone(),
        progress,
        wake: wake.clone(),
        timings: Arc::default(),
    });
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let lanes = execute::lanes::Lanes::new(options.concurrency, options.lane);
    let installation = installation(store.as_ref()).await?;
    let sweep = background::orphan_sweep::Deps {
        committer: committer.clone(),
        cache: cache.clone(),
        plugins: plugins.clone(),
        clock: clock.clone(),
        lanes: lanes.clone(),
        installation: installation.clone(),
        interval: options.sweep_interval.std(),
        tasks: tasks.clone(),
        stop: stop.clone(),
    };
    let sweep = Arc::new(
        background::orphan_sweep::OrphanSweep::load(sweep, store.as_ref(), options.sweep_grace)
            .await?,
    );
    let (options, store, poll_schedule) = (
        Arc::new(options),
        Reads::new(store),
        Arc::new(observe::poller::PollSchedule::default()),
    );
    let retention = background::retention::Retention {
        store: store.clone(),
        committer: committer.clone(),
        cache: cache.clone(),
        plugins: plugins.clone(),
        clock: clock.clone(),
        options: options.clone(),
        stop: stop.clone(),
    };
    let outages = Arc::new(observe::outages::Outages::new(
        committer.clone(),
        cache.clone(),
        poll_schedule.clone(),
    ));
    let quotes = Arc::new(schedule::offers::OfferCache::default());
    let place_health = Arc::new(observe::place_health::PlaceHealth::new(
        observe::place_health::Deps {
            committer: committer.clone(),
            cache: cache.clone(),
            plugins: plugins.clone(),
            clock: clock.clone(),
            quotes: quotes.clone(),
            meters: meters.clone(),
            tasks: tasks.clone(),
            stop: stop.clone(),
        },
    ));
    let offers = Arc::new(schedule::offers::Offers::new(schedule::offers::Deps {
        quotes: quotes.clone(),
        place_health: place_health.clone(),
        outages: outages.clone(),
        meters: meters.clone(),
        cache: cache.clone(),
        wake: wake.clone(),
        plugins: plugins.clone(),
        clock: clock.clone(),
        options: options.clone(),
        tasks: tasks.clone(),
    }));
    let probes = Arc::new(observe::probes::Probes::new(observe::probes::Deps {
        cache: cache.clone(),
        plugins: plugins.clone(),
        prober,
        poll_schedule: poll_schedule.clone(),
        tasks: tasks.clone(),
        stop: stop.clone(),
    }));
    let shadows = Arc::new(schedule::shadows::Shadows::new(
        store.clone(),
        committer.clone(),
        clock.clone(),
        tasks.clone(),
        stop.clone(),
    ));
    let interval = options.scale_interval.std();
    let scaler = Arc::new(background::autoscaler::Scaler::new(
        committer.clone(),
        cache.clone(),
        clock.clone(),
        interval,
        stop.clone(),
    ));
    let timekeeper = Arc::new(background::timekeeper::Timekeeper::new(
        committer.clone(),
        cache.clone(),
        clock.clone(),
        stop.clone(),
    ));
    let refusals = Arc::new(schedule::refusals::Refusals {
        cache: cache.clone(),
        plugins: plugins.clone(),
    });
    let nominations = Arc::new(schedule::preemption::Nominations::new(
        quotes.clone(),
        cache.clone(),
    ));
    let budgets = Arc::new(schedule::admission::Budgets {
        cache: cache.clone(),
        namespaces: namespaces.clone(),
        plugins: plugins.clone(),
        clock: clock.clone(),
        store: store.clone(),
    });
    let preemption = Arc::new(schedule::preemption::Preemptor {
        cache: cache.clone(),
        committer: committer.clone(),
        clock: clock.clone(),
        options: options.clone(),
        nominations: nominations.clone(),
        refusals: refusals.clone(),
        budgets: budgets.clone(),
    });
    let scheduler = Arc::new(schedule::scheduler::Scheduler {
        cache: cache.clone(),
        namespaces: namespaces.clone(),
        options: options.clone(),
        clock: clock.clone(),
        ids: ids.clone(),
        budgets: budgets.clone(),
        offers: offers.clone(),
        refusals: refusals.clone(),
        preemption: preemption.clone(),
    });
    let outcomes = Arc::new(execute::outcome::Outcomes {
        cache: cache.clone(),
        committer: committer.clone(),
        store: store.clone(),
        clock: clock.clone(),
        quotes: quotes.clone(),
        poll_schedule: poll_schedule.clone(),
        refusals: refusals.clone(),
        nominations,
    });
    let images = Arc::new(execute::images::Images {
        cache: cache.clone(),
        committer: committer.clone(),
        registries,
        outcomes: outcomes.clone(),
        turn: tokio::sync::Mutex::default(),
    });
    let dispatcher = Arc::new(execute::dispatcher::Dispatcher {
        cache: cache.clone(),
        plugins: plugins.clone(),
        lanes: lanes.clone(),
        place_health: place_health.clone(),
        quotes: quotes.clone(),
        outages: outages.clone(),
        outcomes: outcomes.clone(),
        images: images.clone(),
        tasks: tasks.clone(),
    });
    let recovery = Arc::new(observe::recovery::Healer {
        cache: cache.clone(),
        committer: committer.clone(),
        plugins: plugins.clone(),
        clock: clock.clone(),
        paces,
        offers: offers.clone(),
        refusals,
    });
    let poller = Arc::new(observe::poller::Poller {
        cache: cache.clone(),
        committer: committer.clone(),
        plugins: plugins.clone(),
        clock: clock.clone(),
        options: options.clone(),
        poll_schedule,
        probes,
        meters: meters.clone(),
        recovery: recovery.clone(),
        outages: outages.clone(),
        images: images.clone(),
        tasks: tasks.clone(),
        stop: stop.clone(),
    });
    let ledgers = service::namespaces::LedgerKeeper {
        cache: cache.clone(),
        namespaces: namespaces.clone(),
        committer: committer.clone(),
        budgets: budgets.clone(),
        stop: stop.clone(),
    };
    let (returns, returning) = mpsc::unbounded_channel();
    let reconciler = Arc::new(reconcile::reconciler::Reconciler {
        cache: cache.clone(),
        committer: committer.clone(),
        reads: store.clone(),
        plugins: plugins.clone(),
        plugin_changes,
        clock: clock.clone(),
        options: options.clone(),
        ids: ids.clone(),
        installation,
        quotes: quotes.clone(),
        offers: offers.clone(),
        place_health: place_health.clone(),
        scheduler: scheduler.clone(),
        preemption,
        budgets: budgets.clone(),
        dispatcher,
        outcomes,
        recovery: recovery.clone(),
        shadows: shadows.clone(),
        wake,
        stop: stop.clone(),
        returns,
    });
    let rebalancer = Arc::new(background::rebalancer::Rebalancer {
        cache: cache.clone(),
        committer: committer.clone(),
        namespaces: namespaces.clone(),
        plugins: plugins.clone(),
        clock: clock.clone(),
        options: options.clone(),
        scheduler: scheduler.clone(),
        offers: offers.clone(),
        quotes: quotes.clone(),
        stop: stop.clone(),
    });
    let drainer = Arc::new(background::drainer::Drainer::new(
        cache.clone(),
        committer.clone(),
        clock.clone(),
        stop.clone(),
    ));
    {
        let mut cache = lock(&cache);
        outages.resume(&cache);
        cache.enqueue_all();
    }
    let known: Vec<DeploymentKey> = lock(&cache).deployments.keys().cloned().collect();
    known.iter().for_each(|key| recovery.tell_paces(key));
    place_health.reset_changed_providers(&plugins.snapshot());
    let shared = Arc::new(Shared {
        options,
        store,
        committer,
        plugins,
        clock,
        cache,
        namespaces,
        ids,
        quotes,
        offers,
        meters,
        lanes,
        place_health,
        budgets,
        images,
        scheduler,
        scaler,
        timekeeper,
        rebalancer,
        drainer,
        shadows,
        sessions: service::session::Recorded::default(),
        tasks,
        stop,
    });
    let handle = Handle {
        shared: shared.clone(),
    };
    let measurements = shared
        .meters
        .clone()
        .run(shared.committer.clone(), shared.stop.clone());
    let Shared {
        tasks,
        scaler,
        timekeeper,
        place_health,
        rebalancer,
        drainer,
        ..
    } = shared.as_ref();
    tasks.spawn(vital::part("reconciler", reconciler.run()));
    tasks.spawn(vital::part("roll-backs", handle.carry_out(returning)));
    tasks.spawn(vital::part("observer", poller.run(hints)));
    tasks.spawn(vital::part("autoscaler", scaler.clone().run()));
    tasks.spawn(vital::part("timekeeper", timekeeper.clone().run()));
    tasks.spawn(vital::part("retention", retention.run()));
    tasks.spawn(vital::part("ledger", ledgers.run()));
    tasks.spawn(vital::part("provider checks", place_health.clone().run()));
    tasks.spawn(vital::part("orphan sweep", sweep.run()));
    tasks.spawn(vital::part("measurements", measurements));
    tasks.spawn(vital::part("rebalancer", rebalancer.clone().run()));
    tasks.spawn(vital::part("drainer", drainer.clone().run()));
    tasks.spawn(vital::part(
        "reconsideration",
        rebalancer.clone().reconsider(),
    ));
    Ok(Controller { shared })
}

async fn load(store: &dyn Store) -> Result<Cache, Error> {
    let mut cache = Cache::default();
    let deployments = store.list(DEPLOYMENTS).await?;
    cache.deployments.changes.begin(deployments.revision);
    for stored in deployments.records {
        let record: DeploymentRecord = state::journal::decode(&stored)?;
        let metadata = &record.manifest.metadata;
        let key = DeploymentKey {
            namespace: metadata.namespace.clone(),
            name: metadata.name.clone(),
        };
        cache
            .deployments
            .insert(key, DeploymentState::new(record, stored.revision));
    }
    for stored in store.list(ALLOCATIONS).await?.records {
        let record: AllocationRecord = state::journal::decode(&stored)?;
        if let Some(other) = cache.owners.get(&record.id) {
            let other = AllocationRecord {
                namespace: other.namespace.clone(),
                deployment: other.name.clone(),
                ..record
            }
            .path();
            let source = format!("its allocation is on record a second time, at \"{other}\": remove the one that does not run").into();
            return Err(Error::Store(store::Error::Backend {
                action: "used",
                path: stored.key,
                source,
            }));
        }
        cache.insert_allocation(record, stored.revision);
    }
    for stored in store.list(PLACES).await?.records {
        let record: CordonRecord = state::journal::decode(&stored)?;
        cache.set_cordon(record, stored.revision);
    }
    for entry in cache.deployments.quietly().values_mut() {
        // A call may have been under way when the daemon was killed.
        entry
            .allocations
            .values_mut()
            .for_each(|live| live.outcome_unknown = live.record.intent.stage == Stage::Intended);
        // What has allocations of its generation has been planned; the rest will be.
        let newest = entry
            .allocations
            .values()
            .map(|l| l.record.intent.generation)
            .max()
            .unwrap_or(0);
        if newest == entry.record.generation {
            entry.planned = newest;
        }
    }
    Ok(cache)
}

impl Controller {
    /// A way to it, for those who ask it.
    pub fn handle(&self) -> Handle {
        Handle {
            shared: self.shared.clone(),
        }
    }

    /// Begins nothing new, and waits for what has been begun.
    pub async fn shutdown(self) {
        self.shared.stop.cancel();
        self.shared.lanes.close();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }
}
