//! One supervised process as the rest of the daemon sees it: what is wanted, what is known, what is promised to it.
//! It holds state and answers questions; its keeper makes the changes.

use std::{
    io,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tradewind_core::{
    capability::{ProcessKey, ProcessStatus},
    names::InstanceName,
    workload::{Endpoint, Health, Phase, Usage},
};

use super::{
    check::Prepared,
    folder::{Folder, Record, Wanted},
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
}

impl Slot {
    pub(super) fn new(owner: InstanceName, key: ProcessKey, folder: Folder, record: Record) -> Self {
        let finally = record.ended.as_ref().filter(|e| e.finally && e.run == record.run && matches!(record.wanted, Wanted::Run));
        let (phase, message) = match finally {
            Some(ended) if ended.well => (Phase::Succeeded, ended.message.clone()),
            Some(ended) => (Phase::Failed, ended.message.clone()),
            None => (Phase::Starting, String::new()),
        };
        let active = AtomicBool::new(finally.is_none());
        let (cpu, memory) = record.prepared.promise();
        let (cpu, memory) = (AtomicU64::new(cpu), AtomicU64::new(memory));
        let state = State { record, phase, health: Health::Unknown, message, pid: 0, usage: None, looked: None };
        Self {
            owner,
            key,
            folder,
            state: Mutex::new(state),
            writing: Mutex::new(()),
            wake: Notify::new(),
            gone: CancellationToken::new(),
            active,
            cpu,
            memory,
        }
    }

    /// Held for moments only, never across an await or a system call.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stores the record as it is now. Blocks.
    pub(super) fn save(&self) -> io::Result<()> {
        let _turn = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let record = self.state().record.clone();
        self.folder.write(&record)
    }

    pub(super) fn is_active(&self) -> bool {
        self.active.load(Ordering::Acquire)
    }

    /// Millicores and bytes promised to it.
    pub(super) fn promised(&self) -> (u64, u64) {
        if self.is_active() { (self.cpu.load(Ordering::Acquire), self.memory.load(Ordering::Acquire)) } else { (0, 0) }
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
            endpoints: record.prepared.spec.ports.iter().filter_map(endpoint).collect(),
            restarts: record.restarts,
            started_at: record.started_at,
            ended_at: ended.map(|e| e.at),
            exit_code: ended.and_then(|e| e.code),
            message: state.message.clone(),
            usage: state.usage.filter(|_| running),
        }
    }
}
