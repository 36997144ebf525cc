//! Who may do what: every route of the document, tokens through the command line, limits, and what must not be found anywhere.

use std::{
    collections::HashMap,
    io::{Read, Write},
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use reqwest::{Client, Method, Response, StatusCode};
use serde_json::{Value, json};
use tradewind_kit::{Daemon, PATIENCE, binary, client, eventually_blocking, web};

const ROLES: [&str; 4] = ["viewer", "operator", "approver", "admin"];

async fn create(daemon: &Daemon, request: Value) -> Result<String> {
    let response = daemon
        .http
        .post(daemon.url("/v1/tokens"))
        .json(&request)
        .send()
        .await?;
    let (status, body) = (response.status(), response.text().await?);
    ensure!(status == StatusCode::CREATED, "{request}: {status}: {body}");
    Ok(serde_json::from_str::<Value>(&body)?["secret"]
        .as_str()
        .context("no secret")?
        .to_owned())
}

async fn token(daemon: &Daemon, name: &str, role: &str, namespace: &str) -> Result<Client> {
    client(Some(
        &create(
            daemon,
            json!({"name": name, "role": role, "namespaces": [namespace]}),
        )
        .await?,
    ))
}

fn includes(held: &str, needed: &str) -> bool {
    held == needed || held == "admin" || needed == "viewer"
}

/// One operation of the document, to be tried with tokens.
struct Operation {
    method: Method,
    url: String,
    role: String,
    namespace: String,
    filters: bool,
}

impl Operation {
    /// Refusals are answered at a bounded pace: who is told to wait, waits.
    async fn send(&self, http: &Client, query: &str) -> Result<Response> {
        let since = Instant::now();
        loop {
            let mut request = http.request(self.method.clone(), format!("{}{query}", self.url));
            if self.namespace == "manifest" {
                request = request
                    .header("content-type", "application/yaml")
                    .body(web("absent", 1, "x"));
            } else if self.method == Method::POST {
                request = request.json(&json!({}));
            }
            let response = request.send().await?;
            if response.status() != StatusCode::TOO_MANY_REQUESTS || since.elapsed() > PATIENCE {
                return Ok(response);
            }
            let wait = response.headers()["retry-after"].to_str()?.parse()?;
            // The daemon has said how long.
            tokio::time::sleep(Duration::from_secs(wait)).await;
        }
    }

    async fn expect(&self, http: &Client, query: &str, wanted: u16, why: &str) -> Result<()> {
        let response = self.send(http, query).await?;
        let status = response.status();
        let challenge = response.headers().contains_key("www-authenticate");
        ensure!(
            status == wanted,
            "{} {}{query} with {why}: {status}: {}",
            self.method,
            self.url,
            response.text().await?
        );
        ensure!(
            challenge == (wanted == 401),
            "{} {}: {challenge}",
            self.method,
            self.url
        );
        Ok(())
    }
}

fn operations(daemon: &Daemon, document: &Value) -> Result<Vec<Operation>> {
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().context("no paths")? {
        for (method, operation) in item.as_object().context("no operations")? {
            let text = |name: &str| operation[name].as_str().unwrap_or_default().to_owned();
            let role = text("x-tradewind-role");
            ensure!(
                role == "none" || ROLES.contains(&role.as_str()),
                "{method} {path} does not say who may: \"{role}\""
            );
            let parts = path.split('/').map(|part| match part {
                "{namespace}" => "default",
                "{id}" => "d-absent",
                "{kind}" => "conflict",
                part if part.starts_with('{') => "absent",
                part => part,
            });
            let url = daemon.url(&parts.collect::<Vec<_>>().join("/"));
            let filters = operation["parameters"]
                .as_array()
                .into_iter()
                .flatten()
                .any(|p| p["name"] == "namespace");
            all.push(Operation {
                method: method.to_uppercase().parse()?,
                url,
                role,
                namespace: text("x-tradewind-namespace"),
                filters,
            });
        }
    }
    Ok(all)
}

/// Every operation of the document: with nothing, with what is no token, with one that has ended, with one that may not, with one that may.
#[tokio::test]
async fn every_route_refuses_who_may_not() -> Result<()> {
    // By default it takes an admin to send a component, whatever the route takes.
    let daemon = Daemon::configured(&[], &[], "[api]\nuploads = \"operator\"\n")?;
    let expired = create(
        &daemon,
        json!({"name": "short", "role": "admin", "namespaces": ["*"], "expiresIn": "1ms"}),
    )
    .await?;
    let revoked = create(
        &daemon,
        json!({"name": "gone", "role": "admin", "namespaces": ["*"]}),
    )
    .await?;
    daemon.run(&["token", "revoke", "gone"])?;
    let nobody = client(None)?;
    let strangers = [
        ("no token", nobody.clone()),
        (
            "no token of ours",
            client(Some("tw_0000000000000000000000000000000000000000000000000"))?,
        ),
        ("an expired token", client(Some(&expired))?),
        ("a revoked token", client(Some(&revoked))?),
    ];
    let (mut whole, mut bound) = (HashMap::new(), HashMap::new());
    for role in ROLES {
        whole.insert(
            role,
            token(&daemon, &format!("whole-{role}"), role, "*").await?,
        );
        bound.insert(
            role,
            token(&daemon, &format!("bound-{role}"), role, "elsewhere").await?,
        );
    }
    let document: Value = nobody
        .get(daemon.url("/openapi.json"))
        .send()
        .await?
        .json()
        .await?;
    for operation in operations(&daemon, &document)? {
        if operation.role == "none" {
            let status = operation.send(&nobody, "").await?.status();
            ensure!(
                status.is_success(),
                "{} without a token: {status}",
                operation.url
            );
            continue;
        }
        for (why, http) in &strangers {
            operation.expect(http, "", 401, why).await?;
        }
        for role in ROLES.iter().filter(|held| !includes(held, &operation.role)) {
            operation.expect(&whole[role], "", 403, role).await?;
        }
        let elsewhere = &bound[operation.role.as_str()];
        match operation.namespace.as_str() {
            "any" => {}
            "filtered" if !operation.filters => {}
            "filtered" => {
                operation
                    .expect(elsewhere, "?namespace=default", 403, "another namespace")
                    .await?
            }
            _ => {
                operation
                    .expect(elsewhere, "", 403, "another namespace")
                    .await?
            }
        }
        for role in ROLES.iter().filter(|held| includes(held, &operation.role)) {
            let status = operation.send(&whole[role], "").await?.status();
            let let_in = status != StatusCode::UNAUTHORIZED
                && status != StatusCode::FORBIDDEN
                && status != StatusCode::INTERNAL_SERVER_ERROR;
            ensure!(
                let_in,
                "{} {} as {role}: {status}",
                operation.method,
                operation.url
            );
        }
    }
    Ok(())
}

/// What a token does not reach is neither shown nor counted, whether it is there or not.
#[tokio::test]
async fn a_token_sees_its_namespaces_alone() -> Result<()> {
    let daemon = Daemon::local()?;
    let mut theirs = web("theirs", 1, "x");
    theirs = theirs.replace("{name: theirs}", "{name: theirs, namespace: team}");
    daemon.put("ours", &web("ours", 1, "x")).await?;
    daemon.put("theirs", &theirs).await?;
    daemon.running("ours").await?;
    let team = token(&daemon, "team", "viewer", "team").await?;
    let get = async |path: &str| -> Result<(StatusCode, Value)> {
        let response = team.get(daemon.url(path)).send().await?;
        Ok((response.status(), response.json().await?))
    };
    daemon
        .until_at("/v1/deployments/theirs?namespace=team", "running", |d| {
            d["status"] == "running"
        })
        .await?;
    let (_, list) = get("/v1/deployments").await?;
    let names: Vec<_> = list["items"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|d| d["name"].as_str())
        .collect();
    assert_eq!(names, [Some("theirs")]);
    let (_, events) = get("/v1/events").await?;
    assert!(
        events["items"]
            .as_array()
            .is_some_and(|e| !e.is_empty() && e.iter().all(|e| e["namespace"] == "team")),
        "{events:#}"
    );
    let (_, decisions) = get("/v1/decisions").await?;
    assert!(
        decisions["items"][0]["tasks"][0]["namespace"] == "team"
            && !decisions.to_string().contains("ours"),
        "{decisions:#}"
    );
    for path in [
        "/v1/deployments/ours",
        "/v1/deployments/absent",
        "/v1/deployments/ours/logs",
        "/v1/events?namespace=default",
    ] {
        assert_eq!(get(path).await?.0, StatusCode::FORBIDDEN, "{path}");
    }
    Ok(())
}

/// A stream must not outlive its token.
#[tokio::test]
async fn revoking_a_token_ends_what_it_has_opened() -> Result<()> {
    let daemon = Daemon::start(&[], &[])?;
    for (name, expires) in [("revoked", None), ("expiring", Some("2s"))] {
        let secret = create(
            &daemon,
            json!({"name": name, "role": "viewer", "namespaces": ["*"], "expiresIn": expires}),
        )
        .await?;
        let http = client(Some(&secret))?;
        let mut stream = http
            .get(daemon.url("/v1/events?follow=true"))
            .send()
            .await?
            .error_for_status()?;
        let ended = tokio::spawn(async move {
            while stream.chunk().await?.is_some() {}
            anyhow::Ok(())
        });
        if expires.is_none() {
            daemon.run(&["token", "revoke", name])?;
        }
        tokio::time::timeout(PATIENCE, ended)
            .await
            .context("the stream goes on")???;
        assert_eq!(
            http.get(daemon.url("/v1/whoami")).send().await?.status(),
            StatusCode::UNAUTHORIZED
        );
    }
    Ok(())
}

/// As people use it: a token for somebody else, and what that one can't do with it.
#[tokio::test]
async fn tokens_are_handed_out_by_the_command_line() -> Result<()> {
    let daemon = Daemon::start(&[], &[])?;
    let secret = daemon
        .run(&[
            "token",
            "create",
            "ci",
            "--role",
            "operator",
            "-n",
            "team",
            "--expires",
            "30d",
        ])?
        .trim()
        .to_owned();
    let as_ci = |arguments: &[&str]| {
        let mut command = Command::new(binary());
        command
            .args(["--server", &daemon.address])
            .args(arguments)
            .env("TRADEWIND_TOKEN", &secret);
        command
            .env("TRADEWIND_CONFIG", daemon.folder.path().join("config.toml"))
            .output()
    };
    let who = as_ci(&["whoami"])?;
    assert!(
        String::from_utf8_lossy(&who.stdout).starts_with("token:ci: operator of team"),
        "{who:?}"
    );
    let job = "apiVersion: tradewind.dev/v1\nkind: CloudDeployment\nmetadata: {name: j, namespace: team}\nspec: {jobs: {j: {command: [a]}}}\n";
    let file = daemon.file("j.yaml", job)?;
    assert!(as_ci(&["apply", "--detach", "-f", &file])?.status.success());
    let events = daemon.list("/v1/events?namespace=team").await?;
    assert_eq!(
        (&events[0]["reason"], &events[0]["actor"]),
        (&json!("DeploymentCreated"), &json!("token:ci")),
        "{events:#}"
    );
    assert!(
        as_ci(&["delete", "j", "-n", "team", "--detach"])?
            .status
            .success()
    );
    for refused in [&["token", "list"][..], &["plugin", "reload"], &["get", "j"]] {
        assert_eq!(as_ci(refused)?.status.code(), Some(8), "{refused:?}");
    }
    // The last one that may do everything stays, and nobody hands out more than they hold.
    assert_eq!(
        daemon.cli(&["token", "revoke", "admin"])?.status.code(),
        Some(5)
    );
    let lead = token(&daemon, "lead", "admin", "team").await?;
    for beyond in [json!(["*"]), json!(["default"]), json!(["team", "default"])] {
        let request = json!({"name": "more", "role": "viewer", "namespaces": beyond});
        assert_eq!(
            lead.post(daemon.url("/v1/tokens"))
                .json(&request)
                .send()
                .await?
                .status(),
            StatusCode::FORBIDDEN,
            "{beyond}"
        );
    }
    assert_eq!(
        lead.delete(daemon.url("/v1/tokens/admin"))
            .send()
            .await?
            .status(),
        StatusCode::NOT_FOUND
    );
    let listed: Value = lead
        .get(daemon.url("/v1/tokens"))
        .send()
        .await?
        .json()
        .await?;
    let names: Vec<_> = listed["items"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|t| t["name"].as_str())
        .collect();
    assert_eq!(names, [Some("ci"), Some("lead")]);
    daemon.run(&["token", "revoke", "ci"])?;
    assert_eq!(as_ci(&["whoami"])?.status.code(), Some(8));
    Ok(())
}

/// Tokens lie nowhere but with their holders, and go nowhere but to their daemon.
#[tokio::test]
async fn tokens_are_kept_secret() -> Result<()> {
    let mut daemon = Daemon::start(&[], &[])?;
    let (first, file) = (daemon.admin_token()?, daemon.data().join("admin.token"));
    assert_eq!(
        std::fs::metadata(&file)?.permissions().mode() & 0o777,
        0o600
    );
    let other = create(
        &daemon,
        json!({"name": "other", "role": "viewer", "namespaces": ["*"]}),
    )
    .await?;
    daemon.list("/v1/tokens").await?;
    let log = daemon.log();
    assert!(!log.contains(&first) && !log.contains(&other));

    // Something else listens where the command line is sent.
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let stranger = format!("http://{}", listener.local_addr()?);
    let heard = std::thread::spawn(move || -> Result<String> {
        let (mut socket, _) = listener.accept()?;
        let mut head = [0; 4096];
        let read = socket.read(&mut head)?;
        socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n[]")?;
        Ok(String::from_utf8_lossy(&head[..read]).into_owned())
    });
    Command::new(binary())
        .arg("--data")
        .arg(daemon.data())
        .args(["--server", &stranger, "get"])
        .env_remove("TRADEWIND_TOKEN")
        .output()?;
    let heard = heard.join().expect("the listener")?.to_lowercase();
    assert!(
        heard.starts_with("get /v1/deployments") && !heard.contains("authorization"),
        "{heard}"
    );

    // Made anew while the daemon is stopped: the old one ends.
    let reset = || {
        Command::new(binary())
            .arg("--data")
            .arg(daemon.data())
            .args(["token", "reset-admin"])
            .output()
    };
    let refused = reset()?;
    assert!(
        !refused.status.success()
            && String::from_utf8_lossy(&refused.stderr).contains("stop the daemon"),
        "{refused:?}"
    );
    daemon.kill()?;
    let done = Command::new(binary())
        .arg("--data")
        .arg(daemon.data())
        .args(["token", "reset-admin"])
        .output()?;
    assert!(done.status.success(), "{done:?}");
    for entry in std::fs::read_dir(daemon.data())?
        .flatten()
        .filter(|e| e.path().is_file() && e.path() != file)
    {
        let bytes = std::fs::read(entry.path())?;
        for secret in [&first, &other] {
            assert!(
                !bytes.windows(secret.len()).any(|w| w == secret.as_bytes()),
                "{} holds a token",
                entry.path().display()
            );
        }
    }
    daemon.launch()?;
    assert_ne!(daemon.admin_token()?, first);
    assert_eq!(
        client(Some(&first))?
            .get(daemon.url("/v1/whoami"))
            .send()
            .await?
            .status(),
        StatusCode::UNAUTHORIZED
    );
    daemon.get("/v1/whoami").await?;
    Ok(())
}

#[tokio::test]
async fn who_asks_too_often_is_told_to_wait() -> Result<()> {
    let mut daemon = Daemon::start(&[], &[])?;
    daemon.kill()?;
    daemon.file("config.toml", "[api]\nrate = 1\nburst = 5\n")?;
    daemon.launch()?;
    let viewer = token(&daemon, "viewer", "viewer", "*").await?;
    let hammer = async |http: &Client, times: usize| -> Result<Vec<(u16, bool)>> {
        let mut seen = Vec::new();
        for _ in 0..times {
            let response = http.get(daemon.url("/v1/whoami")).send().await?;
            seen.push((
                response.status().as_u16(),
                response.headers().contains_key("retry-after"),
            ));
        }
        Ok(seen)
    };
    let seen = hammer(&viewer, 20).await?;
    assert_eq!(seen.first(), Some(&(200, false)));
    assert!(seen.contains(&(429, true)), "{seen:?}");
    // One token's share is not another's, and refusals have a share of their own.
    assert_eq!(
        token(&daemon, "calm", "viewer", "*")
            .await?
            .get(daemon.url("/v1/whoami"))
            .send()
            .await?
            .status(),
        StatusCode::OK
    );
    let refused = hammer(&client(None)?, 300).await?;
    assert_eq!(refused.first(), Some(&(401, false)));
    assert!(refused.contains(&(429, true)));
    daemon.file("config.toml", "")?;
    Ok(())
}

/// A certificate of the daemon's own, pinned by the command line; another takes its place while it runs.
#[tokio::test]
async fn other_addresses_are_served_over_tls() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let config = folder.path().join("config.toml");
    std::fs::write(&config, "[tls]\nself-signed = true\n")?;
    let tradewind = |arguments: &[&str]| {
        let mut command = Command::new(binary());
        command
            .arg("--data")
            .arg(&data)
            .args(arguments)
            .env("TRADEWIND_CONFIG", &config)
            .env_remove("TRADEWIND_TOKEN");
        command.env("TRADEWIND_PLUGINS", folder.path().join("plugins"));
        command
    };
    let mut server = tradewind(&["serve", "--listen", "0.0.0.0:0"])
        .stderr(std::process::Stdio::null())
        .spawn()?;
    let result = tls_story(&data, &tradewind);
    server.kill()?;
    server.wait()?;
    result
}

fn tls_story(data: &std::path::Path, tradewind: &dyn Fn(&[&str]) -> Command) -> Result<()> {
    let told = || -> Option<Value> {
        serde_json::from_slice(&std::fs::read(data.join("daemon.json")).ok()?).ok()
    };
    let first = eventually_blocking("it is ready", || Ok(told()))?;
    let (address, fingerprint) = (
        first["address"].as_str().unwrap_or_default(),
        first["fingerprint"].as_str().unwrap_or_default(),
    );
    assert!(address.starts_with("https://127.0.0.1:"), "{first}");
    assert_eq!(
        std::fs::metadata(data.join("tls/key.pem"))?
            .permissions()
            .mode()
            & 0o777,
        0o600
    );
    let who = tradewind(&["whoami"]).output()?;
    assert!(who.status.success(), "{who:?}");
    // From elsewhere, with what was handed over: the token and the fingerprint.
    let other = tempfile::tempdir()?;
    let token = data.join("admin.token");
    let from_elsewhere = |fingerprint: &str| {
        let mut command = Command::new(binary());
        command
            .arg("--data")
            .arg(other.path())
            .args(["--server", address, "--fingerprint", fingerprint])
            .arg("--token-file")
            .arg(&token);
        command.arg("whoami").output()
    };
    assert!(from_elsewhere(fingerprint)?.status.success());
    let names_the_way = |output: &std::process::Output| {
        let said = String::from_utf8_lossy(&output.stderr);
        let ways = ["--fingerprint", "--ca"];
        ways.iter().all(|way| said.contains(way)) && !said.contains("tradewind serve")
    };
    let wrong = from_elsewhere(&format!("sha256:{}", "0".repeat(64)))?;
    assert_eq!(wrong.status.code(), Some(6));
    assert!(names_the_way(&wrong), "{wrong:?}");
    let unknown = Command::new(binary())
        .arg("--data")
        .arg(other.path())
        .args(["--server", address, "get"])
        .output()?;
    assert_eq!(
        unknown.status.code(),
        Some(6),
        "nobody vouches for it: {unknown:?}"
    );
    assert!(names_the_way(&unknown), "{unknown:?}");
    let by_authority = Command::new(binary())
        .arg("--data")
        .arg(other.path())
        .args(["--server", address, "whoami", "--ca"])
        .arg(data.join("tls/certificate.pem"))
        .arg("--token-file")
        .arg(&token)
        .output()?;
    assert!(by_authority.status.success(), "{by_authority:?}");

    // Another certificate takes its place; files that do not belong together do not.
    let second = tempfile::tempdir()?;
    let key = data.join("tls/key.pem");
    std::fs::write(
        second.path().join("config.toml"),
        "[tls]\nself-signed = true\n",
    )?;
    let mut maker = Command::new(binary())
        .arg("--data")
        .arg(second.path().join("data"))
        .args(["serve", "--listen", "127.0.0.1:0"])
        .env("TRADEWIND_CONFIG", second.path().join("config.toml"))
        .env("TRADEWIND_PLUGINS", second.path().join("plugins"))
        .stderr(std::process::Stdio::null())
        .spawn()?;
    let ready = second.path().join("data/daemon.json");
    let made = eventually_blocking("the other one is ready", || Ok(ready.exists()));
    maker.kill()?;
    maker.wait()?;
    made?;
    let replace = |from: &str, to: &std::path::Path| -> Result<()> {
        std::fs::copy(
            second.path().join("data/tls").join(from),
            data.join("tls/next"),
        )?;
        Ok(std::fs::rename(data.join("tls/next"), to)?)
    };
    replace("certificate.pem", &data.join("tls/certificate.pem"))?;
    assert!(
        tradewind(&["whoami"]).output()?.status.success(),
        "the one before stays in force"
    );
    replace("key.pem", &key)?;
    eventually_blocking("the new certificate is told of", || {
        Ok(told().is_some_and(|t| t["fingerprint"] != first["fingerprint"]))
    })?;
    assert!(tradewind(&["whoami"]).output()?.status.success());
    assert_eq!(
        from_elsewhere(fingerprint)?.status.code(),
        Some(6),
        "the old one is not shown any more"
    );
    Ok(())
}
