//! The plugin host: the only crate that knows wasmtime. Providers and policies enter as files in a folder and leave as the traits of
//! `tradewind_core::plugin`; everything in between (engine, audit, limits, reload, history) stays here.
//!
//! The plugin folder holds components (`NAME.wasm`) and instance files (`NAME.toml`), each of which configures one use of a component. A
//! component that no instance file names is active under its own name if it needs no grant and takes empty settings, so that dropping
//! `cheapest.wasm` into the folder is enough.

mod audit;
mod bounds;
mod cache;
mod call;
mod canary;
mod clouds;
mod compiler;
mod coredump;
mod engine;
mod folder;
mod history_store;
mod host;
mod host_context;
mod instance_file;
mod limits;
mod load;
mod plugin_info;
mod recall;
mod registry;
mod schema;
mod shadow;
mod standalone;
mod state;
mod survey;
mod v0_1;
mod version;
mod view;
mod watch;
mod writer;

pub use audit::Error as AuditError;
pub use bounds::{Bounds, Error as BoundsError};
pub use call::CallStatistics;
pub use canary::{CanaryEnd, CanaryError, CanaryStart, CanaryState, CanaryView};
pub use compiler::{Compiling, Error as CompilerError, Program, compile_child};
pub use engine::Error as EngineError;
pub use host::{
    Believes, Error, FileInspection, Handle, Host, InspectError, Options, ReconcileError,
    RollbackError, inspect_file,
};
pub use host_context::Capabilities;
pub use limits::Limits;
pub use load::Error as LoadError;
pub use plugin_info::{Kind, PluginInfo, Wanted};
pub use recall::RecallError;
pub use shadow::{ShadowError, ShadowRecord, ShadowStart, ShadowView};
pub use standalone::{Loaded, Plugin, PluginSource, StandaloneError, StandaloneHost, policy};
pub use view::{PluginView, Problem, Refused, Rejection, Report, Served, State};
