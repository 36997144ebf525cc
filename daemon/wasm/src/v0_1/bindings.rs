//! The generated types of contract 0.1. Nothing here leaves `v0_1`.
#![allow(unreachable_pub, unused_variables, clippy::all, clippy::restriction, reason = "generated")]

include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
