//! Sessions with replicas: what `exec`, `port-forward` and `cp` have in common.

pub(super) mod copy;
pub(super) mod exec;
pub(super) mod forward;
mod terminal;

use futures::{SinkExt, StreamExt};
use tokio_tungstenite::tungstenite::{self, Message};
use tradewind_api::{ClientMessage, STDERR, STDIN, STDOUT, ServerMessage};

use crate::{
    Context, Error,
    args::ReplicaArgs,
    client::{self, Socket},
};

/// Something that comes from a replica.
enum Said {
    Stdout(Vec<u8>),
    Stderr(Vec<u8>),
    Exit(i32),
}

/// The query that names a replica.
fn query(context: &Context, replica: &ReplicaArgs) -> Vec<(&'static str, String)> {
    let mut query = context.namespace();
    query.extend(replica.task.clone().map(|task| ("task", task)));
    query.extend(replica.replica.map(|index| ("replica", index.to_string())));
    query.extend(replica.allocation.clone().map(|id| ("allocation", id)));
    query
}

fn broken(error: impl std::fmt::Display) -> Error {
    Error::Stream {
        message: error.to_string(),
    }
}

async fn control<S>(sink: &mut S, message: &ClientMessage) -> Result<(), Error>
where
    S: futures::Sink<Message, Error = tungstenite::Error> + Unpin,
{
    let text = serde_json::to_string(message).map_err(broken)?;
    sink.send(Message::Text(text.into())).await.map_err(broken)
}

/// Bytes of a replica's input, as a frame.
fn frame(bytes: &[u8]) -> Message {
    let mut frame = Vec::with_capacity(bytes.len() + 1);
    frame.push(STDIN);
    frame.extend_from_slice(bytes);
    Message::Binary(frame.into())
}

/// Waits until the daemon says that the session is open.
async fn opened(socket: &mut Socket) -> Result<(), Error> {
    loop {
        match socket.next().await {
            Some(Ok(Message::Text(text))) => match read(&text)? {
                ServerMessage::Opened(_) => return Ok(()),
                ServerMessage::Problem(problem) => {
                    return Err(client::Error::Refused(problem).into());
                }
                ServerMessage::Exit(_) => return Err(broken("it ended before it began")),
            },
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            Some(Ok(_)) => return Err(broken("the daemon says something else than expected")),
            Some(Err(error)) => return Err(broken(error)),
            None => return Err(broken("the daemon has closed it")),
        }
    }
}

/// The next thing that comes from the replica.
async fn next<S>(stream: &mut S) -> Result<Said, Error>
where
    S: futures::Stream<Item = Result<Message, tungstenite::Error>> + Unpin,
{
    loop {
        match stream.next().await {
            Some(Ok(Message::Binary(bytes))) => match bytes.split_first() {
                Some((&STDOUT, rest)) => return Ok(Said::Stdout(rest.to_vec())),
                Some((&STDERR, rest)) => return Ok(Said::Stderr(rest.to_vec())),
                _ => {}
            },
            Some(Ok(Message::Text(text))) => match read(&text)? {
                ServerMessage::Exit(exit) => return Ok(Said::Exit(exit.code)),
                ServerMessage::Problem(problem) => {
                    return Err(client::Error::Refused(problem).into());
                }
                ServerMessage::Opened(_) => {}
            },
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
            Some(Ok(Message::Close(_))) | None => {
                return Err(broken("the daemon has closed it"));
            }
            Some(Err(error)) => return Err(broken(error)),
        }
    }
}

fn read(text: &str) -> Result<ServerMessage, Error> {
    serde_json::from_str(text).map_err(broken)
}
