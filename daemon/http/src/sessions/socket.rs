//! One session over one WebSocket: its beginning (RFC 6455, 4.2), and bytes in both directions until one side has gone. It must not know what the
//! session is for.

use std::time::Duration;

use aide::OperationInput;
use axum::{
    body::Body,
    extract::FromRequestParts,
    http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts},
    response::Response,
};
use futures::{SinkExt, StreamExt, future};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message, Utf8Bytes,
        handshake::derive_accept_key,
        protocol::{Role, WebSocketConfig},
    },
};
use tradewind_api::{
    ClientMessage, Exit, PROTOCOL, STDERR, STDIN, STDOUT, ServerMessage, SessionView,
};
use tradewind_controller::Target;
use tradewind_core::session::{Ended, Input, Opening, Output, Session, Size};

use crate::{App, Error, auth::Caller, guard::Share};

/// The most bytes of one message, in either direction.
const LONGEST: usize = 1 << 20;
/// Keeps intermediaries from closing what is silent.
const PING: Duration = Duration::from_secs(20);
/// How long a client may take to say what it wants.
const FIRST: Duration = Duration::from_secs(10);

/// A request that wants to go on as a WebSocket.
pub(crate) struct Handshake {
    key: HeaderValue,
    upgrade: OnUpgrade,
}

impl Handshake {
    /// # Errors
    /// `Upgrade` where the request does not ask for a WebSocket of this version, or for one of another protocol.
    fn of(parts: &mut Parts) -> Result<Self, Error> {
        let upgrade = parts.extensions.remove::<OnUpgrade>();
        let headers = &parts.headers;
        let key = headers.get(header::SEC_WEBSOCKET_KEY).cloned();
        let asks = has(headers, header::UPGRADE, "websocket")
            && has(headers, header::CONNECTION, "upgrade")
            && has(headers, header::SEC_WEBSOCKET_VERSION, "13")
            && has(headers, header::SEC_WEBSOCKET_PROTOCOL, PROTOCOL);
        match (asks, key, upgrade) {
            (true, Some(key), Some(upgrade)) => Ok(Self { key, upgrade }),
            _ => Err(Error::Upgrade),
        }
    }

    /// Opens the session, or leaves that to the client's first message, and answers that the connection goes on as a WebSocket.
    ///
    /// # Errors
    /// `Share` or `Busy` when too many streams are open; those of the session's beginning.
    pub(super) async fn accept(
        self,
        app: App,
        caller: Caller,
        target: Target,
        what: Option<Opening>,
    ) -> Result<Response, Error> {
        let slot = app.streams.take(&caller.identity, Duration::ZERO).await?;
        let session = match what {
            Some(what) => Some(app.controller.open(&caller.actor, &target, what).await?),
            None => None,
        };
        let accept = derive_accept_key(self.key.as_bytes());
        let upgrade = self.upgrade;
        tokio::spawn(async move {
            match upgrade.await {
                Ok(stream) => {
                    let config = WebSocketConfig::default()
                        .max_message_size(Some(LONGEST))
                        .max_frame_size(Some(LONGEST));
                    let stream = TokioIo::new(stream);
                    let socket =
                        WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await;
                    attend(app, caller, target, session, socket, slot).await;
                }
                Err(error) => tracing::debug!(%error, "no session came about"),
            }
        });
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(
            header::SEC_WEBSOCKET_PROTOCOL,
            HeaderValue::from_static(PROTOCOL),
        );
        if let Ok(accept) = HeaderValue::try_from(accept) {
            headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
        }
        Ok(response)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Handshake {
    type Rejection = Error;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        Self::of(parts)
    }
}

impl OperationInput for Handshake {}

/// Whether a header lists a word, whatever its case.
fn has(headers: &HeaderMap, name: header::HeaderName, word: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|part| part.trim().eq_ignore_ascii_case(word))
}

/// Until the session or the client ends, the token does, or the daemon stops.
async fn attend<S>(
    app: App,
    caller: Caller,
    target: Target,
    session: Option<Session>,
    mut socket: WebSocketStream<S>,
    slot: Share,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let talk = async {
        let session = match session {
            Some(session) => Ok(session),
            None => match tokio::time::timeout(FIRST, first(&mut socket)).await {
                Ok(Ok(what)) => {
                    let opened = app.controller.open(&caller.actor, &target, what).await;
                    opened.map_err(Error::from)
                }
                Ok(Err(error)) => Err(error),
                Err(_) => Err(Error::Body {
                    message: format!("no message came within {} s", FIRST.as_secs()),
                }),
            },
        };
        match session {
            Ok(session) => {
                let view = SessionView {
                    task: target.task().clone(),
                    allocation: target.allocation().clone(),
                    replica: target.index(),
                };
                if say(&mut socket, &ServerMessage::Opened(view)).await {
                    converse(&mut socket, session).await;
                }
            }
            Err(error) => {
                let problem = ServerMessage::Problem(Box::new(error.to_problem()));
                say(&mut socket, &problem).await;
            }
        }
    };
    tokio::select! {
        () = talk => {}
        () = app.stopping.cancelled() => {}
        () = app.identities.clone().ended(caller.identity.clone()) => {}
    }
    let _ = tokio::time::timeout(FIRST, socket.close(None)).await;
    drop(slot);
}

/// What a client wants to run.
async fn first<S>(socket: &mut WebSocketStream<S>) -> Result<Opening, Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let bad = |message: String| Error::Body { message };
    let text = loop {
        match socket.next().await {
            Some(Ok(Message::Text(text))) => break text,
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            Some(Ok(_)) => return Err(bad("the first message is no text".to_owned())),
            Some(Err(error)) => return Err(bad(error.to_string())),
            None => return Err(bad("the client has gone".to_owned())),
        }
    };
    let message = serde_json::from_str(text.as_str()).map_err(|e| bad(e.to_string()))?;
    let ClientMessage::Exec(request) = message else {
        return Err(bad("the first message has to be \"exec\"".to_owned()));
    };
    Ok(Opening::Exec {
        command: request.command,
        input: request.stdin,
        terminal: request.terminal.map(|size| Size {
            columns: size.columns,
            rows: size.rows,
        }),
    })
}

/// Bytes in both directions. What waits on one side holds the other side up, and nothing is kept in between.
async fn converse<S>(socket: &mut WebSocketStream<S>, session: Session)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut sink, mut stream) = socket.split();
    let Session {
        mut input,
        mut output,
    } = session;
    let hear = async {
        while let Some(Ok(message)) = stream.next().await {
            let Some(message) = heard(message) else {
                continue;
            };
            // The replica may have closed its input, and still have something to say.
            let _ = input.send(message).await;
        }
    };
    let tell = async {
        let mut ping = tokio::time::interval_at(tokio::time::Instant::now() + PING, PING);
        loop {
            let message = tokio::select! {
                said = output.next() => match said {
                    Some(said) => message(said),
                    None => return,
                },
                _ = ping.tick() => Message::Ping(Vec::new().into()),
            };
            let last = message.is_text();
            if sink.send(message).await.is_err() || last {
                return;
            }
        }
    };
    future::select(Box::pin(hear), Box::pin(tell)).await;
}

/// What a client's message means for the replica. None: nothing.
fn heard(message: Message) -> Option<Input> {
    match message {
        Message::Binary(bytes) => match bytes.split_first() {
            Some((&STDIN, rest)) => Some(Input::Data(rest.to_vec())),
            _ => None,
        },
        Message::Text(text) => match serde_json::from_str(text.as_str()) {
            Ok(ClientMessage::Resize(size)) => Some(Input::Resize(Size {
                columns: size.columns,
                rows: size.rows,
            })),
            Ok(ClientMessage::End) => Some(Input::End),
            Ok(ClientMessage::Exec(_)) | Err(_) => None,
        },
        _ => None,
    }
}

fn message(said: Output) -> Message {
    let framed = |stream: u8, bytes: Vec<u8>| {
        let mut frame = Vec::with_capacity(bytes.len() + 1);
        frame.push(stream);
        frame.extend(bytes);
        Message::Binary(frame.into())
    };
    match said {
        Output::Stdout(bytes) => framed(STDOUT, bytes),
        Output::Stderr(bytes) => framed(STDERR, bytes),
        Output::End(Ended::Code(code)) => text(&ServerMessage::Exit(Exit { code })),
        Output::End(Ended::Failed(failure)) => {
            let error = Error::from(tradewind_controller::Error::Session(*failure));
            text(&ServerMessage::Problem(Box::new(error.to_problem())))
        }
    }
}

fn text(message: &ServerMessage) -> Message {
    let text = serde_json::to_string(message).unwrap_or_default();
    Message::Text(Utf8Bytes::from(text))
}

async fn say<S>(socket: &mut WebSocketStream<S>, message: &ServerMessage) -> bool
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    socket.send(text(message)).await.is_ok()
}
