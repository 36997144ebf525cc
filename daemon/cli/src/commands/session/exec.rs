//! `exec`: a command beside a replica, with this side's input, output and terminal. It ends with the command's code.

use std::io::{self, IsTerminal, Read, Write};

use futures::{SinkExt, StreamExt};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};
use tradewind_api::{ClientMessage, ExecRequest};

use super::{
    Said, broken, control, frame, next, opened, query,
    terminal::{self, Raw},
};
use crate::{Context, Error, args};

/// Pieces of input that wait to be sent.
const WAITING: usize = 8;
const PIECE: usize = 16 << 10;

pub(in crate::commands) async fn run(context: &Context, args: args::Exec) -> Result<u8, Error> {
    let at_terminal = terminal::is_one();
    let terminal = (args.tty || at_terminal && !args.no_tty).then(terminal::size);
    let input = args.interactive || terminal.is_some() && io::stdin().is_terminal();
    let path = ["v1", "deployments", args.name.as_str(), "exec"];
    let mut socket = context
        .client
        .session(&path, &query(context, &args.replica))
        .await?;
    let request = ExecRequest {
        command: args.command,
        stdin: input,
        terminal,
    };
    control(&mut socket, &ClientMessage::Exec(request)).await?;
    opened(&mut socket).await?;
    let _raw = (terminal.is_some() && io::stdin().is_terminal()).then(Raw::enter);
    let mut typed = input.then(keys);
    let mut resized = signal(SignalKind::window_change()).map_err(broken)?;
    let (mut sink, mut stream) = socket.split();
    loop {
        tokio::select! {
            said = next(&mut stream) => match said? {
                Said::Stdout(bytes) => print(&mut io::stdout().lock(), &bytes)?,
                Said::Stderr(bytes) => print(&mut io::stderr().lock(), &bytes)?,
                Said::Exit(code) => return Ok(u8::try_from(code).unwrap_or(1)),
            },
            bytes = more(&mut typed) => match bytes {
                Some(bytes) => sink.send(frame(&bytes)).await.map_err(broken)?,
                None => {
                    typed = None;
                    control(&mut sink, &ClientMessage::End).await?;
                }
            },
            _ = resized.recv(), if terminal.is_some() => {
                control(&mut sink, &ClientMessage::Resize(terminal::size())).await?;
            }
        }
    }
}

/// Never, where there is no input, or no more.
async fn more(typed: &mut Option<mpsc::Receiver<Vec<u8>>>) -> Option<Vec<u8>> {
    match typed {
        Some(typed) => typed.recv().await,
        None => std::future::pending().await,
    }
}

/// Standard input, read on a thread of its own: nobody can wake a read that waits for a key, and the process ends without it.
fn keys() -> mpsc::Receiver<Vec<u8>> {
    let (send, receive) = mpsc::channel(WAITING);
    std::thread::spawn(move || {
        let mut buffer = vec![0; PIECE];
        while let Ok(read) = io::stdin().read(&mut buffer) {
            let bytes = buffer.get(..read).unwrap_or_default();
            if bytes.is_empty() || send.blocking_send(bytes.to_vec()).is_err() {
                return;
            }
        }
    });
    receive
}

fn print(to: &mut impl Write, bytes: &[u8]) -> Result<(), Error> {
    to.write_all(bytes)?;
    Ok(to.flush()?)
}
