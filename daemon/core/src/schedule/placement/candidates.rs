//! Hard constraints: from needs and offers to candidates with their costs.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use super::{
    Bounds, Candidates, Exclusion, Expected, Group, PlacedOffer, Request, Shape, Spread, Task,
    affinity::domain,
    recorded::{Excluded, ShapeLimits},
    weight,
};
use crate::{
    base::{
        names::{DeploymentName, InstanceName, Labels, Namespace, TaskName},
        units::{Instant, MicroUsd, Millis},
    },
    ports::plugin::Features,
    schedule::{
        cost::{self, Terms, Time},
        placement::{Measured, Sheet},
    },
    spec::{
        manifest::{Constraints, Resolved},
        offer::Offer,
        workload::{Resources, Run, Workload},
    },
    state::decision::ExcludedCount,
};

/// What one task wants of the scheduler.
#[derive(Debug, Clone, PartialEq)]
pub struct Want {
    /// Its namespace.
    pub namespace: Namespace,
    /// The deployment that it belongs to.
    pub deployment: DeploymentName,
    /// The task's name in the deployment.
    pub task: TaskName,
    /// What it needs of an offer.
    pub need: Need,
    /// In all, those that run already included.
    pub replicas: u32,
    /// Higher ones are placed first.
    pub priority: i32,
    /// The labels of its workload.
    pub labels: Labels,
    /// Where it runs now: provider, the offer's id, replicas.
    pub current: Vec<(InstanceName, String, u32)>,
    /// The most per hour in all; `MicroUsd::MAX`: no limit.
    pub max_hourly: MicroUsd,
    /// Its alternatives are wanted with the answer.
    pub hedged: bool,
    /// Where tasks are that it is bound to.
    pub bounds: Bounds,
    /// What else is expected of it, for policies.
    pub expected: Expected,
}

impl Want {
    /// What a task wants that runs nowhere yet.
    pub fn of(namespace: &Namespace, deployment: &DeploymentName, task: &Resolved) -> Self {
        Self {
            namespace: namespace.clone(),
            deployment: deployment.clone(),
            task: task.name.clone(),
            need: Need::of(task),
            replicas: task.replicas,
            priority: task.priority,
            labels: task.workload.labels.clone(),
            current: Vec::new(),
            max_hourly: MicroUsd::MAX,
            hedged: false,
            bounds: Bounds::default(),
            expected: task.expected,
        }
    }
}

/// What decides which offers a task can use and what they cost. Tasks with equal needs share a shape.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize)]
pub struct Need {
    /// What one replica asks for.
    pub resources: Resources,
    /// A job's on the reference machine, a service's by the clock.
    #[serde(serialize_with = "crate::base::units::hashed::duration")]
    pub duration: Millis,
    /// Where it may go.
    pub constraints: Constraints,
    /// What its provider must be able to do.
    pub features: Requires,
    /// It runs to its end.
    pub job: bool,
    /// Where it can't go for now: a provider, or one offer of it.
    #[serde(skip)]
    pub closed: BTreeMap<Spot, Closed>,
    /// Offers that it is kept away from because of what became of it there, and why.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub left: BTreeMap<InstanceName, BTreeMap<String, String>>,
}

/// A provider, or one of its offers by its id.
pub type Spot = (InstanceName, Option<String>);

/// Why one task can't go somewhere that is open to others.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Closed {
    /// The provider has refused it. `lasting`: it can never run it.
    Refused {
        /// What it said.
        cause: String,
        /// It can never run it as it is.
        lasting: bool,
    },
    /// A port of the machine that the task wants is somebody's. `own`: another replica of the task has it.
    Port {
        /// The port.
        number: u16,
        /// Another replica of the same task has it.
        own: bool,
    },
}

impl Need {
    /// What a task needs.
    pub fn of(task: &Resolved) -> Self {
        Self {
            resources: task.workload.resources.clone(),
            duration: task.duration,
            constraints: task.constraints.clone(),
            features: Requires::of(&task.workload),
            job: matches!(task.workload.run, Run::Job { .. }),
            closed: BTreeMap::new(),
            left: BTreeMap::new(),
        }
    }
}

impl Need {
    /// What the duration means.
    pub fn time(&self) -> Time {
        if self.job {
            Time::Work(self.duration)
        } else {
            Time::Wall(self.duration)
        }
    }

    /// What one replica costs on an offer.
    pub fn terms(&self, offer: &Offer) -> Terms {
        Terms::of(&self.resources, self.time(), offer)
    }

    fn closed_at(&self, provider: &InstanceName, offer: Option<&str>) -> Option<&Closed> {
        self.closed
            .iter()
            .find(|((p, o), _)| p == provider && o.as_deref() == offer)
            .map(|(_, why)| why)
    }
}

impl Closed {
    fn exclusion(&self, provider: &InstanceName) -> Exclusion {
        let provider = provider.clone();
        match self {
            Self::Refused { cause, lasting } => Exclusion::Refused {
                provider,
                cause: cause.clone(),
                lasting: *lasting,
            },
            Self::Port { number, own } => Exclusion::Port {
                provider,
                number: *number,
                own: *own,
            },
        }
    }
}

/// Provider features that a workload can't do without.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, serde::Serialize)]
pub struct Requires {
    images: bool,
    commands: bool,
    services: bool,
    jobs: bool,
    volumes: bool,
    networks: bool,
    secrets: bool,
    files: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    command_checks: bool,
}

impl Requires {
    /// What running this workload takes.
    pub fn of(workload: &Workload) -> Self {
        use crate::spec::workload::Check;
        let job = matches!(workload.run, Run::Job { .. });
        let checks = [
            &workload.probes.startup,
            &workload.probes.readiness,
            &workload.probes.liveness,
        ];
        Self {
            images: workload.image.is_some(),
            commands: workload.image.is_none() && !workload.command.is_empty(),
            services: !job,
            jobs: job,
            volumes: !workload.volumes.is_empty(),
            networks: !workload.networks.is_empty(),
            secrets: workload.secrets().next().is_some(),
            files: !workload.files.is_empty(),
            command_checks: checks
                .into_iter()
                .flatten()
                .any(|p| matches!(p.check, Check::Command { .. })),
        }
    }

    /// The first feature that is wanted and missing.
    fn missing(self, has: Features) -> Option<&'static str> {
        let pairs = [
            (self.images, has.images, "container images"),
            (self.commands, has.commands, "plain commands"),
            (self.services, has.services, "services"),
            (self.jobs, has.jobs, "jobs"),
            (self.volumes, has.volumes, "volumes"),
            (self.networks, has.networks, "networks"),
            (self.secrets, has.secrets, "secrets"),
            (self.files, has.files, "files"),
            (
                self.command_checks,
                has.command_checks,
                "health checks that are commands",
            ),
        ];
        pairs
            .into_iter()
            .find(|(want, has, _)| *want && !*has)
            .map(|(_, _, name)| name)
    }
}

/// By what `Table::ranked` sorts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RankBy {
    /// The cost of one replica, the least first.
    Cost,
}

/// One assessment's offers with what is known of their providers. Offers are in a fixed order: provider, then the provider's own.
#[derive(Debug, Clone, Default)]
pub struct Table {
    offers: Arc<Vec<PlacedOffer>>,
    features: BTreeMap<InstanceName, Features>,
    sheet: Sheet,
    /// Now, and how old a quote may be for a new place.
    quotes: Option<(Instant, Millis)>,
}

impl Table {
    /// A table over these offers, with what their providers can do and what the places' standing means.
    pub fn new(
        offers: Arc<Vec<PlacedOffer>>,
        features: BTreeMap<InstanceName, Features>,
        sheet: Sheet,
    ) -> Self {
        Self {
            offers,
            features,
            sheet,
            quotes: None,
        }
    }

    /// The same table, in which nothing new is placed at a price that was quoted longer ago than this.
    #[must_use]
    pub fn refusing_quotes(self, now: Instant, older_than: Millis) -> Self {
        Self {
            quotes: Some((now, older_than)),
            ..self
        }
    }

    /// The offers that it is about.
    pub fn offers(&self) -> &[PlacedOffer] {
        &self.offers
    }

    /// One offer, to be changed. Requests that were built before keep what they have.
    pub fn offer_mut(&mut self, i: usize) -> Option<&mut Offer> {
        Arc::make_mut(&mut self.offers)
            .get_mut(i)
            .map(|placed| &mut placed.offer)
    }

    /// The same table without the offers of these providers.
    #[must_use]
    pub fn without(&self, providers: &BTreeSet<InstanceName>) -> Self {
        if providers.is_empty() {
            return self.clone();
        }
        let offers = self
            .offers
            .iter()
            .filter(|placed| !providers.contains(&placed.provider))
            .cloned()
            .collect();
        Self {
            offers: Arc::new(offers),
            ..self.clone()
        }
    }

    /// The same table with its offers changed.
    #[must_use]
    pub fn map_offers(self, change: impl FnMut(&mut PlacedOffer)) -> Self {
        let mut offers = Arc::unwrap_or_clone(self.offers);
        offers.iter_mut().for_each(change);
        Self {
            offers: Arc::new(offers),
            ..self
        }
    }

    /// Whether an offer satisfies every hard constraint; `held` says that the task runs there already, and so needs no free capacity.
    pub fn admits(&self, need: &Need, placed: &PlacedOffer, held: bool) -> Result<(), Exclusion> {
        let PlacedOffer { provider, offer } = placed;
        let Constraints {
            providers,
            regions,
            spot,
            max_price,
            labels,
            ..
        } = &need.constraints;
        let resources = &need.resources;
        let refuse_if = |bad: bool, why: fn() -> Exclusion| if bad { Err(why()) } else { Ok(()) };
        if !providers.is_empty() && !providers.contains(provider) {
            return Err(Exclusion::Provider(provider.clone()));
        }
        if let Some(what) = need
            .features
            .missing(self.features.get(provider).copied().unwrap_or_default())
        {
            return Err(Exclusion::Feature(provider.clone(), what));
        }
        if let Some(why) = need.closed_at(provider, None) {
            return Err(why.exclusion(provider));
        }
        if let Some(cause) = need
            .left
            .get(provider)
            .and_then(|offers| offers.get(&*offer.id))
        {
            return Err(Exclusion::Left {
                cause: cause.clone(),
            });
        }
        refuse_if(
            !regions.is_empty() && !regions.iter().any(|r| r.as_str() == &*offer.region),
            || Exclusion::Region,
        )?;
        if let Some((key, value)) = labels.iter().find(|(k, v)| offer.labels.get(*k) != Some(v)) {
            return Err(Exclusion::Label(key.clone(), value.clone()));
        }
        refuse_if(offer.spot && !spot, || Exclusion::Spot)?;
        if offer.cpu < resources.cpu {
            return Err(Exclusion::Cpu(resources.cpu));
        }
        if offer.memory < resources.memory {
            return Err(Exclusion::Memory(resources.memory));
        }
        if offer.disk < resources.disk {
            return Err(Exclusion::Disk(resources.disk));
        }
        for want in &resources.accelerators {
            let kind_fits = want.kind.is_empty() || *want.kind == *offer.accelerator;
            if !kind_fits
                || offer.accelerator_count < want.count
                || offer.accelerator_memory < want.memory
            {
                let kind = if want.kind.is_empty() {
                    "accelerators"
                } else {
                    &want.kind
                };
                return Err(Exclusion::Accelerator(format!("{} × {kind}", want.count)));
            }
        }
        if let Some(max) = max_price
            && cost::hourly(resources, offer) > *max
        {
            return Err(Exclusion::Price(*max));
        }
        if let Some(most) = need.constraints.deadline
            && need.time().on(offer) > most
        {
            return Err(Exclusion::Deadline(most));
        }
        if let Some(cordoned) = self.sheet.cordoned(provider, offer) {
            return Err(cordoned);
        }
        if held {
            return Ok(());
        }
        if let Some(why) = need.closed_at(provider, Some(&offer.id)) {
            return Err(why.exclusion(provider));
        }
        let full = offer.capacity == 0
            || (offer.shared
                && (offer.free_cpu < u64::from(resources.cpu.0)
                    || offer.free_memory < resources.memory.0));
        refuse_if(full, || Exclusion::Capacity)?;
        if let Some((now, ttl)) = self.quotes
            && now.since(offer.quoted_at) > ttl
        {
            return Err(Exclusion::Stale(ttl));
        }
        self.sheet.exclusion(provider, offer).map_or(Ok(()), Err)
    }

    /// What a cost comes to when what has been failing lately goes on failing. Exact where nothing has.
    fn expected(&self, cost: MicroUsd, placed: &PlacedOffer) -> MicroUsd {
        let measured = self.sheet.measured(&placed.provider, &placed.offer.region);
        if measured == Measured::default() {
            cost
        } else {
            cost.scaled(weight(&measured))
        }
    }

    /// What a new replica costs per hour at each offer that it may use now, and how long it is paid for there (T).
    pub fn prices<'a>(&'a self, need: &'a Need) -> impl Iterator<Item = (MicroUsd, Millis)> + 'a {
        let admitted = self
            .offers
            .iter()
            .filter(|placed| self.admits(need, placed, false).is_ok());
        admitted.map(|placed| {
            (
                cost::hourly(&need.resources, &placed.offer),
                need.time().on(&placed.offer),
            )
        })
    }

    fn holds(want: &Want, placed: &PlacedOffer) -> bool {
        want.current
            .iter()
            .any(|(p, id, _)| *p == placed.provider && **id == *placed.offer.id)
    }

    /// Whether a task may go there: its need, and what it is bound to.
    fn takes(&self, want: &Want, placed: &PlacedOffer) -> Result<(), Exclusion> {
        let Constraints {
            affinity,
            anti_affinity,
            ..
        } = &want.need.constraints;
        let elsewhere = affinity
            .as_ref()
            .filter(|group| !want.bounds.admits_together(group, placed));
        let occupied = anti_affinity
            .as_ref()
            .filter(|group| !want.bounds.admits_apart(group, placed));
        if let Some(Group { word, over }) = elsewhere {
            return Err(Exclusion::Affinity(word.clone(), *over));
        }
        if let Some(Group { word, over }) = occupied {
            return Err(Exclusion::AntiAffinity(word.clone(), *over));
        }
        self.admits(&want.need, placed, Self::holds(want, placed))
    }

    fn admitted<'a>(&'a self, want: &'a Want) -> impl Iterator<Item = (u32, &'a PlacedOffer)> {
        (0u32..)
            .zip(self.offers.iter())
            .filter(move |(_, placed)| self.takes(want, placed).is_ok())
    }

    /// The candidates of one task, best first.
    pub fn ranked(&self, want: &Want, by: RankBy) -> Vec<u32> {
        let mut rows: Vec<(MicroUsd, u32)> = self
            .admitted(want)
            .map(|(i, placed)| match by {
                RankBy::Cost => (want.need.terms(&placed.offer).cost, i),
            })
            .collect();
        rows.sort_unstable();
        rows.into_iter().map(|(_, i)| i).collect()
    }

    /// What excluded the offers that are no candidates, most frequent first.
    pub fn excluded(&self, want: &Want) -> Vec<ExcludedCount> {
        self.limits(want)
            .excluded
            .iter()
            .map(Excluded::view)
            .collect()
    }

    /// What excludes offers from a task, as it is told over and over: equal as long as nothing changes. What somebody can lift by a command
    /// comes first, then what is most frequent.
    pub fn hindrances(&self, want: &Want) -> Vec<String> {
        let mut by_reason: BTreeMap<String, (bool, usize)> = BTreeMap::new();
        for why in self
            .offers
            .iter()
            .filter_map(|placed| self.takes(want, placed).err())
        {
            let (cordoned, offers) = by_reason.entry(why.lasting()).or_default();
            *cordoned |= matches!(why, Exclusion::Cordoned { .. });
            *offers += 1;
        }
        let mut reasons: Vec<(String, (bool, usize))> = by_reason.into_iter().collect();
        reasons.sort_by_key(|(_, rank)| std::cmp::Reverse(*rank));
        reasons.into_iter().map(|(why, _)| why).collect()
    }

    /// Whether no offer can ever take it as it is: each is excluded by what it is, not by what is left of it or how its place does. False
    /// where nothing is offered.
    pub fn never_fits(&self, want: &Want) -> bool {
        !self.offers.is_empty()
            && self
                .offers
                .iter()
                .all(|placed| self.takes(want, placed).is_err_and(|why| why.is_lasting()))
    }

    /// What is not shown to a policy of the want's constraints, and which offers they excluded, most frequent first.
    pub fn limits(&self, want: &Want) -> ShapeLimits {
        let mut by_reason: BTreeMap<Exclusion, Vec<u32>> = BTreeMap::new();
        for (i, placed) in (0u32..).zip(self.offers.iter()) {
            if let Err(why) = self.takes(want, placed) {
                by_reason.entry(why).or_default().push(i);
            }
        }
        let one = |(why, offers): (Exclusion, Vec<u32>)| Excluded {
            reason: why.to_string(),
            measure: why.measure(),
            offers,
        };
        let mut excluded: Vec<_> = by_reason.into_iter().map(one).collect();
        excluded.sort_by_key(|e| std::cmp::Reverse(e.offers.len()));
        ShapeLimits {
            max_hourly: want.need.constraints.max_price,
            excluded,
        }
    }
}

/// The request of one batch. Task i of the request is want i.
pub fn build(wants: &[Want], table: &Table, seed: u64) -> Request {
    let mut shapes: Vec<Shape> = Vec::new();
    let mut candidates = Candidates {
        start: vec![0],
        ..Default::default()
    };
    let mut domains: Vec<u32> = Vec::new();
    // A task that holds an offer may keep it where a new one could not begin, so what is held is part of the shape.
    type Key<'a> = (&'a Need, Vec<(&'a InstanceName, &'a str)>, &'a Bounds);
    let mut known: HashMap<Key<'_>, u32> = HashMap::new();
    let mut by_id: Option<HashMap<(&str, &str), u32>> = None;
    let mut tasks = Vec::with_capacity(wants.len());
    for want in wants {
        let held = want
            .current
            .iter()
            .map(|(p, id, _)| (p, id.as_str()))
            .collect();
        let shape = *known
            .entry((&want.need, held, &want.bounds))
            .or_insert_with(|| {
                let mut seen: BTreeSet<(&str, &str, &str)> = BTreeSet::new();
                for (i, placed) in table.admitted(want) {
                    let terms = want.need.terms(&placed.offer);
                    candidates.offer.push(i);
                    candidates.cost.push(terms.cost.0);
                    candidates
                        .expected
                        .push(table.expected(terms.cost, placed).0);
                    candidates.hourly.push(terms.hourly.0);
                    candidates.units.push(terms.units);
                    candidates.hours.push(terms.hours);
                    if want.need.constraints.spread != Spread::None {
                        seen.insert(domain(want.need.constraints.spread, placed));
                    }
                }
                candidates.start.push(index(candidates.offer.len()));
                domains.push(index(seen.len()));
                shapes.push(Shape {
                    resources: want.need.resources.clone(),
                    duration: want.need.duration,
                });
                index(shapes.len() - 1)
            });
        let spread = want.need.constraints.spread;
        let even = |domains: u32| want.replicas.div_ceil(domains.max(1));
        let spread_max = match spread {
            Spread::None => u32::MAX,
            _ => want
                .need
                .constraints
                .spread_max
                .unwrap_or_else(|| even(domains.get(shape as usize).copied().unwrap_or(1))),
        };
        let current = want.current.iter().filter_map(|(provider, id, replicas)| {
            let ids = by_id.get_or_insert_with(|| offers_by_id(table));
            ids.get(&(provider.as_str(), id.as_str()))
                .map(|&i| (i, *replicas))
        });
        tasks.push(Task {
            namespace: want.namespace.clone(),
            deployment: want.deployment.clone(),
            name: want.task.clone(),
            shape,
            replicas: want.replicas,
            priority: want.priority,
            job: want.need.job,
            spread,
            spread_max,
            max_hourly: want.max_hourly,
            current: current.collect(),
            labels: want.labels.clone(),
            affinity: in_namespace(want, &want.need.constraints.affinity),
            anti_affinity: in_namespace(want, &want.need.constraints.anti_affinity),
            deadline: want.need.constraints.deadline,
            expected: want.expected,
        });
    }
    Request {
        seed,
        tasks,
        shapes,
        candidates,
        offers: table.offers.clone(),
    }
}

fn offers_by_id(table: &Table) -> HashMap<(&str, &str), u32> {
    (0u32..)
        .zip(table.offers())
        .map(|(i, p)| ((p.provider.as_str(), &*p.offer.id), i))
        .collect()
}

/// A word binds tasks of one namespace: a policy, which sees all, is told so.
fn in_namespace(want: &Want, group: &Option<Group>) -> Option<Group> {
    group.as_ref().map(|g| Group {
        word: format!("{}/{}", want.namespace, g.word),
        over: g.over,
    })
}

/// Counts stay far below `u32::MAX`: the host caps offers and tasks.
fn index(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
