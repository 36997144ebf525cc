//! The life of one process: start, tend, stop, start again, forget. One task per process; nobody else changes its stage.
//! It must not know grants: what it starts has been checked.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use rustix::process::Signal;
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout},
};
use tradewind_core::{
    capability::ProcessSpec,
    exhausted::BUSY,
    failure::{Failure, FailureKind, PORT_TAKEN},
    health::{Pace, SLOWER_START},
    units::{Bytes, Instant as Moment, Millis},
    workload::{Health, Phase},
};

use super::{
    Shared,
    confine::Plan,
    exit::Leader,
    folder::{Ended, Record, Wanted, discard},
    groups,
    launch::{self, Surroundings},
    probe::{self, Kind, Life, Target, Verdict},
    proc,
    slot::Slot,
};
use crate::clock::instant;

/// How soon a process is started again of which nobody has said how long to wait: the first time, and at the longest.
const FIRST_DELAY: Millis = Millis::from_secs(1);
const LONGEST_DELAY: Millis = Millis::from_secs(30);
/// A run of such a process that lasted so long starts the back-off anew.
const SETTLED: Millis = Millis::from_secs(60);
/// How soon a folder is taken away again that could not be.
const FORGET_AGAIN: Duration = Duration::from_secs(30);
/// So often a process is made again because it was lost; after that, a loss counts like a failure.
const LOSSES: u32 = 5;
/// How long a killed process may take to disappear before the keeper says so.
const KILL_PATIENCE: Duration = Duration::from_secs(5);

/// Where a process stands. Each stage leads to the next.
pub(super) enum Stage {
    /// To be started now.
    Start,
    Up(Up),
    /// Ended, to be started again after a pause.
    Wait(Pause),
    /// Not started for a reason that says nothing about it: to be tried again then.
    Again(Instant),
    /// Ended for good, or unable to start: until something else is wanted.
    Down,
    /// Nothing runs: take up what is wanted.
    Change,
}

/// The time between two runs.
pub(super) struct Pause {
    ended: Instant,
    span: Millis,
    /// Runs in a row that have ended, this one included.
    row: u32,
    /// By what the controller says; else it is asked for again when it does.
    told: bool,
}

impl Pause {
    fn new(shared: &Shared, slot: &Slot, row: u32) -> Self {
        Self {
            ended: Instant::now(),
            span: Millis(0),
            row,
            told: false,
        }
        .told(shared, slot)
    }

    fn told(self, shared: &Shared, slot: &Slot) -> Self {
        let pace = shared.pace(&slot.key.allocation);
        let own = Pace {
            first: FIRST_DELAY,
            longest: LONGEST_DELAY,
            reset: SETTLED,
            inherited: 0,
            here: BTreeMap::new(),
        };
        let span = pace
            .as_ref()
            .unwrap_or(&own)
            .pause(slot.key.replica, self.row);
        Self {
            span,
            told: pace.is_some(),
            ..self
        }
    }

    fn end(&self) -> Instant {
        self.ended + self.span.std()
    }
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
    NotStarted(String),
    /// It has filled so much.
    Outgrown(Bytes),
    Closing,
}

/// How a run ended, before it is decided what follows.
struct End {
    code: Option<i32>,
    /// Why it was ended, when it did not end by itself.
    cause: Option<String>,
    /// Nothing tells how it ended: its wrapper was killed, or the machine was restarted.
    lost: bool,
    /// It was ended because its deadline had passed.
    late: bool,
    /// How many processes it left outside its group. They have been ended.
    left: usize,
}

/// Keeps one process until it is removed or the supervisor closes.
pub(super) async fn supervise(shared: Arc<Shared>, slot: Arc<Slot>, mut stage: Stage) {
    let mut row = 0;
    loop {
        stage = match stage {
            Stage::Start => match start(&shared, &slot, &mut row).await {
                Some(stage) => stage,
                None => return,
            },
            Stage::Up(up) => match monitor(&shared, &slot, up, &mut row).await {
                Some(stage) => stage,
                None => return,
            },
            Stage::Wait(pause) => {
                row = row.max(pause.row);
                let paced = shared.paced.notified();
                let pause = if pause.told {
                    pause
                } else {
                    pause.told(&shared, &slot)
                };
                tokio::select! {
                    biased;
                    () = shared.closing.cancelled() => return,
                    () = changed(&slot) => Stage::Change,
                    () = paced, if !pause.told => Stage::Wait(pause.told(&shared, &slot)),
                    () = sleep_until(pause.end()) => {
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
                row = 0;
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
    let unwritten =
        |e: std::io::Error| launch::explain(&e, "the process's folder can't be written");
    let moved = shared.assign_ports(slot)?;
    let uid = shared.own_user(slot)?;
    slot.folder.create().map_err(unwritten)?;
    let ends = shared
        .reserve
        .spend(|| slot.folder.ends())
        .map_err(unwritten)?;
    let record = {
        let mut state = slot.state();
        let now = instant(std::time::SystemTime::now());
        state.record.begin(now, ends);
        state.record.process = None;
        state.record.home = None;
        state.record.uid = uid;
        let name = format!("{}-{}", state.record.mark, state.record.run);
        state.record.group = shared
            .groups
            .as_ref()
            .and_then(|groups| groups.make(&name, state.record.prepared.memory_limit()));
        state.record.clone()
    };
    shared.reserve.spend(|| slot.save()).map_err(unwritten)?;
    if record.run > 1 {
        slot.folder.clear_run(record.run - 1);
    }
    let secrets = shared.options.secrets.as_deref();
    let around = launch::surroundings(&slot.folder, &record, secrets, &shared.search)?;
    // Without a descriptor for this there is none for the start either.
    let piped = shared
        .reserve
        .spend(|| {
            shared
                .collecting
                .prepare(&slot.folder, record.prepared.log_size)
        })
        .unwrap_or_default();
    let plan = shared.plan(&slot.folder, &record);
    if plan.ids.is_some() {
        shared.open_way(&slot.folder).map_err(unwritten)?;
    }
    let pid = launch::launch(
        &slot.folder,
        &record,
        &around,
        &plan,
        secrets,
        (&shared.reserve, piped.is_some()),
    )?;
    drop(piped);
    let leader = Leader::new(pid);
    {
        let mut state = slot.state();
        state.record.process = Some(proc::identity(pid, &shared.boot));
        let now = instant(std::time::SystemTime::now());
        state.record.started_at = Some(now);
        state.record.first_started_at.get_or_insert(now);
        up(&mut state, pid.as_raw_nonzero().get());
        state.message = moved;
    }
    if let Err(error) = shared.reserve.spend(|| slot.save()) {
        // It runs, and its wrapper has written its id: nothing is lost but the time of the start.
        tracing::warn!(owner = %slot.owner, allocation = %slot.key.allocation, %error, "the record of a started process can't be written");
    }
    Ok(Up {
        leader,
        around: Some(around),
    })
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
    let spec = &state.record.prepared.spec;
    let checked = spec.startup.is_some() || spec.readiness.is_some();
    state.phase = if checked {
        Phase::Starting
    } else {
        Phase::Running
    };
}

/// The start is owed: it did not happen for a reason that says nothing about the process.
pub(super) fn not_yet(shared: &Shared, slot: &Slot, failure: &Failure) -> Stage {
    if failure.code.as_deref() == Some(BUSY) {
        shared.exhausted("a process can't be started");
    }
    let mut state = slot.state();
    state.phase = Phase::Starting;
    state.message = format!("{}; tried again", failure.message);
    Stage::Again(Instant::now() + failure.retry_after.unwrap_or(FIRST_DELAY).std())
}

/// Whether what stands in the way of a start may go by itself: a port that somebody has, a disk that is full.
fn may_pass(failure: &Failure) -> bool {
    matches!(
        failure.kind,
        FailureKind::OutOfCapacity | FailureKind::Unavailable
    ) || failure.code.as_deref() == Some(PORT_TAKEN)
}

async fn start(shared: &Arc<Shared>, slot: &Arc<Slot>, row: &mut u32) -> Option<Stage> {
    let (inner, of) = (shared.clone(), slot.clone());
    let outcome = tokio::task::spawn_blocking(move || start_now(&inner, &of))
        .await
        .ok()?;
    let stage = match outcome {
        Ok(up) => Stage::Up(up),
        Err(failure) if launch::is_passing(&failure) => not_yet(shared, slot, &failure),
        Err(failure) if may_pass(&failure) && slot.has_starts_left() => {
            tracing::warn!(owner = %slot.owner, allocation = %slot.key.allocation, replica = slot.key.replica, error = %failure, "a process can't be started");
            *row = row.saturating_add(1);
            let pause = Pause::new(shared, slot, *row);
            let mut state = slot.state();
            state.phase = Phase::Starting;
            state.message = format!("{}; tried again in {}", failure.message, pause.span);
            Stage::Wait(pause)
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
                lost: false,
            };
            settle(shared, slot, end).await;
            Stage::Down
        }
    };
    shared.tell(slot);
    Some(stage)
}

/// Watches a run until it ends, must be ended, or the supervisor closes (none).
async fn monitor(
    shared: &Arc<Shared>,
    slot: &Arc<Slot>,
    mut up: Up,
    row: &mut u32,
) -> Option<Stage> {
    let (spec, started, signal) = {
        let state = slot.state();
        let record = &state.record;
        // Records of earlier versions tell the latest start alone.
        (
            record.prepared.spec.clone(),
            record.first_started_at.or(record.started_at),
            record.prepared.signal(),
        )
    };
    let mut probes = JoinSet::new();
    let mut verdicts = watch(shared, slot, &mut up, &mut probes).await;
    let age = started.map_or(Millis(0), |s| {
        instant(std::time::SystemTime::now()).since(s)
    });
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
                    if let Some(event) = judge(slot, verdict, &spec) {
                        break event;
                    }
                    shared.tell(slot);
                }
            }
        }
    };
    drop(probes);
    let late = matches!(event, Event::TooLong);
    let at_once = matches!(event, Event::Outgrown(_));
    let cause = match event {
        Event::Closing => return None,
        Event::Exited => None,
        Event::Changed => Some(String::new()),
        Event::TooLong => Some(format!(
            "ended after its deadline of {}",
            spec.deadline.unwrap_or_default()
        )),
        Event::Unwell(reason) => Some(format!("ended because its liveness probe failed: {reason}")),
        Event::NotStarted(reason) => Some(format!(
            "ended because its startup probe failed: {reason}; {SLOWER_START}"
        )),
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
        let (signal, grace) = if at_once {
            (Signal::KILL, Millis(0))
        } else {
            (signal, spec.stop_grace)
        };
        if !stop(shared, slot, &up.leader, signal, grace).await {
            return None;
        }
    }
    let (inner, of) = (shared.clone(), slot.clone());
    let end = tokio::task::spawn_blocking(move || collect(&inner, &of, up.leader, (cause, late)))
        .await
        .ok()??;
    if !matches!(slot.state().record.wanted, Wanted::Run) {
        slot.state().pid = 0;
        return Some(Stage::Change);
    }
    Some(after(shared, slot, end, row).await)
}

/// After the end of the wrapper: ends what is left of the run, and finds out how it ended. None when the supervisor closes meanwhile. Blocks.
fn collect(
    shared: &Shared,
    slot: &Slot,
    leader: Leader,
    (mut cause, late): (Option<String>, bool),
) -> Option<End> {
    let (who, run) = (slot.who(), slot.state().record.run);
    leader.signal(Signal::KILL);
    if cause.is_none() && who.group.as_deref().is_some_and(groups::ended_for_memory) {
        cause = Some(outgrew(slot, None));
    }
    let left = match shared.insist("what a process has left can't be looked for", || {
        shared.end_leftovers(&who)
    })? {
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
    // Whoever sees that it has ended finds its last words.
    shared
        .collecting
        .drain(std::iter::once(slot.outputs().path()));
    let written = shared
        .insist("the status of a process can't be read", || {
            shared.reserve.spend(|| slot.exit(run))
        })?
        .ok()
        .flatten();
    let lost = written.is_none() && cause.is_none();
    Some(End {
        code: written.or(killed).filter(|_| !lost),
        cause,
        lost,
        late,
        left,
    })
}

/// Why a run was ended that has filled more memory than it may.
fn outgrew(slot: &Slot, filled: Option<Bytes>) -> String {
    let limit = Bytes(slot.state().record.prepared.memory_limit());
    let filled = filled.map_or_else(String::new, |filled| {
        format!(": it filled {} MiB", filled.0 >> 20)
    });
    format!(
        "ended because it outgrew its memory limit of {limit}{filled}; raise resources.memory, or limits.memory where it is given"
    )
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
    tokio::task::spawn_blocking(move || inner.signal_outside(&who, signal))
        .await
        .unwrap_or(0)
}

/// Returns once the command has begun: before, a signal could be lost.
async fn begun(leader: &Leader) {
    const LOOK: Duration = Duration::from_millis(10);
    let wrapper = leader.pid().as_raw_nonzero().get();
    while !tokio::task::spawn_blocking(move || proc::has_begun(wrapper))
        .await
        .unwrap_or(true)
    {
        sleep(LOOK).await;
    }
}

/// Asks the group, and what has left it, to stop, then kills it. False when the supervisor closes meanwhile: the process is left as it is.
async fn stop(
    shared: &Arc<Shared>,
    slot: &Arc<Slot>,
    leader: &Leader,
    signal: Signal,
    grace: Millis,
) -> bool {
    const LOOK: Duration = Duration::from_millis(50);
    tokio::select! {
        biased;
        () = shared.closing.cancelled() => return false,
        () = leader.ended() => {}
        _ = timeout(grace.std(), begun(leader)) => {}
    }
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
        tracing::warn!(
            pid = leader.pid().as_raw_nonzero().get(),
            "a killed process does not go away: it may hang in the kernel"
        );
    }
    true
}

/// Starts the probes of a run.
async fn watch(
    shared: &Arc<Shared>,
    slot: &Arc<Slot>,
    up: &mut Up,
    probes: &mut JoinSet<()>,
) -> mpsc::UnboundedReceiver<Verdict> {
    let (send, verdicts) = mpsc::unbounded_channel();
    let record = slot.state().record.clone();
    let spec = &record.prepared.spec;
    let wanted = [
        (Kind::Startup, &spec.startup),
        (Kind::Readiness, &spec.readiness),
        (Kind::Liveness, &spec.liveness),
    ];
    if wanted.iter().all(|(_, probe)| probe.is_none()) {
        return verdicts;
    }
    let around = match up.around.take() {
        Some(around) => Ok(around),
        None => {
            let (inner, of, record) = (shared.clone(), slot.clone(), record.clone());
            tokio::task::spawn_blocking(move || {
                launch::surroundings(
                    &of.folder,
                    &record,
                    inner.options.secrets.as_deref(),
                    &inner.search,
                )
            })
            .await
            .unwrap_or_else(|e| {
                Err(Failure::internal(format!(
                    "the surroundings of a probe can't be found: {e}"
                )))
            })
        }
    };
    let around = match around {
        Ok(around) => around,
        Err(failure) => {
            let _ = send.send(Verdict::Bad(Kind::Readiness, failure.message));
            return verdicts;
        }
    };
    let life = Life::new(spec.startup.is_some());
    let (ports, search, mark) = (
        record.ports.clone(),
        shared.search.clone(),
        record.run_mark(),
    );
    // A check may signal what it checks, which was not started with it.
    let plan = Plan {
        signals: true,
        ..shared.plan(&slot.folder, &record)
    };
    let target = Arc::new(Target::new(
        ports,
        around,
        search,
        life,
        plan,
        (shared.clone(), slot.who(), mark),
    ));
    for (kind, probe) in wanted {
        if let Some(probe) = probe {
            probes.spawn(probe::watch(
                kind,
                probe.clone(),
                target.clone(),
                send.clone(),
            ));
        }
    }
    verdicts
}

/// Takes a verdict down; some verdicts end the run.
fn judge(slot: &Slot, verdict: Verdict, spec: &ProcessSpec) -> Option<Event> {
    let mut state = slot.state();
    match verdict {
        // Where a check of being ready is made, that one alone says so.
        Verdict::Good(Kind::Liveness | Kind::Startup) if spec.readiness.is_some() => {}
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
        Verdict::Bad(Kind::Startup, reason) => {
            state.health = Health::Unhealthy;
            return Some(Event::NotStarted(reason));
        }
    }
    None
}

/// Decides what follows the end of a run that was wanted.
async fn after(shared: &Arc<Shared>, slot: &Arc<Slot>, end: End, row: &mut u32) -> Stage {
    let now = instant(std::time::SystemTime::now());
    let lasted = slot
        .state()
        .record
        .started_at
        .map_or(Millis(0), |s| now.since(s));
    let reset = shared
        .pace(&slot.key.allocation)
        .map_or(SETTLED, |pace| pace.reset);
    *row = if lasted >= reset {
        1
    } else {
        row.saturating_add(1)
    };
    let pause = Pause::new(shared, slot, *row);
    let ended = {
        let mut state = slot.state();
        if end.lost {
            state.record.losses = state.record.losses.saturating_add(1);
        }
        let again_at = now.plus(pause.span);
        let ended = verdict(&state.record, end, now, again_at);
        if ended.lost && !ended.finally {
            // All its retries are there again, as they would be on another machine. Its deadline goes on.
            state.record.forgiven = state.record.restarts.saturating_add(1);
        }
        ended
    };
    let finally = ended.finally;
    let message = ended.message.clone();
    settle(shared, slot, ended).await;
    if finally {
        shared.tell(slot);
        return Stage::Down;
    }
    {
        let mut state = slot.state();
        state.phase = Phase::Starting;
        state.message = format!("{message}; starts again in {}", pause.span);
    }
    shared.tell(slot);
    Stage::Wait(pause)
}

/// What the end of a run means. `again_at`: when the next one would begin.
fn verdict(record: &Record, end: End, at: Moment, again_at: Moment) -> Ended {
    let spec = &record.prepared.spec;
    let well = end.code == Some(0) && end.cause.is_none();
    let lost = end.lost && record.losses <= LOSSES;
    let failures = record.restarts.saturating_sub(record.forgiven);
    let left = failures < spec.restarts;
    let over = record
        .first_started_at
        .zip(spec.deadline)
        .is_some_and(|(first, deadline)| again_at >= first.plus(deadline));
    let again = !over && (lost || (left && !end.late && (spec.restart_always || !well)));
    let mut message = match (end.cause, end.code) {
        (Some(cause), _) => cause,
        (None, _) if end.lost => {
            "lost: it was killed together with its wrapper, or the machine was restarted".to_owned()
        }
        (None, Some(0)) => "ended".to_owned(),
        (None, Some(125)) => "its limits could not be set: see its output".to_owned(),
        (None, Some(126 | 127)) => "its program could not be run: see its output".to_owned(),
        (None, Some(137)) => "ended with status 137: killed".to_owned(),
        (None, Some(code)) => format!("ended with status {code}"),
        (None, None) => {
            "ended without a status: it was killed, or the machine was restarted".to_owned()
        }
    };
    match end.left {
        0 => {}
        1 => message.push_str("; a process that it left running was ended"),
        left => message.push_str(&format!(
            "; {left} processes that it left running were ended"
        )),
    }
    // Something that shall always run and has no start left has not done what it should.
    let failed = !well || (spec.restart_always && !again);
    if failed && !again && !end.late {
        if (left || lost) && over {
            message.push_str(&format!(
                ", and its deadline of {} leaves no time for another start",
                spec.deadline.unwrap_or_default()
            ));
        } else if spec.restarts > 0 {
            message.push_str(", with no restarts left");
        }
    }
    if failed && !again && end.lost && record.losses > LOSSES {
        message.push_str(&format!(" ({} times)", record.losses));
    }
    Ended {
        run: record.run,
        at,
        code: end.code,
        message,
        finally: !again,
        well: !failed,
        lost,
    }
}

/// Takes down and stores how a run ended.
async fn settle(shared: &Arc<Shared>, slot: &Arc<Slot>, ended: Ended) {
    {
        let mut state = slot.state();
        state.pid = 0;
        state.health = Health::Unknown;
        if ended.finally {
            state.phase = if ended.well {
                Phase::Succeeded
            } else {
                Phase::Failed
            };
            slot.promise_ended();
        }
        state.message.clone_from(&ended.message);
        state.record.process = None;
        state.record.group = None;
        state.record.ended = Some(ended);
    }
    let (inner, of, size) = (
        shared.clone(),
        slot.clone(),
        slot.state().record.prepared.log_size,
    );
    let stored = tokio::task::spawn_blocking(move || {
        let _ = super::output::trim(&of.outputs(), size);
        inner.insist("the end of a process can't be stored", || {
            inner.reserve.spend(|| of.save())
        })
    });
    if let Ok(Some(Err(error))) = stored.await {
        tracing::warn!(owner = %slot.owner, allocation = %slot.key.allocation, %error, "the end of a process can't be stored");
    }
}

/// What a run that ended while nobody watched leads to.
pub(super) async fn found_ended(
    shared: &Arc<Shared>,
    slot: &Arc<Slot>,
    code: Option<i32>,
    left: usize,
) -> Stage {
    after(
        shared,
        slot,
        End {
            code,
            cause: None,
            lost: code.is_none(),
            late: false,
            left,
        },
        &mut 0,
    )
    .await
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
            (
                state.record.losses,
                state.record.forgiven,
                state.record.first_started_at,
            ) = (0, 0, None);
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
            sleep(FORGET_AGAIN).await;
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

#[cfg(test)]
mod tests {
    use tradewind_core::names::Digest;

    use super::*;
    use crate::process::check::{Prepared, tests::spec};

    const NOW: Moment = Moment(1_000_000);

    fn record(restarts: u32, deadline: Option<u64>) -> Record {
        let spec = ProcessSpec {
            restarts,
            deadline: deadline.map(Millis),
            ..spec("x")
        };
        Record::new(Prepared {
            digest: Digest::of(b""),
            promised: None,
            spec,
            program: "/x".into(),
            directory: None,
            folders: Vec::new(),
            log_size: 0,
            namespace: None,
            secrets: None,
            confine: Default::default(),
        })
    }

    fn ended(record: &Record, code: Option<i32>) -> Ended {
        let end = End {
            code,
            cause: None,
            lost: code.is_none(),
            late: false,
            left: 0,
        };
        verdict(record, end, NOW, NOW.plus(Millis::from_secs(1)))
    }

    #[test]
    fn failures_use_retries_up_and_losses_do_not() {
        let mut record = record(2, None);
        for (restarts, forgiven, code, finally) in [
            (0, 0, Some(3), false),
            (2, 0, Some(3), true),
            (2, 0, None, false),
            // Lost after two failures: all retries are there again.
            (3, 3, Some(3), false),
            (4, 3, Some(3), false),
            (5, 3, Some(3), true),
            (1, 0, Some(0), true),
        ] {
            (record.restarts, record.forgiven, record.losses) = (restarts, forgiven, 1);
            let ended = ended(&record, code);
            assert_eq!(
                (ended.finally, ended.well),
                (finally, code == Some(0)),
                "{restarts} {forgiven} {code:?} {}",
                ended.message
            );
        }
    }

    #[test]
    fn what_is_lost_again_and_again_fails_in_the_end() {
        let mut record = record(0, None);
        for losses in 1..=LOSSES {
            record.losses = losses;
            assert!(!ended(&record, None).finally, "{losses}");
        }
        record.losses = LOSSES + 1;
        let last = ended(&record, None);
        assert!(
            last.finally && !last.well && !last.lost && last.message.contains("(6 times)"),
            "{}",
            last.message
        );
    }

    #[test]
    fn no_attempt_begins_past_the_deadline() {
        let mut record = record(9, Some(10_000));
        for (since, finally) in [
            (1_000, false),
            (8_999, false),
            (9_000, true),
            (20_000, true),
        ] {
            record.first_started_at = Some(Moment(NOW.0 - since));
            assert_eq!(ended(&record, Some(1)).finally, finally, "{since}");
        }
        // What was lost has its retries again, and no more time than before.
        for (since, finally) in [(8_999, false), (9_000, true), (90_000, true)] {
            record.first_started_at = Some(Moment(NOW.0 - since));
            (record.restarts, record.losses) = (9, 1);
            let ended = ended(&record, None);
            assert_eq!(
                (ended.finally, ended.message.contains("its deadline of 10s")),
                (finally, finally),
                "{since} {}",
                ended.message
            );
        }
        (record.restarts, record.losses) = (0, 0);
        let late = End {
            code: Some(143),
            cause: Some("ended after its deadline of 10s".to_owned()),
            lost: false,
            late: true,
            left: 0,
        };
        record.first_started_at = Some(Moment(NOW.0 - 1));
        assert!(verdict(&record, late, NOW, NOW.plus(Millis(1))).finally);
    }
}
