//! A cloud in memory that fails as often as it is told to, and a policy that takes the cheapest.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use async_trait::async_trait;
use parking_lot::Mutex;
use tradewind_core::{
    failure::{Failure, FailureKind, WORKLOAD},
    grant::ProbeGrant,
    names::{AllocationId, Digest, InstanceName},
    offer::{Offer, OffersQuery},
    placement::{Answer, Request},
    plugin::{Destroyed, Features, Identity, Owned, Plugins, Policy, Provider, Snapshot, Tracked},
    units::{Bytes, Instant, MicroUsd, MilliCpu, Millis},
    workload::{
        Allocation, Condition, EnvValue, Health, LogChunk, LogQuery, Observation, Phase, Replica,
        Run,
    },
};

/// How a call goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Before(FailureKind),
    /// It had its effect, and nobody is told.
    After,
}

/// What runs for an allocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ran {
    pub(super) deployment: String,
    pub(super) task: String,
    pub(super) replicas: u32,
    /// The value of the variable VERSION.
    pub(super) version: String,
    job: bool,
    /// Of a job, as its provider was told.
    pub(super) deadline: Option<Millis>,
    pub(super) offer: String,
}

#[derive(Default)]
pub(super) struct Known {
    /// Replicas that its only offer takes in all; none: it has two without a limit.
    pub(super) capacity: Option<u32>,
    /// Replicas that its second offer takes in all; none: without a limit.
    pub(super) west: Option<u32>,
    /// The most replicas that there were at once.
    pub(super) peak: u32,
    /// Nothing becomes ready at its second offer.
    pub(super) west_is_unwell: bool,
    /// The least since this was set.
    pub(super) least: u32,
    /// This version of a service ends again and again, as if its provider started it again by itself.
    pub(super) broken: Option<String>,
    /// How often each has been started again by then.
    pub(super) restarts: BTreeMap<AllocationId, u32>,
    /// Whether it says how well replicas are.
    pub(super) silent_on_health: bool,
    /// This version of a service is refused, for what it is.
    pub(super) refused: Option<String>,
    /// Its jobs go on.
    pub(super) endless: bool,
    /// Jobs of this version fail for good.
    pub(super) failing: Option<String>,
    /// The policy beside it can't decide.
    pub(super) undecided: bool,
    /// How often the policy was asked.
    pub(super) asked: u32,

    pub(super) runs: BTreeMap<AllocationId, Ran>,
    /// One for each of the next calls that change something; none: it goes well.
    pub(super) faults: VecDeque<Option<Fault>>,
    /// Calls that were to change something.
    pub(super) calls: u32,
}

/// Cheap to clone; all clones are one cloud.
#[derive(Clone)]
pub(super) struct Cloud {
    identity: Identity,
    known: Arc<Mutex<Known>>,
}

fn identity(name: &str) -> Identity {
    Identity {
        instance: name.parse().expect("a name"),
        plugin: name.to_owned(),
        version: "1.0.0".to_owned(),
        component: Digest::from_bytes([1; 32]),
        settings: Digest::from_bytes([2; 32]),
    }
}

impl Cloud {
    pub(super) fn new() -> Self {
        Self {
            identity: identity("cloud"),
            known: Arc::default(),
        }
    }

    pub(super) fn with<T>(&self, act: impl FnOnce(&mut Known) -> T) -> T {
        act(&mut self.known.lock())
    }

    /// A call that changes something, with its fault if one is due.
    fn change<T>(&self, effect: impl FnOnce(&mut Known) -> T) -> Result<T, Failure> {
        self.with(|known| {
            known.calls += 1;
            let fault = known.faults.pop_front().flatten();
            if let Some(Fault::Before(kind)) = fault {
                return Err(Failure::new(kind, "told to fail"));
            }
            let done = effect(known);
            let all = known.runs.values().map(|ran| ran.replicas).sum();
            (known.peak, known.least) = (known.peak.max(all), known.least.min(all));
            if fault == Some(Fault::After) {
                Err(Failure::unavailable("the answer is lost"))
            } else {
                Ok(done)
            }
        })
    }
}

#[async_trait]
impl Provider for Cloud {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn features(&self) -> Features {
        Features {
            commands: true,
            services: true,
            jobs: true,
            resize: true,
            images: true,
            volumes: true,
            ..Features::default()
        }
    }

    fn concurrency(&self) -> u32 {
        8
    }

    fn probe_grant(&self) -> Option<&ProbeGrant> {
        None
    }

    async fn check(&self) -> Result<Vec<Condition>, Failure> {
        Ok(Vec::new())
    }

    async fn offers(&self, _: &OffersQuery) -> Result<Vec<Offer>, Failure> {
        let offer = |region: &str, price| {
            let mut offer = Offer::new(
                &format!("{region}/small"),
                MilliCpu(4_000),
                Bytes(16 << 30),
                MicroUsd(price),
            );
            offer.region = region.into();
            offer
        };
        let (capacity, taken) = self.with(|known| {
            (
                known.capacity,
                known.runs.values().map(|ran| ran.replicas).sum::<u32>(),
            )
        });
        if let Some(capacity) = capacity {
            let limited = Offer {
                capacity: capacity.saturating_sub(taken),
                ..offer("east", 100_000)
            };
            return Ok(vec![limited]);
        }
        let mut west = offer("west", 120_000);
        if let Some(capacity) = self.with(|known| known.west) {
            let there = |ran: &&Ran| ran.offer.starts_with("west");
            let taken: u32 = self.with(|known| {
                let there = known.runs.values().filter(there);
                there.map(|ran| ran.replicas).sum()
            });
            west.capacity = capacity.saturating_sub(taken);
        }
        Ok(vec![offer("east", 100_000), west])
    }

    async fn apply(&self, allocation: &Allocation, _: Option<&[u8]>) -> Result<Vec<u8>, Failure> {
        tokio::task::yield_now().await;
        let version = allocation
            .workload
            .env
            .iter()
            .find(|v| v.name == "VERSION")
            .map(|v| &v.value);
        let ran = Ran {
            deployment: allocation.deployment.to_string(),
            task: allocation.task.to_string(),
            replicas: allocation.replicas,
            version: if let Some(EnvValue::Text(text)) = version {
                text.clone()
            } else {
                String::new()
            },
            job: matches!(allocation.workload.run, Run::Job { .. }),
            deadline: tradewind_core::job::deadline::of(&allocation.workload),
            offer: allocation.offer.id.clone(),
        };
        if self.with(|known| known.refused.as_ref() == Some(&ran.version)) {
            self.with(|known| known.calls += 1);
            return Err(Failure::denied("the grant does not allow it").code(WORKLOAD));
        }
        self.change(|known| known.runs.insert(allocation.id.clone(), ran))?;
        Ok(allocation.id.as_str().as_bytes().to_vec())
    }

    async fn observe(&self, tracked: &[Tracked]) -> Result<Vec<Observation>, Failure> {
        let one = |known: &mut Known, tracked: &Tracked| {
            let ran = known.runs.get(&tracked.allocation);
            let broken = ran.is_some_and(|ran| {
                known.broken.as_ref() == Some(&ran.version) && ran.offer.starts_with("east")
            });
            if broken {
                *known
                    .restarts
                    .entry(tracked.allocation.clone())
                    .or_default() += 1;
            }
            let restarts = known
                .restarts
                .get(&tracked.allocation)
                .copied()
                .unwrap_or(0);
            let unwell =
                known.west_is_unwell && ran.is_some_and(|ran| ran.offer.starts_with("west"));
            let health = if unwell {
                Health::Unhealthy
            } else if known.silent_on_health {
                Health::Unknown
            } else {
                Health::Healthy
            };
            // What is started again all the time has always begun a moment ago.
            let started_at = (!known.silent_on_health && !broken).then_some(Instant(0));
            let fails =
                ran.is_some_and(|ran| ran.job && known.failing.as_ref() == Some(&ran.version));
            let phase = ran.map_or(Phase::Gone, |ran| {
                if fails {
                    Phase::Failed
                } else if ran.job && !known.endless {
                    Phase::Succeeded
                } else {
                    Phase::Running
                }
            });
            let replica = |index| Replica {
                index,
                id: format!("{}-{index}", tracked.allocation),
                phase,
                health: if broken { Health::Unknown } else { health },
                endpoints: Vec::new(),
                message: String::new(),
                restarts,
                started_at,
                ended_at: None,
                exit_code: fails.then_some(3),
                usage: None,
            };
            Observation {
                allocation: tracked.allocation.clone(),
                phase,
                endpoints: Vec::new(),
                replicas: (0..ran.map_or(0, |ran| ran.replicas))
                    .map(replica)
                    .collect(),
                message: String::new(),
                conditions: Vec::new(),
                state: None,
                metered_cost: None,
            }
        };
        Ok(self.with(|known| tracked.iter().map(|t| one(known, t)).collect()))
    }

    async fn destroy(&self, tracked: &Tracked) -> Result<Destroyed, Failure> {
        tokio::task::yield_now().await;
        self.change(|known| known.runs.remove(&tracked.allocation))?;
        Ok(Destroyed::Gone)
    }

    async fn owned(&self) -> Result<Vec<Owned>, Failure> {
        let one = |id: &AllocationId| Owned {
            allocation: id.clone(),
            state: id.as_str().as_bytes().to_vec(),
            description: String::new(),
        };
        Ok(self.with(|known| known.runs.keys().map(one).collect()))
    }

    async fn logs(&self, _: &Tracked, _: &LogQuery) -> Result<LogChunk, Failure> {
        Err(Failure::not_found("it keeps none"))
    }
}

/// Every task goes whole where it costs least; what runs stays.
struct Cheapest(Identity, Cloud);

#[async_trait]
impl Policy for Cheapest {
    fn identity(&self) -> &Identity {
        &self.0
    }

    async fn place(&self, request: &Request) -> Result<Answer, Failure> {
        let undecided = self.1.with(|known| {
            known.asked += 1;
            known.undecided
        });
        if undecided {
            return Err(Failure::internal("told not to decide"));
        }
        let mut answer = Answer::default();
        for (at, task) in request.tasks.iter().enumerate() {
            let rows = request.candidates.of(task.shape);
            let cost = |row: &usize| request.candidates.cost.get(*row).copied();
            let best = rows
                .min_by_key(cost)
                .and_then(|row| request.candidates.offer.get(row).copied());
            let held = task.current.first().map(|(offer, _)| *offer);
            let Some(offer) = held.or(best) else { continue };
            // What runs there already needs no room.
            let stays: u32 = task
                .current
                .iter()
                .filter(|(held, _)| *held == offer)
                .map(|(_, replicas)| *replicas)
                .sum();
            let room = request
                .offers
                .get(offer as usize)
                .map_or(0, |placed| placed.offer.capacity);
            let replicas = task.replicas.min(room.saturating_add(stays));
            if replicas > 0 {
                answer.task.push(u32::try_from(at).unwrap_or(u32::MAX));
                answer.offer.push(offer);
                answer.replicas.push(replicas);
            }
        }
        Ok(answer)
    }
}

/// The cloud and the policy, never reloaded.
pub(super) struct Both(Arc<Snapshot>);

impl Both {
    pub(super) fn of(cloud: &Cloud) -> Self {
        let name = |name: &str| name.parse::<InstanceName>().expect("a name");
        let mut snapshot = Snapshot {
            version: 1,
            ..Snapshot::default()
        };
        snapshot
            .providers
            .insert(name("cloud"), Arc::new(cloud.clone()));
        snapshot.policies.insert(
            name("cheapest"),
            Arc::new(Cheapest(identity("cheapest"), cloud.clone())),
        );
        Self(Arc::new(snapshot))
    }
}

impl Plugins for Both {
    fn snapshot(&self) -> Arc<Snapshot> {
        self.0.clone()
    }
}
