//! The HTTP API and the command line as programs and people meet them.

use anyhow::Result;
use reqwest::StatusCode;
use serde_json::Value;
use tradewind_tests::{Daemon, binary};

use crate::web;

async fn put(daemon: &Daemon, name: &str, kind: &str, body: Vec<u8>) -> Result<(StatusCode, Value)> {
    let request = daemon.http.put(daemon.url(&format!("/v1/deployments/{name}"))).header("content-type", kind);
    let response = request.body(body).send().await?;
    let (status, kind) = (response.status(), response.headers().get("content-type").cloned());
    let body: Value = serde_json::from_slice(&response.bytes().await?)?;
    if !status.is_success() {
        assert_eq!(kind.as_ref().and_then(|k| k.to_str().ok()), Some("application/problem+json"), "{body}");
        assert_eq!(body["status"].as_u64(), Some(u64::from(status.as_u16())));
    }
    Ok((status, body))
}

/// Each is refused with the path of the field, and the daemon goes on.
#[tokio::test]
async fn bad_manifests_are_refused_and_do_no_harm() -> Result<()> {
    let daemon = Daemon::local()?;
    let yaml = "application/yaml";
    let spec = |spec: &str| {
        format!("apiVersion: tradewind.dev/v1\nkind: CloudDeployment\nmetadata: {{name: x}}\nspec: {{services: {{web: {{command: [a], {spec}}}}}}}\n").into_bytes()
    };
    let repeated = b"apiVersion: tradewind.dev/v1\nkind: CloudDeployment\nmetadata: {name: x}\nspec:\n  provider: aws\n  region: us-west-2\n  services: [{name: m, type: EKS}]\n  provider: azure\n  region: us-east-1\n  services: [{name: m, type: AKS}]\n";
    let mut nested = b"apiVersion: tradewind.dev/v1\nspec: ".to_vec();
    nested.extend(std::iter::repeat_n(b'[', 3 << 20));
    let json_nested = std::iter::repeat_n(b'[', 3 << 20).collect::<Vec<u8>>();
    let cases: Vec<(&str, &str, Vec<u8>, &str, &str)> = vec![
        ("unknown field", yaml, spec("replcas: 2"), "spec.services.web.replcas", "did you mean \"replicas\""),
        ("wrong type", yaml, spec("replicas: many"), "spec.services.web.replicas", "many"),
        ("negative", yaml, spec("replicas: -1"), "spec.services.web.replicas", "-1"),
        ("absurd", yaml, spec("resources: {cpu: 999999}"), "spec.services.web.resources.cpu", "999999"),
        ("repeated keys", yaml, repeated.to_vec(), "spec", "targets:"),
        ("nesting", yaml, nested, "", "deep"),
        ("nesting in json", "application/json", json_nested, "", "deep"),
        ("not utf-8", yaml, b"apiVersion: \xff\xfe".to_vec(), "", "UTF-8"),
        ("empty", yaml, Vec::new(), "", "empty"),
    ];
    for (what, kind, body, path, message) in cases {
        let (status, problem) = put(&daemon, "x", kind, body).await?;
        assert!(status.is_client_error(), "{what}: {status} {problem}");
        let problems = problem["problems"].as_array().cloned().unwrap_or_default();
        let told = |p: &Value| {
            p["path"].as_str().unwrap_or_default().starts_with(path) && p["message"].as_str().unwrap_or_default().contains(message)
        };
        assert!(problems.iter().any(told), "{what}: {problem:#}");
    }
    let (status, _) = put(&daemon, "x", yaml, vec![b'#'; 10 << 20]).await.unwrap_or((StatusCode::PAYLOAD_TOO_LARGE, Value::Null));
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    let (status, problem) = put(&daemon, "other", yaml, web("x", 1, "x").into_bytes()).await?;
    assert!(status.is_client_error() && problem.to_string().contains("metadata.name"), "{problem}");
    assert_eq!(daemon.get("/v1/deployments").await?, Value::Array(Vec::new()), "nothing was stored");
    daemon.put("fine", &web("fine", 1, "x")).await?;
    daemon.running("fine").await?;
    Ok(())
}

#[tokio::test]
async fn writes_are_idempotent_and_guarded_by_generation() -> Result<()> {
    let daemon = Daemon::local()?;
    let url = daemon.url("/v1/deployments/app");
    let send = |body: String, guard: Option<(&'static str, &'static str)>| {
        let mut request = daemon.http.put(&url).header("content-type", "application/yaml").body(body);
        if let Some((name, value)) = guard {
            request = request.header(name, value);
        }
        request.send()
    };
    let created = send(web("app", 1, "one"), Some(("if-none-match", "*"))).await?;
    assert_eq!(created.status(), StatusCode::ACCEPTED);
    assert!(created.headers().contains_key("location"));
    assert_eq!(created.json::<Value>().await?["generation"], 1);
    let again = send(web("app", 1, "one"), None).await?;
    assert_eq!((again.status(), again.json::<Value>().await?["outcome"].clone()), (StatusCode::OK, "unchanged".into()));
    assert_eq!(send(web("app", 1, "two"), Some(("if-none-match", "*"))).await?.status(), StatusCode::PRECONDITION_FAILED);
    assert_eq!(send(web("app", 1, "two"), Some(("if-match", "\"7\""))).await?.status(), StatusCode::PRECONDITION_FAILED);
    assert_eq!(send(web("app", 1, "two"), Some(("if-match", "\"1\""))).await?.json::<Value>().await?["generation"], 2);
    let seen = daemon.http.get(&url).send().await?;
    assert_eq!(seen.headers().get("etag").and_then(|v| v.to_str().ok()), Some("\"2\""));
    Ok(())
}

#[tokio::test]
async fn strangers_are_turned_away() -> Result<()> {
    let daemon = Daemon::local()?;
    for (name, value) in [("host", "evil.example.com"), ("origin", "https://evil.example.com")] {
        let response = daemon.http.get(daemon.url("/v1/deployments")).header(name, value).send().await?;
        assert!(response.status().is_client_error(), "{name}: {}", response.status());
    }
    for path in ["/nowhere", "/v1/deployments/absent", "/v1/decisions/d-absent", "/v1/plugins/absent"] {
        let response = daemon.http.get(daemon.url(path)).send().await?;
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
        assert_eq!(response.headers().get("content-type").and_then(|v| v.to_str().ok()), Some("application/problem+json"), "{path}");
    }
    let refused = std::process::Command::new(binary())
        .arg("--data")
        .arg(daemon.folder.path().join("other"))
        .args(["serve", "--listen", "0.0.0.0:0"])
        .output()?;
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("loopback"), "{refused:?}");
    Ok(())
}

#[tokio::test]
async fn the_story_of_a_deployment_can_be_read() -> Result<()> {
    let daemon = Daemon::local()?;
    let file = daemon.file("told.yaml", &web("told", 1, "x"))?;
    let plan = daemon.run(&["plan", "-f", &file])?;
    assert!(plan.contains("create") && plan.contains("local"), "{plan}");
    assert_eq!(daemon.cli(&["plan", "--exit-code", "-f", &file])?.status.code(), Some(2));
    daemon.run(&["apply", "-f", &file])?;
    assert_eq!(daemon.cli(&["plan", "--exit-code", "-f", &file])?.status.code(), Some(0), "what is so needs no change");

    let described = daemon.run(&["describe", "told"])?;
    for word in ["told", "web", "local", "cheapest", "127.0.0.1", "AllocationRunning"] {
        assert!(described.contains(word), "{word} is missing in:\n{described}");
    }
    let events: Value = serde_json::from_str(&daemon.run(&["-o", "json", "events"])?)?;
    let reasons: Vec<&str> = events.as_array().into_iter().flatten().filter_map(|e| e["reason"].as_str()).collect();
    for reason in ["DeploymentCreated", "AllocationPlaced", "AllocationRunning"] {
        assert!(reasons.contains(&reason), "{reasons:?}");
    }
    let decisions = daemon.get("/v1/decisions").await?;
    assert_eq!(decisions[0]["policy"]["instance"], "cheapest", "{decisions:#}");
    assert_eq!(decisions[0]["tasks"][0]["chosen"][0]["provider"], "local");
    let metrics = daemon.http.get(daemon.url("/metrics")).send().await?.text().await?;
    assert!(metrics.contains("tradewind_"), "{metrics}");
    assert_eq!(daemon.cli(&["get", "absent"])?.status.code(), Some(3));
    assert_eq!(daemon.cli(&["apply", "-f", &daemon.file("bad.yaml", "kind: Nonsense")?])?.status.code(), Some(4));
    daemon.run(&["delete", "told"])?;
    assert_eq!(daemon.cli(&["get", "told"])?.status.code(), Some(3));
    Ok(())
}

#[tokio::test]
async fn the_event_stream_resumes_where_it_broke_off() -> Result<()> {
    let daemon = Daemon::local()?;
    daemon.put("a", &web("a", 1, "x")).await?;
    daemon.running("a").await?;
    let events = daemon.get("/v1/deployments/a/events").await?;
    assert_eq!(events[0]["reason"], "DeploymentCreated", "{events:#}");
    let middle = events[0]["revision"].as_u64().unwrap_or_default();
    let request = daemon.http.get(daemon.url("/v1/events?follow=true")).header("last-event-id", middle.to_string());
    let mut stream = request.send().await?.error_for_status()?;
    let mut text = String::new();
    while !text.contains("AllocationRunning") {
        let Some(chunk) = stream.chunk().await? else { break };
        text.push_str(&String::from_utf8_lossy(&chunk));
    }
    assert!(text.contains("AllocationRunning"), "{text}");
    assert!(!text.contains("DeploymentCreated"), "what came before is not told again: {text}");
    Ok(())
}

#[tokio::test]
async fn the_published_documents_are_there() -> Result<()> {
    let daemon = Daemon::local()?;
    let openapi = daemon.get("/openapi.json").await?;
    assert!(openapi["openapi"].as_str().unwrap_or_default().starts_with("3."));
    for path in
        ["/v1/deployments/{name}", "/v1/offers", "/v1/assessments", "/v1/decisions/{id}", "/v1/plugins/{name}/rollback", "/v1/events"]
    {
        assert!(openapi["paths"].get(path).is_some(), "{path} is missing");
    }
    let schema = daemon.get("/v1/schema/manifest").await?;
    assert!(schema["properties"]["spec"].is_object(), "{schema:#}");
    assert_eq!(serde_json::from_str::<Value>(&daemon.run(&["schema"])?)?, schema);
    for path in ["/healthz", "/readyz"] {
        assert!(daemon.http.get(daemon.url(path)).send().await?.status().is_success(), "{path}");
    }
    Ok(())
}
