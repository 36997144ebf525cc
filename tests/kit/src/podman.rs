//! A container engine of the test's own: podman with storage, networks, locks and socket in a folder that goes with it, and an image that is
//! made here, for no registry need be reached.
//!
//! ```ignore
//! let Some(engine) = Podman::start()? else { return Ok(()) };
//! let daemon = Daemon::start(&["cheapest", "containers"], &[("box", &engine.instance("", ""))])?;
//! ```
//!
//! Let the engine outlive the daemon (declare it first): the daemon removes what it runs when it is dropped.

use std::{
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU8, Ordering},
};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::eventually_blocking;

/// The image there is: a busybox with the user `app` (1000).
pub const IMAGE: &str = "localhost/tradewind/busybox:1";

/// What of busybox the image has by name.
const APPLETS: [&str; 16] = [
    "sh", "httpd", "sleep", "cat", "echo", "ls", "env", "kill", "true", "false", "id", "wget",
    "nslookup", "stat", "test", "head",
];

/// Fills a mount namespace: trees that each hold as many mounts as all before them together, smaller ones, then single mounts. Then it is podman.
const FILL: &str = r#"
mount --make-rprivate / && mount -t tmpfs filler "$1" && mkdir "$1/one" && mount -t tmpfs one "$1/one" || exit 1
n=0
while mkdir "$1/$n" && mount --rbind "$1" "$1/$n" 2>/dev/null; do n=$((n+1)); done
while [ $n -ge 0 ]; do
    mkdir "$1/more-$n"
    mount --rbind "$1/$n" "$1/more-$n" 2>/dev/null
    n=$((n-1))
done
i=0
while mkdir "$1/last-$i" && mount --bind "$1/one" "$1/last-$i" 2>/dev/null; do i=$((i+1)); done
shift
exec podman "$@"
"#;

/// A podman service of the test's own. It is stopped, with everything it runs, when this is dropped.
pub struct Podman {
    service: Option<Child>,
    folder: TempDir,
}

impl Podman {
    /// None, with a printed reason, where podman is not installed and need not be.
    pub fn start() -> Result<Option<Self>> {
        if let Some(missing) = ["podman", "runc", "busybox"]
            .into_iter()
            .find(|p| !is_installed(p))
        {
            ensure!(
                std::env::var("TRADEWIND_REQUIRE_BACKENDS").as_deref() != Ok("1"),
                "{missing} is not installed: run `make backends`"
            );
            eprintln!("skipped: {missing} is not installed; `make backends` installs it");
            return Ok(None);
        }
        let mut engine = Self {
            service: None,
            folder: tempfile::Builder::new().prefix("tw-podman-").tempdir()?,
        };
        engine.configure()?;
        import(&engine)?;
        engine.serve()?;
        Ok(Some(engine))
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("podman.sock")
    }

    /// An instance file for the provider `containers` that may run every image, with further lines for `[grants.containers]` and `[settings]`.
    pub fn instance(&self, grants: &str, settings: &str) -> String {
        instance(&self.socket(), grants, settings)
    }

    /// The engine's own command line, on this engine's storage.
    pub fn podman(&self, arguments: &[&str]) -> Result<String> {
        let output = self
            .command()
            .args(arguments)
            .stdin(Stdio::null())
            .output()?;
        ensure!(
            output.status.success(),
            "podman {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// What podman lists, one line each.
    pub fn list(&self, arguments: &[&str]) -> Result<Vec<String>> {
        Ok(self
            .podman(arguments)?
            .lines()
            .filter(|l| !l.is_empty())
            .map(str::to_owned)
            .collect())
    }

    /// Every container's name, running or not.
    pub fn containers(&self) -> Result<Vec<String>> {
        self.list(&["ps", "--all", "--format", "{{.Names}}"])
    }

    /// Starts the service, again if need be, and waits until it answers.
    pub fn serve(&mut self) -> Result<()> {
        self.serve_by(Command::new("podman"))
    }

    /// Starts the service anew where no mount has room any more: in a mount namespace of its own, filled up to the kernel's limit.
    pub fn serve_without_room_for_mounts(&mut self) -> Result<()> {
        self.interrupt()?;
        let full = self.folder.path().join("full");
        std::fs::create_dir_all(&full)?;
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "sh", "-c", FILL, "fill"])
            .arg(full);
        self.serve_by(command)
    }

    /// `start` runs podman with the arguments that it is given.
    fn serve_by(&mut self, start: Command) -> Result<()> {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder.path().join("log"))?;
        let mut command = self.on_this_engine(start);
        command
            .args(["system", "service", "--time=0"])
            .arg(format!("unix://{}", self.socket().display()));
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let mut child = command.spawn()?;
        let answered = eventually_blocking("podman's service answers", || {
            ensure!(child.try_wait()?.is_none(), "podman's service has ended");
            Ok(std::os::unix::net::UnixStream::connect(self.socket()))
        });
        self.service = Some(child);
        if answered.is_err() {
            self.interrupt()?;
        }
        answered.map(drop).with_context(|| {
            std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
        })
    }

    /// Stops the service as a failure would. Its containers run on.
    pub fn interrupt(&mut self) -> Result<()> {
        if let Some(mut child) = self.service.take() {
            child.kill()?;
            child.wait()?;
        }
        let _ = std::fs::remove_file(self.socket());
        Ok(())
    }

    /// As after a loss of power: everything that runs is gone at once, and the next podman finds that the machine was started anew.
    pub fn reboot(&mut self) -> Result<()> {
        let running = self.list(&["ps", "--format", "{{.ID}} {{.Pid}}", "--no-trunc"])?;
        self.interrupt()?;
        for (id, pid) in running.iter().filter_map(|line| line.split_once(' ')) {
            for keeper in keepers(id)?.iter().map(String::as_str).chain([pid]) {
                // It may have ended with another.
                let _ = crate::signal(keeper, crate::Signal::KILL);
            }
        }
        // What goes with the machine's memory.
        for gone in ["tmp/alive", "tmp/locks", "tmp/exits"] {
            let path = self.folder.path().join(gone);
            let _ = std::fs::remove_file(&path).or_else(|_| std::fs::remove_dir_all(&path));
        }
        self.serve()
    }

    fn command(&self) -> Command {
        self.on_this_engine(Command::new("podman"))
    }

    fn on_this_engine(&self, mut command: Command) -> Command {
        let folder = |name: &str| self.folder.path().join(name);
        command
            .arg("--root")
            .arg(folder("root"))
            .arg("--runroot")
            .arg(folder("run"));
        command
            .env("CONTAINERS_CONF", folder("containers.conf"))
            .env_remove("CONTAINER_HOST")
            // Nothing here could run the engine's checks by timers.
            .env("DISABLE_HC_SYSTEMD", "true");
        // What watches over containers leaves a note where it was started when one of them runs out of memory.
        command.current_dir(self.folder.path());
        command
    }

    /// A configuration of its own: nothing is shared with the machine's engine, or with those of other tests.
    fn configure(&self) -> Result<()> {
        static NEXT: AtomicU8 = AtomicU8::new(0);
        let folder = |name: &str| self.folder.path().join(name).display().to_string();
        for name in ["networks", "tmp", "static"] {
            std::fs::create_dir_all(folder(name))?;
        }
        // Other processes have other networks, too.
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let second = 64 + (std::process::id() as u8).wrapping_add(number) % 128;
        // And another bridge: the engine that removes the last container of one takes the bridge of its name away.
        let network = serde_json::json!({
            "name": "podman",
            "id": format!("{:064x}", u64::from(std::process::id()) << 8 | u64::from(number)),
            "driver": "bridge",
            "network_interface": format!("tw{:x}n{number}", std::process::id()),
            "subnets": [{"subnet": format!("10.{second}.0.0/24"), "gateway": format!("10.{second}.0.1")}],
            "ipv6_enabled": false,
            "internal": false,
            "dns_enabled": false,
            "ipam_options": {"driver": "host-local"},
        });
        std::fs::write(
            format!("{}/podman.json", folder("networks")),
            serde_json::to_vec(&network)?,
        )?;
        let text = format!(
            r#"
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=20000:20000"]
[network]
network_config_dir = "{}"
default_subnet = "10.{second}.0.0/24"
default_subnet_pools = [{{"base" = "10.{second}.128.0/17", "size" = 24}}]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
lock_type = "file"
tmp_dir = "{}"
static_dir = "{}"
"#,
            folder("networks"),
            folder("tmp"),
            folder("static")
        );
        Ok(std::fs::write(folder("containers.conf"), text)?)
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        for arguments in [
            ["rm", "--all", "--force", "--time=0"].as_slice(),
            &["network", "prune", "--force"],
            &["volume", "prune", "--force"],
        ] {
            let _ = self.podman(arguments);
        }
        let _ = self.interrupt();
        // The engine mounts its storage onto itself.
        let _ = Command::new("umount")
            .arg("--lazy")
            .arg(self.folder.path().join("root/overlay"))
            .stderr(Stdio::null())
            .status();
    }
}

/// The processes that watch over a container.
fn keepers(id: &str) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let words: Vec<_> = line.split(|b| *b == 0).collect();
        if words.first().is_some_and(|w| w.ends_with(b"conmon")) && words.contains(&id.as_bytes()) {
            found.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    Ok(found)
}

/// An instance file for the provider `containers` on any engine's socket.
pub fn instance(socket: &Path, grants: &str, settings: &str) -> String {
    format!(
        "component = \"containers.wasm\"\n[grants.containers]\nsocket = \"{}\"\nimages = [\"*\"]\n{grants}\n[grants.probe]\nhosts = [\"127.0.0.0/8\"]\n[settings]\n{settings}\n",
        socket.display()
    )
}

pub(crate) fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin")])
        .any(|folder| folder.join(program).is_file())
}

/// The files of the image, as an archive.
pub(crate) fn archive(folder: &Path) -> Result<PathBuf> {
    let tree = folder.join("image");
    for name in ["bin", "etc", "tmp", "srv", "proc"] {
        std::fs::create_dir_all(tree.join(name))?;
    }
    let busybox = Command::new("sh")
        .args(["-c", "command -v busybox"])
        .output()?;
    std::fs::copy(
        String::from_utf8(busybox.stdout)?.trim(),
        tree.join("bin/busybox"),
    )
    .context("busybox")?;
    for name in APPLETS {
        symlink("busybox", tree.join("bin").join(name))?;
    }
    std::fs::write(
        tree.join("etc/passwd"),
        "root:x:0:0::/:/bin/sh\napp:x:1000:1000::/:/bin/sh\n",
    )?;
    std::fs::write(tree.join("etc/group"), "root:x:0:\napp:x:1000:\n")?;
    let archive = folder.join("image.tar");
    let packed = Command::new("tar")
        .arg("-C")
        .arg(&tree)
        .args(["--owner=0", "--group=0", "-cf"])
        .arg(&archive)
        .arg(".")
        .status()?;
    ensure!(packed.success(), "the image can't be packed");
    Ok(archive)
}

fn import(engine: &Podman) -> Result<()> {
    let archive = archive(engine.folder.path())?;
    engine.podman(&["import", &archive.display().to_string(), IMAGE])?;
    Ok(())
}
