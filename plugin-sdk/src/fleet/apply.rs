//! Making an allocation so: one instance for each replica, whatever an earlier attempt has left.
//!
//! The list of what exists may be behind, so it only ever saves work. What decides is the token: creating with one that was used answers the
//! instance it has made, or that this one is gone. Only then is the next turn's token tried, so that nothing is made twice.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    ALLOCATION, Cloud, Fleet, Instance, Member, New, SPEC, Stage, State, TOKEN_REUSED, TOKEN_SPENT,
    replica, wanted::Wanted,
};
use crate::{Error, ErrorKind, types::Allocation, warn};

/// The most instances of one replica that one token of the host can lose: more would keep a call too long.
const TURNS: u32 = 50;

impl<C: Cloud> Fleet<C> {
    /// Makes an allocation so, and returns what to remember of it.
    ///
    /// # Errors
    /// `invalid` for what the cloud can't do; the cloud's failures.
    pub fn make_so(&self, allocation: &Allocation, prior: Option<State>) -> Result<State, Error> {
        let wanted = Wanted::of(&self.cloud, allocation)?;
        let prior = match prior {
            Some(elsewhere) if elsewhere.place != wanted.place => {
                self.remove(&allocation.id, &elsewhere)?;
                None
            }
            other => other,
        };
        let seen = self
            .cloud
            .tagged(&wanted.place, (ALLOCATION, &wanted.allocation.id))?;
        let (mut kept, surplus) = self.sort(&wanted, prior.as_ref(), seen);
        // First away with what is old: what replaces it may need its room.
        for id in surplus {
            self.cloud.delete(&wanted.place, &id)?;
        }
        let (mut members, mut made) = (Vec::new(), Vec::new());
        for index in 0..wanted.allocation.replicas {
            let known = prior.as_ref().and_then(|prior| prior.member(index));
            let member = match kept.remove(&index) {
                Some(instance) => self
                    .complete(&wanted, index, instance)
                    .map(|instance| self.adopt(index, &instance, known)),
                None => self
                    .create(&wanted, index, prior.as_ref())
                    .map(|(member, instance)| {
                        made.push(instance);
                        member
                    }),
            };
            match member {
                Ok(member) => members.push(member),
                Err(error) => return Err(self.undo(&wanted, prior.as_ref(), &members, error)),
            }
        }
        if let Err(error) = self.cloud.confirm(&wanted.place, &made) {
            return Err(self.undo(&wanted, prior.as_ref(), &members, error));
        }
        Ok(State {
            version: 1,
            place: wanted.place,
            spec: wanted.spec,
            token: allocation.token.clone(),
            replicas: allocation.replicas,
            members,
            ports: wanted.ports,
        })
    }

    /// Which of the instances that are seen stay, by replica, and which go: those of another spec, of a replica too many, without end in
    /// creation, and second ones. What is known stays before what is found.
    fn sort(
        &self,
        wanted: &Wanted,
        prior: Option<&State>,
        seen: Vec<Instance>,
    ) -> (BTreeMap<u32, Instance>, Vec<String>) {
        let (mut kept, mut surplus): (BTreeMap<u32, Instance>, Vec<String>) =
            (BTreeMap::new(), Vec::new());
        let known = |id: &str| prior.is_some_and(|prior| prior.has(id));
        for instance in seen {
            let index = replica(&instance).filter(|index| *index < wanted.allocation.replicas);
            let fits = instance.tags.get(SPEC) == Some(&wanted.spec);
            let (Some(index), true, true) = (index, fits, self.is_sound(&instance)) else {
                surplus.push(instance.id);
                continue;
            };
            let better = kept.get(&index).is_none_or(|other| {
                (known(&instance.id), instance.created_at, &instance.id)
                    > (known(&other.id), other.created_at, &other.id)
            });
            let second = if better {
                kept.insert(index, instance)
            } else {
                Some(instance)
            };
            surplus.extend(second.map(|instance| instance.id));
        }
        // What is known but not shown: of the same spec it is found again by its token, of another it goes.
        let old = |member: &&Member| {
            let fits = prior.is_some_and(|prior| prior.spec == wanted.spec)
                && member.index < wanted.allocation.replicas;
            !fits
                && !surplus.contains(&member.id)
                && kept
                    .get(&member.index)
                    .is_none_or(|instance| instance.id != member.id)
        };
        let hidden: Vec<String> = prior
            .iter()
            .flat_map(|prior| &prior.members)
            .filter(old)
            .map(|member| member.id.clone())
            .collect();
        surplus.extend(hidden);
        (kept, surplus)
    }

    /// Whether an instance is, or may still become, what it shall be.
    fn is_sound(&self, instance: &Instance) -> bool {
        match instance.stage {
            Stage::Running | Stage::Exited => true,
            Stage::Creating => {
                self.now().saturating_sub(instance.created_at) < self.pace.create_timeout
            }
            Stage::Failed | Stage::Deleting | Stage::Gone => false,
        }
    }

    /// Attaches what a creation has failed to attach.
    fn complete(&self, wanted: &Wanted, index: u32, instance: Instance) -> Result<Instance, Error> {
        let tags = wanted.tags(index);
        let missing: BTreeMap<&str, &str> = tags
            .iter()
            .filter(|(key, value)| instance.tags.get(key) != Some(value))
            .map(|(k, v)| (k.as_str(), v.as_str()))
            .collect();
        if !missing.is_empty() {
            self.cloud.tag(&wanted.place, &instance.id, &missing)?;
        }
        Ok(instance)
    }

    /// Remembers an instance. What was known of it stays known.
    fn adopt(&self, index: u32, instance: &Instance, known: Option<&Member>) -> Member {
        known
            .filter(|member| member.id == instance.id)
            .cloned()
            .unwrap_or_else(|| Member {
                index,
                id: instance.id.clone(),
                token: String::new(),
                turn: 1,
                created_at: instance.created_at,
                since: self.now(),
            })
    }

    /// Creates the instance of a replica, or finds the one that was created before.
    fn create(
        &self,
        wanted: &Wanted,
        index: u32,
        prior: Option<&State>,
    ) -> Result<(Member, Instance), Error> {
        let known = prior
            .filter(|prior| prior.spec == wanted.spec)
            .and_then(|prior| prior.member(index));
        let first = known
            .filter(|_| prior.is_some_and(|prior| prior.token == wanted.allocation.token))
            .map_or(1, |member| member.turn);
        let of_turn = |turn: u32| match turn {
            1 => format!("{}-{index}", wanted.allocation.token),
            turn => format!("{}-{index}-{turn}", wanted.allocation.token),
        };
        // The token that made what is known comes first: it may only not be shown yet.
        let again = known
            .filter(|member| !member.token.is_empty())
            .map(|member| (member.turn, member.token.clone()));
        let turns = (first..first.saturating_add(TURNS)).map(|turn| (turn, of_turn(turn)));
        let mut last = None;
        for (turn, token) in again.into_iter().chain(turns) {
            let (tags, name) = (wanted.tags(index), wanted.name(index));
            let (place, allocation, workload) =
                (wanted.place.as_str(), wanted.allocation, &wanted.workload);
            match self.cloud.create(&New {
                place,
                allocation,
                index,
                token: &token,
                name: &name,
                tags: &tags,
                workload,
            }) {
                Ok(instance) if !self.is_sound(&instance) => {
                    self.cloud.delete(&wanted.place, &instance.id)?;
                }
                Ok(instance) => {
                    let instance = self.complete(wanted, index, instance)?;
                    let (id, created_at) = (instance.id.clone(), instance.created_at);
                    return Ok((
                        Member {
                            index,
                            id,
                            token,
                            turn,
                            created_at,
                            since: self.now(),
                        },
                        instance,
                    ));
                }
                Err(error) if matches!(error.code.as_deref(), Some(TOKEN_SPENT | TOKEN_REUSED)) => {
                    last = Some(error)
                }
                Err(error) => return Err(error),
            }
        }
        let told = last.map_or_else(String::new, |error| format!(": {error}"));
        Err(Error::unavailable(format!(
            "{TURNS} instances of replica {index} were made and none is left{told}"
        )))
    }

    /// When the host will try another place, it takes it that nothing is here: what this allocation has got beyond what it had goes again.
    /// What may pass is tried again by the host, and finds it.
    fn undo(&self, wanted: &Wanted, prior: Option<&State>, made: &[Member], error: Error) -> Error {
        if !matches!(
            error.kind,
            ErrorKind::OutOfCapacity | ErrorKind::Quota | ErrorKind::Denied | ErrorKind::Invalid
        ) {
            return error;
        }
        match self.take_back(wanted, prior, made) {
            Ok(()) => error,
            Err(failure) => {
                warn!("what was created can't be removed again: {failure}"; allocation = wanted.allocation.id);
                Error::unavailable(format!(
                    "{error}; and what was created can't be removed again: {failure}"
                ))
            }
        }
    }

    fn take_back(
        &self,
        wanted: &Wanted,
        prior: Option<&State>,
        made: &[Member],
    ) -> Result<(), Error> {
        let mut ids: BTreeSet<String> = made.iter().map(|member| member.id.clone()).collect();
        match prior {
            Some(prior) => ids.retain(|id| !prior.has(id)),
            // An earlier attempt may have made what this one has not come to.
            None => ids.extend(
                self.cloud
                    .tagged(&wanted.place, (ALLOCATION, &wanted.allocation.id))?
                    .into_iter()
                    .map(|found| found.id),
            ),
        }
        ids.iter()
            .try_for_each(|id| self.cloud.delete(&wanted.place, id).map(drop))
    }
}
