//! The outer side of the capabilities: real processes on this machine, real requests to other machines, the real clock.
//!
//! It implements the ports of `tradewind_core::capability` and holds every argument against the grant it is given. It must not know
//! plugins, WebAssembly, deployments or the store: it gets an instance's name, a grant and a request, and answers.
#![warn(missing_docs)]

pub mod clock;
pub mod facts;
pub mod http;
pub mod probe;
pub mod process;
pub mod registry;
pub mod session;

pub use clock::SystemClock;
