//! What became of allocations: one list for each region, or one for each allocation when few are asked about. Never one call for each instance.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{ALLOCATION, Cloud, Fleet, Instance, Member, PROVIDER, SPEC, Stage, State, replica};
use crate::{
    Error,
    provider::read_state,
    types::{Endpoint, Health, Observation, Phase, Replica, Tracked},
    warn,
};

/// An allocation to look at, with what the cloud shows of it.
struct Seen<'a> {
    allocation: &'a str,
    state: State,
    instances: Vec<Instance>,
}

impl<C: Cloud> Fleet<C> {
    /// What became of these.
    ///
    /// # Errors
    /// The cloud's, when it tells nothing of any of them.
    pub fn look_at(&self, tracked: &[Tracked]) -> Result<Vec<Observation>, Error> {
        let mut by_place: BTreeMap<String, Vec<(&str, State)>> = BTreeMap::new();
        for one in tracked {
            let state: State = read_state(&one.state)?;
            by_place
                .entry(state.place.clone())
                .or_default()
                .push((&one.allocation, state));
        }
        let (mut observations, mut failure) = (Vec::new(), None);
        for (place, asked) in by_place {
            match self.list(&place, asked) {
                Ok(seen) => observations.extend(seen.into_iter().map(|one| self.observation(one))),
                // Of this place nothing is known; what is known of others is told.
                Err(error) => {
                    warn!("a place can't be looked at: {error}"; place = place);
                    failure.get_or_insert(error);
                }
            }
        }
        match failure {
            Some(error) if observations.is_empty() => Err(error),
            _ => Ok(observations),
        }
    }

    fn list<'a>(&self, place: &str, asked: Vec<(&'a str, State)>) -> Result<Vec<Seen<'a>>, Error> {
        let mut found: HashMap<String, Vec<Instance>> = HashMap::new();
        let mut all = Vec::new();
        if asked.len() <= C::FEW {
            for (allocation, _) in &asked {
                all.append(&mut self.cloud.tagged(place, (ALLOCATION, allocation))?);
            }
        } else {
            all = self.cloud.tagged(place, (PROVIDER, &self.instance))?;
        }
        for instance in all {
            if let Some(allocation) = instance.tags.get(ALLOCATION).cloned() {
                found.entry(allocation).or_default().push(instance);
            }
        }
        let seen = |(allocation, state): (&'a str, State)| Seen {
            allocation,
            state,
            instances: found.remove(allocation).unwrap_or_default(),
        };
        Ok(asked.into_iter().map(seen).collect())
    }

    fn observation(&self, seen: Seen<'_>) -> Observation {
        let Seen {
            allocation,
            state,
            instances,
        } = seen;
        let chosen: Vec<Option<&Instance>> = (0..state.replicas)
            .map(|index| choose(&state, index, &instances))
            .collect();
        self.clear(&state, &chosen, &instances);
        let replicas: Vec<Replica> = (0..)
            .zip(&chosen)
            .map(|(index, instance)| self.replica(&state, index, *instance))
            .collect();
        let trouble = replicas.iter().find(|replica| !replica.message.is_empty());
        Observation {
            allocation: allocation.to_owned(),
            phase: phase(&replicas),
            endpoints: Vec::new(),
            message: trouble.map_or_else(String::new, |replica| {
                format!("replica {}: {}", replica.index, replica.message)
            }),
            replicas,
            conditions: Vec::new(),
            state: None,
            metered_cost: chosen
                .iter()
                .flatten()
                .filter(|instance| exists(instance))
                .map(|instance| instance.price)
                .sum(),
        }
    }

    /// Removes what an attempt has left whose outcome nobody has learnt: an instance that is not the one of its replica, though that one is
    /// there, and that was made before the newest one of ours. An apply that goes on meanwhile makes only newer ones.
    fn clear(&self, state: &State, chosen: &[Option<&Instance>], instances: &[Instance]) {
        let taken: BTreeSet<&str> = chosen
            .iter()
            .flatten()
            .map(|instance| instance.id.as_str())
            .collect();
        let newest = state
            .members
            .iter()
            .map(|member| member.created_at)
            .max()
            .unwrap_or(0);
        let there = |index: u32| chosen.get(index as usize).is_none_or(Option::is_some);
        let is_left = |instance: &&Instance| {
            let stands_in = replica(instance).is_none_or(there);
            exists(instance)
                && stands_in
                && !taken.contains(instance.id.as_str())
                && !state.has(&instance.id)
                && instance.created_at < newest
        };
        for instance in instances.iter().filter(is_left) {
            // What can't be removed now is seen again the next time.
            if let Err(error) = self.cloud.delete(&state.place, &instance.id) {
                warn!("{:?} is left over and can't be removed: {error}", instance.id; place = state.place);
            }
        }
    }

    fn replica(&self, state: &State, index: u32, instance: Option<&Instance>) -> Replica {
        let blank = Replica {
            index,
            id: String::new(),
            phase: Phase::Gone,
            health: Health::Unknown,
            endpoints: Vec::new(),
            message: "its instance does not exist any more".to_owned(),
            restarts: 0,
            started_at: None,
            ended_at: None,
            exit_code: None,
            usage: None,
        };
        let new = |member: &&Member| self.now().saturating_sub(member.since) < self.pace.settle;
        let Some(instance) = instance else {
            // The list is behind: what has just been made is not gone.
            return match state.member(index).filter(new) {
                Some(member) => Replica {
                    id: member.id.clone(),
                    phase: Phase::Starting,
                    message: "not listed yet".to_owned(),
                    ..blank
                },
                None => blank,
            };
        };
        let (phase, message) = self.phase(instance);
        // What the cloud has given up has not come to an end: it is made again, a job as well.
        let lost = instance.stage == Stage::Failed;
        Replica {
            id: instance.id.clone(),
            phase,
            endpoints: endpoints(state, instance),
            message,
            restarts: instance.restarts,
            started_at: instance.started_at.filter(|_| !lost),
            ended_at: instance.ended_at.filter(|_| !lost),
            exit_code: instance.exit_code.filter(|_| !lost),
            ..blank
        }
    }

    fn phase(&self, instance: &Instance) -> (Phase, String) {
        let age = self.now().saturating_sub(instance.created_at);
        let told = |otherwise: &str| {
            if instance.message.is_empty() {
                otherwise.to_owned()
            } else {
                instance.message.clone()
            }
        };
        match (instance.stage, instance.exit_code) {
            (Stage::Creating, _) if age >= self.pace.create_timeout => (
                Phase::Failed,
                told(&format!("has been creating for {} s", age / 1000)),
            ),
            (Stage::Creating, _) => (Phase::Starting, told("")),
            (Stage::Running, _) => (Phase::Running, told("")),
            (Stage::Exited, Some(0)) => (Phase::Succeeded, told("")),
            (Stage::Exited, code) => (
                Phase::Failed,
                told(&code.map_or("ended".to_owned(), |code| {
                    format!("ended with status {code}")
                })),
            ),
            (Stage::Failed, _) => (Phase::Failed, told("the cloud has given it up")),
            (Stage::Deleting, _) => (Phase::Stopping, told("is being deleted")),
            (Stage::Gone, _) => (
                Phase::Gone,
                "its instance does not exist any more".to_owned(),
            ),
        }
    }
}

fn exists(instance: &Instance) -> bool {
    !matches!(instance.stage, Stage::Deleting | Stage::Gone)
}

/// The instance of a replica: the one that is known, else one that an attempt has made whose outcome nobody has learnt.
fn choose<'a>(state: &State, index: u32, instances: &'a [Instance]) -> Option<&'a Instance> {
    let known = state
        .member(index)
        .and_then(|member| instances.iter().find(|instance| instance.id == member.id));
    let same = |instance: &&Instance| {
        replica(instance) == Some(index)
            && exists(instance)
            && instance.tags.get(SPEC) == Some(&state.spec)
    };
    known.or_else(|| {
        instances
            .iter()
            .filter(same)
            .max_by_key(|instance| (instance.created_at, &instance.id))
    })
}

fn endpoints(state: &State, instance: &Instance) -> Vec<Endpoint> {
    let Some(host) = &instance.address else {
        return Vec::new();
    };
    let numbered = state
        .ports
        .iter()
        .filter_map(|port| Some((port, port.number().or(instance.port)?)));
    let endpoint = |(port, protocol, exposure), number| Endpoint {
        port,
        protocol,
        host: host.clone(),
        number,
        exposure,
    };
    numbered
        .map(|(port, number)| endpoint(port.told(), number))
        .collect()
}

/// The allocation's phase: gone when all are; while something starts or runs, that; at the end, success only when all succeeded.
fn phase(replicas: &[Replica]) -> Phase {
    let all = |phase: Phase| replicas.iter().all(|replica| replica.phase == phase);
    let first = [
        Phase::Starting,
        Phase::Running,
        Phase::Pending,
        Phase::Stopping,
    ];
    let under_way = first
        .into_iter()
        .find(|phase| replicas.iter().any(|replica| replica.phase == *phase));
    match under_way {
        _ if all(Phase::Gone) => Phase::Gone,
        Some(phase) => phase,
        None if all(Phase::Succeeded) => Phase::Succeeded,
        None => Phase::Failed,
    }
}
