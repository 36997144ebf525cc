//! A stand-in for the `containers` capability: containers are entries of a table.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

use crate::{
    Error,
    host::{self, ContainerKey, ContainerSpec, ContainerStatus, EngineInfo},
    types::{Endpoint, Health, LogChunk, LogLine, LogQuery, Output, Phase, Port},
    units::GIB,
};

/// The `containers` capability over a table. Clones share it. A container runs as soon as it is ensured, and is gone at the second `remove`.
#[derive(Clone, Default)]
pub struct Containers {
    table: Rc<RefCell<Table>>,
}

#[derive(Default)]
struct Table {
    containers: BTreeMap<(String, u32), Entry>,
    starts: u32,
    questions: u32,
    refusal: Option<Error>,
}

struct Entry {
    spec: ContainerSpec,
    status: ContainerStatus,
    stopping: bool,
}

impl Containers {
    /// How often any container was started.
    pub fn starts(&self) -> u32 {
        self.table.borrow().starts
    }

    /// How often `status` was asked.
    pub fn questions(&self) -> u32 {
        self.table.borrow().questions
    }

    /// What a container was last asked to be.
    pub fn spec(&self, allocation: &str, replica: u32) -> Option<ContainerSpec> {
        self.table
            .borrow()
            .containers
            .get(&(allocation.to_owned(), replica))
            .map(|entry| entry.spec.clone())
    }

    /// Changes what became of a container.
    pub fn set(&self, allocation: &str, replica: u32, change: impl FnOnce(&mut ContainerStatus)) {
        if let Some(entry) = self
            .table
            .borrow_mut()
            .containers
            .get_mut(&(allocation.to_owned(), replica))
        {
            change(&mut entry.status);
        }
    }

    /// Makes a container vanish, as if somebody else had removed it.
    pub fn lose(&self, allocation: &str, replica: u32) {
        self.table
            .borrow_mut()
            .containers
            .remove(&(allocation.to_owned(), replica));
    }

    /// Makes every `ensure` fail with this, until it is none.
    pub fn refuse(&self, error: Option<Error>) {
        self.table.borrow_mut().refusal = error;
    }
}

impl host::Containers for Containers {
    fn info(&self) -> Result<EngineInfo, Error> {
        let table = self.table.borrow();
        let (cpu, memory) = table
            .containers
            .values()
            .fold((0, 0), |(cpu, memory), entry| {
                (
                    cpu + u64::from(entry.spec.resources.cpu),
                    memory + entry.spec.resources.memory,
                )
            });
        Ok(EngineInfo {
            name: "podman".to_owned(),
            version: "4.3.1".to_owned(),
            hostname: "test".to_owned(),
            os: "linux".to_owned(),
            arch: "x86_64".to_owned(),
            cpu: 4000,
            free_cpu: 4000u64.saturating_sub(cpu),
            memory: 8 * GIB,
            free_memory: (8 * GIB).saturating_sub(memory),
        })
    }

    fn ensure(&self, key: &ContainerKey, spec: &ContainerSpec) -> Result<ContainerStatus, Error> {
        let mut table = self.table.borrow_mut();
        if let Some(error) = &table.refusal {
            return Err(error.clone());
        }
        let name = (key.allocation.clone(), key.replica);
        if let Some(entry) = table
            .containers
            .get(&name)
            .filter(|entry| entry.spec == *spec)
        {
            return Ok(entry.status.clone());
        }
        table.starts += 1;
        let number = 30_000 + u16::try_from(table.starts).unwrap_or(0);
        let endpoint = |port: &Port| Endpoint {
            port: port.name.clone(),
            protocol: port.protocol,
            host: "127.0.0.1".to_owned(),
            number: port.published.unwrap_or(number),
            exposure: port.exposure,
        };
        let status = ContainerStatus {
            key: key.clone(),
            id: format!("container-{}", table.starts),
            phase: Phase::Running,
            health: Health::Unknown,
            endpoints: spec.ports.iter().map(endpoint).collect(),
            restarts: 0,
            started_at: Some(1),
            ended_at: None,
            exit_code: None,
            message: String::new(),
            image: String::new(),
        };
        table.containers.insert(
            name,
            Entry {
                spec: spec.clone(),
                status: status.clone(),
                stopping: false,
            },
        );
        Ok(status)
    }

    fn status(&self, keys: &[ContainerKey]) -> Result<Vec<Option<ContainerStatus>>, Error> {
        let mut table = self.table.borrow_mut();
        table.questions += 1;
        Ok(keys
            .iter()
            .map(|key| {
                table
                    .containers
                    .get(&(key.allocation.clone(), key.replica))
                    .map(|entry| entry.status.clone())
            })
            .collect())
    }

    fn remove(&self, key: &ContainerKey) -> Result<bool, Error> {
        let mut table = self.table.borrow_mut();
        let name = (key.allocation.clone(), key.replica);
        match table.containers.get_mut(&name) {
            Some(entry) if !entry.stopping => {
                entry.stopping = true;
                entry.status.phase = Phase::Stopping;
                Ok(false)
            }
            _ => {
                table.containers.remove(&name);
                Ok(true)
            }
        }
    }

    fn owned(&self) -> Result<Vec<ContainerKey>, Error> {
        let table = self.table.borrow();
        Ok(table
            .containers
            .keys()
            .map(|(allocation, replica)| ContainerKey {
                allocation: allocation.clone(),
                replica: *replica,
            })
            .collect())
    }

    fn logs(&self, allocation: &str, _query: &LogQuery) -> Result<LogChunk, Error> {
        let table = self.table.borrow();
        let lines = table
            .containers
            .iter()
            .filter(|((of, _), _)| of == allocation)
            .map(|((_, replica), entry)| LogLine {
                replica: *replica,
                output: Output::Stdout,
                time: None,
                text: format!("output of {}", entry.spec.image),
            });
        Ok(LogChunk {
            lines: lines.collect(),
            next: None,
        })
    }
}
