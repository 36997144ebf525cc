//! The provider under test: what it is asked to make, what has been made, and how one waits for it. Everything is written down before it is
//! made, so that it can be removed whatever happens.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use tradewind_core::{
    failure::{Failure, FailureKind},
    manifest::Resolved,
    names::{AllocationId, DeploymentName, InstallationId, InstanceName, Namespace},
    offer::{Offer, OffersQuery},
    placement::{PlacedOffer, RankBy, Table, Want},
    plugin::{Destroyed, Owned, Provider, Tracked},
    workload::{Allocation, ChosenOffer, Labels, Observation, Phase, Replica},
};
use tradewind_wasm::{Capabilities, Loaded, PluginSource, StandaloneHost};

use crate::{
    check::tell,
    ports,
    script::Script,
    tasks::{self, Tasks},
};

/// Replicas of an allocation to begin with.
pub(crate) const REPLICAS: u32 = 2;
/// Room that an offer should have, if any has it: for what is there at once.
const ROOM: u32 = 8;

/// A provider and what is done with it.
pub(crate) struct Subject {
    pub(crate) bench: StandaloneHost,
    pub(crate) piece: PluginSource,
    pub(crate) loaded: Loaded,
    pub(crate) provider: Arc<dyn Provider>,
    pub(crate) script: Arc<Script>,
    /// As the daemon would lend them.
    pub(crate) real: Capabilities,
    /// The same behind the script.
    pub(crate) lent: Capabilities,
    pub(crate) tasks: Tasks,
    pub(crate) previous: Option<Arc<[u8]>>,
    /// How long anything may take to become so.
    pub(crate) patience: Duration,
    /// The allocation that most checks look at.
    pub(crate) main: Option<Held>,
    installation: InstallationId,
    made: BTreeMap<AllocationId, Held>,
}

/// An allocation and its latest state; none while no answer has told it.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub(crate) allocation: Allocation,
    pub(crate) state: Option<Vec<u8>>,
}

/// What a task is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    Service,
    Job,
}

impl Held {
    pub(crate) fn tracked(&self) -> Tracked {
        Tracked {
            allocation: self.allocation.id.clone(),
            state: self.state.clone().unwrap_or_default(),
        }
    }
}

impl Subject {
    #[allow(clippy::too_many_arguments, reason = "the fields, once")]
    pub(crate) fn new(
        bench: StandaloneHost,
        piece: PluginSource,
        loaded: Loaded,
        provider: Arc<dyn Provider>,
        (real, lent, script): (Capabilities, Capabilities, Arc<Script>),
        tasks: Option<Tasks>,
        previous: Option<Arc<[u8]>>,
        patience: Duration,
    ) -> Self {
        let tasks = tasks.unwrap_or_else(|| Tasks::usual(provider.features()));
        let installation = InstallationId::new(ulid::Ulid::r#gen());
        let made = BTreeMap::new();
        Self {
            bench,
            piece,
            loaded,
            provider,
            script,
            real,
            lent,
            tasks,
            previous,
            patience,
            main: None,
            installation,
            made,
        }
    }

    /// Whether it can make anything but state: without a capability there is nothing to make it with.
    pub(crate) fn makes_things(&self) -> bool {
        self.loaded.capabilities.iter().any(|name| name != "clock")
    }

    fn runs_processes(&self) -> bool {
        self.loaded
            .capabilities
            .iter()
            .any(|name| name == "process")
    }

    // === what to make ===

    /// A new allocation of the service or the job, on the offer that suits it best. Nothing is made yet.
    pub(crate) async fn allocation(
        &mut self,
        what: What,
        replicas: u32,
    ) -> Result<Allocation, String> {
        let task = match what {
            What::Service => self.tasks.service.clone(),
            What::Job => self.tasks.job.clone(),
        };
        let task =
            task.ok_or("there is no task to try it with: name a manifest with --allocation")?;
        let offer = self.offer(&task).await?;
        let name = |text: &str| text.parse().map_err(|_| format!("\"{text}\" is no name"));
        let (own, deployment): (Namespace, DeploymentName) = (
            name("conformance")?,
            "conformance".parse().map_err(|_| "no name")?,
        );
        // An instance that is for some is tried for one of them.
        let namespace = self.provider.namespaces().example().unwrap_or(own);
        let id = AllocationId::new(&self.installation, ulid::Ulid::r#gen());
        let tag = |key: &str, value: &str| (format!("tradewind.dev/{key}"), value.to_owned());
        let tags = [
            tag("allocation", id.as_str()),
            tag("namespace", namespace.as_str()),
            tag("deployment", deployment.as_str()),
            tag("task", task.name.as_str()),
            tag("provider", self.piece.name().as_str()),
        ];
        let mut workload = task.workload;
        tasks::mark(&mut workload.env, "1");
        let token = format!("{id}-0");
        let (task, tags) = (task.name, Labels::from(tags));
        Ok(Allocation {
            id,
            namespace,
            deployment,
            task,
            generation: 1,
            replicas,
            workload,
            offer,
            token,
            tags,
            traffic: None,
        })
    }

    async fn offer(&self, task: &Resolved) -> Result<ChosenOffer, String> {
        let offers = self
            .provider
            .offers(&OffersQuery::default())
            .await
            .map_err(|f| format!("offers: {}", tell(&f)))?;
        let name: &InstanceName = self.piece.name();
        let placed = offers
            .into_iter()
            .map(|offer| PlacedOffer {
                provider: name.clone(),
                offer,
            })
            .collect::<Vec<_>>();
        let features = BTreeMap::from([(name.clone(), self.provider.features())]);
        let table = Table::new(Arc::new(placed), features, Default::default());
        let names = ("conformance".parse(), "conformance".parse());
        let (Ok(namespace), Ok(deployment)) = names else {
            return Err("no name".to_owned());
        };
        let want = Want::of(&namespace, &deployment, task);
        let ranked: Vec<&Offer> = table
            .ranked(&want, RankBy::Cost)
            .into_iter()
            .filter_map(|i| table.offers().get(i as usize))
            .map(|p| &p.offer)
            .collect();
        let chosen = ranked
            .iter()
            .find(|offer| offer.capacity >= ROOM)
            .or(ranked.first());
        let Some(offer) = chosen else {
            let why: Vec<String> = table
                .excluded(&want)
                .into_iter()
                .map(|e| format!("{}: {}", e.offers, e.reason))
                .collect();
            return Err(format!(
                "none of its {} offers can run \"{}\": {}",
                table.offers().len(),
                task.name,
                why.join("; ")
            ));
        };
        Ok(ChosenOffer {
            id: offer.id.to_string(),
            region: offer.region.to_string(),
            zone: offer.zone.to_string(),
            size: offer.size.to_string(),
            spot: offer.spot,
            price: offer.price,
            labels: offer.labels.clone(),
        })
    }

    // === what the host would do ===

    /// One call, written down before it is made.
    pub(crate) async fn apply(
        &mut self,
        by: &Arc<dyn Provider>,
        allocation: &Allocation,
        prior: Option<&[u8]>,
    ) -> Result<Vec<u8>, Failure> {
        let held = self
            .made
            .entry(allocation.id.clone())
            .or_insert_with(|| Held {
                allocation: allocation.clone(),
                state: None,
            });
        held.allocation = allocation.clone();
        let state = by.apply(allocation, prior).await?;
        if let Some(held) = self.made.get_mut(&allocation.id) {
            held.state = Some(state.clone());
        }
        Ok(state)
    }

    /// Applies as the host does: again, while the failure is one that may pass.
    pub(crate) async fn settle(
        &mut self,
        by: &Arc<dyn Provider>,
        allocation: &Allocation,
        prior: Option<&[u8]>,
    ) -> Result<Held, String> {
        let mut waiting = Waiting::new(self.patience);
        loop {
            match self.apply(by, allocation, prior).await {
                Ok(state) => {
                    return Ok(Held {
                        allocation: allocation.clone(),
                        state: Some(state),
                    });
                }
                Err(failure) if may_pass(&failure) && waiting.goes_on().await => {}
                Err(failure) => return Err(format!("apply: {}", tell(&failure))),
            }
        }
    }

    /// Looks until it is as wanted. The provider's new state, if it gives one, takes the place of the old.
    pub(crate) async fn until(
        &mut self,
        by: &Arc<dyn Provider>,
        held: &mut Held,
        what: &str,
        wanted: impl Fn(&Observation) -> bool,
    ) -> Result<Observation, String> {
        let mut waiting = Waiting::new(self.patience);
        loop {
            let seen = match self.look(by, held).await {
                Ok(seen) if wanted(&seen) => return Ok(seen),
                Ok(seen) if seen.phase == Phase::Failed => {
                    return Err(format!(
                        "it failed instead of being {what}: {}",
                        describe(&seen)
                    ));
                }
                Ok(seen) => describe(&seen),
                Err(failure) if may_pass(&failure) => tell(&failure),
                Err(failure) => return Err(format!("observe: {}", tell(&failure))),
            };
            if !waiting.goes_on().await {
                return Err(format!(
                    "it is not {what} after {:?}: {seen}",
                    self.patience
                ));
            }
        }
    }

    /// One look.
    pub(crate) async fn look(
        &mut self,
        by: &Arc<dyn Provider>,
        held: &mut Held,
    ) -> Result<Observation, Failure> {
        let mut seen = by.observe(&[held.tracked()]).await?;
        let seen = seen
            .pop()
            .ok_or_else(|| Failure::internal("observe answers nothing"))?;
        if let Some(state) = &seen.state {
            held.state = Some(state.clone());
            if let Some(made) = self.made.get_mut(&held.allocation.id) {
                made.state = Some(state.clone());
            }
        }
        Ok(seen)
    }

    /// Looks until all replicas, and no others, run.
    pub(crate) async fn running(
        &mut self,
        by: &Arc<dyn Provider>,
        held: &mut Held,
    ) -> Result<Observation, String> {
        let replicas = held.allocation.replicas;
        let seen = self
            .until(
                by,
                held,
                &format!("running with {replicas} replicas"),
                |seen| runs(seen, replicas),
            )
            .await?;
        one_each(&seen.replicas)?;
        Ok(seen)
    }

    /// Makes a new service run.
    pub(crate) async fn service(&mut self) -> Result<(Held, Observation), String> {
        let allocation = self.allocation(What::Service, REPLICAS).await?;
        let provider = self.provider.clone();
        let mut held = self.settle(&provider, &allocation, None).await?;
        let seen = self.running(&provider, &mut held).await?;
        Ok((held, seen))
    }

    /// Destroys until nothing is left.
    pub(crate) async fn destroy(
        &mut self,
        by: &Arc<dyn Provider>,
        gone: &Tracked,
    ) -> Result<(), String> {
        let mut waiting = Waiting::new(self.patience);
        loop {
            let seen = match by.destroy(gone).await {
                Ok(Destroyed::Gone) => return Ok(()),
                Ok(Destroyed::Going) => "it is still going".to_owned(),
                Err(failure) if may_pass(&failure) => tell(&failure),
                Err(failure) => return Err(format!("destroy: {}", tell(&failure))),
            };
            if !waiting.goes_on().await {
                return Err(format!("it is not gone after {:?}: {seen}", self.patience));
            }
        }
    }

    /// What the provider says is there of this run.
    pub(crate) async fn owned(&self) -> Result<Vec<Owned>, String> {
        let mut waiting = Waiting::new(self.patience);
        loop {
            match self.provider.owned().await {
                Ok(all) => {
                    return Ok(all
                        .into_iter()
                        .filter(|o| o.allocation.is_of(&self.installation))
                        .collect());
                }
                Err(failure) if may_pass(&failure) && waiting.goes_on().await => {}
                Err(failure) => return Err(format!("owned: {}", tell(&failure))),
            }
        }
    }

    /// Waits until nothing of an allocation is listed: lists may be behind.
    pub(crate) async fn unlisted(&self, allocation: &AllocationId) -> Result<(), String> {
        let mut waiting = Waiting::new(self.patience);
        loop {
            let found = self
                .owned()
                .await?
                .into_iter()
                .find(|o| o.allocation == *allocation);
            let Some(found) = found else { return Ok(()) };
            if !waiting.goes_on().await {
                return Err(format!(
                    "owned still lists \"{allocation}\" after {:?}: {}",
                    self.patience, found.description
                ));
            }
        }
    }

    /// How many replicas there really are, where a capability can tell.
    pub(crate) async fn really(&self, allocation: &AllocationId) -> Option<usize> {
        if self.runs_processes() {
            ports::really(&self.real, self.piece.name(), allocation).await
        } else {
            None
        }
    }

    /// Gives what a change has stopped the time that it may still be seen.
    pub(crate) async fn stopped(&self, held: &Held) {
        let mut waiting = Waiting::new(STOPPING);
        while self
            .really(&held.allocation.id)
            .await
            .is_some_and(|real| real > held.allocation.replicas as usize)
            && waiting.goes_on().await
        {}
    }

    // === the end ===

    /// Removes everything that was made, by every state that is known of it. Answers what could not be removed.
    pub(crate) async fn clean(&mut self) -> Vec<String> {
        self.script.disarm();
        let provider = self.provider.clone();
        let mut left = Vec::new();
        for held in std::mem::take(&mut self.made)
            .into_values()
            .filter(|held| held.state.is_some())
        {
            if let Err(why) = self.destroy(&provider, &held.tracked()).await {
                left.push(format!("{}: {why}", held.allocation.id));
            }
        }
        match self.owned().await {
            Ok(listed) => {
                for found in listed {
                    let tracked = Tracked {
                        allocation: found.allocation.clone(),
                        state: found.state,
                    };
                    if let Err(why) = self.destroy(&provider, &tracked).await {
                        left.push(format!("{}: {why}", found.allocation));
                    }
                }
            }
            Err(why) => left.push(why),
        }
        // The processes of this run are known without the plugin: none of them outlives it.
        if self.runs_processes() {
            let name = self.piece.name();
            let mut waiting = Waiting::new(self.patience);
            loop {
                match ports::sweep(&self.real, name).await {
                    Ok(0) => break,
                    Ok(_) if waiting.goes_on().await => {}
                    Ok(some) => {
                        left.push(format!("{some} processes"));
                        break;
                    }
                    Err(failure) => {
                        left.push(tell(&failure));
                        break;
                    }
                }
            }
        }
        left
    }
}

/// How long what a provider has told to stop may still be seen.
const STOPPING: Duration = Duration::from_secs(5);

/// A time that runs out, in growing steps.
pub(crate) struct Waiting {
    until: Instant,
    step: Duration,
}

impl Waiting {
    pub(crate) fn new(patience: Duration) -> Self {
        Self {
            until: Instant::now() + patience,
            step: Duration::from_millis(10),
        }
    }

    /// Waits a step. False when the time is over.
    pub(crate) async fn goes_on(&mut self) -> bool {
        if Instant::now() >= self.until {
            return false;
        }
        tokio::time::sleep(self.step).await;
        self.step = (self.step * 2).min(Duration::from_millis(500));
        true
    }
}

/// Whether the host would simply try again.
fn may_pass(failure: &Failure) -> bool {
    matches!(
        failure.kind,
        FailureKind::Unavailable | FailureKind::Throttled
    )
}

/// Whether exactly so many replicas run.
pub(crate) fn runs(seen: &Observation, replicas: u32) -> bool {
    let all = seen
        .replicas
        .iter()
        .all(|replica| replica.phase == Phase::Running);
    seen.phase == Phase::Running && all && seen.replicas.len() == replicas as usize
}

/// The replicas' ids by their index.
pub(crate) fn ids(seen: &Observation) -> BTreeMap<u32, String> {
    seen.replicas
        .iter()
        .map(|replica| (replica.index, replica.id.clone()))
        .collect()
}

fn one_each(replicas: &[Replica]) -> Result<(), String> {
    let mut known: BTreeMap<&str, u32> = BTreeMap::new();
    for (at, replica) in (0u32..).zip(replicas.iter()) {
        if replica.id.is_empty() {
            return Err(format!("replica {} runs and has no id", replica.index));
        }
        if let Some(other) = known.insert(&replica.id, replica.index) {
            return Err(format!(
                "replicas {other} and {} have the same id \"{}\"",
                replica.index, replica.id
            ));
        }
        if !replicas.iter().any(|r| r.index == at) {
            return Err(format!(
                "there are {} replicas, but none with the index {at}",
                replicas.len()
            ));
        }
    }
    Ok(())
}

/// An observation in one line.
pub(crate) fn describe(seen: &Observation) -> String {
    let replicas: Vec<String> = seen
        .replicas
        .iter()
        .map(|r| format!("{} {}", r.index, r.phase))
        .collect();
    let said = if seen.message.is_empty() {
        String::new()
    } else {
        format!(", it says: {}", seen.message)
    };
    format!(
        "it is {} with replicas [{}]{said}",
        seen.phase,
        replicas.join(", ")
    )
}
