//! The API against its own description: a validator reads the document, and requests are made up from it, good ones and bad ones.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tradewind_kit::Daemon;

/// Seconds that requests are made up for.
const SPAN: &str = "25";
/// What no answer may fail. Good data that are refused are not among them: names in the path and in the body have to agree, and a component
/// has to be one, which no schema tells.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,\
                      response_schema_conformance,negative_data_rejection,unsupported_method,allow_header_conformance,ignored_auth,\
                      use_after_free,ensure_resource_availability";

fn simulated() -> Result<Daemon> {
    let cloud = "component = \"simulated.wasm\"\n[settings.regions.r.sizes.s]\ncpu = 4\nmemory = \"16Gi\"\nprice = \"0.10\"\n";
    Daemon::start(&["cheapest", "simulated"], &[("cloud", cloud)])
}

/// A program of the environment that `make backends` makes. None, with a reason printed, where there is none.
fn program(name: &str) -> Result<Option<PathBuf>> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache
        .or_else(|| std::env::home_dir().map(|home| home.join(".cache")))
        .context("no home folder")?;
    let program = cache
        .join("tradewind-backends/schemathesis/env/bin")
        .join(name);
    if program.exists() {
        return Ok(Some(program));
    }
    let required = std::env::var("TRADEWIND_REQUIRE_BACKENDS").is_ok_and(|value| value == "1");
    ensure!(!required, "{name} is not installed: run `make backends`");
    eprintln!("left out: {name} is not installed (`make backends` installs it)");
    Ok(None)
}

/// Something of each kind, with the names and ids by which paths lead to it.
async fn furnish(daemon: &Daemon) -> Result<Value> {
    let manifest = |name: &str| {
        let service = json!({"command": ["serve"], "replicas": 1});
        let job = json!({"command": ["work"]});
        let spec = json!({"services": {"web": service}, "jobs": {"work": job}});
        json!({"apiVersion": "tradewind.dev/v1", "kind": "CloudDeployment", "metadata": {"name": name}, "spec": spec})
    };
    for name in ["web", "shop", "other"] {
        daemon.put(name, &manifest(name).to_string()).await?;
        daemon.running(name).await?;
    }
    let post = async |path: &str, body: Value| -> Result<Value> {
        let answer = daemon
            .http
            .post(daemon.url(path))
            .json(&body)
            .send()
            .await?;
        ensure!(
            answer.status().is_success(),
            "{path}: {}",
            answer.text().await?
        );
        Ok(answer.json().await?)
    };
    post(
        "/v1/tokens",
        json!({"name": "ci", "role": "viewer", "namespaces": ["default"]}),
    )
    .await?;
    let mut plans = Vec::new();
    for name in ["web", "shop", "later"] {
        plans.push(
            post(&format!("/v1/plans?name=plan-{name}"), manifest(name)).await?["id"].clone(),
        );
    }
    let decisions = daemon.list("/v1/decisions").await?;
    let decisions: Vec<&Value> = decisions
        .as_array()
        .into_iter()
        .flatten()
        .map(|decision| &decision["id"])
        .collect();
    ensure!(!decisions.is_empty(), "no decision");
    Ok(json!({
        "/v1/deployments": {"name": ["web", "shop", "other"], "generation": [1]},
        "/v1/namespaces/{namespace}": {"namespace": ["default"], "name": ["web", "shop", "other"], "generation": [1]},
        "/v1/namespaces": {"name": ["default", "spare"]},
        "/v1/decisions": {"id": decisions},
        "/v1/plans": {"id": plans},
        "/v1/plugins": {"name": ["cheapest", "cloud"]},
        "/v1/tokens": {"name": ["ci"]},
        "/problems": {"kind": ["conflict"]},
    }))
}

#[tokio::test]
async fn the_api_keeps_what_its_description_promises() -> Result<()> {
    let (Some(validator), Some(schemathesis)) =
        (program("openapi-spec-validator")?, program("st")?)
    else {
        return Ok(());
    };
    let mut daemon = simulated()?;
    let document = daemon
        .http
        .get(daemon.url("/openapi.json"))
        .send()
        .await?
        .text()
        .await?;
    let checked = Command::new(validator)
        .arg(daemon.file("openapi.json", &document)?)
        .output()?;
    ensure!(
        checked.status.success(),
        "the document is not valid: {}",
        String::from_utf8_lossy(&checked.stdout)
    );

    let live = furnish(&daemon).await?;
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("backends/schemathesis");
    let mut command = Command::new(schemathesis);
    command
        .arg("--config-file")
        .arg(own.join("schemathesis.toml"))
        .args(["run", &daemon.url("/openapi.json")]);
    command.args([
        "--checks",
        CHECKS,
        "--phases",
        "examples,coverage,fuzzing",
        "--max-examples",
        "12",
        "--max-time",
        SPAN,
        "--seed",
        "12",
    ]);
    command.args([
        "--no-shrink",
        "--continue-on-failure",
        "--request-timeout",
        "10",
        "--no-color",
        "--warnings",
        "off",
    ]);
    command.args([
        "-H",
        &format!("Authorization: Bearer {}", daemon.admin_token()?),
    ]);
    command
        .env("SCHEMATHESIS_HOOKS", own.join("hooks.py"))
        .env("TRADEWIND_LIVE", live.to_string());
    command
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .current_dir(daemon.folder.path())
        .stdin(Stdio::null());
    let tried = tokio::task::spawn_blocking(move || command.output()).await??;
    let told = String::from_utf8_lossy(&tried.stdout).into_owned()
        + &String::from_utf8_lossy(&tried.stderr);
    ensure!(tried.status.success(), "{told}");
    ensure!(
        told.contains("Test cases") || told.contains("generated"),
        "nothing was tried: {told}"
    );
    // It lives, and what was sent did it no harm.
    daemon.list("/v1/deployments").await?;
    daemon.stop()?;
    ensure!(!daemon.log().contains("panicked"), "{}", daemon.log());
    Ok(())
}
