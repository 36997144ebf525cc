//! What must hold whatever the bytes are that a stranger sends: each function takes any bytes and panics where something does not hold. Tests
//! give them a few thousand inputs each; `make fuzz` lets a fuzzer look for worse ones.
//!
//! It must not know how the code under test does its work: only what everybody may rely on.

mod answer;
mod manifest;
mod record;
pub mod seeds;

pub use self::{answer::answer, manifest::manifest, record::record};
