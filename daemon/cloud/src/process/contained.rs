//! Who answers for a container that shares this machine's network: its processes are those whose control group bears its id, as every engine
//! names it. Where none is to be seen (the engine is on another machine, its processes are hidden), nothing is known.

use std::{collections::HashMap, fs, net::SocketAddr};

use parking_lot::Mutex;
use rustix::process::Signal;

use super::{
    exit, proc,
    sockets::{self, Held},
};

/// So many descriptors are remembered. Beyond that, all are looked for anew.
const REMEMBERED: usize = 4096;
/// Between being asked to end and being made to.
const GRACE: std::time::Duration = std::time::Duration::from_millis(300);

/// What has been seen of containers. One look at all processes is made where a container has not been seen to listen.
#[derive(Default)]
pub struct Contained(Mutex<HashMap<(String, SocketAddr), Held>>);

impl Contained {
    /// Whether it is the container of this id that listens on TCP there. What can't be known counts as so. Blocks.
    ///
    /// # Errors
    /// Who listens instead, for people.
    pub fn listens(&self, id: &str, at: SocketAddr) -> Result<(), String> {
        let mut seen = self.0.lock();
        let key = (id.to_owned(), at);
        let known = seen.get(&key);
        if known.is_some_and(|(descriptor, socket)| sockets::is_still(descriptor, *socket)) {
            return Ok(());
        }
        let members = members(id);
        if members.is_empty() {
            return match known {
                Some(_) => Err(format!(
                    "the container has no process any more: something else answers on port {}",
                    at.port()
                )),
                None => Ok(()),
            };
        }
        if let Some(held) = sockets::answers(members.into_iter(), at)? {
            if seen.len() >= REMEMBERED {
                seen.clear();
            }
            seen.insert(key, held);
        }
        Ok(())
    }
}

/// Ends a process of a container, with what descends from it, where it runs on this machine: it is asked first. Blocks.
pub fn end_contained(id: &str, pid: i32) {
    let is_member = || {
        !id.is_empty()
            && fs::read_to_string(format!("/proc/{pid}/cgroup"))
                .is_ok_and(|groups| groups.contains(id))
    };
    if !is_member() {
        return;
    }
    let all: Vec<(i32, Option<u64>)> = proc::tree(pid)
        .into_iter()
        .map(|pid| (pid, proc::stat_of(pid).ok().flatten().map(|s| s.start)))
        .collect();
    for signal in [Signal::HUP, Signal::KILL] {
        for (pid, start) in &all {
            exit::signal_one(*pid, *start, signal);
        }
        std::thread::sleep(GRACE);
    }
}

fn members(id: &str) -> Vec<i32> {
    if id.is_empty() {
        return Vec::new();
    }
    let is_of = |pid: &i32| {
        fs::read_to_string(format!("/proc/{pid}/cgroup")).is_ok_and(|groups| groups.contains(id))
    };
    proc::pids()
        .unwrap_or_default()
        .into_iter()
        .filter(is_of)
        .collect()
}
