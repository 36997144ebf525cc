//! An engine and what compiles for it: the compile cache, the compiler's processes, the bounds of what is compiled. Knows nothing of plugins.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use tradewind_core::{names::Digest, settings::CompileBounds, units::Bytes};
use wasmtime::component::Component;

use super::{
    cache::Code,
    compiler::{self, Answer, Compiler, Compiling, Task},
    progress::Progress,
    survey,
};
use crate::{
    base::files::private_folder,
    runtime::engine::{self, Engine},
};

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

/// Why the component engine can't start.
#[derive(Debug, thiserror::Error)]
#[allow(
    missing_docs,
    reason = "the messages say what the variants and their fields mean"
)]
pub enum Error {
    #[error("cache-folder \"{path}\" can't be used")]
    CacheFolder {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("cache-folder \"{path}\" must not lie in the plugin folder")]
    CacheInPlugins { path: PathBuf },
    #[error("the component engine can't be started")]
    Cache { source: anyhow::Error },
    #[error(transparent)]
    Engine(#[from] engine::Error),
}

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct Toolchain {
    engine: Engine,
    /// None: compiled code is not kept.
    code: Option<Arc<Code>>,
    bounds: Arc<CompileBounds>,
    /// None: this process compiles.
    compiler: Option<Compiler>,
    progress: Progress,
}

impl Toolchain {
    /// Blocks.
    ///
    /// # Errors
    /// When the cache folder is unusable or the engine can't start.
    pub(crate) fn start(options: Options) -> Result<Self, Error> {
        let code = open_cache(&options.cache_folder, &options.plugin_folder)?;
        let engine = Engine::start(engine::Options {
            memory_ceiling: options.memory_ceiling,
            slots: options.slots,
            core_dumps: options.core_dumps,
            cache: code.as_ref().map(Code::cache),
        })?;
        let Compiling {
            bounds,
            program,
            progress,
        } = options.compiling;
        Ok(Self {
            engine,
            code: code.map(Arc::new),
            compiler: program.map(|program| Compiler::new(program, bounds.clone())),
            bounds: Arc::new(bounds),
            progress,
        })
    }

    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(super) fn bounds(&self) -> &CompileBounds {
        &self.bounds
    }

    pub(super) fn compiler(&self) -> Option<&Compiler> {
        self.compiler.as_ref()
    }

    pub(super) fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Looks a component over. Blocks.
    ///
    /// # Errors
    /// It is malformed, or larger than it may be.
    pub(super) fn survey(&self, bytes: &[u8]) -> Result<survey::Outline, survey::Error> {
        survey::survey(bytes, &self.bounds, self.engine.ceilings())
    }

    /// A component whose code is in the cache. None: it is not. Blocks.
    ///
    /// # Errors
    /// When an entry that is damaged can't be removed.
    pub(super) fn find(&self, digest: Digest, bytes: &[u8]) -> wasmtime::Result<Option<Component>> {
        self.code.as_ref().map_or(Ok(None), |code| {
            code.find(self.engine.wasmtime(), digest, bytes)
        })
    }

    /// Has a process compile a component, and puts the code into the cache. Where there is no cache, it is known afterwards that compiling
    /// it takes no more than it may.
    ///
    /// # Errors
    /// When it can't be compiled, or takes more than it may.
    pub(super) async fn compile_apart(
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
                    core_dumps: self.engine.dumps_core(),
                },
                bytes,
            )
            .await?;
        if answer == Answer::Done
            && let Some((code, workshop)) = workshop
        {
            let engine = self.engine.wasmtime().clone();
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
    pub(super) fn component(&self, digest: Digest, bytes: &[u8]) -> wasmtime::Result<Component> {
        match &self.code {
            Some(code) => code.component(self.engine.wasmtime(), digest, bytes),
            None => Component::from_binary(self.engine.wasmtime(), bytes),
        }
    }
}

fn open_cache(folder: &Path, plugin_folder: &Path) -> Result<Option<Code>, Error> {
    let path = private_folder(folder).map_err(|source| Error::CacheFolder {
        path: folder.to_owned(),
        source,
    })?;
    if path.starts_with(plugin_folder) {
        return Err(Error::CacheInPlugins { path });
    }
    Code::open(&path).map_err(|e| Error::Cache { source: e.into() })
}
