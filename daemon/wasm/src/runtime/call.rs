//! One call: a place in the queue, a fresh store, a deadline, and what went wrong told in the host's words. Knows no contract.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{error::Elapsed, timeout, timeout_at},
};
use tradewind_api::CallStatistics;
use tradewind_core::{
    failure::Failure,
    plugin::{Identity, Limits},
    units::{Bytes, Millis},
};
use wasmtime::{PoolConcurrencyLimitError, Store, Trap};

use super::{
    compiled::Compiled,
    engine::Engine,
    host_context::HostContext,
    state::{Call, HostBytesExceeded, LogPace, RequestsExceeded},
};

/// Runs the calls of one version.
#[derive(Clone)]
pub(crate) struct Runner {
    pub(crate) identity: Arc<Identity>,
    pub(crate) engine: Engine,
    pub(crate) limits: Limits,
    pub(crate) context: HostContext,
    pub(crate) stats: Arc<Stats>,
    /// The plugin's own queue.
    pub(crate) gate: Arc<Semaphore>,
    /// How long a call waits for its turn.
    pub(crate) patience: Duration,
    /// Kept alive as long as calls on it may come.
    pub(crate) code: Arc<Compiled>,
}

/// A call that has its turn.
pub(crate) struct Open<'a> {
    runner: &'a Runner,
    pub(crate) store: Store<Call>,
    operation: &'static str,
    begun: Instant,
    _turn: (OwnedSemaphorePermit, OwnedSemaphorePermit),
}

/// Counts of one instance, over all its versions since the daemon started.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    calls: AtomicU64,
    failures: AtomicU64,
    traps: AtomicU64,
    timeouts: AtomicU64,
    busy: AtomicU64,
    micros: AtomicU64,
    peak_memory: AtomicU64,
    dropped_log_lines: AtomicU64,
    pace: Arc<LogPace>,
}

// === impl Runner ===

impl Runner {
    /// The same with no more time for a call than this.
    pub(crate) fn at_most(&self, deadline: Millis) -> Self {
        let mut runner = self.clone();
        runner.limits.deadline = runner.limits.deadline.min(deadline);
        runner
    }

    /// The same for a call that counts in no statistics, takes no turn of others and leaves no core dump.
    pub(crate) fn uncounted(&self) -> Self {
        let mut runner = self.clone();
        (runner.stats, runner.gate) = (Arc::default(), Arc::new(Semaphore::new(1)));
        runner.engine.core_dumps = None;
        runner
    }

    /// Waits for a turn and makes the store.
    ///
    /// # Errors
    /// `unavailable`/`busy` when no slot comes free in time.
    pub(crate) async fn open(&self, operation: &'static str) -> Result<Open<'_>, Failure> {
        let until = tokio::time::Instant::now() + self.patience;
        let own = self
            .turn(&self.gate, 1, until, || {
                format!("limits.concurrency is {}", self.limits.concurrency)
            })
            .await?;
        let pool = self
            .turn(&self.engine.slots, self.code.weight, until, || {
                format!(
                    "the daemon runs at most {} at once",
                    self.engine.ceilings.slots
                )
            })
            .await?;
        let call = Call::new(
            self.identity.clone(),
            operation,
            self.context.clone(),
            &self.limits,
            &self.engine.ceilings,
            self.stats.pace.clone(),
        );
        let mut store = Store::new(&self.engine.wasmtime, call);
        store.limiter(|call| &mut call.limiter);
        store.set_hostcall_fuel(usize::try_from(self.limits.host_bytes.0).unwrap_or(usize::MAX));
        store.set_epoch_deadline(1);
        store.epoch_deadline_async_yield_and_update(1);
        Ok(Open {
            runner: self,
            store,
            operation,
            begun: Instant::now(),
            _turn: (own, pool),
        })
    }

    async fn turn(
        &self,
        gate: &Arc<Semaphore>,
        weight: u32,
        until: tokio::time::Instant,
        limit: impl Fn() -> String,
    ) -> Result<OwnedSemaphorePermit, Failure> {
        match timeout_at(until, gate.clone().acquire_many_owned(weight)).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => {
                self.stats.busy.fetch_add(1, Relaxed);
                let waited = Millis::from(self.patience);
                let message = format!(
                    "no call slot of plugin \"{}\" came free within {waited}: {}",
                    self.identity.instance,
                    limit()
                );
                Err(Failure::unavailable(message)
                    .code("busy")
                    .from_plugin(&self.identity))
            }
        }
    }

    pub(crate) fn deadline(&self) -> Duration {
        self.limits.deadline.std()
    }

    /// An answer that makes no sense.
    pub(crate) fn bad_answer(&self, operation: &str, what: impl std::fmt::Display) -> Failure {
        self.stats.failures.fetch_add(1, Relaxed);
        Failure::internal(format!(
            "plugin \"{}\" answered \"{operation}\" with nonsense: {what}",
            self.identity.instance
        ))
        .code("bad-answer")
        .from_plugin(&self.identity)
    }

    /// A failure that the plugin itself reports.
    pub(crate) fn reported(&self, failure: Failure) -> Failure {
        self.stats.failures.fetch_add(1, Relaxed);
        failure.from_plugin(&self.identity)
    }
}

// === impl Open ===

impl Open<'_> {
    /// Ends the call: drops the store, counts, and tells a failure.
    pub(crate) fn close<T>(
        mut self,
        outcome: Result<wasmtime::Result<T>, Elapsed>,
    ) -> Result<T, Failure> {
        let stats = &self.runner.stats;
        stats.calls.fetch_add(1, Relaxed);
        stats.micros.fetch_add(
            u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX),
            Relaxed,
        );
        stats
            .peak_memory
            .fetch_max(self.store.data().limiter.used(), Relaxed);
        stats
            .dropped_log_lines
            .fetch_add(self.store.data().dropped_lines(), Relaxed);
        let failure = match outcome {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => self.broken(&error),
            Err(_) => self.late(),
        };
        stats.failures.fetch_add(1, Relaxed);
        Err(failure.from_plugin(&self.runner.identity))
    }

    fn late(&self) -> Failure {
        self.runner.stats.timeouts.fetch_add(1, Relaxed);
        let Self {
            runner, operation, ..
        } = self;
        Failure::unavailable(format!(
            "plugin \"{}\" did not finish \"{operation}\" within limits.deadline of {}",
            runner.identity.instance, runner.limits.deadline
        ))
        .code("deadline-exceeded")
    }

    fn broken(&mut self, error: &wasmtime::Error) -> Failure {
        if let Some(dumps) = &self.runner.engine.core_dumps {
            dumps.write(
                error,
                &mut self.store,
                &self.runner.identity.instance,
                self.operation,
            );
        }
        let Self {
            runner,
            operation,
            store,
            ..
        } = self;
        let name = &runner.identity.instance;
        let limits = &runner.limits;
        if error.is::<PoolConcurrencyLimitError>() {
            runner.stats.busy.fetch_add(1, Relaxed);
            return Failure::unavailable(format!(
                "the daemon has no room for another call of plugin \"{name}\""
            ))
            .code("busy");
        }
        if error.is::<HostBytesExceeded>()
            || error
                .root_cause()
                .to_string()
                .contains("fuel allocated for hostcalls")
        {
            return Failure::internal(format!(
                "plugin \"{name}\" moved more bytes in \"{operation}\" than limits.host-bytes of {}",
                limits.host_bytes
            ))
            .code("host-bytes-limit");
        }
        if error.is::<RequestsExceeded>() {
            return Failure::denied(format!(
                "plugin \"{name}\" asked more often in \"{operation}\" than limits.http-requests of {}",
                limits.http_requests
            ))
            .code("http-requests-limit")
            .remedy("raise limits.http-requests in the instance file, if it needs more");
        }
        if store.data().limiter.refused {
            runner.stats.traps.fetch_add(1, Relaxed);
            return Failure::internal(format!(
                "plugin \"{name}\" wanted more memory in \"{operation}\" than limits.memory of {}",
                limits.memory
            ))
            .code("memory-limit");
        }
        if let Some(trap) = error.downcast_ref::<Trap>() {
            runner.stats.traps.fetch_add(1, Relaxed);
            let said = store
                .data()
                .last_error()
                .map(|line| format!(": it logged \"{line}\""))
                .unwrap_or_default();
            return Failure::internal(format!(
                "plugin \"{name}\" trapped in \"{operation}\" ({}){said}",
                reason(*trap)
            ))
            .code("trapped");
        }
        // Anything else the engine refuses: an index out of bounds, text that is no UTF-8, an unknown discriminant.
        Failure::internal(format!(
            "plugin \"{name}\" broke the contract in \"{operation}\": {}",
            crate::base::text::tame(&error.root_cause().to_string())
        ))
        .code("bad-answer")
    }
}

fn reason(trap: Trap) -> String {
    match trap {
        Trap::UnreachableCodeReached => "unreachable".to_owned(),
        Trap::StackOverflow => "stack overflow".to_owned(),
        // Languages that keep a stack of their own in memory run out of it like this.
        Trap::MemoryOutOfBounds => {
            "out of bounds memory access, perhaps a stack overflow".to_owned()
        }
        other => other
            .to_string()
            .trim_start_matches("wasm trap: ")
            .to_owned(),
    }
}

/// Instantiates and calls under the deadline, then closes.
pub(crate) async fn within<T>(
    deadline: Duration,
    work: impl Future<Output = wasmtime::Result<T>>,
) -> Result<wasmtime::Result<T>, Elapsed> {
    timeout(deadline, work).await
}

// === impl Stats ===

impl Stats {
    pub(crate) fn read(&self) -> CallStatistics {
        let calls = self.calls.load(Relaxed);
        let total_micros = self.micros.load(Relaxed);
        CallStatistics {
            calls,
            failures: self.failures.load(Relaxed),
            traps: self.traps.load(Relaxed),
            timeouts: self.timeouts.load(Relaxed),
            busy: self.busy.load(Relaxed),
            total_micros,
            average_micros: total_micros.checked_div(calls).unwrap_or(0),
            peak_memory: Bytes(self.peak_memory.load(Relaxed)),
            dropped_log_lines: self.dropped_log_lines.load(Relaxed),
        }
    }
}
