//! One wasmtime engine: its pool, its compile cache, its clock. Knows nothing of plugins.

use std::{
    fs,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::sync::Semaphore;
use tradewind_core::{names::Digest, units::Bytes, vital};
use wasmtime::{
    Config, Enabled, EngineWeak, InstanceAllocationStrategy, PoolingAllocationConfig,
    component::Component,
};

use crate::{
    bounds::Bounds,
    cache::Code,
    compiler::{self, Answer, Compiler, Compiling, Task},
    coredump::CoreDumps,
    limits::{Ceilings, PARTS},
};

/// How long a guest computes before it yields to others.
const TICK: Duration = Duration::from_millis(10);
/// Memory of a slot that stays resident between calls; refilling it beats mapping it anew.
const RESIDENT: usize = 16 << 20;
/// The same where the kernel can't tell which pages were written: then all of it is cleared after every call.
const RESIDENT_BLIND: usize = 2 << 20;
/// Slots kept resident while unused.
const WARM: u32 = 16;
/// Python needs about 50,000.
const TABLE_ELEMENTS: usize = 100_000;

/// How much the engine may hold at once.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) cache_folder: PathBuf,
    pub(crate) memory_ceiling: Bytes,
    pub(crate) slots: u32,
    /// Absolute; the cache must not lie in it.
    pub(crate) plugin_folder: PathBuf,
    /// Where core dumps of plugins that trapped go, and how many are kept; none: none are written.
    pub(crate) core_dumps: Option<(PathBuf, usize)>,
    pub(crate) compiling: Compiling,
}

impl Options {
    /// For components that lie in no plugin folder.
    pub(crate) fn outside(cache_folder: PathBuf, compiling: Compiling) -> Self {
        let plugin_folder = PathBuf::from("/dev/null");
        Self {
            cache_folder,
            memory_ceiling: Bytes(512 << 20),
            slots: 64,
            plugin_folder,
            core_dumps: None,
            compiling,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cache-folder \"{path}\" can't be used")]
    CacheFolder {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("cache-folder \"{path}\" must not lie in the plugin folder")]
    CacheInPlugins { path: PathBuf },
    #[error("the folder for core dumps \"{path}\" can't be used")]
    CoreDumps {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("the component engine can't be started")]
    Engine { source: anyhow::Error },
    #[error("the engine's clock thread can't be started")]
    Ticker { source: std::io::Error },
}

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct Engine {
    pub(crate) wasmtime: wasmtime::Engine,
    /// None: compiled code is not kept.
    code: Option<Arc<Code>>,
    /// A call takes as many as its component has memories (or tables), so the pool can't run out.
    pub(crate) slots: Arc<Semaphore>,
    pub(crate) ceilings: Ceilings,
    pub(crate) core_dumps: Option<Arc<CoreDumps>>,
    pub(crate) bounds: Arc<Bounds>,
    /// None: this process compiles.
    pub(crate) compiler: Option<Compiler>,
    /// Whether code is made for core dumps. It stays so where none are written.
    dumps: bool,
}

impl Engine {
    /// # Errors
    /// When the cache folder is unusable or the pool can't be reserved.
    pub(crate) fn start(options: &Options) -> Result<Self, Error> {
        let cache_folder =
            private_folder(&options.cache_folder).map_err(|source| Error::CacheFolder {
                path: options.cache_folder.clone(),
                source,
            })?;
        if cache_folder.starts_with(&options.plugin_folder) {
            return Err(Error::CacheInPlugins { path: cache_folder });
        }
        let dumps = |(folder, keep): &(PathBuf, usize)| {
            CoreDumps::open(folder, *keep)
                .map(Arc::new)
                .map_err(|source| Error::CoreDumps {
                    path: folder.clone(),
                    source,
                })
        };
        let core_dumps = options.core_dumps.as_ref().map(dumps).transpose()?;
        let code = Code::open(&cache_folder).map_err(|e| Error::Engine { source: e.into() })?;
        let config = config(options, code.as_ref());
        let wasmtime =
            wasmtime::Engine::new(&config).map_err(|e| Error::Engine { source: e.into() })?;
        let weak = wasmtime.weak();
        std::thread::Builder::new()
            .name("plugin-clock".to_owned())
            .spawn(move || {
                let _guard = vital::guard("plugin clock");
                tick(&weak);
            })
            .map_err(|source| Error::Ticker { source })?;
        let ceilings = Ceilings {
            memory: options.memory_ceiling,
            slots: options.slots,
            table_elements: TABLE_ELEMENTS,
        };
        let Compiling { bounds, program } = options.compiling.clone();
        Ok(Self {
            wasmtime,
            code: code.map(Arc::new),
            slots: Arc::new(Semaphore::new(options.slots as usize)),
            ceilings,
            dumps: core_dumps.is_some(),
            core_dumps,
            compiler: program.map(|program| Compiler::new(program, bounds.clone())),
            bounds: Arc::new(bounds),
        })
    }
}

impl Engine {
    /// A component whose code is in the cache. None: it is not. Blocks.
    ///
    /// # Errors
    /// When an entry that is damaged can't be removed.
    pub(crate) fn find(&self, digest: Digest, bytes: &[u8]) -> wasmtime::Result<Option<Component>> {
        self.code
            .as_ref()
            .map_or(Ok(None), |code| code.find(&self.wasmtime, digest, bytes))
    }

    /// Has a process compile a component, and puts the code into the cache. Where there is no cache, it is known afterwards that compiling
    /// it takes no more than it may.
    ///
    /// # Errors
    /// When it can't be compiled, or takes more than it may.
    pub(crate) async fn compile_apart(
        &self,
        compiler: &Compiler,
        digest: Digest,
        bytes: &[u8],
    ) -> Result<Answer, compiler::Error> {
        let workshop = self.code.as_ref().and_then(|code| match code.workshop() {
            Ok(workshop) => Some((code.clone(), workshop)),
            Err(error) => {
                tracing::warn!(%error, "compiled code can't be kept: a plugin is compiled twice");
                None
            }
        });
        let folder = workshop
            .as_ref()
            .map(|(_, workshop)| workshop.path().to_owned());
        let answer = compiler
            .order(
                Task::Compile {
                    folder,
                    core_dumps: self.dumps,
                },
                bytes,
            )
            .await?;
        if answer == Answer::Done
            && let Some((code, workshop)) = workshop
        {
            let engine = self.wasmtime.clone();
            let taken = tokio::task::spawn_blocking(move || {
                code.take_over(workshop.path(), &engine, digest)
            })
            .await;
            if let Err(error) = taken.map_err(std::io::Error::other).and_then(|taken| taken) {
                tracing::warn!(%error, "compiled code can't be kept: a plugin is compiled twice");
            }
        }
        Ok(answer)
    }

    /// Compiles a component, or takes its code from the cache. Blocks.
    ///
    /// # Errors
    /// When the bytes can't be compiled.
    pub(crate) fn component(&self, digest: Digest, bytes: &[u8]) -> wasmtime::Result<Component> {
        match &self.code {
            Some(code) => code.component(&self.wasmtime, digest, bytes),
            None => Component::from_binary(&self.wasmtime, bytes),
        }
    }
}

/// Ends with the engine.
fn tick(engine: &EngineWeak) {
    while let Some(engine) = engine.upgrade() {
        engine.increment_epoch();
        drop(engine);
        std::thread::sleep(TICK);
    }
}

fn config(options: &Options, code: Option<&Code>) -> Config {
    let slots = options.slots;
    let resident = if PoolingAllocationConfig::is_pagemap_scan_available() {
        RESIDENT
    } else {
        RESIDENT_BLIND
    };
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(slots)
        .total_stacks(slots)
        .total_memories(slots)
        .total_tables(slots)
        .total_core_instances(slots.saturating_mul(PARTS))
        .max_core_instances_per_component(PARTS)
        .max_memories_per_component(PARTS)
        .max_tables_per_component(PARTS)
        .max_memories_per_module(8)
        .max_tables_per_module(8)
        .table_elements(TABLE_ELEMENTS)
        .max_memory_size(usize::try_from(options.memory_ceiling.0).unwrap_or(usize::MAX))
        .max_unused_warm_slots(WARM)
        .linear_memory_keep_resident(resident)
        // Only pages that a call has written are cleared after it, where the kernel can tell them (Linux 6.7 and newer).
        .pagemap_scan(Enabled::Auto)
        .table_keep_resident(64 << 10)
        .async_stack_keep_resident(64 << 10);

    let mut config = compiler_config(options.core_dumps.is_some(), code);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    config
}

/// All that decides what code is made. Where memory comes from does not: a process that only compiles reserves none.
pub(crate) fn compiler_config(core_dumps: bool, code: Option<&Code>) -> Config {
    let mut config = Config::new();
    config
        .cache(code.map(Code::cache))
        .epoch_interruption(true)
        .coredump_on_trap(core_dumps)
        .wasm_memory64(false)
        .max_wasm_stack(1 << 20)
        .async_stack_size(2 << 20)
        // Decisions replay bit for bit.
        .relaxed_simd_deterministic(true)
        .cranelift_nan_canonicalization(true);
    config
}

/// Makes the folder if need be, closes it to others, and names it absolutely.
pub(crate) fn private_folder(path: &Path) -> std::io::Result<PathBuf> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)?;
    let path = path.canonicalize()?;
    let mode = fs::metadata(&path)?.permissions().mode();
    if mode & 0o077 != 0 {
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700))?;
    }
    Ok(path)
}
