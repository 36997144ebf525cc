//! From bytes to a version that may serve: look it over, audit, compile, check resources, link, ask who it is, check the settings by its
//! schema, hand them to it. A plugin that fails anywhere on the way never serves.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use tradewind_core::{
    failure::{Failure, FailureKind},
    grant::Grants,
    names::{Digest, InstanceName},
    placement::{Candidates, Request},
    plugin::{Identity, Policy as _, Provider as _},
    units::Millis,
};
use wasmtime::component::Component;

use crate::{
    audit, bounds,
    call::{Runner, Stats},
    compiler::{self, Answer, Task},
    engine::Engine,
    host_context::{Capabilities, HostContext},
    instance_file::InstanceFile,
    plugin_info::PluginInfo,
    schema, survey, v0_1,
    version::{Census, Version},
};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("it is not a WebAssembly component: {why}")]
    NotComponent { why: String },
    #[error("it can't be compiled: {why}")]
    Compile { why: String },
    #[error(transparent)]
    Audit(#[from] audit::Error),
    #[error(transparent)]
    Bounds(#[from] bounds::Error),
    #[error(transparent)]
    Budget(#[from] compiler::Error),
    #[error("{0}")]
    Limits(String),
    #[error("it needs {needs}, {most}")]
    Resources { needs: String, most: String },
    #[error("its imports or exports don't have the contract's types: {why}")]
    Types { why: String },
    #[error("it can't tell who it is: {}", .0.message)]
    Describe(Box<Failure>),
    #[error("its settings schema is not valid: {0}")]
    Schema(String),
    #[error("settings{path}: {why}")]
    Settings { path: String, why: String },
    #[error("the loading broke off")]
    Aborted,
}

impl Error {
    /// Whether the same bytes may load another time.
    pub(crate) fn may_pass(&self) -> bool {
        matches!(self, Self::Aborted)
            || matches!(self, Self::Describe(f) if f.code.as_deref() == Some("busy"))
    }
}

/// What is to be loaded: one component and the file that configures it.
pub(crate) struct Candidate {
    pub(crate) instance: InstanceName,
    pub(crate) file: InstanceFile,
    pub(crate) settings_digest: Digest,
    pub(crate) component: Arc<[u8]>,
    pub(crate) component_digest: Digest,
    /// The instance's counts go on over its versions.
    pub(crate) stats: Arc<Stats>,
    /// The instance's queue, when its `concurrency` stays the same.
    pub(crate) gate: Option<Arc<Semaphore>>,
    /// The instance's count of living versions.
    pub(crate) census: Census,
}

/// Loads plugins. Instances of the same bytes share their compiled code.
pub(crate) struct Loader {
    pub(crate) engine: Engine,
    pub(crate) capabilities: Capabilities,
    pub(crate) effects: TaskTracker,
    pub(crate) census: Census,
    pub(crate) patience: Duration,
    epoch: Instant,
    compiled: Mutex<HashMap<Digest, Weak<Compiled>>>,
    /// Turns of those that want the same bytes compiled.
    turns: Mutex<HashMap<Digest, Weak<tokio::sync::Mutex<()>>>>,
}

/// Machine code, freed with its last version.
pub(crate) struct Compiled {
    component: Component,
    imports: Vec<String>,
    exports: Vec<String>,
    /// Memories or tables, whichever are more: the pool's slots that a call takes.
    weight: u32,
}

impl Loader {
    pub(crate) fn new(engine: Engine, capabilities: Capabilities, patience: Duration) -> Self {
        Self {
            engine,
            capabilities,
            effects: TaskTracker::new(),
            census: Census::default(),
            patience,
            epoch: Instant::now(),
            compiled: Mutex::default(),
            turns: Mutex::default(),
        }
    }

    /// # Errors
    /// Why it may not serve, as a sentence about the plugin.
    pub(crate) async fn load(&self, candidate: Candidate) -> Result<Version, Error> {
        let settings = candidate.file.settings.clone();
        let census = candidate.census.clone();
        let (linked, mut runner) = self.prepare(candidate).await?;
        // Its file may allow its calls an hour; nobody waits as long for a name.
        let mut first = runner.clone();
        first.limits.deadline = first.limits.deadline.min(self.engine.bounds.deadline);
        let (about, described) = v0_1::describe(linked, &first)
            .await
            .map_err(|f| Error::Describe(Box::new(f)))?;
        let text = settings.to_string();
        let about = self.check_settings(about, settings).await?;
        try_settings(&described, &runner, &text, &about).await?;

        let identity = Identity {
            plugin: about.name.clone(),
            version: about.version.clone(),
            ..(*runner.identity).clone()
        };
        runner.identity = Arc::new(identity);
        let (identity, limits, grants) = (
            runner.identity.clone(),
            runner.limits.clone(),
            runner.context.grants.clone(),
        );
        let namespaces = runner.context.namespaces.clone();
        let callable = v0_1::callable(described, runner, text, &about, self.census.count(&census));
        Ok(Version {
            identity,
            about,
            limits,
            namespaces,
            grants,
            callable,
        })
    }

    /// All that goes without running the plugin.
    async fn prepare(&self, candidate: Candidate) -> Result<(v0_1::Linked, Runner), Error> {
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
        if let Some(fault) = file.limits.fault(&self.engine.ceilings) {
            return Err(Error::Limits(fault));
        }
        let code = self
            .compile(component, component_digest, &instance, &file.grants)
            .await?;
        let found = audit::audit(&code.imports, &code.exports, &instance, &file.grants)?;
        if code.weight > self.engine.ceilings.slots {
            return Err(Error::Resources {
                needs: format!("{} memories or tables", code.weight),
                most: format!("the pool has {}", self.engine.ceilings.slots),
            });
        }
        let linked = v0_1::link(
            &self.engine.wasmtime,
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
            weight: code.weight,
            patience: self.patience,
            _code: code,
        };
        Ok((linked, runner))
    }

    /// What nobody has compiled yet is looked over and audited first, then compiled by a process that has limits.
    async fn compile(
        &self,
        bytes: Arc<[u8]>,
        digest: Digest,
        instance: &InstanceName,
        grants: &Grants,
    ) -> Result<Arc<Compiled>, Error> {
        let turn = self.turn(digest);
        let _turn = turn.lock().await;
        if let Some(code) = self.known(digest) {
            return Ok(code);
        }
        recognise(&bytes)?;
        let (engine, there) = (self.engine.clone(), bytes.clone());
        let found = blocking(move || engine.find(digest, &there)).await?;
        let component = match found.map_err(|e| Error::Compile { why: chain(&e) })? {
            Some(component) => component,
            None => self.compile_anew(bytes, digest, instance, grants).await?,
        };
        let code = Arc::new(Compiled::of(&self.engine, component));
        let mut compiled = self.compiled.lock();
        compiled.retain(|_, weak| weak.strong_count() > 0);
        compiled.insert(digest, Arc::downgrade(&code));
        Ok(code)
    }

    async fn compile_anew(
        &self,
        bytes: Arc<[u8]>,
        digest: Digest,
        instance: &InstanceName,
        grants: &Grants,
    ) -> Result<Component, Error> {
        let (engine, there) = (self.engine.clone(), bytes.clone());
        let outline = blocking(move || survey::survey(&there, &engine.bounds, &engine.ceilings))
            .await?
            .map_err(|e| match e {
                survey::Error::Malformed(why) => Error::Compile {
                    why: crate::state::tame(&why.to_string()),
                },
                survey::Error::Bounds(why) => Error::Bounds(why),
            })?;
        audit::audit(&outline.imports, &outline.exports, instance, grants)?;
        if let Some(compiler) = &self.engine.compiler {
            let answer = self.engine.compile_apart(compiler, digest, &bytes).await?;
            understood(answer)?;
        }
        // From the cache, or known to be no burden.
        let engine = self.engine.clone();
        let component = blocking(move || engine.component(digest, &bytes)).await?;
        component.map_err(|e| Error::Compile { why: chain(&e) })
    }

    fn turn(&self, digest: Digest) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.turns.lock();
        turns.retain(|_, weak| weak.strong_count() > 0);
        if let Some(turn) = turns.get(&digest).and_then(Weak::upgrade) {
            return turn;
        }
        let turn = Arc::default();
        turns.insert(digest, Arc::downgrade(&turn));
        turn
    }

    /// A schema comes from a plugin, and settings may from a stranger. What is not sure to be quick is compared by a process that has limits.
    async fn check_settings(
        &self,
        about: PluginInfo,
        settings: serde_json::Value,
    ) -> Result<PluginInfo, Error> {
        let alone = self.engine.compiler.is_none();
        let (here, about, settings) = blocking(move || {
            let schema = &about.settings_schema;
            let here = (alone || schema::is_quick(schema, &settings))
                .then(|| schema::compare(schema, &settings));
            (here, about, settings)
        })
        .await?;
        let answer = match (here, &self.engine.compiler) {
            (None, Some(compiler)) => {
                compiler
                    .order(
                        Task::Settings {
                            schema: about.settings_schema.clone(),
                            settings,
                        },
                        &[],
                    )
                    .await?
            }
            (here, _) => here.unwrap_or(Answer::Done),
        };
        understood(answer)?;
        Ok(about)
    }

    fn known(&self, digest: Digest) -> Option<Arc<Compiled>> {
        self.compiled.lock().get(&digest).and_then(Weak::upgrade)
    }

    /// What a component imports functions from; nothing of one that is not in use.
    pub(crate) fn imports(&self, digest: Digest) -> Vec<String> {
        self.known(digest)
            .map(|code| code.imports.clone())
            .unwrap_or_default()
    }

    /// Compiled components that are alive.
    pub(crate) fn live_components(&self) -> usize {
        self.compiled
            .lock()
            .values()
            .filter(|weak| weak.strong_count() > 0)
            .count()
    }
}

impl Compiled {
    fn of(engine: &Engine, component: Component) -> Self {
        let (imports, exports) = audit::interfaces(&engine.wasmtime, &component);
        let needs = component.resources_required();
        let weight = needs.map_or(1, |n| n.num_memories.max(n.num_tables).max(1));
        Self {
            component,
            imports,
            exports,
            weight,
        }
    }
}

/// Off the async threads: what takes long there holds others up.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| Error::Aborted)
}

/// # Errors
/// What a process has found wrong.
fn understood(answer: Answer) -> Result<(), Error> {
    match answer {
        Answer::Done => Ok(()),
        Answer::Compile(why) => Err(Error::Compile { why }),
        Answer::Schema(why) => Err(Error::Schema(why)),
        Answer::Settings { path, why } => Err(Error::Settings { path, why }),
    }
}

/// Tells the common mistakes apart before the compiler speaks.
fn recognise(bytes: &[u8]) -> Result<(), Error> {
    let why = match (bytes.get(..4), bytes.get(4..8)) {
        (Some(b"\0asm"), Some([0x0d, 0, 1, 0])) => return Ok(()),
        (Some(b"\0asm"), Some([1, 0, 0, 0])) => {
            "it is a core module; make a component of it with `tradewind plugin build`".to_owned()
        }
        (None, _) if bytes.is_empty() => "the file is empty".to_owned(),
        _ => "it does not begin as one".to_owned(),
    };
    Err(Error::NotComponent { why })
}

/// The most that the trial of the settings may take. What needs longer is not judged by it.
const TRIAL: Millis = Millis(2_000);

/// Hands the settings to the plugin once, in a call that is about nothing: it observes no allocation, or places no task. A schema can't tell
/// whether a text is a price; the plugin can. Whatever else goes wrong in it is no matter of the settings, and shows in calls that are about
/// something. It counts in no statistics.
async fn try_settings(
    described: &v0_1::Described,
    runner: &Runner,
    settings: &str,
    about: &PluginInfo,
) -> Result<(), Error> {
    let mut runner = runner.clone();
    (runner.stats, runner.gate) = (Arc::default(), Arc::new(Semaphore::new(1)));
    runner.engine.core_dumps = None;
    runner.limits.deadline = runner.limits.deadline.min(TRIAL);
    let counted = Census::default().count(&Census::default());
    let failure = match v0_1::callable(
        described.clone(),
        runner,
        settings.to_owned(),
        about,
        counted,
    ) {
        v0_1::Callable::Provider(provider) => provider.observe(&[]).await.err(),
        v0_1::Callable::Policy(policy) => policy.place(&nothing()).await.err(),
    };
    let Some(failure) = failure else {
        return Ok(());
    };
    if failure.code.as_deref() == Some("busy") {
        return Err(Error::Describe(Box::new(failure)));
    }
    let path = failure
        .field
        .as_deref()
        .and_then(|field| field.strip_prefix("settings"))
        .filter(|p| p.is_empty() || p.starts_with('.'));
    match path.filter(|_| failure.kind == FailureKind::Invalid) {
        Some(path) => {
            let remedy = failure
                .remedy
                .as_deref()
                .map(|remedy| format!(": {remedy}"))
                .unwrap_or_default();
            Err(Error::Settings {
                path: path.to_owned(),
                why: format!("{}{remedy}", failure.message),
            })
        }
        None => Ok(()),
    }
}

/// A batch without tasks.
fn nothing() -> Request {
    let candidates = Candidates {
        start: vec![0],
        ..Candidates::default()
    };
    Request {
        seed: 0,
        tasks: Vec::new(),
        shapes: Vec::new(),
        candidates,
        offers: Arc::default(),
    }
}

/// The whole chain in one line: the outermost alone says too little.
pub(crate) fn chain(error: &wasmtime::Error) -> String {
    let parts: Vec<String> = error
        .chain()
        .map(|e| crate::state::tame(&e.to_string()))
        .collect();
    parts.join(": ")
}

/// Compiles a component and asks it who it is; every capability it imports is linked to a dead end.
///
/// # Errors
/// When it is no plugin of this contract.
pub(crate) async fn inspect(
    engine: Engine,
    component: Arc<[u8]>,
    digest: Digest,
) -> Result<(Vec<String>, Vec<String>, PluginInfo), Error> {
    let loader = Loader::new(engine, Capabilities::none(), Duration::from_secs(5));
    let instance = InstanceName::try_from("inspected".to_owned()).map_err(|_| Error::Aborted)?;
    let mut file = InstanceFile::bare("inspected.wasm");
    file.grants = Capabilities::every_import();
    let code = loader
        .compile(component.clone(), digest, &instance, &file.grants)
        .await?;
    let candidate = Candidate {
        instance,
        file,
        settings_digest: Digest::of(b""),
        component,
        component_digest: digest,
        stats: Arc::default(),
        gate: None,
        census: Census::default(),
    };
    let (linked, runner) = loader.prepare(candidate).await?;
    let (about, _) = v0_1::describe(linked, &runner)
        .await
        .map_err(|f| Error::Describe(Box::new(f)))?;
    Ok((code.imports.clone(), code.exports.clone(), about))
}
