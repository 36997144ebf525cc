//! Updates: traffic goes on, what is bad goes back, and nothing is lost when the daemon is killed meanwhile.

use anyhow::{Result, ensure};
use serde_json::Value;
use tradewind_kit::{Daemon, endpoints, fetch, hello, when};

const BROKEN: &str = r#"[/bin/sh, -c, "exit 1"]"#;

/// A deployment of these services: name, command (empty: `hello`), greeting, replicas. `update` is the deployment's.
fn stack(name: &str, update: &str, services: &[(&str, &str, &str, u32)]) -> String {
    let hello = format!("[{:?}]", hello().display().to_string());
    let service = |(service, command, greeting, replicas): &(&str, &str, &str, u32)| {
        let command = if command.is_empty() { &hello } else { *command };
        format!(
            "\n    {service}:\n      command: {command}\n      env: {{GREETING: \"{greeting}\"}}\n      ports: {{http: {{protocol: http}}}}\n      \
             health: {{http: /health, interval: 200ms}}\n      replicas: {replicas}\n      resources: {{cpu: 10m, memory: 64Mi}}"
        )
    };
    let services: String = services.iter().map(service).collect();
    format!(
        "apiVersion: tradewind.dev/v1\nkind: CloudDeployment\nmetadata: {{name: {name}}}\nspec:\n  update: {update}\n  services:{services}\n"
    )
}

/// What every endpoint answers, each exactly once asked.
async fn answers(daemon: &Daemon, deployment: &Value) -> Result<Vec<String>> {
    let mut said = Vec::new();
    for endpoint in endpoints(deployment) {
        said.push(fetch(&daemon.http, &endpoint).await?);
    }
    Ok(said)
}

/// Asks every endpoint again and again until the deployment is as wanted. No request may fail, and there is always someone to ask.
async fn served_until(
    daemon: &Daemon,
    name: &str,
    least: usize,
    wanted: impl Fn(&Value) -> bool,
) -> Result<Value> {
    let served = daemon.eventually(format!("{name} is as wanted"), async || {
        let seen = daemon.get(&format!("/v1/deployments/{name}")).await?;
        let said = answers(daemon, &seen).await?;
        ensure!(
            said.len() >= least,
            "{} of {least} endpoints: {seen:#}",
            said.len()
        );
        Ok(when(wanted(&seen), seen))
    });
    served.await
}

fn whole(generation: u64) -> impl Fn(&Value) -> bool {
    move |d| {
        d["status"] == "running"
            && d["generation"] == generation
            && d["rollout"]["status"] == "done"
    }
}

#[tokio::test]
async fn a_rolling_update_fails_no_request() -> Result<()> {
    let daemon = Daemon::local()?;
    daemon
        .put(
            "web",
            &stack("web", "{drain: 1s}", &[("web", "", "first", 3)]),
        )
        .await?;
    daemon.until("web", "whole", whole(1)).await?;
    daemon
        .put(
            "web",
            &stack("web", "{drain: 1s}", &[("web", "", "second", 3)]),
        )
        .await?;
    let after = served_until(&daemon, "web", 3, whole(2)).await?;
    let said = answers(&daemon, &after).await?;
    assert_eq!(said, ["hello, second\n"; 3], "{after:#}");

    let diff = daemon.run(&["diff", "web", "--from", "1", "--to", "2"])?;
    assert!(
        diff.contains("-        GREETING: first") && diff.contains("+        GREETING: second"),
        "{diff}"
    );
    daemon.run(&["rollback", "web", "--to", "1"])?;
    let back = daemon.until("web", "back", whole(3)).await?;
    assert_eq!(answers(&daemon, &back).await?, ["hello, first\n"; 3]);
    let revisions = daemon.run(&["revisions", "web"])?;
    assert_eq!(revisions.matches("healthy").count(), 3, "{revisions}");
    Ok(())
}

#[tokio::test]
async fn a_stack_of_which_one_service_is_bad_returns_as_a_whole_and_is_served_meanwhile()
-> Result<()> {
    let daemon = Daemon::local()?;
    let good = [("api", "", "first", 2), ("web", "", "first", 2)];
    daemon.put("shop", &stack("shop", "{}", &good)).await?;
    daemon.until("shop", "whole", whole(1)).await?;
    let bad = [("api", "", "second", 2), ("web", BROKEN, "second", 2)];
    daemon.put("shop", &stack("shop", "{}", &bad)).await?;
    let back = served_until(&daemon, "shop", 4, whole(3)).await?;
    assert_eq!(
        answers(&daemon, &back).await?,
        ["hello, first\n"; 4],
        "{back:#}"
    );
    assert_eq!(back["rollout"]["cause"], "failure");
    let revisions = daemon.list("/v1/deployments/shop/revisions").await?;
    assert_eq!(
        (&revisions[1]["outcome"], &revisions[0]["of"]),
        (&"failed".into(), &1.into()),
        "{revisions:#}"
    );
    let events = daemon.run(&["events", "shop"])?;
    assert!(
        events.contains("RolloutFailed") && events.contains("RolledBack"),
        "{events}"
    );
    Ok(())
}

#[tokio::test]
async fn a_canary_waits_until_it_is_promoted_or_aborted() -> Result<()> {
    let daemon = Daemon::local()?;
    let update = "{strategy: canary, drain: 100ms, steps: [{weight: 25%}]}";
    let manifest = |greeting| stack("bird", update, &[("web", "", greeting, 4)]);
    daemon.put("bird", &manifest("first")).await?;
    daemon.until("bird", "whole", whole(1)).await?;
    daemon.put("bird", &manifest("second")).await?;
    let waits = |d: &Value| d["rollout"]["status"] == "waiting" && endpoints(d).len() == 4;
    let waiting = daemon.until("bird", "waiting", waits).await?;
    let said = answers(&daemon, &waiting).await?;
    assert_eq!(
        said.iter().filter(|s| s.contains("second")).count(),
        1,
        "{waiting:#}"
    );
    daemon.run(&["abort", "bird"])?;
    let back = daemon.until("bird", "back", whole(3)).await?;
    assert_eq!(answers(&daemon, &back).await?, ["hello, first\n"; 4]);

    let third = daemon.file("third.yaml", &manifest("third"))?;
    let told = daemon.run(&["apply", "-f", &third])?;
    assert!(
        told.contains("promote or abort it")
            && told.matches("http://").count() == 4
            && told.contains("(before the update)"),
        "who applies is told what is waited for, and that both sides answer: {told}"
    );
    daemon.run(&["promote", "bird"])?;
    let after = daemon.until("bird", "promoted", whole(4)).await?;
    assert_eq!(answers(&daemon, &after).await?, ["hello, third\n"; 4]);
    Ok(())
}

#[tokio::test]
async fn blue_green_switches_at_once_and_returns_at_once() -> Result<()> {
    let daemon = Daemon::local()?;
    let manifest = |greeting| {
        stack(
            "bg",
            "{strategy: blue-green, keep: 1h}",
            &[("web", "", greeting, 2)],
        )
    };
    daemon.put("bg", &manifest("first")).await?;
    let before = daemon.until("bg", "whole", whole(1)).await?;
    daemon.put("bg", &manifest("second")).await?;
    let switched = served_until(&daemon, "bg", 2, |d| d["rollout"]["status"] == "keeping").await?;
    assert_eq!(
        answers(&daemon, &switched).await?,
        ["hello, second\n"; 2],
        "{switched:#}"
    );
    daemon.run(&["rollback", "bg", "--to", "1"])?;
    let back = daemon.until("bg", "back", whole(3)).await?;
    assert_eq!(
        endpoints(&back),
        endpoints(&before),
        "the same replicas serve again: {back:#}"
    );
    Ok(())
}

#[tokio::test]
async fn an_update_outlives_the_daemon() -> Result<()> {
    let mut daemon = Daemon::local()?;
    let manifest = |greeting| stack("phoenix", "{drain: 100ms}", &[("web", "", greeting, 3)]);
    daemon.put("phoenix", &manifest("first")).await?;
    daemon.until("phoenix", "whole", whole(1)).await?;
    daemon.put("phoenix", &manifest("second")).await?;
    daemon
        .until("phoenix", "half done", |d| {
            d["tasks"][0]["allocations"]
                .as_array()
                .is_some_and(|a| a.len() > 1)
        })
        .await?;
    daemon.kill()?;
    daemon.launch()?;
    let after = daemon.until("phoenix", "whole", whole(2)).await?;
    assert_eq!(
        answers(&daemon, &after).await?,
        ["hello, second\n"; 3],
        "{after:#}"
    );
    Ok(())
}
