//! Plugins by themselves, without a plugin folder or a daemon: through the same gates, limits and sandbox as those that serve.

use std::{path::PathBuf, sync::Arc, time::Duration};

use serde_json::Value;
use tradewind_core::{
    grant::Grants,
    names::{Digest, InstanceName},
    plugin::{Limits, Policy},
    units::Millis,
};

use super::{
    Load, audit,
    candidate::Candidate,
    compiler::Compiling,
    error::{self, blocking},
    instance_file::InstanceFile,
    loader::Loader,
    toolchain::{self, Toolchain},
};
use crate::runtime::{host_context::Capabilities, plugin::Plugin, plugin_info::PluginInfo};

/// Why a plugin can't be used by itself.
#[derive(Debug, thiserror::Error)]
#[allow(
    missing_docs,
    reason = "the messages say what the variants and their fields mean"
)]
pub enum StandaloneError {
    #[error("{0}")]
    InstanceFile(String),
    #[error(transparent)]
    Engine(#[from] toolchain::Error),
    #[error(transparent)]
    Load(#[from] error::Error),
    #[error("it is a provider, not a policy")]
    NotAPolicy,
}

/// A component and how it is used: what an instance of the plugin folder is made of.
#[derive(Debug, Clone)]
pub struct PluginSource {
    name: InstanceName,
    component: Arc<[u8]>,
    file: InstanceFile,
    settings_digest: Digest,
}

/// A plugin that has passed every gate.
pub struct Loaded {
    /// What it says about itself.
    pub about: PluginInfo,
    /// Of the component's bytes.
    pub digest: Digest,
    /// The capabilities that it imports, by the names of their grants; `clock`, which needs none, is one of them.
    pub capabilities: Vec<String>,
    /// The plugin, to be called.
    pub plugin: Plugin,
}

/// An engine, on which any number of plugins may be loaded. Cheap to clone.
#[derive(Clone)]
pub struct StandaloneHost(Toolchain);

// === impl PluginSource ===

impl PluginSource {
    /// # Errors
    /// When the instance file can't be read. Without one the plugin gets no settings, no grants and the default limits.
    pub fn new(
        name: InstanceName,
        component: Arc<[u8]>,
        instance_file: Option<&[u8]>,
    ) -> Result<Self, StandaloneError> {
        let file = match instance_file {
            Some(text) => InstanceFile::parse(text)
                .map_err(|e| StandaloneError::InstanceFile(e.to_string()))?,
            None => InstanceFile::bare(&format!("{name}.wasm")),
        };
        Ok(Self {
            name,
            component,
            file,
            settings_digest: Digest::of(instance_file.unwrap_or_default()),
        })
    }

    /// The name of the instance.
    pub fn name(&self) -> &InstanceName {
        &self.name
    }

    /// A JSON object.
    pub fn settings(&self) -> &Value {
        &self.file.settings
    }

    /// What its instance file grants.
    pub fn grants(&self) -> &Grants {
        &self.file.grants
    }

    /// The limits of its calls.
    pub fn limits(&self) -> &Limits {
        &self.file.limits
    }

    /// The same with other settings.
    #[must_use]
    pub fn with_settings(mut self, settings: Value) -> Self {
        self.file.settings = settings;
        self
    }

    /// The same with another time for each call.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Millis) -> Self {
        self.file.limits.deadline = deadline;
        self
    }

    /// Another component, used likewise.
    #[must_use]
    pub fn with_component(mut self, component: Arc<[u8]>) -> Self {
        self.component = component;
        self
    }
}

// === impl StandaloneHost ===

impl StandaloneHost {
    /// # Errors
    /// When the cache folder is unusable or the engine can't start.
    pub async fn start(
        cache_folder: PathBuf,
        compiling: Compiling,
    ) -> Result<Self, StandaloneError> {
        let options = toolchain::Options::outside(cache_folder, compiling);
        Ok(Self(blocking(move || Toolchain::start(options)).await??))
    }

    /// Loads a plugin. What it begins through these capabilities goes on when the plugin is dropped.
    ///
    /// # Errors
    /// When the daemon would not let it serve either.
    pub async fn load(
        &self,
        piece: &PluginSource,
        capabilities: Capabilities,
    ) -> Result<Loaded, StandaloneError> {
        let loader = Loader::new(self.0.clone(), capabilities, Duration::from_secs(5));
        let digest = Digest::of(&piece.component);
        let candidate = Candidate::apart(
            piece.name.clone(),
            (piece.file.clone(), piece.settings_digest),
            (piece.component.clone(), digest),
        );
        let version = loader.load(candidate).await?;
        let capabilities = loader
            .imports(digest)
            .iter()
            .filter_map(|import| audit::capability(import))
            .map(str::to_owned)
            .collect();
        Ok(Loaded {
            about: version.about,
            digest,
            capabilities,
            plugin: version.plugin,
        })
    }
}

/// Loads a policy out of a component's bytes and, if there is one, the content of its instance file.
///
/// # Errors
/// When the daemon would not let it serve either.
pub async fn policy(
    name: InstanceName,
    component: Vec<u8>,
    instance_file: Option<&[u8]>,
    cache_folder: PathBuf,
    compiling: Compiling,
) -> Result<Arc<dyn Policy>, StandaloneError> {
    let piece = PluginSource::new(name, component.into(), instance_file)?;
    match StandaloneHost::start(cache_folder, compiling)
        .await?
        .load(&piece, Capabilities::none())
        .await?
        .plugin
    {
        Plugin::Policy(policy) => Ok(policy),
        Plugin::Provider(_) => Err(StandaloneError::NotAPolicy),
    }
}
