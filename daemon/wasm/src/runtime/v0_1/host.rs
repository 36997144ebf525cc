//! The guest's side of the capabilities: what the contract's imports do. Every byte that crosses is charged to the call.

use tradewind_core::{
    capability::{HttpRequest, ProcessKey, ProcessSpec, ProcessStatus},
    failure::{Failure, NOT_GRANTED},
    names::AllocationId,
    units::Millis,
};
use wasmtime::component::{HasSelf, Linker};

use super::{
    bindings::provider::tradewind::plugin::{clock, http, log, process, types as wit},
    convert,
};
use crate::runtime::state::{Call, Level};

/// What the status of a process is charged with, whatever it says: the host has to make it.
const STATUS: usize = 512;
/// The same for a look at the machine or at files.
const LOOK: usize = 4096;

type Answer<T> = wasmtime::Result<Result<T, wit::Error>>;

pub(super) fn link_log(linker: &mut Linker<Call>) -> wasmtime::Result<()> {
    wit::add_to_linker::<Call, HasSelf<Call>>(linker, |call| call)?;
    log::add_to_linker::<Call, HasSelf<Call>>(linker, |call| call)
}

pub(super) fn link_clock(linker: &mut Linker<Call>) -> wasmtime::Result<()> {
    clock::add_to_linker::<Call, HasSelf<Call>>(linker, |call| call)
}

pub(super) fn link_process(linker: &mut Linker<Call>) -> wasmtime::Result<()> {
    process::add_to_linker::<Call, HasSelf<Call>>(linker, |call| call)
}

pub(super) fn link_http(linker: &mut Linker<Call>) -> wasmtime::Result<()> {
    http::add_to_linker::<Call, HasSelf<Call>>(linker, |call| call)
}

fn answer<T>(result: Result<T, Failure>) -> Answer<T> {
    Ok(result.map_err(convert::error))
}

/// The linker only holds granted capabilities; this answers if it ever held more.
fn ungranted(capability: &str) -> Failure {
    Failure::denied(format!("the capability \"{capability}\" is not granted")).code(NOT_GRANTED)
}

impl wit::Host for Call {}

impl log::Host for Call {
    async fn write(
        &mut self,
        level: log::Level,
        message: String,
        fields: Vec<wit::Entry>,
    ) -> wasmtime::Result<()> {
        let level = match level {
            log::Level::Trace => Level::Trace,
            log::Level::Debug => Level::Debug,
            log::Level::Info => Level::Info,
            log::Level::Warn => Level::Warn,
            log::Level::Error => Level::Error,
        };
        self.charge(
            message.len()
                + fields
                    .iter()
                    .map(|e| e.key.len() + e.value.len())
                    .sum::<usize>(),
        )?;
        let fields: Vec<(&str, &str)> = fields
            .iter()
            .map(|e| (e.key.as_str(), e.value.as_str()))
            .collect();
        Call::log(self, level, &message, &fields);
        Ok(())
    }
}

impl clock::Host for Call {
    async fn now(&mut self) -> wasmtime::Result<u64> {
        Ok(self.context.capabilities.clock.now().0)
    }

    async fn monotonic(&mut self) -> wasmtime::Result<u64> {
        Ok(u64::try_from(self.context.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }
}

// === processes ===

fn key_from(key: process::Key) -> Result<ProcessKey, Failure> {
    let allocation = AllocationId::try_from(key.allocation)
        .map_err(|e| convert::invalid("key.allocation", e))?;
    Ok(ProcessKey {
        allocation,
        replica: key.replica,
    })
}

fn key(key: ProcessKey) -> process::Key {
    process::Key {
        allocation: key.allocation.into(),
        replica: key.replica,
    }
}

fn status(s: ProcessStatus) -> process::ProcessStatus {
    process::ProcessStatus {
        key: key(s.key),
        phase: convert::phase(s.phase),
        health: convert::health(s.health),
        pid: s.pid,
        endpoints: s.endpoints.into_iter().map(convert::endpoint).collect(),
        restarts: s.restarts,
        started_at: s.started_at.map(|t| t.0),
        ended_at: s.ended_at.map(|t| t.0),
        exit_code: s.exit_code,
        message: s.message,
        usage: s.usage.map(convert::usage),
    }
}

fn spec_from(s: process::Spec) -> ProcessSpec {
    ProcessSpec {
        command: s.command,
        env: s.env.into_iter().map(convert::env_from).collect(),
        working_directory: s.working_directory,
        ports: s.ports.into_iter().map(convert::port_from).collect(),
        files: s.files.into_iter().map(convert::file_from).collect(),
        limits: s.limits.map(convert::resources_from),
        promised: None,
        startup: None,
        readiness: s.readiness.map(convert::probe_from),
        liveness: s.liveness.map(convert::probe_from),
        restarts: s.restarts,
        restart_always: s.restart_always,
        deadline: s.deadline.map(Millis),
        stop_signal: s.stop_signal,
        stop_grace: Millis(s.stop_grace),
    }
}

fn weight(spec: &ProcessSpec) -> usize {
    use tradewind_core::workload::{EnvValue, FileContent};
    let env = |e: &tradewind_core::workload::EnvVar| {
        e.name.len()
            + match &e.value {
                EnvValue::Text(t) => t.len(),
                EnvValue::Secret(s) => s.name.len(),
            }
    };
    let file = |f: &tradewind_core::workload::ConfigFile| {
        f.path.len()
            + match &f.content {
                FileContent::Data(d) => d.len(),
                FileContent::Secret(s) => s.name.len(),
            }
    };
    spec.command.iter().map(String::len).sum::<usize>()
        + spec.env.iter().map(env).sum::<usize>()
        + spec.files.iter().map(file).sum::<usize>()
}

impl process::Host for Call {
    async fn ensure(
        &mut self,
        key: process::Key,
        spec: process::Spec,
    ) -> Answer<process::ProcessStatus> {
        let mut spec = spec_from(spec);
        self.charge(weight(&spec))?;
        let key = match key_from(key) {
            Ok(key) => key,
            Err(failure) => return answer(Err(failure)),
        };
        // The contract's spec can't say it; the host knows for which allocation it is called.
        if let Some(attempt) = self
            .attempt
            .as_ref()
            .filter(|a| a.allocation == key.allocation)
        {
            spec.promised = Some(attempt.resources.clone());
            spec.startup = attempt.startup.clone();
        }
        let namespace = self.namespace_of(&key.allocation);
        let Some(grant) = self
            .context
            .grants
            .process
            .as_ref()
            .map(|grant| grant.for_namespace(namespace))
        else {
            return answer(Err(ungranted("process")));
        };
        let (owner, processes) = (
            self.context.owner.clone(),
            self.context.capabilities.processes.clone(),
        );
        let result = self
            .context
            .effect(async move { processes.ensure(&owner, &grant, key, spec).await })
            .await;
        answer(result.map(status))
    }

    async fn status(
        &mut self,
        keys: Vec<process::Key>,
    ) -> Answer<Vec<Option<process::ProcessStatus>>> {
        self.charge(keys.len() * STATUS)?;
        let keys = match keys
            .into_iter()
            .map(key_from)
            .collect::<Result<Vec<_>, _>>()
        {
            Ok(keys) => keys,
            Err(failure) => return answer(Err(failure)),
        };
        let result = self
            .context
            .capabilities
            .processes
            .status(&self.context.owner, &keys)
            .await;
        answer(result.map(|all| all.into_iter().map(|s| s.map(status)).collect()))
    }

    async fn remove(&mut self, key: process::Key) -> Answer<bool> {
        self.charge(STATUS)?;
        let key = match key_from(key) {
            Ok(key) => key,
            Err(failure) => return answer(Err(failure)),
        };
        let (owner, processes) = (
            self.context.owner.clone(),
            self.context.capabilities.processes.clone(),
        );
        answer(
            self.context
                .effect(async move { processes.remove(&owner, &key).await })
                .await,
        )
    }

    async fn owned(&mut self) -> Answer<Vec<process::Key>> {
        self.charge(LOOK)?;
        let result = self
            .context
            .capabilities
            .processes
            .owned(&self.context.owner)
            .await;
        self.charge(result.as_ref().map_or(0, Vec::len) * STATUS)?;
        answer(result.map(|keys| keys.into_iter().map(key).collect()))
    }

    async fn logs(&mut self, allocation: String, query: wit::LogQuery) -> Answer<wit::LogChunk> {
        self.charge(LOOK)?;
        let allocation = match AllocationId::try_from(allocation) {
            Ok(id) => id,
            Err(e) => return answer(Err(convert::invalid("allocation", e))),
        };
        let previous = self.take_previous();
        let result = self
            .context
            .capabilities
            .processes
            .logs(
                &self.context.owner,
                &allocation,
                &convert::log_query_from(query, previous),
            )
            .await;
        if let Ok(chunk) = &result {
            self.charge(chunk.lines.iter().map(|l| l.text.len()).sum())?;
        }
        answer(result.map(convert::log_chunk))
    }

    async fn machine(&mut self) -> Answer<process::MachineInfo> {
        self.charge(LOOK)?;
        let Some(grant) = self
            .context
            .grants
            .process
            .as_ref()
            .map(|grant| grant.for_namespace(self.namespace()))
        else {
            return answer(Err(ungranted("process")));
        };
        let result = self
            .context
            .capabilities
            .processes
            .machine(&self.context.owner, &grant)
            .await;
        answer(result.map(|m| process::MachineInfo {
            hostname: m.hostname,
            os: m.os,
            arch: m.arch,
            cpu: m.cpu,
            free_cpu: m.free_cpu,
            memory: m.memory,
            free_memory: m.free_memory,
            load: m.load,
        }))
    }
}

// === HTTP ===

impl http::Host for Call {
    async fn send(&mut self, request: http::Request) -> Answer<http::Response> {
        self.charge(
            request.url.len()
                + request.body.len()
                + request
                    .headers
                    .iter()
                    .map(|e| e.key.len() + e.value.len())
                    .sum::<usize>(),
        )?;
        let Some(grant) = self
            .context
            .grants
            .http
            .as_ref()
            .map(|grant| grant.for_namespace(self.namespace()))
        else {
            return answer(Err(ungranted("http")));
        };
        if let Err(failure) = self.take_request() {
            return answer(Err(failure));
        }
        let request = HttpRequest {
            method: request.method,
            url: request.url,
            headers: request
                .headers
                .into_iter()
                .map(|e| (e.key, e.value))
                .collect(),
            body: request.body,
            credential: request.credential,
            timeout: request.timeout.map(Millis),
        };
        let result = if matches!(request.method.as_str(), "GET" | "HEAD") {
            self.context
                .capabilities
                .http
                .send(&self.context.owner, &grant, request)
                .await
        } else {
            let (owner, http) = (
                self.context.owner.clone(),
                self.context.capabilities.http.clone(),
            );
            self.context
                .effect(async move { http.send(&owner, &grant, request).await })
                .await
        };
        if let Ok(response) = &result {
            self.charge(
                response.body.len()
                    + response
                        .headers
                        .iter()
                        .map(|(key, value)| key.len() + value.len())
                        .sum::<usize>(),
            )?;
        }
        answer(result.map(|r| {
            http::Response {
                status: r.status,
                headers: r
                    .headers
                    .into_iter()
                    .map(|(key, value)| wit::Entry { key, value })
                    .collect(),
                body: r.body,
            }
        }))
    }
}
