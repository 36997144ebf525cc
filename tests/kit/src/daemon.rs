//! A daemon of a test's own: how it is started, stopped and killed. What is asked of it is in the modules below.

mod api;
mod clean;
mod events;

use std::{
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tempfile::TempDir;

pub use self::{
    api::{client, fetch},
    events::Events,
};
use crate::{LOCAL, Signal, binary, compiled, component, eventually_blocking, signal};

/// It is stopped, with everything it runs, when this is dropped.
pub struct Daemon {
    child: Option<Child>,
    pub folder: TempDir,
    pub address: String,
    pub http: reqwest::Client,
    /// Variables that it is started with, beside those of the test.
    pub environment: Vec<(String, String)>,
}

impl Daemon {
    /// Starts a daemon with these plugins: components to copy, and instance files by name.
    ///
    /// # Errors
    /// When a component was not built, or the daemon does not get ready.
    pub fn start(components: &[&str], instances: &[(&str, &str)]) -> Result<Self> {
        Self::configured(components, instances, "")
    }

    /// The same with these settings.
    ///
    /// # Errors
    /// As `start`.
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
    ///
    /// # Errors
    /// When it does not get ready.
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
    ///
    /// # Errors
    /// As `start`.
    pub fn local() -> Result<Self> {
        Self::start(&["cheapest", "process"], &[("local", LOCAL)])
    }

    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Starts the daemon and kills it after this time, ready or not.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn stumble(&self, after: Duration) -> Result<()> {
        let mut child = self.spawn()?;
        // The time is the test's: wherever in its start the daemon is then.
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
            // What a daemon has is what its test puts there.
            .env("TRADEWIND_BUILTIN_POLICY", "false")
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
    ///
    /// # Errors
    /// When it ends before, or does not get ready.
    pub fn launch(&mut self) -> Result<()> {
        // Without it the daemon compiles: no reason for a test to fail.
        let cache = self.data().join("cache");
        let kept = compiled::give(&self.plugins(), &cache).unwrap_or_default();
        let mut child = self.spawn()?;
        let pid = u64::from(child.id());
        let ready = eventually_blocking("the daemon is ready", || {
            if let Some(status) = child.try_wait()? {
                bail!("the daemon ended with {status}");
            }
            // The file is written when the daemon is ready, and says whose it is.
            Ok(self.told().filter(|told| told["pid"].as_u64() == Some(pid)))
        });
        let told = match ready {
            Ok(told) => told,
            Err(error) => {
                let _ = child.kill();
                child.wait()?;
                return Err(self.with_log(&error));
            }
        };
        self.child = Some(child);
        self.address = told["address"].as_str().unwrap_or_default().to_owned();
        self.http = client(Some(&self.admin_token()?))?;
        let _ = kept.map(|kept| compiled::take(&kept, &cache));
        Ok(())
    }

    /// What a daemon that runs on this folder tells of itself: its address, its process. None before it is ready.
    pub fn told(&self) -> Option<Value> {
        let told = std::fs::read(self.data().join("daemon.json")).ok()?;
        serde_json::from_slice(&told).ok()
    }

    /// Stops the daemon as its supervisor would, and waits until it has ended.
    ///
    /// # Errors
    /// When it does not stop.
    pub fn stop(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            signal(child.id(), Signal::TERM)?;
            let ended = eventually_blocking("the daemon has stopped", || Ok(child.try_wait()?));
            if let Err(error) = ended {
                self.child = Some(child);
                return Err(self.with_log(&error));
            }
        }
        Ok(())
    }

    /// Kills the daemon as a power cut would, leaving what it runs.
    ///
    /// # Errors
    /// When it can't be killed.
    pub fn kill(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.child.is_none() && self.data().exists() {
            // A test that killed it may have left processes: only a daemon can find them.
            let _ = self.launch();
        }
        if self.child.is_some()
            && let Err(error) = clean::everything(self)
        {
            eprintln!("something may be left of the test: {error:#}");
        }
        let _ = self.kill();
    }
}
