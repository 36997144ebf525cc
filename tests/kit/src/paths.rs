//! Where the things lie that `make` has built.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, ensure};
use tempfile::TempDir;

/// The folder of what `make` has built.
pub fn target() -> PathBuf {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target");
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(default, PathBuf::from)
}

/// The `tradewind` binary: `TRADEWIND_BIN`, else the development build.
pub fn binary() -> PathBuf {
    std::env::var_os("TRADEWIND_BIN")
        .map_or_else(|| target().join("debug/tradewind"), PathBuf::from)
}

/// The service that the tests deploy.
pub fn hello() -> PathBuf {
    binary().with_file_name("hello")
}

/// A component of this repository, as `make plugins` has built it.
pub fn component(name: &str) -> PathBuf {
    let folder = std::env::var_os("TRADEWIND_PLUGINS")
        .map_or_else(|| target().join("plugins"), PathBuf::from);
    folder.join(format!("{name}.wasm"))
}

/// A component of `tests/guests`, which misbehaves as its settings say. All of them are built when the first is asked for.
///
/// # Errors
/// When they can't be built.
pub fn guest(name: &str) -> Result<PathBuf> {
    static BUILT: parking_lot::Mutex<bool> = parking_lot::Mutex::new(false);
    let out = target().join("hostile-guests");
    let mut built = BUILT.lock();
    if !*built {
        let output = Command::new(binary())
            .args(["plugin", "build"])
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../guests"))
            .arg("--out")
            .arg(&out)
            .output()?;
        ensure!(
            output.status.success(),
            "the guests: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        *built = true;
    }
    Ok(out.join(format!("{name}.wasm")))
}

/// A folder whose files nobody else reads: for credentials.
///
/// # Errors
/// When it can't be made.
pub fn private_folder() -> std::io::Result<TempDir> {
    tempfile::Builder::new()
        .permissions(std::fs::Permissions::from_mode(0o700))
        .tempdir()
}
