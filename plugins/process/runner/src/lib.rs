//! Allocations as processes of the daemon's machine: start, resize, update, observe, remove. What the process-backed plugins share.
//!
//! It knows the `process` capability and nothing of offers or prices.

mod observe;
mod spec;

use serde::{Deserialize, Serialize};
use tradewind_plugin_sdk::{
    Error,
    host::{ProcessKey, Processes},
    types::{
        Allocation, Destroyed, LogChunk, LogQuery, Observation, OwnedAllocation, Run, Tracked,
    },
};

pub use spec::spec;

/// What is remembered of an allocation. Fields are only ever added, with a default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct State {
    /// Of this form: 1.
    pub version: u32,
    /// Replicas 0 … n-1 have a process each.
    pub replicas: u32,
    /// Whether they run to their end.
    #[serde(default)]
    pub job: bool,
}

/// Runs allocations through the host's processes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Runner<P> {
    host: P,
}

impl<P: Processes> Runner<P> {
    /// A runner on this capability.
    pub fn new(host: P) -> Self {
        Self { host }
    }

    /// The capability.
    pub fn host(&self) -> &P {
        &self.host
    }

    /// Makes every replica run with the allocation's workload, and removes those above the wanted number. Doing it again changes nothing.
    ///
    /// # Errors
    /// `invalid` for a workload that is no plain command; whatever the host answers. What a first attempt started is removed again.
    pub fn apply(&self, allocation: &Allocation, prior: Option<&State>) -> Result<State, Error> {
        let spec = spec(&allocation.workload)?;
        for replica in 0..allocation.replicas {
            if let Err(error) = self.host.ensure(&key(&allocation.id, replica), &spec) {
                if prior.is_none() {
                    // Nobody would know of them: the caller gets no state. The host's sweep finds what even this leaves behind.
                    (0..replica)
                        .for_each(|started| drop(self.host.remove(&key(&allocation.id, started))));
                }
                return Err(error);
            }
        }
        for surplus in allocation.replicas..prior.map_or(0, |prior| prior.replicas) {
            self.host.remove(&key(&allocation.id, surplus))?;
        }
        Ok(State {
            version: 1,
            replicas: allocation.replicas,
            job: matches!(allocation.workload.run, Run::Job(_)),
        })
    }

    /// What became of these allocations, with one question to the host for all.
    ///
    /// # Errors
    /// Whatever the host answers.
    pub fn observe(&self, tracked: &[(&str, State)]) -> Result<Vec<Observation>, Error> {
        let keys: Vec<ProcessKey> = tracked
            .iter()
            .flat_map(|(allocation, state)| {
                (0..state.replicas).map(|replica| key(allocation, replica))
            })
            .collect();
        let mut statuses = self.host.status(&keys)?.into_iter();
        let observed = tracked.iter().map(|(allocation, state)| {
            let of_this = statuses.by_ref().take(state.replicas as usize).collect();
            observe::observation(allocation, state, of_this)
        });
        Ok(observed.collect())
    }

    /// Removes every replica; `Gone` when nothing is left.
    ///
    /// # Errors
    /// Whatever the host answers.
    pub fn destroy(&self, allocation: &str, state: &State) -> Result<Destroyed, Error> {
        let mut all_gone = true;
        for replica in 0..state.replicas {
            all_gone &= self.host.remove(&key(allocation, replica))?;
        }
        Ok(if all_gone {
            Destroyed::Gone
        } else {
            Destroyed::Going
        })
    }

    /// Every allocation with processes of this plugin instance, as (allocation, state).
    ///
    /// # Errors
    /// Whatever the host answers.
    pub fn owned(&self) -> Result<Vec<(String, State)>, Error> {
        let mut found: Vec<(String, State)> = Vec::new();
        let mut keys = self.host.owned()?;
        keys.sort_by(|a, b| (&a.allocation, a.replica).cmp(&(&b.allocation, b.replica)));
        for key in keys {
            let replicas = key.replica.saturating_add(1);
            match found
                .last_mut()
                .filter(|(allocation, _)| *allocation == key.allocation)
            {
                Some((_, state)) => state.replicas = replicas,
                None => found.push((
                    key.allocation,
                    State {
                        version: 1,
                        replicas,
                        job: false,
                    },
                )),
            }
        }
        Ok(found)
    }

    /// Kept output of an allocation.
    ///
    /// # Errors
    /// Whatever the host answers.
    pub fn logs(&self, allocation: &str, query: &LogQuery) -> Result<LogChunk, Error> {
        self.host.logs(allocation, query)
    }
}

/// What [`Runner::owned`] found, in the contract's form.
///
/// # Errors
/// `internal` when the state has no JSON form.
pub fn described(
    found: Vec<(String, State)>,
    state: impl Fn(State) -> Result<Vec<u8>, Error>,
) -> Result<Vec<OwnedAllocation>, Error> {
    let described = found.into_iter().map(|(allocation, found)| {
        let description = format!("{} process(es)", found.replicas);
        Ok(OwnedAllocation {
            allocation,
            state: state(found)?,
            description,
        })
    });
    described.collect()
}

/// Allocations with the states they carry, of whatever form.
///
/// # Errors
/// `internal` when a state can't be read.
pub fn with_states<T: for<'de> Deserialize<'de>>(
    tracked: &[Tracked],
) -> Result<Vec<(&str, T)>, Error> {
    tracked
        .iter()
        .map(|one| {
            Ok((
                one.allocation.as_str(),
                tradewind_plugin_sdk::provider::read_state(&one.state)?,
            ))
        })
        .collect()
}

fn key(allocation: &str, replica: u32) -> ProcessKey {
    ProcessKey {
        allocation: allocation.to_owned(),
        replica,
    }
}
