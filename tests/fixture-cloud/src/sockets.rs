//! The ports of running instances: each answers HTTP with the instance's status and id, and nothing else.

use std::{
    collections::HashMap,
    io,
    net::{SocketAddr, TcpListener},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    runtime::Handle,
    sync::watch,
    task::JoinHandle,
};

use crate::ledger::Cloud;

/// The largest head of a request that is read.
const HEAD: usize = 16 << 10;

pub(crate) struct Sockets {
    runtime: Handle,
    open: HashMap<String, Open>,
    /// Of instances that may come back: they come back to their port.
    ports: HashMap<String, u16>,
}

struct Open {
    status: watch::Sender<u16>,
    task: JoinHandle<()>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Sockets {
    pub(crate) fn new(runtime: Handle) -> Self {
        Self {
            runtime,
            open: HashMap::new(),
            ports: HashMap::new(),
        }
    }

    /// Opens and closes what has changed.
    pub(crate) fn follow(&mut self, cloud: &mut Cloud) {
        for (id, runs, status) in cloud.take_touched() {
            match (runs, self.open.get(&id)) {
                (true, Some(open)) => drop(open.status.send(status)),
                (true, None) => match self.listen(&id, status) {
                    Ok(port) => cloud.set_port(&id, Some(port)),
                    Err(error) => eprintln!("instance {id} gets no port: {error}"),
                },
                (false, _) => drop(self.open.remove(&id)),
            }
        }
    }

    fn listen(&mut self, id: &str, status: u16) -> io::Result<u16> {
        let before = self.ports.get(id).copied().unwrap_or(0);
        let bind = |port| TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], port)));
        // Somebody else may have been given the port meanwhile.
        let listener = bind(before).or_else(|_| bind(0))?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let (sender, receiver) = watch::channel(status);
        let _inside = self.runtime.enter();
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let task = self
            .runtime
            .spawn(answer(listener, id.to_owned(), receiver));
        self.open.insert(
            id.to_owned(),
            Open {
                status: sender,
                task,
            },
        );
        self.ports.insert(id.to_owned(), port);
        Ok(port)
    }
}

async fn answer(listener: tokio::net::TcpListener, id: String, status: watch::Receiver<u16>) {
    // Dropped with this task: an instance that is gone answers nobody, not even those it talked to.
    let mut talks = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                talks.spawn(talk(stream, id.clone(), status.clone()));
            },
            Some(_) = talks.join_next() => {}
        }
    }
}

async fn talk(
    mut stream: tokio::net::TcpStream,
    id: String,
    status: watch::Receiver<u16>,
) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if head.len() > HEAD || stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let status = *status.borrow();
    let reason = if status < 400 { "OK" } else { "Not Well" };
    let answer = format!(
        "HTTP/1.1 {status} {reason}\r\ncontent-type: text/plain\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{id}",
        id.len()
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}
