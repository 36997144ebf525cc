//! `plugin build`, `plugin new`, `plugin test`, and `plugin inspect` of a file: an author's commands, which need no daemon.

use std::{
    fs::{DirBuilder, File},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use serde::Serialize;
use tradewind_author::{BuildOptions, Built, Kind, SdkSource};
use tradewind_credentials::owners;
use tradewind_wasm::{Compiling, FileInspection};

use super::conformance;
use super::{Error, render};
use crate::serve;
use tradewind_cli::{
    args::{Globals, Plugin, PluginKind},
    output::Output,
    overrides,
};
use tradewind_config::{Effective, environment};

/// Whether the daemon must be asked.
pub enum Next {
    Done,
    /// Done, and it has been told that all is not well.
    Failed,
    Ask(Plugin),
}

/// What was built.
#[derive(Debug, Serialize)]
struct Component {
    name: String,
    kind: String,
    wasm: PathBuf,
    size: u64,
    digest: String,
    imports: Vec<String>,
}

pub fn run(globals: &Globals, args: Plugin) -> Result<Next, Error> {
    let output = Output::new(globals);
    match args {
        Plugin::Build { folders, out } => build(&output, folders, &out)?,
        Plugin::New {
            name,
            kind,
            dir,
            sdk,
        } => create(&output, &name, kind, &dir, sdk)?,
        Plugin::Test(args) => {
            return Ok(if conformance::run(globals, args)? {
                Next::Done
            } else {
                Next::Failed
            });
        }
        Plugin::Inspect { what } if what.ends_with(".wasm") => {
            let inspection = inspect(globals, Path::new(&what))?;
            output.show(&inspection, |_| render::component(&inspection))?;
        }
        other => return Ok(Next::Ask(other)),
    }
    Ok(Next::Done)
}

fn build(output: &Output, folders: Vec<PathBuf>, out: &Path) -> Result<(), Error> {
    let mut built: Vec<Built> = Vec::new();
    for folder in folders {
        let options = BuildOptions {
            manifest_dir: folder,
            out: Some(out.to_owned()),
            ..BuildOptions::default()
        };
        built.extend(tradewind_author::build_all(&options)?);
    }
    let components: Vec<Component> = built.into_iter().map(Component::from).collect();
    Ok(output.show(&components, |_| {
        components
            .iter()
            .map(Component::line)
            .collect::<Vec<_>>()
            .join("\n")
    })?)
}

fn inspect(globals: &Globals, path: &Path) -> Result<FileInspection, Error> {
    let read = |source| tradewind_cli::Error::Read {
        path: path.to_owned(),
        source,
    };
    let bytes = std::fs::read(path).map_err(read)?;
    let (cache, compiling) = (compile_cache()?, compiling(globals)?);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(tradewind_cli::Error::Runtime)?;
    runtime
        .block_on(tradewind_wasm::inspect_file(bytes, cache, compiling))
        .map_err(|source| Error::Inspect {
            path: path.to_owned(),
            source,
        })
}

/// Files may be strangers': they are compiled as the daemon would.
pub fn compiling(globals: &Globals) -> Result<Compiling, Error> {
    Ok(serve::compiling(
        Effective::load(&overrides(globals, None), environment)?
            .config
            .compile,
    ))
}

/// Where compiled code is kept between two looks at the same file. What lies there is run: nobody else may have put it there.
///
/// # Errors
/// The folder can't be made, or is not the user's alone.
pub fn compile_cache() -> Result<PathBuf, Error> {
    use etcetera::BaseStrategy;
    let usual = etcetera::choose_base_strategy()
        .ok()
        .map(|s| s.cache_dir().join("tradewind"));
    let folder = usual.unwrap_or_else(|| std::env::temp_dir().join("tradewind-cache"));
    let own = || {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)?;
        owners::check(&File::open(&folder)?, &folder, owners::Kind::Trusted)
            .map_err(|error| owners::accepted(error, owners::Accepted::Never))
    };
    own().map_err(|source| tradewind_cli::Error::Read {
        path: folder.clone(),
        source,
    })?;
    Ok(folder)
}

impl From<Built> for Component {
    fn from(b: Built) -> Self {
        Self {
            name: b.name,
            kind: b.kind.as_str().to_owned(),
            wasm: b.wasm,
            size: b.size,
            digest: b.digest,
            imports: b.imports,
        }
    }
}

impl Component {
    fn line(&self) -> String {
        format!(
            "{} {} -> {} ({} bytes, {})",
            self.kind,
            self.name,
            self.wasm.display(),
            self.size,
            self.digest
        )
    }
}

fn create(
    output: &Output,
    name: &str,
    kind: PluginKind,
    dir: &Path,
    sdk: Option<PathBuf>,
) -> Result<(), Error> {
    let kind = match kind {
        PluginKind::Provider => Kind::Provider,
        PluginKind::Policy => Kind::Policy,
    };
    let folder = dir.join(name);
    let written = tradewind_author::new(kind, name, &folder, &sdk_source(sdk))?;
    Ok(output.show(&written, |_| {
        let files: Vec<String> = written
            .iter()
            .map(|f| format!("  {}", f.display()))
            .collect();
        format!(
            "wrote\n{}\nbuild it with: tradewind plugin build {} --out DIR",
            files.join("\n"),
            folder.display()
        )
    })?)
}

/// The SDK that was named, else the one this program was built beside, if it is still there, else the published one.
fn sdk_source(named: Option<PathBuf>) -> SdkSource {
    let beside = || {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .map(|root| root.join("plugin-sdk"))
            .filter(|p| p.is_dir())
    };
    match named.or_else(beside) {
        Some(path) => SdkSource::Path(path),
        None => SdkSource::Version(env!("CARGO_PKG_VERSION").to_owned()),
    }
}
