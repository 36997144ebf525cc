//! What can go wrong while a plugin is written or built.

use std::{io, path::PathBuf};

/// Why a plugin could not be written or built.
#[derive(Debug, thiserror::Error)]
#[allow(
    missing_docs,
    reason = "the messages say what the variants and their fields mean"
)]
pub enum Error {
    /// Neither a compiler with the target's library nor one with the library's source.
    #[error(
        "no compiler for {target}: run `make setup`, or `rustup target add {target}`, or on Debian `apt-get install -y \
         --no-install-recommends rustc-web rust-web-src rust-web-llvm lld-22`",
        target = crate::TARGET
    )]
    NoToolchain,
    #[error("can't start \"{program}\"")]
    Start { program: PathBuf, source: io::Error },
    #[error("\"{program}\" failed ({status}):\n{output}")]
    Command {
        program: String,
        status: String,
        output: String,
    },
    #[error("\"{program}\" answered something unexpected: {what}")]
    Answer { program: String, what: String },
    #[error("no Cargo.toml in \"{}\"", folder.display())]
    NoManifest { folder: PathBuf },
    #[error("no plugin in \"{}\": a plugin's Cargo.toml has `crate-type = [\"cdylib\", \"rlib\"]` under `[lib]`", folder.display())]
    NoPlugin { folder: PathBuf },
    #[error("no plugin named \"{name}\" in \"{}\": there are {known}", folder.display())]
    UnknownPlugin {
        name: String,
        folder: PathBuf,
        known: String,
    },
    #[error("\"{}\" has {count} plugins, and the output \"{}\" names one file: name a folder", folder.display(), out.display())]
    OneFile {
        folder: PathBuf,
        out: PathBuf,
        count: usize,
    },
    #[error("\"{module}\" can't become a component: {why}")]
    Component { module: String, why: String },
    #[error(
        "\"{module}\" exports neither a provider nor a policy: call `register_provider!`, `register_policy!` or `register_score!` once"
    )]
    NoWorld { module: String },
    #[error(
        "\"{name}\" is no name for a plugin: 1 to 63 of a-z, 0-9 and \"-\", beginning with a letter, not ending with \"-\", and no word of Rust's or the SDK's"
    )]
    Name { name: String },
    #[error("\"{}\" exists already and is not empty", folder.display())]
    Exists { folder: PathBuf },
    #[error("can't {what} \"{}\"", path.display())]
    Io {
        what: &'static str,
        path: PathBuf,
        source: io::Error,
    },
}
