//! Connections that are held, crowds of them, and requests that are none: nobody else is kept waiting, and the controller goes on.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    path::Path,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use reqwest::{Client, Response, StatusCode};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, pki_types::CertificateDer,
};
use serde_json::{Value, json};
use tradewind_kit::{Daemon, LOCAL, PATIENCE, Signal, client, pids, signal_group, web};

/// A daemon with these settings of its API.
fn daemon(api: &str) -> Result<Daemon> {
    with_settings(&format!("[api]\n{api}"))
}

fn with_settings(settings: &str) -> Result<Daemon> {
    Daemon::configured(&["cheapest", "process"], &[("local", LOCAL)], settings)
}

fn connect(daemon: &Daemon) -> Result<TcpStream> {
    let (_, address) = daemon.address.split_once("//").context("no address")?;
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn send(daemon: &Daemon, text: &str) -> Result<TcpStream> {
    let mut stream = connect(daemon)?;
    stream.write_all(text.as_bytes())?;
    Ok(stream)
}

/// What comes until the connection ends.
fn rest(stream: &mut impl Read) -> Result<String> {
    let mut all = Vec::new();
    match stream.read_to_end(&mut all) {
        Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            anyhow::bail!("the connection is still open after {PATIENCE:?}")
        }
        // A reset ends it, too.
        _ => Ok(String::from_utf8_lossy(&all).into_owned()),
    }
}

/// The one answer to a request that closes its connection.
fn answer(daemon: &Daemon, request: &str) -> Result<String> {
    rest(&mut send(daemon, request)?)
}

async fn token(daemon: &Daemon, name: &str, namespace: &str) -> Result<String> {
    let request = json!({"name": name, "role": "viewer", "namespaces": [namespace]});
    let response = daemon
        .http
        .post(daemon.url("/v1/tokens"))
        .json(&request)
        .send()
        .await?;
    ensure!(
        response.status() == StatusCode::CREATED,
        "{}",
        response.text().await?
    );
    Ok(response.json::<Value>().await?["secret"]
        .as_str()
        .context("no secret")?
        .to_owned())
}

async fn follow(daemon: &Daemon, http: &Client) -> Result<Response> {
    let asked = http
        .get(daemon.url("/v1/events"))
        .header("accept", "text/event-stream")
        .send();
    Ok(tokio::time::timeout(PATIENCE, asked)
        .await
        .context("no answer")??)
}

async fn whoami(daemon: &Daemon) -> Result<StatusCode> {
    let asked = daemon.http.get(daemon.url("/v1/whoami")).send();
    Ok(tokio::time::timeout(PATIENCE, asked)
        .await
        .context("no answer")??
        .status())
}

/// Sockets that the daemon has open.
fn sockets(daemon: &Daemon) -> usize {
    let folder = format!("/proc/{}/fd", daemon.pid().unwrap_or_default());
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter(|e| {
            std::fs::read_link(e.path()).is_ok_and(|to| to.to_string_lossy().starts_with("socket:"))
        })
        .count()
}

/// Whether the daemon has its end of this connection open: the system's table names its owner.
fn is_held(daemon: &Daemon, stream: &TcpStream) -> bool {
    let ends = stream
        .peer_addr()
        .and_then(|daemons| Ok((daemons.port(), stream.local_addr()?.port())));
    let table = std::fs::read_to_string(format!(
        "/proc/{}/net/tcp",
        daemon.pid().unwrap_or_default()
    ))
    .unwrap_or_default();
    let line = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let port = |end: &str| {
            end.rsplit_once(':')
                .and_then(|(_, port)| u16::from_str_radix(port, 16).ok())
        };
        let found = port(fields.get(1)?)? == ends.as_ref().ok()?.0
            && port(fields.get(2)?)? == ends.as_ref().ok()?.1;
        // What nobody owns any more has no inode.
        (found && *fields.get(9)? != "0").then_some(())
    };
    table.lines().any(|l| line(l).is_some())
}

#[tokio::test]
async fn clients_that_let_a_connection_wait_lose_it() -> Result<()> {
    let daemon =
        daemon("header-timeout = \"500ms\"\nidle-timeout = \"6s\"\nwrite-timeout = \"500ms\"\n")?;
    let spec = "jobs: {j: {command: [sh, -c, \"yes $(printf %01000d 7) | head -n 9000\"]}}";
    daemon
        .put("loud", &format!("apiVersion: tradewind.dev/v1\nkind: CloudDeployment\nmetadata: {{name: loud}}\nspec:\n  {spec}\n"))
        .await?;
    daemon
        .until("loud", "completed", |d| d["status"] == "completed")
        .await?;

    // Nothing, half a head, and a head that comes in drops.
    assert_eq!(rest(&mut connect(&daemon)?)?, "");
    assert_eq!(
        answer(&daemon, "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n")?,
        ""
    );
    let mut drops = send(&daemon, "GET /healthz HTTP/1.1\r\n")?;
    let cut = daemon.eventually("a head that comes in drops is cut off", async || {
        Ok(drops.write_all(b"a: b\r\n").is_err())
    });
    cut.await?;

    // A kept connection has longer, and no longer than it may.
    let since = Instant::now();
    let kept = answer(&daemon, "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")?;
    assert!(
        kept.starts_with("HTTP/1.1 200") && since.elapsed() > Duration::from_secs(1),
        "{:?}: {kept}",
        since.elapsed()
    );
    let mut second = send(&daemon, "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")?;
    // Twice the time of a head, a sixth of the idle time: the time is what this is about.
    std::thread::sleep(Duration::from_millis(1000));
    second.write_all(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")?;
    assert_eq!(
        rest(&mut second)?.matches("HTTP/1.1 200").count(),
        2,
        "longer than a head may take, shorter than the idle time"
    );

    // Who reads neither answers nor a stream.
    let head = format!(
        "Host: 127.0.0.1\r\nAuthorization: Bearer {}\r\n\r\n",
        daemon.admin_token()?
    );
    let answers = send(
        &daemon,
        &format!("GET /openapi.json HTTP/1.1\r\n{head}").repeat(100),
    )?;
    let stream = send(
        &daemon,
        &format!("GET /v1/deployments/loud/logs?follow=true&tail=10000 HTTP/1.1\r\n{head}"),
    )?;
    for (what, unread) in [("answers", &answers), ("a stream", &stream)] {
        daemon
            .eventually(format!("{what} come"), async || {
                Ok(unread.peek(&mut [0]).is_ok_and(|n| n > 0))
            })
            .await?;
        daemon
            .eventually(format!("who does not read {what} is cut"), async || {
                Ok(!is_held(&daemon, unread))
            })
            .await?;
    }
    drop((answers, stream));
    // Who does not ask for long, but takes what comes, keeps its stream.
    let mut quiet = follow(&daemon, &daemon.http).await?;
    assert!(quiet.chunk().await?.is_some());
    // Three times as long as a write may take: the time is what this is about.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    daemon.delete("loud").await?;
    let last = tokio::time::timeout(PATIENCE, async {
        while let Some(chunk) = quiet.chunk().await? {
            if String::from_utf8_lossy(&chunk).contains("DeploymentDelet") {
                return Ok(());
            }
        }
        anyhow::bail!("the stream ended")
    });
    last.await.context("nothing more came")?
}

#[tokio::test]
async fn half_a_head_does_not_hold_up_the_stop() -> Result<()> {
    let mut daemon = daemon("drain = \"1h\"\nheader-timeout = \"1h\"\n")?;
    let half = send(&daemon, "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n")?;
    let silent = connect(&daemon)?;
    daemon
        .eventually("both are connected", async || {
            Ok(is_held(&daemon, &half) && is_held(&daemon, &silent))
        })
        .await?;
    daemon.stop()
}

#[tokio::test]
async fn half_heads_behind_a_handshake_are_cut_as_well() -> Result<()> {
    let daemon = with_settings("[api]\nheader-timeout = \"500ms\"\n[tls]\nself-signed = true\n")?;
    assert_eq!(
        rest(&mut connect(&daemon)?)?,
        "",
        "a handshake that never begins"
    );
    assert_eq!(
        rest(&mut send(&daemon, "\u{16}\u{3}\u{1}\u{2}")?)?,
        "",
        "one that never ends"
    );
    let mut roots = RootCertStore::empty();
    let pem = std::fs::read(daemon.data().join("tls/certificate.pem"))?;
    roots.add(
        rustls::pki_types::pem::PemObject::from_pem_slice(&pem)
            .map(|c: CertificateDer<'static>| c)?,
    )?;
    let config = Arc::new(
        ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth(),
    );
    let connection = ClientConnection::new(config, "localhost".try_into()?)?;
    let mut stream = StreamOwned::new(connection, connect(&daemon)?);
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n")?;
    assert_eq!(rest(&mut stream)?, "");
    Ok(())
}

#[tokio::test]
async fn with_every_descriptor_of_the_api_taken_the_daemon_does_its_work() -> Result<()> {
    let daemon = daemon("connections = 40\n")?;
    daemon.put("stay", &web("stay", 1, "x")).await?;
    let before = daemon.running("stay").await?;
    let pid = daemon.pid().context("no pid")?.to_string();
    let open = std::fs::read_dir(format!("/proc/{pid}/fd"))?.count();
    let limit = Command::new("prlimit")
        .args(["--pid", &pid, &format!("--nofile={}:", open + 140)])
        .status();
    if !limit.is_ok_and(|s| s.success()) {
        eprintln!("skipped: there is no prlimit here");
        return Ok(());
    }
    // More than there are descriptors, and again whenever one is closed.
    let half = || send(&daemon, "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n");
    let mut crowd = (0..300).map(|_| half()).collect::<Result<Vec<_>>>()?;
    daemon
        .eventually("the places are taken", async || Ok(sockets(&daemon) >= 40))
        .await?;
    for pid in pids(&before) {
        signal_group(pid, Signal::KILL)?;
    }
    daemon
        .until("stay", "restarted", |d| {
            d["status"] == "running" && !pids(d).is_empty() && pids(d) != pids(&before)
        })
        .await?;
    for _ in 0..50 {
        crowd.push(half()?);
    }
    // Plugins are read, and a backup is made.
    std::fs::write(daemon.plugins().join("second.toml"), LOCAL)?;
    let second = daemon.until_at("/v1/plugins", "with the second one", |p| {
        p.to_string().contains("\"second\"")
    });
    second.await?;
    let file = daemon.folder.path().join("backup");
    daemon.run(&["backup", &file.to_string_lossy()])?;
    assert!(Path::new(&file).exists());
    let log = daemon.log();
    assert!(
        !log.contains("too many files open") && !log.contains("Too many open files"),
        "{log}"
    );
    assert!(
        log.contains("reason=\"connections\"") || log.contains("reason=connections"),
        "{log}"
    );
    drop(crowd);
    Ok(())
}

#[tokio::test]
async fn one_token_has_its_share_of_streams_and_slots() -> Result<()> {
    let daemon = daemon("streams = 16\nconcurrent = 16\n")?;
    let mut streams = Vec::new();
    for n in 0..7 {
        let viewer = client(Some(&token(&daemon, &format!("viewer-{n}"), "team").await?))?;
        for _ in 0..2 {
            let stream = follow(&daemon, &viewer).await?;
            assert_eq!(stream.status(), StatusCode::OK, "viewer {n}");
            streams.push(stream);
        }
        if n == 0 {
            let refused = follow(&daemon, &viewer).await?;
            assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
            assert!(refused.headers().contains_key("retry-after"));
            let text = refused.text().await?;
            assert!(
                text.contains("api.streams") && text.contains("2 of 16"),
                "{text}"
            );
        }
    }
    let late = client(Some(&token(&daemon, "late", "team").await?))?;
    let refused = follow(&daemon, &late).await?;
    assert_eq!(
        refused.status(),
        StatusCode::SERVICE_UNAVAILABLE,
        "what is left is kept for admins"
    );
    assert!(refused.text().await?.contains("api.streams"));
    // The admin's are there all the same.
    for _ in 0..2 {
        let mut mine = follow(&daemon, &daemon.http).await?;
        assert_eq!(mine.status(), StatusCode::OK);
        assert!(mine.chunk().await?.is_some());
        streams.push(mine);
    }
    // Bodies that do not come hold no slot.
    let viewer = token(&daemon, "slow", "default").await?;
    let head = "POST /v1/deployments/x/plan HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/yaml\r\nContent-Length: 10\r\n";
    let held: Vec<_> = (0..100)
        .map(|_| {
            send(
                &daemon,
                &format!("{head}Authorization: Bearer {viewer}\r\n\r\n"),
            )
        })
        .collect::<Result<_>>()?;
    daemon
        .eventually("they have arrived", async || Ok(sockets(&daemon) >= 100))
        .await?;
    for _ in 0..10 {
        assert_eq!(whoami(&daemon).await?, StatusCode::OK);
    }
    assert!(sockets(&daemon) >= 100, "all of them are still held");
    drop((held, streams));
    Ok(())
}

#[tokio::test]
async fn probes_are_answered_whatever_strangers_do() -> Result<()> {
    let daemon = daemon("rate = 50\nburst = 50\n")?;
    let stranger = client(None)?;
    let mut refused = 0;
    for _ in 0..300 {
        let status = stranger.get(daemon.url("/x")).send().await?.status();
        refused += usize::from(status == StatusCode::TOO_MANY_REQUESTS);
    }
    assert!(refused > 100, "{refused}");
    for path in ["/healthz", "/readyz"] {
        for _ in 0..100 {
            assert_eq!(
                stranger.get(daemon.url(path)).send().await?.status(),
                StatusCode::OK,
                "{path}"
            );
        }
    }
    // A body that nobody asked for is not read.
    let told = answer(
        &daemon,
        "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 60000000\r\n\r\n",
    )?;
    assert!(told.starts_with("HTTP/1.1 413"), "{told}");
    Ok(())
}

/// Lines of the log about refusals.
fn refusals(daemon: &Daemon) -> Vec<String> {
    daemon
        .log()
        .lines()
        .filter(|l| l.contains("a request was refused"))
        .map(str::to_owned)
        .collect()
}

#[tokio::test]
async fn refusals_leave_a_trace_that_is_bounded() -> Result<()> {
    let daemon = daemon("")?;
    let secret = token(&daemon, "nosy", "team").await?;
    let gone = token(&daemon, "leaver", "team").await?;
    daemon.run(&["token", "revoke", "leaver"])?;
    let since = Instant::now();
    let (nosy, leaver) = (client(Some(&secret))?, client(Some(&gone))?);
    for _ in 0..30 {
        let foreign = nosy
            .get(daemon.url("/v1/deployments/x?namespace=other"))
            .send()
            .await?;
        assert_eq!(foreign.status(), StatusCode::FORBIDDEN);
    }
    assert_eq!(
        leaver.get(daemon.url("/v1/whoami")).send().await?.status(),
        StatusCode::UNAUTHORIZED
    );
    let wrong = client(Some(
        "tw_0000000000000000000000000000000000000000000000000000",
    ))?;
    assert_eq!(
        wrong.get(daemon.url("/v1/whoami")).send().await?.status(),
        StatusCode::UNAUTHORIZED
    );
    let evil = answer(
        &daemon,
        "GET /v1/whoami HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
    )?;
    assert!(evil.starts_with("HTTP/1.1 403"), "{evil}");
    let page = answer(
        &daemon,
        "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://evil.example\r\nConnection: close\r\n\r\n",
    )?;
    assert!(page.starts_with("HTTP/1.1 403"), "{page}");

    let metrics = daemon
        .http
        .get(daemon.url("/metrics"))
        .send()
        .await?
        .text()
        .await?;
    for (reason, count) in [
        ("namespace", 30),
        ("token-revoked", 1),
        ("token-unknown", 1),
        ("host", 1),
        ("origin", 1),
    ] {
        let line = format!("tradewind_http_refused_total{{reason=\"{reason}\"}} {count}\n");
        assert!(metrics.contains(&line), "{line}{metrics}");
    }
    // The log is written beside.
    daemon.logged("a request was refused").await?;
    let lines = refusals(&daemon);
    let seconds = usize::try_from(since.elapsed().as_secs())? + 1;
    assert!(
        (1..=seconds).contains(&lines.len()),
        "{seconds} s: {lines:#?}"
    );
    let first = lines.first().context("no line")?;
    for part in [
        "WARN",
        "127.0.0.1",
        "nosy",
        "/v1/deployments/{name}",
        "namespace",
    ] {
        assert!(first.contains(part), "{part}: {first}");
    }
    for text in [&secret, &gone] {
        assert!(
            !daemon.log().contains(text.as_str()),
            "a token's text is in the log"
        );
    }
    // Entries of the audit log: of known tokens, each within its bound.
    let told = |page: &Value| -> Vec<String> {
        let entries = page["items"].as_array().into_iter().flatten();
        let events = entries
            .map(|e| &e["event"])
            .filter(|e| e["reason"] == "RequestRefused");
        events
            .map(|e| {
                format!(
                    "{} {}",
                    e["actor"].as_str().unwrap_or_default(),
                    e["message"].as_str().unwrap_or_default()
                )
            })
            .collect()
    };
    let page = daemon
        .until_at("/v1/audit", "telling of both", |page| {
            told(page).iter().any(|t| t.contains("leaver"))
        })
        .await?;
    let entries = told(&page);
    let of_nosy: Vec<_> = entries
        .iter()
        .filter(|t| t.contains("token:nosy"))
        .collect();
    assert!((1..=11).contains(&of_nosy.len()), "{entries:#?}");
    assert!(
        of_nosy
            .iter()
            .all(|t| t.contains("GET /v1/deployments/{name} from 127.0.0.1: namespace")),
        "{entries:#?}"
    );
    assert!(
        entries
            .iter()
            .any(|t| t.contains("token:leaver") && t.contains("token-revoked")),
        "{entries:#?}"
    );
    daemon.run(&["audit", "verify"])?;
    Ok(())
}

#[tokio::test]
async fn a_request_names_one_host_and_speaks_http_1() -> Result<()> {
    let daemon = daemon("")?;
    let head = format!(
        "Authorization: Bearer {}\r\nConnection: close\r\n\r\n",
        daemon.admin_token()?
    );
    let own = daemon.address.trim_start_matches("http://").to_owned();
    for (request, wanted) in [
        (format!("GET /v1/whoami HTTP/1.1\r\nHost: {own}\r\n"), "200"),
        (
            format!(
                "GET http://{own}/v1/whoami HTTP/1.1\r\nHost: {own}\r\nOrigin: http://{own}\r\n"
            ),
            "200",
        ),
        (
            format!("GET /v1/whoami HTTP/1.1\r\nHost: {own}\r\nHost: evil.example\r\n"),
            "400",
        ),
        (
            format!("GET /v1/whoami HTTP/1.1\r\nHost: {own}\r\nHost: {own}\r\n"),
            "400",
        ),
        (
            format!("GET http://evil.example/v1/whoami HTTP/1.1\r\nHost: {own}\r\n"),
            "400",
        ),
        (
            format!(
                "GET /v1/whoami HTTP/1.1\r\nHost: {own}\r\nOrigin: http://{own}\r\nOrigin: http://evil.example\r\n"
            ),
            "403",
        ),
    ] {
        let told = answer(&daemon, &format!("{request}{head}"))?;
        assert!(
            told.starts_with(&format!("HTTP/1.1 {wanted} ")),
            "{request}{told}"
        );
    }
    // The preface of HTTP/2 and empty settings: a server that speaks it answers with a frame of settings.
    let told = answer(
        &daemon,
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u{4}\0\0\0\0\0",
    )?;
    assert!(told.is_empty() || told.starts_with("HTTP/1.1 "), "{told:?}");
    Ok(())
}
