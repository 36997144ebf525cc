//! The replica's end of a session: bytes between a stream of bytes and whoever has opened it. It knows neither processes nor engines.

use std::{io, net::SocketAddr, time::Duration};

use futures::{SinkExt, StreamExt, channel::mpsc};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};
use tradewind_core::{
    failure::Failure,
    session::{CHUNK, Ended, Input, Output, Served, Size},
};

/// How long a connection to a replica's port may take to come about.
const CONNECT: Duration = Duration::from_secs(5);

/// Which of a replica's streams bytes are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Its output.
    Stdout,
    /// Its errors.
    Stderr,
}

/// Why nothing more is fed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone;

/// Connects to a replica's port.
///
/// # Errors
/// `unavailable`: nothing answers there, or not in time.
pub async fn connect(at: SocketAddr, name: &str) -> Result<TcpStream, Failure> {
    let refused = |why: String| {
        Failure::unavailable(format!("nothing answers at the port \"{name}\": {why}"))
    };
    tokio::time::timeout(CONNECT, TcpStream::connect(at))
        .await
        .map_err(|_| refused(format!("no answer within {} s", CONNECT.as_secs())))?
        .map_err(|e| refused(e.to_string().to_lowercase()))
}

/// Passes on what comes, until it ends or nobody takes it.
///
/// # Errors
/// That of the stream.
pub async fn tell<R: AsyncRead + Unpin>(
    mut from: R,
    stream: Stream,
    mut to: mpsc::Sender<Output>,
) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    loop {
        let read = from.read(&mut buffer).await?;
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else {
            return Ok(());
        };
        let message = match stream {
            Stream::Stdout => Output::Stdout(bytes.to_vec()),
            Stream::Stderr => Output::Stderr(bytes.to_vec()),
        };
        if to.send(message).await.is_err() {
            return Ok(());
        }
    }
}

/// Writes what the client sends, until the client has gone. What the stream does not take any more is dropped.
pub async fn feed<W: AsyncWrite + Unpin>(
    input: &mut (impl futures::Stream<Item = Input> + Unpin),
    to: Option<W>,
    mut resize: impl FnMut(Size),
) -> Gone {
    let mut to = to;
    while let Some(message) = input.next().await {
        match message {
            Input::Data(bytes) => {
                let Some(writer) = &mut to else { continue };
                let written = async {
                    writer.write_all(&bytes).await?;
                    writer.flush().await
                };
                if written.await.is_err() {
                    to = None;
                }
            }
            Input::End => {
                if let Some(mut writer) = to.take() {
                    let _ = writer.shutdown().await;
                }
            }
            Input::Resize(size) => resize(size),
        }
    }
    Gone
}

/// Connects a session with a stream of bytes in both directions. It is over once the stream has ended, or the client has gone.
pub async fn join<S: AsyncRead + AsyncWrite>(stream: S, served: Served) {
    let (from, to) = tokio::io::split(stream);
    let Served { mut input, output } = served;
    let mut last = output.clone();
    let ended = tokio::select! {
        ended = tell(from, Stream::Stdout, output) => ended,
        Gone = feed(&mut input, Some(to), |_| ()) => return,
    };
    let ended = match ended {
        Ok(()) => Ended::Code(0),
        Err(error) => Ended::Failed(Box::new(Failure::unavailable(format!(
            "the connection broke off: {error}"
        )))),
    };
    let _ = last.send(Output::End(ended)).await;
}

#[cfg(test)]
mod tests {
    use tradewind_core::session::Session;

    use super::*;

    #[tokio::test]
    async fn both_directions_end_on_their_own() {
        let (near, mut far) = tokio::io::duplex(64);
        let (mut session, served) = Session::pair();
        let joined = tokio::spawn(join(near, served));
        session
            .input
            .send(Input::Data(b"ask".to_vec()))
            .await
            .unwrap();
        session.input.send(Input::End).await.unwrap();
        let mut asked = Vec::new();
        far.read_to_end(&mut asked).await.unwrap();
        assert_eq!(asked, b"ask");
        far.write_all(b"answer").await.unwrap();
        drop(far);
        assert_eq!(
            session.output.next().await,
            Some(Output::Stdout(b"answer".to_vec()))
        );
        assert_eq!(
            session.output.next().await,
            Some(Output::End(Ended::Code(0)))
        );
        joined.await.unwrap();
    }

    #[tokio::test]
    async fn a_client_that_goes_ends_the_connection() {
        let (near, mut far) = tokio::io::duplex(64);
        let (session, served) = Session::pair();
        let joined = tokio::spawn(join(near, served));
        drop(session);
        assert_eq!(far.read(&mut [0; 8]).await.unwrap(), 0);
        joined.await.unwrap();
    }
}
