//! Jobs: run to their end, retried, failed, and not run twice.

use anyhow::Result;
use tradewind_tests::Daemon;

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
    let trace = daemon.folder.path().join("trace");
    let script = format!("echo ran >> {}; echo to the log", trace.display());
    daemon.put("once", &job("once", &script, "")).await?;
    let done = daemon.until("once", "completed", |d| d["status"] == "completed").await?;
    assert_eq!(done["tasks"][0]["allocations"][0]["replicaStatus"][0]["exitCode"], 0, "{done:#}");
    assert_eq!(done["hourlyCost"], "0.00", "what has ended costs nothing");
    assert!(daemon.run(&["logs", "once"])?.contains("to the log"));

    daemon.kill()?;
    daemon.launch()?;
    daemon.until("once", "still completed", |d| d["status"] == "completed").await?;
    assert_eq!(std::fs::read_to_string(&trace)?, "ran\n", "a restart of the daemon runs nothing again");
    Ok(())
}

#[tokio::test]
async fn a_job_that_fails_is_retried_and_then_failed() -> Result<()> {
    let daemon = Daemon::local()?;
    let trace = daemon.folder.path().join("trace");
    let script = format!("echo try >> {}; exit 7", trace.display());
    daemon.put("bad", &job("bad", &script, ", retries: 1")).await?;
    let failed = daemon.until("bad", "failed", |d| d["status"] == "failed").await?;
    assert_eq!(failed["tasks"][0]["allocations"][0]["replicaStatus"][0]["exitCode"], 7, "{failed:#}");
    assert_eq!(std::fs::read_to_string(&trace)?, "try\ntry\n");
    let output = daemon.cli(&["apply", "-f", &daemon.file("bad.yaml", &job("bad", &script, ", retries: 1"))?])?;
    assert_eq!(output.status.code(), Some(1), "apply says that it failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

#[tokio::test]
async fn a_job_past_its_deadline_is_ended() -> Result<()> {
    let daemon = Daemon::local()?;
    daemon.put("slow", &job("slow", "sleep 600", ", deadline: 300ms")).await?;
    daemon.until("slow", "failed", |d| d["status"] == "failed").await?;
    Ok(())
}
