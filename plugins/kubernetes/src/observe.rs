//! What became of allocations: one list of each kind for a whole batch, never a call for each allocation.

use std::collections::{BTreeMap, HashMap};

use serde::de::DeserializeOwned;
use tradewind_plugin_sdk::{
    Error,
    host::Kubernetes as Capability,
    provider::{images, read_state},
    types::{Condition, Endpoint, Exposure, Health, Observation, Phase, Replica, Tracked},
};

use crate::{
    Kubernetes,
    apply::condition,
    events::Warnings,
    names,
    pods::{self, blank, replica},
    seen::{Deployment, Job, Metadata, Pod, Service, millis},
    settings::Public,
    state::{State, Work},
};

/// Everything of one namespace that was asked about, by allocation.
#[derive(Default)]
struct Seen {
    deployments: HashMap<String, Vec<Deployment>>,
    jobs: HashMap<String, Vec<Job>>,
    pods: HashMap<String, Vec<Pod>>,
    services: HashMap<String, Vec<Service>>,
}

trait Described: DeserializeOwned {
    fn metadata(&self) -> &Metadata;
}

macro_rules! described {
    ($($kind:ty),+) => { $( impl Described for $kind { fn metadata(&self) -> &Metadata { &self.metadata } } )+ };
}

described!(Deployment, Job, Pod, Service);

impl<H: Capability> Kubernetes<H> {
    pub(crate) fn look_at(&self, tracked: &[Tracked]) -> Result<Vec<Observation>, Error> {
        let mut by_namespace: BTreeMap<String, Vec<(&str, State)>> = BTreeMap::new();
        for one in tracked {
            let state: State = read_state(&one.state)?;
            by_namespace
                .entry(state.namespace.clone())
                .or_default()
                .push((&one.allocation, state));
        }
        let mut observations = Vec::new();
        for (namespace, asked) in by_namespace {
            let seen = self.see(&namespace, &asked)?;
            let first: Vec<Observation> = asked
                .iter()
                .map(|(allocation, state)| self.observation(allocation, state, &seen))
                .collect();
            // Only where something waits without telling why are the events worth a call.
            let silent = |o: &&Observation| {
                o.message.is_empty() && matches!(o.phase, Phase::Pending | Phase::Starting)
            };
            let warnings = if first.iter().any(|o| silent(&o)) {
                self.warnings(&namespace)?
            } else {
                Warnings::default()
            };
            observations.extend(first.into_iter().map(|mut o| {
                if silent(&&o) {
                    o.message = warnings.of(&o.allocation).unwrap_or_default();
                    o.conditions.extend(quota(&o.message));
                }
                o
            }));
        }
        Ok(observations)
    }

    fn see(&self, namespace: &str, asked: &[(&str, State)]) -> Result<Seen, Error> {
        let only = match asked {
            [(allocation, _)] => Some(*allocation),
            _ => None,
        };
        let any = |wanted: fn(&State) -> bool| asked.iter().any(|(_, state)| wanted(state));
        Ok(Seen {
            deployments: self.by_allocation(
                "Deployment",
                namespace,
                only,
                any(|s| matches!(s.work, Work::Service { .. })),
            )?,
            jobs: self.by_allocation(
                "Job",
                namespace,
                only,
                any(|s| matches!(s.work, Work::Jobs { .. })),
            )?,
            pods: self.by_allocation("Pod", namespace, only, true)?,
            services: self.by_allocation(
                "Service",
                namespace,
                only,
                any(|s| s.ports.iter().any(|p| p.public)),
            )?,
        })
    }

    fn by_allocation<T: Described>(
        &self,
        kind: &str,
        namespace: &str,
        only: Option<&str>,
        needed: bool,
    ) -> Result<HashMap<String, Vec<T>>, Error> {
        let mut found: HashMap<String, Vec<T>> = HashMap::new();
        if !needed {
            return Ok(found);
        }
        let labels: Vec<(&str, &str)> = only
            .map(|allocation| (names::ALLOCATION, allocation))
            .into_iter()
            .collect();
        for object in self.cluster.list::<T>(kind, namespace, &labels)? {
            if let Some(allocation) = object.metadata().labels.get(names::ALLOCATION).cloned() {
                found.entry(allocation).or_default().push(object);
            }
        }
        Ok(found)
    }

    fn observation(&self, allocation: &str, state: &State, seen: &Seen) -> Observation {
        let pods = seen.pods.get(allocation).map_or(&[][..], Vec::as_slice);
        let (replicas, mut conditions, told, phase) = match state.work {
            Work::Service { replicas } => service(allocation, replicas, state, seen, pods),
            Work::Jobs { replicas } => jobs(allocation, replicas, seen, pods),
        };
        let services = seen.services.get(allocation).map_or(&[][..], Vec::as_slice);
        conditions.extend(self.balancer(allocation, state, services));
        let trouble = replicas.iter().find(|replica| !replica.message.is_empty());
        let trouble =
            trouble.map(|replica| format!("replica {}: {}", replica.index, replica.message));
        let message = Some(told)
            .filter(|told| !told.is_empty())
            .or(trouble)
            .unwrap_or_default();
        let ready = replicas
            .iter()
            .any(|r| r.phase == Phase::Running && r.health != Health::Unhealthy);
        Observation {
            allocation: allocation.to_owned(),
            phase,
            endpoints: if ready {
                self.endpoints(allocation, state, services)
            } else {
                Vec::new()
            },
            replicas,
            message,
            conditions,
            state: None,
            metered_cost: None,
        }
    }

    /// Where the service answers: inside the cluster by its name, outside as soon as there is a way in.
    fn endpoints(&self, allocation: &str, state: &State, services: &[Service]) -> Vec<Endpoint> {
        let domain = &self.settings.cluster_domain;
        let inside = format!("{allocation}.{}.svc.{domain}", state.namespace);
        let way_in = services
            .iter()
            .find(|s| s.metadata.name == names::public(allocation));
        let mut all = Vec::new();
        for port in &state.ports {
            let endpoint = |host: &str, number: u16, exposure: Exposure| Endpoint {
                port: port.name.clone(),
                protocol: port.protocol(),
                host: host.to_owned(),
                number,
                exposure,
            };
            let Some(way_in) = way_in.filter(|_| port.public) else {
                all.push(endpoint(&inside, port.published, Exposure::Internal));
                continue;
            };
            match self.settings.public {
                Public::NodePort => {
                    let number = way_in
                        .spec
                        .ports
                        .iter()
                        .find(|p| p.name == port.name)
                        .map(|p| p.node_port)
                        .filter(|n| *n != 0);
                    all.extend(number.map(|number| {
                        endpoint(&self.settings.node_address, number, Exposure::Public)
                    }));
                }
                Public::LoadBalancer => {
                    let hosts = way_in.status.load_balancer.ingress.iter();
                    let hosts = hosts.map(|i| {
                        if i.hostname.is_empty() {
                            i.ip.as_str()
                        } else {
                            i.hostname.as_str()
                        }
                    });
                    all.extend(hosts.map(|host| endpoint(host, port.published, Exposure::Public)));
                }
            }
        }
        all
    }

    fn balancer(&self, allocation: &str, state: &State, services: &[Service]) -> Option<Condition> {
        if self.settings.public != Public::LoadBalancer
            || !state.ports.iter().any(|port| port.public)
        {
            return None;
        }
        let service = services.iter().find(|s| {
            s.metadata.name == names::public(allocation) && s.spec.kind == "LoadBalancer"
        });
        let there = service.is_some_and(|s| !s.status.load_balancer.ingress.is_empty());
        Some(match there {
            true => condition(
                "LoadBalancerReady",
                true,
                "Ready",
                "the load balancer has an address",
            ),
            false => condition(
                "LoadBalancerReady",
                false,
                "Pending",
                "the cluster has not given the load balancer an address yet",
            ),
        })
    }
}

type Told = (Vec<Replica>, Vec<Condition>, String, Phase);

fn service(allocation: &str, replicas: u32, state: &State, seen: &Seen, pods: &[Pod]) -> Told {
    let gone = || {
        (0..replicas)
            .map(|index| blank(index, Phase::Gone, "its deployment does not exist any more"))
            .collect()
    };
    let deployments = seen
        .deployments
        .get(allocation)
        .map_or(&[][..], Vec::as_slice);
    let Some(deployment) = deployments.iter().find(|d| d.metadata.name == allocation) else {
        return (gone(), Vec::new(), String::new(), Phase::Gone);
    };
    let status = &deployment.status;
    let of = |kind: &str, met: &str| {
        status
            .conditions
            .iter()
            .find(|c| c.kind == kind && c.status == met)
    };
    let refused = of("ReplicaFailure", "True").map(|c| format!("{}: {}", c.reason, c.message));
    let stuck = of("Progressing", "False").map(|c| format!("{}: {}", c.reason, c.message));
    let message = refused.or(stuck).unwrap_or_default();
    let there = choose(pods, replicas);
    let all: Vec<Replica> = (0..replicas)
        .map(|index| match there.get(index as usize) {
            Some(pod) => replica(index, pod, &state.ports),
            None => blank(index, Phase::Starting, ""),
        })
        .collect();
    let rolled = status.observed_generation >= deployment.metadata.generation
        && status.updated_replicas >= deployment.spec.replicas
        && status.replicas == status.updated_replicas
        && status.available_replicas >= status.updated_replicas;
    let count = format!(
        "{} of {} replicas are of the latest version, {} available",
        status.updated_replicas, deployment.spec.replicas, status.available_replicas
    );
    let mut conditions = vec![condition(
        "RolloutComplete",
        rolled,
        if rolled { "Complete" } else { "Progressing" },
        count,
    )];
    conditions.extend(quota(&message));
    conditions.extend(all.iter().find_map(unscheduled));
    // Until all are of the latest version, the pods of an earlier one would be told as its image.
    if rolled {
        conditions.extend(images(
            there
                .iter()
                .copied()
                .filter_map(pods::image)
                .collect::<Vec<_>>()
                .iter()
                .map(String::as_str),
        ));
    }
    let phase = if deployment.metadata.deletion_timestamp.is_some() {
        Phase::Stopping
    } else {
        phase(&all)
    };
    (all, conditions, message, phase)
}

/// The pods that stand for the replicas: those that are ready before the others, in the order of their age.
fn choose(pods: &[Pod], replicas: u32) -> Vec<&Pod> {
    let live = |pod: &&Pod| {
        pod.metadata.deletion_timestamp.is_none()
            && pod.status.phase != "Failed"
            && pod.status.phase != "Succeeded"
    };
    let age = |pod: &&Pod| {
        (
            pod.metadata.creation_timestamp.clone(),
            pod.metadata.name.clone(),
        )
    };
    let mut all: Vec<&Pod> = pods.iter().filter(live).collect();
    all.sort_by_key(|pod| (!pods::is_ready(pod), age(pod)));
    all.truncate(replicas as usize);
    all.sort_by_key(age);
    all
}

fn jobs(allocation: &str, replicas: u32, seen: &Seen, pods: &[Pod]) -> Told {
    let all = seen.jobs.get(allocation).map_or(&[][..], Vec::as_slice);
    let told: Vec<Replica> = (0..replicas)
        .map(|index| {
            let name = names::job(allocation, index);
            match all.iter().find(|job| job.metadata.name == name) {
                Some(job) => job_replica(index, job, pods),
                None => blank(index, Phase::Gone, "its job does not exist any more"),
            }
        })
        .collect();
    let mut conditions: Vec<Condition> = told.iter().find_map(unscheduled).into_iter().collect();
    conditions.extend(images(
        pods.iter()
            .filter_map(pods::image)
            .collect::<Vec<_>>()
            .iter()
            .map(String::as_str),
    ));
    let phase = phase(&told);
    (told, conditions, String::new(), phase)
}

fn job_replica(index: u32, job: &Job, pods: &[Pod]) -> Replica {
    let pod = last(job, pods).map_or_else(
        || blank(index, Phase::Starting, ""),
        |pod| replica(index, pod, &[]),
    );
    if is_lost(job, pods) {
        return Replica {
            phase: Phase::Failed,
            restarts: 0,
            ..pod
        };
    }
    let is = |kind: &str| {
        job.status
            .conditions
            .iter()
            .find(|c| c.kind == kind && c.status == "True")
    };
    let (phase, message) = match (is("Complete"), is("Failed")) {
        (Some(_), _) => (Phase::Succeeded, String::new()),
        (_, Some(failed)) => (
            Phase::Failed,
            format!("{}: {}", failed.reason, failed.message),
        ),
        _ if job.metadata.deletion_timestamp.is_some() => {
            (Phase::Stopping, "is being removed".to_owned())
        }
        // A pod that has ended is not the job's end: it may be started again.
        _ if matches!(
            pod.phase,
            Phase::Succeeded | Phase::Failed | Phase::Stopping
        ) =>
        {
            (Phase::Starting, pod.message.clone())
        }
        _ => (pod.phase, pod.message.clone()),
    };
    Replica {
        phase,
        message,
        // The attempt that failed for good was not tried again.
        restarts: job
            .status
            .failed
            .saturating_sub(u32::from(phase == Phase::Failed)),
        started_at: job
            .status
            .start_time
            .as_deref()
            .and_then(millis)
            .or(pod.started_at),
        ended_at: job
            .status
            .completion_time
            .as_deref()
            .and_then(millis)
            .or(pod.ended_at),
        ..pod
    }
}

/// The latest pod of a job.
fn last<'a>(job: &Job, pods: &'a [Pod]) -> Option<&'a Pod> {
    let of_job = |pod: &&Pod| {
        let named = ["batch.kubernetes.io/job-name", "job-name"]
            .into_iter()
            .find_map(|key| pod.metadata.labels.get(key));
        named == Some(&job.metadata.name)
    };
    pods.iter().filter(of_job).max_by_key(|pod| {
        (
            pod.metadata.creation_timestamp.clone(),
            pod.metadata.name.clone(),
        )
    })
}

pub(crate) fn is_failed(job: &Job) -> bool {
    job.status
        .conditions
        .iter()
        .any(|c| c.kind == "Failed" && c.status == "True")
}

/// Whether a job has failed because the cluster took its last pod away: where its policy can't say that such a pod counts for nothing.
pub(crate) fn is_lost(job: &Job, pods: &[Pod]) -> bool {
    let used_up = |c: &crate::seen::Condition| {
        c.kind == "Failed" && c.status == "True" && c.reason == "BackoffLimitExceeded"
    };
    job.status.conditions.iter().any(used_up) && last(job, pods).is_some_and(pods::is_lost)
}

fn unscheduled(replica: &Replica) -> Option<Condition> {
    replica
        .message
        .strip_prefix("Unschedulable: ")
        .map(|why| condition("Scheduled", false, "Unschedulable", why))
}

fn quota(message: &str) -> Option<Condition> {
    message
        .contains("exceeded quota")
        .then(|| condition("WithinQuota", false, "QuotaExceeded", message))
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
        _ if replicas.is_empty() => Phase::Running,
        _ if all(Phase::Gone) => Phase::Gone,
        Some(phase) => phase,
        None if all(Phase::Succeeded) => Phase::Succeeded,
        None => Phase::Failed,
    }
}
