//! Finds a compiler that can make WebAssembly. Knows where compilers keep their libraries; must not install anything or use the network.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use crate::Error;

/// What plugins are compiled for: no WASI, so a component's import list is its permission list.
pub const TARGET: &str = "wasm32-unknown-unknown";

/// Where distributions put a compiler that stands beside rustup's.
const SYSTEM_RUSTC: &str = "/usr/bin/rustc";

/// A compiler and the way it gets the target's standard library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Toolchain {
    /// The active compiler has the target's library.
    Installed,
    /// This compiler has the library's source; cargo builds the library along with the plugin, once per target folder.
    FromSource {
        /// The compiler.
        rustc: PathBuf,
    },
}

impl Toolchain {
    /// Chooses a compiler for plugins, as seen from a folder (rustup lets folders pin a toolchain).
    ///
    /// # Errors
    /// [`Error::NoToolchain`] with what to install.
    pub fn find(folder: &Path) -> Result<Self, Error> {
        let active = env::var_os("RUSTC").map_or_else(|| PathBuf::from("rustc"), PathBuf::from);
        let sysroots: Vec<(PathBuf, PathBuf)> = [active, PathBuf::from(SYSTEM_RUSTC)]
            .into_iter()
            .filter_map(|rustc| sysroot(&rustc, folder).map(|root| (rustc, root)))
            .collect();
        // Any compiler with the library beats one that must build it first.
        if let Some((rustc, root)) = sysroots.first()
            && has_library(root)
            && env::var_os("RUSTC").is_none_or(|chosen| Path::new(&chosen) == rustc)
        {
            return Ok(Self::Installed);
        }
        // The system's compiler goes first: unstable options of a release are only as good as its own source, and distributions ship the two together.
        let with_source = sysroots.into_iter().rev().find(|(_, root)| {
            root.join("lib/rustlib/src/rust/library/std/Cargo.toml")
                .is_file()
        });
        with_source
            .map(|(rustc, _)| Self::FromSource { rustc })
            .ok_or(Error::NoToolchain)
    }

    /// Gives a cargo command what it needs to compile for [`TARGET`].
    pub(crate) fn apply(&self, cargo: &mut Command) {
        cargo.args(["--target", TARGET]);
        if let Self::FromSource { rustc } = self {
            cargo
                .args(["-Z", "build-std=std,panic_abort"])
                .env("RUSTC", rustc)
                .env("RUSTC_BOOTSTRAP", "1");
        }
    }
}

fn sysroot(rustc: &Path, folder: &Path) -> Option<PathBuf> {
    let output = Command::new(rustc)
        .args(["--print", "sysroot"])
        .current_dir(folder)
        .output()
        .ok()?;
    output
        .status
        .success()
        .then(|| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
}

fn has_library(sysroot: &Path) -> bool {
    let folder = sysroot.join("lib/rustlib").join(TARGET).join("lib");
    folder.read_dir().is_ok_and(|entries| {
        entries
            .flatten()
            .any(|entry| entry.file_name().to_string_lossy().starts_with("libstd-"))
    })
}
