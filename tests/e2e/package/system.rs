//! A minimal Debian of the test's own, with packages installed in it and the daemon started as its unit says. No service manager runs there:
//! what packages ask of one is taken down, and the test does it.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;
use tradewind_kit::{Signal, eventually_blocking, signal};

/// Runs a command in a root folder that has the kernel's file systems as long as the command runs.
const ENTER: &str = r#"
root=$1
shift
mount -t proc proc "$root/proc" && mount --bind /dev "$root/dev" && exec chroot "$@"
"#;

/// Takes down what it is asked for.
const INVOKE: &str = "#!/bin/sh\necho \"$@\" >>/var/log/asked\n";

pub(super) struct System {
    root: TempDir,
    daemon: Option<Child>,
}

/// The minimal system in a folder of its own. None, with a printed reason, where this machine can't have one and need not.
pub(super) fn unpacked() -> Result<Option<TempDir>> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("backends/debian/root.sh");
    let output = Command::new("bash")
        .arg(script)
        .stderr(Stdio::inherit())
        .output()?;
    ensure!(output.status.success(), "root.sh: {}", output.status);
    let packed = String::from_utf8(output.stdout)?;
    if packed.trim().is_empty() {
        return Ok(None);
    }
    let root = tempfile::Builder::new()
        .prefix("tw-system-")
        .permissions(fs::Permissions::from_mode(0o755))
        .tempdir()?;
    let unpacked = Command::new("tar")
        .args(["--numeric-owner", "-xpf", packed.trim(), "-C"])
        .arg(root.path())
        .status()?;
    ensure!(unpacked.success(), "{packed} can't be unpacked");
    Ok(Some(root))
}

impl System {
    /// None, with a printed reason, where this machine can't have one and need not.
    pub(super) fn new() -> Result<Option<Self>> {
        let Some(root) = unpacked()? else {
            return Ok(None);
        };
        let system = Self { root, daemon: None };
        // As if a service manager ran.
        fs::create_dir_all(system.path("run/systemd/system"))?;
        fs::write(system.path("usr/bin/deb-systemd-invoke"), INVOKE)?;
        Ok(Some(system))
    }

    /// A path without its leading slash, as the test sees it.
    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    fn command(&self, options: &[&str], words: &[&str]) -> Command {
        let mut command = Command::new("unshare");
        command
            .args([
                "--mount",
                "--propagation",
                "private",
                "sh",
                "-c",
                ENTER,
                "sh",
            ])
            .arg(self.root.path())
            .args(options)
            .arg(self.root.path())
            .args(words)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .env("HOME", "/root")
            .stdin(Stdio::null());
        command
    }

    /// What a command of root prints when it succeeds.
    pub(super) fn run(&self, words: &[&str]) -> Result<String> {
        self.run_as("root", words)
    }

    /// What a command of this user prints when it succeeds.
    pub(super) fn run_as(&self, user: &str, words: &[&str]) -> Result<String> {
        let home = self.home(user)?;
        let user = format!("--userspec={user}:{user}");
        let output = self.command(&[&user], words).env("HOME", home).output()?;
        ensure!(
            output.status.success(),
            "{words:?} ended with {}: {}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr),
            self.log()
        );
        Ok(String::from_utf8(output.stdout)?)
    }

    pub(super) fn json(&self, words: &[&str]) -> Result<Value> {
        Ok(serde_json::from_str(&self.run(words)?)?)
    }

    /// What a command of root says when it fails, as it must.
    pub(super) fn fails(&self, words: &[&str]) -> Result<String> {
        let output = self.command(&[], words).output()?;
        ensure!(!output.status.success(), "{words:?} succeeds");
        Ok(String::from_utf8(output.stderr)?)
    }

    pub(super) fn dpkg(&self, words: &[&str], package: Option<&Path>) -> Result<()> {
        const INSIDE: &str = "/srv/package.deb";
        if let Some(package) = package {
            fs::copy(package, self.path(INSIDE.trim_start_matches('/')))?;
        }
        let package = package.map(|_| INSIDE);
        let words: Vec<_> = ["dpkg"]
            .iter()
            .chain(words)
            .copied()
            .chain(package)
            .collect();
        self.run(&words).map(drop)
    }

    /// What packages have asked of the service manager so far.
    pub(super) fn asked(&self) -> Result<Vec<String>> {
        let text = fs::read_to_string(self.path("var/log/asked"))?;
        Ok(text.lines().map(str::to_owned).collect())
    }

    pub(super) fn is_link(&self, path: &str) -> bool {
        fs::symlink_metadata(self.path(path)).is_ok_and(|m| m.is_symlink())
    }

    pub(super) fn owner_and_mode(&self, path: &str) -> Result<(u32, u32)> {
        let metadata = fs::metadata(self.path(path))?;
        Ok((metadata.uid(), metadata.mode() & 0o7777))
    }

    /// What is on record of a user of this system, field by field.
    fn fields(&self, user: &str) -> Result<Option<Vec<String>>> {
        let text = fs::read_to_string(self.path("etc/passwd"))?;
        let mut users = text
            .lines()
            .map(|line| line.split(':').map(str::to_owned).collect::<Vec<_>>());
        Ok(users.find(|fields| fields[0] == user))
    }

    /// The number of a user of this system.
    pub(super) fn user(&self, name: &str) -> Result<Option<u32>> {
        let found = self.fields(name)?;
        Ok(found.map(|fields| fields[2].parse()).transpose()?)
    }

    fn home(&self, user: &str) -> Result<String> {
        let found = self.fields(user)?;
        found
            .map(|fields| fields[5].clone())
            .with_context(|| format!("there is no user {user}"))
    }

    /// The daemon's unit, as far as it has one value for each key.
    fn unit(&self) -> Result<BTreeMap<String, String>> {
        let text = fs::read_to_string(self.path("usr/lib/systemd/system/tradewind.service"))?;
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        Ok(pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).collect())
    }

    /// Starts the daemon as a service manager would, and waits until it is ready.
    pub(super) fn start(&mut self) -> Result<()> {
        let unit = self.unit()?;
        let value = |key: &str| {
            unit.get(key)
                .map(String::as_str)
                .with_context(|| format!("the unit has no {key}"))
        };
        // Whatever else is in the control group goes on when the daemon stops.
        ensure!(value("KillMode")? == "process");
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.path("var/log/tradewind"))?;
        let words: Vec<_> = value("ExecStart")?.split_whitespace().collect();
        let user = format!("--userspec={0}:{0}", value("User")?);
        let variable = value("Environment")?.split_once('=');
        let state = format!("/var/lib/{}", value("StateDirectory")?);
        let mut child = self
            .command(&[&user], &words)
            .env("HOME", &state)
            .envs(variable)
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let file = self.path(state.trim_start_matches('/')).join("daemon.json");
        let ready = eventually_blocking("the daemon is ready", || {
            if let Some(status) = child.try_wait()? {
                bail!("the daemon ended with {status}");
            }
            let told = fs::read(&file).ok();
            let told = told.and_then(|text| serde_json::from_slice::<Value>(&text).ok());
            Ok(told.is_some_and(|told| told["pid"].as_u64() == Some(u64::from(child.id()))))
        });
        if let Err(error) = ready {
            // It may have ended.
            let _ = child.kill();
            child.wait()?;
            bail!("{error:#}\n{}", self.log());
        }
        self.daemon = Some(child);
        Ok(())
    }

    pub(super) fn is_running(&mut self) -> Result<bool> {
        match &mut self.daemon {
            Some(child) => Ok(child.try_wait()?.is_none()),
            None => Ok(false),
        }
    }

    /// Stops the daemon alone, as `KillMode=process` does. Answers what it has ended with.
    pub(super) fn stop(&mut self) -> Result<Option<i32>> {
        let mut child = self.daemon.take().context("no daemon runs")?;
        signal(child.id(), Signal::TERM)?;
        Ok(child.wait()?.code())
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("var/log/tradewind")).unwrap_or_default()
    }
}

impl Drop for System {
    fn drop(&mut self) {
        if self.daemon.is_some() {
            // A test that failed: nothing runs on behind it.
            let _ = self.run(&["tradewind", "delete", "web", "--timeout", "20s"]);
            let _ = self.stop();
        }
    }
}
