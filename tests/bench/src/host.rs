//! A plugin host of the bench's own, in folders that go with it.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result};
use tempfile::TempDir;
use tradewind_cloud::{SystemClock, process};
use tradewind_core::{
    names::InstanceName,
    plugin::{Plugins, Policy},
};
use tradewind_kit::component;
use tradewind_wasm::{Capabilities, Host, Options};

/// Folders for hosts, one after the other.
pub(crate) struct Place {
    folder: TempDir,
    capabilities: Capabilities,
    processes: process::Supervisor,
}

impl Place {
    /// With these components and instance files.
    pub(crate) async fn new(components: &[&str], instances: &[(&str, &str)]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let plugins = folder.path().join("plugins");
        std::fs::create_dir_all(&plugins)?;
        for name in components {
            std::fs::copy(component(name), plugins.join(format!("{name}.wasm")))
                .with_context(|| format!("plugin {name}: run `make plugins`"))?;
        }
        for (name, text) in instances {
            std::fs::write(plugins.join(format!("{name}.toml")), text)?;
        }
        let processes = process::Supervisor::start(process::Options::new(
            folder.path().join("processes"),
            None,
        ))
        .await?;
        let options = tradewind_cloud::http::Options {
            user_agent: "tradewind-bench".to_owned(),
            secrets: folder.path().join("secrets"),
        };
        let http = tradewind_cloud::http::Client::new(&options, Default::default())?;
        let capabilities = Capabilities {
            processes: Arc::new(processes.clone()),
            http: Arc::new(http),
            clock: Arc::new(SystemClock),
            ..Capabilities::none()
        };
        Ok(Self {
            folder,
            capabilities,
            processes,
        })
    }

    pub(crate) fn plugins(&self) -> PathBuf {
        self.folder.path().join("plugins")
    }

    fn cache(&self) -> PathBuf {
        self.folder.path().join("cache")
    }

    /// Removes all compiled code.
    pub(crate) fn forget_compiled(&self) -> Result<()> {
        remove(&self.cache())
    }

    /// A host without history.
    pub(crate) async fn start(&self) -> Result<Host> {
        let history = self.folder.path().join("history");
        remove(&history)?;
        Ok(Host::start(
            Options::new(self.plugins(), history, self.cache()),
            self.capabilities.clone(),
        )
        .await?)
    }

    pub(crate) async fn close(self) {
        self.processes.shutdown().await;
    }
}

fn remove(folder: &Path) -> Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(e).with_context(|| format!("{} can't be removed", folder.display()))
        }
        _ => Ok(()),
    }
}

/// A policy of the current set.
pub(crate) fn policy(host: &Host, name: &str) -> Result<Arc<dyn Policy>> {
    let name = InstanceName::try_from(name.to_owned())?;
    host.snapshot()
        .policies
        .get(&name)
        .cloned()
        .with_context(|| {
            format!(
                "policy \"{name}\" is not active: {:#?}",
                host.handle().list()
            )
        })
}
