//! The minimal Debian with its service manager running: systemd as process 1 of a container of its own, with a network of its own.

use std::{
    fs,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;
use tradewind_kit::{Signal, eventually_blocking, signal, when};

use super::system::unpacked;

/// It is ended, with everything in it, when this is dropped.
pub(super) struct Booted {
    container: Child,
    root: TempDir,
}

impl Booted {
    /// None, with a printed reason, where this machine can't have one and need not.
    pub(super) fn new() -> Result<Option<Self>> {
        let Some(root) = unpacked()? else {
            return Ok(None);
        };
        let log = fs::File::create(root.path().join("srv/boot.log"))?;
        let container = Command::new("systemd-nspawn")
            .args(["--quiet", "--boot", "--private-network"])
            // The machine itself may have another service manager.
            .args(["--register=no", "--keep-unit", "--console=read-only"])
            .arg("--directory")
            .arg(root.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let system = Self { container, root };
        let up = eventually_blocking("systemd runs", || {
            Ok(system.run(&["systemctl", "is-system-running", "--wait"]))
        });
        up.with_context(|| fs::read_to_string(system.path("srv/boot.log")).unwrap_or_default())?;
        Ok(Some(system))
    }

    /// A path without its leading slash, as the test sees it.
    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    /// What a command of root prints when it succeeds.
    pub(super) fn run(&self, words: &[&str]) -> Result<String> {
        let id = self.container.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"))?;
        let first = children
            .split_whitespace()
            .next()
            .context("nothing runs in the container")?;
        let output = Command::new("nsenter")
            .args(["--all", "--target", first])
            .args(words)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .env("HOME", "/root")
            .stdin(Stdio::null())
            .output()?;
        ensure!(
            output.status.success(),
            "{words:?} ended with {}: {}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    pub(super) fn json(&self, words: &[&str]) -> Result<Value> {
        Ok(serde_json::from_str(&self.run(words)?)?)
    }

    pub(super) fn install(&self, package: &Path) -> Result<()> {
        fs::copy(package, self.path("srv/package.deb"))?;
        self.run(&["dpkg", "--install", "/srv/package.deb"])
            .map(drop)
    }

    /// The daemon's process once it is ready, if it is another than this one.
    pub(super) fn ready(&self, before: Option<&str>) -> Result<String> {
        eventually_blocking("the daemon is ready", || {
            let show = [
                "systemctl",
                "show",
                "--property=MainPID",
                "--value",
                "tradewind",
            ];
            let main = self.run(&show)?;
            let other = main != "0" && before != Some(main.as_str());
            let ready = other.then(|| self.run(&["tradewind", "wait-ready", "--timeout", "5s"]));
            Ok(match ready {
                Some(Ok(_)) => Ok(main),
                Some(Err(error)) => Err(format!("{error:#}")),
                None => Err(format!("its process is {main}")),
            })
        })
        .with_context(|| {
            let log = ["journalctl", "--no-pager", "--unit", "tradewind"];
            self.run(&log).unwrap_or_default()
        })
    }

    /// Whether these processes of the container are there.
    pub(super) fn are_there(&self, ids: &[String]) -> bool {
        ids.iter()
            .all(|id| self.run(&["test", "-d", &format!("/proc/{id}")]).is_ok())
    }

    /// Waits until none of these processes is there.
    pub(super) fn are_gone(&self, ids: &[String]) -> Result<()> {
        eventually_blocking("the processes have ended", || {
            let left = ids
                .iter()
                .filter(|id| self.are_there(std::slice::from_ref(id)));
            let left: Vec<&String> = left.collect();
            Ok(when(left.is_empty(), format!("{left:?}")))
        })
        .map(drop)
    }
}

impl Drop for Booted {
    fn drop(&mut self) {
        // systemd-nspawn ends the whole container when it ends.
        let told = signal(self.container.id(), Signal::TERM);
        let ended = eventually_blocking("the container has ended", || {
            Ok(self.container.try_wait()?)
        });
        match (told, ended) {
            (Ok(_), Ok(status)) if status.signal().is_none() => {}
            (told, ended) => {
                eprintln!("the container did not end in order: {told:?}, {ended:?}");
                let _ = self.container.kill();
                let _ = self.container.wait();
            }
        }
    }
}
