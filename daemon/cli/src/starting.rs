//! Waits for a daemon that is starting, so that a command right after `tradewind serve &` does what it says. It shows on a terminal what it
//! waits for.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::{Instant, sleep};
use tradewind_api::problem::Kind;
use tradewind_core::units::Millis;

use crate::{
    Error,
    args::Globals,
    client::{self, Client},
    connection::Connection,
    tame::tame,
};

/// How long a daemon that is starting is waited for.
const PATIENCE: Millis = Millis::from_secs(60);
/// How long is waited for a sign of a daemon: one that has just been started has left none yet.
const GRACE: Duration = Duration::from_millis(1500);
/// The same, where the data folder says that one may come.
const LONG_GRACE: Duration = Duration::from_secs(10);
/// Between two looks at the data folder.
const LOOK: Duration = Duration::from_millis(30);
/// Between two requests.
const PAUSE: Duration = Duration::from_millis(200);
const REDRAW: Duration = Duration::from_millis(120);

/// Resolves when the daemon that the command is for has started, or when there is none to wait for.
///
/// # Errors
/// The daemon is still starting after the longest time, and what keeps any command from finding one.
pub(crate) async fn passed(globals: &Globals) -> Result<(), Error> {
    let began = Instant::now();
    let mut wait = Wait::default();
    loop {
        let connection = Connection::find(globals)?;
        let doing = match &connection.starting {
            Some(starting) => starting.progress(),
            // One that was named says itself that it is starting.
            None if connection.is_meant => return Ok(()),
            None => match sign(&connection).await? {
                Sign::Answers => return Ok(()),
                Sign::Starts(doing) => doing,
                Sign::None => {
                    let grace = if connection.may_start {
                        LONG_GRACE
                    } else {
                        GRACE
                    };
                    if began.elapsed() >= grace {
                        return Ok(());
                    }
                    "no daemon has said anything yet".to_owned()
                }
            },
        };
        if !wait.looks_again(&doing, LOOK).await {
            return Err(Error::NotReady {
                after: PATIENCE,
                message: doing,
            });
        }
    }
}

/// What is heard at the address of the settings, while the data folder names no daemon.
enum Sign {
    None,
    /// Somebody who is not starting.
    Answers,
    /// A daemon: which one, the data folder will say in a moment.
    Starts(String),
}

async fn sign(connection: &Connection) -> Result<Sign, Error> {
    let client = Client::new(&connection.server, None, &connection.trust)?;
    Ok(match client.probe::<serde_json::Value>(&["readyz"]).await {
        Err(client::Error::Refused(problem)) if problem.kind == Kind::Starting => {
            Sign::Starts(problem.detail)
        }
        Ok(_) | Err(client::Error::Refused(_)) => Sign::Answers,
        Err(_) => Sign::None,
    })
}

/// Waiting for one daemon.
#[derive(Default)]
pub(crate) struct Wait {
    begun: Option<(Instant, ProgressBar)>,
}

impl Wait {
    /// Lets some time pass before the next request. False: the longest time is over.
    pub(crate) async fn goes_on(&mut self, doing: &str) -> bool {
        self.looks_again(doing, PAUSE).await
    }

    async fn looks_again(&mut self, doing: &str, pause: Duration) -> bool {
        let (since, bar) = self.begun.get_or_insert_with(|| (Instant::now(), bar()));
        if since.elapsed() >= PATIENCE.std() {
            return false;
        }
        bar.set_message(tame(doing));
        sleep(pause).await;
        true
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        if let Some((_, bar)) = &self.begun {
            bar.finish_and_clear();
        }
    }
}

/// On a terminal alone.
fn bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(REDRAW);
    bar
}
