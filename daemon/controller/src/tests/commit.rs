//! The committer's laws, on the state that one deployment has been brought to. Nobody else works on it any more.

use std::sync::Arc;

use futures::FutureExt;
use parking_lot::Mutex;
use tradewind_core::{
    capability::Paces,
    event::{Event, Reason, Severity},
    health::Pace,
    ledger::Segment,
    names::{Actor, AllocationId},
    record::{AllocationRecord, DeploymentKey, EVENTS, SEGMENTS},
    store::{Error, Expect, Record, Revision, Store},
    units::{Instant, MicroUsd},
};
use tradewind_manifest::{Format, parse_namespace};

use super::{LONG, Memory, Spec, controller, put};
use crate::{
    Shared, lock,
    state::commit::{Change, Committer},
    state::journal::CONTROLLER,
    tests::cloud::Cloud,
};

/// One deployment runs, and the controller's loops have ended.
pub(crate) struct Scene {
    pub(super) store: Arc<Memory>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) key: DeploymentKey,
    /// Its allocation, and the revision of that.
    pub(crate) record: AllocationRecord,
    pub(crate) revision: Revision,
}

impl Scene {
    pub(crate) async fn new() -> Self {
        let (store, cloud) = (Arc::new(Memory::default()), Cloud::new());
        let (plugin_changes, _) = tokio::sync::watch::channel(0);
        let controller = controller(&store, &cloud, tokio::time::Instant::now(), &plugin_changes)
            .await
            .expect("a state");
        put(
            &controller,
            "ant",
            &Spec {
                version: 1,
                web: 2,
                job: false,
                strategy: "rolling",
                hedged: false,
            },
        )
        .await;
        tokio::time::sleep(LONG).await;
        let shared = controller.shared.clone();
        controller.shutdown().await;
        let (key, record, revision) = {
            let mut cache = lock(&shared.cache);
            cache.drain_ready(tokio::time::Instant::now());
            let (key, entry) = cache.deployments.iter().next().expect("a deployment");
            let live = entry.allocations.values().next().expect("an allocation");
            (key.clone(), live.record.clone(), live.revision)
        };
        let _permit = shared.committer.wake.notified().now_or_never();
        Self {
            store,
            shared,
            key,
            record,
            revision,
        }
    }

    fn committer(&self) -> &Arc<Committer> {
        &self.shared.committer
    }

    pub(crate) async fn documents(&self) -> Vec<Record> {
        self.store.list("").await.expect("a list").records
    }

    /// The allocation as the cache has it.
    pub(crate) fn cached(&self) -> Option<(AllocationRecord, Revision)> {
        lock(&self.shared.cache)
            .live(&self.record.id)
            .map(|live| (live.record.clone(), live.revision))
    }

    /// Its record as of that attempt.
    fn attempt(&self, attempt: u32) -> AllocationRecord {
        let mut record = self.record.clone();
        record.intent.attempt = attempt;
        record
    }

    fn enqueued(&self) -> Vec<DeploymentKey> {
        lock(&self.shared.cache).drain_ready(tokio::time::Instant::now())
    }

    fn spent(&self) -> MicroUsd {
        let handle = crate::Handle {
            shared: self.shared.clone(),
        };
        handle
            .namespace(&self.key.namespace)
            .expect("a namespace")
            .spend
            .this_month
    }

    /// The allocation with another attempt, an event, an hour that cost a dollar, and a deployment to look at.
    fn change(&self, revision: Revision) -> Change {
        let attempt = self.record.intent.attempt + 1;
        let to = self.shared.clock.now();
        let segment = Segment {
            namespace: self.key.namespace.clone(),
            from: Instant(to.0 - 3_600_000),
            to,
            hourly: MicroUsd(1_000_000),
        };
        let mut change = Change::of(Event::new(
            Severity::Info,
            Reason::DeploymentUpdated,
            CONTROLLER,
            "a change of a test",
        ));
        change
            .put_allocation(self.attempt(attempt), revision)
            .expect("JSON");
        change.segment(&self.record.id, Some(segment));
        change.enqueue(&self.key);
        change
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_as_expected_changes_nothing() {
    let scene = Scene::new().await;
    let (before, cached, spent) = (scene.documents().await, scene.cached(), scene.spent());
    let mut asked = false;
    let stale = scene.change(Revision(scene.revision.0 - 1));
    let answer = scene
        .committer()
        .commit_showing(stale, |_| asked = true)
        .await;
    assert!(matches!(answer, Err(Error::Conflict { key }) if key == scene.record.path()));
    assert!(!asked, "what is shown with a change is shown without it");
    assert_eq!(
        (scene.documents().await, scene.cached(), scene.spent()),
        (before, cached, spent)
    );
    assert_eq!(scene.enqueued(), []);
    assert!(
        scene
            .shared
            .committer
            .wake
            .notified()
            .now_or_never()
            .is_none(),
        "nobody is to be woken"
    );
}

#[tokio::test(start_paused = true)]
async fn record_event_and_cost_are_one_transaction() {
    let scene = Scene::new().await;
    let spent = scene.spent();
    let revision = scene
        .committer()
        .commit(scene.change(scene.revision))
        .await
        .expect("it is as expected");
    let written: Vec<String> = scene
        .documents()
        .await
        .into_iter()
        .filter(|r| r.revision == revision)
        .map(|r| r.key)
        .collect();
    let is = |prefix: &str| written.iter().filter(|key| key.starts_with(prefix)).count();
    assert_eq!(
        (
            written.len(),
            is(&scene.record.path()),
            is(EVENTS),
            is(SEGMENTS)
        ),
        (3, 1, 1, 1),
        "{written:?}"
    );
    assert_eq!(
        scene
            .cached()
            .map(|(record, at)| (record.intent.attempt, at)),
        Some((scene.record.intent.attempt + 1, revision))
    );
    // What the allocation costs by itself goes on beside it.
    assert!(
        scene.spent() >= spent.saturating_add(MicroUsd(1_000_000)),
        "{:?}",
        scene.spent()
    );
    assert_eq!(scene.enqueued(), std::slice::from_ref(&scene.key));
    assert!(
        scene
            .shared
            .committer
            .wake
            .notified()
            .now_or_never()
            .is_some(),
        "the reconciler has not been woken"
    );
}

#[tokio::test(start_paused = true)]
async fn who_is_told_finds_it_shown() {
    let scene = Scene::new().await;
    let changed = lock(&scene.shared.cache)
        .deployments
        .get(&scene.key)
        .expect("it is there")
        .changed
        .clone();
    let told = {
        let (shared, id) = (scene.shared.clone(), scene.record.id.clone());
        let (ready, begun) = tokio::sync::oneshot::channel();
        let told = tokio::spawn(async move {
            let told = changed.notified();
            tokio::pin!(told);
            told.as_mut().enable();
            let _ = ready.send(());
            told.await;
            lock(&shared.cache)
                .live(&id)
                .map(|live| live.record.intent.attempt)
        });
        begun.await.expect("it follows");
        told
    };
    scene
        .committer()
        .commit(scene.change(scene.revision))
        .await
        .expect("it is as expected");
    assert_eq!(
        told.await.expect("it ends"),
        Some(scene.record.intent.attempt + 1)
    );
}

#[tokio::test(start_paused = true)]
async fn what_was_shown_first_stays() {
    let scene = Scene::new().await;
    let later = (scene.attempt(99), Revision(1_000_000));
    lock(&scene.shared.cache).insert_allocation(later.0.clone(), later.1);
    scene
        .committer()
        .commit(scene.change(scene.revision))
        .await
        .expect("the store has it");
    assert_eq!(
        scene.cached(),
        Some(later),
        "an earlier write goes over a later one"
    );

    let (record, revision) = {
        let cache = lock(&scene.shared.cache);
        let entry = cache.deployments.get(&scene.key).expect("it is there");
        ((*entry.record).clone(), entry.revision)
    };
    let mut change = Change::new();
    change.expect(Expect::AtRevision {
        key: scene.key.path(),
        revision,
    });
    change
        .put_spec(
            &scene.key,
            tradewind_core::record::DeploymentRecord {
                generation: 7,
                ..record.clone()
            },
        )
        .expect("JSON");
    lock(&scene.shared.cache)
        .deployments
        .get_mut(&scene.key)
        .expect("it is there")
        .revision = Revision(1_000_000);
    scene
        .committer()
        .commit(change)
        .await
        .expect("the store has it");
    let shown = lock(&scene.shared.cache)
        .deployments
        .get(&scene.key)
        .map(|e| e.record.generation);
    assert_eq!(
        shown,
        Some(record.generation),
        "an earlier spec goes over a later one"
    );
}

#[tokio::test(start_paused = true)]
async fn what_has_gone_meanwhile_stays_gone() {
    let scene = Scene::new().await;
    lock(&scene.shared.cache).remove_allocation(&scene.record.id);
    scene
        .committer()
        .commit(scene.change(scene.revision))
        .await
        .expect("the store has it");
    assert_eq!(scene.cached(), None);
}

/// What was said of paces.
#[derive(Default)]
struct Said(Mutex<Vec<(AllocationId, bool)>>);

impl Paces for Said {
    fn set(&self, allocation: &AllocationId, pace: Option<Pace>) {
        lock(&self.0).push((allocation.clone(), pace.is_some()));
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_left_of_what_is_deleted() {
    let scene = Scene::new().await;
    let said = Arc::new(Said::default());
    let of = scene.committer();
    let committer = Arc::new(Committer {
        store: of.store.clone(),
        clock: of.clock.clone(),
        ids: of.ids.clone(),
        paces: said.clone(),
        cache: of.cache.clone(),
        namespaces: of.namespaces.clone(),
        progress: of.progress.clone(),
        wake: of.wake.clone(),
        timings: of.timings.clone(),
    });
    let mut change = Change::new();
    change.delete_allocation(&scene.record, scene.revision);
    committer.commit(change).await.expect("it is as expected");
    assert_eq!(scene.cached(), None);
    assert_eq!(*lock(&said.0), [(scene.record.id.clone(), false)]);

    let (record, revision) = {
        let cache = lock(&scene.shared.cache);
        let entry = cache.deployments.get(&scene.key).expect("it is there");
        ((*entry.record).clone(), entry.revision)
    };
    let mut change = Change::new();
    change.delete_deployment(&scene.key, &record, revision);
    committer.commit(change).await.expect("it is as expected");
    assert!(lock(&scene.shared.cache).deployments.is_empty());
    let left: Vec<String> = scene
        .documents()
        .await
        .into_iter()
        .map(|r| r.key)
        .filter(|key| key.contains("/ant"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test(start_paused = true)]
async fn who_leaves_while_it_is_stored_leaves_nothing_behind() {
    let scene = Scene::new().await;
    let change = scene.change(scene.revision);
    // As a client does that closes its connection: the future is begun and dropped.
    assert!(scene.committer().accept(change).now_or_never().is_none());
    tokio::time::sleep(LONG).await;
    let stored = scene
        .store
        .get(&scene.record.path())
        .await
        .expect("a state")
        .expect("a record");
    assert_eq!(
        scene
            .cached()
            .map(|(record, revision)| (record.intent.attempt, revision)),
        Some((scene.record.intent.attempt + 1, stored.revision)),
        "the cache is behind the store"
    );
    assert_eq!(scene.enqueued(), std::slice::from_ref(&scene.key));
}

#[tokio::test(start_paused = true)]
async fn limits_whose_client_left_hold_and_can_be_set_again() {
    let scene = Scene::new().await;
    let handle = crate::Handle {
        shared: scene.shared.clone(),
    };
    let limits = |replicas: u32| {
        let text = format!(
            "{{apiVersion: tradewind.dev/v1, kind: Namespace, metadata: {{name: default}}, spec: {{quota: {{replicas: {replicas}}}}}}}"
        );
        parse_namespace(text.as_bytes(), Format::Yaml).expect("limits")
    };
    let left = handle.put_namespace(&Actor::LOCAL, limits(3), None);
    assert!(left.now_or_never().is_none(), "it is not stored at once");
    tokio::time::sleep(LONG).await;
    let seen = || {
        let view = handle.namespace(&scene.key.namespace);
        view.map(|view| view.generation)
    };
    assert_eq!(seen(), Some(1));
    assert_eq!(scene.enqueued(), std::slice::from_ref(&scene.key));
    let again = handle
        .put_namespace(&Actor::LOCAL, limits(4), None)
        .await
        .expect("it is set again");
    assert_eq!(again.generation, 2);
}
