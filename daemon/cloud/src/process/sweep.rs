//! Looks after all processes from time to time: cuts their output to size, measures what they use, tells their keepers of those that have
//! outgrown their memory, and collects orphans. It changes no stage.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::process::WaitOptions;
use tradewind_core::{units::Bytes, workload::Usage};

use super::{Shared, census::Census, output, proc, slot::Slot};

/// Usage is measured every so many censuses.
const USAGE_EVERY: u32 = 10;
/// `/proc` counts processor time in hundredths of a second on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// How often it is looked whether a process has outgrown its memory.
const MEMORY_EVERY: Duration = Duration::from_millis(200);
/// A census, and the rest, every so many of these looks.
const LOOKS: u32 = 5;

/// So many processes are looked at in one turn: thousands of them are looked at less often each, so that the looks cost no more.
const AT_ONCE: usize = 200;

/// Runs until the supervisor closes.
pub(super) async fn sweep(shared: Arc<Shared>) {
    let mut round = 0u32;
    let mut reaper = Reaper::default();
    loop {
        tokio::select! {
            biased;
            () = shared.closing.cancelled() => return,
            () = tokio::time::sleep(MEMORY_EVERY) => {}
        }
        round = round.wrapping_add(1);
        let inner = shared.clone();
        let swept = tokio::task::spawn_blocking(move || {
            let slots = inner.slots();
            let parts = u32::try_from(slots.len() / AT_ONCE)
                .unwrap_or(u32::MAX)
                .saturating_add(1);
            let looks = LOOKS.saturating_mul(parts);
            if round.is_multiple_of(looks) {
                look_around(&inner, &slots, &mut reaper);
                for slot in &slots {
                    look(
                        slot,
                        round.is_multiple_of(looks.saturating_mul(USAGE_EVERY)),
                    );
                }
            }
            let turn = (round % parts) as usize;
            slots
                .iter()
                .skip(turn)
                .step_by(parts as usize)
                .for_each(|slot| weigh(slot));
            reaper
        });
        match swept.await {
            Ok(back) => reaper = back,
            Err(_) => return,
        }
    }
}

/// Finds out who belongs to which replica, and lets children go that nobody waits for.
fn look_around(shared: &Shared, slots: &[Arc<Slot>], reaper: &mut Reaper) {
    shared.reserve.refill();
    let Ok(census) = shared.census(Instant::now()) else {
        // What is known stays: nothing seen is not nobody there.
        return shared.exhausted("the processes can't be listed");
    };
    let mut wrappers = BTreeSet::new();
    for slot in slots {
        let who = slot.who();
        wrappers.insert(who.leader);
        let members = census.members(&who);
        let mut state = slot.state();
        if state.pid == who.leader {
            state.members = members;
        }
    }
    reaper.reap(&census, &wrappers);
}

/// The first process of a machine or container, and a reaper of orphans, must take note of the ends of processes that are nobody's any more.
#[derive(Default)]
struct Reaper {
    /// Ended children at the last census. Whoever waits for a child does so sooner than it is seen twice.
    before: BTreeSet<(i32, u64)>,
}

impl Reaper {
    fn reap(&mut self, census: &Census, wrappers: &BTreeSet<i32>) {
        if !adopts_orphans() {
            return;
        }
        let now = census.ended_children();
        let foreign = now
            .intersection(&self.before)
            .filter(|(pid, _)| !wrappers.contains(pid));
        for pid in foreign.filter_map(|(pid, _)| proc::pid(*pid)) {
            // An error means that somebody has waited for it after all.
            let _ = rustix::process::waitpid(Some(pid), WaitOptions::NOHANG);
        }
        self.before = now;
    }
}

#[cfg(target_os = "linux")]
fn adopts_orphans() -> bool {
    rustix::process::getpid().is_init()
        || rustix::process::child_subreaper().is_ok_and(|set| set.is_some())
}

#[cfg(not(target_os = "linux"))]
fn adopts_orphans() -> bool {
    rustix::process::getpid().is_init()
}

/// Tells the keeper of a replica that has filled more memory than it may.
fn weigh(slot: &Slot) {
    let (pid, limit, members) = {
        let state = slot.state();
        (
            state.pid,
            state.record.prepared.memory_limit(),
            state.members.clone(),
        )
    };
    if pid == 0 || limit == 0 {
        return;
    }
    let all: BTreeSet<i32> = proc::tree(pid).into_iter().chain(members).collect();
    if all.iter().map(|pid| proc::filled(*pid)).sum::<u64>() <= limit {
        return;
    }
    // What they share counts once. That is dearer to find out.
    let filled: u64 = all
        .iter()
        .map(|pid| proc::filled_alone(*pid).unwrap_or_else(|| proc::filled(*pid)))
        .sum();
    let mut state = slot.state();
    if filled > limit && state.pid == pid {
        state.filled = Some(Bytes(filled));
        slot.outgrown.notify_one();
    }
}

fn look(slot: &Slot, measure: bool) {
    let (pid, size, unknown, members) = {
        let state = slot.state();
        (
            state.pid,
            state.record.prepared.log_size,
            state.usage.is_none(),
            state.members.clone(),
        )
    };
    if pid == 0 {
        return;
    }
    if let Err(error) = output::trim(&slot.outputs(), size) {
        tracing::debug!(owner = %slot.owner, allocation = %slot.key.allocation, %error, "the output of a process can't be cut to size");
    }
    if !measure && !unknown {
        return;
    }
    let all: BTreeSet<i32> = proc::tree(pid).into_iter().chain(members).collect();
    let Some((memory, ticks)) = proc::usage(all.into_iter()) else {
        return;
    };
    let now = Instant::now();
    let mut state = slot.state();
    if state.pid != pid {
        return;
    }
    // Use is what was used between two looks: the first one alone says nothing.
    if let Some((before, at)) = state.looked {
        let seconds = now.duration_since(at).as_secs_f64().max(0.001);
        // A child that ended takes its count away.
        let cpu = ticks.saturating_sub(before) as f64 / TICKS_PER_SECOND / seconds * 1000.0;
        state.usage = Some(Usage {
            cpu,
            memory: Bytes(memory),
            requests: 0.0,
        });
    }
    state.looked = Some((ticks, now));
}
