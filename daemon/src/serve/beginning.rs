//! How far a daemon is that starts: told in its data folder, by its API and in its log until it is ready.

use std::{path::PathBuf, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{sync::watch, task::JoinHandle, time::timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tradewind_cloud::SystemClock;
use tradewind_config::{
    Config,
    runtime_file::{Starting, StartingFile, starting_text},
};
use tradewind_core::{capability::Clock, vital};
use tradewind_http::{Listener, readiness::Reason, tls::Certificate};
use tradewind_wasm::{Compilation, Progress};

use super::Error;

/// Until it is dropped, the daemon is starting.
pub struct Beginning {
    data: PathBuf,
    starting: Starting,
    progress: Progress,
    text: Arc<watch::Sender<Reason>>,
    file: Arc<Mutex<Option<StartingFile>>>,
    /// Ends what tells of it.
    told: CancellationToken,
    _told: DropGuard,
}

/// Requests that come while the daemon starts are answered.
pub struct Answered {
    ended: CancellationToken,
    task: JoinHandle<Listener>,
}

/// How long the number of components must stay the same before the log names it.
const SETTLED: Duration = Duration::from_millis(200);

impl Beginning {
    /// Of a daemon that will answer at this address.
    pub fn new(address: &str, data: PathBuf) -> Self {
        let told = CancellationToken::new();
        Self {
            data,
            starting: Starting {
                address: address.to_owned(),
                pid: std::process::id(),
                since: SystemClock.now(),
                components: 0,
                compiled: 0,
            },
            progress: Progress::default(),
            text: Arc::new(watch::Sender::new(starting_text(0, 0).into())),
            file: Arc::default(),
            _told: told.clone().drop_guard(),
            told,
        }
    }

    /// Where its compiler counts.
    pub fn progress(&self) -> Progress {
        self.progress.clone()
    }

    /// Answers requests until the daemon itself does.
    pub fn answer(
        &self,
        listener: Listener,
        config: &Config,
        certificate: Option<Certificate>,
    ) -> Answered {
        let (config, text) = (config.clone(), self.text.subscribe());
        let ended = CancellationToken::new();
        let until = ended.clone();
        let task = tokio::spawn(async move {
            tradewind_http::starting::answer(listener, &config, certificate, text, until).await
        });
        Answered { ended, task }
    }

    /// Says it in the data folder, which belongs to this daemon by now, and goes on to tell how far the compiler is.
    pub fn tell(&self) {
        match StartingFile::write(&self.data, &self.starting) {
            Ok(file) => *self.file.lock() = Some(file),
            // Clients find the daemon when it is ready.
            Err(error) => {
                tracing::warn!(%error, "clients on this machine can't be told that the daemon is starting");
            }
        }
        let follow = follow(
            self.progress.follow(),
            self.starting.clone(),
            self.text.clone(),
            self.file.clone(),
        );
        let told = self.told.clone();
        tokio::spawn(vital::part("news of the start", async move {
            tokio::select! {
                () = follow => {}
                () = told.cancelled() => {}
            }
        }));
    }
}

impl Drop for Beginning {
    fn drop(&mut self) {
        // The task that tells of it may hold the other end for a moment.
        drop(self.file.lock().take());
    }
}

impl Answered {
    /// The listener, for the daemon itself.
    ///
    /// # Errors
    /// What answered has panicked.
    pub async fn end(self) -> Result<Listener, Error> {
        self.ended.cancel();
        Ok(self.task.await?)
    }
}

/// Tells each change of the counts.
async fn follow(
    mut counts: watch::Receiver<Compilation>,
    mut starting: Starting,
    text: Arc<watch::Sender<Reason>>,
    file: Arc<Mutex<Option<StartingFile>>>,
) {
    let mut logged = 0;
    loop {
        let Compilation { components, done } = *counts.borrow_and_update();
        (starting.components, starting.compiled) = (components, done);
        text.send_replace(starting.progress().into());
        if let Some(Err(error)) = file.lock().as_ref().map(|file| file.rewrite(&starting)) {
            tracing::debug!(%error, "the file that says that the daemon starts can't be written");
        }
        let changed = match timeout(SETTLED, counts.changed()).await {
            Ok(changed) => changed,
            Err(_) => {
                if components > logged && done < components {
                    logged = components;
                    let noun = if components == 1 {
                        "component"
                    } else {
                        "components"
                    };
                    tracing::info!(
                        components,
                        "compiling {components} {noun}: no compiled code is kept of them yet"
                    );
                }
                counts.changed().await
            }
        };
        if changed.is_err() {
            return;
        }
    }
}
