//! `port-forward`: listens on this machine, and opens a session with a replica's port for each connection.

use std::{
    io::{self, Write},
    net::{IpAddr, SocketAddr},
};

use futures::{SinkExt, StreamExt, stream::FuturesUnordered};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tradewind_api::ClientMessage;

use super::{Said, broken, control, frame, next, opened, query};
use crate::{Context, Error, args};

const PIECE: usize = 16 << 10;

/// A port to be forwarded.
#[derive(Debug, PartialEq, Eq)]
struct Forward {
    /// On this machine. 0: a free one.
    local: u16,
    /// Its name or number at the replica.
    port: String,
}

pub(in crate::commands) async fn run(
    context: &Context,
    args: args::PortForward,
) -> Result<(), Error> {
    let forwards = args
        .ports
        .iter()
        .map(|text| parse(text))
        .collect::<Result<Vec<_>, _>>()?;
    let mut listeners = Vec::new();
    for forward in forwards {
        listeners.push((bind(args.address, &forward).await?, forward.port));
    }
    // Who asks for a port that is not there learns it now.
    for (_, port) in &listeners {
        drop(open(context, &args, port).await?);
    }
    for (listener, port) in &listeners {
        let at = listener.local_addr().map_err(broken)?;
        context
            .output
            .text(&format!("{at} -> port {port} of \"{}\"\n", args.name))?;
    }
    let serving: FuturesUnordered<_> = listeners
        .iter()
        .map(|(listener, port)| serve(context, &args, listener, port))
        .collect();
    tokio::select! {
        () = serving.for_each(|()| async {}) => Ok(()),
        _ = tokio::signal::ctrl_c() => Ok(()),
    }
}

async fn bind(address: IpAddr, forward: &Forward) -> Result<TcpListener, Error> {
    let at = SocketAddr::new(address, forward.local);
    TcpListener::bind(at).await.map_err(|e| Error::Argument {
        what: "PORT",
        value: forward.local.to_string(),
        rule: format!(
            "this machine can't listen at {at}: {e}. Give another, as {}:{}, or 0:{} for a free one",
            forward.local.wrapping_add(1).max(1024),
            forward.port,
            forward.port
        ),
    })
}

fn parse(text: &str) -> Result<Forward, Error> {
    let refused = |rule: &str| Error::Argument {
        what: "PORT",
        value: text.to_owned(),
        rule: rule.to_owned(),
    };
    let (local, port) = match text.split_once(':') {
        Some((local, port)) => {
            let local = local
                .parse()
                .map_err(|_| refused("give [LOCAL:]PORT, where LOCAL is a number up to 65535"))?;
            (local, port)
        }
        None => (text.parse().unwrap_or(0), text),
    };
    if port.is_empty() {
        return Err(refused("give [LOCAL:]PORT, as http, 8080:http or 8080"));
    }
    Ok(Forward {
        local,
        port: port.to_owned(),
    })
}

async fn open(
    context: &Context,
    args: &args::PortForward,
    port: &str,
) -> Result<crate::client::Socket, Error> {
    let path = ["v1", "deployments", args.name.as_str(), "port-forward"];
    let mut query = query(context, &args.replica);
    query.push(("port", port.to_owned()));
    let mut socket = context.client.session(&path, &query).await?;
    opened(&mut socket).await?;
    Ok(socket)
}

/// Takes connections as long as there are any. One that fails is told, and no other ends with it.
async fn serve(context: &Context, args: &args::PortForward, listener: &TcpListener, port: &str) {
    let mut connections = FuturesUnordered::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => connections.push(async move {
                    if let Err(error) = carry(context, args, port, stream).await {
                        // Nobody may read it.
                        let _ = writeln!(io::stderr(), "port {port}: {error}");
                    }
                }),
                Err(error) => {
                    let _ = writeln!(io::stderr(), "port {port}: {error}");
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
            },
            Some(()) = connections.next() => {}
        }
    }
}

async fn carry(
    context: &Context,
    args: &args::PortForward,
    port: &str,
    stream: TcpStream,
) -> Result<(), Error> {
    let socket = open(context, args, port).await?;
    let (mut sink, mut said) = socket.split();
    let (mut reader, mut writer) = stream.into_split();
    let there = async {
        let mut buffer = vec![0; PIECE];
        loop {
            match reader.read(&mut buffer).await {
                Ok(0) => {
                    control(&mut sink, &ClientMessage::End).await?;
                    return std::future::pending().await;
                }
                Ok(read) => {
                    let bytes = buffer.get(..read).unwrap_or_default();
                    sink.send(frame(bytes)).await.map_err(broken)?;
                }
                // This side has gone.
                Err(_) => return Ok(()),
            }
        }
    };
    let back = async {
        loop {
            match next(&mut said).await? {
                Said::Stdout(bytes) => {
                    if writer.write_all(&bytes).await.is_err() {
                        return Ok(());
                    }
                }
                Said::Stderr(_) => {}
                Said::Exit(_) => {
                    let _ = writer.shutdown().await;
                    return Ok(());
                }
            }
        }
    };
    tokio::select! {
        ended = there => ended,
        ended = back => ended,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_a_name_or_a_number_with_or_without_a_local_one() {
        let parsed = |text: &str| parse(text).map(|f| (f.local, f.port)).ok();
        assert_eq!(parsed("http"), Some((0, "http".to_owned())));
        assert_eq!(parsed("8080"), Some((8080, "8080".to_owned())));
        assert_eq!(parsed("9000:http"), Some((9000, "http".to_owned())));
        assert_eq!(parsed("0:8080"), Some((0, "8080".to_owned())));
        for bad in ["", "9000:", ":http", "99999:http", "a:b"] {
            assert_eq!(parsed(bad), None, "{bad}");
        }
    }
}
