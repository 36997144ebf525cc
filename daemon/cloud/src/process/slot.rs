//! One supervised process as the rest of the daemon sees it: what is wanted, what is known, what is promised to it.
//! It holds state and answers questions; its keeper makes the changes.

use std::{
    io,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tradewind_core::{
    capability::{ProcessKey, ProcessStatus},
    names::InstanceName,
    units::Bytes,
    workload::{Endpoint, Health, Phase, Usage},
};

use super::{
    census::Who,
    check::Prepared,
    folder::{Folder, Record, Wanted, fresh_mark},
};

pub(super) struct Slot {
    pub(super) owner: InstanceName,
    pub(super) key: ProcessKey,
    pub(super) folder: Folder,
    state: Mutex<State>,
    /// Serialises writes of the record, so that the latest state is the last one written. Taken on blocking threads only.
    writing: Mutex<()>,
    /// Tells the keeper that what is wanted has changed.
    pub(super) wake: Notify,
    /// Tells the keeper that the run has outgrown its memory.
    pub(super) outgrown: Notify,
    /// Cancelled when nothing is left of the process.
    pub(super) gone: CancellationToken,
    active: AtomicBool,
    cpu: AtomicU64,
    memory: AtomicU64,
}

pub(super) struct State {
    pub(super) record: Record,
    pub(super) phase: Phase,
    pub(super) health: Health,
    pub(super) message: String,
    /// 0 when it does not run.
    pub(super) pid: i32,
    pub(super) usage: Option<Usage>,
    /// Processor ticks at the last look, and when that was.
    pub(super) looked: Option<(u64, std::time::Instant)>,
    /// What the replica's processes were at the last census, the wrapper left out.
    pub(super) members: Vec<i32>,
    /// What they have filled together, when that was more than they may.
    pub(super) filled: Option<Bytes>,
}

impl Slot {
    pub(super) fn new(
        owner: InstanceName,
        key: ProcessKey,
        folder: Folder,
        record: Record,
    ) -> Self {
        let finally = record
            .ended
            .as_ref()
            .filter(|e| e.finally && e.run == record.run && matches!(record.wanted, Wanted::Run));
        let (phase, message) = match finally {
            Some(ended) if ended.well => (Phase::Succeeded, ended.message.clone()),
            Some(ended) => (Phase::Failed, ended.message.clone()),
            None => (Phase::Starting, String::new()),
        };
        let active = AtomicBool::new(finally.is_none());
        let (cpu, memory) = record.prepared.promise();
        let (cpu, memory) = (AtomicU64::new(cpu), AtomicU64::new(memory));
        let mut record = record;
        if record.mark.is_empty() {
            // Of a version before marks: its next run has one.
            record.mark = fresh_mark();
        }
        let state = State {
            record,
            phase,
            health: Health::Unknown,
            message,
            pid: 0,
            usage: None,
            looked: None,
            members: Vec::new(),
            filled: None,
        };
        Self {
            owner,
            key,
            folder,
            state: Mutex::new(state),
            writing: Mutex::new(()),
            wake: Notify::new(),
            outgrown: Notify::new(),
            gone: CancellationToken::new(),
            active,
            cpu,
            memory,
        }
    }

    /// Held for moments only, never across an await or a system call.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Stores the record as it is now. Blocks.
    pub(super) fn save(&self) -> io::Result<()> {
        let _turn = self.writing.lock();
        let record = self.state().record.clone();
        self.folder.write(&record)
    }

    /// What the processes of the present run are known by.
    pub(super) fn who(&self) -> Who {
        let state = self.state();
        let record = &state.record;
        let process = record.process.as_ref();
        Who {
            leader: if state.pid == 0 {
                process.map_or(0, |p| p.pid)
            } else {
                state.pid
            },
            start: process.map_or(0, |p| p.start),
            mark: record.mark.clone(),
            group: record.group.clone(),
            folder: record
                .home
                .clone()
                .unwrap_or_else(|| self.folder.path().to_owned()),
        }
    }

    /// Where the present run writes: elsewhere, when it was started before its folder came here and that place still exists.
    pub(super) fn outputs(&self) -> Folder {
        let home = self
            .state()
            .record
            .home
            .clone()
            .filter(|home| home.is_dir());
        home.map_or_else(|| self.folder.clone(), Folder::at)
    }

    /// The exit status of a run.
    ///
    /// # Errors
    /// The daemon has no descriptor left to look.
    pub(super) fn exit(&self, run: u32) -> io::Result<Option<i32>> {
        let code = self.folder.read_exit(run)?;
        if code.is_some() {
            return Ok(code);
        }
        let home = self.state().record.home.clone();
        home.map_or(Ok(None), |home| Folder::at(home).read_exit(run))
    }

    /// Takes over what the grant allows by now: it counts from the next start on. Whether anything has changed.
    pub(super) fn regrant(&self, now: &Prepared) -> bool {
        let mut state = self.state();
        let prepared = match &mut state.record.wanted {
            Wanted::Replace(next) => next.as_mut(),
            Wanted::Run | Wanted::Remove => &mut state.record.prepared,
        };
        let changed = prepared.confine != now.confine
            || prepared.folders != now.folders
            || prepared.program != now.program;
        if changed {
            prepared.confine.clone_from(&now.confine);
            prepared.folders.clone_from(&now.folders);
            prepared.program.clone_from(&now.program);
        }
        // Outside of an apply it is not known whose it is.
        let lent = now.namespace.is_some()
            && (prepared.namespace != now.namespace || prepared.secrets != now.secrets);
        if lent {
            prepared.namespace.clone_from(&now.namespace);
            prepared.secrets.clone_from(&now.secrets);
        }
        changed || lent
    }

    /// Whether it may be started once more.
    pub(super) fn has_starts_left(&self) -> bool {
        let state = self.state();
        state.record.restarts.saturating_sub(state.record.forgiven)
            < state.record.prepared.spec.restarts
    }

    pub(super) fn is_active(&self) -> bool {
        self.active.load(Ordering::Acquire)
    }

    /// Millicores and bytes promised to it.
    pub(super) fn promised(&self) -> (u64, u64) {
        if self.is_active() {
            (
                self.cpu.load(Ordering::Acquire),
                self.memory.load(Ordering::Acquire),
            )
        } else {
            (0, 0)
        }
    }

    pub(super) fn promise(&self, prepared: &Prepared) {
        let (cpu, memory) = prepared.promise();
        self.cpu.store(cpu, Ordering::Release);
        self.memory.store(memory, Ordering::Release);
        self.active.store(true, Ordering::Release);
    }

    pub(super) fn promise_ended(&self) {
        self.active.store(false, Ordering::Release);
    }

    pub(super) fn status(&self) -> ProcessStatus {
        let state = self.state();
        let record = &state.record;
        let running = state.pid != 0;
        let endpoint = |port: &tradewind_core::workload::Port| {
            let number = *record.ports.get(&port.name)?;
            Some(Endpoint {
                port: port.name.clone(),
                protocol: port.protocol,
                host: "127.0.0.1".to_owned(),
                number,
                exposure: port.exposure,
            })
        };
        let ended = record.ended.as_ref().filter(|_| !running);
        ProcessStatus {
            key: self.key.clone(),
            phase: state.phase,
            health: state.health,
            pid: state.pid.unsigned_abs(),
            endpoints: record
                .prepared
                .spec
                .ports
                .iter()
                .filter_map(endpoint)
                .collect(),
            restarts: record.restarts,
            started_at: record.started_at,
            ended_at: ended.map(|e| e.at),
            exit_code: ended.and_then(|e| e.code),
            message: state.message.clone(),
            usage: state.usage.filter(|_| running),
        }
    }
}
