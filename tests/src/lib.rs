//! What the end-to-end tests and the benches share: a throwaway daemon with its own folders, and the way to it.
//! It starts the real binary; it knows nothing of the daemon's inside.
#![allow(
    clippy::indexing_slicing,
    reason = "JSON values answer null for what they lack, and this is test support"
)]

pub mod aws;
pub mod clouds;
pub mod cluster;
mod compiled;
pub mod docker;
pub mod fixture;
pub mod pages;
pub mod podman;

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;

/// The longest a test waits for something that should happen at once.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A daemon of the test's own. It is stopped, with everything it runs, when this is dropped.
pub struct Daemon {
    child: Option<Child>,
    pub folder: TempDir,
    pub address: String,
    pub http: reqwest::Client,
    /// Variables that it is started with, beside those of the test.
    pub environment: Vec<(String, String)>,
}

/// A client that sends this token with every request.
pub fn client(token: Option<&str>) -> Result<reqwest::Client> {
    let mut headers = reqwest::header::HeaderMap::new();
    if let Some(token) = token {
        headers.insert(
            reqwest::header::AUTHORIZATION,
            format!("Bearer {token}").parse()?,
        );
    }
    Ok(reqwest::Client::builder()
        .no_proxy()
        .pool_max_idle_per_host(0)
        .default_headers(headers)
        .build()?)
}

/// The folder of what `make` has built.
pub fn target() -> PathBuf {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(default, PathBuf::from)
}

/// The `tradewind` binary: `TRADEWIND_BIN`, else the development build.
pub fn binary() -> PathBuf {
    std::env::var_os("TRADEWIND_BIN")
        .map_or_else(|| target().join("debug/tradewind"), PathBuf::from)
}

/// The service that the tests deploy.
pub fn hello() -> PathBuf {
    binary().with_file_name("hello")
}

/// A component of this repository, as `make plugins` has built it.
pub fn component(name: &str) -> PathBuf {
    let folder = std::env::var_os("TRADEWIND_PLUGINS")
        .map_or_else(|| target().join("plugins"), PathBuf::from);
    folder.join(format!("{name}.wasm"))
}

/// A folder whose files nobody else reads: for credentials.
///
/// # Errors
/// When it can't be made.
pub fn private_folder() -> std::io::Result<TempDir> {
    tempfile::Builder::new()
        .permissions(std::fs::Permissions::from_mode(0o700))
        .tempdir()
}

/// A component that misbehaves as its settings say, built when first asked for.
pub fn hostile(name: &str) -> Result<PathBuf> {
    static BUILT: parking_lot::Mutex<bool> = parking_lot::Mutex::new(false);
    let out = target().join("hostile-guests");
    let mut built = BUILT.lock();
    if !*built {
        let guests = Path::new(env!("CARGO_MANIFEST_DIR")).join("guests");
        let output = Command::new(binary())
            .args(["plugin", "build"])
            .arg(guests)
            .arg("--out")
            .arg(&out)
            .output()?;
        ensure!(
            output.status.success(),
            "the hostile guests: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        *built = true;
    }
    Ok(out.join(format!("{name}.wasm")))
}

/// The policy and the provider of processes on this machine: what most tests need.
pub const LOCAL: &str = r#"
component = "process.wasm"
[grants.process]
commands = ["*"]
"#;

impl Daemon {
    /// Starts a daemon with these plugins: components to copy, and instance files by name.
    pub fn start(components: &[&str], instances: &[(&str, &str)]) -> Result<Self> {
        Self::configured(components, instances, "")
    }

    /// The same with these settings.
    pub fn configured(
        components: &[&str],
        instances: &[(&str, &str)],
        settings: &str,
    ) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let plugins = folder.path().join("plugins");
        std::fs::create_dir_all(&plugins)?;
        std::fs::create_dir_all(folder.path().join("data"))?;
        for name in components {
            std::fs::copy(component(name), plugins.join(format!("{name}.wasm")))
                .with_context(|| format!("plugin {name}: run `make plugins`"))?;
        }
        for (name, text) in instances {
            std::fs::write(plugins.join(format!("{name}.toml")), text)?;
        }
        std::fs::write(folder.path().join("config.toml"), settings)?;
        Self::on(folder)
    }

    /// Starts a daemon on a folder that has `plugins` and `data` in it, and perhaps `config.toml`.
    pub fn on(folder: TempDir) -> Result<Self> {
        // Both crates that bring TLS are served by one provider; whoever comes first installs it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        std::fs::create_dir_all(folder.path().join("shared"))?;
        let mut daemon = Self {
            child: None,
            folder,
            address: String::new(),
            http: client(None)?,
            environment: Vec::new(),
        };
        daemon.launch()?;
        Ok(daemon)
    }

    /// `cheapest` and `process`.
    pub fn local() -> Result<Self> {
        Self::start(&["cheapest", "process"], &[("local", LOCAL)])
    }

    pub fn plugins(&self) -> PathBuf {
        self.folder.path().join("plugins")
    }

    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A folder that is there from the start and holds nothing of the daemon's: processes may write to it.
    pub fn shared(&self) -> PathBuf {
        self.folder.path().join("shared")
    }

    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Starts the daemon and kills it after this time, ready or not.
    pub fn stumble(&self, after: Duration) -> Result<()> {
        let mut child = self.spawn()?;
        std::thread::sleep(after);
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    fn spawn(&self) -> Result<Child> {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder.path().join("log"))?;
        let mut command = Command::new(binary());
        command
            .arg("--data")
            .arg(self.data())
            .arg("serve")
            .args(["--listen", "127.0.0.1:0"])
            .arg("--plugins")
            .arg(self.plugins());
        command
            .env("TRADEWIND_CONFIG", self.folder.path().join("config.toml"))
            .envs(self.environment.iter().cloned());
        std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder.path().join("config.toml"))?;
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        command
            .spawn()
            .with_context(|| format!("{}: run `make build`", binary().display()))
    }

    /// Starts the daemon on its folders, again if need be, and waits until it is ready.
    pub fn launch(&mut self) -> Result<()> {
        // Without it the daemon compiles: no reason for a test to fail.
        let cache = self.data().join("cache");
        let kept = compiled::give(&self.plugins(), &cache).unwrap_or_default();
        let mut child = self.spawn()?;
        let pid = child.id();
        let since = Instant::now();
        loop {
            // The file is written when the daemon is ready, and says whose it is.
            let told = std::fs::read(self.data().join("daemon.json"))
                .ok()
                .and_then(|b| serde_json::from_slice::<Value>(&b).ok());
            if let Some(told) = told.filter(|t| t["pid"].as_u64() == Some(u64::from(pid))) {
                self.address = told["address"].as_str().unwrap_or_default().to_owned();
                self.http = client(Some(&self.admin_token()?))?;
                self.child = Some(child);
                let _ = kept.map(|kept| compiled::take(&kept, &cache));
                return Ok(());
            }
            if let Some(status) = child.try_wait()? {
                bail!("the daemon ended with {status}:\n{}", self.log());
            }
            if since.elapsed() > PATIENCE {
                child.kill()?;
                child.wait()?;
                bail!(
                    "the daemon is not ready after {PATIENCE:?}:\n{}",
                    self.log()
                );
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// The first token, out of its file.
    pub fn admin_token(&self) -> Result<String> {
        Ok(std::fs::read_to_string(self.data().join("admin.token"))?
            .trim()
            .to_owned())
    }

    /// Stops the daemon as its supervisor would, and waits until it has ended.
    pub fn stop(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            let told = Command::new("kill")
                .args(["-TERM", &child.id().to_string()])
                .status()?;
            ensure!(told.success(), "the daemon can't be told to stop");
            child.wait()?;
        }
        Ok(())
    }

    /// Kills the daemon as a power cut would, leaving what it runs.
    pub fn kill(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// The command line, as a user runs it.
    pub fn cli(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = Command::new(binary());
        command
            .args(["--server", &self.address])
            .arg("--data")
            .arg(self.data())
            .args(arguments)
            .stdin(Stdio::null())
            .env_remove("TRADEWIND_TOKEN")
            .env("TRADEWIND_CONFIG", self.folder.path().join("config.toml"));
        Ok(command.output()?)
    }

    /// What the command line prints when it succeeds.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        let output = self.cli(arguments)?;
        let (out, err) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        ensure!(
            output.status.success(),
            "tradewind {arguments:?} ended with {}:\n{out}\n{err}\n--- daemon ---\n{}",
            output.status,
            self.log()
        );
        Ok(out.into_owned())
    }

    /// A file with this text in the daemon's folder, for `-f`.
    pub fn file(&self, name: &str, text: &str) -> Result<String> {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text)?;
        // It may be a secret.
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        Ok(path.to_string_lossy().into_owned())
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.address)
    }

    pub async fn get(&self, path: &str) -> Result<Value> {
        let response = self.http.get(self.url(path)).send().await?;
        let (status, text) = (response.status(), response.text().await?);
        ensure!(status.is_success(), "GET {path}: {status}: {text}");
        Ok(serde_json::from_str(&text)?)
    }

    /// Stores a manifest.
    pub async fn put(&self, name: &str, manifest: &str) -> Result<Value> {
        let request = self
            .http
            .put(self.url(&format!("/v1/deployments/{name}")))
            .header("content-type", "application/yaml");
        let response = request.body(manifest.to_owned()).send().await?;
        let (status, text) = (response.status(), response.text().await?);
        ensure!(status.is_success(), "PUT {name}: {status}: {text}");
        Ok(serde_json::from_str(&text)?)
    }

    pub async fn delete(&self, name: &str) -> Result<()> {
        let response = self
            .http
            .delete(self.url(&format!("/v1/deployments/{name}")))
            .send()
            .await?;
        ensure!(
            response.status().is_success(),
            "DELETE {name}: {}",
            response.text().await?
        );
        Ok(())
    }

    /// Waits until a deployment is as wanted, and answers it.
    pub async fn until(
        &self,
        name: &str,
        what: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let path = format!("/v1/deployments/{name}");
        self.until_at(&path, what, wanted).await
    }

    /// Waits until what a path answers is as wanted.
    pub async fn until_at(
        &self,
        path: &str,
        what: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let since = Instant::now();
        loop {
            let seen = self.get(path).await?;
            if wanted(&seen) {
                return Ok(seen);
            }
            ensure!(
                since.elapsed() < PATIENCE,
                "{path} is not {what} after {PATIENCE:?}: {seen:#}\n{}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until everything of a deployment runs.
    pub async fn running(&self, name: &str) -> Result<Value> {
        self.until(name, "running", |d| {
            d["status"] == "running" && d["observedGeneration"] == d["generation"]
        })
        .await
    }

    /// Waits until a deployment is gone.
    pub async fn gone(&self, name: &str) -> Result<()> {
        let since = Instant::now();
        while self
            .http
            .get(self.url(&format!("/v1/deployments/{name}")))
            .send()
            .await?
            .status()
            != reqwest::StatusCode::NOT_FOUND
        {
            ensure!(
                since.elapsed() < PATIENCE,
                "{name} is not gone after {PATIENCE:?}:\n{}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Removes every deployment, so that nothing runs on after the test.
    fn clean(&self) {
        let Ok(output) = self.cli(&["-o", "json", "get"]) else {
            return;
        };
        let listed: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        for deployment in listed.as_array().into_iter().flatten() {
            let names = (
                deployment["namespace"].as_str(),
                deployment["name"].as_str(),
            );
            if let (Some(namespace), Some(name)) = names {
                let _ = self.cli(&["-n", namespace, "delete", name, "--timeout", "20s"]);
            }
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.child.is_none() && self.data().exists() && !std::thread::panicking() {
            // A test that killed it may have left processes: only a daemon can find them.
            let _ = self.launch();
        }
        if self.child.is_some() {
            self.clean();
        }
        let _ = self.kill();
    }
}

/// Every endpoint of a deployment, as `http://host:port`.
pub fn endpoints(deployment: &Value) -> Vec<String> {
    let tasks = deployment["tasks"].as_array().into_iter().flatten();
    let allocations = tasks.flat_map(|t| t["allocations"].as_array().into_iter().flatten());
    let all = allocations.flat_map(|a| a["endpoints"].as_array().into_iter().flatten());
    all.map(|e| {
        format!(
            "http://{}:{}",
            e["host"].as_str().unwrap_or_default(),
            e["number"]
        )
    })
    .collect()
}
