//! The life of one process: start, tend, stop, start again, forget. One task per process; nobody else changes its stage.
//! It must not know grants: what it starts has been checked.

use std::{sync::Arc, time::Duration};

use rustix::process::Signal;
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout},
};
use tradewind_core::{
    exhausted::BUSY,
    failure::{Failure, FailureKind},
    units::{Bytes, Millis},
    workload::{Health, Phase},
};

use super::{
    Shared, TAKEN,
    exit::Leader,
    folder::{Ended, Wanted, discard},
    groups,
    launch::{self, Surroundings},
    probe::{self, Kind, Target, Verdict},
    proc,
    slot::Slot,
};
use crate::clock::instant;

const FIRST_DELAY: Duration = Duration::from_secs(1);
const LONGEST_DELAY: Duration = Duration::from_secs(30);
/// A run that lasted so long starts the back-off anew.
const SETTLED: Millis = Millis::from_secs(60);
/// How long a killed process may take to disappear before the keeper says so.
const KILL_PATIENCE: Duration = Duration::from_secs(5);

/// Where a process stands. Each stage leads to the next.
pub(super) enum Stage {
    /// To be started now.
    Start,
    Up(Up),
    /// Ended, to be started again then.
    Wait(Instant),
    /// Not started for a reason that says nothing about it: to be tried again then.
    Again(Instant),
    /// Ended for good, or unable to start: until something else is wanted.
    Down,
    /// Nothing runs: take up what is wanted.
    Change,
}

/// A run that goes on.
pub(super) struct Up {
    pub(super) leader: Leader,
    /// Absent for a run of an earlier daemon until probes need it.
    pub(super) around: Option<Surroundings>,
}

/// Why a run is no longer tended.
enum Event {
    Exited,
    Changed,
    TooLong,
    Unwell(String),
    /// It has filled so much.
    Outgrown(Bytes),
    Closing,
}

/// How a run ended, before it is decided what follows.
struct End {
    code: Option<i32>,
    /// Why it was ended, when it did not end by itself.
    cause: Option<String>,
    /// How many processes it left outside its group. They have been ended.
    left: usize,
}

/// Keeps one process until it is removed or the supervisor closes.
pub(super) async fn keep(shared: Arc<Shared>, slot: Arc<Slot>, mut stage: Stage) {
    let mut delay = FIRST_DELAY;
    loop {
        stage = match stage {
            Stage::Start => match start(&shared, &slot, &mut delay).await {
                Some(stage) => stage,
                None => return,
            },
            Stage::Up(up) => match tend(&shared, &slot, up, &mut delay).await {
                Some(stage) => stage,
                None => return,
            },
            Stage::Wait(until) => {
                tokio::select! {
                    biased;
                    () = shared.closing.cancelled() => return,
                    () = changed(&slot) => Stage::Change,
                    () = sleep_until(until) => {
                        slot.state().record.restarts += 1;
                        Stage::Start
                    }
                }
            }
            Stage::Again(until) => {
                tokio::select! {
                    biased;
                    () = shared.closing.cancelled() => return,
                    () = changed(&slot) => Stage::Change,
                    () = sleep_until(until) => Stage::Start,
                }
            }
            Stage::Down => {
                tokio::select! {
                    biased;
                    () = shared.closing.cancelled() => return,
                    () = changed(&slot) => Stage::Change,
                }
            }
            Stage::Change => {
                delay = FIRST_DELAY;
                match change(&shared, &slot).await {
                    Some(stage) => stage,
                    None => return,
                }
            }
        };
    }
}

/// Starts a run. Blocks. The start is stored before it happens.
pub(super) fn start_now(shared: &Shared, slot: &Slot) -> Result<Up, Failure> {
    let unwritten = |e: std::io::Error| launch::explain(&e, "the process's folder can't be written");
    let moved = shared.assign_ports(slot)?;
    slot.folder.create().map_err(unwritten)?;
    let record = {
        let mut state = slot.state();
        state.record.run += 1;
        state.record.process = None;
        state.record.home = None;
        let name = format!("{}-{}", state.record.mark, state.record.run);
        state.record.group = shared.groups.as_ref().and_then(|groups| groups.make(&name, state.record.prepared.memory()));
        state.record.clone()
    };
    shared.reserve.spend(|| slot.save()).map_err(unwritten)?;
    if record.run > 1 {
        slot.folder.clear_run(record.run - 1);
    }
    let secrets = shared.options.secrets.as_deref();
    let around = launch::surroundings(&slot.folder, &record, secrets, &shared.search)?;
    let pid = launch::launch(&slot.folder, &record, &around, secrets, &shared.reserve)?;
    let leader = Leader::new(pid);
    {
        let mut state = slot.state();
        state.record.process = Some(proc::identity(pid, &shared.boot));
        state.record.started_at = Some(instant(std::time::SystemTime::now()));
        up(&mut state, pid.as_raw_nonzero().get());
        state.message = moved;
    }
    if let Err(error) = shared.reserve.spend(|| slot.save()) {
        // It runs, and its wrapper has written its id: nothing is lost but the time of the start.
        tracing::warn!(owner = %slot.owner, allocation = %slot.key.allocation, %error, "the record of a started process can't be written");
    }
    Ok(Up { leader, around: Some(around) })
}

/// Marks a slot as running under this id.
pub(super) fn up(state: &mut super::slot::State, pid: i32) {
    state.pid = pid;
    state.health = Health::Unknown;
    state.usage = None;
    state.looked = None;
    state.filled = None;
    state.members.clear();
    state.message.clear();
    state.phase = if state.record.prepared.spec.readiness.is_some() { Phase::Starting } else { Phase::Running };
}

/// The start is owed: it did not happen for a reason that says nothing about the process.
pub(super) fn not_yet(shared: &Shared, slot: &Slot, failure: &Failure) -> Stage {
    if failure.code.as_deref() == Some(BUSY) {
        shared.exhausted("a process can't be started");
    }
    let mut state = slot.state();
    state.phase = Phase::Starting;
    state.message = format!("{}; tried again", failure.message);
    Stage::Again(Instant::now() + failure.retry_after.map_or(FIRST_DELAY, Millis::std))
}

/// Whether what stands in the way of a start may go by itself: a port that somebody has, a disk that is full.
fn may_pass(failure: &Failure) -> bool {
    matches!(failure.kind, FailureKind::OutOfCapacity | FailureKind::Unavailable) || failure.code.as_deref() == Some(TAKEN)
}

async fn start(shared: &Arc<Shared>, slot: &Arc<Slot>, delay: &mut Duration) -> Option<Stage> {
    let (inner, of) = (shared.clone(), slot.clone());
    let outcome = tokio::task::spawn_blocking(move || start_now(&inner, &of)).await.ok()?;
    let stage = match outcome {
        Ok(up) => Stage::Up(up),
        Err(failure) if launch::is_passing(&failure) => not_yet(shared, slot, &failure),
        Err(failure) if may_pass(&failure) && slot.has_starts_left() => {
            tracing::warn!(owner = %slot.owner, allocation = %slot.key.allocation, replica = slot.key.replica, error = %failure, "a process can't be started");
            let pause = *delay;
            *delay = (pause * 2).min(LONGEST_DELAY);
            let mut state = slot.state();
            state.phase = Phase::Starting;
            state.message = format!("{}; tried again in {} s", failure.message, pause.as_secs());
            Stage::Wait(Instant::now() + pause)
        }
        Err(failure) => {
            tracing::warn!(owner = %slot.owner, allocation = %slot.key.allocation, replica = slot.key.replica, error = %failure, "a process can't be started");
            let end = Ended {
                run: slot.state().record.run,
                at: instant(std::time::SystemTime::now()),
                code: None,
                message: failure.message,
                finally: true,
                well: false,
            };
            settle(shared, slot, end).await;
            Stage::Down
        }
    };
    shared.tell(slot);
    Some(stage)
}

/// Watches a run until it ends, must be ended, or the supervisor closes (none).
async fn tend(shared: &Arc<Shared>, slot: &Arc<Slot>, mut up: Up, delay: &mut Duration) -> Option<Stage> {
    let (spec, started, signal) = {
        let state = slot.state();
        (state.record.prepared.spec.clone(), state.record.started_at, state.record.prepared.signal())
    };
    let mut probes = JoinSet::new();
    let mut verdicts = watch(shared, slot, &mut up, &mut probes).await;
    let age = started.map_or(Millis(0), |s| instant(std::time::SystemTime::now()).since(s));
    let deadline = spec.deadline.map(|d| Millis(d.0.saturating_sub(age.0)));
    let event = {
        let too_long = async {
            match deadline {
                Some(left) => sleep(left.std()).await,
                None => std::future::pending().await,
            }
        };
        let ended = up.leader.ended();
        let outgrown = outgrown(slot);
        tokio::pin!(too_long, ended, outgrown);
        loop {
            tokio::select! {
                biased;
                () = shared.closing.cancelled() => break Event::Closing,
                () = &mut ended => break Event::Exited,
                () = changed(slot) => break Event::Changed,
                () = &mut too_long => break Event::TooLong,
                filled = &mut outgrown => break Event::Outgrown(filled),
                Some(verdict) = verdicts.recv() => {
                    if let Some(event) = judge(slot, verdict, spec.readiness.is_none()) {
                        break event;
                    }
                    shared.tell(slot);
                }
            }
        }
    };
    drop(probes);
    let at_once = matches!(event, Event::Outgrown(_));
    let cause = match event {
        Event::Closing => return None,
        Event::Exited => None,
        Event::Changed => Some(String::new()),
        Event::TooLong => Some(format!("ended after its deadline of {}", spec.deadline.unwrap_or_default())),
        Event::Unwell(reason) => Some(format!("ended because its liveness probe failed: {reason}")),
        Event::Outgrown(filled) => Some(outgrew(slot, Some(filled))),
    };
    if let Some(cause) = &cause {
        {
            let mut state = slot.state();
            state.phase = Phase::Stopping;
            state.message.clone_from(cause);
        }
        shared.tell(slot);
        // More memory than it may have is taken at once, as the kernel would.
        let (signal, grace) = if at_once { (Signal::KILL, Millis(0)) } else { (signal, spec.stop_grace) };
        if !stop(shared, slot, &up.leader, signal, grace).await {
            return None;
        }
    }
    let (inner, of) = (shared.clone(), slot.clone());
    let end = tokio::task::spawn_blocking(move || collect(&inner, &of, up.leader, cause)).await.ok()??;
    if !matches!(slot.state().record.wanted, Wanted::Run) {
        slot.state().pid = 0;
        return Some(Stage::Change);
    }
    Some(after(shared, slot, end, delay).await)
}

/// After the end of the wrapper: ends what is left of the run, and finds out how it ended. None when the supervisor closes meanwhile. Blocks.
fn collect(shared: &Shared, slot: &Slot, leader: Leader, mut cause: Option<String>) -> Option<End> {
    let (who, run) = (slot.who(), slot.state().record.run);
    leader.signal(Signal::KILL);
    if cause.is_none() && who.group.as_deref().is_some_and(groups::ended_for_memory) {
        cause = Some(outgrew(slot, None));
    }
    let left = match shared.insist("what a process has left can't be looked for", || shared.end_leftovers(&who))? {
        Ok(left) => left,
        Err(error) => {
            tracing::warn!(owner = %slot.owner, allocation = %slot.key.allocation, %error, "what a process has left can't be looked for");
            0
        }
    };
    if left > 0 {
        tracing::warn!(owner = %slot.owner, allocation = %slot.key.allocation, replica = slot.key.replica, left, "processes that a replica left running were ended");
    }
    let killed = leader.reap();
    let written = shared.insist("the status of a process can't be read", || slot.exit(run))?;
    Some(End { code: written.ok().flatten().or(killed), cause, left })
}

/// Why a run was ended that has filled more memory than it may.
fn outgrew(slot: &Slot, filled: Option<Bytes>) -> String {
    let limit = Bytes(slot.state().record.prepared.memory());
    let filled = filled.map_or_else(String::new, |filled| format!(": it filled {} MiB", filled.0 >> 20));
    format!("ended because it outgrew its memory limit of {limit}{filled}; raise resources.memory, or limits.memory where it is given")
}

/// Returns what the run has filled, once that is more than it may.
async fn outgrown(slot: &Slot) -> Bytes {
    loop {
        let woken = slot.outgrown.notified();
        if let Some(filled) = slot.state().filled {
            return filled;
        }
        woken.await;
    }
}

/// How many of a run's processes its group's signals do not reach; they get this one.
async fn outside(shared: &Arc<Shared>, slot: &Arc<Slot>, signal: Option<Signal>) -> usize {
    let (inner, who) = (shared.clone(), slot.who());
    tokio::task::spawn_blocking(move || inner.signal_outside(&who, signal)).await.unwrap_or(0)
}

/// Asks the group, and what has left it, to stop, then kills it. False when the supervisor closes meanwhile: the process is left as it is.
async fn stop(shared: &Arc<Shared>, slot: &Arc<Slot>, leader: &Leader, signal: Signal, grace: Millis) -> bool {
    const LOOK: Duration = Duration::from_millis(50);
    leader.signal(signal);
    let all_gone = async {
        let mut left = outside(shared, slot, Some(signal)).await;
        leader.ended().await;
        while left > 0 {
            sleep(LOOK).await;
            left = outside(shared, slot, None).await;
        }
    };
    tokio::select! {
        biased;
        () = shared.closing.cancelled() => return false,
        _ = timeout(grace.std(), all_gone) => {}
    }
    leader.signal(Signal::KILL);
    while timeout(KILL_PATIENCE, leader.ended()).await.is_err() {
        if shared.closing.is_cancelled() {
            return false;
        }
        tracing::warn!(pid = leader.pid().as_raw_nonzero().get(), "a killed process does not go away: it may hang in the kernel");
    }
    true
}

/// Starts the probes of a run.
async fn watch(shared: &Arc<Shared>, slot: &Arc<Slot>, up: &mut Up, probes: &mut JoinSet<()>) -> mpsc::UnboundedReceiver<Verdict> {
    let (send, verdicts) = mpsc::unbounded_channel();
    let record = slot.state().record.clone();
    let spec = &record.prepared.spec;
    let wanted = [(Kind::Readiness, &spec.readiness), (Kind::Liveness, &spec.liveness)];
    if wanted.iter().all(|(_, probe)| probe.is_none()) {
        return verdicts;
    }
    let around = match up.around.take() {
        Some(around) => Ok(around),
        None => {
            let (inner, of, record) = (shared.clone(), slot.clone(), record.clone());
            tokio::task::spawn_blocking(move || launch::surroundings(&of.folder, &record, inner.options.secrets.as_deref(), &inner.search))
                .await
                .unwrap_or_else(|e| Err(Failure::internal(format!("the surroundings of a probe can't be found: {e}"))))
        }
    };
    let around = match around {
        Ok(around) => around,
        Err(failure) => {
            let _ = send.send(Verdict::Bad(Kind::Readiness, failure.message));
            return verdicts;
        }
    };
    let (ports, search, mark) = (record.ports.clone(), shared.search.clone(), record.run_mark());
    let target = Arc::new(Target::new(ports, around, search, (shared.clone(), slot.who(), mark)));
    for (kind, probe) in wanted {
        if let Some(probe) = probe {
            probes.spawn(probe::watch(kind, probe.clone(), target.clone(), send.clone()));
        }
    }
    verdicts
}

/// Takes a verdict down; some verdicts end the run.
fn judge(slot: &Slot, verdict: Verdict, liveness_only: bool) -> Option<Event> {
    let mut state = slot.state();
    match verdict {
        Verdict::Good(Kind::Liveness) if !liveness_only => {}
        Verdict::Good(_) => {
            state.health = Health::Healthy;
            state.phase = Phase::Running;
            state.message.clear();
        }
        Verdict::Bad(Kind::Readiness, reason) => {
            state.health = Health::Unhealthy;
            state.message = format!("its readiness probe fails: {reason}");
        }
        Verdict::Bad(Kind::Liveness, reason) => {
            state.health = Health::Unhealthy;
            return Some(Event::Unwell(reason));
        }
    }
    None
}

/// Decides what follows the end of a run that was wanted.
async fn after(shared: &Arc<Shared>, slot: &Arc<Slot>, end: End, delay: &mut Duration) -> Stage {
    let now = instant(std::time::SystemTime::now());
    let (ended, lasted) = {
        let state = slot.state();
        (verdict(&state.record, end, now), state.record.started_at.map_or(Millis(0), |s| now.since(s)))
    };
    if lasted >= SETTLED {
        *delay = FIRST_DELAY;
    }
    let finally = ended.finally;
    let pause = *delay;
    let message = ended.message.clone();
    settle(shared, slot, ended).await;
    if finally {
        shared.tell(slot);
        return Stage::Down;
    }
    {
        let mut state = slot.state();
        state.phase = Phase::Starting;
        state.message = format!("{message}; starts again in {} s", pause.as_secs());
    }
    shared.tell(slot);
    *delay = (pause * 2).min(LONGEST_DELAY);
    Stage::Wait(Instant::now() + pause)
}

fn verdict(record: &super::folder::Record, end: End, at: tradewind_core::units::Instant) -> Ended {
    let spec = &record.prepared.spec;
    let well = end.code == Some(0) && end.cause.is_none();
    let again = record.restarts < spec.restarts && (spec.restart_always || !well);
    let mut message = match (end.cause, end.code) {
        (Some(cause), _) => cause,
        (None, Some(0)) => "ended".to_owned(),
        (None, Some(125)) => "its limits could not be set: see its output".to_owned(),
        (None, Some(126 | 127)) => "its program could not be run: see its output".to_owned(),
        (None, Some(137)) => "ended with status 137: killed".to_owned(),
        (None, Some(code)) => format!("ended with status {code}"),
        (None, None) => "ended without a status: it was killed, or the machine was restarted".to_owned(),
    };
    match end.left {
        0 => {}
        1 => message.push_str("; a process that it left running was ended"),
        left => message.push_str(&format!("; {left} processes that it left running were ended")),
    }
    // Something that shall always run and has no start left has not done what it should.
    let failed = !well || (spec.restart_always && !again);
    if failed && !again && spec.restarts > 0 {
        message.push_str(", with no restarts left");
    }
    Ended { run: record.run, at, code: end.code, message, finally: !again, well: !failed }
}

/// Takes down and stores how a run ended.
async fn settle(shared: &Arc<Shared>, slot: &Arc<Slot>, ended: Ended) {
    {
        let mut state = slot.state();
        state.pid = 0;
        state.health = Health::Unknown;
        if ended.finally {
            state.phase = if ended.well { Phase::Succeeded } else { Phase::Failed };
            slot.promise_ended();
        }
        state.message.clone_from(&ended.message);
        state.record.process = None;
        state.record.group = None;
        state.record.ended = Some(ended);
    }
    let (inner, of, size) = (shared.clone(), slot.clone(), slot.state().record.prepared.log_size);
    let stored = tokio::task::spawn_blocking(move || {
        let _ = super::output::trim(&of.outputs(), size);
        inner.insist("the end of a process can't be stored", || of.save())
    });
    if let Ok(Some(Err(error))) = stored.await {
        tracing::warn!(owner = %slot.owner, allocation = %slot.key.allocation, %error, "the end of a process can't be stored");
    }
}

/// What a run that ended while nobody watched leads to.
pub(super) async fn found_ended(shared: &Arc<Shared>, slot: &Arc<Slot>, code: Option<i32>, left: usize) -> Stage {
    after(shared, slot, End { code, cause: None, left }, &mut FIRST_DELAY.clone()).await
}

/// With nothing running: takes up the new spec, or forgets the process (none).
async fn change(shared: &Arc<Shared>, slot: &Arc<Slot>) -> Option<Stage> {
    let next = {
        let mut state = slot.state();
        let next = match std::mem::replace(&mut state.record.wanted, Wanted::Run) {
            Wanted::Run => return Some(Stage::Down),
            Wanted::Replace(next) => Some(*next),
            Wanted::Remove => {
                state.record.wanted = Wanted::Remove;
                None
            }
        };
        if let Some(next) = next {
            slot.promise(&next);
            state.record.prepared = next;
            state.record.restarts = 0;
            state.record.ended = None;
            state.phase = Phase::Starting;
            state.message.clear();
            true
        } else {
            false
        }
    };
    if next {
        return Some(Stage::Start);
    }
    let (inner, of) = (shared.clone(), slot.clone());
    match tokio::task::spawn_blocking(move || inner.forget(&of)).await {
        Ok(Ok(Some(retired))) => {
            slot.gone.cancel();
            shared.tell(slot);
            // The process is forgotten already; its files may take their time.
            tokio::task::spawn_blocking(move || discard(&retired));
            None
        }
        Ok(Ok(None)) => Some(Stage::Change),
        Ok(Err(error)) => {
            tracing::warn!(owner = %slot.owner, allocation = %slot.key.allocation, %error, "the folder of a removed process can't be taken away");
            slot.state().message = "its folder can't be removed".to_owned();
            sleep(LONGEST_DELAY).await;
            Some(Stage::Change)
        }
        Err(_) => None,
    }
}

/// Returns once something else than the present spec is wanted.
async fn changed(slot: &Slot) {
    loop {
        let woken = slot.wake.notified();
        if !matches!(slot.state().record.wanted, Wanted::Run) {
            return;
        }
        woken.await;
    }
}
