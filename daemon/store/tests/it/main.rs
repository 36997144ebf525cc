//! The state against real files: what it promises about durability, order and refusal.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail like tests: clippy's own exemption ends at the functions marked so"
)]

mod audit;
mod closing;
mod copying;
mod crash;
mod golden;
mod grouping;
mod growth;
mod model;
mod opening;
mod support;
mod trouble;
mod watching;
