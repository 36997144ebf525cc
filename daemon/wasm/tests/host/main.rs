//! The plugin host against real components in a real folder.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail"
)]

mod folder;
mod hostile;
mod reload;
mod support;
