//! Providers of clouds whose unit is an instance (a machine, a container group), one for each replica: everything about allocations that
//! does not depend on the cloud. Implement [`Cloud`] with the cloud's own calls and [`FleetProvider`] with its settings and offers: a [`Fleet`]
//! of it is the provider, `register_provider!(Fleet<MyCloud<Host>>)`.
//!
//! * **Idempotent.** A token of the host means one attempt with one set of parameters; each replica has it with its number behind it, and a
//!   name made of the allocation, the number and what shall run. A cloud gets both, and uses what it has. When it *says* that what a token
//!   made is gone ([`TOKEN_SPENT`]), the next turn's token comes.
//! * **Lists are behind.** They only save work: what is known and not listed counts as gone only when it has been known for a while.
//! * **All or nothing.** After failures that send the host to another place, what this call has made is removed again.
//!
//! `plugins/rest` is its smallest user; `README.md` there tells the whole.

mod apply;
mod logs;
mod observe;
mod provider;
mod remove;
mod state;
mod wanted;

use std::collections::BTreeMap;

use serde_json::Value;

pub use self::{
    logs::{LogPiece, gap, part, read_logs, read_pieces},
    provider::FleetProvider,
    state::{Member, State, Wired},
    wanted::{
        ALLOCATION, Described, PROVIDER, REPLICA, SPEC, environment, fits, flat_tag, full_tag,
        numbered, refuse,
    },
};
use crate::{
    Error,
    types::{Allocation, ChosenOffer, Destroyed},
};

/// The code of an error of [`Cloud::create`]: what the token made does not exist any more.
pub const TOKEN_SPENT: &str = "TokenSpent";
/// The code of an error of [`Cloud::create`]: the token was used with other parameters.
pub const TOKEN_REUSED: &str = "TokenReused";

/// An instance as a cloud shows it. Begin with [`Instance::new`] and set what is known.
#[derive(Debug, Clone)]
pub struct Instance {
    /// By which it is deleted.
    pub id: String,
    /// How far it is.
    pub stage: Stage,
    /// The tags that it bears at the cloud.
    pub tags: BTreeMap<String, String>,
    /// Micro-USD per hour, where the cloud says.
    pub price: Option<u64>,
    /// Milliseconds since the epoch, by the cloud's clock.
    pub created_at: u64,
    /// When its workload began, in milliseconds since the epoch. `None`: not yet, or the cloud does not say.
    pub started_at: Option<u64>,
    /// When its workload ended, in milliseconds since the epoch. `None`: it has not, or the cloud does not say.
    pub ended_at: Option<u64>,
    /// What its workload ended with. `None`: it has not ended, or the cloud does not say.
    pub exit_code: Option<i32>,
    /// How often the cloud has started the workload again.
    pub restarts: u32,
    /// The host name or address at which it answers. `None`: it has none yet.
    pub address: Option<String>,
    /// Where the cloud chooses one.
    pub port: Option<u16>,
    /// What a person should know of it.
    pub message: String,
}

impl Instance {
    /// An instance of which only the essentials are known. `created_at` is in milliseconds since the epoch, by the cloud's clock.
    pub fn new(
        id: impl Into<String>,
        stage: Stage,
        tags: BTreeMap<String, String>,
        created_at: u64,
    ) -> Self {
        Self {
            id: id.into(),
            stage,
            tags,
            price: None,
            created_at,
            started_at: None,
            ended_at: None,
            exit_code: None,
            restarts: 0,
            address: None,
            port: None,
            message: String::new(),
        }
    }
}

/// How far a cloud says an instance is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The cloud makes it; nothing runs yet.
    Creating,
    /// Its workload runs.
    Running,
    /// Its workload has ended, with this instance's `exit_code`.
    Exited,
    /// It never came to run, or the cloud has given it up.
    Failed,
    /// The cloud removes it.
    Deleting,
    /// It does not exist any more.
    Gone,
}

/// What shall be created: one replica.
pub struct New<'a> {
    /// Where, as [`Cloud::place`] said.
    pub place: &'a str,
    /// The allocation's own; its token is not this replica's.
    pub allocation: &'a Allocation,
    /// Which replica.
    pub index: u32,
    /// The same for repeated creations of this replica in this attempt.
    pub token: &'a str,
    /// Lowercase, begins with a letter, at most 63 characters of `[a-z0-9-]`: the same for the same replica of the same workload.
    pub name: &'a str,
    /// In the order of their importance: those that find it again come first.
    pub tags: &'a [(String, String)],
    /// As [`Cloud::describe`] made it.
    pub workload: &'a Value,
}

/// The calls of a cloud.
pub trait Cloud {
    /// Up to so many allocations of a place are listed one by one; for more, everything of ours there is listed.
    const FEW: usize = 4;

    /// Milliseconds since the epoch.
    fn now(&self) -> u64;

    /// The place in which the instances of an offer are listed: a region, or a whole account.
    ///
    /// # Errors
    /// `invalid` for an offer that is not of this cloud.
    fn place(&self, offer: &ChosenOffer) -> Result<String, Error>;

    /// Every place that may be used.
    ///
    /// # Errors
    /// The cloud's.
    fn places(&self) -> Result<Vec<String>, Error>;

    /// What an instance shall run, in the cloud's words. Equal workloads give equal values: what differs is replaced.
    ///
    /// # Errors
    /// `invalid` for what the cloud can't do, naming the field.
    fn describe(&self, allocation: &Allocation) -> Result<Described, Error>;

    /// Creates an instance, or answers the one that this token or this name has made.
    ///
    /// # Errors
    /// The cloud's; with the code [`TOKEN_SPENT`] or [`TOKEN_REUSED`] where the next turn's token is to be tried.
    fn create(&self, new: &New<'_>) -> Result<Instance, Error>;

    /// Waits for what a cloud tells only after it has accepted these: that it can't. Default: it tells at once.
    ///
    /// # Errors
    /// The cloud's.
    fn confirm(&self, place: &str, made: &[Instance]) -> Result<(), Error> {
        let _ = (place, made);
        Ok(())
    }

    /// Every instance with this tag that the cloud shows by now.
    ///
    /// # Errors
    /// The cloud's.
    fn tagged(&self, place: &str, tag: (&str, &str)) -> Result<Vec<Instance>, Error>;

    /// Attaches tags that a creation has failed to attach. Default: nothing, for clouds where that can't happen.
    ///
    /// # Errors
    /// The cloud's.
    fn tag(&self, place: &str, id: &str, tags: &BTreeMap<&str, &str>) -> Result<(), Error> {
        let _ = (place, id, tags);
        Ok(())
    }

    /// Deletes an instance. One that does not exist is gone.
    ///
    /// # Errors
    /// The cloud's.
    fn delete(&self, place: &str, id: &str) -> Result<Destroyed, Error>;
}

/// How far a cloud can be behind.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Milliseconds for which what is new may be missing from lists. Default: 30 seconds.
    pub settle: u64,
    /// Milliseconds after which an instance that is still being created has failed. Default: 10 minutes.
    pub create_timeout: u64,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            settle: 30_000,
            create_timeout: 600_000,
        }
    }
}

/// The instances of one plugin instance. Where its cloud is a [`FleetProvider`], it is the [`Provider`](crate::Provider).
pub struct Fleet<C> {
    cloud: C,
    /// The plugin instance's name: what it owns is tagged with it.
    instance: String,
    pace: Pace,
}

impl<C: Cloud> Fleet<C> {
    /// The instances that a cloud has under the name of a plugin instance: for providers that implement [`Provider`](crate::Provider)
    /// themselves.
    pub fn of(cloud: C, instance: impl Into<String>, pace: Pace) -> Self {
        Self {
            cloud,
            instance: instance.into(),
            pace,
        }
    }

    /// The cloud that the instances are of.
    pub fn cloud(&self) -> &C {
        &self.cloud
    }

    fn now(&self) -> u64 {
        self.cloud.now()
    }
}

/// Which replica an instance is.
fn replica(instance: &Instance) -> Option<u32> {
    instance
        .tags
        .get(REPLICA)
        .and_then(|text| text.parse().ok())
}
