//! Why an event is told, as one word each. Alerts and programs are written on these words: one that is here stays.

use std::fmt;

use crate::base::list::Choice;

macro_rules! reasons {
    ($($(#[doc = $meaning:literal])+ $name:ident,)+) => {
        /// What kind of thing has happened.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Reason {
            $($(#[doc = $meaning])+ $name,)+
        }

        impl Reason {
            /// Every one, by subject.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The word, as events have it.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)+
                }
            }

            /// What the word means, for people.
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$name => concat!($($meaning),+),)+
                }
            }
        }
    };
}

reasons! {
    /// A deployment has been asked for.
    DeploymentCreated,
    /// A deployment is asked for in another way.
    DeploymentUpdated,
    /// A deployment is to go; what runs of it is being removed.
    DeploymentDeleting,
    /// Nothing of a deployment is left.
    DeploymentDeleted,
    /// An earlier generation is asked for again: by somebody, or since an update failed or was broken off.
    RolledBack,
    /// A job is to run once more.
    JobRerun,
    /// The replicas of services are to be replaced by new ones of the same manifest.
    DeploymentRestarted,
    /// Somebody runs a command beside a replica, connects to its port, or reads or writes its files.
    SessionOpened,
    /// A run of a job with a schedule begins.
    JobRunStarted,
    /// A run of a job with a schedule has ended with success.
    JobRunSucceeded,
    /// A run of a job with a schedule has failed.
    JobRunFailed,
    /// The time of a run has come while the one before it goes on: it is left out.
    JobRunSkipped,
    /// A run could have begun only after its deadline: it is left out.
    JobRunMissed,

    /// A task waits for others of its deployment before it begins.
    TaskWaiting,
    /// What a task waited for has come: it begins.
    TaskReleased,

    /// A roll-out goes on.
    RolloutProgressing,
    /// A roll-out waits for somebody to promote it.
    RolloutWaiting,
    /// A step of a roll-out has been promoted.
    RolloutPromoted,
    /// A roll-out has been stopped for now; what runs goes on.
    RolloutPaused,
    /// A roll-out that was paused goes on.
    RolloutResumed,
    /// Requests go to the new replicas; the old ones are kept for a while.
    RolloutSwitched,
    /// Everything that a generation asks for runs.
    RolloutDone,
    /// A roll-out has ended without success.
    RolloutFailed,

    /// The autoscaler has changed the number of a service's replicas.
    ServiceScaled,
    /// The autoscaler has changed the number of a job's replicas.
    JobScaled,
    /// Replicas move to where they are cheaper or better.
    ReplacementBegun,

    /// Nothing could be decided about a deployment; it is tried again.
    Undecided,
    /// Some replicas of a task have no place.
    Unplaced,
    /// Replicas have got a place.
    AllocationPlaced,
    /// A provider has taken the replicas of an allocation.
    AllocationApplied,
    /// The replicas of an allocation are starting.
    AllocationStarting,
    /// The replicas of an allocation run.
    AllocationRunning,
    /// Every replica of an allocation has ended with success.
    AllocationSucceeded,
    /// The replicas of an allocation have failed for good.
    AllocationFailed,
    /// Replicas have failed; they are tried again where they are.
    AllocationFailing,
    /// Replicas have failed several times in a row.
    CrashLoop,
    /// Replicas are started again where they were.
    AllocationRetried,
    /// Replicas are started again somewhere else.
    AllocationReplaced,
    /// An allocation gives its place to another.
    AllocationSuperseded,
    /// An allocation has another number of replicas.
    AllocationResized,
    /// An allocation runs something else than before.
    AllocationUpdated,
    /// The replicas of an allocation are stopping.
    AllocationStopping,
    /// An allocation is to go.
    AllocationRemoving,
    /// An allocation has gone, as was asked.
    AllocationRemoved,
    /// What ran of an allocation has gone, and nobody asked for it.
    AllocationGone,
    /// A provider knows nothing of an allocation that it had taken.
    AllocationVanished,
    /// An allocation is counted as lost with its region.
    AllocationLost,
    /// An allocation can't be had at its place, for another cause than lack of room.
    AllocationGivenUp,
    /// A place has no room, or its quota is used up.
    OutOfCapacity,
    /// A call that starts or changes something failed.
    ApplyFailed,
    /// A call that removes something failed.
    DestroyFailed,
    /// A task has run longer than its deadline.
    DeadlineExceeded,
    /// An image is run by its tag: its digest could not be found out.
    ImageNotPinned,
    /// A replica listens on another port than the one it was given first.
    PortMoved,
    /// A grant no longer admits the namespace; what runs there stays.
    PlaceClosed,

    /// One of several places asked for at once was ready first.
    HedgeWon,
    /// A place is not asked as well: the spend cap leaves no room for it.
    HedgeLimited,
    /// None of several places asked for at once was ready in time.
    HedgeGivenUp,

    /// A task waits for a budget or a quota.
    BudgetQueued,
    /// A task runs with fewer replicas, since the budget is used up.
    SteppedDown,
    /// Replicas are stopped, since the budget is used up.
    Evicted,
    /// Replicas are stopped in favour of a task of a higher priority.
    Preempted,
    /// A task may have all its replicas again.
    Released,
    /// A namespace has other limits.
    NamespaceLimitsSet,
    /// A namespace has no limits any more.
    NamespaceLimitsRemoved,

    /// A plan has been stored.
    PlanCreated,
    /// Somebody has approved a plan.
    PlanApproved,
    /// Somebody has rejected a plan.
    PlanRejected,
    /// A plan can't be applied any more: what it was made for has changed.
    PlanRefused,
    /// A plan has been applied.
    PlanApplied,
    /// A plan has been deleted.
    PlanDeleted,

    /// A region does not answer, and what runs there is counted as lost.
    RegionLost,
    /// A region answers again.
    RegionBack,
    /// Calls to a region are held back, since too many of them failed.
    CircuitOpened,
    /// Calls to a region are made again.
    CircuitClosed,
    /// Nothing new is placed with a provider until its check passes.
    ProviderDegraded,
    /// A provider is used again.
    ProviderRecovered,
    /// Somebody has closed a place to new replicas; what runs there goes on.
    PlaceCordoned,
    /// A place takes new replicas again.
    PlaceUncordoned,
    /// What runs at a place is to move elsewhere.
    PlaceDraining,
    /// The deadline of a drain has passed and something is left at the place.
    PlaceDrainOverdue,
    /// Nothing is left at a place that was drained.
    PlaceDrained,
    /// A provider has something that no deployment asks for.
    OrphanFound,
    /// Something that no deployment asked for has been removed.
    OrphanDestroyed,

    /// A policy gave no answer that can be used; the fall-back decided.
    PolicyFellBack,
    /// A policy is asked beside the one that decides.
    ShadowStarted,
    /// A shadow policy is asked no more.
    ShadowStopped,
    /// A shadow policy decides from now on.
    ShadowPromoted,
    /// A shadow policy fails again and again and is asked no more.
    ShadowSuspended,
    /// A new version of a plugin gets a share of the calls.
    CanaryStarted,
    /// A new version of a plugin gets all calls.
    CanaryPromoted,
    /// A new version of a plugin gets no calls any more.
    CanaryReturned,
    /// A version of a plugin serves.
    PluginLoaded,
    /// Nothing serves for a plugin instance any more.
    PluginRemoved,
    /// A version of a plugin can't be used; one that served before goes on.
    PluginRejected,
    /// Somebody has asked for a plugin's version before.
    PluginRolledBack,
    /// Somebody has asked that the plugin folder be read.
    PluginsReloaded,

    /// A token has been made.
    TokenCreated,
    /// A token is no longer valid.
    TokenRevoked,
    /// A known token has asked for what it does not allow.
    RequestRefused,
    /// Old entries of the audit log have been cut off.
    AuditTrimmed,

    /// A backup has been made.
    BackupMade,
    /// The state comes from a backup.
    StateRestored,
    /// The daemon whose backup was restored has ended for good.
    RestoreConfirmed,
    /// The daemon lacks something that it needs from the machine.
    DaemonExhausted,
    /// The daemon has started.
    DaemonStarted,
    /// The daemon is stopping, as it was told to; what runs for deployments goes on.
    DaemonStopped,
    /// The daemon runs with another version than when it started last.
    DaemonUpgraded,
}

impl Choice for Reason {
    const WHAT: &'static str = "a reason of events";
    const ALL: &'static [Self] = Self::ALL;

    fn name(self) -> &'static str {
        self.as_str()
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::audit;

    #[test]
    fn a_mistyped_reason_is_answered_with_those_that_are_alike() {
        use crate::base::list::OneOf;
        let wanted: OneOf<Reason> = "RolloutFailed,RolledBack".parse().unwrap();
        assert!(wanted.has(Reason::RolledBack) && !wanted.has(Reason::RolloutDone));
        let error = "rolloutfail".parse::<OneOf<Reason>>().unwrap_err();
        let told = error.to_string();
        assert!(told.contains("alike are RolloutFailed,"), "{told}");
    }

    #[test]
    fn the_chain_knows_the_word_for_its_own_cuts() {
        assert_eq!(Reason::AuditTrimmed.as_str(), audit::TRIMMED);
    }
}
