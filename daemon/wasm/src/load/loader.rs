//! From bytes to a version that may serve: look it over, audit, compile, check resources, link, ask who it is, check the settings by its
//! schema, hand them to it. A plugin that fails anywhere on the way never serves.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use tradewind_core::{names::Digest, plugin::Identity};

use super::{
    Load, audit, candidate::Candidate, components::Components, error::Error, settings,
    toolchain::Toolchain, version::Version,
};
use crate::runtime::{
    call::Runner,
    census::Census,
    engine::{Engine, chain},
    host_context::{Capabilities, HostContext},
    v0_1,
};

/// Loads plugins. Instances of the same bytes share their compiled code.
pub(crate) struct Loader {
    engine: Engine,
    toolchain: Toolchain,
    components: Components,
    capabilities: Capabilities,
    effects: TaskTracker,
    census: Census,
    patience: Duration,
    epoch: Instant,
}

impl Loader {
    /// `patience`: how long a call waits for its turn.
    pub(crate) fn new(
        toolchain: Toolchain,
        capabilities: Capabilities,
        patience: Duration,
    ) -> Self {
        Self {
            engine: toolchain.engine().clone(),
            components: Components::new(toolchain.clone(), capabilities.absent),
            toolchain,
            capabilities,
            effects: TaskTracker::new(),
            census: Census::default(),
            patience,
            epoch: Instant::now(),
        }
    }

    /// All that goes without running the plugin.
    pub(super) async fn prepare(
        &self,
        candidate: Candidate,
    ) -> Result<(v0_1::Linked, Runner), Error> {
        let Candidate {
            instance,
            file,
            settings_digest,
            component,
            component_digest,
            stats,
            gate,
            census: _,
        } = candidate;
        if let Some(fault) = crate::runtime::limits::fault(&file.limits, self.engine.ceilings()) {
            return Err(Error::Limits(fault));
        }
        let code = self
            .components
            .compile(component, component_digest, &instance, &file)
            .await?;
        let found = audit::audit(
            &code.imports,
            &code.exports,
            &instance,
            &file,
            self.capabilities.absent,
        )?;
        if code.weight > self.engine.ceilings().slots {
            return Err(Error::Resources {
                needs: format!("{} memories or tables", code.weight),
                most: format!("the pool has {}", self.engine.ceilings().slots),
            });
        }
        let linked = v0_1::link(
            self.engine.wasmtime(),
            &code.component,
            found.kind,
            &file.grants,
            found.wasi,
        )
        .map_err(|e| Error::Types { why: chain(&e) })?;
        let context = HostContext {
            owner: instance.clone(),
            namespaces: file.namespaces,
            grants: Arc::new(file.grants),
            capabilities: self.capabilities.clone(),
            effects: self.effects.clone(),
            epoch: self.epoch,
        };
        // Its own name and version are not known yet; the file's name stands for them in errors.
        let identity = Arc::new(Identity {
            instance,
            plugin: file.component.trim_end_matches(".wasm").to_owned(),
            version: "0.0.0".to_owned(),
            component: component_digest,
            settings: settings_digest,
        });
        let permits = file.limits.concurrency as usize;
        let runner = Runner {
            identity,
            engine: self.engine.clone(),
            limits: file.limits,
            context,
            stats,
            gate: gate.unwrap_or_else(|| Arc::new(Semaphore::new(permits))),
            patience: self.patience,
            code,
        };
        Ok((linked, runner))
    }

    pub(super) fn components(&self) -> &Components {
        &self.components
    }

    /// The tasks that effects of plugins run in.
    pub(crate) fn effects(&self) -> &TaskTracker {
        &self.effects
    }

    /// Versions that are alive.
    pub(crate) fn live_versions(&self) -> usize {
        self.census.alive()
    }

    /// Compiled components that are alive.
    pub(crate) fn live_components(&self) -> usize {
        self.components.live()
    }

    /// What a component imports functions from; nothing of one that is not in use.
    pub(super) fn imports(&self, digest: Digest) -> Vec<String> {
        self.components.imports(digest)
    }
}

#[async_trait]
impl Load for Loader {
    async fn load(&self, candidate: Candidate) -> Result<Version, Error> {
        let settings = candidate.file.settings.clone();
        let census = candidate.census.clone();
        let (linked, mut runner) = self.prepare(candidate).await?;
        // Its file may allow its calls an hour; nobody waits as long for a name.
        let first = runner.at_most(self.toolchain.bounds().deadline);
        let (about, described) = v0_1::describe(linked, &first)
            .await
            .map_err(|f| Error::Describe(Box::new(f)))?;
        let text = settings.to_string();
        let about = settings::check(self.toolchain.compiler(), about, settings).await?;
        settings::try_out(&described, &runner, &text, &about).await?;

        let identity = Arc::new(Identity {
            plugin: about.name.clone(),
            version: about.version.clone(),
            ..(*runner.identity).clone()
        });
        runner.identity = identity.clone();
        let (limits, grants, namespaces, gate) = (
            runner.limits.clone(),
            runner.context.grants.clone(),
            runner.context.namespaces.clone(),
            runner.gate.clone(),
        );
        let counted = self.census.count(&census);
        Ok(Version {
            plugin: v0_1::plugin(described, runner, text, &about, counted),
            identity,
            about,
            limits,
            namespaces,
            grants,
            gate,
        })
    }
}
