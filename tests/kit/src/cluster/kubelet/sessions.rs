//! Commands in the player's pods, and connections to their ports: on this machine, by the protocol that kubelets and API servers of 1.20 speak over
//! WebSockets (`v4.channel.k8s.io`: the first byte of a frame is its channel).

use std::{io, process::Stdio};

use anyhow::{Context, Result};
use axum::{
    body::Body,
    extract::{RawQuery, Request},
    http::{HeaderValue, StatusCode, header},
    response::Response,
};
use futures::{SinkExt, StreamExt, stream::SplitSink};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::Command,
    sync::mpsc,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, handshake::derive_accept_key, protocol::Role},
};

type Socket = WebSocketStream<TokioIo<Upgraded>>;

const PROTOCOL: &str = "v4.channel.k8s.io";
const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const STATUS: u8 = 3;
/// Of port forwarding.
const DATA: u8 = 0;
const ERRORS: u8 = 1;

pub(super) async fn exec(RawQuery(query): RawQuery, request: Request) -> Response {
    let command = all(&query.unwrap_or_default(), "command");
    upgraded(
        request,
        move |socket| async move { run(socket, command).await },
    )
}

pub(super) async fn port_forward(RawQuery(query): RawQuery, request: Request) -> Response {
    let port = all(&query.unwrap_or_default(), "port").pop();
    upgraded(request, move |socket| async move {
        forward(socket, port.context("no port")?.parse()?).await
    })
}

/// The values of a parameter, in order.
fn all(query: &str, name: &str) -> Vec<String> {
    // Only its query counts.
    let url = reqwest::Url::parse(&format!("http://node/?{query}"));
    let pairs = url.iter().flat_map(|url| url.query_pairs());
    pairs
        .filter(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
        .collect()
}

fn upgraded<F>(mut request: Request, serve: impl FnOnce(Socket) -> F + Send + 'static) -> Response
where
    F: Future<Output = Result<()>> + Send,
{
    let key = request.headers().get(header::SEC_WEBSOCKET_KEY).cloned();
    let upgrade = request.extensions_mut().remove::<OnUpgrade>();
    let mut response = Response::new(Body::empty());
    let (Some(key), Some(upgrade)) = (key, upgrade) else {
        *response.status_mut() = StatusCode::BAD_REQUEST;
        return response;
    };
    tokio::spawn(async move {
        if let Ok(stream) = upgrade.await {
            let stream = TokioIo::new(stream);
            let socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
            // A client that has gone is no failure of the node's.
            let _ = serve(socket).await;
        }
    });
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(
        header::SEC_WEBSOCKET_PROTOCOL,
        HeaderValue::from_static(PROTOCOL),
    );
    if let Ok(accept) = HeaderValue::try_from(derive_accept_key(key.as_bytes())) {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    response
}

fn frame(channel: u8, bytes: &[u8]) -> Message {
    Message::Binary([&[channel], bytes].concat().into())
}

async fn run(socket: Socket, command: Vec<String>) -> Result<()> {
    let (program, arguments) = command.split_first().context("no command")?;
    let (mut sink, mut stream) = socket.split();
    let child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(_) => {
            let message = format!("exec: \"{program}\": executable file not found in $PATH");
            let status =
                json!({"status": "Failure", "reason": "InternalError", "message": message});
            return end(sink, &status.to_string()).await;
        }
    };
    let (send, mut frames) = mpsc::channel(8);
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    tokio::spawn(tell(stdout.context("no output")?, STDOUT, send.clone()));
    tokio::spawn(tell(stderr.context("no errors")?, STDERR, send));
    let mut stdin = child.stdin.take();
    let heard = async {
        while let Some(Ok(message)) = stream.next().await {
            let Message::Binary(bytes) = message else {
                continue;
            };
            if let (Some((&STDIN, bytes)), Some(stdin)) = (bytes.split_first(), &mut stdin) {
                // It may have closed its input.
                let _ = stdin.write_all(bytes).await;
            }
        }
        // The end of the connection is all the end that input has here.
        stdin = None;
    };
    let spoken = async {
        while let Some(message) = frames.recv().await {
            sink.send(message).await?;
        }
        Ok::<_, anyhow::Error>(child.wait().await?)
    };
    let status = tokio::select! {
        status = spoken => status?,
        () = heard => return Ok(()),
    };
    let status = match status.code() {
        Some(0) => json!({"metadata": {}, "status": "Success"}),
        code => {
            let code = code.unwrap_or(137).to_string();
            json!({
                "metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
                "message": format!("command terminated with non-zero exit code: {code}"),
                "details": {"causes": [{"reason": "ExitCode", "message": code}]},
            })
        }
    };
    end(sink, &status.to_string()).await
}

async fn end(mut sink: SplitSink<Socket, Message>, status: &str) -> Result<()> {
    sink.send(frame(STATUS, status.as_bytes())).await?;
    Ok(sink.close().await?)
}

async fn tell(
    mut from: impl AsyncRead + Unpin,
    channel: u8,
    to: mpsc::Sender<Message>,
) -> io::Result<()> {
    let mut buffer = vec![0; 8 << 10];
    loop {
        let read = from.read(&mut buffer).await?;
        let bytes = buffer.get(..read).unwrap_or_default();
        if bytes.is_empty() || to.send(frame(channel, bytes)).await.is_err() {
            return Ok(());
        }
    }
}

async fn forward(socket: Socket, port: u16) -> Result<()> {
    let (mut sink, mut stream) = socket.split();
    // Each channel begins with the number of its port.
    for channel in [DATA, ERRORS] {
        sink.send(frame(channel, &port.to_le_bytes())).await?;
    }
    let connection = match TcpStream::connect(("127.0.0.1", port)).await {
        Ok(connection) => connection,
        Err(error) => {
            let why = format!("an error occurred forwarding {port}: {error}");
            sink.send(frame(ERRORS, why.as_bytes())).await?;
            return Ok(sink.close().await?);
        }
    };
    let (mut reader, mut writer) = connection.into_split();
    let there = async {
        while let Some(Ok(message)) = stream.next().await {
            if let Message::Binary(bytes) = message
                && let Some((&DATA, bytes)) = bytes.split_first()
            {
                writer.write_all(bytes).await?;
            }
        }
        Ok::<_, anyhow::Error>(())
    };
    let back = async {
        let mut buffer = vec![0; 8 << 10];
        loop {
            let read = reader.read(&mut buffer).await?;
            let bytes = buffer.get(..read).unwrap_or_default();
            if bytes.is_empty() {
                return Ok::<_, anyhow::Error>(sink.close().await?);
            }
            sink.send(frame(DATA, bytes)).await?;
        }
    };
    tokio::select! {
        ended = there => ended,
        ended = back => ended,
    }
}
