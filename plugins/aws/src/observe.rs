//! What became of allocations. For a whole batch one list of instances and one of load balancers in each region; for each load balancer its
//! targets' health, which AWS tells only one by one; for each ended job its console, until that has told the end.

use std::collections::{BTreeMap, HashMap};

use tradewind_plugin_sdk::{
    Error,
    host::{
        Clock,
        aws::{
            Aws, Instance, InstanceState, LoadBalancer, LoadBalancerState, Target, TargetHealth,
            TargetState,
        },
    },
    provider::{read_state, write_state},
    types::{
        Condition, Endpoint, Exposure, Health, Observation, Phase, Protocol, Replica, Tracked,
    },
    warn,
};

use crate::{
    Ec2,
    apply::{has_ended, is_over, is_sound},
    script,
    settings::Address,
    state::{Balancer, Exit, Group, Member, State},
};

/// What a region shows of the allocations that are asked about.
struct Region {
    name: String,
    instances: HashMap<String, Vec<Instance>>,
    balancers: HashMap<String, LoadBalancer>,
    /// By target group.
    health: HashMap<String, Vec<TargetHealth>>,
}

impl<H: Aws + Clock> Ec2<H> {
    pub(crate) fn look_at(&self, tracked: &[Tracked]) -> Result<Vec<Observation>, Error> {
        let mut by_region: BTreeMap<String, Vec<(&str, State)>> = BTreeMap::new();
        for one in tracked {
            let state: State = read_state(&one.state)?;
            by_region
                .entry(state.region.clone())
                .or_default()
                .push((&one.allocation, state));
        }
        let (mut observations, mut failure) = (Vec::new(), None);
        for (name, asked) in by_region {
            match self.region(name, &asked) {
                Ok(region) => {
                    for (allocation, state) in asked {
                        observations.push(self.observation(&region, allocation, state)?);
                    }
                }
                // Of this region nothing is known; what is known of others is told.
                Err(error) => {
                    warn!("a region can't be looked at: {error}");
                    failure.get_or_insert(error);
                }
            }
        }
        match failure {
            Some(error) if observations.is_empty() => Err(error),
            _ => Ok(observations),
        }
    }

    fn region(&self, name: String, asked: &[(&str, State)]) -> Result<Region, Error> {
        let ids: Vec<String> = asked
            .iter()
            .map(|(allocation, _)| (*allocation).to_owned())
            .collect();
        let mut instances: HashMap<String, Vec<Instance>> = HashMap::new();
        for instance in self.host.instances(&name, &ids)? {
            instances
                .entry(instance.allocation.clone())
                .or_default()
                .push(instance);
        }
        let balanced: Vec<&(&str, State)> = asked
            .iter()
            .filter(|(_, state)| state.balancer.is_some())
            .collect();
        let (mut balancers, mut health) =
            (HashMap::new(), HashMap::<String, Vec<TargetHealth>>::new());
        if !balanced.is_empty() {
            let ids: Vec<String> = balanced
                .iter()
                .map(|(allocation, _)| (*allocation).to_owned())
                .collect();
            balancers.extend(
                self.host
                    .load_balancers(&name, &ids)?
                    .into_iter()
                    .map(|found| (found.allocation.clone(), found)),
            );
            let groups = balanced
                .iter()
                .filter_map(|(_, state)| state.balancer.as_ref())
                .flat_map(|balancer| &balancer.groups);
            let groups: Vec<String> = groups.map(|group| group.id.clone()).collect();
            for one in self.host.health(&name, &groups)? {
                health
                    .entry(one.target_group.clone())
                    .or_default()
                    .push(one);
            }
        }
        Ok(Region {
            name,
            instances,
            balancers,
            health,
        })
    }

    fn observation(
        &self,
        region: &Region,
        allocation: &str,
        state: State,
    ) -> Result<Observation, Error> {
        let instances = region
            .instances
            .get(allocation)
            .map(Vec::as_slice)
            .unwrap_or_default();
        let chosen: Vec<Option<&Instance>> = (0..state.replicas)
            .map(|index| choose(&state, index, instances))
            .collect();
        self.clear(region, &state, &chosen, instances);
        let mut after = state.clone();
        self.note_ends(region, &mut after, &chosen);
        let mut replicas: Vec<Replica> = (0..)
            .zip(&chosen)
            .map(|(index, instance)| self.replica(&after, index, *instance))
            .collect();
        let (mut endpoints, mut conditions) = (Vec::new(), Vec::new());
        if let Some(balancer) = &state.balancer {
            let found = region.balancers.get(allocation);
            self.register(region, balancer, &chosen);
            replicas
                .iter_mut()
                .for_each(|replica| judge(replica, region, balancer, found));
            conditions.push(condition(balancer, found));
            endpoints = self.balanced(balancer);
        }
        let trouble = replicas.iter().find(|replica| !replica.message.is_empty());
        Ok(Observation {
            allocation: allocation.to_owned(),
            phase: phase(&replicas),
            endpoints,
            message: trouble.map_or_else(String::new, |replica| {
                format!("replica {}: {}", replica.index, replica.message)
            }),
            replicas,
            conditions,
            state: if after == state {
                None
            } else {
                Some(write_state(&after)?)
            },
            metered_cost: None,
        })
    }

    /// Removes what an attempt has left whose outcome nobody has learnt: an instance that is not the one of its replica, though that one is there,
    /// and that is no newer than it. An apply that goes on meanwhile makes only newer ones.
    fn clear(
        &self,
        region: &Region,
        state: &State,
        chosen: &[Option<&Instance>],
        instances: &[Instance],
    ) {
        let is_left = |instance: &&Instance| {
            let Some(Some(other)) = chosen.get(instance.replica as usize) else {
                return false;
            };
            let known = state.members.iter().any(|member| member.id == instance.id);
            !is_over(instance)
                && !known
                && instance.id != other.id
                && instance.launched_at <= other.launched_at
        };
        let ids: Vec<String> = instances
            .iter()
            .filter(is_left)
            .map(|instance| instance.id.clone())
            .collect();
        if ids.is_empty() {
            return;
        }
        // What can't be removed now is seen again the next time.
        if let Err(error) = self.host.terminate(&region.name, &ids) {
            warn!("{} left over and can't be removed: {error}", ids.join(", "); region = region.name);
        }
    }

    // === jobs ===

    /// Notes which jobs have ended, and with what, as soon as their consoles tell.
    fn note_ends(&self, region: &Region, state: &mut State, chosen: &[Option<&Instance>]) {
        if !state.job {
            return;
        }
        for member in state
            .members
            .iter_mut()
            .filter(|member| member.exit.is_none())
        {
            let instance = chosen
                .get(member.index as usize)
                .copied()
                .flatten()
                .filter(|instance| instance.id == member.id);
            if member.ended.is_none() && instance.is_some_and(has_ended) {
                member.ended = Some(self.host.now());
            }
            let Some(since) = member.ended else { continue };
            let told = self
                .host
                .console(&region.name, &member.id)
                .ok()
                .and_then(|console| script::exit_code(&console));
            let too_late =
                self.host.now().saturating_sub(since) >= self.settings.exit_timeout.millis();
            member.exit = told
                .map(Exit::Code)
                .or_else(|| too_late.then_some(Exit::Unknown));
        }
    }

    // === replicas ===

    fn replica(&self, state: &State, index: u32, instance: Option<&Instance>) -> Replica {
        let member = state.member(index);
        let blank = Replica {
            index,
            id: member.map_or_else(String::new, |member| member.id.clone()),
            phase: Phase::Gone,
            health: Health::Unknown,
            endpoints: Vec::new(),
            message: "its instance does not exist any more".to_owned(),
            restarts: 0,
            started_at: None,
            ended_at: member.and_then(|member| member.ended),
            exit_code: None,
            usage: None,
        };
        if let Some(over) = member.and_then(|member| job_end(member, &blank)) {
            return Replica {
                started_at: instance.map(|instance| instance.launched_at),
                ..over
            };
        }
        let Some(instance) = instance else {
            // The list is behind: what has just been made is not gone.
            return match member.filter(|member| self.is_new(member)) {
                Some(_) => Replica {
                    phase: Phase::Starting,
                    message: "not listed yet".to_owned(),
                    ..blank
                },
                None => blank,
            };
        };
        let because = |what: &str| {
            if instance.reason.is_empty() {
                what.to_owned()
            } else {
                format!("{what} ({})", instance.reason)
            }
        };
        let (phase, message) = match instance.state {
            InstanceState::Pending => (Phase::Starting, String::new()),
            InstanceState::Running => (Phase::Running, String::new()),
            InstanceState::Stopping | InstanceState::Stopped => {
                (Phase::Failed, because("its instance was stopped"))
            }
            InstanceState::ShuttingDown | InstanceState::Terminated => {
                (Phase::Gone, because("its instance was terminated"))
            }
        };
        Replica {
            id: instance.id.clone(),
            phase,
            endpoints: if is_sound(instance) {
                self.endpoints(state, instance)
            } else {
                Vec::new()
            },
            message,
            started_at: (instance.state != InstanceState::Pending).then_some(instance.launched_at),
            ..blank
        }
    }

    fn endpoints(&self, state: &State, instance: &Instance) -> Vec<Endpoint> {
        let private =
            self.settings.address == Address::Private || instance.public_address.is_empty();
        let host = if private {
            &instance.private_address
        } else {
            &instance.public_address
        };
        let ports = state.ports.iter().filter(|_| !host.is_empty());
        let endpoint = |port: &crate::state::Wired| Endpoint {
            port: port.name.clone(),
            protocol: port.protocol(),
            host: host.clone(),
            number: port.number,
            exposure: port.exposure(),
        };
        ports.map(endpoint).collect()
    }

    // === load balancers ===

    fn balanced(&self, balancer: &Balancer) -> Vec<Endpoint> {
        let exposure = match self.settings.scheme {
            crate::settings::Scheme::InternetFacing => Exposure::Public,
            crate::settings::Scheme::Internal => Exposure::Internal,
        };
        let endpoint = |group: &Group| Endpoint {
            port: group.port.clone(),
            protocol: Protocol::Http,
            host: balancer.dns_name.clone(),
            number: group.listens,
            exposure,
        };
        balancer.groups.iter().map(endpoint).collect()
    }

    /// Lets target groups have exactly what runs.
    fn register(&self, region: &Region, balancer: &Balancer, chosen: &[Option<&Instance>]) {
        let running: Vec<&str> = chosen
            .iter()
            .flatten()
            .filter(|one| one.state == InstanceState::Running)
            .map(|one| one.id.as_str())
            .collect();
        for group in &balancer.groups {
            let registered = targets(region, group);
            let serves = |one: &&TargetHealth| !matches!(one.state, TargetState::Draining);
            let has = |id: &str| {
                registered
                    .iter()
                    .filter(serves)
                    .any(|one| one.instance == id)
            };
            let target = |id: &str| Target {
                instance: id.to_owned(),
                number: group.number,
            };
            let missing: Vec<Target> = running
                .iter()
                .filter(|id| !has(id))
                .map(|id| target(id))
                .collect();
            let stray = registered
                .iter()
                .filter(serves)
                .filter(|one| !chosen.iter().flatten().any(|i| i.id == one.instance));
            let stray: Vec<Target> = stray
                .map(|one| Target {
                    instance: one.instance.clone(),
                    number: one.number,
                })
                .collect();
            let entered = if missing.is_empty() {
                Ok(())
            } else {
                self.host.register(&region.name, &group.id, &missing)
            };
            let left = if stray.is_empty() {
                Ok(())
            } else {
                self.host.deregister(&region.name, &group.id, &stray)
            };
            // The next look tries again, and shows until then what is not served.
            if let Err(error) = entered.and(left) {
                warn!("targets can't be changed: {error}"; region = region.name, group = group.id);
            }
        }
    }
}

fn targets<'a>(region: &'a Region, group: &Group) -> &'a [TargetHealth] {
    region
        .health
        .get(&group.id)
        .map(Vec::as_slice)
        .unwrap_or_default()
}

/// A job's replica that is over, once it is known how it ended.
fn job_end(member: &Member, blank: &Replica) -> Option<Replica> {
    member.ended?;
    let (phase, exit_code, message) = match member.exit {
        Some(Exit::Code(0)) => (Phase::Succeeded, Some(0), String::new()),
        Some(Exit::Code(code)) => (
            Phase::Failed,
            Some(code),
            format!("ended with status {code}"),
        ),
        Some(Exit::Unknown) => (
            Phase::Failed,
            None,
            "ended, and its console does not tell with which status".to_owned(),
        ),
        None => (
            Phase::Running,
            None,
            "has ended; its console is to tell with which status".to_owned(),
        ),
    };
    Some(Replica {
        phase,
        exit_code,
        message,
        ..blank.clone()
    })
}

/// The health of a running replica is that of its targets: the worst of them counts.
fn judge(
    replica: &mut Replica,
    region: &Region,
    balancer: &Balancer,
    found: Option<&LoadBalancer>,
) {
    if replica.phase != Phase::Running {
        return;
    }
    if found.is_none_or(|found| found.state == LoadBalancerState::Failed) {
        // One that is applied anew gets it again, and keeps its instances.
        (replica.phase, replica.message) = (
            Phase::Failed,
            "its load balancer does not exist any more".to_owned(),
        );
        return;
    }
    let of_group = |group: &Group| {
        targets(region, group)
            .iter()
            .find(|one| one.instance == replica.id)
    };
    let states: Vec<Option<&TargetHealth>> = balancer.groups.iter().map(of_group).collect();
    if let Some(sick) = states
        .iter()
        .flatten()
        .find(|one| one.state == TargetState::Unhealthy)
    {
        replica.health = Health::Unhealthy;
        replica.message = if sick.reason.is_empty() {
            "the load balancer finds it unhealthy".to_owned()
        } else {
            sick.reason.clone()
        };
    } else if states
        .iter()
        .all(|one| one.is_some_and(|one| one.state == TargetState::Healthy))
    {
        replica.health = Health::Healthy;
    } else {
        (replica.phase, replica.message) = (
            Phase::Starting,
            "the load balancer has not found it healthy yet".to_owned(),
        );
    }
}

fn condition(balancer: &Balancer, found: Option<&LoadBalancer>) -> Condition {
    let (met, reason, message) = match found.map(|found| found.state) {
        Some(LoadBalancerState::Active) => {
            (true, "Active", format!("answers at {}", balancer.dns_name))
        }
        Some(LoadBalancerState::Provisioning) => {
            (false, "Provisioning", "it is being made".to_owned())
        }
        Some(LoadBalancerState::Impaired) => (
            false,
            "Impaired",
            "AWS can't give it what it needs to grow".to_owned(),
        ),
        Some(LoadBalancerState::Failed) => (false, "Failed", "AWS could not make it".to_owned()),
        None => (false, "Gone", "it does not exist any more".to_owned()),
    };
    Condition {
        kind: "LoadBalancerReady".to_owned(),
        met,
        reason: reason.to_owned(),
        message,
    }
}

/// The instance of a replica: the one that is known, else one that an attempt has made whose outcome nobody has learnt.
fn choose<'a>(state: &State, index: u32, instances: &'a [Instance]) -> Option<&'a Instance> {
    let known = state
        .member(index)
        .and_then(|member| instances.iter().find(|instance| instance.id == member.id));
    let same = |instance: &&Instance| {
        instance.replica == index && is_sound(instance) && instance.spec == state.spec
    };
    known.or_else(|| {
        instances
            .iter()
            .filter(same)
            .max_by_key(|instance| (instance.launched_at, &instance.id))
    })
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
