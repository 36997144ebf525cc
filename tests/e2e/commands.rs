//! Commands beside deployments: waiting, contexts, what needs no daemon, what is wrong, completion and programs of others.

use std::{
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output, Stdio},
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;
use tradewind_kit::{Daemon, binary, eventually_blocking, web};

/// The command line of a user who has nothing but a home folder.
struct User {
    home: TempDir,
}

impl User {
    fn new() -> Result<Self> {
        Ok(Self {
            home: tempfile::tempdir()?,
        })
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.args(arguments).env_clear();
        command
            .env("HOME", self.home.path())
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .current_dir(self.home.path())
            .stdin(Stdio::null());
        command
    }

    /// The exit code, and what was printed to both outputs.
    fn run(&self, arguments: &[&str]) -> Result<(i32, String, String)> {
        Ok(printed(self.command(arguments).output()?))
    }

    fn run_with_input(&self, arguments: &[&str], input: &str) -> Result<(i32, String, String)> {
        let file = self.home.path().join("input");
        std::fs::write(&file, input)?;
        let mut command = self.command(arguments);
        command.stdin(std::fs::File::open(&file)?);
        let output = command.output()?;
        std::fs::remove_file(file)?;
        Ok(printed(output))
    }
}

fn printed(output: Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code().unwrap_or(-1),
        text(&output.stdout),
        text(&output.stderr),
    )
}

fn check(result: (i32, String, String), code: i32, parts: &[&str]) -> Result<String> {
    let (found, out, err) = result;
    let all = format!("{out}{err}");
    ensure!(found == code, "exit code {found} instead of {code}: {all}");
    for part in parts {
        ensure!(all.contains(part), "\"{part}\" is not in: {all}");
    }
    Ok(all)
}

#[tokio::test]
async fn waiting_ends_when_it_is_so_when_it_can_not_be_and_when_it_takes_too_long() -> Result<()> {
    let daemon = Daemon::local()?;
    let run = |arguments: &[&str]| -> Result<(i32, String, String)> {
        Ok(printed(daemon.cli(arguments)?))
    };
    let labelled = web("web", 1, "x").replace("{name: web}", "{name: web, labels: {app: shop}}");
    daemon.put("web", &labelled).await?;
    check(
        run(&["wait", "web", "--for=healthy"])?,
        0,
        &["\"web\" is healthy"],
    )?;
    check(
        run(&["wait", "-l", "app=shop"])?,
        0,
        &["\"web\" is running"],
    )?;
    check(run(&["wait", "-l", "app=none"])?, 3, &["app=none"])?;
    check(run(&["wait", "absent"])?, 3, &["absent"])?;
    check(
        run(&["wait", "web", "--for=completed"])?,
        1,
        &["never complete"],
    )?;
    check(
        run(&["wait", "web", "--for=gone", "--timeout", "200ms"])?,
        7,
        &["not gone after 200ms", "tradewind", "describe web"],
    )?;
    check(
        run(&["rollout", "status", "web"])?,
        0,
        &["revision 1: done", "began"],
    )?;
    let told = check(run(&["promote", "web"])?, 5, &["nothing to promote"])?;
    ensure!(told.matches("nothing to promote").count() == 1, "{told}");
    daemon.delete("web").await?;
    check(
        run(&["wait", "web", "never-there", "--for=deleted"])?,
        0,
        &["\"web\" is gone", "\"never-there\" is gone"],
    )?;
    Ok(())
}

#[tokio::test]
async fn a_context_is_all_that_is_needed_to_reach_a_daemon() -> Result<()> {
    let daemon = Daemon::local()?;
    let mut manifest = web("theirs", 1, "x");
    manifest = manifest.replace("{name: theirs}", "{name: theirs, namespace: team}");
    daemon.put("theirs", &manifest).await?;
    let user = User::new()?;
    let login = ["login", daemon.address.as_str(), "--name", "here"];
    check(user.run(&login)?, 8, &["no token", "--token-file"])?;
    let wrong = format!("tw_{}", "0".repeat(49));
    check(user.run_with_input(&login, &wrong)?, 64, &["no token"])?;
    let made = daemon.run(&["token", "create", "gone"])?;
    daemon.run(&["token", "revoke", "gone"])?;
    check(user.run_with_input(&login, &made)?, 8, &[])?;
    check(user.run(&["context", "show", "here"])?, 3, &["no context"])?;

    check(
        user.run_with_input(&login, &daemon.admin_token()?)?,
        0,
        &["admin", "\"here\" is the current one"],
    )?;
    let folder = user.home.path().join(".config/tradewind");
    for file in ["contexts.toml", "tokens/here"] {
        let mode = std::fs::metadata(folder.join(file))?.permissions().mode();
        ensure!(mode & 0o777 == 0o600, "{file}: {mode:o}");
    }
    check(user.run(&["get"])?, 0, &["theirs"])?;
    let help = check(
        user.run(&["--context", "here", "describe", "none"])?,
        3,
        &[],
    )?;
    ensure!(!help.contains(&daemon.admin_token()?), "{help}");
    check(
        user.run(&["context", "set-namespace", "other"])?,
        0,
        &["other"],
    )?;
    check(user.run(&["get"])?, 0, &["no deployments"])?;
    check(user.run(&["get", "-A"])?, 0, &["theirs"])?;
    // A manifest that names its namespace keeps it.
    let file = user.home.path().join("m.yaml");
    std::fs::write(&file, &manifest)?;
    let file = file.display().to_string();
    check(
        user.run(&["apply", "-f", &file, "--detach"])?,
        0,
        &["unchanged"],
    )?;
    check(
        user.run(&["context", "rename", "here", "there"])?,
        0,
        &["there"],
    )?;
    check(user.run(&["context", "list"])?, 0, &["*", "there", "local"])?;
    check(user.run(&["--context", "local", "get"])?, 6, &["serve"])?;
    check(
        user.run(&["--context", "prod", "get"])?,
        3,
        &["there, local"],
    )?;
    check(user.run(&["logout"])?, 0, &["removed"])?;
    check(user.run(&["get"])?, 8, &[])?;
    check(user.run(&["context", "remove", "there"])?, 0, &["there"])?;
    check(
        user.run(&["get"])?,
        6,
        &["no daemon runs with the data folder"],
    )?;
    Ok(())
}

#[test]
fn certificates_are_trusted_by_their_fingerprint_and_mistakes_are_told() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let user = User::new()?;
    let data = folder.path().join("data");
    std::fs::write(
        folder.path().join("config.toml"),
        "[tls]\nself-signed = true\n",
    )?;
    let mut daemon = Command::new(binary())
        .arg("--data")
        .arg(&data)
        .args(["serve", "--listen", "127.0.0.1:0"])
        .env("TRADEWIND_CONFIG", folder.path().join("config.toml"))
        .env("TRADEWIND_PLUGINS", folder.path().join("plugins"))
        .stderr(Stdio::null())
        .spawn()?;
    let result = trusting(&user, &data);
    daemon.kill()?;
    daemon.wait()?;
    result
}

fn trusting(user: &User, data: &Path) -> Result<()> {
    let told = || -> Option<Value> {
        serde_json::from_slice(&std::fs::read(data.join("daemon.json")).ok()?).ok()
    };
    let told = eventually_blocking("it is ready", || Ok(told()))?;
    let address = told["address"].as_str().context("no address")?;
    let fingerprint = told["fingerprint"].as_str().context("no fingerprint")?;
    let token = std::fs::read_to_string(data.join("admin.token"))?;
    check(
        user.run(&["--server", address, "get"])?,
        6,
        &["not one that you trust", "--fingerprint"],
    )?;
    let plain = address.replace("https://", "http://");
    let told = check(user.run(&["--server", &plain, "get"])?, 6, &["https://"])?;
    ensure!(!told.contains("tradewind serve"), "{told}");
    check(
        user.run_with_input(&["login", address], &token)?,
        8,
        &[fingerprint, "tradewind login", "--fingerprint"],
    )?;
    check(
        user.run_with_input(&["login", address, "--fingerprint", fingerprint], &token)?,
        0,
        &["127.0.0.1"],
    )?;
    check(user.run(&["whoami"])?, 0, &["admin"])?;
    check(user.run(&["doctor"])?, 0, &["TLS", "token"]).map(drop)
}

#[test]
fn much_can_be_asked_without_a_daemon() -> Result<()> {
    let user = User::new()?;
    let file = |name: &str, text: &str| -> Result<String> {
        let path = user.home.path().join(name);
        std::fs::write(&path, text)?;
        Ok(path.display().to_string())
    };
    let good = file("good.yaml", &web("web", 1, "x"))?;
    let bad = file(
        "bad.yaml",
        "apiVersion: tradewind.dev/v1\nkind: CloudDeployment\nmetadata: {name: UP}\nspec:\n  sevices: {}\n",
    )?;
    check(
        user.run(&["validate", "-f", &good])?,
        0,
        &["deployment \"web\" is valid"],
    )?;
    check(
        user.run(&["validate", "-f", &good, "-f", &bad])?,
        4,
        &["bad.yaml:3:", "bad.yaml:5:", "services"],
    )?;
    let (code, schema, _) = user.run(&["schema"])?;
    ensure!(code == 0 && serde_json::from_str::<Value>(&schema)?["$defs"].is_object());
    check(
        user.run(&["explain", "spec.services.web.update"])?,
        0,
        &["FIELDS", "maxSurge", "default: 10m"],
    )?;
    check(user.run(&["explain", "spec.nothing"])?, 3, &["services"])?;
    check(user.run(&["version"])?, 0, &["client", "not known"])?;
    check(
        user.run(&["doctor"])?,
        1,
        &["FAIL  daemon", "tradewind serve"],
    )?;
    let told = check(user.run(&["--data", "/no such", "get"])?, 6, &[])?;
    ensure!(
        told.contains("`tradewind --data '/no such' serve`"),
        "{told}"
    );
    check(user.run(&["get", "-V"])?, 64, &[])?;
    check(
        user.run(&["wait", "--help"])?,
        0,
        &["Examples:", "--for=healthy"],
    )
    .map(drop)
}

#[test]
fn manifests_are_formatted_and_nothing_else_of_their_files_changes() -> Result<()> {
    let user = User::new()?;
    let path = |name: &str| user.home.path().join(name);
    let head = "apiVersion: tradewind.dev/v1\n";
    let text = format!("{head}# why\nkind:   CloudDeployment\nmetadata: {{ name: web }}  # who\n");
    let laid = format!("{head}# why\nkind: CloudDeployment\nmetadata: {{name: web}} # who\n");
    std::fs::create_dir_all(path("deploy/more"))?;
    std::fs::write(path("deploy/web.yaml"), &text)?;
    std::fs::set_permissions(path("deploy/web.yaml"), PermissionsExt::from_mode(0o640))?;
    std::fs::write(path("deploy/foreign.yaml"), "a:   1\n")?;
    std::fs::write(path("deploy/bad.yaml"), format!("{head}a: {{\n"))?;
    std::fs::write(
        path("deploy/more/x.json"),
        "{\"apiVersion\":\"tradewind.dev/v1\"}",
    )?;
    std::os::unix::fs::symlink("deploy/web.yaml", path("link.yaml"))?;

    check(
        user.run(&["fmt", "--check", "link.yaml"])?,
        2,
        &["link.yaml\n"],
    )?;
    check(user.run(&["fmt", "--chekc"])?, 64, &["--check"])?;
    check(
        user.run(&["fmt", "--check", "--diff", "link.yaml"])?,
        2,
        &["-kind:   CloudDeployment\n", "+kind: CloudDeployment\n"],
    )?;
    ensure!(std::fs::read_to_string(path("deploy/web.yaml"))? == text);
    let (code, out, err) = user.run(&["fmt", "deploy", "-R"])?;
    ensure!(
        code == 4 && err.contains("deploy/bad.yaml:"),
        "{code} {err}"
    );
    ensure!(out == "deploy/more/x.json\ndeploy/web.yaml\n", "{out}");
    check(user.run(&["fmt", "--check", "link.yaml"])?, 0, &[])?;

    ensure!(std::fs::read_to_string(path("deploy/web.yaml"))? == laid);
    ensure!(path("link.yaml").is_symlink());
    let mode = std::fs::metadata(path("deploy/web.yaml"))?
        .permissions()
        .mode();
    ensure!(mode & 0o777 == 0o640, "{mode:o}");
    ensure!(std::fs::read_to_string(path("deploy/foreign.yaml"))? == "a:   1\n");
    ensure!(std::fs::read_to_string(path("deploy/bad.yaml"))?.ends_with("a: {\n"));
    let json = std::fs::read_to_string(path("deploy/more/x.json"))?;
    ensure!(
        json == "{\n  \"apiVersion\": \"tradewind.dev/v1\"\n}\n",
        "{json}"
    );
    let left = std::fs::read_dir(path("deploy"))?.count();
    ensure!(left == 4, "{left} files are in the folder");

    let (code, out, _) = user.run_with_input(&["fmt", "-"], &text)?;
    ensure!(code == 0 && out == laid, "{code} {out}");
    std::fs::set_permissions(path("deploy/web.yaml"), PermissionsExt::from_mode(0o440))?;
    std::fs::remove_file(path("link.yaml"))?;
    check(user.run(&["fmt", "nothing.yaml"])?, 1, &["nothing.yaml"]).map(drop)
}

#[tokio::test]
async fn a_token_learns_what_it_may_do() -> Result<()> {
    let daemon = Daemon::local()?;
    let made = daemon.run(&[
        "token", "create", "ci", "--role", "viewer", "--reach", "team",
    ])?;
    let token = daemon.file("ci.token", &made)?;
    let can = |arguments: &[&str]| -> Result<(i32, String, String)> {
        Ok(printed(
            daemon.cli(
                &[
                    &["--token-file", token.as_str(), "auth", "can-i"],
                    arguments,
                ]
                .concat(),
            )?,
        ))
    };
    check(can(&["get", "deployments", "-n", "team"])?, 0, &["yes"])?;
    check(
        can(&["delete", "deployments", "-n", "team"])?,
        1,
        &["no: ", "operator"],
    )?;
    check(can(&["get", "deployment"])?, 1, &["does not reach"])?;
    check(can(&["get", "pods"])?, 64, &["deployments"])?;
    check(can(&["--list"])?, 0, &["deployments", "promote", "yes"])?;
    let admin = daemon.run(&["auth", "can-i", "create", "tokens"])?;
    ensure!(admin == "yes\n", "{admin}");
    check(
        printed(daemon.cli(&["doctor"])?),
        0,
        &["ok    providers", "ok    token"],
    )?;
    Ok(())
}

#[tokio::test]
async fn a_support_bundle_has_no_secret() -> Result<()> {
    let daemon = Daemon::local()?;
    const SECRET: &str = "planted-secret-7391";
    let said = web("web", 1, SECRET);
    daemon.put("web", &said).await?;
    daemon.running("web").await?;
    // An event has both values.
    daemon
        .put("web", &web("web", 1, &format!("{SECRET}-2")))
        .await?;
    daemon
        .until("web", "updated", |d| {
            d["generation"] == 2 && d["status"] == "running"
        })
        .await?;
    let log = daemon.file(
        "said.log",
        &format!("one line\nit said {SECRET} and {}\n", daemon.admin_token()?),
    )?;
    let bundle = daemon.folder.path().join("bundle.tar.gz");
    let path = bundle.display().to_string();
    daemon.run(&["support-bundle", &path, "--log", &log])?;
    ensure!(std::fs::metadata(&bundle)?.permissions().mode() & 0o777 == 0o600);
    let out = daemon.folder.path().join("unpacked");
    std::fs::create_dir(&out)?;
    let tar = Command::new("tar")
        .arg("-xzf")
        .arg(&bundle)
        .arg("-C")
        .arg(&out)
        .status()?;
    ensure!(tar.success());
    let token = daemon.admin_token()?;
    let mut names = Vec::new();
    for entry in std::fs::read_dir(out.join("tradewind-support"))? {
        let entry = entry?;
        let text = std::fs::read_to_string(entry.path())?;
        for secret in [SECRET, token.as_str()] {
            ensure!(!text.contains(secret), "{}: {text}", entry.path().display());
        }
        if entry.file_name() == "log.txt" {
            ensure!(text.contains("one line"), "{text}");
        }
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    for name in [
        "doctor.txt",
        "settings.json",
        "events.json",
        "decisions.json",
        "metrics.txt",
        "log.txt",
    ] {
        ensure!(
            names.iter().any(|n| n == name),
            "{name} is missing: {names:?}"
        );
    }
    // What is there is not written over.
    check(
        printed(daemon.cli(&["support-bundle", &path])?),
        1,
        &["can't be written"],
    )?;
    Ok(())
}

#[tokio::test]
async fn names_are_completed_and_programs_of_others_are_found() -> Result<()> {
    let mut daemon = Daemon::local()?;
    daemon.put("web", &web("web", 1, "x")).await?;
    let data = daemon.data().display().to_string();
    let user = User::new()?;
    let complete = |words: &[&str]| -> Result<(i32, String, String)> {
        let mut command = user.command(&["--", "tradewind", "--data", &data]);
        command
            .args(words)
            .env("TRADEWIND_COMPLETE", "bash")
            .env("_CLAP_COMPLETE_INDEX", (words.len() + 2).to_string());
        Ok(printed(command.output()?))
    };
    check(complete(&["logs", "w"])?, 0, &["web"])?;
    check(
        complete(&["plugin", "inspect", ""])?,
        0,
        &["cheapest", "local"],
    )?;
    daemon.stop()?;
    let silent = complete(&["logs", "w"])?;
    ensure!(silent == (0, String::new(), String::new()), "{silent:?}");
    check(
        user.run(&["completions", "bash"])?,
        0,
        &["TRADEWIND_COMPLETE", "complete -o"],
    )?;

    let program = |folder: &Path, name: &str| -> Result<()> {
        std::fs::create_dir_all(folder)?;
        let path = folder.join(name);
        std::fs::write(
            &path,
            "#!/bin/sh\necho \"$1 of $TRADEWIND_CONTEXT\"\nexit 42\n",
        )?;
        Ok(std::fs::set_permissions(
            path,
            std::fs::Permissions::from_mode(0o755),
        )?)
    };
    program(&user.home.path().join("bin"), "tradewind-hello")?;
    program(user.home.path(), "tradewind-here")?;
    let path = format!(".::{}/bin:/usr/bin:/bin", user.home.path().display());
    let run = |words: &[&str]| -> Result<(i32, String, String)> {
        Ok(printed(user.command(words).env("PATH", &path).output()?))
    };
    check(
        run(&["--context", "prod", "hello", "-x"])?,
        42,
        &["-x of prod"],
    )?;
    check(run(&["here"])?, 64, &["here"])?;
    check(run(&["extensions"])?, 0, &["hello"])?;
    Ok(())
}
