//! Taking up what an earlier supervisor left: the folder's lock, and what became of every recorded process. It starts nothing, and ends only
//! what an ended run has left.

use std::{
    ffi::OsString,
    fs::{DirBuilder, OpenOptions},
    io,
    os::unix::{
        ffi::OsStrExt,
        fs::{DirBuilderExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use rustix::fs::FlockOperation;
use tokio::{
    runtime::Handle,
    sync::{Notify, broadcast, mpsc},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tradewind_core::names::Digest;

use super::{
    CHANGES_KEPT, Error, NOTICES_KEPT, Options, Shared,
    census::Who,
    confine,
    exit::{self, Leader},
    folder,
    groups::Groups,
    keeper::{self, Up},
    output::{collecting::Collecting, collector::COMMAND},
    owner, ports,
    proc::{self, Wrapper},
    reserve::Reserve,
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
    /// Ended while nobody watched, with its status where one was kept, and so many processes that it had left.
    Ended(Option<i32>, usize),
    /// Known to have ended for good.
    Over,
}

pub(super) fn open(options: Options, runtime: Handle) -> Result<(Shared, Recorded), Error> {
    let failed = |source: io::Error| Error::Folder {
        folder: options.folder.clone(),
        source,
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&options.folder)
        .map_err(failed)?;
    let lock = options.folder.join(owner::LOCK);
    let lock = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(lock)
        .map_err(failed)?;
    match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => return Err(Error::InUse(options.folder.clone())),
        Err(error) => return Err(failed(error.into())),
    }
    // Wrappers carry their folder's path: it must read the same whichever way the daemon was told.
    let above = options
        .data
        .as_ref()
        .and_then(|data| std::fs::canonicalize(data).ok());
    let options = Options {
        folder: std::fs::canonicalize(&options.folder).map_err(failed)?,
        data: above,
        ..options
    };
    let failed = |source: io::Error| Error::Folder {
        folder: options.folder.clone(),
        source,
    };
    let boot = proc::boot_id();
    let mut slots = Vec::new();
    for (owner, key, folder) in folder::found(&options.folder).map_err(failed)? {
        match folder.read() {
            Some(record) => slots.push(Arc::new(Slot::new(owner, key, folder, record))),
            None => {
                // Made just before a crash: nothing was started, since the record comes first.
                tracing::warn!(folder = %folder.path().display(), "a process folder without a readable record is removed");
                if let Ok(retired) = folder.retire() {
                    folder::discard(&retired);
                }
            }
        }
    }
    let before = owner::elsewhere(&options.folder);
    if let Some(before) = &before {
        if owner::is_in_use(before) {
            return Err(Error::InUse(before.clone()));
        }
        if !options.moved {
            return Err(Error::Moved {
                from: data(before),
                to: data(&options.folder),
                runs: runs(&slots, &boot),
            });
        }
    }
    owner::settle(&options.folder, before.as_deref()).map_err(failed)?;
    let search = std::env::var("PATH")
        .ok()
        .filter(|p| !p.is_empty())
        .unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".to_owned());
    let name = Digest::of(options.folder.as_os_str().as_bytes())
        .short()
        .to_string();
    let (notices, untaken) = mpsc::channel(NOTICES_KEPT);
    let shared = Shared {
        search,
        boot,
        runtime,
        table: Mutex::default(),
        ports: ports::Ports::default(),
        changes: broadcast::channel(CHANGES_KEPT).0,
        paces: Mutex::default(),
        paced: Notify::new(),
        notices,
        untaken: Mutex::new(Some(untaken)),
        closing: CancellationToken::new(),
        keepers: TaskTracker::new(),
        lock,
        census: Mutex::default(),
        groups: options
            .groups
            .then(|| Groups::find(&format!("tradewind-{name}")))
            .flatten(),
        reserve: Reserve::new(),
        landlock: confine::has_landlock(),
        collecting: Collecting::new(
            options
                .collector
                .as_ref()
                .map(|command| collector(command, &options.folder)),
        ),
        options,
    };
    if !shared.landlock {
        tracing::warn!(
            "this kernel has no Landlock: processes of workloads may reach what their user may, the daemon's own files included"
        );
    }
    let failed = |source: io::Error| Error::Folder {
        folder: shared.options.folder.clone(),
        source,
    };
    let wrappers = shared.reserve.spend(proc::wrappers).map_err(failed)?;
    let mut found = Vec::new();
    for slot in slots {
        let record = slot.state().record.clone();
        if record.prepared.confine.ids(record.uid).is_some()
            && let Err(error) = shared.open_way(&slot.folder)
        {
            tracing::warn!(owner = %slot.owner, allocation = %slot.key.allocation, %error, "a process of another user can't reach its folder");
        }
        let state = find(&shared, &slot, &wrappers).map_err(failed)?;
        found.push((slot, state));
    }
    if let Some(groups) = &shared.groups {
        groups.tidy();
    }
    Ok((shared, found))
}

/// The command that runs the collector of a folder.
fn collector(command: &[OsString], folder: &Path) -> Vec<OsString> {
    command
        .iter()
        .cloned()
        .chain([COMMAND.into(), folder.into()])
        .collect()
}

/// People know the folder that holds the one for processes.
fn data(folder: &Path) -> PathBuf {
    folder.parent().unwrap_or(folder).to_owned()
}

/// What of these runs at this moment, in a few words.
fn runs(slots: &[Arc<Slot>], boot: &str) -> String {
    const NAMED: usize = 5;
    let alive = |slot: &Arc<Slot>| {
        let state = slot.state();
        let process = state
            .record
            .process
            .as_ref()
            .filter(|p| proc::is_same(p, boot))?;
        Some(format!(
            "{}/{} (pid {})",
            slot.key.allocation, slot.key.replica, process.pid
        ))
    };
    let all: Vec<String> = slots.iter().filter_map(alive).collect();
    let named = all
        .iter()
        .take(NAMED)
        .cloned()
        .collect::<Vec<_>>()
        .join(", ");
    match all.len() {
        0 => "nothing of it runs on this machine".to_owned(),
        1 => format!("one replica of it runs: {named}"),
        n if n <= NAMED => format!("{n} replicas of it run: {named}"),
        n => format!("{n} replicas of it run: {named} and {} more", n - NAMED),
    }
}

/// Finds out what became of a recorded process.
fn find(shared: &Shared, slot: &Slot, wrappers: &[Wrapper]) -> io::Result<Found> {
    let boot = &shared.boot;
    let mut state = slot.state();
    let record = &state.record;
    let (folder, mark) = (slot.folder.path().to_owned(), record.mark.clone());
    // A record out of a backup may be older than what runs: the newest run counts.
    let of_this = || wrappers.iter().filter(|w| w.is_of(&folder, &mark));
    let newest = of_this()
        .map(|w| w.run)
        .filter(|run| *run > record.run)
        .max();
    let run = newest.unwrap_or(record.run);
    if newest.is_some() {
        (state.record.run, state.record.process) = (run, None);
    }
    let record = &state.record;
    if let Some(finally) = record
        .ended
        .as_ref()
        .filter(|e| e.run == run)
        .map(|e| e.finally)
    {
        drop(state);
        shared.end_leftovers(&slot.who())?;
        if finally {
            return Ok(Found::Over);
        }
        slot.state().record.restarts += 1;
        return Ok(Found::ToStart);
    }
    let wrapper = of_this().find(|w| w.run == run).map(|w| w.pid);
    let wrapper = wrapper.or_else(|| {
        if record.process.is_none() {
            wait_for_wrapper(&folder, &mark, run)
        } else {
            None
        }
    });
    let recorded = record.process.clone().filter(|p| proc::is_same(p, boot));
    let live = wrapper
        .or(recorded.as_ref().map(|p| p.pid))
        .and_then(proc::pid);
    if let Some(pid) = live {
        let leader = Leader::new(pid);
        let raw = pid.as_raw_nonzero().get();
        // Asked again with the handle in hand: the id can't change its owner any more. Id, start and boot are enough: the folder may have
        // been elsewhere when it was started.
        let same = recorded
            .as_ref()
            .is_some_and(|p| p.pid == raw && proc::is_same(p, boot));
        if same || proc::is_wrapper(raw, &folder, &mark, run) {
            state.record.process = Some(proc::identity(pid, boot));
            if let Some(home) = proc::wrapper(raw)
                .map(|w| w.folder)
                .filter(|home| *home != folder)
            {
                state.record.home = Some(home);
            }
            keeper::up(&mut state, raw);
            return Ok(Found::Running(Up {
                leader,
                around: None,
            }));
        }
    }
    let known = record
        .process
        .as_ref()
        .filter(|p| p.boot == *boot)
        .map(|p| p.pid)
        .or_else(|| slot.folder.wrapper_pid(run));
    let owed = record.process.is_none();
    drop(state);
    let code = shared.reserve.spend(|| slot.exit(run))?;
    if code.is_none() && known.is_none() && owed {
        // The start was intended and never happened: it is still owed, under the same number.
        slot.state().record.run = run.saturating_sub(1);
        return Ok(Found::ToStart);
    }
    // What it ran must not run beside its successor. Its wrapper's id may be somebody else's group by now: what is not marked counts only
    // when it writes its output here.
    let who = Who {
        leader: 0,
        ..slot.who()
    };
    let mut left = shared.end_leftovers(&who)?;
    if let Some(group) = known.and_then(proc::pid) {
        let raw = group.as_raw_nonzero().get();
        let census = shared.census(Instant::now())?;
        if census
            .of_group(raw)
            .into_iter()
            .any(|pid| proc::writes_into(pid, &who.folder))
        {
            exit::signal_group(group, rustix::process::Signal::KILL);
        }
    }
    // Without a status it is as if it had been killed: nothing is told of what was ended with it.
    if code.is_none() {
        left = 0;
    }
    Ok(Found::Ended(code, left))
}

/// A wrapper that was being started when its daemon died shows its command line a moment later.
fn wait_for_wrapper(folder: &Path, mark: &str, run: u32) -> Option<i32> {
    let until = Instant::now() + START_PATIENCE;
    while let Some(pid) = proc::being_started(folder) {
        if proc::is_wrapper(pid, folder, mark, run) {
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
