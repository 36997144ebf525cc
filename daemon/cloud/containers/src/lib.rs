//! The container engine's side of its capability: the Docker Engine API on a Unix socket, spoken by dockerd and podman.
//!
//! Containers are found by what stands on them: a name made of the instance, the allocation and the replica, and labels, one of which holds
//! the digest of the spec. So nothing need be remembered, a killed daemon's successor finds each container again, and none is started twice.
//! What bears no label of the asking instance is never touched. It must not know plugins or deployments.
#![warn(missing_docs)]

mod archive;
mod body;
mod check;
mod connect;
mod errors;
mod image;
mod injected;
mod labels;
mod logs;
mod make;
mod promised;
mod scope;
mod session;
mod status;
mod work;

use std::{collections::HashMap, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use bollard::{
    Docker,
    errors::Error,
    models::ContainerInspectResponse,
    query_parameters::{InspectContainerOptions, ListContainersOptionsBuilder},
};
use futures::{StreamExt, stream};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tradewind_cloud::process::Contained;
use tradewind_core::{
    capability::{
        Attempt, Clock, Listeners, Probed,
        containers::{ContainerKey, ContainerSpec, ContainerStatus, Containers, EngineInfo},
    },
    failure::Failure,
    grant::ContainersGrant,
    names::{AllocationId, InstanceName},
    session::{Opening, ReplicaRef, Session},
    workload::{LogChunk, LogQuery, Phase},
};
use tradewind_credentials::Credentials;

use self::{
    labels::Note,
    promised::{Promised, Share, limited, machine},
    status::{Detail, Listed, Seen},
    work::{Creation, Work},
};

/// What failed, for people.
pub(crate) const STARTING: &str = "the container can't be started";
/// How long `remove` waits for a container that stops at once, so that callers need not come back for it.
const REMOVE_PATIENCE: Duration = Duration::from_millis(150);
/// How many containers are asked for at once.
const QUESTIONS: usize = 8;
/// Notices that nobody takes are dropped beyond this.
const NOTICES_KEPT: usize = 256;

/// A port that the engine or the daemon had chosen for a container was gone at a later start: it was let go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortMoved {
    /// The allocation.
    pub allocation: AllocationId,
    /// The replica's index.
    pub replica: u32,
    /// Which port it was, and which it is, for people.
    pub message: String,
}

/// What it works with.
#[derive(Clone)]
pub struct Options {
    /// Where logins of registries come from.
    pub credentials: Credentials,
    /// Holds the secrets of workloads as files.
    pub secrets: PathBuf,
}

/// Serves the capability for every instance. Cheap to clone.
#[derive(Clone)]
pub struct Engines(Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) options: Options,
    connections: connect::Connections,
    pub(crate) networks: scope::Networks,
    pub(crate) chosen: injected::Chosen,
    promised: Promised,
    /// The ids of images that containers were made of, by who made them and the exact reference.
    pub(crate) images: Mutex<HashMap<(InstanceName, String), String>>,
    /// The machine of each socket.
    machines: Mutex<HashMap<String, Share>>,
    /// What was asked of single containers, by instance and id.
    details: Mutex<HashMap<InstanceName, HashMap<String, Detail>>>,
    /// Under way, by the container's name.
    removals: Mutex<HashMap<String, Work<()>>>,
    /// Under way, or failed when nobody waited any more, by the container's name.
    makings: Mutex<HashMap<String, Creation>>,
    /// Who listens for containers on this machine's network.
    contained: Arc<Contained>,
    notices: mpsc::Sender<PortMoved>,
    untaken: Mutex<Option<mpsc::Receiver<PortMoved>>>,
    clock: tradewind_cloud::SystemClock,
}

// === impl Engines ===

impl Engines {
    /// Engines that nobody has connected to yet.
    pub fn new(options: Options) -> Self {
        let (notices, untaken) = mpsc::channel(NOTICES_KEPT);
        Self(Arc::new(Shared {
            options,
            connections: connect::Connections::default(),
            networks: scope::Networks::default(),
            chosen: injected::Chosen::default(),
            promised: Promised::default(),
            images: Mutex::default(),
            machines: Mutex::default(),
            details: Mutex::default(),
            removals: Mutex::default(),
            makings: Mutex::default(),
            contained: Arc::default(),
            notices,
            untaken: Mutex::new(Some(untaken)),
            clock: tradewind_cloud::SystemClock,
        }))
    }

    /// What people should know of, from the start on. Only the first who asks gets it.
    pub fn notices(&self) -> Option<mpsc::Receiver<PortMoved>> {
        self.0.untaken.lock().take()
    }
}

#[async_trait]
impl Listeners for Engines {
    async fn listens(&self, of: Probed<'_>, address: SocketAddr) -> Result<(), String> {
        // In a network of its own nobody else can have a container's number.
        let shares = self
            .0
            .details
            .lock()
            .get(of.provider)
            .and_then(|known| known.get(of.replica))
            .is_some_and(|d| d.host_network);
        if !shares {
            return Ok(());
        }
        let (contained, id) = (self.0.contained.clone(), of.replica.to_owned());
        tokio::task::spawn_blocking(move || contained.listens(&id, address))
            .await
            .unwrap_or(Ok(()))
    }
}

#[async_trait]
impl Containers for Engines {
    async fn info(
        &self,
        owner: &InstanceName,
        grant: &ContainersGrant,
    ) -> Result<EngineInfo, Failure> {
        let shared = &self.0;
        let engine = shared.engine(grant).await?;
        let asked = async { Ok((engine.version().await?, engine.info().await?)) };
        let (version, info) = shared.heard(
            grant,
            asked.await,
            "the engine can't be asked for its machine",
        )?;
        let total = machine(&info);
        shared.machines.lock().insert(grant.socket.clone(), total);
        shared.list(&engine, owner, grant).await?;
        let (used, _) = shared.promised.sum(owner);
        let total = limited(grant, total);
        let is_podman = version
            .components
            .into_iter()
            .flatten()
            .any(|c| c.name.to_lowercase().contains("podman"));
        Ok(EngineInfo {
            name: if is_podman { "podman" } else { "docker" }.to_owned(),
            version: version.version.unwrap_or_default(),
            hostname: info.name.unwrap_or_default(),
            os: info.os_type.unwrap_or_else(|| "linux".to_owned()),
            arch: match info.architecture.unwrap_or_default().as_str() {
                "amd64" => "x86_64".to_owned(),
                "arm64" => "aarch64".to_owned(),
                other => other.to_owned(),
            },
            cpu: total.cpu,
            free_cpu: total.cpu.saturating_sub(used.cpu),
            memory: total.memory,
            free_memory: total.memory.saturating_sub(used.memory),
        })
    }

    async fn ensure(
        &self,
        owner: &InstanceName,
        grant: &ContainersGrant,
        attempt: &Attempt,
        key: ContainerKey,
        spec: ContainerSpec,
    ) -> Result<ContainerStatus, Failure> {
        let checked = grant.clone();
        let prepared = tokio::task::spawn_blocking(move || check::prepare(&checked, spec)).await;
        let prepared = prepared.unwrap_or_else(|e| {
            Err(Failure::internal(format!(
                "the spec could not be checked: {e}"
            )))
        })?;
        let engine = self.0.engine(grant).await?;
        self.0
            .ensure(&engine, owner, grant, attempt, &key, prepared)
            .await
    }

    async fn status(
        &self,
        owner: &InstanceName,
        grant: &ContainersGrant,
        keys: &[ContainerKey],
    ) -> Result<Vec<Option<ContainerStatus>>, Failure> {
        let shared = &self.0;
        let engine = shared.engine(grant).await?;
        let mut listed: HashMap<ContainerKey, Listed> = shared
            .list(&engine, owner, grant)
            .await?
            .into_iter()
            .map(|l| (l.key.clone(), l))
            .collect();
        let wanted: Vec<Option<Listed>> = keys.iter().map(|key| listed.remove(key)).collect();
        shared
            .look_closer(&engine, owner, grant, wanted.iter().flatten())
            .await;
        let (now, details) = (
            shared.clock.now(),
            shared
                .details
                .lock()
                .get(owner)
                .cloned()
                .unwrap_or_default(),
        );
        let mut all = Vec::with_capacity(wanted.len());
        for (key, one) in keys.iter().zip(wanted) {
            let known = one
                .as_ref()
                .and_then(|l| details.get(&l.id))
                .cloned()
                .unwrap_or_default();
            if one.is_none() {
                all.push(shared.coming(owner, key));
                continue;
            }
            if let Some(late) = one.as_ref().filter(|l| l.is_late(&known, now)) {
                shared.end(&engine, late);
            }
            let shut_out = match &one {
                Some(listed) => work::shut_out(&listed.note, listed.phase, known.lost).await,
                None => None,
            };
            all.push(
                one.map(|l| l.status(grant, &known, now))
                    .map(|status| match shut_out {
                        Some(message) => ContainerStatus {
                            phase: Phase::Failed,
                            message,
                            ..status
                        },
                        None => status,
                    }),
            );
        }
        Ok(all)
    }

    async fn remove(
        &self,
        owner: &InstanceName,
        grant: &ContainersGrant,
        key: &ContainerKey,
    ) -> Result<bool, Failure> {
        let shared = &self.0;
        let name = labels::container(owner, key);
        if let Some(making) = shared.makings.lock().get(&name).cloned()
            && making.is_under_way()
        {
            // It is removed once it is there.
            return Ok(false);
        }
        shared.makings.lock().remove(&name);
        let under_way = shared.removals.lock().get(&name).cloned();
        let removal = match under_way {
            Some(removal) => removal,
            None => {
                let engine = shared.engine(grant).await?;
                match shared.inspect(&engine, grant, &name).await? {
                    Some(there) if labels::is_of(owner, labels_of(&there)) => {
                        shared.begin_removal(engine, owner, grant, key, there)
                    }
                    // What is not ours is nothing of ours.
                    _ => {
                        shared.promised.remove(owner, key);
                        shared.networks.sweep(&engine, owner).await;
                        return Ok(true);
                    }
                }
            }
        };
        match tokio::time::timeout(REMOVE_PATIENCE, removal).await {
            Ok(result) => result.map(|()| true),
            Err(_) => Ok(false),
        }
    }

    async fn owned(
        &self,
        owner: &InstanceName,
        grant: &ContainersGrant,
    ) -> Result<Vec<ContainerKey>, Failure> {
        let engine = self.0.engine(grant).await?;
        let mut keys: Vec<ContainerKey> = self
            .0
            .list(&engine, owner, grant)
            .await?
            .into_iter()
            .map(|l| l.key)
            .collect();
        keys.sort();
        Ok(keys)
    }

    async fn open(
        &self,
        owner: &InstanceName,
        grant: &ContainersGrant,
        replica: &ReplicaRef,
        what: Opening,
    ) -> Result<Session, Failure> {
        self.0.open(owner, grant, replica, what).await
    }

    async fn logs(
        &self,
        owner: &InstanceName,
        grant: &ContainersGrant,
        allocation: &AllocationId,
        query: &LogQuery,
    ) -> Result<LogChunk, Failure> {
        let shared = &self.0;
        let engine = shared.engine(grant).await?;
        let listed = shared.list(&engine, owner, grant).await?.into_iter();
        let mut listed: Vec<Listed> = listed
            .filter(|l| {
                l.key.allocation == *allocation && query.replica.is_none_or(|r| r == l.key.replica)
            })
            .collect();
        if listed.is_empty() {
            return Err(Failure::not_found(format!(
                "there is no container of the allocation \"{allocation}\""
            )));
        }
        listed.sort_by_key(|l| l.key.replica);
        let source = |l: Listed| logs::Source {
            replica: l.key.replica,
            open: !(l.note.job && l.phase == Seen::Ended),
            id: l.id,
        };
        let sources: Vec<_> = listed.into_iter().map(source).collect();
        shared.heard(
            grant,
            logs::read(&engine, &sources, query, self.0.clock.now()).await?,
            "the output can't be read",
        )
    }
}

// === impl Shared ===

impl Shared {
    async fn engine(&self, grant: &ContainersGrant) -> Result<Docker, Failure> {
        self.connections
            .to(&grant.socket)
            .await
            .map_err(|e| errors::failure(grant, &e, "the container engine can't be used"))
    }

    /// The engine's answer. One that was not reached may come back as another version.
    fn heard<T>(
        &self,
        grant: &ContainersGrant,
        answer: Result<T, Error>,
        doing: &str,
    ) -> Result<T, Failure> {
        answer.map_err(|error| {
            if errors::is_silent(&error) {
                self.connections.forget(&grant.socket);
            }
            errors::failure(grant, &error, doing)
        })
    }

    /// Every container of an instance, by one question.
    pub(crate) async fn list(
        &self,
        engine: &Docker,
        owner: &InstanceName,
        grant: &ContainersGrant,
    ) -> Result<Vec<Listed>, Failure> {
        let ours = HashMap::from([(
            "label".to_owned(),
            vec![format!("{}={owner}", labels::INSTANCE)],
        )]);
        let options = ListContainersOptionsBuilder::new()
            .all(true)
            .filters(&ours)
            .build();
        let listed = errors::settled(|| engine.list_containers(Some(options.clone()))).await;
        let listed = self.heard(grant, listed, "the containers can't be listed")?;
        let listed: Vec<Listed> = listed.into_iter().filter_map(Listed::read).collect();
        self.promised.tell(
            owner,
            listed.iter().map(|l| (l.key.clone(), share(&l.note))),
        );
        if let Some(known) = self.details.lock().get_mut(owner) {
            let there: std::collections::HashSet<&str> =
                listed.iter().map(|l| l.id.as_str()).collect();
            known.retain(|id, _| there.contains(id.as_str()));
        }
        Ok(listed)
    }

    async fn inspect(
        &self,
        engine: &Docker,
        grant: &ContainersGrant,
        name: &str,
    ) -> Result<Option<ContainerInspectResponse>, Failure> {
        match errors::settled(|| engine.inspect_container(name, None::<InspectContainerOptions>))
            .await
        {
            Ok(there) => Ok(Some(there)),
            Err(error) if errors::is_missing(&error) => Ok(None),
            other => self.heard(grant, other.map(Some), "the container can't be looked up"),
        }
    }

    /// Asks for those that have begun or ended since they were asked for last.
    async fn look_closer(
        &self,
        engine: &Docker,
        owner: &InstanceName,
        grant: &ContainersGrant,
        listed: impl Iterator<Item = &Listed>,
    ) {
        let now = self.clock.now();
        let new: Vec<String> = {
            let details = self.details.lock();
            let known = details.get(owner);
            let known = |l: &Listed| {
                known
                    .and_then(|k| k.get(&l.id))
                    .cloned()
                    .unwrap_or_default()
            };
            listed
                .filter(|l| !l.agrees(&known(l), now))
                .map(|l| l.id.clone())
                .collect()
        };
        if new.is_empty() {
            return;
        }
        let up_since = connect::up_since(&grant.socket, now).await;
        let asked = stream::iter(new).map(|id| async move {
            let inspected =
                errors::settled(|| engine.inspect_container(&id, None::<InspectContainerOptions>))
                    .await
                    .ok();
            inspected.map(|i| (id, Detail::read(&i, up_since)))
        });
        let found: Vec<_> = asked
            .buffer_unordered(QUESTIONS)
            .filter_map(std::future::ready)
            .collect()
            .await;
        self.details
            .lock()
            .entry(owner.clone())
            .or_default()
            .extend(found);
    }

    async fn answer(
        &self,
        owner: &InstanceName,
        grant: &ContainersGrant,
        key: &ContainerKey,
        there: &ContainerInspectResponse,
    ) -> Result<ContainerStatus, Failure> {
        let now = self.clock.now();
        let detail = Detail::read(there, connect::up_since(&grant.socket, now).await);
        let listed = status::inspected(there).filter(|l| l.key == *key);
        let listed = listed
            .ok_or_else(|| Failure::internal("the engine's answer lacks the container's labels"))?;
        if listed.agrees(&detail, now) {
            self.details
                .lock()
                .entry(owner.clone())
                .or_default()
                .insert(listed.id.clone(), detail.clone());
        }
        Ok(listed.status(grant, &detail, now))
    }
}

fn labels_of(there: &ContainerInspectResponse) -> Option<&HashMap<String, String>> {
    there.config.as_ref()?.labels.as_ref()
}

fn share(note: &Note) -> Share {
    Share {
        cpu: note.cpu,
        memory: note.memory,
    }
}
