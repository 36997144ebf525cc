//! Work that goes on when nobody waits for it: containers being made, and taken down. A call that comes back finds what is under way.

use std::{sync::Arc, time::Duration};

use bollard::{
    Docker,
    errors::Error,
    models::ContainerInspectResponse,
    query_parameters::{
        RemoveContainerOptionsBuilder, StartContainerOptions, StopContainerOptionsBuilder,
    },
};
use futures::{
    FutureExt,
    future::{BoxFuture, Shared as Several},
};
use tradewind_cloud::process;
use tradewind_core::{
    capability::{
        Attempt, Clock,
        containers::{ContainerKey, ContainerSpec, ContainerStatus},
    },
    failure::{Failure, PORT_TAKEN},
    grant::ContainersGrant,
    names::InstanceName,
    units::Millis,
    workload::Port,
};

use crate::{
    PortMoved, STARTING, Shared, body,
    check::Prepared,
    connect, errors,
    labels::{self, Note},
    labels_of,
    make::Wanted,
    promised::{Share, limited, machine},
    scope,
    status::{self, Detail, Listed, Seen},
};

/// How long `ensure` waits for a container to start. An image may take minutes to be pulled: that goes on, and `status` tells.
const MAKE_PATIENCE: Duration = Duration::from_secs(5);

/// Goes on when nobody waits for it.
pub(super) type Work<T> = Several<BoxFuture<'static, Result<T, Failure>>>;

#[derive(Clone)]
pub(super) struct Creation {
    digest: String,
    work: Work<String>,
}

impl Creation {
    pub(super) fn is_under_way(&self) -> bool {
        self.work.peek().is_none()
    }
}

impl Shared {
    pub(super) async fn ensure(
        self: &Arc<Self>,
        engine: &Docker,
        owner: &InstanceName,
        grant: &ContainersGrant,
        attempt: &Attempt,
        key: &ContainerKey,
        prepared: Prepared,
    ) -> Result<ContainerStatus, Failure> {
        let name = labels::container(owner, key);
        let under_way = self
            .makings
            .lock()
            .get(&name)
            .cloned()
            .filter(Creation::is_under_way);
        if let Some(making) = under_way {
            if making.digest == prepared.digest {
                return self
                    .wait_for(engine, owner, grant, key, &name, making)
                    .await;
            }
            // What is being made is made first, and replaced then.
            if tokio::time::timeout(MAKE_PATIENCE, making.work)
                .await
                .is_err()
            {
                return Err(Failure::unavailable(
                    "an earlier version of the container is still being made",
                ));
            }
        }
        if let Some(there) = self.inspect(engine, grant, &name).await? {
            if !labels::is_of(owner, labels_of(&there)) {
                return Err(scope::foreign("container", &name));
            }
            let (note, phase) = (
                labels::note(labels_of(&there)),
                status::inspected(&there).map(|l| l.phase),
            );
            let lost = Detail::read(
                &there,
                connect::up_since(&grant.socket, self.clock.now()).await,
            )
            .lost;
            let mut gone = match phase {
                Some(phase) => shut_out(&note, phase, lost).await,
                None => None,
            };
            let next = if gone.is_some() {
                Next::Replace
            } else {
                next(&there, &prepared, attempt, lost)
            };
            if next == Next::Nothing {
                return self.answer(owner, grant, key, &there).await;
            }
            if next == Next::Start {
                match engine
                    .start_container(&name, None::<StartContainerOptions>)
                    .await
                {
                    Ok(()) => return self.started(engine, owner, grant, key, &name).await,
                    Err(error) => {
                        let failure = errors::start(grant, engine, &error, STARTING).await;
                        // A number that was chosen for it is let go; one that was asked for can't be had.
                        if failure.code.as_deref() != Some(PORT_TAKEN) || !chooses(&prepared.spec) {
                            return Err(failure);
                        }
                        gone = Some(failure.message);
                    }
                }
            }
            self.admit(engine, owner, grant, key, &prepared).await?;
            let taken = self.take_down(engine, owner, grant, key, &there).await;
            taken.inspect_err(|_| self.promised.settle(owner, key, false))?;
            if let Some(why) = gone.filter(|_| chooses(&prepared.spec)) {
                let message = format!("{why}; another port is chosen");
                let _ = self.notices.try_send(PortMoved {
                    allocation: key.allocation.clone(),
                    replica: key.replica,
                    message,
                });
            }
        }
        self.admit(engine, owner, grant, key, &prepared).await?;
        let wanted = Wanted {
            owner: owner.clone(),
            grant: grant.clone(),
            attempt: attempt.clone(),
            key: key.clone(),
            prepared,
        };
        let making = self.begin_making(engine.clone(), name.clone(), wanted);
        self.wait_for(engine, owner, grant, key, &name, making)
            .await
    }

    async fn wait_for(
        &self,
        engine: &Docker,
        owner: &InstanceName,
        grant: &ContainersGrant,
        key: &ContainerKey,
        name: &str,
        making: Creation,
    ) -> Result<ContainerStatus, Failure> {
        match tokio::time::timeout(MAKE_PATIENCE, making.work).await {
            Ok(result) => {
                self.makings.lock().remove(name);
                self.started(engine, owner, grant, key, &result?).await
            }
            Err(_) => Ok(status::coming(key.clone(), None)),
        }
    }

    fn begin_making(self: &Arc<Self>, engine: Docker, name: String, wanted: Wanted) -> Creation {
        let (shared, of, digest) = (self.clone(), name.clone(), wanted.prepared.digest.clone());
        let (owner, key) = (wanted.owner.clone(), wanted.key.clone());
        let work = async move {
            let made = wanted.make(&shared, &engine).await;
            shared.promised.settle(&owner, &key, made.is_ok());
            if made.is_ok() {
                shared.makings.lock().remove(&of);
            }
            made
        };
        let making = Creation {
            digest,
            work: work.boxed().shared(),
        };
        self.makings.lock().insert(name, making.clone());
        tokio::spawn(making.work.clone());
        making
    }

    /// Promises the container what it asks for.
    async fn admit(
        &self,
        engine: &Docker,
        owner: &InstanceName,
        grant: &ContainersGrant,
        key: &ContainerKey,
        prepared: &Prepared,
    ) -> Result<(), Failure> {
        if !self.promised.knows(owner) {
            self.list(engine, owner, grant).await?;
        }
        let known = self.machines.lock().get(&grant.socket).copied();
        let total = match known {
            Some(total) => total,
            None => {
                let total = machine(&self.heard(
                    grant,
                    engine.info().await,
                    "the engine can't be asked for its machine",
                )?);
                self.machines.lock().insert(grant.socket.clone(), total);
                total
            }
        };
        let resources = &prepared.spec.resources;
        let share = Share {
            cpu: u64::from(resources.cpu.0),
            memory: resources.memory.0,
        };
        self.promised
            .promise(owner, grant, limited(grant, total), key, share)
    }

    /// The status of what was just started.
    async fn started(
        &self,
        engine: &Docker,
        owner: &InstanceName,
        grant: &ContainersGrant,
        key: &ContainerKey,
        id: &str,
    ) -> Result<ContainerStatus, Failure> {
        let there = self.inspect(engine, grant, id).await?;
        let gone = || {
            Failure::unavailable(format!(
                "the container of the allocation \"{}\" has vanished",
                key.allocation
            ))
        };
        self.answer(owner, grant, key, &there.ok_or_else(gone)?)
            .await
    }

    /// A container that is not there, but is being made, or could not be made when nobody waited any more.
    pub(super) fn coming(
        &self,
        owner: &InstanceName,
        key: &ContainerKey,
    ) -> Option<ContainerStatus> {
        let making = self
            .makings
            .lock()
            .get(&labels::container(owner, key))
            .cloned()?;
        match making.work.peek() {
            Some(Ok(_)) => None,
            Some(Err(failure)) => Some(status::coming(key.clone(), Some(failure))),
            None => Some(status::coming(key.clone(), None)),
        }
    }

    /// Ends a job that is past its deadline. Nobody waits for it: the next look tells.
    pub(super) fn end(&self, engine: &Docker, late: &Listed) {
        let (engine, id, note) = (engine.clone(), late.id.clone(), late.note.clone());
        tokio::spawn(async move {
            if let Err(error) = stop(&engine, &id, &note).await {
                tracing::warn!(container = %id, %error, "a job past its deadline can't be ended");
            }
        });
    }

    pub(super) fn begin_removal(
        self: &Arc<Self>,
        engine: Docker,
        owner: &InstanceName,
        grant: &ContainersGrant,
        key: &ContainerKey,
        there: ContainerInspectResponse,
    ) -> Work<()> {
        let name = labels::container(owner, key);
        let (shared, owner, grant, key, of) = (
            self.clone(),
            owner.clone(),
            grant.clone(),
            key.clone(),
            name.clone(),
        );
        let removal = async move {
            let result = shared
                .take_down(&engine, &owner, &grant, &key, &there)
                .await;
            shared.removals.lock().remove(&of);
            result
        };
        let removal = removal.boxed().shared();
        let first = self
            .removals
            .lock()
            .entry(name)
            .or_insert_with(|| removal.clone())
            .clone();
        // It goes on when nobody waits for it.
        tokio::spawn(first.clone());
        first
    }

    /// Stops a container, removes it, and with it the networks that it was the last one in.
    async fn take_down(
        &self,
        engine: &Docker,
        owner: &InstanceName,
        grant: &ContainersGrant,
        key: &ContainerKey,
        there: &ContainerInspectResponse,
    ) -> Result<(), Failure> {
        let note = labels::note(labels_of(there));
        let Some(id) = &there.id else {
            return Err(Failure::internal(
                "the engine's answer lacks the container's id",
            ));
        };
        self.heard(
            grant,
            stop(engine, id, &note).await,
            "the container can't be stopped",
        )?;
        let options = RemoveContainerOptionsBuilder::new()
            .force(true)
            .v(true)
            .build();
        match engine.remove_container(id, Some(options)).await {
            Err(error) if errors::is_missing(&error) => {}
            // Somebody else is removing it already.
            Err(error) if errors::status(&error) == Some(409) => {
                return Err(Failure::unavailable("the container is being removed"));
            }
            other => self.heard(grant, other, "the container can't be removed")?,
        }
        self.promised.remove(owner, key);
        self.networks.leave(engine, owner, &note.networks).await;
        Ok(())
    }
}

/// Why a container in the machine's own network can't come up again: somebody else has one of its numbers by now. Made anew it gets another.
pub(super) async fn shut_out(note: &Note, phase: Seen, lost: bool) -> Option<String> {
    let over = matches!(phase, Seen::Restarting | Seen::Ended) && !note.job;
    if !note.host_network || !(over || lost) {
        return None;
    }
    let ports = note.ports.clone();
    let looked = tokio::task::spawn_blocking(move || {
        ports.into_iter().find_map(|port| {
            let holder = process::port_holder(port.number, port.protocol).ok()??;
            let pid = holder
                .pid
                .map_or_else(String::new, |pid| format!(" (pid {pid})"));
            Some(format!(
                "its port {} is taken by something that Tradewind did not start{pid}",
                port.number
            ))
        })
    });
    looked.await.ok().flatten()
}

async fn stop(engine: &Docker, id: &str, note: &Note) -> Result<(), Error> {
    const MARGIN: Duration = Duration::from_secs(60);
    let grace = i32::try_from(body::seconds(Millis(note.stop_grace))).unwrap_or(i32::MAX);
    let patient = engine
        .clone()
        .with_timeout(Duration::from_millis(note.stop_grace).saturating_add(MARGIN));
    match patient
        .stop_container(
            id,
            Some(StopContainerOptionsBuilder::new().t(grace).build()),
        )
        .await
    {
        // It does not run, or does not exist.
        Err(error) if matches!(errors::status(&error), Some(304 | 404 | 409)) => Ok(()),
        other => other,
    }
}

/// What is to be done about a container that is there.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Nothing,
    Start,
    Replace,
}

/// Whether a container was made from this spec. One that was made by a tag stays when it is asked for by the digest that the tag had then, and
/// so does one of an earlier version, of which that is not known.
fn is_made_of(note: &Note, prepared: &Prepared) -> bool {
    note.digest == prepared.digest
        || note.digest == prepared.unpinned
            && (note.image.is_empty() || note.image == prepared.spec.image)
}

/// Whether a container has a port whose number on the machine nobody asked for.
fn chooses(spec: &ContainerSpec) -> bool {
    let asks = |port: &Port| {
        port.published.is_some_and(|p| p != 0) || spec.host_network && port.number != 0
    };
    spec.ports.iter().any(|port| !asks(port))
}

fn next(
    there: &ContainerInspectResponse,
    prepared: &Prepared,
    attempt: &Attempt,
    lost: bool,
) -> Next {
    let note = labels::note(labels_of(there));
    let seen = status::inspected(there).map(|l| l.phase);
    let failed = there.state.as_ref().and_then(|s| s.exit_code) != Some(0);
    match seen {
        _ if !is_made_of(&note, prepared) => Next::Replace,
        Some(Seen::Running | Seen::Restarting) => Next::Nothing,
        // It begins anew, with all its retries and its time.
        Some(Seen::Created | Seen::Ended) if lost && note.job => Next::Replace,
        Some(Seen::Created) => Next::Start,
        // A job that has run is not run again, unless a new attempt is made of one that failed.
        Some(Seen::Ended) if note.job && (!failed || note.token == attempt.token) => Next::Nothing,
        // In the machine's own network the numbers that were chosen for it may be taken by now.
        Some(Seen::Ended) if !note.job && (!note.host_network || note.ports.is_empty()) => {
            Next::Start
        }
        _ => Next::Replace,
    }
}
