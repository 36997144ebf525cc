//! The order between the tasks of a deployment: a migration before the service that needs it, over kills of the daemon, and when it fails.

use anyhow::{Result, ensure};
use serde_json::Value;
use tradewind_kit::Daemon;

/// `web` after `migrate`, which ends once there is a file of its version: well if it is empty. Each leaves lines of what it does.
fn shop(trace: &str, gate: &str, version: u32) -> String {
    let migrate = format!(
        "echo migrate {version} >> {trace}; until test -e {gate}-{version}; do sleep 0.1; done; test ! -s {gate}-{version}; s=$?; \
         echo ended {version} >> {trace}; exit $s"
    );
    format!(
        r#"
apiVersion: tradewind.dev/v1
kind: CloudDeployment
metadata: {{name: shop}}
spec:
  services:
    web:
      command: [/bin/sh, -c, "echo web {version} >> {trace}; exec sleep 600"]
      resources: {{cpu: 10m, memory: 32Mi}}
      after: {{migrate: completed}}
  jobs:
    migrate: {{command: [/bin/sh, -c, "{migrate}"], resources: {{cpu: 10m, memory: 32Mi}}}}
"#
    )
}

fn waits(deployment: &Value) -> bool {
    let task = |name: &str| {
        let tasks = deployment["tasks"].as_array();
        let mut named = tasks.into_iter().flatten().filter(|t| t["name"] == name);
        named.next().cloned().unwrap_or_default()
    };
    let runs = &task("migrate")["allocations"][0]["replicaStatus"][0]["phase"];
    task("web")["status"] == "waiting" && *runs == "running"
}

fn lines(trace: &str) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(trace)?;
    Ok(text.lines().map(str::to_owned).collect())
}

#[tokio::test]
async fn a_migration_ends_before_its_service_begins_and_one_that_fails_leaves_the_old_one()
-> Result<()> {
    let mut daemon = Daemon::local()?;
    let place = |name: &str| daemon.shared().join(name).display().to_string();
    let (trace, gate) = (place("trace"), place("gate"));
    let first = daemon.file("shop.yaml", &shop(&trace, &gate, 1))?;
    let plan = daemon.run(&["plan", "-f", &first])?;
    ensure!(plan.contains("after migrate completes: "), "{plan}");
    daemon.run(&["apply", "-f", &first, "--detach"])?;
    daemon.until("shop", "waiting", waits).await?;
    let listed = daemon.run(&["get", "shop"])?;
    ensure!(
        listed.contains("waiting") && listed.contains("waits for migrate to complete"),
        "{listed}"
    );

    daemon.kill()?;
    daemon.launch()?;
    daemon.until("shop", "still waiting", waits).await?;
    assert_eq!(lines(&trace)?, ["migrate 1"], "nothing else has begun");
    std::fs::write(format!("{gate}-1"), "")?;
    daemon
        .until("shop", "running", |d| d["status"] == "running")
        .await?;
    assert_eq!(lines(&trace)?, ["migrate 1", "ended 1", "web 1"]);
    let events = daemon.run(&["events", "shop"])?;
    ensure!(
        events.contains("TaskWaiting") && events.contains("TaskReleased"),
        "{events}"
    );

    // The next migration fails: the service that runs stays, and nothing of the new one begins.
    std::fs::write(format!("{gate}-2"), "bad")?;
    let second = daemon.file("shop-2.yaml", &shop(&trace, &gate, 2))?;
    let refused = daemon.cli(&["apply", "-f", &second])?;
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{told}");
    ensure!(
        told.contains("web waits for migrate to complete, which has failed"),
        "{told}"
    );
    let ran = lines(&trace)?;
    ensure!(
        ran.iter().any(|l| l == "ended 2")
            && ran.iter().filter(|l| l.starts_with("web")).count() == 1,
        "{ran:?}"
    );
    Ok(())
}

#[tokio::test]
async fn a_first_roll_out_that_failed_goes_on_when_its_job_is_run_again() -> Result<()> {
    let daemon = Daemon::local()?;
    let place = |name: &str| daemon.shared().join(name).display().to_string();
    let (trace, gate) = (place("trace"), place("gate"));
    std::fs::write(format!("{gate}-1"), "bad")?;
    let file = daemon.file("shop.yaml", &shop(&trace, &gate, 1))?;
    let refused = daemon.cli(&["apply", "-f", &file])?;
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{told}");
    ensure!(
        told.contains("web waits for migrate to complete, which has failed"),
        "{told}"
    );
    std::fs::write(format!("{gate}-1"), "")?;
    daemon.run(&["run", "shop"])?;
    daemon
        .until("shop", "running", |d| d["status"] == "running")
        .await?;
    let ran = lines(&trace)?;
    assert_eq!(
        ran,
        ["migrate 1", "ended 1", "migrate 1", "ended 1", "web 1"]
    );
    Ok(())
}

#[tokio::test]
async fn a_service_that_waited_for_another_goes_on_without_it() -> Result<()> {
    let daemon = Daemon::local()?;
    let gate = daemon.shared().join("gate").display().to_string();
    let shop = |replicas: u32| {
        format!(
            "{{apiVersion: tradewind.dev/v1, kind: CloudDeployment, metadata: {{name: shop}}, spec: {{update: {{rollback: false}}, services: {{\
               db: {{command: [/bin/sleep, \"600\"], health: {{command: [/bin/sh, -c, test -e {gate}], interval: 200ms, unhealthyAfter: 1}}, \
                    resources: {{cpu: 10m, memory: 32Mi}}}}, \
               web: {{command: [/bin/sleep, \"600\"], replicas: {replicas}, after: {{db: ready}}, resources: {{cpu: 10m, memory: 32Mi}}}}}}}}}}"
        )
    };
    let task = |deployment: &Value, name: &str| {
        let tasks = deployment["tasks"].as_array();
        let mut named = tasks.into_iter().flatten().filter(|t| t["name"] == name);
        named.next().cloned().unwrap_or_default()
    };
    daemon.put("shop", &shop(1)).await?;
    let waiting = |d: &Value| {
        let web = task(d, "web");
        web["status"] == "waiting" && web["message"] == "waits for db to be ready"
    };
    daemon.until("shop", "waiting", waiting).await?;
    std::fs::write(&gate, "")?;
    daemon.running("shop").await?;
    std::fs::remove_file(&gate)?;
    daemon
        .until("shop", "without its database", |d| {
            task(d, "db")["ready"] == 0
        })
        .await?;
    daemon.put("shop", &shop(2)).await?;
    daemon
        .until("shop", "larger", |d| task(d, "web")["ready"] == 2)
        .await?;
    Ok(())
}
