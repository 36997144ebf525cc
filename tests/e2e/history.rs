//! What has happened, as it is told: events with their causes, streams that resume, and the audit log that can be checked.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tradewind_kit::{Daemon, web};

/// Reads the stream behind `after` until it has told so many, then breaks off. Ids of places and of events.
async fn follow(
    daemon: &Daemon,
    after: Option<&str>,
    count: usize,
) -> Result<Vec<(String, String)>> {
    let mut events = daemon.events(after).await?;
    let mut told = Vec::new();
    while told.len() < count {
        let event = events.next().await?;
        let place = events.place().context("an event without a place")?;
        told.push((
            place.to_owned(),
            event["id"].as_str().unwrap_or_default().to_owned(),
        ));
    }
    Ok(told)
}

#[tokio::test]
async fn a_stream_that_breaks_off_misses_and_repeats_nothing() -> Result<()> {
    let mut daemon = Daemon::local()?;
    for name in ["a", "b", "c"] {
        daemon.put(name, &web(name, 1, "x")).await?;
    }
    for name in ["a", "b", "c"] {
        daemon.running(name).await?;
    }
    let listed = daemon.list("/v1/events?limit=10000").await?;
    let all: Vec<String> = listed
        .as_array()
        .context("no list")?
        .iter()
        .filter_map(|e| e["id"].as_str().map(str::to_owned))
        .collect();
    ensure!(all.len() >= 12, "{listed:#}");
    let half = all.len() / 2;

    // One at a time, each time anew, so that a break comes within transactions too; and the daemon restarts on the way.
    let mut told: Vec<String> = Vec::new();
    let mut place: Option<String> = Some("0".to_owned());
    while told.len() < all.len() {
        if told.len() == half {
            daemon.kill()?;
            daemon.launch()?;
        }
        let (next, id) = follow(&daemon, place.as_deref(), 1).await?.remove(0);
        told.push(id);
        place = Some(next);
    }
    assert_eq!(told, all);
    assert_eq!(told.iter().collect::<BTreeSet<_>>().len(), told.len());
    let at_once: Vec<String> = follow(&daemon, None, all.len())
        .await?
        .into_iter()
        .map(|(_, id)| id)
        .collect();
    assert_eq!(at_once, all);
    Ok(())
}

#[tokio::test]
async fn an_event_tells_what_led_to_it_and_what_it_changed() -> Result<()> {
    let daemon = Daemon::local()?;
    let put = |id: &'static str, manifest: String| {
        let request = daemon
            .http
            .put(daemon.url("/v1/deployments/app"))
            .header("content-type", "application/yaml");
        request.header("x-request-id", id).body(manifest).send()
    };
    let answer = put("mine-1", web("app", 1, "secret one")).await?;
    assert_eq!(answer.headers()["x-request-id"], "mine-1");
    daemon.running("app").await?;
    let answer = put("no id\tat all", web("app", 2, "secret two")).await?;
    let made = answer.headers()["x-request-id"].to_str()?.to_owned();
    assert!(made.starts_with("r-"), "{made}");
    daemon.running("app").await?;
    let events = daemon.list("/v1/deployments/app/events?limit=1000").await?;
    let find = |reason: &str| {
        events
            .as_array()
            .into_iter()
            .flatten()
            .find(|e| e["reason"] == reason)
            .cloned()
            .unwrap_or_default()
    };
    assert_eq!(
        find("DeploymentCreated")["cause"],
        serde_json::json!({"kind": "request", "id": "mine-1"})
    );
    let updated = find("DeploymentUpdated");
    assert_eq!(updated["cause"]["id"], made.as_str());
    assert_eq!(
        (
            &updated["before"]["spec.services.web.replicas"],
            &updated["after"]["spec.services.web.replicas"]
        ),
        (&1.into(), &2.into())
    );
    assert!(!events.to_string().contains("secret"), "{events:#}");
    let placed = find("AllocationPlaced");
    assert_eq!(
        (
            placed["cause"]["kind"].as_str(),
            placed["after"]["stage"].as_str()
        ),
        (Some("decision"), Some("intended")),
        "{placed:#}"
    );
    assert_eq!(find("AllocationApplied")["after"]["stage"], "applied");
    let problem = daemon
        .http
        .get(daemon.url("/v1/deployments/none"))
        .header("x-request-id", "mine-2")
        .send()
        .await?;
    assert_eq!(problem.json::<Value>().await?["request"], "mine-2");
    Ok(())
}

#[tokio::test]
async fn the_audit_log_can_be_checked_with_and_without_the_daemon() -> Result<()> {
    let daemon = Daemon::local()?;
    daemon.put("a", &web("a", 1, "x")).await?;
    daemon.running("a").await?;
    let head = daemon.run(&["audit", "head"])?;
    let noted = head.split_whitespace().nth(1).context("no hash")?;
    daemon.put("a", &web("a", 1, "y")).await?;
    daemon.running("a").await?;
    let verified = daemon.run(&["audit", "verify", "--expect", noted])?;
    assert!(
        verified.contains("as they were recorded")
            && verified.contains("the expected hash is that of entry"),
        "{verified}"
    );
    let other = format!("sha256:{}", "1".repeat(64));
    assert_eq!(
        daemon
            .cli(&["audit", "verify", "--expect", &other])?
            .status
            .code(),
        Some(1)
    );
    assert!(
        daemon
            .run(&["audit", "show"])?
            .contains("DeploymentUpdated")
    );

    let export = daemon.run(&["audit", "export"])?;
    let lines: Vec<&str> = export.lines().collect();
    let check = |name: &str, text: &str| -> Result<(Option<i32>, String)> {
        let output = daemon.cli(&["audit", "verify", &daemon.file(name, text)?])?;
        Ok((
            output.status.code(),
            String::from_utf8_lossy(&output.stdout).into_owned(),
        ))
    };
    assert_eq!(check("whole.jsonl", &export)?.0, Some(0), "{export}");
    let edited = export.replacen("generation 2", "generation 3", 1);
    let (code, text) = check("edited.jsonl", &edited)?;
    assert!(code == Some(1) && text.contains("was edited"), "{text}");
    let removed = [&lines[..3], &lines[4..]].concat().join("\n");
    let (code, text) = check("removed.jsonl", &removed)?;
    assert!(
        code == Some(1) && text.contains("entry 3 is missing"),
        "{text}"
    );
    let (code, text) = check("short.jsonl", &lines[..lines.len() - 1].join("\n"))?;
    assert!(
        code == Some(1) && text.contains("the log ends before it"),
        "{text}"
    );
    Ok(())
}

/// Of every deployment the last events and decisions stay, and what something runs on in any case, with all that explains it.
#[tokio::test]
async fn a_bulk_of_one_erases_nothing_of_another() -> Result<()> {
    let mut daemon = Daemon::local()?;
    daemon.stop()?;
    let keep =
        "[keep]\nevents = 20\ndeployment-events = 5\ndecisions = 3\ndeployment-decisions = 1\n";
    std::fs::write(daemon.folder.path().join("config.toml"), keep)?;
    daemon.launch()?;
    daemon.put("web", &web("web", 1, "mine")).await?;
    daemon.running("web").await?;
    let decided: Value = serde_json::from_str(&daemon.run(&["-o", "json", "decisions", "web"])?)?;
    let id = decided["items"][0]["id"]
        .as_str()
        .context("no decision")?
        .to_owned();
    let bulk = |i: usize| {
        format!(
            "{{apiVersion: tradewind.dev/v1, kind: CloudDeployment, metadata: {{name: b{i}, namespace: bulk}}, spec: {{jobs: {{j: \
             {{command: [/bin/true], resources: {{cpu: 10m, memory: 16Mi}}}}}}}}}}"
        )
    };
    for i in 0..12 {
        daemon.put(&format!("b{i}"), &bulk(i)).await?;
        daemon
            .until_at(
                &format!("/v1/deployments/b{i}?namespace=bulk"),
                "done",
                |d| d["status"] == "completed",
            )
            .await?;
    }
    for i in 0..12 {
        daemon
            .http
            .delete(daemon.url(&format!("/v1/deployments/b{i}?namespace=bulk")))
            .send()
            .await?
            .error_for_status()?;
    }
    daemon
        .until_list("/v1/deployments?namespace=bulk", "gone", |all| {
            all.as_array().is_some_and(Vec::is_empty)
        })
        .await?;
    // What is too much goes at the start.
    daemon.stop()?;
    daemon.launch()?;
    // The last of all, those of the deployment, of two plugins and of the daemon.
    let few = |events: &Value| {
        events
            .as_array()
            .is_some_and(|events| events.len() <= 20 + 4 * 5)
    };
    daemon
        .until_list("/v1/events?limit=10000", "brought down to its limit", few)
        .await?;
    let few = |decisions: &Value| {
        decisions
            .as_array()
            .is_some_and(|decisions| decisions.len() <= 3 + 1)
    };
    daemon
        .until_list("/v1/decisions?limit=1000", "brought down to its limit", few)
        .await?;
    let count =
        async |path: &str| anyhow::Ok(daemon.list(path).await?.as_array().map_or(0, Vec::len));

    assert!(
        count("/v1/deployments/web/events").await? >= 5,
        "its last events"
    );
    let events = daemon.run(&["events", "web"])?;
    assert!(events.contains("RolloutDone"), "{events}");
    let described = daemon.run(&["describe", "web"])?;
    assert!(
        described.contains(&id),
        "the decision that it runs on: {described}"
    );
    let explained = daemon.run(&["explain", "web"])?;
    assert!(explained.contains("local"), "{explained}");
    daemon.run(&["replay", &id])?;
    let decided: Value = serde_json::from_str(&daemon.run(&["-o", "json", "decisions", "web"])?)?;
    assert_eq!(decided["items"][0]["id"], id.as_str(), "{decided:#}");
    Ok(())
}
