//! Making an allocation so: one instance for each replica, whatever an earlier attempt has left, and a load balancer before them.
//!
//! The list of what exists may be behind, so it only ever saves work. What decides is the host's token: a repeated request answers the
//! instance it has made, dead or alive; only after a dead one is the next number tried, so that nothing is made twice.

use std::collections::{BTreeMap, BTreeSet};

use tradewind_plugin_sdk::{
    Error, ErrorKind,
    host::{
        Clock,
        aws::{Aws, Instance, InstanceState},
    },
    types::Allocation,
    warn,
};

use crate::{
    Ec2,
    state::{Member, State},
    wanted::Wanted,
};

/// The most instances of one replica that one attempt can lose.
const ORDINALS: u32 = 20;

impl<H: Aws + Clock> Ec2<H> {
    pub(crate) fn make_so(
        &self,
        allocation: &Allocation,
        prior: Option<State>,
    ) -> Result<State, Error> {
        let wanted = Wanted::of(allocation, &self.settings)?;
        let prior = match prior {
            Some(elsewhere) if elsewhere.region != wanted.region => {
                self.remove(&wanted.allocation, &elsewhere)?;
                None
            }
            other => other,
        };
        let seen = self
            .host
            .instances(&wanted.region, std::slice::from_ref(&wanted.allocation))?;
        let sorted = self.sort(&wanted, prior.as_ref(), &seen);
        self.end(&wanted, prior.as_ref(), &sorted.surplus)?;
        let mut members = Vec::new();
        let made = self.all_replicas(&wanted, prior.as_ref(), sorted.kept, &mut members);
        let balanced = made.and_then(|()| {
            self.balance(
                &wanted,
                prior.as_ref().and_then(|prior| prior.balancer.as_ref()),
            )
        });
        match balanced {
            Ok(balancer) => Ok(State {
                version: 1,
                region: wanted.region,
                spec: wanted.spec,
                token: wanted.token,
                replicas: wanted.replicas,
                job: wanted.job,
                members,
                ports: wanted.ports,
                balancer,
            }),
            Err(error) => Err(self.undo(&wanted, prior.as_ref(), &members, error)),
        }
    }

    /// What stays, by replica, and the ids of what goes: another spec, a replica too many, second ones, and what does not run any more.
    fn sort(&self, wanted: &Wanted, prior: Option<&State>, seen: &[Instance]) -> Sorted {
        let (mut kept, mut surplus): (BTreeMap<u32, Member>, Vec<String>) =
            (BTreeMap::new(), Vec::new());
        let same_spec = prior.filter(|prior| prior.spec == wanted.spec);
        let known = |id: &str| {
            same_spec.and_then(|prior| prior.members.iter().find(|member| member.id == id))
        };
        let mut candidates: Vec<&Instance> = seen.iter().collect();
        // What is known stays before what is found, of that the newest.
        candidates.sort_by_key(|one| {
            (
                known(&one.id).is_none(),
                std::cmp::Reverse(one.launched_at),
                one.id.clone(),
            )
        });
        for one in candidates {
            let ended = known(&one.id)
                .is_some_and(|member| wanted.job && (member.ended.is_some() || has_ended(one)));
            let stays = one.replica < wanted.replicas
                && one.spec == wanted.spec
                && (is_sound(one) || ended);
            if stays && !kept.contains_key(&one.replica) {
                let member = known(&one.id)
                    .cloned()
                    .unwrap_or_else(|| Member::new(one.replica, &one.id, 0, self.host.now()));
                kept.insert(one.replica, member);
            } else if !is_over(one) {
                surplus.push(one.id.clone());
            }
        }
        // What is known but not shown: it may be new, or its job may have ended long ago.
        let shown = |id: &str| seen.iter().any(|one| one.id == id);
        for member in prior
            .iter()
            .flat_map(|prior| &prior.members)
            .filter(|member| !shown(&member.id))
        {
            let stays = member.index < wanted.replicas && same_spec.is_some();
            if stays && (self.is_new(member) || (wanted.job && member.exit.is_some())) {
                kept.entry(member.index).or_insert_with(|| member.clone());
            } else if self.is_new(member) {
                surplus.push(member.id.clone());
            }
        }
        Sorted { kept, surplus }
    }

    pub(crate) fn is_new(&self, member: &Member) -> bool {
        self.host.now().saturating_sub(member.since) < self.settings.settle.millis()
    }

    /// First out of the target groups, then away.
    fn end(&self, wanted: &Wanted, prior: Option<&State>, ids: &[String]) -> Result<(), Error> {
        if ids.is_empty() {
            return Ok(());
        }
        if let Some(balancer) = prior.and_then(|prior| prior.balancer.as_ref()) {
            self.take_out(&wanted.region, balancer, ids)?;
        }
        self.host.terminate(&wanted.region, ids)
    }

    fn all_replicas(
        &self,
        wanted: &Wanted,
        prior: Option<&State>,
        mut kept: BTreeMap<u32, Member>,
        members: &mut Vec<Member>,
    ) -> Result<(), Error> {
        for index in 0..wanted.replicas {
            let member = match kept.remove(&index) {
                Some(member) => member,
                None => self.run(wanted, index, prior)?,
            };
            members.push(member);
        }
        Ok(())
    }

    /// Runs the instance of a replica, or finds the one that this attempt has run before.
    fn run(&self, wanted: &Wanted, index: u32, prior: Option<&State>) -> Result<Member, Error> {
        let same = prior.filter(|prior| prior.spec == wanted.spec && prior.token == wanted.token);
        let first = same
            .and_then(|prior| prior.member(index))
            .map_or(0, |member| member.ordinal);
        for ordinal in first..first.saturating_add(ORDINALS) {
            let instance = self.host.run(&wanted.request(index, ordinal))?;
            let lost = same
                .and_then(|prior| prior.member(index))
                .is_some_and(|member| member.id == instance.id);
            if is_sound(&instance) && !lost {
                return Ok(Member::new(index, &instance.id, ordinal, self.host.now()));
            }
        }
        Err(Error::unavailable(format!(
            "{ORDINALS} instances of replica {index} were run and none is left"
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
                warn!("what was created can't be removed again: {failure}"; allocation = wanted.allocation);
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
        let Some(prior) = prior else {
            // An earlier attempt may have made what this one has not come to.
            let found = self
                .host
                .instances(&wanted.region, std::slice::from_ref(&wanted.allocation))?;
            ids.extend(
                found
                    .into_iter()
                    .filter(|one| !is_over(one))
                    .map(|one| one.id),
            );
            if !wanted.routes.is_empty() {
                self.remove_balancers(&wanted.region, &wanted.allocation, None)?;
            }
            return self
                .host
                .terminate(&wanted.region, &ids.into_iter().collect::<Vec<_>>());
        };
        ids.retain(|id| !prior.members.iter().any(|member| member.id == *id));
        self.host
            .terminate(&wanted.region, &ids.into_iter().collect::<Vec<_>>())
    }
}

struct Sorted {
    kept: BTreeMap<u32, Member>,
    surplus: Vec<String>,
}

/// Whether an instance is, or may still become, what it shall be.
pub(crate) fn is_sound(instance: &Instance) -> bool {
    matches!(
        instance.state,
        InstanceState::Pending | InstanceState::Running
    )
}

/// Whether it is going, or gone.
pub(crate) fn is_over(instance: &Instance) -> bool {
    matches!(
        instance.state,
        InstanceState::ShuttingDown | InstanceState::Terminated
    )
}

/// Whether an instance went because its own system shut down: a job's end.
pub(crate) fn has_ended(instance: &Instance) -> bool {
    is_over(instance) && instance.reason == "Client.InstanceInitiatedShutdown"
}
