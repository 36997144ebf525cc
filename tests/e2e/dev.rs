//! First minutes: a command right behind `serve &`, a daemon to try things with, a set-up written by the program. The daemons here are not
//! the kit's: what is looked at is what they have without anything that a test puts there.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tradewind_kit::{Signal, binary, eventually_blocking, signal, when};

/// Ended with the test.
struct Running(Child);

impl Running {
    fn stop(&mut self, by: Signal) -> Result<bool> {
        signal(self.0.id(), by)?;
        Ok(eventually_blocking("it has ended", || Ok(self.0.try_wait()?))?.success())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.0.try_wait().is_ok_and(|ended| ended.is_none()) {
            // What it runs ends with it where it is told to end.
            let _ = self.stop(Signal::TERM);
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The program as a user's shell has it, with the folder of the test for everything of the user's own.
fn tradewind(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TRADEWIND_") {
            command.env_remove(name);
        }
    }
    command
        .args(arguments)
        .current_dir(folder)
        .env("HOME", folder)
        .env("XDG_CONFIG_HOME", folder.join("user"))
        .env("TMPDIR", folder)
        .stdin(Stdio::null());
    command
}

fn said(command: &mut Command) -> Result<String> {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output()?;
    let errors = String::from_utf8_lossy(&stderr);
    ensure!(
        status.success(),
        "{command:?} ended with {status}: {errors}"
    );
    Ok(String::from_utf8(stdout)?)
}

fn serve(folder: &Path, arguments: &[&str]) -> Result<Running> {
    let log = fs::File::options()
        .create(true)
        .append(true)
        .open(folder.join("log"))?;
    let mut command = tradewind(folder, arguments);
    command
        .args(["serve", "--listen", "127.0.0.1:0"])
        .stdout(log.try_clone()?)
        .stderr(log);
    Ok(Running(command.spawn()?))
}

/// The head and the body of an answer.
fn get(address: &str, path: &str) -> Result<String> {
    let host = address.trim_start_matches("http://").trim_end_matches('/');
    let mut stream = TcpStream::connect(host)?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

#[test]
fn the_first_command_waits_for_a_daemon_that_starts() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (folder, data) = (folder.path(), folder.path().join("data"));
    let data = data.to_string_lossy();
    // With a cold cache: the policy that is built in is compiled first. Then with a warm one.
    for _ in 0..2 {
        let mut daemon = serve(folder, &["--data", &data])?;
        let listed = said(&mut tradewind(
            folder,
            &["--data", &data, "plugin", "list", "-o", "json"],
        ))?;
        let listed: Value = serde_json::from_str(&listed)?;
        let policy = listed["items"]
            .as_array()
            .and_then(|all| all.iter().find(|one| one["instance"] == "cheapest"))
            .with_context(|| format!("no policy: {listed}"))?;
        ensure!(policy["state"] == "active", "{policy}");
        ensure!(!folder.join("data/starting.json").exists());
        ensure!(daemon.stop(Signal::TERM)?);
    }
    let log = fs::read_to_string(folder.join("log"))?;
    ensure!(log.contains("compiling 1 component"), "{log}");
    ensure!(log.contains("no provider is set up"), "{log}");
    // Nobody starts: it is said soon, and not after a minute.
    let refused = tradewind(folder, &["--data", &data, "get"])
        .env("TRADEWIND_LISTEN", "127.0.0.1:1")
        .output()?;
    ensure!(refused.status.code() == Some(6), "{refused:?}");
    Ok(())
}

#[test]
fn a_daemon_that_starts_says_so_and_is_waited_for_when_it_is_named() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (folder, data) = (folder.path(), folder.path().join("data"));
    fs::create_dir_all(data.join("plugins"))?;
    for name in ["optimal", "simulated", "weighted"] {
        let text = format!("component = \"builtin:{name}\"\n");
        fs::write(data.join(format!("plugins/{name}.toml")), text)?;
    }
    let path = data.to_string_lossy();
    let mut daemon = serve(folder, &["--data", &path])?;
    let starting = eventually_blocking("the folder says that it starts", || {
        let text = fs::read(data.join("starting.json")).unwrap_or_default();
        let told = serde_json::from_slice::<Value>(&text).ok();
        Ok(told.filter(|told| told["components"].as_u64() > Some(1)))
    })?;
    let address = starting["address"].as_str().context("no address")?;
    ensure!(get(address, "/healthz")?.starts_with("HTTP/1.1 200"));
    for path in ["/readyz", "/v1/deployments"] {
        let answer = get(address, path)?;
        ensure!(
            answer.starts_with("HTTP/1.1 503")
                && answer.contains("retry-after: 1")
                && answer.contains("/problems/starting")
                && answer.contains("components are compiled"),
            "{answer}"
        );
    }
    let token = data.join("admin.token");
    let named = [
        "--server",
        address,
        "--token-file",
        &token.to_string_lossy(),
        "offers",
    ];
    said(&mut tradewind(folder, &named))?;
    ensure!(get(address, "/readyz")?.starts_with("HTTP/1.1 200"));
    ensure!(daemon.stop(Signal::TERM)?);
    Ok(())
}

/// Processes that have this folder's path among their arguments.
fn running_in(folder: &Path) -> Vec<String> {
    let folder = folder.to_string_lossy();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let commands = processes.filter_map(|one| fs::read(one.path().join("cmdline")).ok());
    commands
        .map(|words| String::from_utf8_lossy(&words).replace('\0', " "))
        .filter(|words| words.contains(&*folder))
        .collect()
}

#[test]
fn dev_shows_a_service_that_answers_and_leaves_nothing() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let folder = folder.path().canonicalize()?;
    let mut command = tradewind(&folder, &["dev"]);
    let mut dev = Running(
        command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?,
    );
    let printed = BufReader::new(dev.0.stdout.take().context("no output")?);
    let mut words = Vec::new();
    for line in printed.lines() {
        words.push(line?);
        if words.last().is_some_and(|line| line.starts_with("Ctrl-C")) {
            break;
        }
    }
    let after = |start: &str| {
        let line = words
            .iter()
            .find_map(|line| line.trim().strip_prefix(start));
        line.map(str::to_owned)
            .with_context(|| format!("{start}: {words:#?}"))
    };
    let page = get(&after("curl ")?, "/")?;
    ensure!(page.contains("hello from Tradewind"), "{page}");
    let data = PathBuf::from(after("export TRADEWIND_DATA=")?);
    ensure!(data.starts_with(&folder), "{}", data.display());
    // As in another terminal.
    let shown = said(tradewind(&folder, &["get"]).env("TRADEWIND_DATA", &data))?;
    ensure!(
        shown.contains("welcome") && shown.contains("local/local"),
        "{shown}"
    );
    ensure!(!running_in(&data).is_empty());

    ensure!(dev.stop(Signal::INT)?);
    ensure!(!data.exists(), "it is left");
    eventually_blocking("nothing runs any more", || {
        let left = running_in(&data);
        Ok(when(left.is_empty(), format!("{left:?}")))
    })?;
    Ok(())
}

#[test]
fn dev_says_which_port_is_taken_before_it_makes_anything() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let port = taken.local_addr()?.port().to_string();
    let output = tradewind(folder.path(), &["dev", "--port", &port]).output()?;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(
        output.status.code() == Some(1)
            && told.contains(&format!("the port {port} of 127.0.0.1 can't be used"))
            && told.contains("--port"),
        "{told}"
    );
    ensure!(
        folder.path().read_dir()?.next().is_none(),
        "it made something"
    );
    Ok(())
}

#[test]
fn a_set_up_is_written_once_and_serves_at_once() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let folder = folder.path();
    let printed = said(&mut tradewind(folder, &["init", "set-up"]))?;
    let config = folder.join("set-up/config.toml");
    let path = config.to_string_lossy();
    ensure!(
        printed.contains(&format!("tradewind serve --config {path}")),
        "{printed}"
    );
    said(&mut tradewind(
        folder,
        &["config", "check", "--config", &path],
    ))?;

    let written = fs::read(&config)?;
    let again = tradewind(folder, &["init", "set-up"]).output()?;
    ensure!(again.status.code() == Some(1), "{again:?}");
    ensure!(fs::read(&config)? == written, "it was changed");

    let plugins = folder.join("set-up/plugins");
    fs::copy(
        plugins.join("process.toml.example"),
        plugins.join("process.toml"),
    )?;
    let mut daemon = serve(folder, &["--config", &path])?;
    let offers = said(&mut tradewind(
        folder,
        &["offers", "--config", &path, "-o", "json"],
    ))?;
    ensure!(offers.contains("\"process\""), "{offers}");
    ensure!(daemon.stop(Signal::TERM)?);
    Ok(())
}
