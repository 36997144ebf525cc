//! What the daemon says of every answer, which requests it does not take, and what other processes of its user see of it.

use std::{
    os::unix::{fs::chown, process::CommandExt},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tradewind_kit::{Daemon, PATIENCE, binary, eventually_blocking};

/// A user that owns nothing on this machine.
const NOBODY: u32 = 65_534;

/// Sends these bytes, and answers all that comes back.
async fn raw(daemon: &Daemon, request: &str) -> Result<String> {
    let mut connection = TcpStream::connect(daemon.address.trim_start_matches("http://")).await?;
    connection.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    tokio::time::timeout(PATIENCE, connection.read_to_end(&mut answer)).await??;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[tokio::test]
async fn answers_are_nobodys_but_the_askers() -> Result<()> {
    let daemon = Daemon::start(&["cheapest"], &[])?;
    for path in [
        "/healthz",
        "/readyz",
        "/openapi.json",
        "/metrics",
        "/v1/deployments",
        "/v1/deployments/none",
        "/nowhere",
    ] {
        let answer = daemon.http.get(daemon.url(path)).send().await?;
        let header = |name: &str| {
            answer
                .headers()
                .get(name)
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default()
                .to_owned()
        };
        ensure!(
            header("x-content-type-options") == "nosniff"
                && header("cache-control").contains("no-store"),
            "{path}: {answer:?}"
        );
        ensure!(
            header("content-security-policy").contains("default-src 'none'"),
            "{path}: {answer:?}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_request_is_for_one_host_and_speaks_http_1() -> Result<()> {
    let daemon = Daemon::start(&["cheapest"], &[])?;
    let own = daemon.address.trim_start_matches("http://").to_owned();
    let ask = async |target: &str, more: &str| {
        let answer = raw(
            &daemon,
            &format!("GET {target} HTTP/1.1\r\nConnection: close\r\n{more}\r\n"),
        )
        .await?;
        anyhow::Ok(answer.split(' ').nth(1).unwrap_or_default().to_owned())
    };
    let host = format!("Host: {own}\r\n");
    ensure!(
        ask("/healthz", &host).await? == "200"
            && ask(&format!("http://{own}/healthz"), &host).await? == "200"
    );
    ensure!(
        ask("/healthz", &format!("{host}Host: evil.example\r\n")).await? == "400",
        "two hosts"
    );
    ensure!(
        ask("http://evil.example/healthz", &host).await? == "400",
        "another host in the target"
    );
    ensure!(
        ask("http://evil.example/healthz", "Host: evil.example\r\n").await? == "403",
        "a foreign host"
    );
    let origins = format!("{host}Origin: http://{own}\r\nOrigin: http://evil.example\r\n");
    ensure!(
        ask("/healthz", &origins).await? == "403",
        "a second, foreign origin"
    );
    // Cleartext HTTP/2 by prior knowledge and by an upgrade: neither is spoken.
    let preface = raw(
        &daemon,
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
    )
    .await?;
    ensure!(
        !preface.contains('\0'),
        "it answered with frames: {preface:?}"
    );
    let upgrade = format!("{host}Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n");
    ensure!(
        ask("/healthz", &upgrade).await? == "200",
        "an offer of h2c is not taken up"
    );
    Ok(())
}

/// A packed body is what it is: nothing unpacks it, so it can't grow.
#[tokio::test]
async fn no_body_is_unpacked() -> Result<()> {
    let daemon = Daemon::start(&["cheapest"], &[])?;
    // A gzip of nothing but the beginning of a stream.
    let packed = [
        0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0x4b, 0x4c, 4, 0, 0x43, 0xbe, 0xb7, 0xe8, 1, 0, 0, 0,
    ];
    for encoding in ["gzip", "deflate", "br", "zstd"] {
        let request = daemon
            .http
            .put(daemon.url("/v1/deployments/a"))
            .header("content-encoding", encoding);
        let answer = request
            .header("content-type", "application/json")
            .body(packed.to_vec())
            .send()
            .await?;
        ensure!(answer.status() == 415, "{encoding}: {answer:?}");
    }
    Ok(())
}

/// Another process of the daemon's own user: neither memory nor environment, where secrets pass through.
#[test]
fn the_daemons_memory_is_its_own() -> Result<()> {
    if std::fs::metadata("/proc/self").map(|of| std::os::unix::fs::MetadataExt::uid(&of))? != 0 {
        eprintln!("left out: only root can start a daemon as somebody else");
        return Ok(());
    }
    let folder = tempfile::Builder::new()
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .tempdir()?;
    for name in ["", "data", "plugins"] {
        std::fs::create_dir_all(folder.path().join(name))?;
        chown(folder.path().join(name), Some(NOBODY), Some(NOBODY))?;
    }
    let program = folder.path().join("tradewind");
    std::fs::copy(binary(), &program)?;
    let mut command = Command::new(&program);
    command.arg("--data").arg(folder.path().join("data")).args([
        "serve",
        "--listen",
        "127.0.0.1:0",
    ]);
    command
        .env_clear()
        .env("HOME", folder.path())
        .env("TRADEWIND_PLUGINS", folder.path().join("plugins"))
        .env("OF_THE_DAEMON", "s3cret");
    command
        .uid(NOBODY)
        .gid(NOBODY)
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command.stderr(std::fs::File::create(folder.path().join("log"))?);
    let mut daemon = command.spawn().context("no daemon")?;
    let log = || std::fs::read_to_string(folder.path().join("log")).unwrap_or_default();
    let ready = eventually_blocking("the daemon is ready", || {
        ensure!(daemon.try_wait()?.is_none(), "it has ended");
        Ok(folder.path().join("data/daemon.json").exists())
    });
    let read = |pid: u32, name: &str| {
        let mut reader = Command::new("cat");
        reader
            .arg(format!("/proc/{pid}/{name}"))
            .uid(NOBODY)
            .gid(NOBODY)
            .current_dir("/")
            .output()
    };
    let mut other = Command::new("sleep")
        .arg("100")
        .uid(NOBODY)
        .gid(NOBODY)
        .current_dir("/")
        .env("OF_ANOTHER", "1")
        .spawn()?;
    let seen = ["environ", "maps"].map(|name| (read(daemon.id(), name), read(other.id(), name)));
    for child in [&mut other, &mut daemon] {
        child.kill()?;
        child.wait()?;
    }
    ready.with_context(log)?;
    for (of_daemon, of_other) in seen {
        let (of_daemon, of_other) = (of_daemon?, of_other?);
        ensure!(
            of_other.status.success(),
            "the test reads nothing at all: {of_other:?}"
        );
        ensure!(
            !of_daemon.status.success() && of_daemon.stdout.is_empty(),
            "the daemon's is read: {of_daemon:?}"
        );
    }
    Ok(())
}
