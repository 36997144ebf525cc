//! `wait-ready`: asks the daemon until it answers that it can do its work.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep, timeout_at};

use crate::{Context, Error, args::WaitReady, client::Client, connection::Connection};

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(20);

/// The answer of `/readyz`, and who gave it.
#[derive(Debug, Serialize, Deserialize)]
struct Ready {
    #[serde(default)]
    server: String,
    status: String,
    version: String,
}

/// # Errors
/// `NotReady` when the time is up, and what keeps any command from asking a daemon.
pub(super) async fn run(context: &Context, args: WaitReady) -> Result<(), Error> {
    let deadline = Instant::now() + args.timeout.std();
    let mut seen = "it does not answer".to_owned();
    loop {
        let asked = timeout_at(deadline, ask(context)).await;
        match asked {
            Ok(Ok(Ok(ready))) => {
                return context.output.show(&ready, |_| {
                    format!("the daemon at {} is ready", ready.server)
                });
            }
            Ok(Ok(Err(instead))) => seen = instead,
            Ok(Err(error)) => return Err(error),
            Err(_) => {}
        }
        if Instant::now() >= deadline {
            return Err(Error::NotReady {
                after: args.timeout,
                message: seen,
            });
        }
        sleep(PAUSE).await;
    }
}

/// The answer, or why there is none yet.
///
/// # Errors
/// What another try would not change.
async fn ask(context: &Context) -> Result<Result<Ready, String>, Error> {
    // Looked up each time: where the daemon listens is known when it has begun to.
    let connection = Connection::find(&context.globals)?;
    if let Some(starting) = connection.starting {
        return Ok(Err(starting.progress()));
    }
    if !connection.is_meant {
        return Ok(Err("none runs with this data folder".to_owned()));
    }
    let (server, trust) = (connection.server, connection.trust);
    // Whether a daemon is ready is told to everybody: no token is sent.
    let client = Client::new(&server, None, &trust)?;
    let ready = client.probe::<Ready>(&["readyz"]).await;
    Ok(ready
        .map(|ready| Ready { server, ..ready })
        .map_err(|error| error.to_string()))
}
