//! Updates where room is scarce, replicas that end again and again, and jobs that their cloud forgets.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use proptest::prelude::*;
use tradewind_api::{DeploymentView, Status};
use tradewind_core::{
    failure::FailureKind,
    names::{Actor, DeploymentName, Namespace},
    rollout,
};

use super::{Cloud, Controller, Fault, LONG, Memory, Spec, begin, fault, options, put, serving};

pub(super) struct Scene {
    pub(super) store: Arc<Memory>,
    pub(super) cloud: Cloud,
    pub(super) since: tokio::time::Instant,
    pub(super) plugin_changes: tokio::sync::watch::Sender<u64>,
}

impl Scene {
    pub(super) fn new() -> Self {
        let (plugin_changes, _) = tokio::sync::watch::channel(0);
        Self {
            store: Arc::default(),
            cloud: Cloud::new(),
            since: tokio::time::Instant::now(),
            plugin_changes,
        }
    }

    pub(super) async fn controller(&self) -> Controller {
        begin(
            options(),
            &self.store,
            &self.cloud,
            self.since,
            &self.plugin_changes,
        )
        .await
        .expect("a state that can be read")
    }
}

pub(super) fn seen(controller: &Controller) -> DeploymentView {
    let (namespace, name): (Namespace, DeploymentName) = (
        "default".parse().expect("a name"),
        "ant".parse().expect("a name"),
    );
    controller
        .handle()
        .get(&namespace, &name)
        .expect("it is there")
}

fn web(version: u8, replicas: u32, strategy: &'static str) -> Spec {
    Spec {
        version,
        web: replicas,
        job: false,
        strategy,
        hedged: false,
    }
}

pub(super) fn versions(cloud: &Cloud) -> BTreeMap<String, u32> {
    serving(cloud)
        .into_iter()
        .map(|((_, version), replicas)| (version, replicas))
        .collect()
}

/// With room for the update it ends with the new version, without it with the old one; either way whole, and never beyond the capacity.
async fn update(strategy: &'static str, replicas: u32, spare: u32, faults: Vec<Option<Fault>>) {
    let scene = Scene::new();
    scene
        .cloud
        .with(|known| known.capacity = Some(replicas + spare));
    let controller = scene.controller().await;
    put(&controller, "ant", &web(1, replicas, strategy)).await;
    tokio::time::sleep(LONG).await;
    assert_eq!(
        versions(&scene.cloud),
        BTreeMap::from([("v1".to_owned(), replicas)]),
        "at first"
    );
    scene.cloud.with(|known| known.faults = faults.into());
    put(&controller, "ant", &web(2, replicas, strategy)).await;
    tokio::time::sleep(LONG).await;
    let fits = match strategy {
        "recreate" => true,
        "blue-green" => spare >= replicas,
        _ => spare >= 1,
    };
    let (ends, view) = (versions(&scene.cloud), seen(&controller));
    let told = || {
        format!(
            "{strategy} {replicas} + {spare}: {ends:?} {:?}",
            view.rollout
        )
    };
    assert!(
        scene.cloud.with(|known| known.peak) <= replicas + spare,
        "beyond the capacity: {}",
        told()
    );
    assert_eq!(ends.values().sum::<u32>(), replicas, "{}", told());
    assert_eq!(ends.len(), 1, "{}", told());
    assert!(
        view.rollout
            .as_ref()
            .is_some_and(|r| r.status == rollout::Status::Done),
        "no way back: {}",
        told()
    );
    if !fits {
        assert!(ends.contains_key("v1"), "{}", told());
        let reason = view.rollout.map(|r| r.reason).unwrap_or_default();
        assert!(
            reason.contains("maxSurge: 0") && reason.contains("recreate"),
            "it names the way: {reason}"
        );
    }
    controller.shutdown().await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_update_exceeds_the_capacity_and_each_has_a_way_back(
        strategy in prop_oneof![Just("rolling"), Just("recreate"), Just("blue-green")],
        replicas in 1u32..5,
        spare in 0u32..3,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
        runtime.block_on(update(strategy, replicas, spare, Vec::new()));
    }

    #[test]
    fn neither_does_one_that_is_disturbed(
        replicas in 1u32..4,
        faults in prop::collection::vec(fault(), 0..6),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
        runtime.block_on(update("rolling", replicas, 1, faults));
    }
}

/// What its provider starts again and again is failing, and goes where it does not fail. Others' tasks go there as before.
#[tokio::test(start_paused = true)]
async fn what_ends_again_and_again_in_one_place_goes_to_another() {
    let scene = Scene::new();
    scene
        .cloud
        .with(|known| known.broken = Some("v1".to_owned()));
    let controller = scene.controller().await;
    put(&controller, "ant", &web(1, 1, "rolling")).await;
    tokio::time::sleep(LONG).await;
    let view = seen(&controller);
    let places: Vec<_> = view
        .tasks
        .iter()
        .flat_map(|t| &t.allocations)
        .map(|a| (a.region.as_str(), a.ready))
        .collect();
    assert_eq!(
        (places, view.summary.status),
        (vec![("west", 1)], Status::Running),
        "{:#?}",
        view.tasks
    );
    put(&controller, "bee", &web(2, 1, "rolling")).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let bee = controller
        .handle()
        .get(
            &"default".parse().expect("a name"),
            &"bee".parse().expect("a name"),
        )
        .expect("it is there");
    let regions: Vec<_> = bee
        .tasks
        .iter()
        .flat_map(|t| &t.allocations)
        .map(|a| a.region.as_str())
        .collect();
    assert_eq!(regions, ["east"], "the place serves others as before");
    controller.shutdown().await;
}

/// A version that ends again and again takes no good replica away, and the return begins with the failure.
#[tokio::test(start_paused = true)]
async fn a_crash_loop_takes_nothing_away_and_returns_at_once() {
    let scene = Scene::new();
    scene
        .cloud
        .with(|known| (known.broken, known.silent_on_health) = (Some("v2".to_owned()), true));
    let controller = scene.controller().await;
    put(&controller, "ant", &web(1, 4, "rolling")).await;
    tokio::time::sleep(LONG).await;
    assert_eq!(seen(&controller).summary.status, Status::Running);
    put(&controller, "ant", &web(2, 4, "rolling")).await;
    let began = tokio::time::Instant::now();
    loop {
        let (view, good) = (
            seen(&controller),
            versions(&scene.cloud).get("v1").copied().unwrap_or(0),
        );
        assert_eq!(
            good, 4,
            "a good replica has gone for one that does not live"
        );
        if view.summary.generation == 3 {
            break;
        }
        assert_ne!(view.summary.status, Status::Running, "it does not live");
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "{:?}",
            seen(&controller).rollout
        );
    }
    tokio::time::sleep(LONG).await;
    assert_eq!(
        versions(&scene.cloud),
        BTreeMap::from([("v1".to_owned(), 4)])
    );
    controller.shutdown().await;
}

/// Where nothing says how well a replica is, it is ready once it has lived for a moment, and not before.
#[tokio::test(start_paused = true)]
async fn what_nobody_checks_is_ready_when_it_has_lived_for_a_moment() {
    let scene = Scene::new();
    scene.cloud.with(|known| known.silent_on_health = true);
    let controller = scene.controller().await;
    put(&controller, "ant", &web(1, 1, "rolling")).await;
    tokio::time::sleep(Duration::from_millis(900)).await;
    assert_eq!(seen(&controller).summary.ready, 0);
    tokio::time::sleep(Duration::from_millis(600)).await;
    let view = seen(&controller);
    assert_eq!(
        (view.summary.ready, view.summary.status),
        (1, Status::Running)
    );
    controller.shutdown().await;
}

/// What a job has ended with is final: its cloud may forget it, the daemon may be restarted.
#[tokio::test(start_paused = true)]
async fn a_job_that_has_ended_is_not_run_again_because_its_cloud_forgot_it() {
    let scene = Scene::new();
    let controller = scene.controller().await;
    put(
        &controller,
        "ant",
        &Spec {
            job: true,
            ..web(1, 0, "rolling")
        },
    )
    .await;
    tokio::time::sleep(LONG).await;
    let job = |controller: &Controller| {
        let view = seen(controller);
        view.tasks
            .iter()
            .find(|t| t.kind == "job")
            .map(|t| (t.ready, t.status))
    };
    assert_eq!(job(&controller), Some((1, Status::Completed)));
    let calls = scene.cloud.with(|known| {
        known.runs.clear();
        known.calls
    });
    tokio::time::sleep(LONG).await;
    controller.shutdown().await;
    let controller = scene.controller().await;
    tokio::time::sleep(LONG).await;
    assert_eq!(
        scene.cloud.with(|known| known.calls),
        calls,
        "nothing was asked for"
    );
    assert_eq!(job(&controller), Some((1, Status::Completed)));
    controller.shutdown().await;
}

/// What gives way holds the room of what takes its place, also when that has been given up once.
#[tokio::test(start_paused = true)]
async fn an_update_whose_provider_refuses_once_goes_on() {
    update(
        "rolling",
        2,
        1,
        vec![Some(Fault::Before(FailureKind::Denied))],
    )
    .await;
}

/// What was refused is not kept over a restart: it is asked for once more in each place, and why it waits is told again at once.
#[tokio::test(start_paused = true)]
async fn a_refusal_is_told_again_at_once_after_a_restart() {
    let scene = Scene::new();
    scene
        .cloud
        .with(|known| known.refused = Some("v1".to_owned()));
    let mut controller = scene.controller().await;
    put(&controller, "ant", &web(1, 1, "rolling")).await;
    for life in 0..3 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let view = seen(&controller);
        let told = view
            .tasks
            .iter()
            .map(|t| t.message.as_str())
            .collect::<Vec<_>>()
            .join("; ");
        assert!(
            told.contains("the grant does not allow it"),
            "life {life}: {:#?}",
            view.tasks
        );
        assert_eq!(
            scene.cloud.with(|known| std::mem::take(&mut known.calls)),
            1,
            "life {life}: its provider is asked once"
        );
        controller.shutdown().await;
        controller = scene.controller().await;
    }
    controller.shutdown().await;
}

fn ant() -> (Namespace, DeploymentName) {
    let (namespace, name) = ("default".parse(), "ant".parse());
    (namespace.expect("a name"), name.expect("a name"))
}

fn both(cloud: &Cloud) -> bool {
    versions(cloud).len() == 2
}

/// A pause outlives the daemon, whatever time passes; what runs goes on, and a resumed update reaches its end.
#[tokio::test(start_paused = true)]
async fn a_paused_update_stays_where_it_is_over_a_restart() {
    let scene = Scene::new();
    let (namespace, name) = ant();
    let controller = scene.controller().await;
    put(&controller, "ant", &web(1, 4, "rolling")).await;
    tokio::time::sleep(LONG).await;
    let refused = controller
        .handle()
        .pause(&Actor::CONTROLLER, &namespace, &name, None)
        .await;
    assert!(refused.is_err(), "nothing is under way");
    put(&controller, "ant", &web(2, 4, "rolling")).await;
    while !both(&scene.cloud) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let handle = controller.handle();
    let paused = handle.pause(&Actor::CONTROLLER, &namespace, &name, None);
    paused.await.expect("an update is under way");
    // What was intended before is carried out.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let held = versions(&scene.cloud);
    assert!(both(&scene.cloud), "{held:?}");
    tokio::time::sleep(LONG * 20).await;
    assert_eq!(versions(&scene.cloud), held);
    let view = seen(&controller);
    assert_eq!(
        view.rollout.as_ref().map(|r| r.status),
        Some(rollout::Status::Paused)
    );
    assert!(
        view.summary.message.contains("rollout resume ant"),
        "{}",
        view.summary.message
    );
    controller.shutdown().await;

    let controller = scene.controller().await;
    tokio::time::sleep(LONG * 20).await;
    assert_eq!(versions(&scene.cloud), held, "after a restart");
    let handle = controller.handle();
    let resumed = handle.resume(&Actor::CONTROLLER, &namespace, &name, None);
    resumed.await.expect("it is paused");
    tokio::time::sleep(LONG).await;
    assert_eq!(
        versions(&scene.cloud),
        BTreeMap::from([("v2".to_owned(), 4)])
    );
    let again = handle.resume(&Actor::CONTROLLER, &namespace, &name, None);
    assert!(again.await.is_err(), "nothing is paused");
    controller.shutdown().await;
}

/// What is paused can be left: an earlier revision comes back, without a word to resume.
#[tokio::test(start_paused = true)]
async fn a_paused_update_can_be_rolled_back() {
    let scene = Scene::new();
    let (namespace, name) = ant();
    let controller = scene.controller().await;
    put(&controller, "ant", &web(1, 4, "rolling")).await;
    tokio::time::sleep(LONG).await;
    put(&controller, "ant", &web(2, 4, "rolling")).await;
    while !both(&scene.cloud) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let handle = controller.handle();
    let paused = handle.pause(&Actor::CONTROLLER, &namespace, &name, None);
    paused.await.expect("an update is under way");
    let back = handle.rollback(&Actor::CONTROLLER, &namespace, &name, None, None);
    back.await.expect("there is a healthy revision");
    tokio::time::sleep(LONG).await;
    assert_eq!(
        versions(&scene.cloud),
        BTreeMap::from([("v1".to_owned(), 4)])
    );
    controller.shutdown().await;
}

/// A restart replaces every replica, as the update says, of the same manifest; once, also over a restart of the daemon.
#[tokio::test(start_paused = true)]
async fn a_restart_replaces_the_replicas_without_a_gap() {
    let scene = Scene::new();
    let (namespace, name) = ant();
    let controller = scene.controller().await;
    put(&controller, "ant", &web(1, 3, "rolling")).await;
    tokio::time::sleep(LONG).await;
    let allocations = |controller: &Controller| {
        let view = seen(controller);
        let all = view.tasks.iter().flat_map(|t| &t.allocations);
        all.map(|a| a.id.clone()).collect::<Vec<_>>()
    };
    let before = allocations(&controller);
    let handle = controller.handle();
    let restarted = handle.restart(
        &Actor::CONTROLLER,
        &namespace,
        &name,
        None,
        "a new certificate",
        None,
    );
    assert_eq!(restarted.await.expect("it is there").generation, 2);
    let until = tokio::time::Instant::now() + LONG;
    while tokio::time::Instant::now() < until {
        let serving = versions(&scene.cloud).values().sum::<u32>();
        assert!(serving >= 3, "{serving} of 3");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let after = allocations(&controller);
    assert!(
        before.iter().all(|id| !after.contains(id)) && !after.is_empty(),
        "{before:?} {after:?}"
    );
    let view = seen(&controller);
    assert_eq!(
        (view.summary.status, view.summary.ready),
        (Status::Running, 3),
        "{:?}",
        view.rollout
    );
    let whole = tradewind_core::list::Window::whole();
    let marks = handle.revisions(&namespace, &name, None, &whole);
    let marks = marks.expect("they are kept").items;
    assert_eq!(
        (marks[0].cause, marks[0].reason.as_str()),
        (rollout::Cause::Restart, "\"web\": a new certificate")
    );
    controller.shutdown().await;
    let controller = scene.controller().await;
    tokio::time::sleep(LONG).await;
    assert_eq!(allocations(&controller), after, "once");
    controller.shutdown().await;
}
