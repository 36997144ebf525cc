//! Other users of the machine: what they may write or read is not believed.

use std::{
    fs::Permissions,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Result, ensure};
use serde_json::Value;
use tradewind_kit::{Daemon, LOCAL, Signal, binary, component, eventually_blocking, signal, when};

fn set(path: &Path, mode: u32) -> Result<()> {
    Ok(std::fs::set_permissions(
        path,
        Permissions::from_mode(mode),
    )?)
}

/// What the daemon says of its plugins: those that serve, and the whole answer.
fn plugins(daemon: &Daemon) -> Result<(Vec<String>, String)> {
    let text = daemon.run(&["plugin", "list", "-o", "json"])?;
    let listed: Value = serde_json::from_str(&text)?;
    let all = listed["items"]
        .as_array()
        .or(listed.as_array())
        .cloned()
        .unwrap_or_default();
    let serving = all
        .iter()
        .filter(|p| !p["version"].is_null() || !p["identity"].is_null());
    Ok((
        serving
            .filter_map(|p| p["instance"].as_str().map(str::to_owned))
            .collect(),
        text,
    ))
}

fn eventually(daemon: &Daemon, what: &str, wanted: impl Fn(&[String], &str) -> bool) -> Result<()> {
    eventually_blocking(what, || {
        let (serving, text) = plugins(daemon)?;
        Ok(when(wanted(&serving, &text), text))
    })
    .map(drop)
}

/// A folder that strangers may pass: what lies in it is safe by its own bits alone.
fn open_folder(daemon: &Daemon) -> Result<()> {
    set(daemon.folder.path(), 0o755)?;
    set(&daemon.plugins(), 0o755)
}

#[tokio::test]
async fn what_others_may_write_is_not_loaded_and_is_loaded_once_that_is_repaired() -> Result<()> {
    let daemon = Daemon::start(&["cheapest", "process"], &[("local", LOCAL)])?;
    open_folder(&daemon)?;
    let at = |name: &str| daemon.plugins().join(name);
    // A new one whose file others may write, and one whose instance file belongs to somebody else.
    let fresh = at(".fastest.new");
    std::fs::copy(component("fastest"), &fresh)?;
    set(&fresh, 0o666)?;
    std::fs::rename(&fresh, at("fastest.wasm"))?;
    eventually(&daemon, "it is told", |_, text| {
        text.contains("may be changed by others (mode 0666)") && text.contains("chmod go-w")
    })?;
    ensure!(
        !plugins(&daemon)?.0.contains(&"fastest".to_owned()),
        "it serves"
    );
    ensure!(
        daemon.log().contains("may be changed by others"),
        "{}",
        daemon.log()
    );
    set(&at("fastest.wasm"), 0o644)?;
    eventually(&daemon, "it is loaded", |serving, _| {
        serving.contains(&"fastest".to_owned())
    })?;

    let root = rustix_is_root();
    if root {
        ensure!(
            Command::new("chown")
                .arg("65534")
                .arg(at("local.toml"))
                .status()?
                .success()
        );
        daemon.run(&["plugin", "reload"]).ok();
        eventually(&daemon, "the owner is told", |_, text| {
            text.contains("belongs to user 65534")
        })?;
        ensure!(
            Command::new("chown")
                .arg("0")
                .arg(at("local.toml"))
                .status()?
                .success()
        );
    }
    // Whoever may write to the folder may put any file there.
    set(&daemon.plugins(), 0o777)?;
    std::fs::copy(component("spread"), at("spread.wasm"))?;
    set(&at("spread.wasm"), 0o644)?;
    eventually(&daemon, "the folder is told", |_, text| {
        text.contains("plugins\\\" may be changed by others (mode 0777)")
    })?;
    let (serving, text) = plugins(&daemon)?;
    ensure!(
        !serving.contains(&"spread".to_owned()) && serving.contains(&"cheapest".to_owned()),
        "what served goes on: {text}"
    );
    set(&daemon.plugins(), 0o755)?;
    eventually(&daemon, "it is loaded", |serving, _| {
        serving.contains(&"spread".to_owned())
    })
}

fn rustix_is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0)
}

#[tokio::test]
async fn a_secret_that_others_may_read_is_not_passed() -> Result<()> {
    let grant = format!("{LOCAL}secrets = [\"key\"]\n");
    let mut daemon = Daemon::start(&["cheapest", "process"], &[("local", &grant)])?;
    set(daemon.folder.path(), 0o755)?;
    let secrets = daemon.folder.path().join("secrets");
    std::fs::create_dir(&secrets)?;
    set(&secrets, 0o755)?;
    let key = secrets.join("key");
    std::fs::write(&key, "value-of-the-key")?;
    set(&key, 0o644)?;
    daemon.stop()?;
    std::fs::write(
        daemon.folder.path().join("config.toml"),
        format!("secrets = \"{}\"\n", secrets.display()),
    )?;
    daemon.launch()?;
    let job = "apiVersion: tradewind.dev/v1\nkind: CloudDeployment\nmetadata: {name: shown}\nspec:\n  jobs:\n    \
               j: {command: [sh, -c, 'echo got $KEY'], env: {KEY: {secret: key}}}\n";
    daemon.put("shown", job).await?;
    daemon
        .until("shown", "told", |d| {
            d.to_string()
                .contains("is secret and may be read by others (mode 0644)")
        })
        .await?;
    set(&key, 0o600)?;
    daemon
        .until("shown", "completed", |d| d["status"] == "completed")
        .await?;
    let told = daemon.run(&["logs", "shown"])?;
    ensure!(told.contains("got value-of-the-key"), "{told}");
    Ok(())
}

/// Root could write it, and its daemon could not read that any more.
#[tokio::test]
async fn a_state_of_another_user_is_left_to_that_user() -> Result<()> {
    if !rustix_is_root() {
        eprintln!("left out: it needs root");
        return Ok(());
    }
    let mut daemon = Daemon::start(&["cheapest"], &[])?;
    daemon.stop()?;
    let give = |user: &str| {
        let mut chown = Command::new("chown");
        chown.args(["-R", user]).arg(daemon.data()).status()
    };
    let written = || std::fs::read(daemon.data().join("state.db"));
    ensure!(give("65534")?.success());
    let before = written()?;
    let (served, said) = serve(&daemon, &[])?;
    ensure!(
        !served
            && said.contains("state.db\" is that of user nobody")
            && said.contains("sudo -u nobody tradewind"),
        "{said}"
    );
    let output = daemon.cli(&["token", "reset-admin"])?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        !output.status.success() && said.contains("data\" is that of user nobody"),
        "{said}"
    );
    ensure!(written()? == before, "something was written");
    ensure!(give("0")?.success());
    let (served, said) = serve(&daemon, &[])?;
    ensure!(served, "{said}");
    Ok(())
}

/// Its end, and what it said.
fn serve(daemon: &Daemon, variables: &[(&str, &str)]) -> Result<(bool, String)> {
    let mut command = Command::new(binary());
    command
        .arg("--data")
        .arg(daemon.data())
        .args(["serve", "--listen", "127.0.0.1:0", "--plugins"])
        .arg(daemon.plugins());
    command
        .env("TRADEWIND_CONFIG", daemon.folder.path().join("config.toml"))
        .envs(variables.iter().copied());
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut said = String::new();
    let mut lines = std::io::BufReader::new(child.stderr.take().expect("piped"));
    while std::io::BufRead::read_line(&mut lines, &mut said)? > 0
        && !said.contains("ready")
        && !said.contains("listening")
    {}
    let served =
        child.try_wait()?.is_none() && (said.contains("ready") || said.contains("listening"));
    if served {
        signal(child.id(), Signal::TERM)?;
    }
    std::io::Read::read_to_string(&mut lines, &mut said)?;
    child.wait()?;
    Ok((served, said))
}

#[tokio::test]
async fn settings_and_keys_that_others_may_write_or_read_stop_the_start() -> Result<()> {
    let mut daemon = Daemon::start(&["cheapest"], &[])?;
    daemon.stop()?;
    set(daemon.folder.path(), 0o755)?;
    let config = daemon.folder.path().join("config.toml");
    std::fs::write(&config, "[reload]\ntrust-any-owner = true\n")?;
    set(&config, 0o666)?;
    let (served, said) = serve(&daemon, &[])?;
    ensure!(
        !served
            && said.contains("config.toml\" may be changed by others (mode 0666)")
            && said.contains("or set the variable TRADEWIND_TRUST_ANY_OWNER=true")
            && !said.contains("reload.trust-any-owner"),
        "{said}"
    );
    let (served, said) = serve(&daemon, &[("TRADEWIND_TRUST_ANY_OWNER", "true")])?;
    ensure!(served, "{said}");

    // Keys: nobody else may read them.
    let tls = daemon.folder.path().join("tls");
    std::fs::write(&config, "[tls]\nself-signed = true\n")?;
    set(&config, 0o644)?;
    let (served, said) = serve(&daemon, &[])?;
    ensure!(served, "{said}");
    std::fs::create_dir(&tls)?;
    set(&tls, 0o755)?;
    for name in ["certificate.pem", "key.pem"] {
        std::fs::copy(daemon.data().join("tls").join(name), tls.join(name))?;
        set(&tls.join(name), 0o644)?;
    }
    let files = format!(
        "[tls]\ncertificate = \"{0}/certificate.pem\"\nkey = \"{0}/key.pem\"\n",
        tls.display()
    );
    std::fs::write(&config, files)?;
    let (served, said) = serve(&daemon, &[])?;
    ensure!(
        !served
            && said.contains("key.pem\" is secret and may be read by others")
            && said.contains("chmod go-r"),
        "{said}"
    );
    set(&tls.join("key.pem"), 0o600)?;
    let (served, said) = serve(&daemon, &[])?;
    ensure!(served, "{said}");
    Ok(())
}

/// Compiled code is run as it lies there.
#[test]
fn compiled_code_that_others_may_have_put_there_is_not_run() -> Result<()> {
    let home = tempfile::tempdir()?;
    set(home.path(), 0o755)?;
    let cache = home.path().join("tradewind");
    std::fs::create_dir(&cache)?;
    set(&cache, 0o777)?;
    let inspect = || {
        let mut command = Command::new(binary());
        command
            .args(["plugin", "inspect"])
            .arg(component("cheapest"))
            .env("XDG_CACHE_HOME", home.path());
        command.stdin(Stdio::null()).output()
    };
    let refused = inspect()?;
    let said = String::from_utf8_lossy(&refused.stderr);
    ensure!(
        !refused.status.success() && said.contains("may be changed by others (mode 0777)"),
        "{said}"
    );
    set(&cache, 0o700)?;
    let output = inspect()?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
