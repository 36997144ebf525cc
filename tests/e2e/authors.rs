//! What a plugin author does: write, build, inspect, drop into the folder, and see it decide.

use std::path::Path;

use anyhow::{Result, ensure};
use tradewind_kit::{Daemon, binary, component, target, web};

fn author(folder: &Path, arguments: &[&str]) -> Result<String> {
    let mut command = std::process::Command::new(binary());
    // Guests share one folder of build results: their standard library may have to be built too.
    command
        .args(arguments)
        .current_dir(folder)
        .env("CARGO_BUILD_TARGET_DIR", target());
    let output = command.env_remove("CARGO_TARGET_DIR").output()?;
    ensure!(
        output.status.success(),
        "tradewind {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[tokio::test]
async fn a_new_policy_is_built_dropped_in_and_decides() -> Result<()> {
    let daemon = Daemon::local()?;
    let folder = daemon.folder.path();
    author(folder, &["plugin", "new", "--kind", "policy", "mine"])?;
    // The versions that this repository's plugins are locked to are there already.
    std::fs::copy(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins/Cargo.lock"),
        folder.join("mine/Cargo.lock"),
    )?;
    author(&folder.join("mine"), &["plugin", "build"])?;
    let inspected = author(&folder.join("mine"), &["plugin", "inspect", "mine.wasm"])?;
    assert!(
        inspected.contains("policy mine")
            && inspected.contains("tradewind:plugin/scheduling-policy@0.1.0"),
        "{inspected}"
    );

    std::fs::copy(
        folder.join("mine/mine.wasm"),
        daemon.plugins().join("mine.wasm"),
    )?;
    std::fs::copy(
        folder.join("mine/mine.toml"),
        daemon.plugins().join("mine.toml"),
    )?;
    let manifest = web("app", 1, "x").replace("spec:\n", "spec:\n  policy: mine\n");
    daemon.put("app", &manifest).await?;
    daemon.running("app").await?;
    let decisions = daemon.list("/v1/decisions").await?;
    assert_eq!(decisions[0]["policy"]["instance"], "mine", "{decisions:#}");
    Ok(())
}

#[tokio::test]
async fn a_component_can_be_inspected_without_a_daemon() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let inspected = author(
        folder.path(),
        &["plugin", "inspect", &component("process").to_string_lossy()],
    )?;
    for word in [
        "provider process",
        "tradewind:plugin/process@0.1.0",
        "tradewind:plugin/cloud-provider@0.1.0",
    ] {
        assert!(
            inspected.contains(word),
            "{word} is missing in:\n{inspected}"
        );
    }
    Ok(())
}
