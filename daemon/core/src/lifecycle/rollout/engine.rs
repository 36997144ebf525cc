//! One task's next move. Three rules keep it safe whatever happens between two moves: what may still exist counts as existing, only what is
//! known to be ready counts as ready, and nothing is taken away that availability needs.

use std::collections::{BTreeMap, BTreeSet};

use super::{Drain, Hold, Progress, Strategy, Update, Verdict};
use crate::base::units::{Instant, Millis};

/// An allocation, as far as an update is concerned.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// Of the spec it was made for.
    pub generation: u64,
    /// It is where and what it shall be. Others give way.
    pub current: bool,
    /// Once all is done; 0 for what gives way.
    pub wanted: u32,
    /// As intended now.
    pub replicas: u32,
    /// As the provider last accepted.
    pub held: u32,
    /// Replicas that get no new traffic before they stop. `None`: none do.
    pub drain: Option<Drain>,
    /// Replicas that have been ready for long enough.
    pub ready: BTreeSet<u32>,
    /// Whether anything is known of its replicas.
    pub known: bool,
    /// Its share of the traffic in thousandths. `None`: in proportion to its replicas.
    pub traffic: Option<u32>,
    /// Its removal has been decided.
    pub removing: bool,
    /// Its place does not answer: nothing can be done about it, and it serves nobody.
    pub lost: bool,
    /// Index into the rooms: groups at one offer share one.
    pub place: usize,
}

impl Group {
    fn existing(&self) -> u32 {
        if self.lost {
            0
        } else {
            self.replicas.max(self.held)
        }
    }

    /// Replicas that are to go on.
    fn serving(&self) -> u32 {
        match self.drain {
            _ if self.removing || self.lost => 0,
            Some(drain) => drain.to.min(self.replicas),
            None => self.replicas,
        }
    }

    fn ready(&self) -> u32 {
        count(self.ready.range(..self.serving()))
    }

    fn goes(&self) -> bool {
        !self.current && !self.removing && !self.lost
    }
}

/// One task of a deployment.
#[derive(Debug, Clone)]
pub struct Task<'a> {
    /// Replicas in all.
    pub replicas: u32,
    /// How it is updated.
    pub update: &'a Update,
    /// Two versions may run side by side.
    pub overlaps: bool,
    /// A service: its replicas become ready. A job's do not.
    pub service: bool,
    /// It returns to an earlier version: without stages.
    pub back: bool,
    /// Its allocations.
    pub groups: Vec<Group>,
    /// Replicas that can still be started, by place.
    pub room: BTreeMap<usize, u32>,
    /// Every place has told its room. One that has not been asked yet counts as full until it has answered.
    pub room_known: bool,
    /// Canary steps that have been promoted.
    pub promoted: u32,
    /// Every blue-green task of the deployment is prepared.
    pub switch: bool,
    /// Someone has stopped the update for now: it takes no further step, and nothing that runs goes.
    pub paused: bool,
}

/// What a group shall be now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Move {
    /// Replicas that it shall have.
    pub replicas: u32,
    /// Replicas that get no new traffic before they stop. `None`: none do.
    pub drain: Option<Drain>,
    /// Its share of the traffic in thousandths. `None`: in proportion to its replicas.
    pub traffic: Option<u32>,
}

/// What all groups of a task shall be now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moves {
    /// In the order of the groups.
    pub groups: Vec<Move>,
    /// How far the update of the task is.
    pub verdict: Verdict,
    /// When to look again, if nothing happens before.
    pub again: Option<Instant>,
    /// A further replica has no place beside those that run.
    pub crowded: bool,
}

/// What a strategy allows at the moment.
struct Bounds {
    /// Replicas of current groups.
    new: u32,
    /// Replicas of all groups.
    total: u32,
    /// Ready replicas of all groups.
    available: u32,
    /// Replicas of groups that give way.
    old: u32,
    /// Nothing of what serves is taken away.
    protect: bool,
}

/// Whether all that is wanted is ready.
pub fn prepared(task: &Task<'_>) -> bool {
    let ready: u32 = task
        .groups
        .iter()
        .filter(|g| g.current)
        .map(Group::ready)
        .sum();
    ready >= task.replicas
}

/// The next move of a task, and how far it is.
pub fn advance(task: &Task<'_>, progress: &mut Progress, now: Instant) -> Moves {
    let mut groups = task.groups.clone();
    let mut again = None;
    progress.hold = task
        .paused
        .then(|| progress.hold.unwrap_or_else(|| hold(&groups)));
    let standing = bounds(task, strategy(task, &groups), &groups, progress, now);
    give_back(&mut groups, &standing);
    for group in &mut groups {
        finish_drain(group, task.update.drain, now, &mut again);
    }
    let strategy = strategy(task, &groups);
    let holding = if task.paused {
        None
    } else {
        stage(task, strategy, &groups, progress, now, &mut again)
    };
    let bounds = bounds(task, strategy, &groups, progress, now);
    let before = groups.clone();
    let crowded = grow(task, &mut groups, &bounds);
    shrink(task, &mut groups, &bounds, now);
    if crowded && task.room_known && task.back && task.service && groups == before {
        // Neither version can come back whole beside the other: the one that failed makes room.
        let one_less = Bounds {
            available: bounds.available.saturating_sub(1),
            ..bounds
        };
        shrink(task, &mut groups, &one_less, now);
    }
    if groups == before {
        unstick(&mut groups, &bounds, task);
    }
    for group in &mut groups {
        // Drains that have just begun.
        finish_drain(group, task.update.drain, now, &mut again);
    }
    share(task, strategy, &mut groups, progress);
    let verdict = verdict(task, &groups, strategy, holding, progress, now);
    Moves {
        groups: groups
            .iter()
            .map(|g| Move {
                replicas: g.replicas,
                drain: g.drain,
                traffic: g.traffic,
            })
            .collect(),
        verdict,
        again,
        crowded,
    }
}

/// What there is when an update is paused.
fn hold(groups: &[Group]) -> Hold {
    let sum = |of: fn(&Group) -> u32, which: fn(&Group) -> bool| {
        groups
            .iter()
            .filter(|g| which(g))
            .map(of)
            .fold(0, u32::saturating_add)
    };
    Hold {
        new: sum(|g| g.replicas, |g| g.current),
        old: sum(Group::serving, Group::goes),
    }
}

fn strategy(task: &Task<'_>, groups: &[Group]) -> Strategy {
    let gives_way = groups.iter().any(|g| !g.current && g.existing() > 0);
    match task.update.strategy {
        // Without anything to replace every strategy is the same.
        _ if !gives_way && task.service => Strategy::Rolling,
        _ if !task.overlaps || !task.service => Strategy::Recreate,
        Strategy::Canary if task.back => Strategy::Rolling,
        other => other,
    }
}

/// What was taken for replicas that are ready no more goes on, as far as it still runs.
fn give_back(groups: &mut [Group], bounds: &Bounds) {
    let available: u32 = groups.iter().map(Group::ready).fold(0, u32::saturating_add);
    let mut lacking = bounds.available.saturating_sub(available);
    for group in groups.iter_mut().filter(|g| g.goes()) {
        let Some(drain) = group.drain else { continue };
        let mut to = drain.to;
        while to < group.replicas && lacking > 0 {
            lacking = lacking.saturating_sub(u32::from(group.ready.contains(&to)));
            to += 1;
        }
        group.drain = (to < group.replicas).then_some(Drain { to, ..drain });
    }
}

fn finish_drain(group: &mut Group, span: Millis, now: Instant, again: &mut Option<Instant>) {
    let Some(drain) = group.drain else { return };
    let end = drain.since.plus(span);
    if group.current && group.wanted >= group.replicas {
        group.drain = None;
    } else if end <= now {
        (group.replicas, group.drain) = (drain.to.min(group.replicas), None);
    } else {
        *again = Some(again.map_or(end, |at| at.min(end)));
    }
}

/// Moves a canary or a blue-green update to its next stage if its time has come.
fn stage(
    task: &Task<'_>,
    strategy: Strategy,
    groups: &[Group],
    progress: &mut Progress,
    now: Instant,
    again: &mut Option<Instant>,
) -> Option<Verdict> {
    let ready: u32 = groups.iter().filter(|g| g.current).map(Group::ready).sum();
    let mut wake = |at: Instant| *again = Some(again.map_or(at, |a: Instant| a.min(at)));
    match strategy {
        Strategy::Canary => loop {
            let step = task.update.steps.get(progress.step as usize)?;
            if ready < cap(step.weight.0, task.replicas).min(task.replicas) {
                progress.since = None;
                return None;
            }
            let since = *progress.since.get_or_insert(now);
            let until = step.hold.map(|hold| since.plus(hold));
            if task.promoted > progress.step || until.is_some_and(|at| at <= now) {
                (progress.step, progress.since) = (progress.step + 1, None);
                continue;
            }
            until.into_iter().for_each(&mut wake);
            return Some(Verdict::Holding {
                step: progress.step,
                until,
            });
        },
        Strategy::BlueGreen => {
            if progress.switched.is_none() && task.switch && ready >= task.replicas {
                progress.switched = Some(now);
            }
            let until = progress.switched?.plus(if task.back {
                Millis(0)
            } else {
                task.update.keep
            });
            if until <= now || task.promoted > 0 {
                return None;
            }
            wake(until);
            Some(Verdict::Keeping { until })
        }
        Strategy::Rolling | Strategy::Recreate => None,
    }
}

/// A canary's share of the replicas: at least one.
fn cap(weight: u32, n: u32) -> u32 {
    super::Share::Percent(super::Percent(weight)).up(n).max(1)
}

fn bounds(
    task: &Task<'_>,
    strategy: Strategy,
    groups: &[Group],
    progress: &Progress,
    now: Instant,
) -> Bounds {
    let running = running_bounds(task, strategy, groups, progress, now);
    match progress.hold {
        None => running,
        Some(hold) => Bounds {
            new: running.new.min(hold.new),
            old: running.old.max(hold.old),
            protect: running.protect || strategy == Strategy::BlueGreen,
            ..running
        },
    }
}

/// What a strategy allows an update that is not paused.
fn running_bounds(
    task: &Task<'_>,
    strategy: Strategy,
    groups: &[Group],
    progress: &Progress,
    now: Instant,
) -> Bounds {
    let n = task.replicas;
    let (surge, unavailable) = task.update.bounds(n);
    let rolling = Bounds {
        new: u32::MAX,
        total: n.saturating_add(surge),
        available: n.saturating_sub(unavailable),
        old: 0,
        protect: false,
    };
    match strategy {
        Strategy::Rolling if !task.service => Bounds {
            available: 0,
            ..rolling
        },
        Strategy::Rolling => rolling,
        Strategy::Recreate => {
            let left = groups.iter().any(|g| !g.current && g.existing() > 0);
            Bounds {
                new: if left { 0 } else { u32::MAX },
                total: n,
                available: 0,
                ..rolling
            }
        }
        Strategy::Canary => match task.update.steps.get(progress.step as usize) {
            None => rolling,
            Some(step) => {
                let new = cap(step.weight.0, n);
                let rest =
                    super::Share::Percent(super::Percent(100u32.saturating_sub(step.weight.0)))
                        .up(n);
                Bounds {
                    new,
                    old: rest.min(rolling.total.saturating_sub(new)),
                    ..rolling
                }
            }
        },
        Strategy::BlueGreen => {
            let keep = if task.back {
                Millis(0)
            } else {
                task.update.keep
            };
            let kept =
                progress.switched.is_some_and(|at| at.plus(keep) > now) && task.promoted == 0;
            let protect = kept || progress.switched.is_none();
            Bounds {
                total: u32::MAX,
                protect,
                ..rolling
            }
        }
    }
}

/// Gives current groups the replicas they lack, as far as bounds and room allow. True when room was what lacked.
fn grow(task: &Task<'_>, groups: &mut [Group], bounds: &Bounds) -> bool {
    let existing: u32 = groups
        .iter()
        .map(Group::existing)
        .fold(0, u32::saturating_add);
    let current: u32 = groups
        .iter()
        .filter(|g| g.current)
        .map(|g| g.replicas)
        .fold(0, u32::saturating_add);
    let mut left = bounds
        .total
        .saturating_sub(existing)
        .min(bounds.new.saturating_sub(current));
    let mut room = task.room.clone();
    let mut crowded = false;
    for group in groups
        .iter_mut()
        .filter(|g| g.current && !g.removing && !g.lost)
    {
        let lacking = group.wanted.saturating_sub(group.replicas).min(left);
        let free = room.entry(group.place).or_insert(u32::MAX);
        let more = lacking.min(*free);
        crowded |= more < lacking;
        group.replicas += more;
        left -= more;
        if *free != u32::MAX {
            *free -= more;
        }
    }
    crowded
}

/// Takes away what gives way, and what is too much, as far as availability allows.
fn shrink(task: &Task<'_>, groups: &mut [Group], bounds: &Bounds, now: Instant) {
    let available: u32 = groups.iter().map(Group::ready).sum();
    let serving: u32 = groups
        .iter()
        .map(Group::serving)
        .fold(0, u32::saturating_add);
    let starting: u32 = groups
        .iter()
        .filter(|g| g.current)
        .map(|g| missing(g, g.serving().min(g.wanted)))
        .sum();
    let mut ready_left = available.saturating_sub(bounds.available);
    let mut spare = serving
        .saturating_sub(bounds.available)
        .saturating_sub(starting);
    if bounds.available == 0 {
        (ready_left, spare) = (u32::MAX, u32::MAX);
    }
    let old: u32 = groups.iter().filter(|g| g.goes()).map(Group::serving).sum();
    let mut old_left = old.saturating_sub(bounds.old);
    let mut order: Vec<usize> = (0..groups.len()).collect();
    // What never became the whole of it goes first: the youngest of what gives way.
    order.sort_by_key(|&i| {
        groups
            .get(i)
            .map(|g| (g.current, std::cmp::Reverse(g.generation)))
    });
    for i in order {
        let Some(group) = groups.get_mut(i).filter(|g| !g.removing && !g.lost) else {
            continue;
        };
        if !group.current && bounds.protect && group.traffic != Some(0) {
            continue;
        }
        if !group.current && bounds.protect && kept(task, group) {
            continue;
        }
        let goal = if group.current { group.wanted } else { 0 };
        let from = group.serving();
        let mut to = from;
        let mut serves = false;
        while to > goal && spare > 0 && (group.current || old_left > 0) {
            let ready = group.ready.contains(&(to - 1));
            if ready && ready_left == 0 {
                break;
            }
            ready_left = ready_left.saturating_sub(u32::from(ready));
            spare = spare.saturating_sub(1);
            if !group.current {
                old_left -= 1;
            }
            serves |= ready;
            to -= 1;
        }
        if to < from {
            take(group, to, serves && task.update.drain > Millis(0), now);
        }
    }
}

/// The set that blue-green has just switched away from bears no traffic, and stays.
fn kept(task: &Task<'_>, group: &Group) -> bool {
    let oldest = task
        .groups
        .iter()
        .filter(|g| g.goes())
        .map(|g| g.generation)
        .min();
    task.update.strategy == Strategy::BlueGreen && oldest == Some(group.generation)
}

fn take(group: &mut Group, to: u32, drains: bool, now: Instant) {
    match group.drain {
        Some(_) => group.drain = Some(Drain { to, since: now }),
        None if drains => group.drain = Some(Drain { to, since: now }),
        None => group.replicas = to,
    }
}

/// Providers take replicas away from the end. When one in the middle is dead and those behind it keep it from going, one of them goes too:
/// otherwise an update that mends what is broken would wait for it to be mended.
fn unstick(groups: &mut [Group], bounds: &Bounds, task: &Task<'_>) {
    let moving = groups
        .iter()
        .any(|g| g.drain.is_some() || g.removing || g.held != g.replicas);
    let starting = groups
        .iter()
        .any(|g| g.current && missing(g, g.replicas) > 0);
    let lacking = groups.iter().any(|g| g.current && g.replicas < g.wanted);
    let full = groups
        .iter()
        .map(Group::existing)
        .fold(0, u32::saturating_add)
        >= bounds.total;
    if moving || starting || !lacking || !full || bounds.protect || bounds.old > 0 || !task.service
    {
        return;
    }
    if let Some(group) = groups
        .iter_mut()
        .find(|g| g.goes() && g.known && missing(g, g.replicas) > 0)
    {
        group.replicas -= 1;
    }
}

fn missing(group: &Group, below: u32) -> u32 {
    below - count(group.ready.range(..below))
}

fn count<'a>(indices: impl Iterator<Item = &'a u32>) -> u32 {
    u32::try_from(indices.count()).unwrap_or(u32::MAX)
}

/// Each group's share of the traffic. None: in proportion to its replicas.
fn share(task: &Task<'_>, strategy: Strategy, groups: &mut [Group], progress: &Progress) {
    let weight = match strategy {
        Strategy::Canary => task
            .update
            .steps
            .get(progress.step as usize)
            .map(|s| s.weight.0.saturating_mul(10)),
        Strategy::BlueGreen => Some(if progress.switched.is_some() { 1000 } else { 0 }),
        Strategy::Rolling | Strategy::Recreate => None,
    };
    let Some(weight) = weight else {
        // What is about to go keeps its share: telling its provider would be one more call for nothing.
        groups
            .iter_mut()
            .filter(|g| g.current)
            .for_each(|g| g.traffic = None);
        return;
    };
    for current in [true, false] {
        let total: u32 = groups
            .iter()
            .filter(|g| g.current == current)
            .map(|g| g.replicas)
            .sum();
        let whole = if current {
            weight
        } else {
            1000u32.saturating_sub(weight)
        };
        for group in groups
            .iter_mut()
            .filter(|g| g.current == current && !g.removing && !g.lost && total > 0)
        {
            let part = u64::from(whole) * u64::from(group.replicas) / u64::from(total);
            group.traffic = Some(u32::try_from(part).unwrap_or(0));
        }
    }
    if strategy == Strategy::BlueGreen && weight == 0 {
        // An intermediate set that never bore traffic still does not.
        let zero: Vec<bool> = task.groups.iter().map(|g| g.traffic == Some(0)).collect();
        for (group, was_zero) in groups.iter_mut().zip(zero).filter(|(g, _)| !g.current) {
            group.traffic = if was_zero { Some(0) } else { None };
        }
    }
}

fn verdict(
    task: &Task<'_>,
    groups: &[Group],
    strategy: Strategy,
    holding: Option<Verdict>,
    progress: &mut Progress,
    now: Instant,
) -> Verdict {
    let current = || groups.iter().filter(|g| g.current);
    let ready: u32 = current().map(Group::ready).sum();
    let old: u32 = groups
        .iter()
        .filter(|g| !g.current && !g.lost)
        .map(Group::existing)
        .sum();
    progress.note(ready, old, now);
    let whole = current().map(|g| g.wanted).sum::<u32>() >= task.replicas
        && current().all(|g| g.replicas == g.wanted && g.held == g.wanted && g.drain.is_none())
        && (ready >= task.replicas || !task.service);
    match holding {
        Some(Verdict::Keeping { until }) if whole => Verdict::Keeping { until },
        Some(held @ Verdict::Holding { .. }) => held,
        _ if whole && old == 0 => {
            progress.step = progress
                .step
                .max(u32::try_from(task.update.steps.len()).unwrap_or(u32::MAX));
            if strategy != Strategy::Canary {
                progress.switched.get_or_insert(now);
            }
            Verdict::Done
        }
        _ => Verdict::Progressing,
    }
}
