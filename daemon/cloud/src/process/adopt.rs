//! Taking up what an earlier supervisor left: the folder's lock, and what became of every recorded process. It starts and ends nothing.

use std::{
    collections::HashMap,
    fs::{DirBuilder, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use rustix::fs::FlockOperation;
use tokio::{
    runtime::Handle,
    sync::{Notify, broadcast},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    CHANGES_KEPT, Error, Options, Shared,
    exit::{self, Leader},
    folder,
    keeper::{self, Up},
    ports, proc,
    slot::Slot,
};

/// How long a wrapper may take from its fork to its command line.
const START_PATIENCE: Duration = Duration::from_secs(2);

/// Every recorded process with what became of it.
pub(super) type Recorded = Vec<(Arc<Slot>, Found)>;

/// What was found of a recorded process.
pub(super) enum Found {
    Running(Up),
    /// Recorded, but not started or waiting to be started again.
    ToStart,
    /// Ended while nobody watched, with its status where one was kept.
    Ended(Option<i32>),
    /// Known to have ended for good.
    Over,
}

pub(super) fn open(options: Options, runtime: Handle) -> Result<(Shared, Recorded), Error> {
    let failed = |source: io::Error| Error::Folder { folder: options.folder.clone(), source };
    DirBuilder::new().recursive(true).mode(0o700).create(&options.folder).map_err(failed)?;
    let lock =
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(options.folder.join(".lock")).map_err(failed)?;
    match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => return Err(Error::InUse(options.folder.clone())),
        Err(error) => return Err(failed(error.into())),
    }
    // Wrappers carry their folder's path: it must read the same whichever way the daemon was told.
    let options = Options { folder: std::fs::canonicalize(&options.folder).map_err(failed)?, ..options };
    let failed = |source: io::Error| Error::Folder { folder: options.folder.clone(), source };
    let boot = proc::boot_id();
    let wrappers = proc::wrappers();
    let mut found = Vec::new();
    for (owner, key, folder) in folder::found(&options.folder).map_err(failed)? {
        match folder.read() {
            Some(record) => {
                let slot = Arc::new(Slot::new(owner, key, folder, record));
                let state = find(&slot, &boot, &wrappers);
                found.push((slot, state));
            }
            None => {
                // Made just before a crash: nothing was started, since the record comes first.
                tracing::warn!(folder = %folder.path().display(), "a process folder without a readable record is removed");
                if let Ok(retired) = folder.retire() {
                    folder::discard(&retired);
                }
            }
        }
    }
    let search = std::env::var("PATH").ok().filter(|p| !p.is_empty()).unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".to_owned());
    let shared = Shared {
        search,
        boot,
        runtime,
        table: Mutex::default(),
        ports: ports::Ports::default(),
        changes: broadcast::channel(CHANGES_KEPT).0,
        paces: Mutex::default(),
        paced: Notify::new(),
        closing: CancellationToken::new(),
        keepers: TaskTracker::new(),
        lock,
        options,
    };
    Ok((shared, found))
}

/// Finds out what became of a recorded process.
fn find(slot: &Slot, boot: &str, wrappers: &HashMap<(PathBuf, u32), i32>) -> Found {
    let mut state = slot.state();
    let record = &state.record;
    let folder = slot.folder.path().to_owned();
    // A record out of a backup may be older than what runs: the newest run counts.
    let newest = wrappers.keys().filter(|(of, run)| *of == folder && *run > record.run).map(|(_, run)| *run).max();
    let run = newest.unwrap_or(record.run);
    if newest.is_some() {
        (state.record.run, state.record.process) = (run, None);
    }
    let record = &state.record;
    if let Some(finally) = record.ended.as_ref().filter(|e| e.run == run).map(|e| e.finally) {
        if finally {
            return Found::Over;
        }
        state.record.restarts += 1;
        return Found::ToStart;
    }
    let wrapper = wrappers.get(&(folder.clone(), run)).copied();
    let wrapper = wrapper.or_else(|| if record.process.is_none() { wait_for_wrapper(&folder, run) } else { None });
    let recorded = record.process.as_ref().filter(|p| proc::is_same(p, boot)).map(|p| p.pid);
    let live = wrapper.or(recorded).and_then(proc::pid);
    if let Some(pid) = live {
        let leader = Leader::new(pid);
        let raw = pid.as_raw_nonzero().get();
        // Asked again with the handle in hand: the id can't change its owner any more.
        if proc::is_wrapper(raw, &folder, run) || (cfg!(not(target_os = "linux")) && recorded.is_some()) {
            state.record.process = Some(proc::identity(pid, boot));
            keeper::up(&mut state, raw);
            return Found::Running(Up { leader, around: None });
        }
    }
    if let Some((code, _)) = slot.folder.exit(run) {
        return Found::Ended(Some(code));
    }
    let known = record.process.as_ref().filter(|p| p.boot == boot).map(|p| p.pid).or_else(|| slot.folder.wrapper_pid(run));
    match known.and_then(proc::pid) {
        Some(group) => {
            // Its wrapper was killed alone: what it ran must not run beside its successor.
            if proc::has_stragglers(group.as_raw_nonzero().get(), &folder) {
                exit::signal_group(group, rustix::process::Signal::KILL);
            }
            Found::Ended(None)
        }
        None if record.process.is_some() => Found::Ended(None),
        None => {
            // The start was intended and never happened: it is still owed, under the same number.
            state.record.run = run.saturating_sub(1);
            Found::ToStart
        }
    }
}

/// A wrapper that was being started when its daemon died shows its command line a moment later.
fn wait_for_wrapper(folder: &Path, run: u32) -> Option<i32> {
    let until = Instant::now() + START_PATIENCE;
    while let Some(pid) = proc::being_started(folder) {
        if proc::is_wrapper(pid, folder, run) {
            return Some(pid);
        }
        if Instant::now() > until {
            return None;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    None
}

impl Slot {
    /// Marks the ports of a process found again as taken.
    pub(super) fn folder_ports(&self, ports: &ports::Ports) {
        for number in self.state().record.ports.values() {
            ports.take(*number);
        }
    }
}
