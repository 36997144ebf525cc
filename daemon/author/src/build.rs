//! Compiles plugins: one cargo call for all that are asked for, then each module becomes a component.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::{
    Error, Toolchain,
    component::{Kind, componentize},
    toolchain::TARGET,
};

/// What to build, and where to.
#[derive(Debug, Clone, Default)]
pub struct BuildOptions {
    /// The folder of a plugin's `Cargo.toml`, or of a workspace of plugins.
    pub manifest_dir: PathBuf,
    /// Only these of a workspace's plugins, by name. Empty: the folder's own plugin, or all of a workspace.
    pub plugins: Vec<String>,
    /// Where components go: a folder, or with the ending `.wasm` the file for a single one. Default: `components` in the target folder.
    pub out: Option<PathBuf>,
    /// Where the compiler works. Default: `guest` in cargo's own target folder, so that host builds and guest builds don't mix.
    /// Plugins that share it share the standard library, which can take a minute to build.
    pub target_dir: Option<PathBuf>,
    /// Never use the network: every dependency must be there already.
    pub offline: bool,
    /// Refuse to change the lock file.
    pub locked: bool,
    /// Show the compiler's output as it comes. Otherwise it is kept, and told when it fails.
    pub verbose: bool,
}

/// A plugin that was built.
#[derive(Debug, Clone)]
pub struct Built {
    /// The plugin's package name, and the file's name without its ending.
    pub name: String,
    /// Where the component is.
    pub wasm: PathBuf,
    /// The component itself.
    pub bytes: Vec<u8>,
    /// Its size in bytes.
    pub size: u64,
    /// Provider or policy.
    pub kind: Kind,
    /// `sha256:` and 64 hexadecimal digits, as the daemon shows it.
    pub digest: String,
    /// The interfaces it needs from the host (`tradewind:plugin/log@0.1.0`).
    pub imports: Vec<String>,
}

/// Builds exactly one plugin.
///
/// # Errors
/// As [`build_all`], and [`Error::OneFile`] when the folder holds several.
pub fn build(options: &BuildOptions) -> Result<Built, Error> {
    let mut all = build_all(options)?;
    match (all.pop(), all.is_empty()) {
        (Some(built), true) => Ok(built),
        (Some(_), false) => Err(Error::OneFile {
            folder: options.manifest_dir.clone(),
            out: options.out.clone().unwrap_or_default(),
            count: all.len() + 1,
        }),
        (None, _) => Err(Error::NoPlugin {
            folder: options.manifest_dir.clone(),
        }),
    }
}

/// Builds a plugin, or every plugin of a workspace, with a single call of cargo.
///
/// # Errors
/// [`Error::NoToolchain`] when no compiler can make WebAssembly; [`Error::Command`] with the compiler's own words; [`Error::Component`] when
/// a module asks for something that the contract does not have.
pub fn build_all(options: &BuildOptions) -> Result<Vec<Built>, Error> {
    let metadata = metadata(options)?;
    let plugins = chosen(&metadata, options)?;
    let single_file = options
        .out
        .as_ref()
        .filter(|out| out.extension().is_some_and(|ending| ending == "wasm"));
    if let (Some(out), true) = (single_file, plugins.len() > 1) {
        return Err(Error::OneFile {
            folder: options.manifest_dir.clone(),
            out: out.clone(),
            count: plugins.len(),
        });
    }
    let target_dir = options
        .target_dir
        .clone()
        .unwrap_or_else(|| metadata.target_directory.join("guest"));
    compile(options, &plugins, &target_dir)?;

    let folder = options
        .out
        .clone()
        .unwrap_or_else(|| metadata.target_directory.join("components"));
    plugins
        .iter()
        .map(|plugin| {
            let module = target_dir
                .join(TARGET)
                .join("release")
                .join(format!("{}.wasm", plugin.library));
            let to = single_file
                .cloned()
                .unwrap_or_else(|| folder.join(format!("{}.wasm", plugin.name)));
            finish(plugin, &module, to)
        })
        .collect()
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    target_directory: PathBuf,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    manifest_path: PathBuf,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    crate_types: Vec<String>,
}

struct Plugin {
    name: String,
    library: String,
}

fn metadata(options: &BuildOptions) -> Result<Metadata, Error> {
    let manifest = options.manifest_dir.join("Cargo.toml");
    if !manifest.is_file() {
        return Err(Error::NoManifest {
            folder: options.manifest_dir.clone(),
        });
    }
    let mut cargo = cargo(&options.manifest_dir);
    cargo.args(["metadata", "--no-deps", "--format-version", "1"]);
    let output = run(cargo)?;
    serde_json::from_slice(&output).map_err(|error| Error::Answer {
        program: "cargo metadata".to_owned(),
        what: error.to_string(),
    })
}

fn chosen(metadata: &Metadata, options: &BuildOptions) -> Result<Vec<Plugin>, Error> {
    let own = options.manifest_dir.join("Cargo.toml").canonicalize().ok();
    let is_own =
        |package: &Package| own.is_some() && package.manifest_path.canonicalize().ok() == own;
    let single = options.plugins.is_empty() && metadata.packages.iter().any(is_own);
    let all: Vec<Plugin> = metadata
        .packages
        .iter()
        .filter(|package| !single || is_own(package))
        .filter_map(|package| {
            let library = package
                .targets
                .iter()
                .find(|target| target.crate_types.iter().any(|kind| kind == "cdylib"))?;
            Some(Plugin {
                name: package.name.clone(),
                library: library.name.replace('-', "_"),
            })
        })
        .collect();
    if let Some(unknown) = options
        .plugins
        .iter()
        .find(|name| !all.iter().any(|plugin| plugin.name == **name))
    {
        let known = all
            .iter()
            .map(|plugin| format!("\"{}\"", plugin.name))
            .collect::<Vec<_>>()
            .join(", ");
        return Err(Error::UnknownPlugin {
            name: unknown.clone(),
            folder: options.manifest_dir.clone(),
            known,
        });
    }
    let wanted: Vec<Plugin> = all
        .into_iter()
        .filter(|plugin| options.plugins.is_empty() || options.plugins.contains(&plugin.name))
        .collect();
    if wanted.is_empty() {
        Err(Error::NoPlugin {
            folder: options.manifest_dir.clone(),
        })
    } else {
        Ok(wanted)
    }
}

fn compile(options: &BuildOptions, plugins: &[Plugin], target_dir: &Path) -> Result<(), Error> {
    let mut cargo = cargo(&options.manifest_dir);
    cargo
        .args(["build", "--lib", "--release"])
        .arg("--target-dir")
        .arg(target_dir);
    Toolchain::find(&options.manifest_dir)?.apply(&mut cargo);
    for plugin in plugins {
        cargo.args(["--package", &plugin.name]);
    }
    if options.offline {
        cargo.arg("--offline");
    }
    if options.locked {
        cargo.arg("--locked");
    }
    if options.verbose {
        let program = PathBuf::from(cargo.get_program());
        let status = cargo
            .status()
            .map_err(|source| Error::Start { program, source })?;
        let output = "its output is above".to_owned();
        if status.success() {
            Ok(())
        } else {
            Err(Error::Command {
                program: "cargo build".to_owned(),
                status: status.to_string(),
                output,
            })
        }
    } else {
        run(cargo).map(drop)
    }
}

fn finish(plugin: &Plugin, module: &Path, to: PathBuf) -> Result<Built, Error> {
    let core = fs::read(module).map_err(|source| Error::Io {
        what: "read",
        path: module.to_owned(),
        source,
    })?;
    let component = componentize(&plugin.name, &core)?;
    write_whole(&to, &component.bytes)?;
    let digest = Sha256::digest(&component.bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect::<String>();
    Ok(Built {
        name: plugin.name.clone(),
        wasm: to,
        size: component.bytes.len() as u64,
        kind: component.kind,
        digest: format!("sha256:{digest}"),
        imports: component.imports,
        bytes: component.bytes,
    })
}

/// Writes beside the file and renames over it, so that a daemon that watches the folder never sees half a component. A file that has these
/// bytes already stays as it is.
fn write_whole(to: &Path, bytes: &[u8]) -> Result<(), Error> {
    if fs::read(to).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).map_err(|source| Error::Io {
            what: "create",
            path: folder.to_owned(),
            source,
        })?;
    }
    let part = to.with_extension(format!("wasm.part-{}", std::process::id()));
    fs::write(&part, bytes).map_err(|source| Error::Io {
        what: "write",
        path: part.clone(),
        source,
    })?;
    fs::rename(&part, to).map_err(|source| Error::Io {
        what: "write",
        path: to.to_owned(),
        source,
    })
}

/// Cargo, without what a surrounding cargo or the user's host builds set.
fn cargo(folder: &Path) -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(folder);
    for name in [
        "RUSTFLAGS",
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_BUILD_TARGET",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "CARGO_TARGET_DIR",
    ] {
        cargo.env_remove(name);
    }
    cargo
}

fn run(mut command: Command) -> Result<Vec<u8>, Error> {
    let program = PathBuf::from(command.get_program());
    let output = command.output().map_err(|source| Error::Start {
        program: program.clone(),
        source,
    })?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let program = format!(
        "cargo {}",
        command
            .get_args()
            .next()
            .unwrap_or_default()
            .to_string_lossy()
    );
    Err(Error::Command {
        program,
        status: output.status.to_string(),
        output: String::from_utf8_lossy(&output.stderr)
            .trim_end()
            .to_owned(),
    })
}
