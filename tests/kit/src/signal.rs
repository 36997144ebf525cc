//! Signals to processes, by their ids. A small system has no program that sends them.

use std::fmt::Display;

use anyhow::{Context, Result};
use rustix::process::{Pid, kill_process, kill_process_group};

pub use rustix::process::Signal;

fn pid(id: impl Display) -> Result<Pid> {
    let id = id.to_string();
    let number = id.trim().parse().ok().and_then(Pid::from_raw);
    number.with_context(|| format!("{id:?} is no process"))
}

/// Sends it to the process with this id.
///
/// # Errors
/// When there is no such process.
pub fn signal(id: impl Display, signal: Signal) -> Result<()> {
    let pid = pid(id)?;
    kill_process(pid, signal).with_context(|| format!("{pid:?} can't be sent {signal:?}"))
}

/// Sends it to every process of the group with this id.
///
/// # Errors
/// When there is no such group.
pub fn signal_group(id: impl Display, signal: Signal) -> Result<()> {
    let pid = pid(id)?;
    kill_process_group(pid, signal)
        .with_context(|| format!("the group {pid:?} can't be sent {signal:?}"))
}
