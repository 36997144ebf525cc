//! Updates whose policy fails: their deadlines pass all the same, and what has failed returns without it.

use std::{collections::BTreeMap, time::Duration};

use tradewind_api::DeploymentView;
use tradewind_core::{
    list::Window,
    rollout::{Outcome, Status},
};

use super::{
    Controller, LONG, put_text,
    updates::{Scene, seen, versions},
};

/// The deadline of these updates, and a moment more.
const DEADLINE: Duration = Duration::from_secs(300);
const MOMENT: Duration = Duration::from_secs(5);

/// Another size wants another decision.
async fn put(controller: &Controller, version: u8, cpu: u8) {
    put_text(
        controller,
        &format!(
            "{{apiVersion: tradewind.dev/v1, kind: CloudDeployment, metadata: {{name: ant}}, spec: {{update: {{deadline: 5m}}, services: \
             {{web: {{command: [run], env: {{VERSION: v{version}}}, replicas: 2, resources: {{cpu: {cpu}, memory: 1Gi}}}}}}}}}}"
        ),
    )
    .await;
}

fn standing(view: &DeploymentView) -> (u64, Option<Status>) {
    (
        view.summary.generation,
        view.rollout.as_ref().map(|r| r.status),
    )
}

fn failed_for_the_policy(controller: &Controller, generation: u64) {
    let (namespace, name) = (
        "default".parse().expect("a name"),
        "ant".parse().expect("a name"),
    );
    let all = controller
        .handle()
        .revisions(&namespace, &name, None, &Window::whole())
        .expect("it is there")
        .items;
    let failed = all
        .iter()
        .find(|mark| mark.generation == generation && mark.outcome == Outcome::Failed);
    let reason = failed.map(|mark| mark.reason.clone()).unwrap_or_default();
    assert!(
        reason.contains("no progress within 5m") && reason.contains("told not to decide"),
        "{all:#?}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_update_that_nobody_decides_fails_at_its_deadline_and_returns_without_the_policy() {
    let scene = Scene::new();
    let controller = scene.controller().await;
    put(&controller, 1, 1).await;
    tokio::time::sleep(LONG).await;
    let calls = scene.cloud.with(|known| {
        known.undecided = true;
        known.calls
    });
    put(&controller, 2, 2).await;
    tokio::time::sleep(DEADLINE / 2).await;
    assert_eq!(standing(&seen(&controller)), (2, Some(Status::Progressing)));
    // A restart does not begin the deadline anew.
    controller.shutdown().await;
    let controller = scene.controller().await;
    tokio::time::sleep(DEADLINE / 2 - MOMENT).await;
    assert_eq!(standing(&seen(&controller)), (2, Some(Status::Progressing)));
    tokio::time::sleep(2 * MOMENT).await;
    let view = seen(&controller);
    assert_eq!(
        standing(&view),
        (3, Some(Status::Done)),
        "{:#?}",
        view.rollout
    );
    failed_for_the_policy(&controller, 2);
    assert_eq!(
        versions(&scene.cloud),
        BTreeMap::from([("v1".to_owned(), 2)])
    );
    assert_eq!(
        scene.cloud.with(|known| known.calls),
        calls,
        "what ran was left alone"
    );
    controller.shutdown().await;
}

/// What there is no way back from has failed, and is mended as soon as the policy is.
#[tokio::test(start_paused = true)]
async fn a_first_version_that_nobody_decides_fails_and_is_made_once_somebody_does() {
    let scene = Scene::new();
    scene.cloud.with(|known| known.undecided = true);
    let controller = scene.controller().await;
    put(&controller, 1, 1).await;
    tokio::time::sleep(DEADLINE + MOMENT).await;
    let view = seen(&controller);
    assert_eq!(standing(&view), (1, Some(Status::Failed)));
    failed_for_the_policy(&controller, 1);
    scene.cloud.with(|known| known.undecided = false);
    tokio::time::sleep(LONG).await;
    assert_eq!(standing(&seen(&controller)), (1, Some(Status::Done)));
    assert_eq!(
        versions(&scene.cloud),
        BTreeMap::from([("v1".to_owned(), 2)])
    );
    controller.shutdown().await;
}

/// An update that has come half way loses the place of its new replicas, and nobody says where they shall go.
#[tokio::test(start_paused = true)]
async fn what_came_half_way_returns_to_what_still_runs() {
    let scene = Scene::new();
    let controller = scene.controller().await;
    put(&controller, 1, 1).await;
    tokio::time::sleep(LONG).await;
    scene
        .cloud
        .with(|known| known.broken = Some("v2".to_owned()));
    put(&controller, 2, 2).await;
    while !versions(&scene.cloud).contains_key("v2") {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    scene.cloud.with(|known| {
        known.undecided = true;
        known.broken = None;
        known.runs.retain(|_, ran| ran.version != "v2");
    });
    tokio::time::sleep(DEADLINE + 2 * MOMENT).await;
    let view = seen(&controller);
    assert_eq!(
        standing(&view),
        (3, Some(Status::Done)),
        "{:#?}",
        view.rollout
    );
    assert_eq!(
        versions(&scene.cloud),
        BTreeMap::from([("v1".to_owned(), 2)])
    );
    controller.shutdown().await;
}
