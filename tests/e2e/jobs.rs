//! Jobs: run to their end, retried, failed, and not run twice.

use anyhow::{Result, ensure};
use tradewind_kit::{
    Daemon, LOCAL,
    fixture::{Config, FixtureCloud},
    when,
};

fn job(name: &str, script: &str, more: &str) -> String {
    format!(
        r#"
apiVersion: tradewind.dev/v1
kind: CloudDeployment
metadata: {{name: {name}}}
spec:
  jobs:
    work: {{command: [/bin/sh, -c, "{script}"], resources: {{cpu: 10m, memory: 32Mi}}{more}}}
"#
    )
}

#[tokio::test]
async fn a_job_runs_to_its_end_once() -> Result<()> {
    let mut daemon = Daemon::local()?;
    let trace = daemon.shared().join("trace");
    let script = format!("echo ran >> {}; echo to the log", trace.display());
    daemon.put("once", &job("once", &script, "")).await?;
    let done = daemon
        .until("once", "completed", |d| d["status"] == "completed")
        .await?;
    assert_eq!(
        done["tasks"][0]["allocations"][0]["replicaStatus"][0]["exitCode"], 0,
        "{done:#}"
    );
    assert_eq!(done["hourlyCost"], "0.00", "what has ended costs nothing");
    assert!(daemon.run(&["logs", "once"])?.contains("to the log"));

    daemon.kill()?;
    daemon.launch()?;
    daemon
        .until("once", "still completed", |d| d["status"] == "completed")
        .await?;
    assert_eq!(
        std::fs::read_to_string(&trace)?,
        "ran\n",
        "a restart of the daemon runs nothing again"
    );
    Ok(())
}

#[tokio::test]
async fn a_job_that_fails_is_retried_and_then_failed() -> Result<()> {
    let daemon = Daemon::local()?;
    let trace = daemon.shared().join("trace");
    let script = format!("echo try >> {}; exit 7", trace.display());
    daemon
        .put("bad", &job("bad", &script, ", retries: 1"))
        .await?;
    let failed = daemon
        .until("bad", "failed", |d| d["status"] == "failed")
        .await?;
    assert_eq!(
        failed["tasks"][0]["allocations"][0]["replicaStatus"][0]["exitCode"], 7,
        "{failed:#}"
    );
    assert_eq!(std::fs::read_to_string(&trace)?, "try\ntry\n");
    let output = daemon.cli(&[
        "apply",
        "-f",
        &daemon.file("bad.yaml", &job("bad", &script, ", retries: 1"))?,
    ])?;
    assert_eq!(
        output.status.code(),
        Some(1),
        "apply says that it failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

#[tokio::test]
async fn a_job_runs_by_its_schedule_and_by_hand() -> Result<()> {
    let mut daemon = Daemon::local()?;
    let trace = daemon.shared().join("trace");
    let script = format!("echo ran >> {}", trace.display());
    let file = daemon.file(
        "cron.yaml",
        &job("cron", &script, ", schedule: \"* * * * *\""),
    )?;
    let plan = daemon.run(&["plan", "-f", &file])?;
    ensure!(
        plan.contains("runs at \"* * * * *\" (UTC), next "),
        "{plan}"
    );
    daemon.run(&["apply", "-f", &file])?;
    daemon.run(&["run", "cron", "work"])?;
    // A minute at most until the schedule's own run, and the daemon is killed meanwhile.
    daemon.kill()?;
    daemon.launch()?;
    let both = |d: &serde_json::Value| {
        let runs = d["tasks"][0]["schedule"]["runs"].as_array();
        runs.is_some_and(|all| all.len() > 1 && all.iter().all(|run| run["outcome"] == "succeeded"))
    };
    let done = match daemon.until("cron", "run twice", both).await {
        Ok(done) => done,
        // The minute may have ended with the patience.
        Err(_) => daemon.until("cron", "run twice", both).await?,
    };
    let runs = &done["tasks"][0]["schedule"]["runs"];
    let by_hand = |run: &serde_json::Value| run["scheduledAt"].is_null();
    assert!(
        by_hand(&runs[runs.as_array().map_or(0, Vec::len) - 1]),
        "{runs:#}"
    );
    assert!(!by_hand(&runs[0]), "{runs:#}");
    let ran = std::fs::read_to_string(&trace)?.lines().count();
    ensure!(ran >= 2, "each run ran: {ran}");
    let shown = daemon.run(&["describe", "cron"])?;
    ensure!(
        shown.contains("* * * * * (UTC), next ") && shown.contains("by hand"),
        "{shown}"
    );
    let wrong = job("cron", &script, ", schedule: \"61 * * * *\"");
    let output = daemon.cli(&["apply", "-f", &daemon.file("wrong.yaml", &wrong)?])?;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(4), "{told}");
    ensure!(
        told.contains("spec.jobs.work.schedule: \"61 * * * *\" is not a cron expression"),
        "{told}"
    );
    Ok(())
}

#[tokio::test]
async fn a_run_of_a_scheduled_job_is_told_also_beside_other_jobs() -> Result<()> {
    let daemon = Daemon::local()?;
    let yearly = job("mixed", "true", ", schedule: \"0 0 1 1 *\"");
    let both = yearly.replacen(
        "    work:",
        "    once: {command: [\"true\"], resources: {cpu: 10m, memory: 16Mi}}\n    work:",
        1,
    );
    ensure!(both != yearly, "{both}");
    daemon.put("mixed", &both).await?;
    let once = |d: &serde_json::Value| {
        let tasks = d["tasks"].as_array().into_iter().flatten();
        tasks
            .filter(|t| t["name"] == "once")
            .any(|t| t["status"] == "completed")
    };
    daemon.until("mixed", "the plain job done", once).await?;
    daemon.run(&["run", "mixed", "--detach"])?;
    let events = daemon.run(&["events", "mixed", "-o", "json"])?;
    let events: serde_json::Value = serde_json::from_str(&events)?;
    let told: Vec<_> = events["items"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|e| e["reason"] == "JobRerun" || e["reason"] == "JobRunStarted")
        .map(|e| (e["reason"].clone(), e["task"].clone()))
        .collect();
    ensure!(
        told.contains(&("JobRunStarted".into(), "work".into()))
            && told
                .iter()
                .filter(|(reason, _)| reason == "JobRunStarted")
                .count()
                == 1
            && told.iter().any(|(reason, _)| reason == "JobRerun"),
        "{told:?}"
    );
    Ok(())
}

#[tokio::test]
async fn a_job_past_its_deadline_is_ended() -> Result<()> {
    let daemon = Daemon::local()?;
    daemon
        .put("slow", &job("slow", "sleep 600", ", deadline: 300ms"))
        .await?;
    daemon
        .until("slow", "failed", |d| d["status"] == "failed")
        .await?;
    Ok(())
}

/// A service and a job that fails until a file is there. Every run leaves a line.
fn fragile(name: &str, trace: &str, good: &str) -> String {
    format!(
        "{{apiVersion: tradewind.dev/v1, kind: CloudDeployment, metadata: {{name: {name}}}, spec: {{\
           services: {{idle: {{command: [/bin/sh, -c, exec sleep 600], resources: {{cpu: 10m, memory: 32Mi}}}}}}, \
           jobs: {{work: {{command: [/bin/sh, -c, \"echo ran >> {trace}; test -e {good}\"], resources: {{cpu: 10m, memory: 32Mi}}}}}}}}}}"
    )
}

#[tokio::test]
async fn a_job_that_has_ended_is_run_again() -> Result<()> {
    let mut daemon = Daemon::local()?;
    let place = |name: &str| daemon.shared().join(name).display().to_string();
    let (trace, good) = (place("trace"), place("good"));
    let file = daemon.file("again.yaml", &fragile("again", &trace, &good))?;
    assert_eq!(daemon.cli(&["apply", "-f", &file])?.status.code(), Some(1));
    let idle = |d: &serde_json::Value| {
        d["tasks"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|t| t["name"] == "idle" && t["status"] == "running")
    };
    let service = pids_of(
        &daemon.until("again", "at work beside", idle).await?,
        "idle",
    );

    let again = daemon.cli(&["run", "again"])?;
    assert_eq!(
        again.status.code(),
        Some(1),
        "it fails again: {}",
        String::from_utf8_lossy(&again.stderr)
    );
    assert_eq!(std::fs::read_to_string(&trace)?, "ran\nran\n");
    std::fs::write(&good, "")?;
    let done = daemon.run(&["run", "again", "work", "--timeout", "30s"])?;
    assert!(done.contains("again"), "{done}");
    let now = daemon.get("/v1/deployments/again").await?;
    assert_eq!(
        (now["generation"].as_u64(), now["status"].as_str()),
        (Some(3), Some("running")),
        "{now:#}"
    );
    assert_eq!(
        std::fs::read_to_string(&trace)?,
        "ran\nran\nran\n",
        "once for each time that it was asked for"
    );
    assert_eq!(
        pids_of(&now, "idle"),
        service,
        "the service beside it stays as it was"
    );

    daemon.kill()?;
    daemon.launch()?;
    daemon
        .until("again", "still done", |d| d["status"] == "running")
        .await?;
    assert_eq!(
        std::fs::read_to_string(&trace)?,
        "ran\nran\nran\n",
        "a restart of the daemon runs nothing again"
    );
    let revisions = daemon.list("/v1/deployments/again/revisions").await?;
    assert_eq!(
        (
            &revisions[0]["cause"],
            &revisions[1]["cause"],
            &revisions[2]["cause"]
        ),
        (&"rerun".into(), &"rerun".into(), &"put".into())
    );
    assert!(daemon.run(&["events", "again"])?.contains("JobRerun"));

    // What is no job, what there is not, and what still runs.
    assert_eq!(
        daemon.cli(&["run", "again", "idle"])?.status.code(),
        Some(1),
        "a service runs all the time"
    );
    assert_eq!(
        daemon.cli(&["run", "again", "none"])?.status.code(),
        Some(3)
    );
    assert_eq!(daemon.cli(&["run", "none"])?.status.code(), Some(3));
    daemon.put("busy", &job("busy", "sleep 600", "")).await?;
    daemon
        .until("busy", "at work", |d| {
            d["tasks"][0]["allocations"][0]["replicaStatus"][0]["phase"] == "running"
        })
        .await?;
    let busy = daemon.cli(&["run", "busy"])?;
    assert_eq!(
        busy.status.code(),
        Some(5),
        "{}",
        String::from_utf8_lossy(&busy.stderr)
    );
    assert!(
        String::from_utf8_lossy(&busy.stderr).contains("has not ended"),
        "{busy:?}"
    );
    let url = daemon.url("/v1/deployments/again/run?task=work");
    let stale = daemon
        .http
        .post(&url)
        .header("if-match", "\"2\"")
        .send()
        .await?;
    assert_eq!(stale.status(), reqwest::StatusCode::PRECONDITION_FAILED);
    let answer: serde_json::Value = daemon
        .http
        .post(&url)
        .send()
        .await?
        .error_for_status()?
        .json()
        .await?;
    assert_eq!(answer["generation"], 4, "{answer:#}");
    let ended = |d: &serde_json::Value| d["status"] == "running" && d["observedGeneration"] == 4;
    daemon.until("again", "done once more", ended).await?;
    assert_eq!(std::fs::read_to_string(&trace)?.lines().count(), 4);
    Ok(())
}

fn pids_of(deployment: &serde_json::Value, task: &str) -> Vec<String> {
    let tasks = deployment["tasks"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|t| t["name"] == task);
    let replicas = tasks.flat_map(|t| t["allocations"].as_array().into_iter().flatten());
    let replicas = replicas.flat_map(|a| a["replicaStatus"].as_array().into_iter().flatten());
    replicas.map(|r| r["id"].to_string()).collect()
}

#[tokio::test]
async fn a_deadline_is_of_all_attempts_together_and_apply_says_so() -> Result<()> {
    let priced = format!("{LOCAL}[settings]\ncpu-price = \"0.04\"\n");
    let daemon = Daemon::start(&["cheapest", "process"], &[("local", &priced)])?;
    let file = daemon.file("done.yaml", &job("done", "true", ""))?;
    let done = daemon.run(&["apply", "-f", &file])?;
    assert!(done.contains("is completed: 1/1 ready, $0.00/h"), "{done}");
    let text = job("slow", "exit 3", ", retries: 50, deadline: 2500ms");
    let output = daemon.cli(&["apply", "-f", &daemon.file("slow.yaml", &text)?])?;
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(
        told.contains("its deadline of 2s 500ms leaves no time"),
        "{told}"
    );
    let failed = |r: &serde_json::Value| r[0]["outcome"] == "failed";
    let revisions = daemon
        .until_list("/v1/deployments/slow/revisions", "failed", failed)
        .await?;
    let reason = revisions[0]["reason"].to_string();
    assert!(reason.contains("leaves no time"), "{revisions:#}");
    Ok(())
}

/// What ends a machine ends the process together with what watches over it: no status is left of either.
#[tokio::test]
async fn a_job_that_is_lost_with_its_machine_is_run_again_without_a_retry() -> Result<()> {
    let mut daemon = Daemon::local()?;
    let (gate, trace) = (
        daemon.folder.path().join("gate"),
        daemon.shared().join("trace"),
    );
    let script = format!(
        "echo ran >> {}; until [ -e {} ]; do sleep 0.05; done",
        trace.display(),
        gate.display()
    );
    daemon.put("kept", &job("kept", &script, "")).await?;
    let runs = |d: &serde_json::Value| tradewind_kit::pids(d).iter().any(|pid| !pid.is_empty());
    let running = daemon
        .until("kept", "running", |d| {
            runs(d) && std::fs::read_to_string(&trace).is_ok_and(|t| t == "ran\n")
        })
        .await?;
    daemon.kill()?;
    let group: u32 = tradewind_kit::pids(&running)[0].parse()?;
    let killed = std::process::Command::new("/bin/sh")
        .args(["-c", &format!("kill -9 -{group}")])
        .status()?;
    assert!(killed.success());
    daemon.launch()?;
    daemon
        .until("kept", "running again", |d| {
            runs(d) && tradewind_kit::pids(d) != tradewind_kit::pids(&running)
        })
        .await?;
    std::fs::write(&gate, "")?;
    daemon
        .until("kept", "completed", |d| d["status"] == "completed")
        .await?;
    assert_eq!(std::fs::read_to_string(&trace)?, "ran\nran\n");
    Ok(())
}

/// Through the command line and through the API: no digit is lost, and no number is taken for another.
#[tokio::test]
async fn numbers_and_durations_mean_what_is_written() -> Result<()> {
    let daemon = Daemon::local()?;
    let shell = r#"["/bin/sh", "-c", "echo $A $B $C"]"#;
    let json = format!(
        r#"{{"apiVersion": "tradewind.dev/v1", "kind": "CloudDeployment", "metadata": {{"name": "digits"}},
            "spec": {{"jobs": {{"work": {{"command": {shell}, "env": {{"A": 123456789012345678901, "B": 1.10, "C": 1e400}}}}}}}}}}"#
    );
    daemon.run(&["apply", "-f", &daemon.file("digits.json", &json)?])?;
    assert!(
        daemon
            .run(&["logs", "digits"])?
            .contains("123456789012345678901 1.10 1e400")
    );
    let infinite = job(
        "infinite",
        "echo $A $B $C",
        ", env: {A: .inf, B: .nan, C: 1e400}",
    );
    daemon.run(&["apply", "-f", &daemon.file("infinite.yaml", &infinite)?])?;
    assert!(
        daemon
            .run(&["logs", "infinite"])?
            .contains(".inf .nan 1e400")
    );

    for (more, field, says) in [
        (
            ", deadline: 30M",
            "spec.jobs.work.deadline",
            "m for minutes, such as 30m",
        ),
        (
            ", recovery: {failover: 2M}",
            "spec.jobs.work.recovery.failover",
            "m for minutes",
        ),
        (
            ", duration: 2years",
            "spec.jobs.work.duration",
            "days, such as 90d",
        ),
        (", retries: 010", "spec.jobs.work.retries", "write 10"),
        (", labels: {a: .inf}", "spec.jobs.work.labels.a", "write"),
        (", priority: .inf", "spec.jobs.work.priority", "finite"),
    ] {
        let output = daemon.cli(&[
            "apply",
            "-f",
            &daemon.file("odd.yaml", &job("odd", "true", more))?,
        ])?;
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(4), "{more}: {told}");
        assert!(
            told.contains(field) && told.contains(says),
            "{more}: {told}"
        );
    }
    // Every other way in.
    let text = daemon.file("digits.json", &json)?;
    for command in [
        &["apply", "-f", &text, "--timeout", "2M"][..],
        &["token", "create", "x", "--expires", "30M"],
        &["token", "create", "x", "--expires", "2years"],
        &["plan", "-f", &text, "--out", "p", "--expires", "1M"],
    ] {
        let output = daemon.cli(command)?;
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(64), "{command:?}: {told}");
        assert!(
            told.contains("m for minutes") || told.contains("90d"),
            "{command:?}: {told}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_deadline_goes_on_where_a_job_is_made_again() -> Result<()> {
    let cloud = FixtureCloud::start(Config::default())?;
    let mut daemon = Daemon::start(
        &["cheapest", "rest"],
        &[("cloud", &cloud.instance_with("settle = \"1ms\""))],
    )?;
    let job = "{apiVersion: tradewind.dev/v1, kind: CloudDeployment, metadata: {name: slow}, spec: {jobs: {work: {image: work, env: {RUN_MS: \
               \"600000\"}, deadline: 1m, resources: {cpu: 1, memory: 1Gi}}}}}";
    daemon.put("slow", job).await?;
    daemon
        .until("slow", "running", |d| {
            d["tasks"][0]["allocations"][0]["phase"] == "running"
        })
        .await?;
    daemon.kill()?;
    for instance in cloud.live() {
        ensure!(cloud.disappear(&instance.id));
    }
    daemon.launch()?;
    let again = daemon.eventually("it is made again", async || {
        let made = cloud.ledger().len();
        Ok(when(made >= 2, made))
    });
    again.await?;
    let given: Vec<u64> = cloud
        .ledger()
        .iter()
        .filter_map(|i| i.workload.pointer("/job/deadlineMs")?.as_u64())
        .collect();
    ensure!(
        given.len() == 2 && given[0] == 60_000 && (1..60_000).contains(&given[1]),
        "{given:?}"
    );
    Ok(())
}
