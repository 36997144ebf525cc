//! dockerd of the test's own, on the machine's network, and a registry that it pulls from.

use std::{
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;
use tradewind_core::names::Digest;

use crate::{
    Signal, eventually_blocking,
    podman::{IMAGE, archive, instance, is_installed},
    signal,
};

/// Who may pull from the registry, as `user:password`.
pub const REGISTRY_LOGIN: &str = "puller:let-me-pull";
/// The password of the login, by bcrypt.
const REGISTRY_USERS: &str =
    "puller:$2b$04$1zjGcNARlrpXYo/ddMx1.e0rpfEYgty6lmFjk2YVDVk7R.Je9Hdr.\n";

/// A dockerd. It is stopped, with everything it runs, when this is dropped.
pub struct Docker {
    daemon: Child,
    folder: TempDir,
}

/// Stopped when dropped.
pub struct Registry {
    server: Child,
    /// Host and port.
    pub address: String,
    _folder: TempDir,
}

impl Docker {
    /// None, with a printed reason, where dockerd is not to be had and need not be.
    pub fn start() -> Result<Option<Self>> {
        let here = |program: &&str| {
            is_installed(program)
                || std::env::split_paths(&path()).any(|folder| folder.join(program).is_file())
        };
        if let Some(missing) = ["dockerd", "docker", "runc", "busybox"]
            .into_iter()
            .find(|p| !here(p))
        {
            ensure!(
                std::env::var("TRADEWIND_REQUIRE_BACKENDS").as_deref() != Ok("1"),
                "{missing} is missing: run `make backends`"
            );
            eprintln!("skipped: {missing} is missing; `make backends` fetches it");
            return Ok(None);
        }
        let folder = tempfile::Builder::new().prefix("tw-docker-").tempdir()?;
        let mut engine = Self {
            daemon: serve(folder.path())?,
            folder,
        };
        engine.answers()?;
        let archive = archive(engine.folder.path())?;
        engine.docker(&["import", &archive.display().to_string(), IMAGE])?;
        Ok(Some(engine))
    }

    /// Stops the engine in order, which takes its containers along, and starts it anew.
    ///
    /// # Errors
    /// When it does not answer again.
    pub fn restart(&mut self) -> Result<()> {
        signal(self.daemon.id(), Signal::TERM)?;
        self.daemon.wait()?;
        self.daemon = serve(self.folder.path())?;
        self.answers()
    }

    fn answers(&mut self) -> Result<()> {
        let answered = eventually_blocking("dockerd answers", || {
            ensure!(self.daemon.try_wait()?.is_none(), "dockerd has ended");
            Ok(self.docker(&["version"]))
        });
        answered.map(drop).with_context(|| {
            std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
        })
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("docker.sock")
    }

    /// An instance file for the provider `containers` that may run every image on the machine's network, with further lines for the grant and
    /// the settings.
    pub fn instance(&self, grants: &str, settings: &str) -> String {
        instance(
            &self.socket(),
            &format!("host-network = true\n{grants}"),
            &format!("network = \"host\"\n{settings}"),
        )
    }

    /// The engine's own command line.
    pub fn docker(&self, arguments: &[&str]) -> Result<String> {
        let mut command = program("docker");
        command
            .env("DOCKER_CONFIG", self.folder.path().join("config"))
            .env_remove("DOCKER_HOST");
        command
            .arg("--host")
            .arg(format!("unix://{}", self.socket().display()))
            .args(arguments);
        let output = command.stdin(Stdio::null()).output()?;
        ensure!(
            output.status.success(),
            "docker {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// A file of that content which goes with the engine. Answers its path.
    pub fn file(&self, name: &str, content: &str) -> Result<String> {
        let path = self.folder.path().join(name);
        std::fs::write(&path, content)?;
        // It may be a secret.
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600))?;
        Ok(path.display().to_string())
    }

    /// A registry with the image, which the engine itself has no more under this name. Who pulls has to log in.
    ///
    /// # Errors
    /// When it does not start, or does not take the image.
    pub fn registry(&self, repository: &str) -> Result<Registry> {
        let registry = Registry::start()?;
        let image = format!("{}/{repository}", registry.address);
        let (user, password) = REGISTRY_LOGIN.split_once(':').context("no password")?;
        self.docker(&[
            "login",
            "--username",
            user,
            "--password",
            password,
            &registry.address,
        ])?;
        for arguments in [
            &["tag", IMAGE, &image][..],
            &["push", &image],
            &["rmi", &image],
            &["logout", &registry.address],
        ] {
            self.docker(arguments)?;
        }
        Ok(registry)
    }
}

impl Registry {
    /// An empty one, without an engine. None, with a printed reason, where it is not to be had and need not be.
    ///
    /// # Errors
    /// When it does not start.
    pub fn empty() -> Result<Option<Self>> {
        let name = "docker-registry";
        if is_installed(name)
            || std::env::split_paths(&path()).any(|folder| folder.join(name).is_file())
        {
            return Self::start().map(Some);
        }
        ensure!(
            std::env::var("TRADEWIND_REQUIRE_BACKENDS").as_deref() != Ok("1"),
            "{name} is missing: run `make backends`"
        );
        eprintln!("skipped: {name} is missing; `make backends` fetches it");
        Ok(None)
    }

    /// Puts an image under a tag, which is told apart from others by its comment alone. Answers its digest.
    ///
    /// # Errors
    /// When the registry does not take it.
    pub async fn put(&self, repository: &str, tag: &str, comment: &str) -> Result<String> {
        let (user, password) = REGISTRY_LOGIN.split_once(':').context("no password")?;
        let (client, base) = (
            crate::client(None)?,
            format!("http://{}/v2/{repository}", self.address),
        );
        let config = "{}";
        let of_config = Digest::of(config.as_bytes());
        let begun = client
            .post(format!("{base}/blobs/uploads/"))
            .basic_auth(user, Some(password))
            .send()
            .await?
            .error_for_status()?;
        let place = begun
            .headers()
            .get("location")
            .context("no place for a blob")?
            .to_str()?
            .to_owned();
        let mut place = reqwest::Url::parse(&base)?.join(&place)?;
        place
            .query_pairs_mut()
            .append_pair("digest", &of_config.to_string());
        client
            .put(place)
            .basic_auth(user, Some(password))
            .body(config)
            .send()
            .await?
            .error_for_status()?;
        let kind = "application/vnd.oci.image.manifest.v1+json";
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"{kind}","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{of_config}","size":{}}},"layers":[],"annotations":{{"comment":"{comment}"}}}}"#,
            config.len()
        );
        let digest = Digest::of(manifest.as_bytes()).to_string();
        let put = client
            .put(format!("{base}/manifests/{tag}"))
            .basic_auth(user, Some(password))
            .header("content-type", kind);
        put.body(manifest).send().await?.error_for_status()?;
        Ok(digest)
    }

    fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("users"), REGISTRY_USERS)?;
        let config = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: \"127.0.0.1:0\"}}\nauth: {{htpasswd: {{realm: tests, path: {}}}}}\n",
            at("data").display(),
            at("users").display()
        );
        std::fs::write(at("config.yml"), config)?;
        let mut command = program("docker-registry");
        let mut server = command
            .arg("serve")
            .arg(at("config.yml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut said = BufReader::new(server.stderr.take().context("no output")?);
        // It tells the number that it was given, then goes on to tell of requests: somebody has to listen.
        let mut line = String::new();
        let address = loop {
            line.clear();
            if said.read_line(&mut line)? == 0 {
                let _ = server.wait();
                bail!("the registry does not start");
            }
            if let Some((_, rest)) = line.split_once("listening on ") {
                break rest
                    .split(|c: char| c == '"' || c.is_whitespace())
                    .next()
                    .unwrap_or_default()
                    .to_owned();
            }
        };
        std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        Ok(Self {
            server,
            address,
            _folder: folder,
        })
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        if let Ok(all) = self.docker(&["ps", "--all", "--quiet"]) {
            for id in all.lines() {
                let _ = self.docker(&["rm", "--force", "--volumes", id]);
            }
        }
        // By a signal that it can hear: it has a containerd to stop.
        let _ = signal(self.daemon.id(), Signal::TERM);
        let _ = self.daemon.wait();
        let _ = Command::new("umount")
            .arg("--lazy")
            .arg(self.folder.path().join("exec/netns/default"))
            .stderr(Stdio::null())
            .status();
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// Starts dockerd in a folder.
fn serve(folder: &std::path::Path) -> Result<Child> {
    let at = |name: &str| folder.join(name);
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(at("log"))?;
    let mut command = program("dockerd");
    command
        .arg("--host")
        .arg(format!("unix://{}", at("docker.sock").display()))
        .arg("--data-root")
        .arg(at("data"));
    command
        .arg("--exec-root")
        .arg(at("exec"))
        .arg("--pidfile")
        .arg(at("pid"))
        .args(["--iptables=false", "--bridge=none"]);
    Ok(command
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()?)
}

/// Where its programs are: installed, or unpacked by `make backends`.
fn path() -> std::ffi::OsString {
    let home = std::env::var_os("HOME")
        .map(PathBuf::from)
        .unwrap_or_default();
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map_or_else(|| home.join(".cache"), PathBuf::from)
        .join("tradewind-backends/docker");
    let known = std::env::var_os("PATH").unwrap_or_default();
    let further = [
        PathBuf::from("/usr/sbin"),
        cache.join("usr/sbin"),
        cache.join("usr/bin"),
    ];
    std::env::join_paths(std::env::split_paths(&known).chain(further)).unwrap_or(known)
}

/// `env` looks the program up in the path that it is given, which is also what the program's own children see.
fn program(name: &str) -> Command {
    let mut command = Command::new("env");
    command.env("PATH", path()).arg(name);
    command
}
