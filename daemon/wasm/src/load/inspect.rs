//! A look at a component file without running the daemon.

use std::{path::PathBuf, sync::Arc, time::Duration};

use tradewind_core::{
    names::{Digest, InstanceName},
    units::Bytes,
};

use super::{
    candidate::Candidate,
    compiler::Compiling,
    error::{Error, blocking},
    instance_file::InstanceFile,
    loader::Loader,
    toolchain::{self, Toolchain},
};
use crate::runtime::{host_context::Capabilities, plugin_info::PluginInfo, v0_1};

/// What an operator may know of a component file without running the daemon.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FileInspection {
    /// SHA-256 of the file's bytes.
    pub digest: Digest,
    /// The size of the file.
    pub size: Bytes,
    /// The interfaces that it imports, with their versions.
    pub imports: Vec<String>,
    /// The interfaces that it exports, with their versions.
    pub exports: Vec<String>,
    /// What it says about itself.
    pub about: PluginInfo,
}

/// Why a component file can't be looked at.
#[derive(Debug, thiserror::Error)]
#[allow(
    missing_docs,
    reason = "the messages say what the variants and their fields mean"
)]
pub enum InspectError {
    #[error(transparent)]
    Engine(#[from] toolchain::Error),
    #[error(transparent)]
    Load(#[from] Error),
}

/// Compiles a component and asks it who it is, with nothing granted but the look at its imports: every capability is linked to a dead end.
///
/// # Errors
/// When it is no plugin of this contract.
pub async fn inspect_file(
    bytes: Vec<u8>,
    cache_folder: PathBuf,
    compiling: Compiling,
) -> Result<FileInspection, InspectError> {
    let size = Bytes(bytes.len() as u64);
    let options = toolchain::Options::outside(cache_folder, compiling);
    let toolchain = blocking(move || Toolchain::start(options)).await??;
    let digest = Digest::of(&bytes);
    let component: Arc<[u8]> = bytes.into();

    let loader = Loader::new(toolchain, Capabilities::none(), Duration::from_secs(5));
    let instance = InstanceName::try_from("inspected".to_owned()).map_err(|_| Error::Aborted)?;
    let mut file = InstanceFile::bare("inspected.wasm");
    file.grants = Capabilities::every_import();
    let code = loader
        .components()
        .compile(component.clone(), digest, &instance, &file)
        .await?;
    let candidate = Candidate::apart(instance, (file, Digest::of(b"")), (component, digest));
    let (linked, runner) = loader.prepare(candidate).await?;
    let (about, _) = v0_1::describe(linked, &runner)
        .await
        .map_err(|f| Error::Describe(Box::new(f)))?;
    Ok(FileInspection {
        digest,
        size,
        imports: code.imports.clone(),
        exports: code.exports.clone(),
        about,
    })
}
