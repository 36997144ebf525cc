//! Requests for policies, and answers in words.

use std::collections::BTreeMap;

use crate::{
    Error,
    bindings::{
        policy::exports::tradewind::plugin::scheduling_policy as wire,
        provider::tradewind::plugin::types as wire_types,
    },
    policy::{Answer, Columns, Policy, Request, Score, Scored, Spread, decide},
    provider::{Offer, Strings, columns},
    units::{Cpu, GIB, Money, Size},
};

/// An offer of a batch.
#[derive(Debug, Clone)]
pub struct OfferSpec {
    provider: String,
    offer: Offer,
}

/// A task of a batch: one replica of one core and 1 GiB for one hour, unless it says otherwise.
#[derive(Debug, Clone)]
pub struct TaskSpec {
    name: String,
    replicas: u32,
    cpu: u32,
    memory: u64,
    hours: f64,
    job: bool,
    priority: i32,
    spread: Spread,
    spread_max: u32,
    max_hourly: u64,
    current: Vec<(String, u32)>,
    only: Option<Vec<String>>,
    affinity: (String, Spread),
    anti_affinity: (String, Spread),
    migration_cost: u64,
    request_rate: f64,
}

/// Offers and tasks of one decision.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    offers: Vec<OfferSpec>,
    tasks: Vec<TaskSpec>,
}

/// What a policy decided, by names.
#[derive(Debug, Clone)]
pub struct Placement {
    /// Task to offer to replicas.
    pub choices: BTreeMap<String, BTreeMap<String, u32>>,
    /// Task to (replicas, reason).
    pub unplaced: BTreeMap<String, (u32, String)>,
    /// The answer itself.
    pub answer: Answer,
}

impl OfferSpec {
    /// Eight cores, 32 GiB, at this price per hour in US dollars.
    pub fn new(id: &str, usd: f64) -> Self {
        let price = Money((usd * 1e6).round() as u64);
        Self {
            provider: "cloud".to_owned(),
            offer: Offer::new(id, Cpu(8000), Size(32 * GIB), price),
        }
    }

    /// Of this provider instance.
    #[must_use]
    pub fn provider(mut self, provider: &str) -> Self {
        provider.clone_into(&mut self.provider);
        self
    }

    /// In this region and zone.
    #[must_use]
    pub fn place(mut self, region: &str, zone: &str) -> Self {
        region.clone_into(&mut self.offer.region);
        zone.clone_into(&mut self.offer.zone);
        self
    }

    /// With room for so many more replicas.
    #[must_use]
    pub fn capacity(mut self, capacity: u32) -> Self {
        self.offer.capacity = capacity;
        self
    }

    /// Anything else.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Offer)) -> Self {
        change(&mut self.offer);
        self
    }
}

impl TaskSpec {
    /// A service of so many replicas.
    pub fn new(name: &str, replicas: u32) -> Self {
        Self {
            name: name.to_owned(),
            replicas,
            cpu: 1000,
            memory: GIB,
            hours: 1.0,
            job: false,
            priority: 0,
            spread: Spread::None,
            spread_max: u32::MAX,
            max_hourly: u64::MAX,
            current: Vec::new(),
            only: None,
            affinity: (String::new(), Spread::None),
            anti_affinity: (String::new(), Spread::None),
            migration_cost: 0,
            request_rate: f64::NAN,
        }
    }

    /// Millicores and bytes of one replica.
    #[must_use]
    pub fn needs(mut self, cpu: u32, memory: u64) -> Self {
        (self.cpu, self.memory) = (cpu, memory);
        self
    }

    /// It runs to its end: its duration is that on the reference machine, and faster offers shorten it.
    #[must_use]
    pub fn job(mut self) -> Self {
        self.job = true;
        self
    }

    /// The estimated duration: a job's on the reference machine, a service's by the clock.
    #[must_use]
    pub fn hours(mut self, hours: f64) -> Self {
        self.hours = hours;
        self
    }

    /// Higher goes first.
    #[must_use]
    pub fn priority(mut self, priority: i32) -> Self {
        self.priority = priority;
        self
    }

    /// At most so many in one domain.
    #[must_use]
    pub fn spread(mut self, over: Spread, max: u32) -> Self {
        (self.spread, self.spread_max) = (over, max);
        self
    }

    /// At most so many US dollars per hour in all.
    #[must_use]
    pub fn max_hourly(mut self, usd: f64) -> Self {
        self.max_hourly = (usd * 1e6).round() as u64;
        self
    }

    /// So many replicas run on this offer now.
    #[must_use]
    pub fn runs_on(mut self, offer: &str, replicas: u32) -> Self {
        self.current.push((offer.to_owned(), replicas));
        self
    }

    /// Only these offers are candidates, as if some constraint excluded the others.
    #[must_use]
    pub fn only(mut self, offers: &[&str]) -> Self {
        self.only = Some(offers.iter().map(|offer| (*offer).to_owned()).collect());
        self
    }

    /// Shares such a domain with every task of the same word.
    #[must_use]
    pub fn affinity(mut self, word: &str, over: Spread) -> Self {
        self.affinity = (word.to_owned(), over);
        self
    }

    /// Shares no such domain with any task of the same word.
    #[must_use]
    pub fn anti_affinity(mut self, word: &str, over: Spread) -> Self {
        self.anti_affinity = (word.to_owned(), over);
        self
    }

    /// What moving one running replica costs, in US dollars.
    #[must_use]
    pub fn migration_cost(mut self, usd: f64) -> Self {
        self.migration_cost = (usd * 1e6).round() as u64;
        self
    }

    /// Requests per second that it is expected to serve in all.
    #[must_use]
    pub fn request_rate(mut self, rate: f64) -> Self {
        self.request_rate = rate;
        self
    }
}

impl TaskSpec {
    fn same_shape(&self, other: &Self) -> bool {
        (
            self.cpu,
            self.memory,
            self.hours.to_bits(),
            self.job,
            &self.only,
        ) == (
            other.cpu,
            other.memory,
            other.hours.to_bits(),
            other.job,
            &other.only,
        )
    }

    fn has_domains(&self) -> bool {
        [self.spread, self.affinity.1, self.anti_affinity.1]
            .iter()
            .any(|over| *over != Spread::None)
    }
}

impl Batch {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an offer.
    #[must_use]
    pub fn offer(mut self, offer: OfferSpec) -> Self {
        self.offers.push(offer);
        self
    }

    /// Adds a task.
    #[must_use]
    pub fn task(mut self, task: TaskSpec) -> Self {
        self.tasks.push(task);
        self
    }

    /// Calls a policy with these settings, and panics when its answer breaks a limit that the host would refuse it for.
    ///
    /// # Errors
    /// What the policy answers, or settings that don't fit.
    pub fn place<P: Policy>(&self, settings: &str) -> Result<Placement, Error> {
        let mut request = self.request(P::info().columns);
        settings.clone_into(&mut request.settings);
        let answer = decide::<P>(request)?;
        self.check(&answer);
        Ok(self.named(answer))
    }

    /// The same for a policy that only ranks.
    ///
    /// # Errors
    /// As [`place`](Self::place).
    pub fn rank<S: Score>(&self, settings: &str) -> Result<Placement, Error> {
        self.place::<Scored<S>>(settings)
    }

    /// The request as the host makes it for a policy that reads these columns.
    pub fn view(&self, columns: Columns) -> Request {
        Request::new(self.request(columns))
    }

    fn index(&self, offer: &str) -> Option<u32> {
        self.offers
            .iter()
            .position(|known| known.offer.id == offer)
            .map(|index| index as u32)
    }

    fn fits(&self, task: &TaskSpec, offer: &Offer) -> bool {
        let allowed = task
            .only
            .as_ref()
            .is_none_or(|only| only.contains(&offer.id));
        allowed && offer.cpu >= task.cpu && offer.memory >= task.memory
    }

    fn cost(task: &TaskSpec, offer: &Offer) -> (u64, u64, f64, f64) {
        use crate::types::PriceUnit;
        let (cores, gib) = (
            f64::from(task.cpu) / 1000.0,
            task.memory as f64 / GIB as f64,
        );
        let units = match offer.price_unit {
            PriceUnit::Instance => 1.0,
            PriceUnit::Cpu => cores,
            PriceUnit::CpuMemory => cores * gib,
        };
        let hours = if task.job {
            task.hours / offer.performance
        } else {
            task.hours
        };
        let hourly = offer.price as f64 * units + offer.memory_price as f64 * gib;
        (
            (hourly * hours).round() as u64 + offer.setup_price,
            hourly.round() as u64,
            units,
            hours,
        )
    }

    fn request(&self, wanted: Columns) -> wire::PlaceRequest {
        let mut strings = Strings::new();
        let mut tasks = wire::Tasks {
            namespace: Vec::new(),
            deployment: Vec::new(),
            name: Vec::new(),
            shape: Vec::new(),
            replicas: Vec::new(),
            priority: Vec::new(),
            job: Vec::new(),
            spread: Vec::new(),
            spread_max: Vec::new(),
            max_hourly: Vec::new(),
            current_start: vec![0],
            current_offer: Vec::new(),
            current_replicas: Vec::new(),
            label_start: Vec::new(),
            labels: Vec::new(),
            affinity: Vec::new(),
            affinity_domain: Vec::new(),
            anti_affinity: Vec::new(),
            anti_affinity_domain: Vec::new(),
            deadline: Vec::new(),
            migration_cost: Vec::new(),
            egress: Vec::new(),
            request_rate: Vec::new(),
        };
        let mut shapes = wire::Shapes {
            cpu: Vec::new(),
            memory: Vec::new(),
            disk: Vec::new(),
            accelerator: Vec::new(),
            accelerator_count: Vec::new(),
            duration: Vec::new(),
            candidate_start: vec![0],
        };
        let mut candidates = wire::Candidates {
            offer: Vec::new(),
            cost: Vec::new(),
            hourly: Vec::new(),
            units: Vec::new(),
            hours: Vec::new(),
        };
        let terms = wanted.contains(Columns::TERMS)
            || self.tasks.iter().any(|task| task.max_hourly != u64::MAX);
        let mut known: Vec<(&TaskSpec, u32)> = Vec::new();
        for task in &self.tasks {
            let shape = known
                .iter()
                .find(|(other, _)| other.same_shape(task))
                .map(|(_, shape)| *shape);
            let shape = shape.unwrap_or_else(|| {
                let shape = shapes.cpu.len() as u32;
                known.push((task, shape));
                self.shape(
                    task,
                    wanted.contains(Columns::TERMS),
                    terms,
                    &mut shapes,
                    &mut candidates,
                );
                shape
            });
            tasks.namespace.push(strings.index("default"));
            tasks.deployment.push(strings.index("test"));
            tasks.name.push(strings.index(&task.name));
            tasks.shape.push(shape);
            tasks.replicas.push(task.replicas);
            tasks.priority.push(task.priority);
            tasks.job.push(u8::from(task.job));
            tasks.spread.push(task.spread as u8);
            tasks.spread_max.push(task.spread_max);
            tasks.max_hourly.push(task.max_hourly);
            for (offer, replicas) in &task.current {
                tasks.current_offer.extend(self.index(offer));
                tasks
                    .current_replicas
                    .extend(self.index(offer).map(|_| *replicas));
            }
            tasks.current_start.push(tasks.current_offer.len() as u32);
            tasks.affinity.push(strings.index(&task.affinity.0));
            tasks.affinity_domain.push(task.affinity.1 as u8);
            tasks
                .anti_affinity
                .push(strings.index(&task.anti_affinity.0));
            tasks.anti_affinity_domain.push(task.anti_affinity.1 as u8);
            tasks.migration_cost.push(task.migration_cost);
            tasks.request_rate.push(task.request_rate);
        }
        let spreads = self.tasks.iter().any(TaskSpec::has_domains);
        let wanted = if spreads {
            wanted | Columns::PROVIDER | Columns::REGION | Columns::ZONE
        } else {
            wanted
        };
        let mut offers = columns(self.offers.iter().map(|spec| spec.offer.clone()).collect());
        let base = strings.append(std::mem::take(&mut offers.strings));
        let provider_of = self
            .offers
            .iter()
            .map(|spec| strings.index(&spec.provider))
            .collect();
        narrow(&mut offers, wanted, &base);
        wire::PlaceRequest {
            strings: strings.into_list(),
            settings: String::new(),
            seed: 1,
            tasks,
            shapes,
            candidates,
            offers,
            provider_of: if wanted.contains(Columns::PROVIDER) {
                provider_of
            } else {
                Vec::new()
            },
        }
    }

    /// Adds a shape and its candidates.
    fn shape(
        &self,
        task: &TaskSpec,
        terms: bool,
        hourly: bool,
        shapes: &mut wire::Shapes,
        candidates: &mut wire::Candidates,
    ) {
        for (offer, spec) in self
            .offers
            .iter()
            .enumerate()
            .filter(|(_, spec)| self.fits(task, &spec.offer))
        {
            let (cost, per_hour, units, hours) = Self::cost(task, &spec.offer);
            candidates.offer.push(offer as u32);
            candidates.cost.push(cost);
            if hourly {
                candidates.hourly.push(per_hour);
            }
            if terms {
                candidates.units.push(units);
                candidates.hours.push(hours);
            }
        }
        shapes.cpu.push(task.cpu);
        shapes.memory.push(task.memory);
        shapes.disk.push(0);
        shapes.accelerator.push(0);
        shapes.accelerator_count.push(0);
        shapes.duration.push((task.hours * 3_600_000.0) as u64);
        shapes.candidate_start.push(candidates.offer.len() as u32);
    }

    fn named(&self, answer: Answer) -> Placement {
        let mut placement = Placement {
            choices: BTreeMap::new(),
            unplaced: BTreeMap::new(),
            answer: answer.clone(),
        };
        let task = |index: u32| {
            self.tasks
                .get(index as usize)
                .map_or_else(String::new, |task| task.name.clone())
        };
        let offer = |index: u32| {
            self.offers
                .get(index as usize)
                .map_or_else(String::new, |spec| spec.offer.id.clone())
        };
        for (chosen, on, replicas) in answer.choices() {
            placement
                .choices
                .entry(task(chosen))
                .or_default()
                .insert(offer(on), replicas);
        }
        for (left, replicas, reason) in answer.left() {
            placement
                .unplaced
                .insert(task(left), (replicas, reason.to_owned()));
        }
        placement
    }

    /// The host's rules, written down a second time and plainly, so that a policy's own book-keeping is not judged by itself.
    fn check(&self, answer: &Answer) {
        let mut seen = std::collections::BTreeSet::new();
        let mut of_task: BTreeMap<u32, (u32, u64)> = BTreeMap::new();
        let mut of_domain: BTreeMap<(u32, String), u32> = BTreeMap::new();
        let mut of_offer: BTreeMap<u32, (u64, u64, u64)> = BTreeMap::new();
        for (task, offer, replicas) in answer.choices() {
            let (Some(wanted), Some(spec)) = (
                self.tasks.get(task as usize),
                self.offers.get(offer as usize),
            ) else {
                refuse(&format!("task {task} or offer {offer} does not exist"));
            };
            require(replicas > 0, "zero replicas");
            require(
                seen.insert((task, offer)),
                "a pair of task and offer appears twice",
            );
            require(
                self.fits(wanted, &spec.offer),
                "an offer that is no candidate",
            );
            let held: u32 = wanted
                .current
                .iter()
                .filter(|(id, _)| *id == spec.offer.id)
                .map(|(_, held)| held)
                .sum();
            let added = u64::from(replicas.saturating_sub(held));
            let used = of_offer.entry(offer).or_default();
            *used = (
                used.0 + added,
                used.1 + added * u64::from(wanted.cpu),
                used.2 + added * wanted.memory,
            );
            let unlimited = spec.offer.capacity == u32::MAX;
            require(
                unlimited || used.0 <= u64::from(spec.offer.capacity),
                "an offer's capacity is overfilled",
            );
            require(
                !spec.offer.shared
                    || (used.1 <= spec.offer.free_cpu && used.2 <= spec.offer.free_memory),
                "a shared offer is overfilled",
            );
            let got = of_task.entry(task).or_default();
            *got = (
                got.0 + replicas,
                got.1 + Self::cost(wanted, &spec.offer).1 * u64::from(replicas),
            );
            require(got.0 <= wanted.replicas, "more replicas than wanted");
            require(got.1 <= wanted.max_hourly, "the limit per hour is exceeded");
            let count = of_domain
                .entry((task, spec.domain(wanted.spread)))
                .or_default();
            *count += replicas;
            require(
                *count <= wanted.spread_max,
                "too many replicas in one domain",
            );
        }
        self.check_affinity(answer);
        require(
            answer.scores.iter().all(|score| !score.is_nan()),
            "a score is not a number",
        );
    }
}

impl Batch {
    /// Every pair of choices, by itself.
    fn check_affinity(&self, answer: &Answer) {
        let choices: Vec<(u32, &TaskSpec, &OfferSpec)> = answer
            .choices()
            .filter_map(|(task, offer, _)| {
                Some((
                    task,
                    self.tasks.get(task as usize)?,
                    self.offers.get(offer as usize)?,
                ))
            })
            .collect();
        for (task, a, on) in &choices {
            for (other, b, beside) in &choices {
                let same = |over: Spread| on.domain(over) == beside.domain(over);
                if !a.affinity.0.is_empty() && a.affinity.0 == b.affinity.0 {
                    require(
                        same(a.affinity.1),
                        "tasks of one affinity are in two domains",
                    );
                }
                if task != other
                    && !a.anti_affinity.0.is_empty()
                    && a.anti_affinity.0 == b.anti_affinity.0
                {
                    require(
                        !same(a.anti_affinity.1),
                        "tasks of one anti-affinity share a domain",
                    );
                }
            }
        }
    }
}

impl OfferSpec {
    fn domain(&self, over: Spread) -> String {
        match over {
            Spread::None => String::new(),
            Spread::Provider => self.provider.clone(),
            Spread::Region => format!("{}/{}", self.provider, self.offer.region),
            Spread::Zone => format!(
                "{}/{}/{}",
                self.provider, self.offer.region, self.offer.zone
            ),
        }
    }
}

fn require(met: bool, what: &str) {
    if !met {
        refuse(what);
    }
}

#[allow(clippy::panic, reason = "a test kit fails tests")]
fn refuse(what: &str) -> ! {
    panic!("the host would refuse this answer: {what}")
}

/// Empties the columns that were not asked for, and renumbers the texts of the others.
fn narrow(offers: &mut wire_types::Offers, wanted: Columns, renumbered: &[u32]) {
    macro_rules! keep {
        ($($flag:ident: $($column:ident),+;)+) => { $(if !wanted.contains(Columns::$flag) { $(offers.$column = Vec::new();)+ })+ };
    }
    keep! {
        ID: id; REGION: region; ZONE: zone; SIZE: size; RESOURCES: cpu, memory, disk;
        ACCELERATOR: accelerator, accelerator_count, accelerator_memory;
        PRICE: price, price_unit, memory_price, setup_price; EGRESS_PRICE: egress_price; SHARED: shared; SPOT: spot;
        PERFORMANCE: performance; AVAILABILITY: availability; LATENCY: latency; BANDWIDTH: bandwidth;
        INTERRUPTION_RATE: interruption_rate; FAILURE_RATE: failure_rate; TIME_TO_READY: time_to_ready; LOAD: load; CARBON: carbon;
        QUOTE: source, quoted_at; LABELS: label_start, labels; METRICS: metrics;
    }
    let texts = [
        &mut offers.id,
        &mut offers.region,
        &mut offers.zone,
        &mut offers.size,
        &mut offers.accelerator,
        &mut offers.source,
        &mut offers.labels,
    ];
    for column in texts {
        for index in column.iter_mut() {
            *index = renumbered.get(*index as usize).copied().unwrap_or(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_arrive_only_when_asked_for_and_read_as_their_defaults_otherwise() {
        let offer = OfferSpec::new("a", 0.5).place("eu", "eu-1").with(|offer| {
            offer.latency = 12.0;
            offer.labels = vec![("platform".into(), "EKS".into())];
        });
        let batch = Batch::new()
            .offer(offer)
            .task(TaskSpec::new("web", 2).runs_on("a", 1));
        let bare = batch.view(Columns::empty());
        let task = bare.tasks().next().unwrap();
        let candidate = task.candidates().next().unwrap();
        assert_eq!(
            (
                candidate.cost(),
                candidate.hourly(),
                candidate.offer().region()
            ),
            (500_000, 0, "")
        );
        assert!(
            candidate.offer().latency().is_nan() && candidate.offer().label("platform").is_none()
        );
        assert_eq!((task.name(), task.held(0), task.replicas()), ("web", 1, 2));

        let full = batch.view(Columns::all());
        let offer = full
            .tasks()
            .next()
            .unwrap()
            .candidates()
            .next()
            .unwrap()
            .offer();
        assert_eq!(
            (
                offer.provider(),
                offer.id(),
                offer.region(),
                offer.zone(),
                offer.latency()
            ),
            ("cloud", "a", "eu", "eu-1", 12.0)
        );
        assert_eq!(offer.label("platform"), Some("EKS"));
    }
}
