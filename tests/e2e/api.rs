//! The HTTP API and the command line as programs and people meet them.

use anyhow::{Result, ensure};
use reqwest::StatusCode;
use serde_json::Value;
use tradewind_kit::{Daemon, binary, web};

async fn put(
    daemon: &Daemon,
    name: &str,
    kind: &str,
    body: Vec<u8>,
) -> Result<(StatusCode, Value)> {
    let request = daemon
        .http
        .put(daemon.url(&format!("/v1/deployments/{name}")))
        .header("content-type", kind);
    let response = request.body(body).send().await?;
    let (status, kind) = (
        response.status(),
        response.headers().get("content-type").cloned(),
    );
    let body: Value = serde_json::from_slice(&response.bytes().await?)?;
    if !status.is_success() {
        assert_eq!(
            kind.as_ref().and_then(|k| k.to_str().ok()),
            Some("application/problem+json"),
            "{body}"
        );
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
    nested.extend(std::iter::repeat_n(b'[', 400 << 10));
    let json_nested = std::iter::repeat_n(b'[', 400 << 10).collect::<Vec<u8>>();
    let cases: Vec<(&str, &str, Vec<u8>, &str, &str)> = vec![
        (
            "unknown field",
            yaml,
            spec("replcas: 2"),
            "spec.services.web.replcas",
            "did you mean \"replicas\"",
        ),
        (
            "wrong type",
            yaml,
            spec("replicas: many"),
            "spec.services.web.replicas",
            "many",
        ),
        (
            "negative",
            yaml,
            spec("replicas: -1"),
            "spec.services.web.replicas",
            "-1",
        ),
        (
            "absurd",
            yaml,
            spec("resources: {cpu: 999999}"),
            "spec.services.web.resources.cpu",
            "999999",
        ),
        ("repeated keys", yaml, repeated.to_vec(), "spec", "targets:"),
        ("nesting", yaml, nested, "", "deep"),
        (
            "nesting in json",
            "application/json",
            json_nested,
            "",
            "deep",
        ),
        (
            "not utf-8",
            yaml,
            b"apiVersion: \xff\xfe".to_vec(),
            "",
            "UTF-8",
        ),
        ("empty", yaml, Vec::new(), "", "empty"),
    ];
    for (what, kind, body, path, message) in cases {
        let (status, problem) = put(&daemon, "x", kind, body).await?;
        assert!(status.is_client_error(), "{what}: {status} {problem}");
        let problems = problem["problems"].as_array().cloned().unwrap_or_default();
        let told = |p: &Value| {
            p["path"].as_str().unwrap_or_default().starts_with(path)
                && p["message"].as_str().unwrap_or_default().contains(message)
        };
        assert!(problems.iter().any(told), "{what}: {problem:#}");
    }
    let (status, _) = put(&daemon, "x", yaml, vec![b'#'; 10 << 20])
        .await
        .unwrap_or((StatusCode::PAYLOAD_TOO_LARGE, Value::Null));
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    let (status, problem) = put(&daemon, "other", yaml, web("x", 1, "x").into_bytes()).await?;
    assert!(
        status.is_client_error() && problem.to_string().contains("metadata.name"),
        "{problem}"
    );
    assert_eq!(
        daemon.list("/v1/deployments").await?,
        Value::Array(Vec::new()),
        "nothing was stored"
    );
    daemon.put("fine", &web("fine", 1, "x")).await?;
    daemon.running("fine").await?;
    Ok(())
}

#[tokio::test]
async fn writes_are_idempotent_and_guarded_by_generation() -> Result<()> {
    let daemon = Daemon::local()?;
    let url = daemon.url("/v1/deployments/app");
    let send = |body: String, guard: Option<(&'static str, &'static str)>| {
        let mut request = daemon
            .http
            .put(&url)
            .header("content-type", "application/yaml")
            .body(body);
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
    assert_eq!(
        (
            again.status(),
            again.json::<Value>().await?["outcome"].clone()
        ),
        (StatusCode::OK, "unchanged".into())
    );
    assert_eq!(
        send(web("app", 1, "two"), Some(("if-none-match", "*")))
            .await?
            .status(),
        StatusCode::PRECONDITION_FAILED
    );
    assert_eq!(
        send(web("app", 1, "two"), Some(("if-match", "\"7\"")))
            .await?
            .status(),
        StatusCode::PRECONDITION_FAILED
    );
    assert_eq!(
        send(web("app", 1, "two"), Some(("if-match", "\"1\"")))
            .await?
            .json::<Value>()
            .await?["generation"],
        2
    );
    let seen = daemon.http.get(&url).send().await?;
    let tag = seen.headers()["etag"].to_str()?;
    ensure!(tag.starts_with("\"2-"), "{tag}");
    Ok(())
}

#[tokio::test]
async fn strangers_are_turned_away() -> Result<()> {
    let daemon = Daemon::local()?;
    for (name, value) in [
        ("host", "evil.example.com"),
        ("origin", "https://evil.example.com"),
    ] {
        let response = daemon
            .http
            .get(daemon.url("/v1/deployments"))
            .header(name, value)
            .send()
            .await?;
        assert!(
            response.status().is_client_error(),
            "{name}: {}",
            response.status()
        );
    }
    for path in [
        "/nowhere",
        "/v1/deployments/absent",
        "/v1/decisions/d-absent",
        "/v1/plugins/absent",
    ] {
        let response = daemon.http.get(daemon.url(path)).send().await?;
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
        assert_eq!(
            response
                .headers()
                .get("content-type")
                .and_then(|v| v.to_str().ok()),
            Some("application/problem+json"),
            "{path}"
        );
    }
    let refused = std::process::Command::new(binary())
        .arg("--data")
        .arg(daemon.folder.path().join("other"))
        .args(["serve", "--listen", "0.0.0.0:0"])
        .output()?;
    assert!(!refused.status.success());
    assert!(
        String::from_utf8_lossy(&refused.stderr).contains("loopback"),
        "{refused:?}"
    );
    Ok(())
}

#[tokio::test]
async fn the_story_of_a_deployment_can_be_read() -> Result<()> {
    let daemon = Daemon::local()?;
    let file = daemon.file("told.yaml", &web("told", 1, "x"))?;
    let plan = daemon.run(&["plan", "-f", &file])?;
    assert!(plan.contains("create") && plan.contains("local"), "{plan}");
    assert_eq!(
        daemon
            .cli(&["plan", "--exit-code", "-f", &file])?
            .status
            .code(),
        Some(2)
    );
    daemon.run(&["apply", "-f", &file])?;
    assert_eq!(
        daemon
            .cli(&["plan", "--exit-code", "-f", &file])?
            .status
            .code(),
        Some(0),
        "what is so needs no change"
    );

    let described = daemon.run(&["describe", "told"])?;
    for word in [
        "told",
        "web",
        "local",
        "cheapest",
        "127.0.0.1",
        "AllocationRunning",
    ] {
        assert!(
            described.contains(word),
            "{word} is missing in:\n{described}"
        );
    }
    let events: Value = serde_json::from_str(&daemon.run(&["-o", "json", "events"])?)?;
    let reasons: Vec<&str> = events["items"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|e| e["reason"].as_str())
        .collect();
    for reason in ["DeploymentCreated", "AllocationPlaced", "AllocationRunning"] {
        assert!(reasons.contains(&reason), "{reasons:?}");
    }
    let decisions = daemon.list("/v1/decisions").await?;
    assert_eq!(
        decisions[0]["policy"]["instance"], "cheapest",
        "{decisions:#}"
    );
    assert_eq!(decisions[0]["tasks"][0]["chosen"][0]["provider"], "local");
    let metrics = daemon
        .http
        .get(daemon.url("/metrics"))
        .send()
        .await?
        .text()
        .await?;
    assert!(metrics.contains("tradewind_"), "{metrics}");
    assert_eq!(daemon.cli(&["get", "absent"])?.status.code(), Some(3));
    assert_eq!(
        daemon
            .cli(&["apply", "-f", &daemon.file("bad.yaml", "kind: Nonsense")?])?
            .status
            .code(),
        Some(4)
    );
    daemon.run(&["delete", "told"])?;
    assert_eq!(daemon.cli(&["get", "told"])?.status.code(), Some(3));
    Ok(())
}

#[tokio::test]
async fn the_event_stream_resumes_where_it_broke_off() -> Result<()> {
    let daemon = Daemon::local()?;
    daemon.put("a", &web("a", 1, "x")).await?;
    daemon.running("a").await?;
    let events = daemon.list("/v1/deployments/a/events").await?;
    assert_eq!(events[0]["reason"], "DeploymentCreated", "{events:#}");
    let middle = events[0]["revision"].as_u64().unwrap_or_default();
    let mut stream = daemon.events(Some(&middle.to_string())).await?;
    let before = |e: &Value| e["reason"] == "DeploymentCreated";
    let running = stream.until("AllocationRunning", |e| {
        assert!(!before(e), "what came before is told again: {e}");
        e["reason"] == "AllocationRunning"
    });
    running.await.map(drop)
}

#[tokio::test]
async fn the_published_documents_are_there() -> Result<()> {
    let daemon = Daemon::local()?;
    let openapi = daemon.get("/openapi.json").await?;
    assert!(
        openapi["openapi"]
            .as_str()
            .unwrap_or_default()
            .starts_with("3.")
    );
    for path in [
        "/v1/deployments/{name}",
        "/v1/offers",
        "/v1/assessments",
        "/v1/decisions/{id}",
        "/v1/plugins/{name}/rollback",
        "/v1/events",
    ] {
        assert!(openapi["paths"].get(path).is_some(), "{path} is missing");
    }
    let schema = daemon.get("/v1/schema/manifest").await?;
    assert!(schema["properties"]["spec"].is_object(), "{schema:#}");
    assert_eq!(
        serde_json::from_str::<Value>(&daemon.run(&["schema"])?)?,
        schema
    );
    for path in ["/healthz", "/readyz"] {
        assert!(
            daemon
                .http
                .get(daemon.url(path))
                .send()
                .await?
                .status()
                .is_success(),
            "{path}"
        );
    }
    Ok(())
}

/// A service of the simulated cloud; the metadata beside its name as they are given.
fn sim(name: &str, more: &str) -> String {
    format!(
        "{{apiVersion: tradewind.dev/v1, kind: CloudDeployment, metadata: {{name: {name}{more}}}, spec: {{services: {{w: {{command: [serve]}}}}}}}}"
    )
}

fn simulated() -> Result<Daemon> {
    let cloud = "component = \"simulated.wasm\"\n[settings.regions.r.sizes.s]\ncpu = 4\nmemory = \"16Gi\"\nprice = \"0.10\"\n";
    // Arguments that are too many for a kernel make a large manifest.
    Daemon::configured(
        &["cheapest", "simulated"],
        &[("cloud", cloud)],
        "[api]\nmax-manifest = \"4Mi\"\n",
    )
}

fn told(output: &std::process::Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

#[tokio::test]
async fn a_manifest_goes_into_the_namespace_that_is_asked_for() -> Result<()> {
    let daemon = simulated()?;
    let yaml = |method: reqwest::Method, path: &str, body: String| {
        let request = daemon
            .http
            .request(method, daemon.url(path))
            .header("content-type", "application/yaml")
            .body(body);
        async move {
            let response = request.send().await?;
            let status = response.status();
            anyhow::Ok((status, response.json::<Value>().await?))
        }
    };
    let routes = [
        (reqwest::Method::PUT, "/v1/deployments/web"),
        (reqwest::Method::POST, "/v1/deployments/web/plan"),
        (reqwest::Method::POST, "/v1/plans"),
        (reqwest::Method::POST, "/v1/assessments"),
    ];
    for (method, path) in routes {
        let (status, answer) = yaml(
            method.clone(),
            &format!("{path}?namespace=team"),
            sim("web", ", namespace: default"),
        )
        .await?;
        assert_eq!(
            status,
            StatusCode::UNPROCESSABLE_ENTITY,
            "{path}: {answer:#}"
        );
        let problem = &answer["problems"][0];
        assert_eq!(problem["path"], "metadata.namespace", "{path}");
        assert!(
            ["\"default\"", "\"team\""]
                .iter()
                .all(|name| problem["message"]
                    .to_string()
                    .replace('\\', "")
                    .contains(name)),
            "{problem}"
        );
        let (status, answer) = yaml(
            method.clone(),
            &format!("{path}?namespace=team"),
            sim("web", ""),
        )
        .await?;
        assert!(status.is_success(), "{path}: {answer:#}");
        if path != "/v1/assessments" {
            assert_eq!(answer["namespace"], "team", "{path}: {answer:#}");
        }
        let (status, answer) =
            yaml(method, &format!("{path}?namspace=team"), sim("web", "")).await?;
        assert!(
            status == StatusCode::BAD_REQUEST && answer["detail"].to_string().contains("namspace"),
            "{path}: {answer:#}"
        );
    }
    // Those without any parameter refuse strangers as well.
    let (status, _) = yaml(
        reqwest::Method::PUT,
        "/v1/namespaces/x?namespace=y",
        "{}".to_owned(),
    )
    .await?;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(
        daemon.list("/v1/deployments?namespace=default").await?,
        Value::Array(Vec::new())
    );

    let plain = daemon.file("plain.yaml", &sim("shop", ""))?;
    let blue = daemon.file("blue.yaml", &sim("shop", ", namespace: blue"))?;
    daemon.run(&["-n", "red", "apply", "-f", &plain])?;
    assert_eq!(
        daemon.get("/v1/deployments/shop?namespace=red").await?["namespace"],
        "red"
    );
    assert!(
        daemon
            .run(&["-n", "red", "plan", "-f", &plain, "--exit-code"])
            .is_ok(),
        "nothing would change there"
    );
    let stored: Value = serde_json::from_str(&daemon.run(&[
        "-n", "red", "-o", "json", "plan", "-f", &plain, "--out", "p",
    ])?)?;
    assert_eq!(stored["namespace"], "red", "{stored:#}");
    for command in [
        &["apply"][..],
        &["plan"],
        &["plan", "--out", "q"],
        &["assess"],
    ] {
        let (code, _, err) =
            told(&daemon.cli(&[&["-n", "red"], command, &["-f", &blue]].concat())?);
        assert!(
            code == Some(4) && err.contains("\"blue\"") && err.contains("\"red\""),
            "{command:?}: {code:?}: {err}"
        );
    }
    daemon.run(&["-n", "blue", "apply", "-f", &blue])?;
    for namespace in ["red", "blue"] {
        let decisions: Value =
            serde_json::from_str(&daemon.run(&["-n", namespace, "-o", "json", "decisions"])?)?;
        let tasks = || {
            decisions["items"]
                .as_array()
                .into_iter()
                .flatten()
                .flat_map(|d| d["tasks"].as_array().into_iter().flatten())
        };
        assert!(
            tasks().count() > 0 && tasks().all(|t| t["namespace"] == namespace),
            "{decisions:#}"
        );
    }
    let limits = daemon.file(
        "limits.yaml",
        "{apiVersion: tradewind.dev/v1, kind: Namespace, metadata: {name: blue}}",
    )?;
    let (code, _, err) = told(&daemon.cli(&["-n", "red", "namespace", "set", "-f", &limits])?);
    assert!(
        code == Some(64) && err.contains("blue") && err.contains("red"),
        "{err}"
    );
    Ok(())
}

#[tokio::test]
async fn several_files_are_checked_before_the_first_is_written() -> Result<()> {
    let daemon = simulated()?;
    let file = |name: &str| daemon.file(&format!("{name}.yaml"), &sim(name, ""));
    let (a, b) = (file("good-a")?, file("good-b")?);
    let bad = daemon.file("bad.yaml", &sim("bad", "").replace("command", "comand"))?;
    let all = ["-f", &a, "-f", &bad, "-f", &b];
    for command in ["apply", "plan", "assess"] {
        let (code, out, err) = told(&daemon.cli(&[&[command][..], &all].concat())?);
        assert_eq!(code, Some(4), "{command}: {out}{err}");
        assert!(
            err.contains("bad.yaml") && err.contains("did you mean \"command\""),
            "{command}: {err}"
        );
        let lines: Vec<&str> = out.lines().collect();
        assert_eq!(lines.len(), 3, "{command}: {out}");
        assert!(
            lines[0].contains("good-a.yaml")
                && lines[1].contains("bad.yaml: refused")
                && lines[2].contains("good-b.yaml"),
            "{out}"
        );
        let (code, out, _) = told(&daemon.cli(&[&["-o", "json", command][..], &all].concat())?);
        let sheet: Value = serde_json::from_str(&out)?;
        let outcomes: Vec<&str> = sheet["files"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|f| f["outcome"].as_str())
            .collect();
        let rest = match command {
            "apply" => "not-tried",
            "plan" => "planned",
            _ => "assessed",
        };
        assert_eq!(
            (code, outcomes),
            (Some(4), vec![rest, "refused", rest]),
            "{sheet:#}"
        );
        assert!(
            sheet["files"][1]["error"]["problems"][0]["path"]
                .as_str()
                .is_some_and(|p| p.contains("comand")),
            "{sheet:#}"
        );
    }
    assert_eq!(
        daemon.list("/v1/deployments").await?,
        Value::Array(Vec::new()),
        "nothing was written"
    );

    let missing = daemon
        .folder
        .path()
        .join("missing.yaml")
        .display()
        .to_string();
    let (code, out, err) = told(&daemon.cli(&["apply", "-f", &a, "-f", &missing])?);
    assert!(
        code == Some(1)
            && out.contains("good-a.yaml: not tried")
            && out.contains("missing.yaml: unreadable"),
        "{code:?}: {out}{err}"
    );
    let (code, _, err) = told(&daemon.cli(&["apply", "-f", &a, "-f", &a])?);
    assert!(
        code == Some(64) && err.contains("already"),
        "twice the same: {err}"
    );
    let (code, out, err) = told(&daemon.cli(&["plan", "--out", "two", "-f", &a, "-f", &b])?);
    assert!(
        code == Some(64) && err.contains("one manifest"),
        "{out}{err}"
    );
    let (code, out, err) = told(&daemon.cli(&["plan", "--out", "-f", &a, "-f", &bad])?);
    assert!(
        code == Some(4) && out.contains("bad.yaml: refused"),
        "{out}{err}"
    );
    assert_eq!(
        daemon.list("/v1/plans").await?,
        Value::Array(Vec::new()),
        "no plan was stored"
    );

    let limits = |name: &str, more: &str| {
        let text = format!(
            "{{apiVersion: tradewind.dev/v1, kind: Namespace, metadata: {{name: {name}}}, spec: {{{more}}}}}"
        );
        daemon.file(&format!("ns-{name}.yaml"), &text)
    };
    let (one, two) = (
        limits("default", "quota: {deployments: 1}")?,
        limits("other", "quota: {deplyments: 1}")?,
    );
    let (code, out, err) = told(&daemon.cli(&["namespace", "set", "-f", &one, "-f", &two])?);
    assert!(
        code == Some(4)
            && out.contains("ns-default.yaml: default not tried")
            && out.contains("ns-other.yaml: refused"),
        "{out}{err}"
    );
    assert_eq!(
        daemon.list("/v1/namespaces").await?,
        Value::Array(Vec::new()),
        "nothing was set"
    );
    daemon.run(&["namespace", "set", "-f", &one])?;

    // What is over the quota waits: each file has its line when the time is over.
    let c = file("good-c")?;
    let (code, out, err) =
        told(&daemon.cli(&["apply", "-f", &a, "-f", &b, "-f", &c, "--timeout", "3s"])?);
    assert_eq!(code, Some(7), "{out}{err}");
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines.len(), 3, "{out}");
    assert!(
        lines[0].contains("default/good-a created (generation 1), running"),
        "{out}"
    );
    for line in &lines[1..] {
        assert!(
            line.contains("created (generation 1)") && line.contains("is not running after 3s"),
            "{out}"
        );
    }
    Ok(())
}

/// The limits are the kernel's, on every provider alike.
#[tokio::test]
async fn an_environment_that_is_too_large_is_refused_with_its_field_and_size() -> Result<()> {
    let daemon = simulated()?;
    let with = |more: String| sim("x", "").replace("command: [serve]", &more);
    let large = "x".repeat(140_000);
    let many: Vec<String> = (0..30)
        .map(|i| format!("\"{i}{}\"", "x".repeat(40_000)))
        .collect();
    let cases = [
        (
            format!("command: [serve], env: {{SMALL: a, BIG: {large}}}"),
            "spec.services.w.env.BIG",
            "140004 bytes",
        ),
        (
            format!("command: [serve, {large}]"),
            "spec.services.w.command[1]",
            "140000 bytes",
        ),
        (
            format!("command: [serve, {}]", many.join(", ")),
            "spec.services.w",
            "1200",
        ),
        (
            format!("command: [serve], health: {{command: [check, {large}]}}"),
            "spec.services.w.health.command[1]",
            "140000 bytes",
        ),
    ];
    for (more, path, size) in cases {
        for (method, route) in [
            (reqwest::Method::PUT, "/v1/deployments/x"),
            (reqwest::Method::POST, "/v1/deployments/x/plan"),
        ] {
            let request = daemon
                .http
                .request(method, daemon.url(route))
                .header("content-type", "application/yaml");
            let response = request.body(with(more.clone())).send().await?;
            assert_eq!(
                response.status(),
                StatusCode::UNPROCESSABLE_ENTITY,
                "{path}"
            );
            let problem = &response.json::<Value>().await?["problems"][0];
            assert_eq!(problem["path"], path, "{problem}");
            assert!(
                problem["message"]
                    .as_str()
                    .is_some_and(|m| m.contains(size)),
                "{problem}"
            );
        }
    }
    daemon
        .put(
            "x",
            &with(format!(
                "command: [serve], env: {{BIG: {}}}",
                "x".repeat(131_067)
            )),
        )
        .await?;
    Ok(())
}
