//! A job's deadline counts from its first start, wherever it is made and whatever keeps it from being made.

use std::time::Duration;

use tradewind_api::{Status, TaskView};
use tradewind_core::units::Millis;

use super::{
    Cloud, Controller, put_text,
    updates::{Scene, seen},
};

const MINUTE: Duration = Duration::from_secs(60);
/// How long a loss and what follows may take.
const MOMENT: Duration = Duration::from_secs(20);

async fn put(controller: &Controller) {
    put_text(
        controller,
        "{apiVersion: tradewind.dev/v1, kind: CloudDeployment, metadata: {name: ant}, spec: {jobs: {once: {command: [run], deadline: 60m, \
         resources: {cpu: 1, memory: 1Gi}}}}}",
    )
    .await;
}

fn job(controller: &Controller) -> TaskView {
    seen(controller).tasks.into_iter().next().expect("the job")
}

/// What the one that runs was given.
fn given(cloud: &Cloud) -> Millis {
    let all: Vec<Millis> =
        cloud.with(|known| known.runs.values().filter_map(|ran| ran.deadline).collect());
    let [one] = all[..] else {
        panic!("one runs: {all:?}")
    };
    one
}

/// So many minutes, or a moment less: that is what had passed when it was made.
fn about(given: Millis, minutes: u64) -> bool {
    let most = Millis::from_secs(60 * minutes);
    given <= most && most.0 - given.0 <= Millis::from(2 * MOMENT).0
}

fn lose(scene: &Scene) {
    scene.cloud.with(|known| known.runs.clear());
}

fn assert_expired(controller: &Controller) {
    let (view, told) = (job(controller), format!("{:#?}", job(controller)));
    assert_eq!(view.status, Status::Failed, "{told}");
    assert!(told.contains("its deadline of 1h has passed"), "{told}");
}

/// Also after a restart, and without any further call but one: `calls` had been made.
async fn stays_expired(scene: &Scene, calls: u32) {
    let controller = scene.controller().await;
    tokio::time::sleep(60 * MINUTE).await;
    assert_expired(&controller);
    assert!(
        scene.cloud.with(|known| known.runs.is_empty()),
        "it is not made again"
    );
    assert!(
        scene.cloud.with(|known| known.calls) <= calls + 1,
        "at most what was lost is removed"
    );
    controller.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_made_elsewhere_has_what_is_left_and_fails_when_nothing_is() {
    let scene = Scene::new();
    scene.cloud.with(|known| known.endless = true);
    let controller = scene.controller().await;
    put(&controller).await;
    tokio::time::sleep(20 * MINUTE).await;
    assert_eq!(given(&scene.cloud), Millis::from_secs(3_600));
    lose(&scene);
    tokio::time::sleep(MOMENT).await;
    assert!(about(given(&scene.cloud), 40), "{}", given(&scene.cloud));
    tokio::time::sleep(20 * MINUTE - MOMENT).await;
    // The second loss is while the daemon is down.
    controller.shutdown().await;
    lose(&scene);
    let controller = scene.controller().await;
    tokio::time::sleep(MOMENT).await;
    assert!(about(given(&scene.cloud), 20), "{}", given(&scene.cloud));
    // It is lost after its deadline.
    tokio::time::sleep(25 * MINUTE).await;
    let calls = scene.cloud.with(|known| {
        known.runs.clear();
        known.calls
    });
    tokio::time::sleep(5 * MINUTE).await;
    assert_expired(&controller);
    controller.shutdown().await;
    stays_expired(&scene, calls).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_lost_past_it_is_not_made_again() {
    let scene = Scene::new();
    scene.cloud.with(|known| known.endless = true);
    let controller = scene.controller().await;
    put(&controller).await;
    tokio::time::sleep(50 * MINUTE).await;
    controller.shutdown().await;
    lose(&scene);
    tokio::time::sleep(11 * MINUTE).await;
    let calls = scene.cloud.with(|known| known.calls);
    stays_expired(&scene, calls).await;
}

#[tokio::test(start_paused = true)]
async fn it_counts_while_what_had_begun_waits_for_a_place() {
    let scene = Scene::new();
    scene
        .cloud
        .with(|known| (known.endless, known.capacity) = (true, Some(1)));
    let controller = scene.controller().await;
    put(&controller).await;
    tokio::time::sleep(20 * MINUTE).await;
    scene
        .cloud
        .with(|known| (known.runs, known.capacity) = (Default::default(), Some(0)));
    tokio::time::sleep(20 * MINUTE).await;
    assert_eq!(job(&controller).status, Status::Pending, "it waits");
    controller.shutdown().await;
    let controller = scene.controller().await;
    tokio::time::sleep(19 * MINUTE).await;
    assert_eq!(job(&controller).status, Status::Pending, "it waits");
    tokio::time::sleep(2 * MINUTE).await;
    assert_expired(&controller);
    scene.cloud.with(|known| known.capacity = Some(1));
    tokio::time::sleep(60 * MINUTE).await;
    assert!(
        scene.cloud.with(|known| known.runs.is_empty()),
        "it is not made again"
    );
    assert_expired(&controller);
    controller.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn what_has_never_begun_has_all_of_it() {
    let scene = Scene::new();
    scene
        .cloud
        .with(|known| (known.endless, known.capacity) = (true, Some(0)));
    let controller = scene.controller().await;
    put(&controller).await;
    tokio::time::sleep(180 * MINUTE).await;
    assert_eq!(job(&controller).status, Status::Pending, "it waits");
    scene.cloud.with(|known| known.capacity = Some(1));
    tokio::time::sleep(5 * MINUTE).await;
    assert_eq!(given(&scene.cloud), Millis::from_secs(3_600));
    controller.shutdown().await;
}
