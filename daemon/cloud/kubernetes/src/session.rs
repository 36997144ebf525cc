//! Sessions with pods, through the API server: commands in them, connections to their ports, archives packed and unpacked by the `tar` of their
//! image. It must not know who has opened one.

use std::sync::atomic::{AtomicBool, Ordering};

use futures::{SinkExt, StreamExt};
use http::StatusCode;
use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::Status};
use kube::{
    Api, Client,
    api::{AttachParams, AttachedProcess, TerminalSize},
};
use serde::Deserialize;
use tokio::io::AsyncRead;
use tradewind_cloud::session::{self, Gone, Stream, feed, tell};
use tradewind_core::{
    capability::kubernetes::Caller,
    failure::{Failure, UNSUPPORTED, WORKLOAD},
    session::{CHUNK, Ended, Input, Opening, Output, ReplicaRef, Served, Session, Size},
};

use crate::{
    api::{Cluster, Request},
    apply::Metadata,
    check, failure,
    kinds::found,
    marks,
};

/// What `tar` reads at a time: an archive that ends within one would have it wait for the rest.
const RECORD: usize = 20 * 512;

/// What must be known of a pod.
#[derive(Deserialize)]
struct Seen {
    metadata: Metadata,
    spec: Spec,
    #[serde(default)]
    status: State,
}

#[derive(Deserialize)]
struct Spec {
    containers: Vec<Container>,
}

#[derive(Deserialize)]
struct Container {
    name: String,
}

#[derive(Default, Deserialize)]
struct State {
    #[serde(default)]
    phase: String,
}

/// What a command reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stdin {
    None,
    Stream,
    /// It knows its end by itself: clusters before Kubernetes 1.30 can tell the end of input by the end of the connection alone.
    Archive,
}

/// A pod in which something can be started.
struct Target {
    client: Client,
    namespace: String,
    pod: String,
    container: String,
}

pub(crate) async fn open(
    cluster: &Cluster<'_>,
    caller: &Caller,
    replica: &ReplicaRef,
    what: Opening,
) -> Result<Session, Failure> {
    let target = find(cluster, caller, replica).await?;
    match what {
        Opening::Exec {
            command,
            input,
            terminal,
        } => {
            let stdin = if input { Stdin::Stream } else { Stdin::None };
            exec(target, command, stdin, terminal).await
        }
        Opening::Connect { port } => {
            let of = replica.tcp_port(&port)?;
            connect(target, of.number, &port).await
        }
        Opening::Read { path } => {
            let (folder, name) = parts(&path);
            let command = ["tar", "-cf", "-", "-C", folder, name].map(str::to_owned);
            exec(target, command.to_vec(), Stdin::None, None).await
        }
        Opening::Write { path } => {
            let command = ["tar", "-xof", "-", "-C", &path].map(str::to_owned);
            exec(target, command.to_vec(), Stdin::Archive, None).await
        }
    }
}

/// The folder of what is packed, and its name in it, which is no option of tar's.
fn parts(path: &str) -> (&str, &str) {
    let whole = path.trim_end_matches('/');
    match whole.rsplit_once('/') {
        _ if whole.is_empty() => ("/", "."),
        Some((_, "." | "..")) => (path, "."),
        Some(("", name)) if !name.starts_with('-') => ("/", name),
        Some((folder, name)) if !name.starts_with('-') => (folder, name),
        None if !whole.starts_with('-') => (".", whole),
        _ => (path, "."),
    }
}

/// The pod of a replica. Its name is the plugin's word: that it is ours, and the allocation's, its marks say.
async fn find(
    cluster: &Cluster<'_>,
    caller: &Caller,
    replica: &ReplicaRef,
) -> Result<Target, Failure> {
    check::readable(cluster.grant, "Pod", "replica")?;
    check::name(&replica.id, "replica")
        .map_err(|_| Failure::not_found("this replica has no pod yet"))?;
    let kind = cluster.kind("Pod").await?;
    for namespace in &cluster.grant.namespaces {
        check::namespace(cluster.grant, namespace, "namespace")?;
        let look = Request::get(
            format!("{}/{}", kind.path(namespace), replica.id),
            format!("look at the pod \"{}\"", replica.id),
        );
        let Some(answer) = found(cluster.send(look).await)? else {
            continue;
        };
        let seen: Seen = answer.json()?;
        // One of the same name elsewhere is somebody else's.
        let labels = &seen.metadata.labels;
        let allocation = labels.get(marks::ALLOCATION);
        let ours = marks::is_of(labels, &caller.owner)
            && allocation.is_some_and(|a| a == replica.allocation.as_str());
        if !ours {
            continue;
        }
        if seen.status.phase != "Running" {
            return Err(Failure::unavailable(format!(
                "the pod \"{}\" does not run: its phase is \"{}\"",
                replica.id,
                seen.status.phase.escape_debug()
            )));
        }
        let container = seen.spec.containers.into_iter().next().ok_or_else(|| {
            Failure::internal(format!("the pod \"{}\" has no container", replica.id))
        })?;
        let connection = cluster.connections.get(cluster.grant).await?;
        return Ok(Target {
            client: connection.client.clone(),
            namespace: namespace.clone(),
            pod: replica.id.clone(),
            container: container.name,
        });
    }
    Err(Failure::not_found("this replica has no pod"))
}

async fn connect(target: Target, number: u16, name: &str) -> Result<Session, Failure> {
    let pods: Api<Pod> = Api::namespaced(target.client, &target.namespace);
    let what = format!("connect to the pod \"{}\"", target.pod);
    let mut forwarder = pods
        .portforward(&target.pod, &[number])
        .await
        .map_err(|e| failed(&e, &what))?;
    let stream = forwarder.take_stream(number).ok_or_else(|| {
        Failure::internal("the connection to the pod was opened without a stream")
    })?;
    let refused = forwarder.take_error(number);
    let name = name.to_owned();
    let (session, served) = Session::pair();
    tokio::spawn(async move {
        let mut output = served.output.clone();
        let why = async {
            match refused {
                // It ends without a word where nothing was wrong.
                Some(refused) => match refused.await {
                    Some(why) => why,
                    None => std::future::pending().await,
                },
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = session::join(stream, served) => {}
            why = why => {
                let why = why.trim().to_owned();
                let failed = Failure::unavailable(format!(
                    "nothing answers at the port \"{name}\": {why}"
                ));
                let _ = output.send(Output::End(Ended::Failed(Box::new(failed)))).await;
            }
        }
        forwarder.abort();
    });
    Ok(session)
}

async fn exec(
    target: Target,
    command: Vec<String>,
    input: Stdin,
    terminal: Option<Size>,
) -> Result<Session, Failure> {
    let pods: Api<Pod> = Api::namespaced(target.client, &target.namespace);
    let parameters = AttachParams {
        container: Some(target.container),
        stdin: input != Stdin::None,
        stdout: true,
        // A terminal has one stream.
        stderr: terminal.is_none(),
        tty: terminal.is_some(),
        max_stdin_buf_size: Some(CHUNK),
        max_stdout_buf_size: Some(CHUNK),
        max_stderr_buf_size: Some(CHUNK),
    };
    let what = format!("run a command in the pod \"{}\"", target.pod);
    let attached = pods
        .exec(&target.pod, command, &parameters)
        .await
        .map_err(|e| failed(&e, &what))?;
    let (session, served) = Session::pair();
    tokio::spawn(attend(attached, input, terminal, served));
    Ok(session)
}

fn failed(error: &kube::Error, what: &str) -> Failure {
    let kube::Error::Api(status) = error else {
        return failure::unanswered(error, what);
    };
    let code = StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = serde_json::to_vec(status).unwrap_or_default();
    failure::refused(code, &body, None, what)
}

/// Until the command has ended, or the client has gone: the API server ends it then.
async fn attend(
    mut attached: AttachedProcess,
    stdin_is: Stdin,
    terminal: Option<Size>,
    served: Served,
) {
    let Served { input, mut output } = served;
    let ends = AtomicBool::new(false);
    let mut written = 0;
    let mut input = input.map(|message| match message {
        Input::Data(bytes) => {
            written += bytes.len();
            Input::Data(bytes)
        }
        Input::End if stdin_is == Stdin::Archive => Input::Data(vec![0; RECORD - written % RECORD]),
        Input::End => {
            ends.store(true, Ordering::Relaxed);
            Input::End
        }
        resize @ Input::Resize(_) => resize,
    });
    let (sizes, mut resized) = tokio::sync::mpsc::channel::<Size>(4);
    let mut window = attached.terminal_size();
    if let (Some(window), Some(size)) = (&mut window, terminal) {
        let _ = window.send(wide(size)).await;
    }
    let status = attached.take_status();
    let (stdin, stdout, stderr) = (attached.stdin(), attached.stdout(), attached.stderr());
    let told = async {
        tokio::join!(
            pass(stdout, Stream::Stdout, output.clone()),
            pass(stderr, Stream::Stderr, output.clone()),
        );
        match status {
            Some(status) => status.await,
            None => None,
        }
    };
    let resize = async {
        while let Some(size) = resized.recv().await {
            if let Some(window) = &mut window {
                let _ = window.send(wide(size)).await;
            }
        }
        std::future::pending().await
    };
    let ended = tokio::select! {
        status = told => Some(ended(status, ends.load(Ordering::Relaxed))),
        Gone = feed(&mut input, stdin, |size| { let _ = sizes.try_send(size); }) => None,
        () = resize => None,
    };
    if let Some(ended) = ended {
        let _ = output.send(Output::End(ended)).await;
    }
    attached.abort();
}

async fn pass(
    from: Option<impl AsyncRead + Unpin>,
    stream: Stream,
    to: futures::channel::mpsc::Sender<Output>,
) {
    if let Some(from) = from {
        let _ = tell(from, stream, to).await;
    }
}

fn wide(size: Size) -> TerminalSize {
    TerminalSize {
        width: size.columns,
        height: size.rows,
    }
}

/// The API server's word about a command's end: its code is one of the causes.
fn ended(status: Option<Status>, input_ended: bool) -> Ended {
    let Some(status) = status else {
        if input_ended {
            return Ended::Failed(Box::new(
                Failure::unavailable("the cluster ended the command together with its input")
                    .remedy("clusters before Kubernetes 1.30 do: have the command end by itself, as with `head -c`, or copy the input there"),
            ));
        }
        return Ended::Failed(Box::new(Failure::unavailable(
            "the connection to the pod broke off before the command had ended",
        )));
    };
    if status.status.as_deref() == Some("Success") {
        return Ended::Code(0);
    }
    let message = status.message.unwrap_or_default();
    let causes = status.details.and_then(|d| d.causes).unwrap_or_default();
    let code = causes
        .iter()
        .find(|c| c.reason.as_deref() == Some("ExitCode"))
        .and_then(|c| c.message.as_deref()?.parse().ok());
    match code {
        Some(code) => Ended::Code(code),
        None if message.contains("executable file not found") => Ended::Failed(Box::new(
            Failure::invalid(format!("the command can't be started: {message}"))
                .field("command")
                .code(UNSUPPORTED),
        )),
        None => Ended::Failed(Box::new(
            Failure::invalid(format!("the command failed: {message}")).code(WORKLOAD),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_named_from_its_folder() {
        for (path, expected) in [
            ("/var/log", ("/var", "log")),
            ("/var/log/", ("/var", "log")),
            ("/etc", ("/", "etc")),
            ("/", ("/", ".")),
            ("a/b", ("a", "b")),
            ("a", (".", "a")),
            ("/a/.", ("/a/.", ".")),
            ("/a/..", ("/a/..", ".")),
        ] {
            assert_eq!(parts(path), expected, "{path}");
        }
    }

    #[test]
    fn a_code_is_among_the_causes() {
        let status = |text: &str| serde_json::from_str::<Status>(text).unwrap();
        let failed = r#"{"status": "Failure", "reason": "NonZeroExitCode", "message": "command terminated with exit code 3",
            "details": {"causes": [{"reason": "ExitCode", "message": "3"}]}}"#;
        assert_eq!(ended(Some(status(failed)), false), Ended::Code(3));
        assert_eq!(
            ended(Some(status(r#"{"status": "Success"}"#)), true),
            Ended::Code(0)
        );
        assert!(matches!(ended(None, false), Ended::Failed(_)));
    }
}
