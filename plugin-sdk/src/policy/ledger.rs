//! The hard limits of a batch, kept as choices are made: capacity, the free room of shared offers, spread, affinity and the limit per hour.
//!
//! The rules are the host's: what runs on an offer already keeps its place without needing new capacity; only additions need some.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};

use super::{Answer, Candidate, Domain, Request, Spread, Task, affinity::Affinity};

/// Keeps count of what is taken, and writes the answer.
///
/// ```no_run
/// # use tradewind_plugin_sdk::policy::{Answer, Ledger, Request};
/// # fn f(request: &Request) -> Answer {
/// let mut ledger = Ledger::new(request);
/// for task in request.tasks_by_priority() {
///     for candidate in task.candidates() {
///         ledger.place(task, candidate, task.replicas());
///     }
/// }
/// ledger.finish()
/// # }
/// ```
pub struct Ledger<'a> {
    request: &'a Request,
    taken: HashMap<u32, Taken, BuildHasherDefault<IndexHasher>>,
    tasks: Vec<Placed>,
    affinity: Affinity<'a>,
    /// Whether shared room is bounded at all: saves two look-ups for each candidate when it is not.
    bounded_room: bool,
}

/// What additions took of an offer.
#[derive(Clone, Copy, Default)]
struct Taken {
    replicas: u32,
    cpu: u64,
    memory: u64,
}

/// What one task got.
#[derive(Clone, Default)]
struct Placed {
    replicas: u32,
    hourly: u64,
    choices: Vec<(u32, u32)>,
    /// How many are in each domain that some limit is about.
    domains: Vec<(Domain, u32)>,
    /// The policy's own limit.
    own: Option<(Spread, u32)>,
    limit: Limits,
    reason: Option<String>,
}

/// What stood in the way of more.
#[derive(Clone, Copy, Default)]
struct Limits {
    capacity: bool,
    /// The most in one domain, and its kind.
    spread: Option<(Spread, u32)>,
    affinity: bool,
    hourly: bool,
}

impl<'a> Ledger<'a> {
    /// An empty ledger.
    pub fn new(request: &'a Request) -> Self {
        let offers = &request.wire.offers;
        let bounded_room = !offers.free_cpu.is_empty() || !offers.free_memory.is_empty();
        let tasks = vec![Placed::default(); request.tasks().len()];
        Self {
            request,
            taken: HashMap::default(),
            tasks,
            affinity: Affinity::of(request),
            bounded_room,
        }
    }

    /// At most so many replicas of a task in one domain, as the policy wants it, on top of what the task itself wants. Say it before the
    /// task's first replica is placed.
    pub fn limit(&mut self, task: Task<'_>, over: Spread, most: u32) {
        if let Some(placed) = self.tasks.get_mut(task.index() as usize) {
            placed.own = Some((over, most));
        }
    }

    /// Ends the policy's own limit of a task.
    pub fn lift(&mut self, task: Task<'_>) {
        if let Some(placed) = self.tasks.get_mut(task.index() as usize) {
            placed.own = None;
        }
    }

    /// What replicas of a task without a place are told, instead of the limit that stood in the way.
    pub fn explain(&mut self, task: Task<'_>, reason: impl Into<String>) {
        if let Some(placed) = self.tasks.get_mut(task.index() as usize) {
            placed.reason = Some(reason.into());
        }
    }

    /// The kind of domain that all tasks of this one's affinity must share: the narrowest that any of them names.
    pub fn together(&self, task: Task<'a>) -> Option<Spread> {
        self.affinity.together(task)
    }

    /// The kind of domain that no two tasks of this one's anti-affinity may share: the widest that any of them names.
    pub fn apart(&self, task: Task<'a>) -> Option<Spread> {
        self.affinity.apart(task)
    }

    /// Where a task's replicas have been placed: offer and replicas.
    pub fn choices(&self, task: Task<'_>) -> impl Iterator<Item = (u32, u32)> {
        self.tasks
            .get(task.index() as usize)
            .into_iter()
            .flat_map(|placed| placed.choices.iter().copied())
    }

    /// Replicas of this task that still have no place.
    pub fn missing(&self, task: Task<'_>) -> u32 {
        task.replicas().saturating_sub(
            self.tasks
                .get(task.index() as usize)
                .map_or(0, |placed| placed.replicas),
        )
    }

    /// How many additional replicas of this candidate's shape the offer can take, whoever they belong to. `u32::MAX`: no known limit.
    pub fn free(&self, task: Task<'_>, candidate: Candidate<'_>) -> u32 {
        let offer = candidate.offer();
        let taken = if self.taken.is_empty() {
            Taken::default()
        } else {
            self.taken.get(&offer.index()).copied().unwrap_or_default()
        };
        let capacity = offer.capacity();
        let mut free = if capacity == u32::MAX {
            u32::MAX
        } else {
            capacity.saturating_sub(taken.replicas)
        };
        if self.bounded_room {
            let shape = task.shape();
            free = free.min(room(offer.free_cpu(), taken.cpu, u64::from(shape.cpu())));
            free = free.min(room(offer.free_memory(), taken.memory, shape.memory()));
        }
        free
    }

    /// How many more replicas of this task this candidate can take within every limit, at most those that are missing.
    pub fn room(&mut self, task: Task<'_>, candidate: Candidate<'_>) -> u32 {
        let missing = self.missing(task);
        if missing == 0 {
            return 0;
        }
        let offer = candidate.offer();
        let held = task.held(offer.index());
        let free = self.free(task, candidate);
        let admitted = self.affinity.admits(task, offer);
        let Some(placed) = self.tasks.get_mut(task.index() as usize) else {
            return 0;
        };
        if !admitted {
            placed.limit.affinity = true;
            return 0;
        }
        let kept = held.saturating_sub(placed.on(offer.index()));
        let mut room = missing.min(free.saturating_add(kept));
        placed.limit.capacity |= room < missing;
        for (over, most) in placed.spreads(task).into_iter().flatten() {
            let allowed = most.saturating_sub(placed.in_domain(offer.domain(over)));
            if allowed < room {
                placed.limit.spread = Some((over, most));
            }
            room = room.min(allowed);
        }
        if task.max_hourly() != u64::MAX && candidate.hourly() > 0 && room > 0 {
            let allowed = task.max_hourly().saturating_sub(placed.hourly) / candidate.hourly();
            placed.limit.hourly |= allowed < u64::from(room);
            room = room.min(u32::try_from(allowed).unwrap_or(u32::MAX));
        }
        room
    }

    /// Places up to so many more replicas of a task on a candidate, as far as every limit allows. Returns how many.
    pub fn place(&mut self, task: Task<'_>, candidate: Candidate<'_>, replicas: u32) -> u32 {
        let placing = self.room(task, candidate).min(replicas);
        let Some(placed) = self
            .tasks
            .get_mut(task.index() as usize)
            .filter(|_| placing > 0)
        else {
            return 0;
        };
        let offer = candidate.offer();
        let held = task.held(offer.index());
        let before = placed.on(offer.index());
        match placed
            .choices
            .iter_mut()
            .find(|(index, _)| *index == offer.index())
        {
            Some((_, replicas)) => *replicas += placing,
            None => placed.choices.push((offer.index(), placing)),
        }
        placed.replicas += placing;
        placed.hourly = placed
            .hourly
            .saturating_add(candidate.hourly().saturating_mul(u64::from(placing)));
        for (over, _) in placed.spreads(task).into_iter().flatten() {
            let domain = offer.domain(over);
            match placed
                .domains
                .iter_mut()
                .find(|(known, _)| *known == domain)
            {
                Some((_, count)) => *count += placing,
                None => placed.domains.push((domain, placing)),
            }
        }
        self.affinity.placed(task, offer);
        let added = (before + placing).saturating_sub(held) - before.saturating_sub(held);
        if added > 0 {
            let taken = self.taken.entry(offer.index()).or_default();
            taken.replicas = taken.replicas.saturating_add(added);
            taken.cpu = taken
                .cpu
                .saturating_add(u64::from(task.shape().cpu()).saturating_mul(u64::from(added)));
            taken.memory = taken
                .memory
                .saturating_add(task.shape().memory().saturating_mul(u64::from(added)));
        }
        placing
    }

    /// Says that every candidate was tried: those that are known to be full need not be asked one by one.
    pub(super) fn note_shortage(&mut self, task: Task<'_>) {
        if let Some(placed) = self.tasks.get_mut(task.index() as usize) {
            placed.limit.capacity |=
                placed.limit.spread.is_none() && !placed.limit.hourly && !placed.limit.affinity;
        }
    }

    /// The answer: every choice, and a reason for every replica without a place.
    pub fn finish(self) -> Answer {
        let mut answer = Answer::default();
        for (task, placed) in self.request.tasks().zip(&self.tasks) {
            for (offer, replicas) in &placed.choices {
                answer.choose(task.index(), *offer, *replicas);
            }
            let missing = self.missing(task);
            if missing > 0 {
                answer.leave(
                    task.index(),
                    missing,
                    format!(
                        "{missing} of {} replicas: {}",
                        task.replicas(),
                        placed.why(task)
                    ),
                );
            }
        }
        answer
    }
}

impl Placed {
    fn on(&self, offer: u32) -> u32 {
        self.choices
            .iter()
            .find(|(index, _)| *index == offer)
            .map_or(0, |(_, replicas)| *replicas)
    }

    /// The task's limit and the policy's own, each once.
    fn spreads(&self, task: Task<'_>) -> [Option<(Spread, u32)>; 2] {
        let wanted = Some((task.spread(), task.spread_max())).filter(|(_, most)| *most != u32::MAX);
        match (wanted, self.own) {
            (Some((over, most)), Some((kind, own))) if over == kind => {
                [Some((over, most.min(own))), None]
            }
            pair => pair.into(),
        }
    }

    fn in_domain(&self, domain: Domain) -> u32 {
        self.domains
            .iter()
            .find(|(known, _)| *known == domain)
            .map_or(0, |(_, count)| *count)
    }

    fn why(&self, task: Task<'_>) -> String {
        if let Some(reason) = &self.reason {
            return reason.clone();
        }
        if task.candidates().len() == 0 {
            return "no offer satisfies every constraint".to_owned();
        }
        match self.limit {
            Limits { hourly: true, .. } => format!(
                "the limit of ${:.2} per hour allows no more",
                task.max_hourly() as f64 / 1e6
            ),
            Limits { affinity: true, .. } => {
                format!("affinity allows no other place, and {}", self.full())
            }
            Limits {
                spread: Some((over, most)),
                capacity: true,
                ..
            } => {
                format!(
                    "no candidate has capacity left where at most {most} may run per {}",
                    over.word()
                )
            }
            Limits {
                spread: Some((over, most)),
                ..
            } => {
                format!(
                    "at most {most} may run per {}, and there are no more of them",
                    over.word()
                )
            }
            Limits { capacity: true, .. } => "no candidate has capacity left".to_owned(),
            _ => "the policy found no candidate good enough".to_owned(),
        }
    }

    fn full(&self) -> &'static str {
        if self.limit.capacity {
            "where it allows one no candidate has capacity left"
        } else {
            "none that it allows is a candidate"
        }
    }
}

fn room(free: u64, taken: u64, each: u64) -> u32 {
    if free == u64::MAX {
        return u32::MAX;
    }
    free.saturating_sub(taken)
        .checked_div(each)
        .map_or(u32::MAX, |room| u32::try_from(room).unwrap_or(u32::MAX))
}

/// Offers' indices are small numbers that nobody chooses to collide: one multiplication spreads them well enough.
#[derive(Default)]
struct IndexHasher(u64);

impl Hasher for IndexHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32(u32::from(*byte));
        }
    }
    fn write_u32(&mut self, index: u32) {
        self.0 = (self.0 ^ u64::from(index)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}
