//! Jobs that run by a schedule, over hours.

use std::time::Duration;

use tradewind_api::{JobRunView, ScheduleView, Status};
use tradewind_core::{
    cron::RunOutcome,
    names::{Actor, DeploymentName, Namespace},
    units::Instant,
};

use super::{
    Cloud, Controller, put_text,
    updates::{Scene, seen},
};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

async fn put(controller: &Controller, schedule: &str, command: &str) {
    put_text(
        controller,
        &format!(
            "{{apiVersion: tradewind.dev/v1, kind: CloudDeployment, metadata: {{name: ant}}, spec: {{jobs: {{tidy: {{command: [{command}], \
             schedule: {schedule}, resources: {{cpu: 1, memory: 1Gi}}}}}}}}}}"
        ),
    )
    .await;
}

fn schedule(controller: &Controller) -> ScheduleView {
    seen(controller)
        .tasks
        .into_iter()
        .find_map(|task| task.schedule)
        .expect("a schedule")
}

fn runs(controller: &Controller) -> Vec<JobRunView> {
    schedule(controller).runs
}

fn calls(cloud: &Cloud) -> u32 {
    cloud.with(|known| known.calls)
}

async fn run_now(controller: &Controller) -> Result<(), crate::Error> {
    let (namespace, name): (Namespace, DeploymentName) = (
        "default".parse().expect("a name"),
        "ant".parse().expect("a name"),
    );
    let handle = controller.handle();
    let asked = handle.rerun(&Actor::LOCAL, &namespace, &name, None, None);
    asked.await.map(drop)
}

#[tokio::test(start_paused = true)]
async fn each_run_begins_at_its_time_once_whatever_is_restarted() {
    let scene = Scene::new();
    let controller = scene.controller().await;
    put(&controller, "\"0 * * * *\"", "run").await;
    tokio::time::sleep(MINUTE).await;
    assert_eq!(seen(&controller).summary.status, Status::Idle);
    assert_eq!(calls(&scene.cloud), 0, "nothing runs before its time");
    let next = schedule(&controller).next.expect("a time");
    tokio::time::sleep(HOUR).await;
    let [first] = &runs(&controller)[..] else {
        panic!("{:?}", runs(&controller))
    };
    assert_eq!(
        (first.scheduled_at, first.outcome),
        (Some(next), Some(RunOutcome::Succeeded))
    );
    assert_eq!(seen(&controller).summary.status, Status::Completed);
    // It was down for five runs: the last is made up for, once.
    controller.shutdown().await;
    tokio::time::sleep(5 * HOUR).await;
    let controller = scene.controller().await;
    tokio::time::sleep(MINUTE).await;
    let all = runs(&controller);
    assert_eq!(all.len(), 2, "{all:?}");
    assert_eq!(all[0].scheduled_at, Some(Instant(next.0 + 5 * 3_600_000)));
    controller.shutdown().await;
    let controller = scene.controller().await;
    tokio::time::sleep(MINUTE).await;
    assert_eq!(runs(&controller), all, "a restart runs nothing again");
    // One alone is there of it at any time.
    assert!(scene.cloud.with(|known| known.peak) <= 2);
    tokio::time::sleep(24 * HOUR).await;
    let kept = runs(&controller);
    assert_eq!(kept.len(), 11, "ten that have ended at most, and the last");
    assert!(
        kept.iter()
            .all(|r| r.outcome == Some(RunOutcome::Succeeded)),
        "{kept:?}"
    );
    controller.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_run_that_goes_on_keeps_the_next_away_or_is_replaced() {
    for (concurrency, most) in [("forbid", 1), ("replace", 4)] {
        let scene = Scene::new();
        scene.cloud.with(|known| known.endless = true);
        let controller = scene.controller().await;
        let schedule = format!("{{cron: \"0 * * * *\", concurrency: {concurrency}}}");
        put(&controller, &schedule, "run").await;
        tokio::time::sleep(4 * HOUR).await;
        let all = runs(&controller);
        assert_eq!(all.len(), most, "{concurrency}: {all:?}");
        assert_eq!(all[0].outcome, None, "{concurrency}");
        assert!(
            all.iter()
                .skip(1)
                .all(|r| r.outcome == Some(RunOutcome::Replaced)),
            "{concurrency}: {all:?}"
        );
        assert_eq!(
            scene.cloud.with(|known| known.runs.len()),
            1,
            "{concurrency}: of a run nothing is left but the last"
        );
        controller.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_goes_on_as_it_began_and_the_next_has_the_new_manifest() {
    let scene = Scene::new();
    scene.cloud.with(|known| known.endless = true);
    let controller = scene.controller().await;
    put(&controller, "\"0 * * * *\"", "run").await;
    tokio::time::sleep(HOUR).await;
    let ran: Vec<_> = scene
        .cloud
        .with(|known| known.runs.keys().cloned().collect());
    put(&controller, "\"0 * * * *\"", "other").await;
    tokio::time::sleep(30 * MINUTE).await;
    let still: Vec<_> = scene
        .cloud
        .with(|known| known.runs.keys().cloned().collect());
    assert_eq!(ran, still, "a new manifest ends no run");
    assert!(run_now(&controller).await.is_err(), "it has not ended");
    scene.cloud.with(|known| known.endless = false);
    tokio::time::sleep(HOUR).await;
    let all = runs(&controller);
    assert_eq!(all.len(), 2, "{all:?}");
    assert!(
        all.iter().all(|r| r.outcome == Some(RunOutcome::Succeeded)),
        "{all:?}"
    );
    controller.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_suspended_schedule_begins_nothing_by_itself_and_makes_up_for_nothing() {
    let scene = Scene::new();
    let controller = scene.controller().await;
    put(&controller, "{cron: \"0 * * * *\", suspend: true}", "run").await;
    tokio::time::sleep(3 * HOUR).await;
    assert_eq!((schedule(&controller).next, calls(&scene.cloud)), (None, 0));
    run_now(&controller).await.expect("a run by hand");
    tokio::time::sleep(MINUTE).await;
    let [hand] = &runs(&controller)[..] else {
        panic!("{:?}", runs(&controller))
    };
    assert_eq!(
        (hand.scheduled_at, hand.outcome),
        (None, Some(RunOutcome::Succeeded))
    );
    put(&controller, "{cron: \"0 * * * *\"}", "run").await;
    tokio::time::sleep(MINUTE).await;
    assert_eq!(runs(&controller).len(), 1, "nothing is made up for");
    tokio::time::sleep(HOUR).await;
    assert_eq!(runs(&controller).len(), 2);
    controller.shutdown().await;
}
