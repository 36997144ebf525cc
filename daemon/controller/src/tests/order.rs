//! Tasks that wait for others: from the first roll-out on, over restarts, and in updates that succeed and fail.

use std::{collections::BTreeMap, time::Duration};

use tradewind_api::{PrerequisiteView, Status};
use tradewind_core::{event::Event, names::Actor, record::EVENTS, rollout, store::Store};
use tradewind_manifest::Format;

use super::{
    Controller, LONG, journal, put_text,
    updates::{Scene, seen, versions},
};
use crate::Draft;

const MOMENT: Duration = Duration::from_secs(30);

/// `web` of this version after the job `migrate` of the same.
fn shop(version: u8, replicas: u32) -> String {
    format!(
        "{{apiVersion: tradewind.dev/v1, kind: CloudDeployment, metadata: {{name: ant}}, spec: {{\
           services: {{web: {{command: [run], env: {{VERSION: v{version}}}, replicas: {replicas}, after: {{migrate: completed}}}}}}, \
           jobs: {{migrate: {{command: [run], env: {{VERSION: v{version}}}}}}}}}}}"
    )
}

async fn put(controller: &Controller, version: u8, replicas: u32) {
    put_text(controller, &shop(version, replicas)).await;
}

fn of(version: &str, replicas: u32) -> BTreeMap<String, u32> {
    BTreeMap::from([(version.to_owned(), replicas)])
}

async fn told(scene: &Scene, reason: &str) -> Vec<String> {
    let events = scene.store.list(EVENTS).await.expect("a list").records;
    let read = events
        .iter()
        .map(|stored| journal::decode::<Event>(stored).expect("an event"));
    read.filter(|event| event.reason == reason)
        .map(|event| event.message)
        .collect()
}

fn web(controller: &Controller) -> (Status, u32, String) {
    let view = seen(controller);
    let task = view.tasks.iter().find(|t| t.name.as_str() == "web");
    let task = task.expect("it has a task");
    (task.status, task.ready, task.message.clone())
}

const WAITS: &str = "waits for migrate to complete";

#[tokio::test(start_paused = true)]
async fn what_waits_has_no_place_until_what_it_waits_for_has_come_also_over_a_restart() {
    let scene = Scene::new();
    scene.cloud.with(|known| known.endless = true);
    let controller = scene.controller().await;
    put(&controller, 1, 2).await;
    tokio::time::sleep(LONG).await;
    assert_eq!(versions(&scene.cloud), BTreeMap::new());
    assert_eq!(web(&controller), (Status::Waiting, 0, WAITS.to_owned()));
    let view = seen(&controller);
    assert_eq!(
        (view.summary.status, view.summary.message.as_str()),
        (Status::Waiting, "web: waits for migrate to complete")
    );
    assert!(
        view.rollout
            .is_some_and(|r| r.status == rollout::Status::Progressing),
        "waiting is not failing, however long it takes"
    );
    controller.shutdown().await;

    let controller = scene.controller().await;
    tokio::time::sleep(MOMENT).await;
    assert_eq!(web(&controller), (Status::Waiting, 0, WAITS.to_owned()));
    let calls = scene.cloud.with(|known| known.calls);
    assert_eq!(calls, 1, "the job alone was asked for");
    scene.cloud.with(|known| known.endless = false);
    tokio::time::sleep(MOMENT).await;
    assert_eq!(versions(&scene.cloud), of("v1", 2));
    assert_eq!(seen(&controller).summary.status, Status::Running);
    assert_eq!(
        told(&scene, "TaskWaiting").await,
        [format!("web {WAITS}")],
        "it is told once"
    );
    assert_eq!(
        told(&scene, "TaskReleased").await,
        ["web waits no more: it waited for migrate to complete"]
    );
    // What comes of the job later holds nobody back.
    put(&controller, 1, 3).await;
    tokio::time::sleep(MOMENT).await;
    assert_eq!(versions(&scene.cloud), of("v1", 3));
    controller.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn an_update_begins_after_what_it_waits_for_and_what_serves_is_looked_after_meanwhile() {
    let scene = Scene::new();
    let controller = scene.controller().await;
    put(&controller, 1, 2).await;
    tokio::time::sleep(MOMENT).await;
    assert_eq!(seen(&controller).summary.status, Status::Running);
    scene.cloud.with(|known| known.endless = true);
    put(&controller, 2, 3).await;
    tokio::time::sleep(MOMENT).await;
    assert_eq!(web(&controller), (Status::Waiting, 2, WAITS.to_owned()));
    assert_eq!(versions(&scene.cloud), of("v1", 2));
    // A replica that dies comes back as it was.
    scene
        .cloud
        .with(|known| known.runs.retain(|_, ran| ran.task != "web"));
    tokio::time::sleep(LONG).await;
    assert_eq!(versions(&scene.cloud), of("v1", 2));
    assert_eq!(web(&controller), (Status::Waiting, 2, WAITS.to_owned()));
    controller.shutdown().await;

    let controller = scene.controller().await;
    tokio::time::sleep(MOMENT).await;
    assert_eq!(versions(&scene.cloud), of("v1", 2));
    scene.cloud.with(|known| known.endless = false);
    tokio::time::sleep(MOMENT).await;
    assert_eq!(versions(&scene.cloud), of("v2", 3));
    let view = seen(&controller);
    assert_eq!(view.summary.status, Status::Running, "{view:#?}");
    controller.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn what_can_not_come_fails_the_update_and_the_version_before_serves_on() {
    let scene = Scene::new();
    let controller = scene.controller().await;
    put(&controller, 1, 2).await;
    tokio::time::sleep(MOMENT).await;
    scene
        .cloud
        .with(|known| known.failing = Some("v2".to_owned()));
    put(&controller, 2, 2).await;
    for _ in 0..600 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(versions(&scene.cloud), of("v1", 2), "it serves on");
        let view = seen(&controller);
        let judged = view
            .rollout
            .is_some_and(|r| r.status == rollout::Status::Failed);
        assert!(
            judged || view.summary.status != Status::Failed,
            "whoever follows it learns of the way back first"
        );
    }
    let view = seen(&controller);
    assert_eq!(
        (view.summary.generation, view.summary.status),
        (3, Status::Running),
        "{view:#?}"
    );
    assert_eq!(
        told(&scene, "RolloutFailed").await,
        [
            "generation 2: web waits for migrate to complete, which has failed: replica 0: exit code 3"
        ]
    );
    controller.shutdown().await;
}

/// A plan says who will wait, and its places are kept for them.
#[tokio::test(start_paused = true)]
async fn an_applied_plan_keeps_its_places_for_what_waits() {
    let scene = Scene::new();
    scene.cloud.with(|known| known.endless = true);
    let controller = scene.controller().await;
    let manifest =
        tradewind_manifest::parse(shop(1, 2).as_bytes(), Format::Yaml).expect("a manifest");
    let draft = Draft {
        manifest,
        deletes: false,
        id: None,
        expires_in: None,
    };
    let handle = controller.handle();
    let stored = handle.store_plan(&Actor::LOCAL, draft).await;
    let stored = stored.expect("it is stored");
    let waits = |task: &str| {
        let mut of = stored
            .plan
            .changes
            .iter()
            .filter(|c| c.task.as_str() == task);
        let change = of.next().expect("it is made");
        let one = |p: &PrerequisiteView| format!("{} {}", p.task, p.until);
        change.after.iter().map(one).collect::<Vec<_>>()
    };
    assert_eq!(waits("web"), ["migrate completed"]);
    assert_eq!(waits("migrate"), [""; 0]);
    let asked = || scene.cloud.with(|known| known.asked);
    let before = asked();
    let namespace = "default".parse().expect("a name");
    let applied = handle.apply_plan(&Actor::LOCAL, &namespace, &stored.summary.id);
    applied.await.expect("nothing has moved");
    tokio::time::sleep(MOMENT).await;
    assert_eq!(web(&controller), (Status::Waiting, 0, WAITS.to_owned()));
    scene.cloud.with(|known| known.endless = false);
    tokio::time::sleep(MOMENT).await;
    assert_eq!(versions(&scene.cloud), of("v1", 2));
    assert_eq!(asked(), before, "the plan has decided");
    controller.shutdown().await;
}
