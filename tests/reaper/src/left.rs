//! The processes below this one, as the kernel lists them.

use std::{
    fmt::{self, Display},
    fs,
};

use rustix::process::{Pid, getpid};

pub(crate) struct Process {
    pub(crate) pid: Pid,
}

/// The name server of all Podman networks of a machine is a child of whoever needed it first, and goes with the last network, whose ever that is.
const SHARED: &str = "aardvark-dns";

/// Children before their children, without what serves others as well.
pub(crate) fn descendants() -> Vec<Process> {
    let mut found = children(getpid());
    let mut next = 0;
    while let Some(process) = found.get(next) {
        let below = children(process.pid);
        found.extend(below);
        next += 1;
    }
    found.retain(|process| !process.is_shared());
    found
}

fn children(of: Pid) -> Vec<Process> {
    let threads = fs::read_dir(format!("/proc/{}/task", of.as_raw_nonzero()));
    let threads = threads.into_iter().flatten().flatten();
    let listed = threads
        .map(|thread| fs::read_to_string(thread.path().join("children")).unwrap_or_default());
    let ids: Vec<i32> = listed
        .flat_map(|ids| ids.split_whitespace().map(str::parse).collect::<Vec<_>>())
        .flatten()
        .collect();
    ids.into_iter()
        .filter_map(Pid::from_raw)
        .map(|pid| Process { pid })
        .collect()
}

impl Process {
    fn is_shared(&self) -> bool {
        let name = fs::read_to_string(format!("/proc/{}/comm", self.pid.as_raw_nonzero()));
        name.is_ok_and(|name| name.trim_end() == SHARED)
    }
}

impl Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pid = self.pid.as_raw_nonzero();
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        write!(f, "{pid}: {}", command.trim_end().escape_debug())?;
        match fs::read_link(format!("/proc/{pid}/cwd")) {
            Ok(folder) => write!(f, " in {}", folder.display()),
            Err(_) => Ok(()),
        }
    }
}
