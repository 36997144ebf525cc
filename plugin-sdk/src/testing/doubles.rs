//! Stand-ins for the host's capabilities. They keep what the contract says of each; processes are entries of a table, not real ones.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
};

use crate::{
    Error,
    host::{self, MachineInfo, ProcessKey, ProcessSpec, ProcessStatus},
    types::{Endpoint, Health, LogChunk, LogLine, LogQuery, Output, Phase},
    units::GIB,
};

/// A clock that a test sets. Clones share the time. Reading the monotonic time moves it on by a millisecond, so that busy waits end.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    millis: Rc<Cell<u64>>,
}

impl Clock {
    /// A clock at this many milliseconds since the epoch.
    pub fn at(millis: u64) -> Self {
        Self {
            millis: Rc::new(Cell::new(millis)),
        }
    }

    /// Moves on.
    pub fn advance(&self, millis: u64) {
        self.millis.set(self.millis.get() + millis);
    }
}

impl host::Clock for Clock {
    fn now(&self) -> u64 {
        self.millis.get()
    }
    fn monotonic(&self) -> u64 {
        self.advance(1);
        self.millis.get() * 1_000_000
    }
}

/// The `process` capability over a table. Clones share it. A process runs as soon as it is ensured, and is gone at the second `remove`.
#[derive(Clone, Default)]
pub struct Processes {
    table: Rc<RefCell<Table>>,
}

#[derive(Default)]
struct Table {
    processes: BTreeMap<(String, u32), Entry>,
    starts: u32,
    refusal: Option<Error>,
}

struct Entry {
    spec: ProcessSpec,
    status: ProcessStatus,
    stopping: bool,
}

impl Processes {
    /// How often any process was started.
    pub fn starts(&self) -> u32 {
        self.table.borrow().starts
    }

    /// What a process was last asked to be.
    pub fn spec(&self, allocation: &str, replica: u32) -> Option<ProcessSpec> {
        self.table
            .borrow()
            .processes
            .get(&(allocation.to_owned(), replica))
            .map(|entry| entry.spec.clone())
    }

    /// Changes what became of a process.
    pub fn set(&self, allocation: &str, replica: u32, change: impl FnOnce(&mut ProcessStatus)) {
        if let Some(entry) = self
            .table
            .borrow_mut()
            .processes
            .get_mut(&(allocation.to_owned(), replica))
        {
            change(&mut entry.status);
        }
    }

    /// Makes a process vanish, as if somebody else had removed it.
    pub fn lose(&self, allocation: &str, replica: u32) {
        self.table
            .borrow_mut()
            .processes
            .remove(&(allocation.to_owned(), replica));
    }

    /// Makes every `ensure` fail with this, until it is none.
    pub fn refuse(&self, error: Option<Error>) {
        self.table.borrow_mut().refusal = error;
    }
}

impl host::Processes for Processes {
    fn ensure(&self, key: &ProcessKey, spec: &ProcessSpec) -> Result<ProcessStatus, Error> {
        let mut table = self.table.borrow_mut();
        if let Some(error) = &table.refusal {
            return Err(error.clone());
        }
        let name = (key.allocation.clone(), key.replica);
        if let Some(entry) = table
            .processes
            .get(&name)
            .filter(|entry| entry.spec == *spec)
        {
            return Ok(entry.status.clone());
        }
        table.starts += 1;
        let number = 20_000 + u16::try_from(table.starts).unwrap_or(0);
        let endpoint = |port: &crate::types::Port| Endpoint {
            port: port.name.clone(),
            protocol: port.protocol,
            host: "127.0.0.1".to_owned(),
            number: if port.number == 0 {
                number
            } else {
                port.number
            },
            exposure: port.exposure,
        };
        let status = ProcessStatus {
            key: key.clone(),
            phase: Phase::Running,
            health: Health::Unknown,
            pid: 1000 + table.starts,
            endpoints: spec.ports.iter().map(endpoint).collect(),
            restarts: 0,
            started_at: Some(1),
            ended_at: None,
            exit_code: None,
            message: String::new(),
            usage: None,
        };
        table.processes.insert(
            name,
            Entry {
                spec: spec.clone(),
                status: status.clone(),
                stopping: false,
            },
        );
        Ok(status)
    }

    fn status(&self, keys: &[ProcessKey]) -> Result<Vec<Option<ProcessStatus>>, Error> {
        let table = self.table.borrow();
        Ok(keys
            .iter()
            .map(|key| {
                table
                    .processes
                    .get(&(key.allocation.clone(), key.replica))
                    .map(|entry| entry.status.clone())
            })
            .collect())
    }

    fn remove(&self, key: &ProcessKey) -> Result<bool, Error> {
        let mut table = self.table.borrow_mut();
        let name = (key.allocation.clone(), key.replica);
        match table.processes.get_mut(&name) {
            Some(entry) if !entry.stopping => {
                entry.stopping = true;
                entry.status.phase = Phase::Stopping;
                Ok(false)
            }
            _ => {
                table.processes.remove(&name);
                Ok(true)
            }
        }
    }

    fn owned(&self) -> Result<Vec<ProcessKey>, Error> {
        let table = self.table.borrow();
        Ok(table
            .processes
            .keys()
            .map(|(allocation, replica)| ProcessKey {
                allocation: allocation.clone(),
                replica: *replica,
            })
            .collect())
    }

    fn logs(&self, allocation: &str, _query: &LogQuery) -> Result<LogChunk, Error> {
        let table = self.table.borrow();
        let lines = table
            .processes
            .iter()
            .filter(|((of, _), _)| of == allocation)
            .map(|((_, replica), entry)| LogLine {
                replica: *replica,
                output: Output::Stdout,
                time: None,
                text: format!("output of {}", entry.spec.command.join(" ")),
            });
        Ok(LogChunk {
            lines: lines.collect(),
            next: None,
        })
    }

    fn machine(&self) -> Result<MachineInfo, Error> {
        let promised = |value: fn(&crate::types::Resources) -> u64| -> u64 {
            self.table
                .borrow()
                .processes
                .values()
                .filter_map(|entry| entry.spec.limits.as_ref())
                .map(value)
                .sum()
        };
        Ok(MachineInfo {
            hostname: "test".to_owned(),
            os: "linux".to_owned(),
            arch: "x86_64".to_owned(),
            cpu: 4000,
            free_cpu: 4000u64.saturating_sub(promised(|limits| u64::from(limits.cpu))),
            memory: 8 * GIB,
            free_memory: (8 * GIB).saturating_sub(promised(|limits| limits.memory)),
            load: 0.25,
        })
    }
}
