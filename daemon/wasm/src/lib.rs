//! The plugin host: the only crate that knows wasmtime. Providers and policies enter as files in a folder and leave as the traits of
//! `tradewind_core::plugin`; everything in between (engine, audit, limits, reload, history) stays here.
//!
//! The plugin folder holds components (`NAME.wasm`) and instance files (`NAME.toml`), each of which configures one use of a component. A
//! component that no instance file names is active under its own name if it needs no grant and takes empty settings, so that dropping
//! `cheapest.wasm` into the folder is enough.

mod about;
mod alone;
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
mod host;
mod instance_file;
mod ledger;
mod lent;
mod limits;
mod load;
mod recall;
mod registry;
mod schema;
mod shadow;
mod state;
mod survey;
mod v0_1;
mod version;
mod view;
mod watch;
mod writer;

pub use about::{About, Kind, Wanted};
pub use alone::{AloneError, Loaded, Piece, Plugin, Workbench, policy};
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
pub use lent::Capabilities;
pub use limits::Limits;
pub use load::Error as LoadError;
pub use recall::RecallError;
pub use shadow::{ShadowError, ShadowRecord, ShadowStart, ShadowView};
pub use view::{PluginView, Problem, Refused, Rejection, Report, Served, State};
