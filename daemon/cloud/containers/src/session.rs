//! Sessions with containers, by the engine: commands in them, connections to their ports, archives from and to their file systems. It must not
//! know who has opened one.

use std::{
    net::{IpAddr, SocketAddr},
    pin::Pin,
};

use bollard::{
    Docker, body_try_stream,
    container::LogOutput,
    errors::Error,
    exec::{CreateExecOptions, ResizeExecOptions, StartExecOptions, StartExecResults},
    models::ContainerInspectResponse,
    query_parameters::{DownloadFromContainerOptionsBuilder, UploadToContainerOptionsBuilder},
};
use futures::{SinkExt, Stream, StreamExt, stream};
use tokio::{io::AsyncWrite, sync::mpsc};
use tradewind_cloud::{
    process::end_contained,
    session::{self, Gone, feed},
};
use tradewind_core::{
    capability::containers::ContainerKey,
    failure::{Failure, WORKLOAD},
    grant::ContainersGrant,
    names::InstanceName,
    session::{CHUNK, Ended, Input, Opening, Output, ReplicaRef, Served, Session, Size},
};

use crate::{Shared, errors, labels, labels_of};

impl Shared {
    pub(crate) async fn open(
        &self,
        owner: &InstanceName,
        grant: &ContainersGrant,
        replica: &ReplicaRef,
        what: Opening,
    ) -> Result<Session, Failure> {
        let key = ContainerKey {
            allocation: replica.allocation.clone(),
            replica: replica.index,
        };
        let engine = self.engine(grant).await?;
        let name = labels::container(owner, &key);
        let there = self
            .inspect(&engine, grant, &name)
            .await?
            .filter(|there| labels::is_of(owner, labels_of(there)))
            .ok_or_else(|| Failure::not_found("this replica has no container"))?;
        let running = there.state.as_ref().and_then(|s| s.running) == Some(true);
        let needs = matches!(what, Opening::Exec { .. } | Opening::Connect { .. });
        if needs && !running {
            return Err(Failure::unavailable("the replica's container does not run"));
        }
        // What the engine calls it cannot change hands, as a name can.
        let id = there.id.clone().unwrap_or(name);
        match what {
            Opening::Exec {
                command,
                input,
                terminal,
            } => exec(engine, grant, id, command, input, terminal).await,
            Opening::Connect { port } => {
                let at = self
                    .address(owner, grant, &key, &there, replica, &port)
                    .await?;
                if there
                    .host_config
                    .as_ref()
                    .and_then(|c| c.network_mode.as_deref())
                    == Some("host")
                {
                    let contained = self.contained.clone();
                    let listens = tokio::task::spawn_blocking(move || contained.listens(&id, at));
                    listens
                        .await
                        .unwrap_or(Ok(()))
                        .map_err(Failure::unavailable)?;
                }
                let stream = session::connect(at, &port).await?;
                let (session, served) = Session::pair();
                tokio::spawn(session::join(stream, served));
                Ok(session)
            }
            Opening::Read { path } => read(&engine, grant, &id, &absolute(&there, &path)).await,
            Opening::Write { path } => {
                Ok(write(engine, grant.clone(), id, absolute(&there, &path)))
            }
        }
    }

    /// Where a port of it answers the daemon: where the engine publishes it, else in its own network.
    async fn address(
        &self,
        owner: &InstanceName,
        grant: &ContainersGrant,
        key: &ContainerKey,
        there: &ContainerInspectResponse,
        replica: &ReplicaRef,
        name: &str,
    ) -> Result<SocketAddr, Failure> {
        let port = replica.tcp_port(name)?;
        let status = self.answer(owner, grant, key, there).await?;
        let published = status
            .endpoints
            .iter()
            .find(|e| e.port == port.name)
            .and_then(|e| Some(SocketAddr::new(e.host.parse().ok()?, e.number)));
        let own = || {
            let networks = there.network_settings.as_ref()?.networks.as_ref()?;
            let address = networks
                .values()
                .find_map(|n| n.ip_address.as_deref()?.parse::<IpAddr>().ok())?;
            Some(SocketAddr::new(address, port.number))
        };
        published.or_else(own).ok_or_else(|| {
            Failure::unavailable(format!(
                "the port \"{name}\" has no address that the daemon can reach"
            ))
        })
    }
}

async fn exec(
    engine: Docker,
    grant: &ContainersGrant,
    container: String,
    command: Vec<String>,
    input: bool,
    terminal: Option<Size>,
) -> Result<Session, Failure> {
    const DOING: &str = "the command can't be started";
    let tty = terminal.is_some();
    let options = CreateExecOptions {
        attach_stdin: Some(input),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        tty: Some(tty),
        env: tty.then(|| vec!["TERM=xterm-256color".to_owned()]),
        cmd: Some(command),
        ..Default::default()
    };
    let failed = |e: Error| errors::made_for(grant, &e, DOING);
    let made = engine
        .create_exec(&container, options)
        .await
        .map_err(failed)?;
    let options = StartExecOptions {
        detach: false,
        tty,
        output_capacity: Some(CHUNK),
    };
    let started = engine.start_exec(&made.id, Some(options)).await;
    let StartExecResults::Attached {
        output,
        input: writer,
    } = started.map_err(failed)?
    else {
        return Err(Failure::internal("the engine let go of the command"));
    };
    let (session, served) = Session::pair();
    let running = Running {
        engine,
        container,
        id: made.id,
    };
    if let Some(size) = terminal {
        running.resize(size).await;
    }
    tokio::spawn(running.attend(output, input.then_some(writer), served));
    Ok(session)
}

/// A command in a container.
struct Running {
    engine: Docker,
    container: String,
    /// The engine's name for it.
    id: String,
}

type Told = Pin<Box<dyn Stream<Item = Result<LogOutput, Error>> + Send>>;
type Writer = Pin<Box<dyn AsyncWrite + Send>>;

impl Running {
    /// Until it has ended, or the client has gone: it ends then.
    async fn attend(self, mut told: Told, writer: Option<Writer>, served: Served) {
        let Served {
            mut input,
            mut output,
        } = served;
        let (sizes, mut resized) = mpsc::channel::<Size>(4);
        let speak = async {
            while let Some(said) = told.next().await {
                let message = match said {
                    Ok(LogOutput::StdErr { message }) => Output::Stderr(message.to_vec()),
                    Ok(LogOutput::StdIn { .. }) => continue,
                    Ok(LogOutput::StdOut { message } | LogOutput::Console { message }) => {
                        Output::Stdout(message.to_vec())
                    }
                    // The engine's words about its end follow by another question.
                    Err(_) => return,
                };
                if output.send(message).await.is_err() {
                    return;
                }
            }
        };
        let resize = async {
            while let Some(size) = resized.recv().await {
                self.resize(size).await;
            }
            std::future::pending().await
        };
        let gone = tokio::select! {
            () = speak => None,
            gone = feed(&mut input, writer, |size| { let _ = sizes.try_send(size); }) => Some(gone),
            gone = resize => Some(gone),
        };
        match gone {
            None => {
                let _ = output.send(Output::End(self.ended().await)).await;
            }
            Some(Gone) => self.end().await,
        }
    }

    async fn resize(&self, size: Size) {
        let options = ResizeExecOptions {
            height: size.rows,
            width: size.columns,
        };
        if let Err(error) = self.engine.resize_exec(&self.id, options).await {
            tracing::debug!(%error, "a session's terminal keeps its size");
        }
    }

    async fn ended(&self) -> Ended {
        match self.engine.inspect_exec(&self.id).await {
            Ok(told) => Ended::Code(
                told.exit_code
                    .and_then(|code| i32::try_from(code).ok())
                    .unwrap_or_default(),
            ),
            Err(error) => Ended::Failed(Box::new(Failure::unavailable(format!(
                "the engine does not tell how the command ended: {error}"
            )))),
        }
    }

    /// Engines let a command go on whose client has gone. Where it runs on this machine, its processes can be told to end.
    async fn end(self) {
        let pid = match self.engine.inspect_exec(&self.id).await {
            Ok(told) if told.running == Some(true) => told.pid,
            _ => return,
        };
        let Some(pid) = pid.and_then(|pid| i32::try_from(pid).ok()) else {
            return;
        };
        let container = self.container;
        let _ = tokio::task::spawn_blocking(move || end_contained(&container, pid)).await;
    }
}

/// From the folder in which the container runs.
fn absolute(there: &ContainerInspectResponse, path: &str) -> String {
    let base = there
        .config
        .as_ref()
        .and_then(|c| c.working_dir.as_deref())
        .filter(|dir| dir.starts_with('/'))
        .unwrap_or("/");
    if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("{}/{path}", base.trim_end_matches('/'))
    }
}

/// A path that is not there, or is no folder, is the caller's matter.
fn of_path(grant: &ContainersGrant, error: &Error, doing: &str) -> Failure {
    let failure = errors::failure(grant, error, doing).field("path");
    if errors::is_missing(error) {
        failure
    } else {
        failure.code(WORKLOAD)
    }
}

async fn read(
    engine: &Docker,
    grant: &ContainersGrant,
    container: &str,
    path: &str,
) -> Result<Session, Failure> {
    const DOING: &str = "the files can't be read";
    let options = DownloadFromContainerOptionsBuilder::new()
        .path(path)
        .build();
    let mut archive = Box::pin(engine.download_from_container(container, Some(options)));
    // A refusal is the first thing that comes.
    let first = match archive.next().await {
        Some(Err(error)) => return Err(of_path(grant, &error, DOING)),
        Some(Ok(bytes)) => Some(Ok(bytes)),
        None => None,
    };
    let mut rest = stream::iter(first).chain(archive);
    let (session, served) = Session::pair();
    tokio::spawn(async move {
        let Served { mut output, .. } = served;
        let mut ended = Ended::Code(0);
        while let Some(chunk) = rest.next().await {
            let bytes = match chunk {
                Ok(bytes) => bytes,
                Err(error) => {
                    ended =
                        Ended::Failed(Box::new(Failure::unavailable(format!("{DOING}: {error}"))));
                    break;
                }
            };
            for piece in bytes.chunks(CHUNK) {
                if output.send(Output::Stdout(piece.to_vec())).await.is_err() {
                    return;
                }
            }
        }
        let _ = output.send(Output::End(ended)).await;
    });
    Ok(session)
}

fn write(engine: Docker, grant: ContainersGrant, container: String, path: String) -> Session {
    let (session, served) = Session::pair();
    tokio::spawn(async move {
        let Served { input, mut output } = served;
        let archive = stream::unfold(Some(input), |input| async move {
            let mut input = input?;
            loop {
                match input.next().await {
                    Some(Input::Data(bytes)) => return Some((Ok(bytes.into()), Some(input))),
                    Some(Input::Resize(_)) => {}
                    Some(Input::End) => return None,
                    // Half an archive is none.
                    None => {
                        let broken = std::io::ErrorKind::ConnectionAborted.into();
                        return Some((Err(broken), None));
                    }
                }
            }
        });
        let options = UploadToContainerOptionsBuilder::new().path(&path).build();
        let written = engine
            .upload_to_container(&container, Some(options), body_try_stream(archive))
            .await;
        let ended = match written {
            Ok(()) => Ended::Code(0),
            Err(error) => Ended::Failed(Box::new(of_path(
                &grant,
                &error,
                "the files can't be written",
            ))),
        };
        let _ = output.send(Output::End(ended)).await;
    });
    session
}
