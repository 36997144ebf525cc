//! Clients that public generators make out of the description of the API. Each language has a program in tests/clients, which puts, lists, watches,
//! reads and deletes through the generated code; all of them have to come to the same.

use std::{path::Path, process::Stdio};

use anyhow::{Context, Result, ensure};
use tokio::process::Command;
use tradewind_kit::Daemon;

const CLOUD: &str = "component = \"simulated.wasm\"\n[settings.regions.r.sizes.s]\ncpu = 4\nmemory = \"16Gi\"\nprice = \"0.10\"\n";

/// What every program prints.
const TRANSCRIPT: &str = "\
put one: created, generation 1
put two: created, generation 1
put three: created, generation 1
listed [one, three, two] on 2 pages
running 3
reads one, MODE test
unchanged 304
refused /problems/invalid-manifest 422 at spec.services.web
plugins [cheapest, cloud]
offer cloud r s at 0.10
regions [r]
a request caused some event: true
decided by cheapest
explained web
listens on 127.0.0.1
deleted 3
missing /problems/not-found 404
";

/// Whether `make backends` has brought the generator and the languages' tools. A reason is printed where it has not.
fn ready(language: &str) -> Result<bool> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(std::path::PathBuf::from);
    let cache = cache
        .or_else(|| std::env::home_dir().map(|home| home.join(".cache")))
        .context("no home folder")?;
    let home = cache.join("tradewind-backends/clients");
    // Cargo runs this test, so it is there; Python brings the generator.
    let tool = match language {
        "typescript" => home.join("node/node_modules/.bin/tsc"),
        "go" => "/usr/lib/go-1.19/bin/go".into(),
        _ => home.join("env/bin/python"),
    };
    if home.join("installed").exists() && tool.exists() {
        return Ok(true);
    }
    let required = std::env::var("TRADEWIND_REQUIRE_BACKENDS").is_ok_and(|value| value == "1");
    ensure!(
        !required,
        "no client in {language} can be made: run `make backends`"
    );
    eprintln!(
        "left out: no client in {language} can be made (`make backends` brings what it takes)"
    );
    Ok(false)
}

async fn comes_to_the_same(language: &str) -> Result<()> {
    if !ready(language)? {
        return Ok(());
    }
    let daemon = Daemon::start(&["cheapest", "simulated"], &[("cloud", CLOUD)])?;
    let description = daemon.http.get(daemon.url("/openapi.json")).send();
    let description = daemon.file("openapi.json", &description.await?.text().await?)?;
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/run.sh");
    let done = Command::new("bash")
        .arg(program)
        .arg(language)
        .arg(description)
        .env("TRADEWIND_ENDPOINT", daemon.url(""))
        .env("TRADEWIND_TOKEN", daemon.admin_token()?)
        .stdin(Stdio::null())
        .output()
        .await?;
    let told = String::from_utf8_lossy(&done.stdout);
    let failed = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "{told}{failed}");
    assert_eq!(told, TRANSCRIPT, "{failed}");
    Ok(())
}

#[tokio::test]
async fn a_generated_client_works_in_python() -> Result<()> {
    comes_to_the_same("python").await
}

#[tokio::test]
async fn a_generated_client_works_in_typescript() -> Result<()> {
    comes_to_the_same("typescript").await
}

#[tokio::test]
async fn a_generated_client_works_in_go() -> Result<()> {
    comes_to_the_same("go").await
}

#[tokio::test]
async fn a_generated_client_works_in_rust() -> Result<()> {
    comes_to_the_same("rust").await
}
