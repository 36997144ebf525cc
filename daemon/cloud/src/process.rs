//! Processes on this machine, behind the `Processes` port: started, watched, started again, stopped, and found again by the next daemon.
//! It must not know what they are for.
//!
//! Every process has a folder of its own. What shall happen is stored there before it happens, and processes lead groups of their own,
//! so a daemon may end at any moment, by any means: the next one finds each process by its folder and starts none twice.

mod adopt;
mod census;
mod check;
mod confine;
mod contained;
mod exit;
mod folder;
mod groups;
mod keeper;
mod launch;
mod leftovers;
mod output;
mod owner;
mod ports;
mod probe;
mod proc;
mod reach;
mod reserve;
mod session;
mod size;
mod slot;
mod sockets;
mod sweep;
mod variables;

use std::{
    collections::HashMap,
    ffi::OsString,
    fs::File,
    io,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use parking_lot::{Mutex, MutexGuard};
use rustix::fs::FlockOperation;
use tokio::{
    runtime::Handle,
    sync::{Notify, broadcast, mpsc},
};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};
use tradewind_core::{
    capability::{Clock, Machine, Paces, ProcessKey, ProcessSpec, ProcessStatus, Processes},
    exhausted::BUSY,
    failure::{Failure, FailureKind, GRANT_EXHAUSTED, PORT_TAKEN, SLOTS_EXHAUSTED},
    grant::ProcessGrant,
    health::Pace,
    names::{AllocationId, InstanceName},
    session::{Opening, ReplicaRef, Session},
    vital,
    workload::{LogChunk, LogQuery, Phase},
};

use self::{
    adopt::{Found, open},
    census::Census,
    check::{Host, Prepared},
    folder::{Folder, Record, Wanted},
    groups::Groups,
    keeper::Stage,
    reserve::Reserve,
    slot::Slot,
};
pub use self::{
    contained::{Contained, end_contained},
    output::collector::{COMMAND as COLLECT_OUTPUT, collect as collect_output},
    proc::{age, machine_age, program},
    reserve::raise_open_files,
    sockets::{Holder, free as free_port, holder as port_holder},
};

/// How long `remove` waits for a process that stops at once, so that callers need not come back for it.
const REMOVE_PATIENCE: Duration = Duration::from_millis(100);
const CHANGES_KEPT: usize = 4096;
/// Notices that nobody takes are dropped beyond this.
const NOTICES_KEPT: usize = 256;

/// What a supervisor is given.
#[derive(Debug, Clone)]
pub struct Options {
    /// Absolute. Holds one folder per process, readable by the daemon's user alone.
    pub folder: PathBuf,
    /// Holds secrets as files; none: no secret can be passed.
    pub secrets: Option<PathBuf>,
    /// The daemon's other files and folders: out of reach for processes, as `folder` is but for each one's own part of it.
    pub hidden: Vec<PathBuf>,
    /// What holds `folder` and is opened where processes have a user of their own: it may be passed then, and all else in it is closed.
    pub data: Option<PathBuf>,
    /// Take the folder over although it was used at another path last: it was moved, or it is a copy whose original is used no more.
    pub moved: bool,
    /// Make control groups where the system lets this daemon do so.
    pub groups: bool,
    /// The beginning of a command that becomes a collector of output with `COLLECT_OUTPUT` and `folder` behind it. None: processes write
    /// straight into files, which are cut to size from time to time.
    pub collector: Option<Vec<OsString>>,
}

impl Options {
    /// As a daemon has them.
    pub fn new(folder: PathBuf, secrets: Option<PathBuf>) -> Self {
        Self {
            folder,
            secrets,
            hidden: Vec::new(),
            data: None,
            moved: false,
            groups: true,
            collector: None,
        }
    }
}

/// Why a supervisor can't start.
#[derive(Debug, thiserror::Error)]
#[allow(
    missing_docs,
    reason = "the messages say what the variants and their fields mean"
)]
pub enum Error {
    #[error("the folder for processes \"{}\" is not an absolute path", .0.display())]
    Relative(PathBuf),
    #[error("the folder for processes \"{}\" is in use by another daemon", .0.display())]
    InUse(PathBuf),
    #[error(
        "the data folder \"{}\" was at \"{}\" when it was used last, and {runs}: start once with --moved if it was moved there, or if it takes \
         over from an original that is used no more; do not start a copy of what is still used",
        to.display(), from.display()
    )]
    Moved {
        from: PathBuf,
        to: PathBuf,
        runs: String,
    },
    #[error("the folder for processes \"{}\" can't be used", folder.display())]
    Folder { folder: PathBuf, source: io::Error },
}

/// Something happened to a process of this allocation, or too much at once to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A process of it is in another state than before: look at it.
    Allocation {
        /// The provider instance whose allocation it is.
        owner: InstanceName,
        /// The allocation.
        allocation: AllocationId,
    },
    /// Changes were missed: look at everything.
    Missed,
}

/// Something that people should know of, in words for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// The daemon itself can't work as it should. Told once while it lasts.
    Exhausted(String),
    /// A port of a replica has another number than before.
    PortMoved {
        /// The allocation.
        allocation: AllocationId,
        /// The replica's index in it.
        replica: u32,
        /// Names the port, its number now and before, and who took the number before.
        message: String,
    },
}

/// A subscription to changes.
#[derive(Debug)]
pub struct Changes(broadcast::Receiver<(InstanceName, AllocationId)>);

/// Supervises processes. Cheap to clone; when the last clone goes, supervision ends and the processes stay.
#[derive(Clone)]
pub struct Supervisor {
    shared: Arc<Shared>,
    _last: Arc<DropGuard>,
}

pub(crate) struct Shared {
    options: Options,
    /// The `PATH` in which programs are found and which processes get.
    search: String,
    boot: String,
    runtime: Handle,
    table: Mutex<HashMap<InstanceName, HashMap<ProcessKey, Arc<Slot>>>>,
    ports: ports::Ports,
    changes: broadcast::Sender<(InstanceName, AllocationId)>,
    /// How long to wait before the processes of an allocation are started again, where the controller has said so.
    paces: Mutex<HashMap<AllocationId, Pace>>,
    /// Wakes those that wait without having been told.
    paced: Notify,
    /// What people should know of; it waits for whoever takes it.
    notices: mpsc::Sender<Notice>,
    untaken: Mutex<Option<mpsc::Receiver<Notice>>>,
    /// The latest look at all processes, and when it began.
    census: Mutex<(Option<Instant>, Arc<Census>)>,
    groups: Option<Groups>,
    /// Whether the kernel has Landlock.
    landlock: bool,
    collecting: output::collecting::Collecting,
    reserve: Reserve,
    closing: CancellationToken,
    keepers: TaskTracker,
    /// Locked as long as this supervisor is responsible for the folder.
    lock: File,
}

// === impl Changes ===

impl Changes {
    /// The next change; none when the supervisor is gone.
    pub async fn next(&mut self) -> Option<Change> {
        match self.0.recv().await {
            Ok((owner, allocation)) => Some(Change::Allocation { owner, allocation }),
            Err(broadcast::error::RecvError::Lagged(_)) => Some(Change::Missed),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

// === impl Supervisor ===

impl Supervisor {
    /// Takes responsibility for a folder and for every process recorded in it. Call it inside a Tokio runtime.
    ///
    /// # Errors
    /// The folder is relative, can't be written, or belongs to another running daemon.
    pub async fn start(options: Options) -> Result<Self, Error> {
        if !options.folder.is_absolute() {
            return Err(Error::Relative(options.folder));
        }
        let folder = options.folder.clone();
        let runtime = Handle::current();
        let opened = tokio::task::spawn_blocking(move || open(options, runtime)).await;
        let (shared, found) = opened.map_err(|e| Error::Folder {
            folder,
            source: io::Error::other(e),
        })??;
        let shared = Arc::new(shared);
        for (slot, state) in found {
            slot.folder_ports(&shared.ports);
            shared
                .table()
                .entry(slot.owner.clone())
                .or_default()
                .insert(slot.key.clone(), slot.clone());
            let stage = match state {
                Found::Running(up) => {
                    shared.follow_output(&slot).await;
                    Stage::Up(up)
                }
                Found::ToStart => Stage::Start,
                Found::Over => Stage::Down,
                Found::Ended(code, left) => keeper::found_ended(&shared, &slot, code, left).await,
            };
            shared.supervise(slot, stage);
        }
        shared.keepers.spawn_on(
            vital::part("process sweep", sweep::sweep(shared.clone())),
            &shared.runtime,
        );
        let last = Arc::new(shared.closing.clone().drop_guard());
        Ok(Self {
            shared,
            _last: last,
        })
    }

    /// Subscribes to changes of phase or health from now on.
    pub fn changes(&self) -> Changes {
        Changes(self.shared.changes.subscribe())
    }

    /// What people should know of, from the start on. Only the first who asks gets it; it ends with the supervisor.
    pub fn notices(&self) -> Option<mpsc::Receiver<Notice>> {
        self.shared.untaken.lock().take()
    }

    /// Stops supervising and gives the folder up. The processes go on.
    pub async fn shutdown(&self) {
        self.shared.closing.cancel();
        self.shared.keepers.close();
        self.shared.keepers.wait().await;
        self.shared.collecting.close();
        if let Some(groups) = &self.shared.groups {
            groups.leave();
        }
        if let Err(error) = rustix::fs::flock(&self.shared.lock, FlockOperation::Unlock) {
            tracing::debug!(error = %io::Error::from(error), "the lock of the process folder can't be given up");
        }
    }
}

impl Paces for Supervisor {
    fn set(&self, allocation: &AllocationId, pace: Option<Pace>) {
        let mut paces = self.shared.paces.lock();
        let new = match pace {
            Some(pace) => paces.insert(allocation.clone(), pace).is_none(),
            None => paces.remove(allocation).is_none(),
        };
        drop(paces);
        if new {
            self.shared.paced.notify_waiters();
        }
    }
}

#[async_trait]
impl Processes for Supervisor {
    async fn ensure(
        &self,
        owner: &InstanceName,
        grant: &ProcessGrant,
        key: ProcessKey,
        spec: ProcessSpec,
    ) -> Result<ProcessStatus, Failure> {
        let (shared, owner, grant) = (self.shared.clone(), owner.clone(), grant.clone());
        blocking(move || shared.ensure(owner, &grant, key, spec)).await
    }

    async fn status(
        &self,
        owner: &InstanceName,
        keys: &[ProcessKey],
    ) -> Result<Vec<Option<ProcessStatus>>, Failure> {
        let slots: Vec<_> = {
            let table = self.shared.table();
            let own = table.get(owner);
            keys.iter().map(|key| own?.get(key).cloned()).collect()
        };
        Ok(slots
            .into_iter()
            .map(|slot| slot.map(|s| s.status()))
            .collect())
    }

    async fn remove(&self, owner: &InstanceName, key: &ProcessKey) -> Result<bool, Failure> {
        let Some(slot) = self.shared.slot(owner, key) else {
            return Ok(true);
        };
        let (inner, of) = (self.shared.clone(), slot.clone());
        blocking(move || {
            {
                let mut state = of.state();
                state.record.wanted = Wanted::Remove;
                state.phase = Phase::Stopping;
            }
            // Stored first, so that a daemon that dies now leaves the removal to the next one.
            let stored = inner.reserve.spend(|| of.save());
            of.wake.notify_one();
            match stored {
                Ok(()) => Ok(()),
                // The keeper has been faster: the folder is gone.
                Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
                Err(e) => Err(launch::explain(&e, "the removal can't be stored")),
            }
        })
        .await?;
        Ok(tokio::time::timeout(REMOVE_PATIENCE, slot.gone.cancelled())
            .await
            .is_ok())
    }

    async fn owned(&self, owner: &InstanceName) -> Result<Vec<ProcessKey>, Failure> {
        let mut keys: Vec<ProcessKey> = self
            .shared
            .table()
            .get(owner)
            .map(|own| own.keys().cloned().collect())
            .unwrap_or_default();
        keys.sort();
        Ok(keys)
    }

    async fn logs(
        &self,
        owner: &InstanceName,
        allocation: &AllocationId,
        query: &LogQuery,
    ) -> Result<LogChunk, Failure> {
        let mut slots: Vec<Arc<Slot>> = {
            let table = self.shared.table();
            let own = table.get(owner).into_iter().flat_map(HashMap::values);
            own.filter(|s| {
                s.key.allocation == *allocation && query.replica.is_none_or(|r| r == s.key.replica)
            })
            .cloned()
            .collect()
        };
        if slots.is_empty() {
            return Err(Failure::not_found(format!(
                "there is no process of the allocation \"{allocation}\""
            )));
        }
        slots.sort_by_key(|s| s.key.replica);
        let query = query.clone();
        let shared = self.shared.clone();
        blocking(move || {
            if query.after.is_none() {
                // Who has seen it written finds it here.
                let folders: Vec<Folder> = slots.iter().map(|s| s.outputs()).collect();
                shared.collecting.drain(folders.iter().map(Folder::path));
            }
            let open = |s: &Slot| !matches!(s.status().phase, Phase::Succeeded | Phase::Failed);
            let source = |s: &Arc<Slot>| output::Source {
                replica: s.key.replica,
                folder: s.outputs(),
                open: open(s),
                begins: s.state().record.begins.clone(),
            };
            output::read(
                &slots.iter().map(source).collect::<Vec<_>>(),
                &query,
                crate::SystemClock.now(),
            )
        })
        .await
    }

    async fn open(
        &self,
        owner: &InstanceName,
        grant: &ProcessGrant,
        replica: &ReplicaRef,
        what: Opening,
    ) -> Result<Session, Failure> {
        self.shared.open(owner, grant, replica, what).await
    }

    async fn machine(
        &self,
        owner: &InstanceName,
        grant: &ProcessGrant,
    ) -> Result<Machine, Failure> {
        let (used_cpu, used_memory, _) = self.shared.promised(owner, None);
        let grant = grant.clone();
        blocking(move || {
            let (cpu, memory) = totals(&grant);
            Ok(Machine {
                hostname: rustix::system::uname()
                    .nodename()
                    .to_string_lossy()
                    .into_owned(),
                os: std::env::consts::OS.to_owned(),
                arch: std::env::consts::ARCH.to_owned(),
                cpu,
                free_cpu: cpu.saturating_sub(used_cpu),
                memory,
                free_memory: memory.saturating_sub(used_memory),
                load: proc::load() * 1000.0 / proc::cpu_total() as f64,
            })
        })
        .await
    }
}

/// Runs something that blocks. It goes on when the caller no longer waits.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|e| Err(Failure::internal(format!("the supervisor failed: {e}"))))
}

fn totals(grant: &ProcessGrant) -> (u64, u64) {
    (
        grant.cpu.map_or_else(proc::cpu_total, |c| u64::from(c.0)),
        grant.memory.map_or_else(proc::memory_total, |m| m.0),
    )
}

// === impl Shared ===

impl Shared {
    fn table(&self) -> MutexGuard<'_, HashMap<InstanceName, HashMap<ProcessKey, Arc<Slot>>>> {
        self.table.lock()
    }

    fn slot(&self, owner: &InstanceName, key: &ProcessKey) -> Option<Arc<Slot>> {
        self.table().get(owner)?.get(key).cloned()
    }

    fn slots(&self) -> Vec<Arc<Slot>> {
        self.table()
            .values()
            .flat_map(HashMap::values)
            .cloned()
            .collect()
    }

    /// Tells subscribers to look at this process; nobody may be listening.
    fn tell(&self, slot: &Slot) {
        let _ = self
            .changes
            .send((slot.owner.clone(), slot.key.allocation.clone()));
    }

    /// Has the output of a process collected that an earlier daemon has started.
    async fn follow_output(self: &Arc<Self>, slot: &Arc<Slot>) {
        let (shared, slot) = (self.clone(), slot.clone());
        let follow = move || {
            let (folder, size) = (slot.outputs(), slot.state().record.prepared.log_size);
            if output::pipes::are_there(&folder) {
                shared.collecting.follow(&folder, size);
            }
        };
        // It panics in no case.
        let _ = tokio::task::spawn_blocking(follow).await;
    }

    /// None: nobody has said how long to wait.
    fn pace(&self, allocation: &AllocationId) -> Option<Pace> {
        self.paces.lock().get(allocation).cloned()
    }

    fn supervise(self: &Arc<Self>, slot: Arc<Slot>, stage: Stage) {
        self.keepers.spawn_on(
            vital::part(
                "keeper of a process",
                keeper::supervise(self.clone(), slot, stage),
            ),
            &self.runtime,
        );
    }

    /// Millicores, bytes and processes promised to an instance, one process left out.
    fn promised(&self, owner: &InstanceName, except: Option<&ProcessKey>) -> (u64, u64, u64) {
        promised(self.table().get(owner), except)
    }

    fn ensure(
        self: &Arc<Self>,
        owner: InstanceName,
        grant: &ProcessGrant,
        key: ProcessKey,
        spec: ProcessSpec,
    ) -> Result<ProcessStatus, Failure> {
        if self.closing.is_cancelled() {
            return Err(Failure::unavailable("the daemon is shutting down"));
        }
        let hidden = confine::real(&self.hidden());
        let host = Host {
            search: &self.search,
            hidden: &hidden,
            landlock: self.landlock,
        };
        let prepared = check::prepare(grant, spec, host)?;
        let slot = {
            let mut table = self.table();
            let own = table.entry(owner.clone()).or_default();
            if let Some(slot) = own.get(&key).cloned() {
                let wanted = {
                    let state = slot.state();
                    match &state.record.wanted {
                        Wanted::Run => Some(state.record.prepared.digest),
                        Wanted::Replace(next) => Some(next.digest),
                        Wanted::Remove => None,
                    }
                };
                if wanted == Some(prepared.digest) {
                    let regranted = slot.regrant(&prepared);
                    if !slot.is_active() || slot.promised() == prepared.promise() {
                        drop(table);
                        if regranted {
                            slot.save().map_err(|e| {
                                launch::explain(&e, "what it may reach can't be stored")
                            })?;
                        }
                        return Ok(slot.status());
                    }
                    // It runs on as it is; only what it was placed with has changed.
                    admit(grant, promised(Some(own), Some(&key)), &prepared)?;
                    slot.promise(&prepared);
                    {
                        let mut state = slot.state();
                        match &mut state.record.wanted {
                            Wanted::Replace(next) => next.promised = prepared.promised,
                            Wanted::Run | Wanted::Remove => {
                                state.record.prepared.promised = prepared.promised
                            }
                        }
                    }
                    drop(table);
                    slot.save().map_err(|e| {
                        launch::explain(&e, "what is promised to it can't be stored")
                    })?;
                    return Ok(slot.status());
                }
                admit(grant, promised(Some(own), Some(&key)), &prepared)?;
                slot.promise(&prepared);
                let mut state = slot.state();
                state.record.wanted = Wanted::Replace(Box::new(prepared));
                state.phase = Phase::Starting;
                state.message = "takes the place of an earlier version".to_owned();
                drop(state);
                drop(table);
                return self.replace(&slot);
            }
            admit(grant, promised(Some(own), None), &prepared)?;
            let folder = Folder::new(&self.options.folder, &owner, &key);
            let slot = Arc::new(Slot::new(owner, key.clone(), folder, Record::new(prepared)));
            own.insert(key, slot.clone());
            slot
        };
        match keeper::start_now(self, &slot) {
            Ok(up) => {
                let status = slot.status();
                self.tell(&slot);
                self.supervise(slot, Stage::Up(up));
                Ok(status)
            }
            // The daemon's own trouble is no failure of what was asked for: the start is owed.
            Err(failure) if failure.code.as_deref() == Some(BUSY) => {
                let stage = keeper::not_yet(self, &slot, &failure);
                let status = slot.status();
                self.tell(&slot);
                self.supervise(slot, stage);
                Ok(status)
            }
            Err(failure) => {
                {
                    let mut state = slot.state();
                    if matches!(state.record.wanted, Wanted::Replace(_)) {
                        // Meanwhile another version has been promised to somebody.
                        drop(state);
                        self.supervise(slot, Stage::Change);
                        return Err(failure);
                    }
                    state.record.wanted = Wanted::Remove;
                }
                match self.forget(&slot) {
                    Ok(Some(retired)) => folder::discard(&retired),
                    Ok(None) => {}
                    Err(error) => {
                        tracing::warn!(owner = %slot.owner, %error, "the folder of a process that did not start stays behind")
                    }
                }
                slot.gone.cancel();
                Err(failure)
            }
        }
    }

    fn replace(&self, slot: &Slot) -> Result<ProcessStatus, Failure> {
        let stored = self.reserve.spend(|| slot.save());
        let status = slot.status();
        slot.wake.notify_one();
        stored
            .map(|()| status)
            .map_err(|e| launch::explain(&e, "the new version can't be stored"))
    }

    /// Gives every port of a process its number, right before a start. A number that somebody else has by now is refused where it is fixed;
    /// where it was chosen, another is. Numbers no longer asked for are released. Answers what has become of numbers chosen before, in words
    /// for people; empty when they are as they were. Blocks shortly.
    fn assign_ports(&self, slot: &Slot) -> Result<String, Failure> {
        let (spec, old) = {
            let state = slot.state();
            (
                state.record.prepared.spec.clone(),
                state.record.ports.clone(),
            )
        };
        let mut taken = Vec::new();
        let mut moved = String::new();
        let unlooked = |e: io::Error| launch::explain(&e, "the process's ports can't be looked at");
        let mut assign = || -> Result<std::collections::BTreeMap<String, u16>, Failure> {
            let mut new = std::collections::BTreeMap::new();
            for (i, port) in spec.ports.iter().enumerate() {
                let fixed =
                    check::fixed_port(port.number, port.published).map_err(Failure::invalid)?;
                let number = match (fixed, old.get(&port.name)) {
                    (None, Some(before)) => {
                        match ports::Ports::holder(*before, port.protocol).map_err(unlooked)? {
                            None => *before,
                            Some(holder) => {
                                let number = self.ports.choose().map_err(|e| {
                                    launch::explain(&e, "no free port can be found")
                                })?;
                                taken.push(number);
                                let other = format!(
                                    "its port \"{}\" is {number} now: {before} was taken by {}",
                                    port.name,
                                    name(holder)
                                );
                                tracing::warn!(owner = %slot.owner, allocation = %slot.key.allocation, replica = slot.key.replica, "{other}");
                                moved = other;
                                number
                            }
                        }
                    }
                    (Some(number), _) if old.values().any(|o| *o == number) => number,
                    (Some(number), _) if self.ports.take(number) => {
                        taken.push(number);
                        number
                    }
                    (Some(number), _) => {
                        let message =
                            format!("the port \"{number}\" is already given to another process");
                        let taken =
                            Failure::new(FailureKind::OutOfCapacity, message).code(PORT_TAKEN);
                        return Err(taken.field(format!("ports[{i}].number")));
                    }
                    (None, None) => {
                        let number = self
                            .ports
                            .choose()
                            .map_err(|e| launch::explain(&e, "no free port can be found"))?;
                        taken.push(number);
                        number
                    }
                };
                if let Some(holder) = fixed
                    .map(|fixed| ports::Ports::holder(fixed, port.protocol))
                    .transpose()
                    .map_err(unlooked)?
                    .flatten()
                {
                    let message = format!("port {number} is taken by {}", name(holder));
                    let remedy = "stop what listens there, or leave the number to the daemon: give the port none";
                    let refused = Failure::new(FailureKind::OutOfCapacity, message)
                        .code(PORT_TAKEN)
                        .remedy(remedy);
                    return Err(refused.field(format!("ports[{i}].number")));
                }
                new.insert(port.name.clone(), number);
            }
            Ok(new)
        };
        match assign() {
            Ok(new) => {
                if !moved.is_empty() {
                    let (allocation, replica) = (slot.key.allocation.clone(), slot.key.replica);
                    let _ = self.notices.try_send(Notice::PortMoved {
                        allocation,
                        replica,
                        message: moved.clone(),
                    });
                }
                old.values()
                    .filter(|o| !new.values().any(|n| n == *o))
                    .for_each(|o| self.ports.release(*o));
                slot.state().record.ports = new;
                Ok(moved)
            }
            Err(failure) => {
                taken.into_iter().for_each(|t| self.ports.release(t));
                Err(failure)
            }
        }
    }

    /// Takes a process out of the table and its folder out of sight, unless it is wanted again by now (none). Blocks shortly.
    fn forget(&self, slot: &Slot) -> io::Result<Option<PathBuf>> {
        let mut table = self.table();
        if !matches!(slot.state().record.wanted, Wanted::Remove) {
            return Ok(None);
        }
        let retired = match slot.folder.retire() {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            outcome => outcome.unwrap_or_else(|_| slot.folder.path().to_owned()),
        };
        if let Some(own) = table.get_mut(&slot.owner) {
            own.remove(&slot.key);
            if own.is_empty() {
                table.remove(&slot.owner);
            }
        }
        slot.promise_ended();
        self.collecting.forget(&slot.folder);
        let mut state = slot.state();
        state.phase = Phase::Gone;
        state.pid = 0;
        state
            .record
            .ports
            .values()
            .for_each(|p| self.ports.release(*p));
        Ok(Some(retired))
    }
}

/// Who has a port that a process shall have, for people.
fn name(holder: Holder) -> String {
    match holder.pid {
        Some(pid) => format!("something that Tradewind did not start (pid {pid})"),
        None => "something that Tradewind did not start".to_owned(),
    }
}

fn promised(
    own: Option<&HashMap<ProcessKey, Arc<Slot>>>,
    except: Option<&ProcessKey>,
) -> (u64, u64, u64) {
    let others = own
        .into_iter()
        .flat_map(HashMap::values)
        .filter(|s| s.is_active() && Some(&s.key) != except);
    others.fold((0, 0, 0), |(cpu, memory, count), slot| {
        let (c, m) = slot.promised();
        (cpu.saturating_add(c), memory.saturating_add(m), count + 1)
    })
}

fn admit(
    grant: &ProcessGrant,
    (cpu, memory, count): (u64, u64, u64),
    prepared: &Prepared,
) -> Result<(), Failure> {
    let full = |what: &str, wanted: u64, free: u64, setting: &str| {
        let message = format!(
            "the grant has no room for this process: it asks for {wanted} {what}, and {free} are free"
        );
        let remedy =
            format!("raise {setting} in [grants.process] of the instance file, or run less here");
        Err(Failure::new(FailureKind::OutOfCapacity, message)
            .code(GRANT_EXHAUSTED)
            .remedy(remedy))
    };
    if count >= u64::from(grant.processes) {
        return full("process slots", 1, 0, "processes")
            .map_err(|failure| failure.code(SLOTS_EXHAUSTED));
    }
    let (all_cpu, all_memory) = totals(grant);
    let (wanted_cpu, wanted_memory) = prepared.promise();
    if wanted_cpu > 0 && cpu.saturating_add(wanted_cpu) > all_cpu {
        return full("millicores", wanted_cpu, all_cpu.saturating_sub(cpu), "cpu");
    }
    if wanted_memory > 0 && memory.saturating_add(wanted_memory) > all_memory {
        return full(
            "bytes of memory",
            wanted_memory,
            all_memory.saturating_sub(memory),
            "memory",
        );
    }
    Ok(())
}
