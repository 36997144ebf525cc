//! Compares the folder with what serves, and loads what differs. A file never becomes active before it has loaded; a bad file never displaces a
//! good version.

use std::{io, path::PathBuf, time::Duration};

use futures::{StreamExt, stream::FuturesUnordered};
use tokio::{
    task::spawn_blocking,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tradewind_api::{FolderProblem, ReloadReport};
use tradewind_core::names::InstanceName;

use super::{
    commit::Committer,
    instances::{Origin, Refusals, Step},
    jobs::{Job, Jobs, Loaded},
};
use crate::{
    base::pair::Pair,
    load::folder::{self, Component, Found, Scan},
};

/// Why the plugin folder can't be compared with what is loaded.
#[derive(Debug, thiserror::Error)]
#[allow(
    missing_docs,
    reason = "the messages say what the variants and their fields mean"
)]
pub enum ReconcileError {
    #[error(
        "the plugin folder \"{path}\" (the setting \"plugins\") can't be read; what served goes on serving"
    )]
    Folder { path: PathBuf, source: io::Error },
    #[error("the plugin host has stopped")]
    Stopped,
}

/// Why the folder is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// An event or the timer: what was refused stays refused.
    Hint,
    /// An operator asks: what was refused is tried again.
    Demand,
    /// The host starts: what takes long to load is put off, so that it keeps nothing else from serving.
    Start,
}

/// How long a start waits for the next plugin that loads.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) struct Reconciler {
    options: folder::Options,
    jobs: Jobs,
    /// Cancelled when the host is to stop: it does not wait for what loads.
    ending: CancellationToken,
}

/// The outcome of one look.
#[derive(Debug)]
pub(super) struct Looked {
    pub(super) report: ReloadReport,
    /// A file was being written: look again soon.
    pub(super) unsettled: bool,
}

/// What is to be done about one instance.
enum Examined {
    Same,
    /// A refusal was noted, nothing more.
    Told,
    Unsettled,
    Load(Box<Job>),
    /// Fetch this version from the kept ones.
    Recall(Pair),
}

impl Reconciler {
    pub(super) fn new(options: folder::Options, jobs: Jobs, ending: CancellationToken) -> Self {
        Self {
            options,
            jobs,
            ending,
        }
    }

    pub(super) fn folder(&self) -> &PathBuf {
        &self.options.folder
    }

    /// # Errors
    /// When the folder can't be listed: everything stays as it is.
    pub(super) async fn reconcile(
        &self,
        committer: &mut Committer,
        cause: Cause,
    ) -> io::Result<Looked> {
        let options = self.options.clone();
        let Scan {
            instances,
            problems,
        } = spawn_blocking(move || folder::scan(&options))
            .await
            .map_err(io::Error::other)??;
        let mut report = ReloadReport::default();
        let mut unsettled = false;
        let problem = |(file, reason)| FolderProblem { file, reason };
        committer.set_problems(problems.into_iter().map(problem).collect());

        committer.drain_missing(&instances, &mut report).await;
        let mut jobs = Vec::new();
        for (instance, found) in instances {
            match examine(committer, &instance, found, cause, &mut report).await {
                Examined::Same => report.unchanged.push(instance),
                Examined::Told => {}
                Examined::Unsettled => unsettled = true,
                Examined::Load(job) => jobs.push(*job),
                Examined::Recall(pair) => jobs.extend(self.kept(committer, &instance, pair).await),
            }
        }
        if !jobs.is_empty() {
            committer.compiling(jobs.iter().map(|job| &job.candidate.instance));
        }
        let patience = (cause == Cause::Start).then_some(PATIENCE);
        unsettled |= !self.load_all(committer, jobs, patience, &mut report).await;
        committer.settled();
        (report.version, report.problems) = committer.looked();
        Ok(Looked { report, unsettled })
    }

    /// Loads side by side; each becomes active as soon as it has proved good. False: some have been put off.
    async fn load_all(
        &self,
        committer: &mut Committer,
        mut jobs: Vec<Job>,
        patience: Option<Duration>,
        report: &mut ReloadReport,
    ) -> bool {
        while !jobs.is_empty() {
            let mut again = Vec::new();
            let mut running: FuturesUnordered<_> =
                jobs.drain(..).map(|job| self.jobs.run(job)).collect();
            loop {
                let last = Instant::now();
                let late = async {
                    match patience {
                        Some(patience) => sleep_until(last + patience).await,
                        None => std::future::pending().await,
                    }
                };
                let next = tokio::select! {
                    next = running.next() => next,
                    () = self.ending.cancelled() => return false,
                    () = late => {
                        tracing::warn!(plugins = running.len(), "plugins take long to load: the daemon starts without them, and tries again");
                        return false;
                    }
                };
                let Some(loaded) = next else {
                    break;
                };
                again.extend(commit(committer, loaded, report).await);
            }
            // After a restart with a bad file in the folder, the last good version serves.
            for instance in again {
                if let Some(pair) = committer.instances().last_good(&instance) {
                    jobs.extend(self.kept(committer, &instance, pair).await);
                }
            }
        }
        true
    }

    /// A version whose bytes are kept.
    async fn kept(
        &self,
        committer: &Committer,
        instance: &InstanceName,
        pair: Pair,
    ) -> Option<Job> {
        match self.jobs.kept(committer.instances(), instance, pair).await {
            Ok(job) => Some(job),
            Err(error) => {
                tracing::error!(%instance, %error, "the last good version of the plugin can't be read");
                None
            }
        }
    }
}

/// Makes what has loaded active, or refuses it. Whose last good version may be needed.
async fn commit(
    committer: &mut Committer,
    loaded: Loaded,
    report: &mut ReloadReport,
) -> Option<InstanceName> {
    let Loaded {
        instance,
        outcome,
        kept,
    } = loaded;
    match outcome {
        Ok(version) => {
            committer.activate(&instance, version, kept).await;
            report.loaded.push(instance);
            None
        }
        Err(error) => {
            let refused = (Some(kept.pair.0), kept.pair.1);
            committer.refuse(&instance, refused, error.to_string(), report);
            (!error.may_pass() && kept.origin == Origin::Folder).then_some(instance)
        }
    }
}

async fn examine(
    committer: &mut Committer,
    instance: &InstanceName,
    found: Found,
    cause: Cause,
    report: &mut ReloadReport,
) -> Examined {
    committer.mention(instance);
    let (bytes, digest) = match found.component {
        Component::Read { bytes, digest } => (bytes, digest),
        Component::Unsettled => return Examined::Unsettled,
        Component::Missing { why } => {
            committer.drain(instance, report).await;
            committer.refuse(instance, (None, found.settings), why, report);
            return Examined::Told;
        }
        Component::Unusable { why } => {
            committer.refuse(instance, (None, found.settings), why, report);
            return fall_back(committer, instance);
        }
        Component::Unnamed => {
            let why = found.file.err().unwrap_or_default();
            committer.refuse(instance, (None, found.settings), why, report);
            return fall_back(committer, instance);
        }
    };
    let Ok(file) = found.file else {
        return Examined::Told;
    };
    let refusals = if cause == Cause::Demand {
        Refusals::Again
    } else {
        Refusals::Stay
    };
    match committer.found(instance, (digest, found.settings), refusals) {
        Step::Nothing => Examined::Same,
        Step::Recall(pair) => Examined::Recall(pair),
        Step::Load => {
            let instances = committer.instances();
            let candidate = instances.candidate(instance, (file, found.settings), (bytes, digest));
            Examined::Load(Box::new(Job {
                candidate,
                text: found.text,
                origin: Origin::Folder,
            }))
        }
    }
}

fn fall_back(committer: &Committer, instance: &InstanceName) -> Examined {
    committer
        .instances()
        .last_good(instance)
        .map_or(Examined::Told, Examined::Recall)
}
