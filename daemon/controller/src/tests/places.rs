//! Places that take nothing new: what runs there goes on, or moves elsewhere without a gap, and nothing goes back and forth.

use std::{collections::BTreeMap, time::Duration};

use proptest::prelude::*;
use tradewind_api::{LeftView, Outcome, PlaceView};
use tradewind_core::{
    names::{Actor, InstanceName},
    store::Store,
    units::Millis,
};

use super::{
    Cloud, Controller, LONG, put_text,
    updates::{Scene, seen},
};
use crate::{Draining, Error};

const MINUTE: Duration = Duration::from_secs(60);

fn cloud() -> InstanceName {
    "cloud".parse().expect("a name")
}

/// `more`: what else the deployment says of itself.
async fn put(controller: &Controller, name: &str, version: u8, replicas: u32, more: &str) {
    put_text(
        controller,
        &format!(
            "{{apiVersion: tradewind.dev/v1, kind: CloudDeployment, metadata: {{name: {name}}}, spec: {{{more} services: {{web: {{command: \
             [run], env: {{VERSION: v{version}}}, replicas: {replicas}, resources: {{cpu: 1, memory: 1Gi}}}}}}}}}}"
        ),
    )
    .await;
}

async fn put_job(controller: &Controller) {
    put_text(
        controller,
        "{apiVersion: tradewind.dev/v1, kind: CloudDeployment, metadata: {name: ant}, spec: {jobs: {once: {command: [run], resources: {cpu: \
         1, memory: 1Gi}}}}}",
    )
    .await;
}

async fn cordon(controller: &Controller, region: &str) -> Outcome {
    let (handle, cloud) = (controller.handle(), cloud());
    let done = handle.cordon(&Actor::LOCAL, &cloud, region, Some("a bad day"));
    done.await.expect("there is such a place").outcome
}

async fn drain(controller: &Controller, region: &str, how: Draining) {
    let (handle, cloud) = (controller.handle(), cloud());
    let done = handle.drain(&Actor::LOCAL, &cloud, region, &how);
    done.await.expect("there is such a place");
}

async fn uncordon(controller: &Controller, region: &str) -> Outcome {
    let (handle, cloud) = (controller.handle(), cloud());
    let done = handle.uncordon(&Actor::LOCAL, &cloud, region);
    done.await.expect("there is such a place").outcome
}

async fn place(controller: &Controller, region: &str) -> PlaceView {
    let (handle, cloud) = (controller.handle(), cloud());
    let place = handle.place(&cloud, region).await;
    place.expect("there is such a place")
}

async fn is_drained(controller: &Controller, region: &str) -> bool {
    let cordon = place(controller, region).await.cordon;
    cordon.is_some_and(|cordon| cordon.state() == "drained")
}

/// What is left in the east, which is one allocation.
async fn left(controller: &Controller) -> LeftView {
    let east = place(controller, "east").await;
    let [one] = &east.left[..] else {
        panic!("{east:#?}")
    };
    one.clone()
}

/// Replicas by region and version.
fn places(cloud: &Cloud) -> BTreeMap<(String, String), u32> {
    let mut all = BTreeMap::new();
    for ran in cloud.with(|known| known.runs.values().cloned().collect::<Vec<_>>()) {
        let region = ran.offer.split('/').next().unwrap_or_default().to_owned();
        *all.entry((region, ran.version)).or_default() += ran.replicas;
    }
    all
}

fn at(all: &[(&str, &str, u32)]) -> BTreeMap<(String, String), u32> {
    let one = |(region, version, replicas): &(&str, &str, u32)| {
        (((*region).to_owned(), (*version).to_owned()), *replicas)
    };
    all.iter().map(one).collect()
}

fn calls(cloud: &Cloud) -> u32 {
    cloud.with(|known| known.calls)
}

async fn told(scene: &Scene, reason: &str) -> Vec<String> {
    let events = scene.store.list("events/").await.expect("a list").records;
    let texts = events
        .iter()
        .map(|event| String::from_utf8_lossy(&event.value).into_owned());
    texts
        .filter(|text| text.contains(&format!("\"reason\":\"{reason}\"")))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_cordoned_place_takes_nothing_new_and_keeps_what_runs() {
    let scene = Scene::new();
    let controller = scene.controller().await;
    put(&controller, "ant", 1, 2, "").await;
    tokio::time::sleep(MINUTE).await;
    let before = calls(&scene.cloud);
    assert_eq!(cordon(&controller, "east").await, Outcome::Created);
    assert_eq!(cordon(&controller, "east").await, Outcome::Unchanged);
    tokio::time::sleep(LONG).await;
    assert_eq!(places(&scene.cloud), at(&[("east", "v1", 2)]));
    assert_eq!(calls(&scene.cloud), before, "what runs is left alone");

    put(&controller, "ant", 1, 3, "").await;
    tokio::time::sleep(MINUTE).await;
    let grown = at(&[("east", "v1", 2), ("west", "v1", 1)]);
    assert_eq!(
        places(&scene.cloud),
        grown,
        "only what is new goes elsewhere"
    );
    put(&controller, "ant", 1, 2, "").await;
    tokio::time::sleep(MINUTE).await;
    let shrunk = at(&[("east", "v1", 1), ("west", "v1", 1)]);
    assert_eq!(
        places(&scene.cloud),
        shrunk,
        "the cordoned place shrinks first"
    );

    let warnings = seen(&controller).tasks[0]
        .allocations
        .iter()
        .flat_map(|a| a.warnings.clone())
        .collect::<Vec<_>>();
    assert!(
        warnings
            .join("\n")
            .contains("(a bad day): what runs there goes on"),
        "{warnings:?}"
    );

    // A cordon outlives the daemon.
    controller.shutdown().await;
    let controller = scene.controller().await;
    put(&controller, "ant", 2, 2, "").await;
    put(&controller, "bee", 1, 1, "placement: {regions: [east]},").await;
    tokio::time::sleep(MINUTE).await;
    assert_eq!(
        places(&scene.cloud),
        at(&[("west", "v2", 2)]),
        "new replicas of an update are new, and what can go nowhere else waits"
    );
    let [event] = &told(&scene, "Unplaced").await[..] else {
        panic!("{:#?}", told(&scene, "Unplaced").await)
    };
    for text in [
        "is cordoned by local since 2026-",
        ": a bad day (`tradewind uncordon cloud/east` lifts it)",
    ] {
        assert!(event.contains(text), "{text}: {event}");
    }

    assert_eq!(uncordon(&controller, "east").await, Outcome::Updated);
    assert_eq!(uncordon(&controller, "east").await, Outcome::Unchanged);
    tokio::time::sleep(MINUTE).await;
    let all = at(&[("east", "v1", 1), ("west", "v2", 2)]);
    assert_eq!(places(&scene.cloud), all, "who waited has its place");
    controller.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_drained_moves_without_a_gap_over_a_restart() {
    let scene = Scene::new();
    // Nobody says how well replicas are: they are ready when they have run for a while.
    scene.cloud.with(|known| known.silent_on_health = true);
    let controller = scene.controller().await;
    put(&controller, "ant", 1, 3, "").await;
    tokio::time::sleep(LONG).await;
    scene.cloud.with(|known| known.least = u32::MAX);
    drain(&controller, "east", Draining::default()).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let half = places(&scene.cloud);
    assert_eq!(half.get(&("east".to_owned(), "v1".to_owned())), Some(&3));
    assert!(half.len() == 2, "it has begun: {half:?}");
    let why = left(&controller).await.why;
    assert!(why.contains("0 of 3 replicas elsewhere are ready"), "{why}");
    controller.shutdown().await;

    let controller = scene.controller().await;
    tokio::time::sleep(LONG).await;
    assert_eq!(places(&scene.cloud), at(&[("west", "v1", 3)]));
    assert!(scene.cloud.with(|known| known.least) >= 3, "it had a gap");
    assert!(is_drained(&controller, "east").await);
    assert_eq!(told(&scene, "PlaceDrained").await.len(), 1);
    let before = calls(&scene.cloud);
    uncordon(&controller, "east").await;
    tokio::time::sleep(LONG).await;
    assert_eq!(calls(&scene.cloud), before, "what has moved stays");
    controller.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn what_has_no_room_elsewhere_stays_and_is_named() {
    let scene = Scene::new();
    let controller = scene.controller().await;
    put(&controller, "ant", 1, 3, "").await;
    tokio::time::sleep(3 * MINUTE).await;
    scene.cloud.with(|known| known.west = Some(0));
    let deadline = Some(Millis::from_secs(600));
    let how = Draining {
        deadline,
        ..Draining::default()
    };
    drain(&controller, "east", how).await;
    tokio::time::sleep(MINUTE).await;
    let one = left(&controller).await;
    assert!(
        one.stuck && one.why.contains("no room elsewhere for 3 of them"),
        "{one:#?}"
    );
    tokio::time::sleep(LONG).await;
    assert_eq!(
        places(&scene.cloud),
        at(&[("east", "v1", 3)]),
        "nothing is stopped, the deadline or not"
    );
    let [overdue] = &told(&scene, "PlaceDrainOverdue").await[..] else {
        panic!("it is told once")
    };
    assert!(overdue.contains("3 × web of default/ant"), "{overdue}");
    assert!(
        told(&scene, "Unplaced").await.is_empty(),
        "they have their place"
    );

    scene.cloud.with(|known| known.west = Some(1));
    tokio::time::sleep(LONG).await;
    let some = at(&[("east", "v1", 2), ("west", "v1", 1)]);
    assert_eq!(places(&scene.cloud), some, "as many as there is room for");
    let before = calls(&scene.cloud);
    tokio::time::sleep(LONG).await;
    assert_eq!(calls(&scene.cloud), before, "then it rests");
    scene.cloud.with(|known| known.west = None);
    tokio::time::sleep(LONG).await;
    assert_eq!(places(&scene.cloud), at(&[("west", "v1", 3)]));
    assert!(is_drained(&controller, "east").await);
    controller.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn two_drained_places_send_each_other_nothing() {
    let scene = Scene::new();
    let controller = scene.controller().await;
    put(&controller, "ant", 1, 2, "").await;
    tokio::time::sleep(MINUTE).await;
    let before = calls(&scene.cloud);
    // All of the provider is one of them.
    drain(&controller, "east", Draining::default()).await;
    drain(&controller, "", Draining::default()).await;
    tokio::time::sleep(MINUTE).await;
    let settled = calls(&scene.cloud);
    tokio::time::sleep(LONG).await;
    assert_eq!(calls(&scene.cloud), settled);
    let running: u32 = places(&scene.cloud).values().sum();
    assert_eq!(running, 2, "{:?}", places(&scene.cloud));
    assert!(settled - before <= 8, "{before} {settled}");
    let refused = controller
        .handle()
        .uncordon(&Actor::LOCAL, &cloud(), "west")
        .await;
    assert!(matches!(refused, Err(Error::CordonedWhole { .. })));
    controller.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn jobs_are_left_to_end_until_the_deadline() {
    for ignore_jobs in [false, true] {
        let scene = Scene::new();
        scene.cloud.with(|known| known.endless = true);
        let controller = scene.controller().await;
        put_job(&controller).await;
        tokio::time::sleep(MINUTE).await;
        let how = Draining {
            deadline: Some(Millis::from_secs(600)),
            ignore_jobs,
            ..Draining::default()
        };
        drain(&controller, "east", how).await;
        tokio::time::sleep(9 * MINUTE).await;
        assert_eq!(places(&scene.cloud), at(&[("east", "", 1)]));
        assert_eq!(is_drained(&controller, "east").await, ignore_jobs);
        assert!(left(&controller).await.job);
        tokio::time::sleep(5 * MINUTE).await;
        let (region, drained) = match ignore_jobs {
            true => ("east", true),
            false => ("west", true),
        };
        assert_eq!(places(&scene.cloud), at(&[(region, "", 1)]));
        assert_eq!(is_drained(&controller, "east").await, drained);
        controller.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_drain_takes_an_update_along() {
    let scene = Scene::new();
    scene.cloud.with(|known| known.silent_on_health = true);
    let controller = scene.controller().await;
    put(&controller, "ant", 1, 3, "").await;
    tokio::time::sleep(LONG).await;
    scene.cloud.with(|known| known.least = u32::MAX);
    put(&controller, "ant", 2, 3, "").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let begun = places(&scene.cloud);
    assert!(
        begun.contains_key(&("east".to_owned(), "v2".to_owned())),
        "{begun:?}"
    );
    drain(&controller, "east", Draining::default()).await;
    tokio::time::sleep(LONG).await;
    assert_eq!(places(&scene.cloud), at(&[("west", "v2", 3)]));
    assert!(scene.cloud.with(|known| known.least) >= 3, "it had a gap");
    assert!(is_drained(&controller, "east").await);
    controller.shutdown().await;
}

/// What an update has not replaced yet goes with the update: the deadline makes no version of it by itself.
#[tokio::test(start_paused = true)]
async fn a_paused_update_keeps_its_old_version_and_is_named() {
    let scene = Scene::new();
    scene.cloud.with(|known| known.silent_on_health = true);
    let controller = scene.controller().await;
    put(&controller, "ant", 1, 3, "").await;
    tokio::time::sleep(LONG).await;
    put(&controller, "ant", 2, 3, "").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let (namespace, name) = (
        "default".parse().expect("a name"),
        "ant".parse().expect("a name"),
    );
    let handle = controller.handle();
    let paused = handle.pause(&Actor::LOCAL, &namespace, &name, None).await;
    paused.expect("an update is under way");
    let how = Draining {
        deadline: Some(Millis::from_secs(600)),
        ..Draining::default()
    };
    drain(&controller, "east", how).await;
    tokio::time::sleep(LONG).await;
    let one = left(&controller).await;
    assert!(
        one.stuck && one.why.contains("`tradewind rollout resume ant`"),
        "{one:#?}"
    );
    let kept = places(&scene.cloud);
    let old = kept.get(&("east".to_owned(), "v1".to_owned()));
    assert!(old.is_some_and(|n| *n >= 2), "{kept:?}");
    assert!(
        kept.contains_key(&("west".to_owned(), "v2".to_owned())),
        "{kept:?}"
    );
    let resumed = handle.resume(&Actor::LOCAL, &namespace, &name, None).await;
    resumed.expect("it is paused");
    tokio::time::sleep(LONG).await;
    assert_eq!(places(&scene.cloud), at(&[("west", "v2", 3)]));
    assert!(is_drained(&controller, "east").await);
    controller.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn at_the_deadline_nothing_waits_for_bounds() {
    let scene = Scene::new();
    let controller = scene.controller().await;
    put(&controller, "ant", 1, 3, "").await;
    tokio::time::sleep(MINUTE).await;
    scene.cloud.with(|known| known.west_is_unwell = true);
    let how = Draining {
        deadline: Some(Millis::from_secs(60)),
        ..Draining::default()
    };
    drain(&controller, "east", how).await;
    tokio::time::sleep(Duration::from_secs(55)).await;
    let east = ("east".to_owned(), "v1".to_owned());
    let before = places(&scene.cloud);
    assert_eq!(
        before.get(&east),
        Some(&3),
        "nothing takes over: {before:?}"
    );
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(places(&scene.cloud), at(&[("west", "v1", 3)]));
    assert!(is_drained(&controller, "east").await);
    controller.shutdown().await;
}

/// Elsewhere it would begin without its data. Its owner says when.
#[tokio::test(start_paused = true)]
async fn what_keeps_data_stays_until_it_is_restarted() {
    let scene = Scene::new();
    let controller = scene.controller().await;
    put_text(
        &controller,
        "{apiVersion: tradewind.dev/v1, kind: CloudDeployment, metadata: {name: ant}, spec: {services: {web: {image: web, env: {VERSION: \
         v1}, volumes: [{path: /data, name: data, size: 1Gi}], resources: {cpu: 1, memory: 1Gi}}}}}",
    )
    .await;
    tokio::time::sleep(MINUTE).await;
    let how = Draining {
        deadline: Some(Millis::from_secs(60)),
        ..Draining::default()
    };
    drain(&controller, "east", how).await;
    tokio::time::sleep(LONG).await;
    assert_eq!(places(&scene.cloud), at(&[("east", "v1", 1)]));
    let one = left(&controller).await;
    assert!(
        one.stuck && one.why.contains("(\"/data\"): `tradewind restart ant`"),
        "{one:#?}"
    );
    let (namespace, name) = (
        "default".parse().expect("a name"),
        "ant".parse().expect("a name"),
    );
    let handle = controller.handle();
    let again = handle.restart(&Actor::LOCAL, &namespace, &name, None, "", None);
    again.await.expect("it is there");
    tokio::time::sleep(LONG).await;
    assert_eq!(places(&scene.cloud), at(&[("west", "v1", 1)]));
    assert!(is_drained(&controller, "east").await);
    controller.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_place_that_is_not_there_is_refused_with_those_that_are() {
    let scene = Scene::new();
    let controller = scene.controller().await;
    put(&controller, "ant", 1, 1, "").await;
    tokio::time::sleep(MINUTE).await;
    // A restarted daemon has asked nobody for offers yet.
    controller.shutdown().await;
    let controller = scene.controller().await;
    let handle = controller.handle();
    let asked = async |provider: &str, region: &str| {
        let provider = provider.parse().expect("a name");
        let answer = handle.place(&provider, region).await;
        answer.err().map(|e| e.to_string())
    };
    assert_eq!(asked("cloud", "").await, None);
    assert_eq!(asked("cloud", "west").await, None);
    assert_eq!(
        asked("cloud", "wset").await.as_deref(),
        Some("there is no place \"cloud/wset\", did you mean \"cloud/west\"?")
    );
    assert_eq!(
        asked("clod", "").await.as_deref(),
        Some("there is no place \"clod\", did you mean \"cloud\"?")
    );
    assert_eq!(
        asked("onprem", "").await.as_deref(),
        Some("there is no place \"onprem\"")
    );
    controller.shutdown().await;
}

#[derive(Debug, Clone, Copy)]
enum Act {
    Cordon(&'static str),
    Drain(&'static str, bool),
    Uncordon(&'static str),
    Put(u8, u32),
    West(Option<u32>),
    Restart,
}

fn act() -> impl Strategy<Value = (Act, u64)> {
    let region = || prop_oneof![Just("east"), Just("west"), Just("")];
    let acts = prop_oneof![
        region().prop_map(Act::Cordon),
        (region(), any::<bool>()).prop_map(|(region, soon)| Act::Drain(region, soon)),
        region().prop_map(Act::Uncordon),
        (1u8..4, 1u32..5).prop_map(|(version, replicas)| Act::Put(version, replicas)),
        prop::option::of(0u32..5).prop_map(Act::West),
        Just(Act::Restart),
    ];
    // The pause before the next one, in milliseconds.
    (
        acts,
        prop_oneof![Just(0), Just(700), Just(20_000), Just(900_000)],
    )
}

async fn play(acts: Vec<(Act, u64)>) {
    let scene = Scene::new();
    scene.cloud.with(|known| known.silent_on_health = true);
    let mut controller = scene.controller().await;
    put(&controller, "ant", 1, 2, "").await;
    tokio::time::sleep(MINUTE).await;
    let mut wanted = ("v1".to_owned(), 2);
    for (act, pause) in acts {
        match act {
            Act::Cordon(region) => drop(cordon(&controller, region).await),
            Act::Drain(region, soon) => {
                let deadline = soon.then_some(Millis::from_secs(60));
                let how = Draining {
                    deadline,
                    ..Draining::default()
                };
                drain(&controller, region, how).await;
            }
            Act::Uncordon(region) => {
                let handle = controller.handle();
                let done = handle.uncordon(&Actor::LOCAL, &cloud(), region).await;
                assert!(matches!(done, Ok(_) | Err(Error::CordonedWhole { .. })));
            }
            Act::Put(version, replicas) => {
                put(&controller, "ant", version, replicas, "").await;
                wanted = (format!("v{version}"), replicas);
            }
            Act::West(capacity) => scene.cloud.with(|known| known.west = capacity),
            Act::Restart => {
                controller.shutdown().await;
                controller = scene.controller().await;
            }
        }
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
    tokio::time::sleep(LONG / 2).await;
    let running = places(&scene.cloud).values().sum::<u32>();
    assert!(running > 0, "something was always running");
    let before = calls(&scene.cloud);
    tokio::time::sleep(LONG / 4).await;
    assert_eq!(
        calls(&scene.cloud),
        before,
        "it rests: {:#?}",
        places(&scene.cloud)
    );
    // Open again, it becomes what is wanted.
    scene.cloud.with(|known| known.west = None);
    for region in ["east", "west", ""] {
        let handle = controller.handle();
        let _other = handle.uncordon(&Actor::LOCAL, &cloud(), region).await;
    }
    for region in ["east", "west"] {
        uncordon(&controller, region).await;
    }
    put(&controller, "ant", 9, wanted.1, "").await;
    tokio::time::sleep(LONG / 2).await;
    let mut versions: BTreeMap<String, u32> = BTreeMap::new();
    for ((_, version), replicas) in places(&scene.cloud) {
        *versions.entry(version).or_default() += replicas;
    }
    assert_eq!(versions, BTreeMap::from([("v9".to_owned(), wanted.1)]));
    controller.shutdown().await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_closed_and_opened_it_comes_to_rest(acts in prop::collection::vec(act(), 1..8)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
        runtime.block_on(play(acts));
    }
}
