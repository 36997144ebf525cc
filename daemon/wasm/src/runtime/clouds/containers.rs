//! The guest's side of the capability `containers`. Nothing of its generated types leaves this file.

use tradewind_core::{
    capability::containers::{ContainerKey, ContainerSpec, ContainerStatus, Pull},
    failure::Failure,
    grant::ContainersGrant,
    names::AllocationId,
    units::{Bytes, Millis},
    workload::{ConfigFile, EnvValue, EnvVar, FileContent, Network, Run, Volume, VolumeSource},
};
use wasmtime::component::{HasSelf, Linker};

use self::bindings::tradewind::containers::engine;
use super::{Answer, Capability, answer, ungranted, wit};
use crate::runtime::{state::Call, v0_1::convert};

mod bindings {
    #![allow(
        unreachable_pub,
        unused_variables,
        clippy::all,
        clippy::restriction,
        reason = "generated"
    )]
    wasmtime::component::bindgen!({
        path: ["../../wit/v0.1", "../../wit/containers-v0.1"],
        inline: "package tradewind:host; world guest { import tradewind:containers/engine@0.1.0; }",
        world: "tradewind:host/guest",
        imports: { default: async | trappable },
        with: { "tradewind:plugin/types": crate::runtime::v0_1::bindings::provider::tradewind::plugin::types },
    });
}

pub(super) const CAPABILITY: Capability = Capability {
    name: "containers",
    interfaces: &["tradewind:containers/engine@0.1.0"],
    grant: "[grants.containers]\nimages = [\"*\"]",
    granted: |grants| grants.containers.is_some(),
    link: |linker: &mut Linker<Call>| {
        engine::add_to_linker::<Call, HasSelf<Call>>(linker, |call| call)
    },
};

/// What the status of a container is charged with, whatever it says: the host has to make it.
const STATUS: usize = 512;

/// The grant, or what is answered without one.
fn granted(call: &Call) -> Result<ContainersGrant, Failure> {
    let grant = call
        .context
        .grants
        .containers
        .as_ref()
        .ok_or_else(|| ungranted("containers"))?;
    Ok(grant.for_namespace(call.namespace()))
}

impl engine::Host for Call {
    async fn info(&mut self) -> Answer<engine::EngineInfo> {
        self.ask()?;
        let lent = granted(self);
        let work = async {
            let info = self
                .context
                .capabilities
                .containers
                .info(&self.context.owner, &lent?)
                .await?;
            Ok(engine::EngineInfo {
                name: info.name,
                version: info.version,
                hostname: info.hostname,
                os: info.os,
                arch: info.arch,
                cpu: info.cpu,
                free_cpu: info.free_cpu,
                memory: info.memory,
                free_memory: info.free_memory,
            })
        };
        answer(work.await)
    }

    async fn ensure(
        &mut self,
        key: engine::Key,
        spec: engine::Spec,
    ) -> Answer<engine::ContainerStatus> {
        self.ask()?;
        let spec = spec_from(spec);
        self.charge(weight(&spec))?;
        let lent = granted(self);
        let work = async {
            let (key, grant) = (key_from(key)?, lent?);
            let attempt = self
                .attempt
                .clone()
                .filter(|a| a.allocation == key.allocation);
            let attempt = attempt.ok_or_else(|| {
                Failure::denied(format!(
                    "this call is not for the allocation \"{}\"",
                    key.allocation
                ))
                .field("key.allocation")
            })?;
            let (owner, containers) = (
                self.context.owner.clone(),
                self.context.capabilities.containers.clone(),
            );
            self.context
                .effect(async move { containers.ensure(&owner, &grant, &attempt, key, spec).await })
                .await
        };
        answer(work.await.map(status))
    }

    async fn status(
        &mut self,
        keys: Vec<engine::Key>,
    ) -> Answer<Vec<Option<engine::ContainerStatus>>> {
        self.ask()?;
        self.charge(keys.len() * STATUS)?;
        let lent = granted(self);
        let work = async {
            let keys = keys
                .into_iter()
                .map(key_from)
                .collect::<Result<Vec<_>, _>>()?;
            self.context
                .capabilities
                .containers
                .status(&self.context.owner, &lent?, &keys)
                .await
        };
        answer(
            work.await
                .map(|all| all.into_iter().map(|s| s.map(status)).collect()),
        )
    }

    async fn remove(&mut self, key: engine::Key) -> Answer<bool> {
        self.ask()?;
        let lent = granted(self);
        let work = async {
            let (key, grant) = (key_from(key)?, lent?);
            let (owner, containers) = (
                self.context.owner.clone(),
                self.context.capabilities.containers.clone(),
            );
            self.context
                .effect(async move { containers.remove(&owner, &grant, &key).await })
                .await
        };
        answer(work.await)
    }

    async fn owned(&mut self) -> Answer<Vec<engine::Key>> {
        self.ask()?;
        let lent = granted(self);
        let work = async {
            self.context
                .capabilities
                .containers
                .owned(&self.context.owner, &lent?)
                .await
        };
        answer(work.await.map(|keys| keys.into_iter().map(key).collect()))
    }

    async fn logs(
        &mut self,
        allocation: String,
        query: engine::LogQuery,
    ) -> Answer<engine::LogChunk> {
        self.ask()?;
        let lent = granted(self);
        let work = async {
            let allocation = AllocationId::try_from(allocation)
                .map_err(|e| convert::invalid("allocation", e))?;
            let query = convert::log_query_from(query, false);
            self.context
                .capabilities
                .containers
                .logs(&self.context.owner, &lent?, &allocation, &query)
                .await
        };
        let result = work.await;
        if let Ok(chunk) = &result {
            self.charge(chunk.lines.iter().map(|l| l.text.len()).sum())?;
        }
        answer(result.map(convert::log_chunk))
    }
}

// === between the capability's types and the domain's ===

fn key_from(key: engine::Key) -> Result<ContainerKey, Failure> {
    let allocation = AllocationId::try_from(key.allocation)
        .map_err(|e| convert::invalid("key.allocation", e))?;
    Ok(ContainerKey {
        allocation,
        replica: key.replica,
    })
}

fn key(key: ContainerKey) -> engine::Key {
    engine::Key {
        allocation: key.allocation.into(),
        replica: key.replica,
    }
}

fn status(s: ContainerStatus) -> engine::ContainerStatus {
    engine::ContainerStatus {
        key: key(s.key),
        id: s.id,
        phase: convert::phase(s.phase),
        health: convert::health(s.health),
        endpoints: s.endpoints.into_iter().map(convert::endpoint).collect(),
        restarts: s.restarts,
        started_at: s.started_at.map(|t| t.0),
        ended_at: s.ended_at.map(|t| t.0),
        exit_code: s.exit_code,
        message: s.message,
        image: s.image,
    }
}

fn spec_from(s: engine::Spec) -> ContainerSpec {
    ContainerSpec {
        image: s.image,
        pull: match s.pull {
            engine::Pull::Missing => Pull::Missing,
            engine::Pull::Always => Pull::Always,
            engine::Pull::Never => Pull::Never,
        },
        run: match s.run {
            wit::Run::Service => Run::Service,
            wit::Run::Job(job) => Run::Job {
                retries: job.retries,
                deadline: job.deadline.map(Millis),
            },
        },
        restarts: s.restarts,
        command: s.command,
        arguments: s.arguments,
        working_directory: s.working_directory,
        user: s.user,
        env: s.env.into_iter().map(convert::env_from).collect(),
        ports: s.ports.into_iter().map(convert::port_from).collect(),
        volumes: s.volumes.into_iter().map(volume_from).collect(),
        networks: s.networks.into_iter().map(network_from).collect(),
        host_network: s.host_network,
        files: s.files.into_iter().map(convert::file_from).collect(),
        resources: convert::resources_from(s.resources),
        limits: s.limits.map(convert::resources_from),
        privileged: s.privileged,
        health: s.health.map(convert::probe_from),
        stop_signal: s.stop_signal,
        stop_grace: Millis(s.stop_grace),
        labels: s.labels.into_iter().map(|e| (e.key, e.value)).collect(),
    }
}

fn volume_from(v: wit::Volume) -> Volume {
    let source = match v.source {
        wit::VolumeSource::Scratch(size) => VolumeSource::Scratch { size: Bytes(size) },
        wit::VolumeSource::Persistent(p) => VolumeSource::Persistent {
            name: p.name,
            size: Bytes(p.size),
            class: p.class,
        },
        wit::VolumeSource::HostPath(path) => VolumeSource::HostPath { path },
    };
    Volume {
        path: v.path,
        read_only: v.read_only,
        source,
    }
}

fn network_from(n: wit::Network) -> Network {
    Network {
        name: n.name,
        internal: n.internal,
        options: n.options.into_iter().map(|e| (e.key, e.value)).collect(),
    }
}

/// What a spec brings along in bytes, without its small parts.
fn weight(spec: &ContainerSpec) -> usize {
    let env = |e: &EnvVar| {
        e.name.len()
            + match &e.value {
                EnvValue::Text(text) => text.len(),
                EnvValue::Secret(_) => 0,
            }
    };
    let file = |f: &ConfigFile| {
        f.path.len()
            + match &f.content {
                FileContent::Data(data) => data.len(),
                FileContent::Secret(_) => 0,
            }
    };
    let words = spec
        .command
        .iter()
        .chain(&spec.arguments)
        .map(String::len)
        .sum::<usize>();
    words + spec.env.iter().map(env).sum::<usize>() + spec.files.iter().map(file).sum::<usize>()
}
