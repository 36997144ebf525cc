//! The plugin host: the only crate that knows wasmtime. Providers and policies enter as files in a folder and leave as the traits of
//! `tradewind_core::plugin`; everything in between (engine, audit, limits, reload, history) stays here.
//! It must not know deployments, what is decided, or what a capability does outside.
//!
//! The plugin folder holds components (`NAME.wasm`) and instance files (`NAME.toml`), each of which configures one use of a component. A
//! component that no instance file names is active under its own name if it needs no grant and takes empty settings, so that dropping
//! `cheapest.wasm` into the folder is enough. A folder of further components may stand beside it: they serve where an instance file names them.
//!
//! It is made of rooms. Each uses only those below it; the first lines of each say what it must not know.
//!
//! | room | what it is for |
//! |---|---|
//! | `registry` | which instances there are, and which version of each serves |
//! | `trial` | what a new version must show: canaries, shadows, second looks |
//! | `load` | from a file to something that can be called |
//! | `history` | which versions have served, and their bytes |
//! | `runtime` | what a call needs |
//! | `base` | files and text, for all of them |
#![warn(missing_docs)]

mod base;
mod history;
mod load;
mod registry;
mod runtime;
mod trial;

pub use load::{
    audit::Error as AuditError,
    bounds::Error as BoundsError,
    compiler::{Compiling, Error as CompilerError, Program, compile_child},
    error::Error as LoadError,
    folder::{Believes, Builtin},
    inspect::{FileInspection, InspectError, inspect_file},
    instance_file::{Error as InstanceFileError, check as check_instance_file},
    progress::{Compilation, Progress},
    standalone::{Loaded, PluginSource, StandaloneError, StandaloneHost, policy},
    toolchain::Error as EngineError,
};
pub use registry::{Error, Handle, Host, Options, ReconcileError, RollbackError};
pub use runtime::{host_context::Capabilities, plugin::Plugin, plugin_info::PluginInfo};
pub use trial::{
    canary::{CanaryError, CanaryStart},
    recall::RecallError,
    shadow::{ShadowError, ShadowRecord, ShadowStart},
};
