//! Waiting for a daemon that starts, without a look at its files.

use std::process::{Command, Stdio};

use anyhow::{Result, ensure};
use tradewind_kit::{Daemon, binary, eventually_blocking};

/// `wait-ready` as a script runs it: it knows the data folder alone.
fn wait_ready(daemon: &Daemon, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command
        .arg("--data")
        .arg(daemon.data())
        .arg("wait-ready")
        .args(arguments)
        .env("TRADEWIND_CONFIG", daemon.folder.path().join("config.toml"))
        .env_remove("TRADEWIND_SERVER")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

#[test]
fn who_waits_for_a_daemon_is_told_that_it_is_ready_or_why_not() -> Result<()> {
    let mut daemon = Daemon::local()?;
    daemon.stop()?;
    let refused = wait_ready(&daemon, &["--timeout", "100ms"]).output()?;
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(
        refused.status.code() == Some(7)
            && told.contains("not ready after 100ms: none runs with this data folder")
            && told.contains(" serve`"),
        "{:?}: {told}",
        refused.status
    );

    let mut waits = wait_ready(&daemon, &[]).spawn()?;
    daemon.launch()?;
    let ended = eventually_blocking("it ends", || Ok(waits.try_wait()?));
    if ended.is_err() {
        waits.kill()?;
    }
    let output = waits.wait_with_output()?;
    ensure!(ended?.success(), "{output:?}");
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let wanted = format!("the daemon at {} is ready\n", daemon.address);
    ensure!(told == wanted, "{told}");
    Ok(())
}
