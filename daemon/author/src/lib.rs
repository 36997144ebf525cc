//! For plugin authors: writes a plugin from a template, compiles it for WebAssembly and turns the module into a component.
//!
//! The command line, the Makefile and the tests use this library. It starts compilers and writes files, so it blocks: call it off the
//! async threads. It knows nothing of the daemon and runs no plugin.
#![warn(missing_docs)]

mod build;
mod component;
mod error;
mod new;
mod toolchain;

pub use build::{BuildOptions, Built, build, build_all};
pub use component::{Kind, componentize};
pub use error::Error;
pub use new::{SdkSource, new};
pub use toolchain::{TARGET, Toolchain};
