//! A cloud that stands for clouds in tests: regions and sizes with prices and capacity, instances with tags and creation tokens, a ledger of
//! everything that ever was, and a script of what shall go wrong.
//!
//! [`Cloud`] is the cloud as a function of requests and time; it does no I/O. [`Server`] puts it on a loopback port and gives every running
//! instance a port of its own that answers with the instance's id. It must not know who asks, or why.

mod api;
mod config;
mod control;
mod error;
mod faults;
mod instance;
mod ledger;
#[cfg(feature = "server")]
mod server;
#[cfg(feature = "server")]
mod sockets;

pub use api::{Answer, Reply, Request};
pub use config::{Config, Lag, Region, Size, Stock};
pub use error::Error;
pub use faults::{Fault, Kind, Operation};
pub use instance::{Instance, State};
pub use ledger::{Cloud, New};
#[cfg(feature = "server")]
pub use server::Server;
