//! Scheduling beside limits, priorities and a policy that fails: who gets what, and what becomes of who got nothing.

use std::time::Duration;

use tradewind_core::{
    event::Event, names::Actor, record::EVENTS, settings::PolicyFallback, store::Store,
    units::Millis,
};
use tradewind_manifest::{Format, parse_namespace};

use super::{Controller, Options, begin, journal, options, put_text, updates::Scene};
use crate::lock;

const MOMENT: Duration = Duration::from_secs(60);

async fn put(controller: &Controller, name: &str, priority: i32, replicas: u32) {
    let text = format!(
        "{{apiVersion: tradewind.dev/v1, kind: CloudDeployment, metadata: {{name: {name}}}, spec: {{priority: {priority}, services: \
         {{web: {{command: [run], env: {{VERSION: v1}}, replicas: {replicas}, resources: {{cpu: 1, memory: 1Gi}}}}}}}}}}"
    );
    put_text(controller, &text).await;
}

async fn begun(scene: &Scene, options: Options) -> Controller {
    begin(
        options,
        &scene.store,
        &scene.cloud,
        scene.since,
        &scene.plugin_changes,
    )
    .await
    .expect("a state that can be read")
}

/// Replicas of a deployment that run.
fn running(scene: &Scene, name: &str) -> u32 {
    scene.cloud.with(|known| {
        let runs = known.runs.values().filter(|ran| ran.deployment == name);
        runs.map(|ran| ran.replicas).sum()
    })
}

async fn reasons(scene: &Scene, reason: &str) -> Vec<String> {
    let events = scene.store.list(EVENTS).await.expect("a list").records;
    let read = events
        .iter()
        .map(|stored| journal::decode::<Event>(stored).expect("an event"));
    read.filter(|event| event.reason == reason)
        .map(|event| event.message)
        .collect()
}

/// The plugin host tells of every look at its folder.
#[tokio::test(start_paused = true)]
async fn only_a_change_of_what_serves_has_everything_decided_anew() {
    let scene = Scene::new();
    scene.cloud.with(|known| known.undecided = true);
    let controller = begun(&scene, options()).await;
    put(&controller, "ant", 0, 2).await;
    // Far less than until an undecided deployment is tried again.
    let soon = Duration::from_millis(100);
    tokio::time::sleep(soon).await;
    let asked = || scene.cloud.with(|known| known.asked);
    let before = asked();
    scene.plugin_changes.send_replace(0);
    tokio::time::sleep(soon).await;
    assert_eq!(asked(), before, "nothing else serves");
    scene.plugin_changes.send_replace(1);
    tokio::time::sleep(soon).await;
    assert!(asked() > before, "something else serves");
    controller.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_fails_is_stood_in_for_where_the_settings_say_so() {
    let scene = Scene::new();
    scene.cloud.with(|known| known.undecided = true);
    let built_in = Options {
        policy_fallback: PolicyFallback::BuiltIn,
        ..options()
    };
    let controller = begun(&scene, built_in).await;
    put(&controller, "ant", 0, 2).await;
    tokio::time::sleep(MOMENT).await;
    assert_eq!(running(&scene, "ant"), 2);
    let told = reasons(&scene, "PolicyFellBack").await;
    assert!(
        told.len() == 1 && told[0].contains("told not to decide"),
        "{told:?}"
    );
    controller.shutdown().await;

    // Nobody stands in: what runs stays as it is, and nothing new begins.
    let controller = begun(&scene, options()).await;
    put(&controller, "bee", 0, 1).await;
    tokio::time::sleep(MOMENT).await;
    assert_eq!((running(&scene, "ant"), running(&scene, "bee")), (2, 0));
    let told = reasons(&scene, "Undecided").await;
    assert!(
        told.len() == 1 && told[0].contains("told not to decide"),
        "it is told once: {told:?}"
    );
    put_text(
        &controller,
        "{apiVersion: tradewind.dev/v1, kind: CloudDeployment, metadata: {name: cat}, spec: {policy: clever, services: \
         {web: {command: [run]}}}}",
    )
    .await;
    tokio::time::sleep(MOMENT).await;
    let told = reasons(&scene, "Undecided").await;
    assert!(
        told.len() == 2
            && told
                .iter()
                .any(|told| told.contains("there is no policy \"clever\"")),
        "{told:?}"
    );
    scene.cloud.with(|known| known.undecided = false);
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(
        running(&scene, "bee"),
        1,
        "the policy is not asked again once it decides"
    );
    controller.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_quota_is_tried_again_when_there_is_room() {
    let scene = Scene::new();
    let controller = begun(&scene, options()).await;
    let limits = "{apiVersion: tradewind.dev/v1, kind: Namespace, metadata: {name: default}, spec: {quota: {replicas: 3}}}";
    let limits = parse_namespace(limits.as_bytes(), Format::Yaml).expect("limits");
    let handle = controller.handle();
    handle
        .put_namespace(&Actor::LOCAL, limits, None)
        .await
        .expect("they are stored");
    put(&controller, "ant", 0, 2).await;
    tokio::time::sleep(MOMENT).await;
    put(&controller, "bee", 0, 2).await;
    tokio::time::sleep(MOMENT).await;
    assert_eq!((running(&scene, "ant"), running(&scene, "bee")), (2, 0));
    assert_eq!(reasons(&scene, "BudgetQueued").await.len(), 1);
    assert!(reasons(&scene, "Released").await.is_empty());

    let (namespace, name) = (
        "default".parse().expect("a name"),
        "ant".parse().expect("a name"),
    );
    handle
        .delete(&Actor::LOCAL, &namespace, &name, None)
        .await
        .expect("it is there");
    tokio::time::sleep(MOMENT).await;
    assert_eq!((running(&scene, "ant"), running(&scene, "bee")), (0, 2));
    assert_eq!(reasons(&scene, "Released").await.len(), 1);
    controller.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn room_that_was_taken_for_somebody_is_kept_for_them() {
    let scene = Scene::new();
    scene.cloud.with(|known| known.capacity = Some(2));
    let controller = begun(&scene, options()).await;
    put(&controller, "low", 0, 2).await;
    tokio::time::sleep(MOMENT).await;
    assert_eq!(running(&scene, "low"), 2);
    // Both wait for a place; who is less urgent came first.
    tokio::join!(
        put(&controller, "middle", 5, 1),
        put(&controller, "high", 10, 1)
    );
    tokio::time::sleep(Duration::from_secs(600)).await;
    let runs = ["high", "middle", "low"].map(|name| running(&scene, name));
    assert_eq!(runs, [1, 1, 0], "by priority");
    assert!(
        scene.cloud.with(|known| known.peak) <= 2,
        "more ran than there was room for"
    );
    assert!(!reasons(&scene, "Preempted").await.is_empty());
    controller.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn an_update_does_not_wait_for_the_rivals_of_a_hedge() {
    let scene = Scene::new();
    let controller = begun(
        &scene,
        Options {
            offers_ttl: Millis::from_secs(30),
            ..options()
        },
    )
    .await;
    let hedged = |version: u8| {
        format!(
            "{{apiVersion: tradewind.dev/v1, kind: CloudDeployment, metadata: {{name: ant}}, spec: {{hedge: {{offers: 2, within: 1m}}, \
             services: {{web: {{command: [run], env: {{VERSION: v{version}}}, replicas: 2, resources: {{cpu: 1, memory: 1Gi}}}}}}}}}}"
        )
    };
    for version in [1, 2, 3] {
        put_text(&controller, &hedged(version)).await;
        tokio::time::sleep(Duration::from_secs(600)).await;
        let versions: Vec<(String, u32)> = scene.cloud.with(|known| {
            let runs = known.runs.values();
            runs.map(|ran| (ran.version.clone(), ran.replicas))
                .collect()
        });
        assert_eq!(
            versions,
            [(format!("v{version}"), 2)],
            "one of the rivals stays"
        );
        let rests = lock(&controller.shared.cache)
            .deployments
            .iter()
            .all(|(_, entry)| {
                entry
                    .allocations
                    .values()
                    .all(|a| a.record.intent.hedge.is_none())
            });
        assert!(rests, "the group has not ended");
    }
    controller.shutdown().await;
}
