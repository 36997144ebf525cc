//! The simulated world: what is asked for, what runs where, what is free, and what it has cost. It knows no policy.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, VecDeque},
    ops::Bound,
};

use super::{
    Booking, Options, Place,
    ledger::{Account, Ledger},
    offers::OfferSet,
    trace::{Kind, Request},
};
use tradewind_core::{
    cost::Time,
    manifest::{Constraints, SERVICE_DURATION},
    names::InstanceName,
    offer::Offer,
    place_health::Sheet,
    placement::{Bounds, Expected, Need, PlacedOffer, Requires, Table, Want},
    units::{MicroUsd, Millis},
    workload::{Labels, Resources},
};

/// In the queue: the highest priority first, then who came first.
pub(super) type Key = (Reverse<i32>, usize);

/// Replicas that have no place.
struct Piece {
    since: u64,
    /// What is left of a service's time; none: it runs on. A job always begins anew.
    left: Option<Millis>,
    replicas: u32,
}

#[derive(Default)]
struct Task {
    class: usize,
    arrived: bool,
    impossible: Option<String>,
    pieces: VecDeque<Piece>,
    /// What runs of it, the oldest first.
    running: Vec<u64>,
}

/// Tasks that need the same of an offer.
struct Class {
    need: Need,
    waiting: BTreeSet<Key>,
    /// Somebody has come since the last look.
    fresh: bool,
    /// The last set of offers in which it would fit an empty cloud.
    last_possible: Option<usize>,
}

/// Replicas of a task that were started together on one offer.
pub(super) struct Running {
    pub(super) task: usize,
    /// Index into the offers in force.
    pub(super) offer: usize,
    pub(super) replicas: u32,
    pub(super) since: u64,
    pub(super) ends: Option<u64>,
    account: Account,
}

/// Why something stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    Ended,
    Preempted,
    Interrupted,
    Moved,
}

/// Replicas.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    pub(super) preempted: u64,
    pub(super) interrupted: u64,
    pub(super) moved: u64,
    /// Replicas × milliseconds that jobs had run and will run again.
    pub(super) lost: u128,
}

pub(super) struct World<'a> {
    pub(super) requests: &'a [Request],
    sets: &'a [OfferSet],
    options: &'a Options,
    pub(super) now: u64,
    next_request: usize,
    set: usize,
    /// The offers in force with what is left of them.
    pub(super) free: Table,
    /// The place of each offer in force.
    places: Vec<u32>,
    known_places: HashMap<Place, u32>,
    tasks: Vec<Task>,
    classes: Vec<Class>,
    /// Classes of which somebody waits.
    queues: BTreeSet<usize>,
    waiting: u32,
    pub(super) running: BTreeMap<u64, Running>,
    /// Lots that run, by priority.
    priorities: BTreeMap<i32, u32>,
    next_id: u64,
    ends: BinaryHeap<Reverse<(u64, u64)>>,
    /// Offers that have got room since the last look.
    freed: BTreeSet<usize>,
    pub(super) ledger: Ledger,
    pub(super) counts: Counts,
    /// How long replicas waited for a place, and how many did.
    pub(super) waits: Vec<(Millis, u32)>,
}

impl<'a> World<'a> {
    pub(super) fn new(requests: &'a [Request], sets: &'a [OfferSet], options: &'a Options) -> Self {
        let mut known: HashMap<&Resources, usize> = HashMap::new();
        let mut classes: Vec<Class> = Vec::new();
        let mut tasks = Vec::with_capacity(requests.len());
        for request in requests {
            let class = *known.entry(&request.resources).or_insert_with(|| {
                let need = need(request, options);
                let last_possible = sets.iter().rposition(|set| {
                    let table = table(set);
                    set.offers
                        .iter()
                        .any(|placed| table.admits(&need, placed, false).is_ok())
                });
                classes.push(Class {
                    need,
                    waiting: BTreeSet::new(),
                    fresh: false,
                    last_possible,
                });
                classes.len() - 1
            });
            tasks.push(Task {
                class,
                ..Task::default()
            });
        }
        let mut world = Self {
            requests,
            sets,
            options,
            now: 0,
            next_request: 0,
            set: 0,
            free: Table::default(),
            places: Vec::new(),
            known_places: HashMap::new(),
            tasks,
            classes,
            queues: BTreeSet::new(),
            waiting: 0,
            running: BTreeMap::new(),
            priorities: BTreeMap::new(),
            next_id: 0,
            ends: BinaryHeap::new(),
            freed: BTreeSet::new(),
            ledger: Ledger::new(options.step),
            counts: Counts::default(),
            waits: Vec::new(),
        };
        world.adopt(0);
        world
    }

    // === time ===

    /// When something happens next.
    pub(super) fn next(&mut self) -> Option<u64> {
        while self
            .ends
            .peek()
            .is_some_and(|Reverse((_, id))| !self.running.contains_key(id))
        {
            self.ends.pop();
        }
        let arrival = self.requests.get(self.next_request).map(|r| r.at.0);
        let end = self.ends.peek().map(|Reverse((at, _))| *at);
        let offers = self.sets.get(self.set + 1).map(|s| s.at.0);
        [arrival, end, offers].into_iter().flatten().min()
    }

    pub(super) fn advance(&mut self, to: u64) {
        self.ledger.wait(self.now, to, self.waiting);
        self.now = to;
    }

    /// Everything that happens now but decisions.
    pub(super) fn happen(&mut self) {
        while let Some(Reverse((at, id))) = self.ends.peek().copied()
            && at <= self.now
        {
            self.ends.pop();
            if let Some(replicas) = self.running.get(&id).map(|r| r.replicas) {
                self.stop(id, replicas, Stop::Ended);
            }
        }
        while self
            .sets
            .get(self.set + 1)
            .is_some_and(|s| s.at.0 <= self.now)
        {
            self.change_offers();
        }
        while self
            .requests
            .get(self.next_request)
            .is_some_and(|r| r.at.0 <= self.now)
        {
            let task = self.next_request;
            self.next_request += 1;
            self.arrive(task);
        }
    }

    /// Books what still runs.
    pub(super) fn finish(&mut self) {
        let ids: Vec<u64> = self.running.keys().copied().collect();
        for id in ids {
            self.book(id, None);
        }
        self.ledger.close(self.now);
    }

    fn arrive(&mut self, i: usize) {
        let (Some(request), Some(task)) = (self.requests.get(i), self.tasks.get_mut(i)) else {
            return;
        };
        task.arrived = true;
        let left = if request.kind == Kind::Service {
            request.duration
        } else {
            None
        };
        task.pieces.push_back(Piece {
            since: self.now,
            left,
            replicas: request.replicas,
        });
        self.ledger.series.note(self.now, |row| row.arrived += 1);
        self.enqueue(i);
    }

    // === the queue ===

    fn key(&self, task: usize) -> Key {
        (
            Reverse(self.requests.get(task).map_or(0, |r| r.priority)),
            task,
        )
    }

    /// Puts a task with replicas without a place into the queue, or finds that there will never be one.
    fn enqueue(&mut self, i: usize) {
        let key = self.key(i);
        let Some(class) = self.tasks.get(i).map(|t| t.class) else {
            return;
        };
        if self
            .classes
            .get(class)
            .is_none_or(|c| c.last_possible.is_none_or(|last| last < self.set))
        {
            return self.give_up(i);
        }
        let Some(c) = self.classes.get_mut(class) else {
            return;
        };
        c.fresh = true;
        if c.waiting.insert(key) {
            self.waiting += 1;
            self.queues.insert(class);
        }
    }

    fn dequeue(&mut self, i: usize) {
        let key = self.key(i);
        let Some(class) = self.tasks.get(i).map(|t| t.class) else {
            return;
        };
        let Some(c) = self.classes.get_mut(class) else {
            return;
        };
        if c.waiting.remove(&key) {
            self.waiting -= 1;
            if c.waiting.is_empty() {
                self.queues.remove(&class);
            }
        }
    }

    fn give_up(&mut self, i: usize) {
        let want = self.want(i);
        let Some(set) = self.sets.get(self.set) else {
            return;
        };
        let why: Vec<String> = want
            .iter()
            .flat_map(|w| table(set).excluded(w))
            .take(3)
            .map(|e| e.reason)
            .collect();
        self.dequeue(i);
        if let Some(task) = self.tasks.get_mut(i) {
            task.pieces.clear();
            task.impossible = Some(if why.is_empty() {
                "there are no offers".to_owned()
            } else {
                why.join("; ")
            });
        }
    }

    /// The first of those that wait behind `after`, and could gain: some offer that they can use has got room, or they have just come.
    pub(super) fn batch(&self, after: Option<Key>) -> Vec<usize> {
        let behind = (
            after.map_or(Bound::Unbounded, Bound::Excluded),
            Bound::Unbounded,
        );
        let mut keys: Vec<Key> = Vec::new();
        for class in self.queues.iter().filter_map(|c| self.classes.get(*c)) {
            let admits =
                |placed: &PlacedOffer| self.free.admits(&class.need, placed, false).is_ok();
            let offers = self.free.offers();
            let gains = match class.fresh {
                true => offers.iter().any(admits),
                false => self.freed.iter().filter_map(|o| offers.get(*o)).any(admits),
            };
            if gains {
                keys.extend(class.waiting.range(behind).take(self.options.batch));
            }
        }
        keys.sort_unstable();
        keys.truncate(self.options.batch);
        keys.into_iter().map(|(_, task)| task).collect()
    }

    pub(super) fn last_key(&self, batch: &[usize]) -> Option<Key> {
        batch.last().map(|task| self.key(*task))
    }

    /// All have been looked at.
    pub(super) fn looked(&mut self) {
        self.freed.clear();
        self.classes.iter_mut().for_each(|c| c.fresh = false);
    }

    /// Those who might take a place of a lower priority, the first of the queue first: no more than a batch of them.
    pub(super) fn claimers(&self) -> Vec<usize> {
        let Some(lowest) = self.priorities.keys().next().copied() else {
            return Vec::new();
        };
        let mut keys: Vec<Key> = Vec::new();
        for class in self.queues.iter().filter_map(|c| self.classes.get(*c)) {
            keys.extend(
                class
                    .waiting
                    .iter()
                    .take_while(|(Reverse(priority), _)| *priority > lowest)
                    .take(self.options.batch),
            );
        }
        keys.sort_unstable();
        keys.truncate(self.options.batch);
        keys.into_iter().map(|(_, task)| task).collect()
    }

    /// Tasks of one class need the same of an offer.
    pub(super) fn class(&self, task: usize) -> (usize, Option<&Need>) {
        let class = self.tasks.get(task).map_or(0, |t| t.class);
        (class, self.classes.get(class).map(|c| &c.need))
    }

    /// Replicas of a task without a place.
    pub(super) fn missing(&self, task: usize) -> u32 {
        self.tasks
            .get(task)
            .map_or(0, |t| t.pieces.iter().map(|p| p.replicas).sum())
    }

    /// What a task wants of the scheduler now.
    pub(super) fn want(&self, i: usize) -> Option<Want> {
        let (request, task) = (self.requests.get(i)?, self.tasks.get(i)?);
        let mut current: Vec<(InstanceName, String, u32)> = Vec::new();
        for (offer, replicas) in self.held(i) {
            let placed = self.free.offers().get(offer)?;
            current.push((
                placed.provider.clone(),
                placed.offer.id.to_string(),
                replicas,
            ));
        }
        let runs: u32 = current.iter().map(|(_, _, n)| n).sum();
        let waits: u32 = task.pieces.iter().map(|p| p.replicas).sum();
        Some(Want {
            namespace: request.namespace.clone(),
            deployment: request.name.as_str().parse().ok()?,
            task: request.name.clone(),
            need: need(request, self.options),
            replicas: runs + waits,
            priority: request.priority,
            labels: Labels::new(),
            current,
            max_hourly: MicroUsd::MAX,
            hedged: false,
            bounds: Bounds::default(),
            expected: Expected::default(),
        })
    }

    /// Where a task runs: replicas by offer.
    pub(super) fn held(&self, task: usize) -> BTreeMap<usize, u32> {
        let mut held = BTreeMap::new();
        for running in self
            .tasks
            .get(task)
            .into_iter()
            .flat_map(|t| &t.running)
            .filter_map(|id| self.running.get(id))
        {
            *held.entry(running.offer).or_default() += running.replicas;
        }
        held
    }

    // === what runs ===

    /// Starts replicas that have waited the longest.
    pub(super) fn start(&mut self, i: usize, offer: usize, replicas: u32) {
        let (Some(request), Some(task)) = (self.requests.get(i), self.tasks.get_mut(i)) else {
            return;
        };
        let Some(placed) = self.free.offers().get(offer) else {
            return;
        };
        let setup = placed.offer.setup_price;
        let takes = |duration: Millis| Time::Work(duration).on(&placed.offer).0.max(1);
        let mut lots: BTreeMap<Option<Millis>, u32> = BTreeMap::new();
        let mut left = replicas;
        while let Some(piece) = task.pieces.front_mut().filter(|_| left > 0) {
            let n = piece.replicas.min(left);
            self.waits.push((Millis(self.now - piece.since), n));
            *lots.entry(piece.left).or_default() += n;
            (left, piece.replicas) = (left - n, piece.replicas - n);
            if piece.replicas == 0 {
                task.pieces.pop_front();
            }
        }
        let done = task.pieces.is_empty();
        for (left, replicas) in lots {
            let time = match request.kind {
                Kind::Job => request.duration.map(takes),
                Kind::Service => left.map(|l| l.0),
            };
            let id = self.next_id;
            self.next_id += 1;
            let ends = time.map(|t| self.now.saturating_add(t));
            self.ends.extend(ends.map(|at| Reverse((at, id))));
            *self.priorities.entry(request.priority).or_default() += 1;
            task.running.push(id);
            let account = Account::new(self.now, setup);
            self.running.insert(
                id,
                Running {
                    task: i,
                    offer,
                    replicas,
                    since: self.now,
                    ends,
                    account,
                },
            );
        }
        if let Some(offer) = self.free.offer_mut(offer) {
            offer.take(
                replicas - left,
                u64::from(request.resources.cpu.0),
                request.resources.memory.0,
            );
        }
        if done {
            self.dequeue(i);
        }
    }

    /// Stops replicas and gives their room back.
    pub(super) fn stop(&mut self, id: u64, replicas: u32, why: Stop) {
        let Some(offer) = self.running.get(&id).map(|r| r.offer) else {
            return;
        };
        let Some((task, stopped)) = self.remove(id, replicas, why) else {
            return;
        };
        let base = self
            .sets
            .get(self.set)
            .and_then(|s| s.offers.get(offer))
            .map(|p| &p.offer);
        if let (Some(base), Some(request), Some(offer)) =
            (base, self.requests.get(task), self.free.offer_mut(offer))
        {
            give_back(offer, base, stopped, &request.resources);
        }
        self.freed.insert(offer);
    }

    /// The task, and how many replicas.
    fn remove(&mut self, id: u64, replicas: u32, why: Stop) -> Option<(usize, u32)> {
        let replicas = self.running.get(&id)?.replicas.min(replicas);
        self.book(id, Some(replicas));
        let running = self.running.get_mut(&id)?;
        running.replicas -= replicas;
        let (i, ends, since, gone) = (
            running.task,
            running.ends,
            running.since,
            running.replicas == 0,
        );
        let (request, task) = (self.requests.get(i)?, self.tasks.get_mut(i)?);
        if gone {
            self.running.remove(&id);
            task.running.retain(|r| *r != id);
            if let Some(n) = self.priorities.get_mut(&request.priority) {
                *n -= 1;
                if *n == 0 {
                    self.priorities.remove(&request.priority);
                }
            }
        }
        let all_done =
            task.pieces.is_empty() && task.running.is_empty() && task.impossible.is_none();
        let left = match request.kind {
            Kind::Service => ends.map(|e| Millis(e - self.now)),
            Kind::Job => None,
        };
        let (n, ran) = (u64::from(replicas), self.now - since);
        // What ends with a row has run in that row.
        let at = if why == Stop::Ended {
            self.now.saturating_sub(1)
        } else {
            self.now
        };
        self.ledger.series.note(at, |row| match why {
            Stop::Ended => row.ended += u32::from(all_done),
            Stop::Preempted => row.preempted += replicas,
            Stop::Interrupted => row.interrupted += replicas,
            Stop::Moved => {}
        });
        match why {
            Stop::Ended => return Some((i, replicas)),
            Stop::Preempted => self.counts.preempted += n,
            Stop::Interrupted => self.counts.interrupted += n,
            Stop::Moved => self.counts.moved += n,
        }
        if request.kind == Kind::Job {
            self.counts.lost += u128::from(n) * u128::from(ran);
        }
        task.pieces.push_back(Piece {
            since: self.now,
            left,
            replicas,
        });
        self.enqueue(i);
        Some((i, replicas))
    }

    /// Books so many replicas up to now, or all, which go on.
    fn book(&mut self, id: u64, leaving: Option<u32>) {
        let Some(running) = self.running.get_mut(&id) else {
            return;
        };
        let (Some(placed), Some(request)) = (
            self.free.offers().get(running.offer),
            self.requests.get(running.task),
        ) else {
            return;
        };
        let Some(place) = self.places.get(running.offer) else {
            return;
        };
        let replicas = leaving.unwrap_or(running.replicas);
        let base = self
            .sets
            .get(self.set)
            .and_then(|s| s.offers.get(running.offer))
            .map_or(&placed.offer, |p| &p.offer);
        let booking = Booking {
            task: running.task,
            place: *place,
            replicas,
            from: running.account.since(),
            to: self.now,
            cost: MicroUsd(0),
        };
        self.ledger.book(
            booking,
            &mut running.account,
            leaving.is_none(),
            &request.resources,
            base,
        );
    }

    // === offers ===

    /// The next set of offers: what it has not any more, or has less of than what runs there, is interrupted.
    fn change_offers(&mut self) {
        let sets = self.sets;
        let (Some(old), Some(new)) = (sets.get(self.set), sets.get(self.set + 1)) else {
            return;
        };
        let index: HashMap<(&InstanceName, &str), usize> = new
            .offers
            .iter()
            .enumerate()
            .map(|(i, p)| ((&p.provider, &*p.offer.id), i))
            .collect();
        let ids: Vec<u64> = self.running.keys().copied().collect();
        let mut stay: Vec<u64> = Vec::new();
        for id in ids {
            let Some(placed) = self.running.get(&id).and_then(|r| old.offers.get(r.offer)) else {
                continue;
            };
            match index
                .get(&(&placed.provider, &*placed.offer.id))
                .and_then(|i| Some((*i, new.offers.get(*i)?)))
            {
                None => self.stop(id, u32::MAX, Stop::Interrupted),
                Some((i, after)) => {
                    if !same_account(&placed.offer, &after.offer) {
                        self.book(id, None);
                    }
                    if let Some(running) = self.running.get_mut(&id) {
                        running.offer = i;
                    }
                    stay.push(id);
                }
            }
        }
        self.adopt(self.set + 1);
        // Who came first among the highest stays.
        let rank = |id: &u64| {
            self.running
                .get(id)
                .map(|r| (self.key(r.task).0, r.since, *id))
        };
        stay.sort_by_key(rank);
        for id in stay {
            let Some((i, offer, replicas)) =
                self.running.get(&id).map(|r| (r.task, r.offer, r.replicas))
            else {
                continue;
            };
            let Some(resources) = self.requests.get(i).map(|r| &r.resources) else {
                continue;
            };
            let Some(place) = self.free.offer_mut(offer) else {
                continue;
            };
            let kept = room(place, resources).min(replicas);
            place.take(kept, u64::from(resources.cpu.0), resources.memory.0);
            if kept < replicas {
                self.remove(id, replicas - kept, Stop::Interrupted);
            }
        }
        let waiting: Vec<usize> = self
            .queues
            .iter()
            .filter_map(|c| self.classes.get(*c))
            .flat_map(|c| c.waiting.iter().map(|k| k.1))
            .collect();
        for task in waiting {
            self.enqueue(task);
        }
    }

    /// Puts a set of offers in force, as if nothing ran.
    fn adopt(&mut self, set: usize) {
        let Some(new) = self.sets.get(set) else {
            return;
        };
        self.set = set;
        self.freed.clear();
        self.free = table(new);
        let mut places = Vec::with_capacity(new.offers.len());
        for placed in new.offers.iter() {
            let place = Place {
                provider: placed.provider.clone(),
                region: placed.offer.region.to_string(),
                size: placed.offer.size.to_string(),
                offer: placed.offer.id.to_string(),
            };
            let next = u32::try_from(self.known_places.len()).unwrap_or(u32::MAX);
            places.push(*self.known_places.entry(place).or_insert(next));
        }
        self.places = places;
        self.ledger
            .capacity(self.now, new.offers.iter().map(|p| &p.offer));
    }

    // === the end ===

    /// The places that there ever were, by their numbers.
    pub(super) fn places(&self) -> Vec<Place> {
        let mut places: Vec<(&Place, u32)> = self
            .known_places
            .iter()
            .map(|(place, n)| (place, *n))
            .collect();
        places.sort_by_key(|(_, n)| *n);
        places.into_iter().map(|(place, _)| place.clone()).collect()
    }

    /// What has become of a task.
    pub(super) fn fate(&self, task: usize) -> Fate<'_> {
        match self.tasks.get(task) {
            Some(t) if !t.arrived => Fate::NotArrived,
            Some(t) if !t.running.is_empty() => Fate::Running,
            Some(Task {
                impossible: Some(why),
                ..
            }) => Fate::Impossible(why),
            Some(t) if !t.pieces.is_empty() => Fate::Waiting,
            _ => Fate::Ended,
        }
    }
}

/// What has become of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate<'a> {
    NotArrived,
    Ended,
    Running,
    Waiting,
    Impossible(&'a str),
}

fn table(set: &OfferSet) -> Table {
    Table::new(set.offers.clone(), BTreeMap::new(), Sheet::default())
}

fn need(request: &Request, options: &Options) -> Need {
    Need {
        resources: request.resources.clone(),
        duration: request.duration.unwrap_or(SERVICE_DURATION),
        constraints: Constraints {
            spot: options.spot,
            ..Constraints::default()
        },
        features: Requires::default(),
        job: request.kind == Kind::Job,
        closed: BTreeMap::new(),
        left: BTreeMap::new(),
    }
}

/// Replicas that an offer still takes.
pub(super) fn room(offer: &Offer, resources: &Resources) -> u32 {
    let by = |free: u64, need: u64| {
        free.checked_div(need)
            .map_or(u32::MAX, |n| u32::try_from(n).unwrap_or(u32::MAX))
    };
    let shared = if offer.shared {
        by(offer.free_cpu, u64::from(resources.cpu.0))
            .min(by(offer.free_memory, resources.memory.0))
    } else {
        u32::MAX
    };
    offer.capacity.min(shared)
}

/// `base`: the offer when nothing runs there.
fn give_back(offer: &mut Offer, base: &Offer, replicas: u32, resources: &Resources) {
    let more = |free: u64, each: u64, most: u64| {
        free.saturating_add(each.saturating_mul(u64::from(replicas)))
            .min(most)
    };
    offer.capacity = offer.capacity.saturating_add(replicas).min(base.capacity);
    offer.free_cpu = more(offer.free_cpu, u64::from(resources.cpu.0), base.free_cpu);
    offer.free_memory = more(offer.free_memory, resources.memory.0, base.free_memory);
}

/// Whether what runs there is booked the same before and after.
fn same_account(a: &Offer, b: &Offer) -> bool {
    let prices = |o: &Offer| {
        (
            o.price,
            o.price_unit,
            o.memory_price,
            o.shared,
            o.cpu,
            o.memory,
            o.accelerator_count,
        )
    };
    let bounds = |o: &Offer| {
        (
            o.capacity == u32::MAX,
            o.free_cpu == u64::MAX,
            o.free_memory == u64::MAX,
        )
    };
    prices(a) == prices(b) && bounds(a) == bounds(b) && a.region == b.region && a.size == b.size
}
