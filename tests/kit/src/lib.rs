//! What the tests and the benches share: a throwaway daemon with its own folders, clouds and engines of a test's own, manifests, and the one way
//! to wait. It starts the real binary; it knows nothing of the daemon's inside.
#![allow(
    clippy::indexing_slicing,
    reason = "JSON values answer null for what they lack, and this is test support"
)]

pub mod aws;
pub mod clouds;
pub mod cluster;
mod compiled;
mod daemon;
pub mod docker;
pub mod fixture;
pub mod golden;
mod manifests;
pub mod pages;
mod paths;
pub mod podman;
mod signal;
mod wait;

pub use self::{
    daemon::{Daemon, Events, client, fetch},
    manifests::{LOCAL, endpoints, pids, web},
    paths::{binary, component, guest, hello, private_folder, target},
    signal::{Signal, signal, signal_group},
    wait::{Attempt, PATIENCE, eventually, eventually_blocking, when},
};
