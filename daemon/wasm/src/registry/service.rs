//! The task that writes: it takes commands one after the other, follows the folder, and judges canaries when they are due.

use std::time::Duration;

use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, MissedTickBehavior, interval_at, sleep_until, timeout},
};
use tokio_util::task::TaskTracker;
use tradewind_api::{PluginView, ReloadReport, ShadowView};
use tradewind_core::names::{Actor, Digest, InstanceName};

use super::{
    commit::Committer,
    install,
    reconciler::{Cause, ReconcileError, Reconciler},
    switch::{RollbackError, Switch},
};
use crate::{
    load::watch::Watch,
    trial::{
        canary::{self, CanaryError},
        shadow::{self, ShadowError},
    },
};

/// How often is asked whether the folder's name means another folder.
const PULSE: Duration = Duration::from_millis(250);

pub(super) enum Command {
    Reconcile(oneshot::Sender<Result<ReloadReport, ReconcileError>>),
    RollBack(
        InstanceName,
        Option<Digest>,
        oneshot::Sender<Result<PluginView, RollbackError>>,
    ),
    TakeShadow(
        Box<shadow::Proven>,
        oneshot::Sender<Result<ShadowView, ShadowError>>,
    ),
    DropShadow(
        InstanceName,
        oneshot::Sender<Result<ShadowView, ShadowError>>,
    ),
    InstallShadow(
        InstanceName,
        oneshot::Sender<Result<PluginView, ShadowError>>,
    ),
    StartCanary(
        Box<canary::Proven>,
        oneshot::Sender<Result<PluginView, CanaryError>>,
    ),
    PromoteCanary(
        InstanceName,
        Actor,
        oneshot::Sender<Result<PluginView, CanaryError>>,
    ),
    AbortCanary(
        InstanceName,
        Actor,
        oneshot::Sender<Result<PluginView, CanaryError>>,
    ),
    Shutdown(oneshot::Sender<()>),
}

/// How many times sooner the folder is looked at when nobody is writing to a file of it.
const COMPLETE: u32 = 4;

/// When it looks and how long it waits.
#[derive(Debug, Clone)]
pub(super) struct Options {
    /// How long the folder must be quiet before it is looked at: a quarter of it when the last event was of a file that is complete.
    pub(super) quiet_period: Duration,
    /// How often the folder is looked at without any event.
    pub(super) rescan_interval: Duration,
    /// How long a shutdown waits for effects that plugins began.
    pub(super) drain_timeout: Duration,
}

pub(super) struct Service {
    pub(super) committer: Committer,
    pub(super) reconciler: Reconciler,
    pub(super) switch: Switch,
    pub(super) commands: mpsc::Receiver<Command>,
    /// Canaries that may have to end.
    pub(super) told: mpsc::UnboundedReceiver<InstanceName>,
    pub(super) watch: Watch,
    /// The tasks that effects of plugins run in.
    pub(super) effects: TaskTracker,
    pub(super) options: Options,
}

/// What follows from a command.
enum After {
    /// The folder has been looked at: it changes still.
    LookSoon,
    /// The folder has been looked at: nothing is due.
    Settled,
    GoOn,
    Stop,
}

impl Service {
    pub(super) async fn run(mut self, unsettled: bool) {
        let mut timer = interval_at(
            Instant::now() + self.options.rescan_interval,
            self.options.rescan_interval,
        );
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut pulse = interval_at(Instant::now() + PULSE, PULSE);
        pulse.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut due = unsettled.then(|| self.again());
        // Steady writing must not put a look off for ever.
        let mut latest: Option<Instant> = None;
        loop {
            let look_at = due;
            tokio::select! {
                command = self.commands.recv() => {
                    let after = match command {
                        Some(command) => self.obey(command).await,
                        None => {
                            self.drain_effects().await;
                            After::Stop
                        }
                    };
                    match after {
                        After::LookSoon => due = Some(self.soon()),
                        After::Settled => due = None,
                        After::GoOn => {}
                        After::Stop => return,
                    }
                }
                Some(instance) = self.told.recv() => {
                    self.switch.judge_canary(&mut self.committer, &instance).await;
                }
                Some(()) = self.watch.hints.recv() => {
                    let last = *latest.get_or_insert_with(|| Instant::now() + 10 * self.options.quiet_period);
                    due = Some(self.soon().min(last));
                }
                () = sleep_until(look_at.unwrap_or_else(Instant::now)), if look_at.is_some() => {
                    latest = None;
                    due = self.look().await.then(|| self.again());
                }
                _ = timer.tick() => {
                    due = self.look().await.then(|| self.again()).or(due);
                }
                _ = pulse.tick() => if self.watch.follow().await {
                    due = Some(self.soon());
                }
            }
        }
    }

    /// The asker may have gone.
    async fn obey(&mut self, command: Command) -> After {
        let committer = &mut self.committer;
        match command {
            Command::Reconcile(answer) => return self.demand(answer).await,
            Command::RollBack(instance, version, answer) => {
                let outcome = self.switch.roll_back(committer, &instance, version).await;
                let _gone = answer.send(outcome);
            }
            Command::TakeShadow(proven, answer) => {
                let _gone = answer.send(committer.take_shadow(*proven).await);
            }
            Command::DropShadow(name, answer) => {
                let _gone = answer.send(committer.drop_shadow(&name).await);
            }
            Command::InstallShadow(name, answer) => {
                let outcome = install::shadow(committer, &self.reconciler, &name).await;
                let _gone = answer.send(outcome);
            }
            Command::StartCanary(proven, answer) => {
                let _gone = answer.send(committer.start_canary(*proven).await);
            }
            Command::PromoteCanary(instance, by, answer) => {
                let outcome = self.switch.promote_canary(committer, &instance, by).await;
                let _gone = answer.send(outcome);
            }
            Command::AbortCanary(instance, by, answer) => {
                let _gone = answer.send(committer.abort_canary(&instance, by).await);
            }
            Command::Shutdown(answer) => {
                self.drain_effects().await;
                let _gone = answer.send(());
                return After::Stop;
            }
        }
        After::GoOn
    }

    /// When what was changing while it was read is looked at once more.
    fn again(&self) -> Instant {
        Instant::now() + self.options.quiet_period
    }

    /// When the folder is looked at, unless something changes before. What is complete waits only for what belongs to it.
    fn soon(&self) -> Instant {
        let quiet = self.options.quiet_period;
        Instant::now()
            + if self.watch.is_writing() {
                quiet
            } else {
                quiet / COMPLETE
            }
    }

    /// Whether to look again soon.
    async fn look(&mut self) -> bool {
        match self
            .reconciler
            .reconcile(&mut self.committer, Cause::Hint)
            .await
        {
            Ok(looked) => looked.unsettled,
            Err(error) => {
                tracing::warn!(folder = %self.reconciler.folder().display(), %error, "the plugin folder can't be read; what served goes on serving");
                false
            }
        }
    }

    async fn demand(
        &mut self,
        answer: oneshot::Sender<Result<ReloadReport, ReconcileError>>,
    ) -> After {
        let outcome = self
            .reconciler
            .reconcile(&mut self.committer, Cause::Demand)
            .await;
        let unsettled = outcome.as_ref().is_ok_and(|looked| looked.unsettled);
        let path = self.reconciler.folder().clone();
        let _gone = answer.send(
            outcome
                .map(|looked| looked.report)
                .map_err(|source| ReconcileError::Folder { path, source }),
        );
        if unsettled {
            After::LookSoon
        } else {
            After::Settled
        }
    }

    /// What plugins began goes on to its end, or until the time is over.
    async fn drain_effects(&self) {
        self.effects.close();
        if timeout(self.options.drain_timeout, self.effects.wait())
            .await
            .is_err()
        {
            tracing::warn!(
                running = self.effects.len(),
                "effects that plugins began are still running at shutdown"
            );
        }
    }
}
