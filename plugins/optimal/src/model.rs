//! A batch as an optimiser sees it: classes of tasks that are alike, columns that say how many of a class go where, and the room of offers.
//! What runs and stays has its place already, and is no part of it.

use std::collections::{BTreeMap, HashMap};

use tradewind_plugin_sdk::{
    Ledger, Request,
    policy::{Candidate, Domain, Offer, Spread, Task},
};

/// Costs beyond this many micro-USD (ten million dollars for one replica) count as this much, so that sums stay whole numbers of 64 bits.
pub(crate) const COST_MAX: u64 = 10_000_000_000_000;

/// So many replicas of a class on an offer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    pub(crate) offer: u32,
    /// The candidate's row.
    pub(crate) row: u32,
    pub(crate) upper: u32,
    /// These run there already, and need no room.
    pub(crate) held: bool,
    /// Micro-USD for one replica, and for its move where that counts.
    pub(crate) cost: i64,
}

/// Tasks that may be exchanged for each other.
pub(crate) struct Class<'a> {
    pub(crate) tasks: Vec<Task<'a>>,
    /// Replicas of all its tasks that have no place yet.
    pub(crate) demand: u32,
    /// Its place among the priorities, the highest first.
    pub(crate) level: usize,
    pub(crate) columns: Vec<Column>,
    /// What a replica without a place costs: the move it does not make.
    pub(crate) skip_cost: i64,
    /// The most replicas of the class in one domain of its spread, all its tasks together.
    pub(crate) spread: Option<(Spread, u32)>,
    /// Micro-USD per hour that are left.
    pub(crate) budget: Option<u64>,
    /// How many have been placed in each domain of the spread before.
    before: BTreeMap<Domain, u32>,
}

/// What an offer still has room for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    pub(crate) replicas: u32,
    pub(crate) cpu: u64,
    pub(crate) memory: u64,
}

/// A batch.
pub(crate) struct Model<'a> {
    pub(crate) request: &'a Request,
    pub(crate) classes: Vec<Class<'a>>,
    /// How many priorities there are.
    pub(crate) levels: usize,
    /// What has its place already: for each task its offers and replicas.
    pub(crate) base: Vec<Vec<(u32, u32)>>,
}

#[derive(PartialEq, Eq, Hash)]
struct Alike {
    shape: u32,
    priority: i32,
    spread: Option<(Spread, u32)>,
    /// Each task's replicas, where they count one by one.
    replicas: Option<u32>,
    /// A task that is like no other.
    only: Option<u32>,
}

impl<'a> Model<'a> {
    /// The model of a batch, of which the ledger knows what stays where it runs.
    pub(crate) fn new(request: &'a Request, mut ledger: Ledger<'a>) -> Self {
        let mut priorities: Vec<i32> = request.tasks().map(Task::priority).collect();
        priorities.sort_unstable_by(|a, b| b.cmp(a));
        priorities.dedup();
        let mut known: HashMap<Alike, usize> = HashMap::new();
        let mut groups: Vec<Vec<Task<'a>>> = Vec::new();
        for task in request.tasks() {
            let group = *known.entry(Alike::of(task)).or_insert_with(|| {
                groups.push(Vec::new());
                groups.len() - 1
            });
            if let Some(group) = groups.get_mut(group) {
                group.push(task);
            }
        }
        let base = request
            .tasks()
            .map(|task| ledger.choices(task).collect())
            .collect();
        let level = |task: &Task<'_>| {
            priorities
                .iter()
                .position(|priority| *priority == task.priority())
                .unwrap_or(0)
        };
        let mut classes: Vec<Class<'a>> = groups
            .into_iter()
            .filter_map(|tasks| {
                let level = level(tasks.first()?);
                Class::new(&mut ledger, tasks, level)
            })
            .collect();
        let demands = demands(request, &classes);
        classes
            .iter_mut()
            .for_each(|class| class.drop_dominated(request, &demands));
        Self {
            request,
            classes,
            levels: priorities.len(),
            base,
        }
    }

    /// What an offer has room for beyond what runs there.
    pub(crate) fn room(&self, offer: u32) -> Room {
        room(self.request, offer)
    }

    pub(crate) fn columns(&self) -> impl Iterator<Item = (&Class<'a>, &Column)> {
        self.classes
            .iter()
            .flat_map(|class| class.columns.iter().map(move |column| (class, column)))
    }

    /// From replicas of each column, class by class, to choices: task, offer, replicas in all.
    pub(crate) fn choices(&self, counts: &[u32]) -> Vec<(u32, u32, u32)> {
        let mut choices: BTreeMap<(u32, u32), u32> = BTreeMap::new();
        for (task, placed) in (0..).zip(&self.base) {
            placed.iter().for_each(|(offer, replicas)| {
                *choices.entry((task, *offer)).or_default() += replicas
            });
        }
        let mut counts = counts.iter().copied();
        for class in &self.classes {
            let chosen: Vec<(&Column, u32)> = class
                .columns
                .iter()
                .zip(&mut counts)
                .filter(|(_, count)| *count > 0)
                .collect();
            for (task, offer, replicas) in class.deal(self.request, chosen) {
                *choices.entry((task, offer)).or_default() += replicas;
            }
        }
        choices
            .into_iter()
            .map(|((task, offer), replicas)| (task, offer, replicas))
            .collect()
    }
}

impl Alike {
    fn of(task: Task<'_>) -> Self {
        let spread = Some((task.spread(), task.spread_max())).filter(|(_, most)| *most != u32::MAX);
        let unlike = task.max_hourly() != u64::MAX
            || task.affinity().is_some()
            || task.anti_affinity().is_some()
            || task.current().next().is_some();
        Self {
            shape: task.shape().index(),
            priority: task.priority(),
            spread,
            replicas: spread.map(|_| task.replicas()),
            only: unlike.then_some(task.index()),
        }
    }
}

impl<'a> Class<'a> {
    fn new(ledger: &mut Ledger<'a>, tasks: Vec<Task<'a>>, level: usize) -> Option<Self> {
        let first = *tasks.first()?;
        let count = tasks.len() as u32;
        let demand = tasks
            .iter()
            .map(|task| ledger.missing(*task))
            .fold(0, u32::saturating_add);
        let held: u32 = first
            .current()
            .map(|current| current.replicas)
            .fold(0, u32::saturating_add);
        let moving = if held > 0 {
            first.migration_cost().min(COST_MAX) as i64
        } else {
            0
        };
        let spread =
            Some((first.spread(), first.spread_max())).filter(|(_, most)| *most != u32::MAX);
        let mut class = Self {
            demand,
            level,
            columns: Vec::new(),
            skip_cost: moving,
            spread: spread.map(|(over, most)| (over, most.saturating_mul(count))),
            budget: None,
            before: BTreeMap::new(),
            tasks,
        };
        let mut spent: u64 = 0;
        for (offer, replicas) in ledger.choices(first).collect::<Vec<_>>() {
            let candidate = first.shape().candidate(offer)?;
            spent = spent.saturating_add(candidate.hourly().saturating_mul(u64::from(replicas)));
            if let Some((over, _)) = spread {
                *class
                    .before
                    .entry(candidate.offer().domain(over))
                    .or_default() += replicas;
            }
        }
        class.budget = Some(first.max_hourly())
            .filter(|most| *most != u64::MAX)
            .map(|most| most.saturating_sub(spent));
        if demand > 0 {
            for candidate in first.candidates() {
                class.add(ledger, candidate, moving);
            }
        }
        Some(class)
    }

    fn add(&mut self, ledger: &mut Ledger<'a>, candidate: Candidate<'a>, moving: i64) {
        let [first] = self.tasks.as_slice() else {
            let first = self.tasks.first().copied();
            let free = first.map_or(0, |task| ledger.free(task, candidate));
            let upper = free
                .min(self.demand)
                .min(self.spread.map_or(u32::MAX, |(_, most)| most));
            return self.push(candidate, upper, false, 0);
        };
        let first = *first;
        // Every limit of the one task, what runs there included.
        let most = ledger.room(first, candidate);
        let offer = candidate.offer().index();
        let base: u32 = ledger
            .choices(first)
            .filter(|(on, _)| *on == offer)
            .map(|(_, replicas)| replicas)
            .sum();
        self.push(
            candidate,
            most.min(first.held(offer).saturating_sub(base)),
            true,
            0,
        );
        self.push(
            candidate,
            most.min(ledger.free(first, candidate)),
            false,
            moving,
        );
    }

    fn push(&mut self, candidate: Candidate<'a>, upper: u32, held: bool, moving: i64) {
        let affordable = self
            .budget
            .and_then(|budget| budget.checked_div(candidate.hourly()));
        let upper = affordable.map_or(upper, |most| {
            upper.min(u32::try_from(most).unwrap_or(u32::MAX))
        });
        if upper > 0 {
            let cost = candidate.cost().min(COST_MAX) as i64 + moving;
            self.columns.push(Column {
                offer: candidate.offer().index(),
                row: candidate.row(),
                upper,
                held,
                cost,
            });
        }
    }

    /// Millicores and bytes of one replica.
    pub(crate) fn size(&self) -> (u64, u64) {
        self.tasks.first().map_or((0, 0), |task| {
            (u64::from(task.shape().cpu()), task.shape().memory())
        })
    }

    /// The class's domain of a column, and how many replicas it may still take there.
    pub(crate) fn domain(&self, offer: Offer<'_>) -> Option<(Domain, u32)> {
        let (over, most) = self.spread?;
        let domain = offer.domain(over);
        Some((
            domain,
            most.saturating_sub(self.before.get(&domain).copied().unwrap_or(0)),
        ))
    }

    /// Leaves out what is dearer than a place with room for everybody: a replica there could always go to that place instead.
    fn drop_dominated(&mut self, request: &Request, demands: &[Demand]) {
        let tied = self
            .tasks
            .first()
            .is_none_or(|task| task.affinity().is_some() || task.anti_affinity().is_some());
        if self.budget.is_some() || tied {
            return;
        }
        let mut best: BTreeMap<Option<Domain>, (i64, u32)> = BTreeMap::new();
        let domain = |class: &Self, column: &Column| {
            class
                .domain(request.offer(column.offer))
                .map(|(domain, _)| domain)
        };
        for column in self.columns.iter().filter(|column| {
            !column.held
                && demands
                    .get(column.offer as usize)
                    .is_some_and(|demand| demand.ample)
        }) {
            let entry = best
                .entry(domain(self, column))
                .or_insert((i64::MAX, u32::MAX));
            *entry = (*entry).min((column.cost, column.row));
        }
        let mut columns = std::mem::take(&mut self.columns);
        columns.retain(|column| {
            column.held
                || best
                    .get(&domain(self, column))
                    .is_none_or(|least| (column.cost, column.row) <= *least)
        });
        self.columns = columns;
    }

    /// Shares the class's replicas out among its tasks. Where they are spread each task gets its even share of every domain, since the
    /// replicas of one domain are dealt one by one, round and round; so none gets more of a domain than it may.
    fn deal(&self, request: &Request, mut chosen: Vec<(&Column, u32)>) -> Vec<(u32, u32, u32)> {
        if self.tasks.len() == 1 || self.spread.is_none() {
            return self.pour(chosen);
        }
        chosen.sort_by_key(|(column, _)| (self.domain(request.offer(column.offer)), column.offer));
        let replicas = chosen
            .iter()
            .flat_map(|(column, count)| std::iter::repeat_n(column.offer, *count as usize));
        replicas
            .zip(self.tasks.iter().cycle())
            .map(|(offer, task)| (task.index(), offer, 1))
            .collect()
    }

    /// One task after the other.
    fn pour(&self, chosen: Vec<(&Column, u32)>) -> Vec<(u32, u32, u32)> {
        let alone = self.tasks.len() == 1;
        let mut tasks = self
            .tasks
            .iter()
            .map(|task| (task.index(), if alone { u32::MAX } else { task.replicas() }));
        let mut now = tasks.next();
        let mut dealt = Vec::new();
        for (column, mut count) in chosen {
            while count > 0 {
                let Some((task, missing)) = &mut now else {
                    return dealt;
                };
                let some = count.min(*missing);
                if some > 0 {
                    dealt.push((*task, column.offer, some));
                }
                (count, *missing) = (count - some, *missing - some);
                if *missing == 0 {
                    now = tasks.next();
                }
            }
        }
        dealt
    }
}

/// What could at most be asked of an offer.
#[derive(Debug, Clone, Copy, Default)]
struct Demand {
    replicas: u64,
    cpu: u128,
    memory: u128,
    /// There is room for all of it.
    ample: bool,
}

fn demands(request: &Request, classes: &[Class<'_>]) -> Vec<Demand> {
    let offers = classes
        .iter()
        .flat_map(|class| &class.columns)
        .map(|column| column.offer + 1)
        .max()
        .unwrap_or(0);
    let mut demands = vec![Demand::default(); offers as usize];
    for class in classes {
        let (cpu, memory) = class.size();
        for column in class.columns.iter().filter(|column| !column.held) {
            if let Some(demand) = demands.get_mut(column.offer as usize) {
                demand.replicas += u64::from(class.demand);
                demand.cpu += u128::from(cpu) * u128::from(class.demand);
                demand.memory += u128::from(memory) * u128::from(class.demand);
            }
        }
    }
    for (offer, demand) in (0..).zip(&mut demands) {
        let room = room(request, offer);
        let fits = |free: u64, wanted: u128| free == u64::MAX || wanted <= u128::from(free);
        demand.ample = (room.replicas == u32::MAX || demand.replicas <= u64::from(room.replicas))
            && fits(room.cpu, demand.cpu)
            && fits(room.memory, demand.memory);
    }
    demands
}

fn room(request: &Request, offer: u32) -> Room {
    let offer = request.offer(offer);
    Room {
        replicas: offer.capacity(),
        cpu: offer.free_cpu(),
        memory: offer.free_memory(),
    }
}
