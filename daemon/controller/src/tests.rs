//! The law of the controller: from whatever was left behind, it reaches what is wanted within a bounded number of calls once faults stop, and
//! then leaves it alone. Time is tokio's own, held still and moved on by whoever waits.

mod cloud;
pub(crate) mod commit;
mod deadline;
mod kept;
mod memory;
mod order;
mod parts;
mod places;
mod schedule;
mod timekeeper;
mod undecided;
mod updates;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::StreamExt;
use proptest::prelude::*;
use tradewind_core::{
    capability::{Clock, Paces, Probed, Prober, Registries, Unwell},
    document,
    failure::{Failure, FailureKind},
    grant::ProbeGrant,
    health::Pace,
    manifest::namespace::Approval,
    names::{Actor, AllocationId, Digest},
    record::{ALLOCATIONS, AllocationRecord, Stage},
    settings::{PolicyFallback, StaleQuotes},
    store::Store,
    units::{Bytes, Instant, Millis},
    workload::{Check, Endpoint, Phase},
};
use tradewind_manifest::Format;

use self::{
    cloud::{Both, Cloud, Fault, Ran},
    memory::Memory,
};
use crate::{Controller, Error, KeepAudit, Options, Surroundings, start, state::journal};

/// No call of the fake cloud takes time, so that everything that takes this long is a pause of the controller's own: the longest back-off,
/// cool-down and sweep follow one another within it.
const LONG: Duration = Duration::from_secs(3_600);
const NAMES: [&str; 3] = ["ant", "bee", "cat"];

struct Virtual(tokio::time::Instant);

impl Clock for Virtual {
    fn now(&self) -> Instant {
        Instant(1_790_000_000_000 + Millis::from(self.0.elapsed()).0)
    }
}

struct Content;

#[async_trait]
impl Prober for Content {
    async fn probe(
        &self,
        _: Probed<'_>,
        _: Option<&ProbeGrant>,
        _: &Endpoint,
        _: &Check,
        _: Millis,
    ) -> Result<(), Unwell> {
        Ok(())
    }
}

impl Paces for Content {
    fn set(&self, _: &AllocationId, _: Option<Pace>) {}
}

#[async_trait]
impl Registries for Content {
    fn knows(&self, _: &str) -> bool {
        false
    }
    async fn digest(&self, _: &str) -> Result<Digest, Failure> {
        Err(Failure::unavailable("no registry is known"))
    }
}

/// The daemon's own, for the fake policy; but a sweep begins sooner.
fn options() -> Options {
    const SMALL: Bytes = Bytes(64 << 20);
    const DAY: Millis = Millis::from_secs(24 * 3600);
    Options {
        default_policy: "cheapest".parse().expect("a name"),
        offers_ttl: Millis::from_secs(30),
        offers_patience: Millis::from_secs(2),
        observe_interval: Millis::from_secs(5),
        observe_interval_changing: Millis(100),
        scale_interval: Millis::from_secs(5),
        concurrency: 64,
        preempt_across_namespaces: false,
        lane: 16,
        sweep_interval: Millis::from_secs(300),
        sweep_grace: Millis::from_secs(60),
        approval: Approval::None,
        plan_expiry: DAY,
        replacement_interval: Millis::from_secs(60),
        replacement_max_moves: 20,
        keep_decisions: 1_000,
        keep_inputs_age: Millis(7 * DAY.0),
        keep_inputs_size: Bytes(256 << 20),
        policy_fallback: PolicyFallback::Fail,
        quote_ttl: DAY,
        stale_quotes: StaleQuotes::Mark,
        keep_revisions: 10,
        keep_events: 10_000,
        keep_own_events: 50,
        keep_own_decisions: 10,
        keep_audit: KeepAudit {
            entries: 500_000,
            age: Millis(30 * DAY.0),
            size: Bytes(1 << 30),
        },
        keep_events_size: SMALL,
        keep_decisions_size: SMALL,
        most_plans: 100,
    }
}

/// What a deployment asks for.
#[derive(Debug, Clone)]
struct Spec {
    version: u8,
    web: u32,
    job: bool,
    /// The strategy of its updates.
    strategy: &'static str,
    hedged: bool,
}

fn spec() -> impl Strategy<Value = Spec> {
    let strategies = prop_oneof![Just("rolling"), Just("recreate"), Just("blue-green")];
    let all = (
        any::<u8>(),
        0u32..4,
        any::<bool>(),
        strategies,
        any::<bool>(),
    );
    all.prop_map(|(version, web, job, strategy, hedged)| Spec {
        version,
        web,
        job,
        strategy,
        hedged,
    })
}

impl Spec {
    fn manifest(&self, name: &str) -> String {
        let hedge = if self.hedged {
            "hedge: {offers: 2, within: 1m}, "
        } else {
            ""
        };
        let job = if self.job {
            ", jobs: {once: {command: [run], resources: {cpu: 1, memory: 1Gi}}}"
        } else {
            ""
        };
        format!(
            "{{apiVersion: tradewind.dev/v1, kind: CloudDeployment, metadata: {{name: {name}}}, spec: {{{hedge}update: {{strategy: {}}}, \
             services: {{web: {{command: [run], env: {{VERSION: v{}}}, replicas: {}, resources: {{cpu: 1, memory: 1Gi}}}}}}{job}}}}}",
            self.strategy, self.version, self.web
        )
    }
}

/// Something that was left behind, of the n-th allocation.
#[derive(Debug, Clone, Copy)]
enum Leftover {
    /// It runs without a record.
    Orphan,
    /// It is on record and does not run.
    Vanished,
    /// Another record of the same task.
    Twin,
    /// A call had begun, and its end is not known.
    Begun,
    /// A removal had begun.
    Removing,
    Superseded,
    Lost,
    /// A resize to so many replicas had begun.
    Resized(u32),
    /// The first call had begun: it may run, and nothing is known of it.
    Stateless,
}

fn leftover() -> impl Strategy<Value = (usize, Leftover)> {
    let kinds = prop_oneof![
        Just(Leftover::Orphan),
        Just(Leftover::Vanished),
        Just(Leftover::Twin),
        Just(Leftover::Begun),
        Just(Leftover::Removing),
        Just(Leftover::Superseded),
        Just(Leftover::Lost),
        (1u32..6).prop_map(Leftover::Resized),
        Just(Leftover::Stateless),
    ];
    (0usize..16, kinds)
}

fn fault() -> impl Strategy<Value = Option<Fault>> {
    let kinds = prop_oneof![
        Just(FailureKind::Denied),
        Just(FailureKind::OutOfCapacity),
        Just(FailureKind::Quota),
        Just(FailureKind::Throttled),
        Just(FailureKind::Unavailable),
    ];
    prop_oneof![
        Just(None),
        kinds.prop_map(|kind| Some(Fault::Before(kind))),
        Just(Some(Fault::After))
    ]
}

async fn controller(
    store: &Arc<Memory>,
    cloud: &Cloud,
    since: tokio::time::Instant,
    plugin_changes: &tokio::sync::watch::Sender<u64>,
) -> Result<Controller, Error> {
    begin(options(), store, cloud, since, plugin_changes).await
}

async fn begin(
    options: Options,
    store: &Arc<Memory>,
    cloud: &Cloud,
    since: tokio::time::Instant,
    plugin_changes: &tokio::sync::watch::Sender<u64>,
) -> Result<Controller, Error> {
    let surroundings = Surroundings {
        store: store.clone(),
        plugins: Arc::new(Both::of(cloud)),
        plugin_changes: plugin_changes.subscribe(),
        clock: Arc::new(Virtual(since)),
        prober: Arc::new(Content),
        paces: Arc::new(Content),
        registries: Arc::new(Content),
        hints: futures::stream::pending().boxed(),
    };
    start(options, surroundings).await
}

async fn put(controller: &Controller, name: &str, spec: &Spec) {
    put_text(controller, &spec.manifest(name)).await;
}

async fn put_text(controller: &Controller, text: &str) {
    let manifest = tradewind_manifest::parse(text.as_bytes(), Format::Yaml).expect("a manifest");
    controller
        .handle()
        .put(&Actor::LOCAL, manifest, None)
        .await
        .expect("it is stored");
}

/// Leaves something behind of one of the allocations on record.
async fn leave(store: &Memory, cloud: &Cloud, at: usize, what: Leftover) {
    let records = store.list(ALLOCATIONS).await.expect("a list").records;
    let Some(stored) = records.get(at % records.len().max(1)) else {
        return;
    };
    let mut record: AllocationRecord = journal::decode(stored).expect("a record");
    match what {
        Leftover::Orphan => return store.set(record.path(), None),
        Leftover::Vanished => return cloud.with(|known| drop(known.runs.remove(&record.id))),
        Leftover::Twin => {
            // Ids that are made one after the other differ at their end alone.
            let Some((before, made)) = record.id.as_str().rsplit_once("-0") else {
                return;
            };
            record.id = format!("{before}-1{made}")
                .parse::<AllocationId>()
                .expect("an id");
        }
        Leftover::Begun => record.intent.apply_again(),
        Leftover::Removing => record.intent.stage = Stage::Removing,
        Leftover::Superseded => record.intent.superseded = true,
        Leftover::Lost => record.status.lost = true,
        Leftover::Resized(replicas) => {
            record.handle.held = record.handle.held.max(replicas);
            (record.intent.replicas, record.intent.wanted) = (replicas, None);
            record.intent.apply_again();
        }
        Leftover::Stateless => {
            record.intent.stage = Stage::Intended;
            (record.handle.state, record.status.phase) = (None, Phase::Pending);
        }
    }
    store.set(
        record.path(),
        Some(document::to_vec(&record).expect("JSON")),
    );
}

/// Replicas of each service that run, by their version.
fn serving(cloud: &Cloud) -> BTreeMap<(String, String), u32> {
    let mut all = BTreeMap::new();
    for ran in cloud.with(|known| known.runs.values().cloned().collect::<Vec<Ran>>()) {
        if ran.task == "web" {
            *all.entry((ran.deployment, ran.version)).or_default() += ran.replicas;
        }
    }
    all
}

fn wanted(specs: &BTreeMap<&str, Spec>) -> BTreeMap<(String, String), u32> {
    let one = |(name, spec): (&&str, &Spec)| {
        (((*name).to_owned(), format!("v{}", spec.version)), spec.web)
    };
    specs
        .iter()
        .map(one)
        .filter(|(_, replicas)| *replicas > 0)
        .collect()
}

/// Two lives of the daemon, with leftovers in between, and with faults in the second.
async fn live(
    first: Vec<Spec>,
    leftovers: Vec<(usize, Leftover)>,
    second: Vec<Option<Spec>>,
    faults: Vec<Option<Fault>>,
) {
    let (store, cloud, since) = (
        Arc::new(Memory::default()),
        Cloud::new(),
        tokio::time::Instant::now(),
    );
    let (plugin_changes, _) = tokio::sync::watch::channel(0);
    let mut specs: BTreeMap<&str, Spec> = NAMES.into_iter().zip(first).collect();
    let before = controller(&store, &cloud, since, &plugin_changes)
        .await
        .expect("a state that can be read");
    for (name, spec) in &specs {
        put(&before, name, spec).await;
    }
    tokio::time::sleep(LONG).await;
    assert_eq!(serving(&cloud), wanted(&specs), "without any fault");
    before.shutdown().await;

    for (at, what) in leftovers {
        leave(&store, &cloud, at, what).await;
    }
    cloud.with(|known| (known.faults, known.calls) = (faults.into(), 0));
    let troubles = cloud.with(|known| known.faults.len());
    let after = controller(&store, &cloud, since, &plugin_changes)
        .await
        .expect("a state that can be read");
    for (name, change) in NAMES.into_iter().zip(second) {
        match (change, specs.contains_key(name)) {
            (Some(spec), _) => {
                put(&after, name, &spec).await;
                specs.insert(name, spec);
            }
            (None, true) => {
                let namespace = "default".parse().expect("a name");
                after
                    .handle()
                    .delete(
                        &Actor::LOCAL,
                        &namespace,
                        &name.parse().expect("a name"),
                        None,
                    )
                    .await
                    .expect("it is there");
                specs.remove(name);
            }
            (None, false) => {}
        }
    }
    tokio::time::sleep(LONG).await;
    let left = |cloud: &Cloud| cloud.with(|known| format!("{:#?}", known.runs));
    assert_eq!(serving(&cloud), wanted(&specs), "{}", left(&cloud));
    let calls = cloud.with(|known| known.calls);
    assert!(calls as usize <= 60 + 2 * troubles, "{calls} calls");

    tokio::time::sleep(LONG).await;
    assert_eq!(
        cloud.with(|known| known.calls),
        calls,
        "what is as it shall be is left alone: {}",
        left(&cloud)
    );
    after.shutdown().await;
}

/// Whoever has two records of one allocation can't know which one tells what runs.
#[tokio::test(start_paused = true)]
async fn a_state_with_two_records_of_one_allocation_is_refused() {
    let (store, cloud, since) = (
        Arc::new(Memory::default()),
        Cloud::new(),
        tokio::time::Instant::now(),
    );
    let (plugin_changes, _) = tokio::sync::watch::channel(0);
    let spec = Spec {
        version: 1,
        web: 1,
        job: false,
        strategy: "rolling",
        hedged: false,
    };
    let first = controller(&store, &cloud, since, &plugin_changes)
        .await
        .expect("a state that can be read");
    put(&first, "ant", &spec).await;
    put(&first, "bee", &spec).await;
    tokio::time::sleep(LONG).await;
    first.shutdown().await;

    let records = store.list(ALLOCATIONS).await.expect("a list").records;
    let [ant, bee] = &records[..] else {
        panic!("{records:?}")
    };
    let mut twin: AllocationRecord = journal::decode(bee).expect("a record");
    twin.id = journal::decode::<AllocationRecord>(ant)
        .expect("a record")
        .id;
    store.set(twin.path(), Some(document::to_vec(&twin).expect("JSON")));
    let Err(refused) = controller(&store, &cloud, since, &plugin_changes).await else {
        panic!("it is accepted")
    };
    let causes = std::iter::successors(Some(&refused as &dyn std::error::Error), |error| {
        error.source()
    });
    let chain: Vec<String> = causes.map(ToString::to_string).collect();
    let chain = chain.join(": ");
    assert!(
        chain.contains(&twin.path()) && chain.contains(&ant.key),
        "{chain}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn from_whatever_was_left_behind_the_goal_is_reached_and_then_left_alone(
        first in prop::collection::vec(spec(), 0..=3),
        leftovers in prop::collection::vec(leftover(), 0..6),
        second in prop::collection::vec(prop::option::of(spec()), 0..=3),
        faults in prop::collection::vec(fault(), 0..12),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
        runtime.block_on(live(first, leftovers, second, faults));
    }
}
