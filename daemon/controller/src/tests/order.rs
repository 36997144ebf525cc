//! Tasks that wait for others: from the first roll-out on, over restarts, and in updates that succeed and fail.

use std::{collections::BTreeMap, time::Duration};

use tradewind_api::Status;
use tradewind_core::{event::Event, record::EVENTS, rollout, store::Store};

use super::{
    Controller, LONG, journal, put_text,
    updates::{Scene, seen, versions},
};

const MOMENT: Duration = Duration::from_secs(30);

/// `web` of this version after the job `migrate` of the same.
async fn put(controller: &Controller, version: u8, replicas: u32) {
    let text = format!(
        "{{apiVersion: tradewind.dev/v1, kind: CloudDeployment, metadata: {{name: ant}}, spec: {{\
           services: {{web: {{command: [run], env: {{VERSION: v{version}}}, replicas: {replicas}, after: {{migrate: completed}}}}}}, \
           jobs: {{migrate: {{command: [run], env: {{VERSION: v{version}}}}}}}}}}}"
    );
    put_text(controller, &text).await;
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
