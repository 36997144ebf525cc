//! What a store holds during its one call: budgets, the lent capabilities, an empty WASI. Dropped with the call.

use std::{sync::Arc, time::Instant};

use parking_lot::Mutex;
use tradewind_core::{
    capability::Attempt,
    failure::Failure,
    names::{AllocationId, Namespace},
    plugin::{Identity, Limits},
};
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{
    HostMonotonicClock, HostWallClock, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView,
};

use super::{
    host_context::HostContext,
    limits::{Ceilings, Limiter},
};
use crate::base::text::tame;

/// What every host call takes of the bytes that one call of the plugin may move, whatever it moves: so many there can be.
const HOST_CALL: usize = 16;
/// The most bytes of chance that one question to the WASI brings.
const MOST_RANDOM: u64 = 64 << 10;
/// The most resources of the WASI that one call holds at a time.
const MOST_RESOURCES: usize = 1024;

/// The data of one store.
pub(crate) struct Call {
    pub(crate) identity: Arc<Identity>,
    pub(crate) operation: &'static str,
    pub(crate) context: HostContext,
    pub(crate) limiter: Limiter,
    /// What this call shall make so; none for calls that only look or take away.
    pub(crate) attempt: Option<Attempt>,
    /// Whether this call is for the output of the run before the present one.
    pub(crate) previous: Previous,
    log_lines: u32,
    /// Lines a minute of all calls of the instance together, and how they are counted.
    pace: (u32, Arc<LogPace>),
    dropped_lines: u64,
    host_bytes: u64,
    /// Left of those that one call may send, to clouds included.
    http_requests: u32,
    most_http_requests: u32,
    /// The last line at level error: a guest's panic, if it has a hook for that.
    last_error: Option<String>,
    wasi: Option<Box<(WasiCtx, ResourceTable)>>,
}

/// The call moved more bytes through the host than its limit.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("too many bytes through host calls")]
pub(crate) struct HostBytesExceeded;

/// The call asked a cloud, an engine or a cluster more often than its limit.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("too many requests")]
pub(crate) struct RequestsExceeded;

/// Lines that the calls of one instance have logged, spread over time.
#[derive(Debug, Default)]
pub(crate) struct LogPace(Mutex<Option<(f64, Instant)>>);

/// The output of earlier runs, which contract 0.1 can't ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Previous {
    Unwanted,
    Wanted,
    /// A capability that keeps runs apart was asked for it.
    Read,
}

/// A level of the guest's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

impl Call {
    pub(crate) fn new(
        identity: Arc<Identity>,
        operation: &'static str,
        context: HostContext,
        limits: &Limits,
        ceilings: &Ceilings,
        pace: Arc<LogPace>,
    ) -> Self {
        Self {
            identity,
            operation,
            context,
            limiter: Limiter::new(limits, ceilings),
            attempt: None,
            previous: Previous::Unwanted,
            log_lines: limits.log_lines,
            pace: (limits.log_lines.saturating_mul(LINES_A_MINUTE), pace),
            dropped_lines: 0,
            host_bytes: limits.host_bytes.0,
            http_requests: limits.http_requests,
            most_http_requests: limits.http_requests,
            last_error: None,
            wasi: None,
        }
    }

    /// For whom a capability is used in this call, which narrows its grant: the namespace whose allocation is being applied. A guest has no
    /// say in it.
    pub(crate) fn namespace(&self) -> Option<&Namespace> {
        self.attempt.as_ref().map(|attempt| &attempt.namespace)
    }

    /// The same for one allocation: another than the one that is being applied is nobody's in particular.
    pub(crate) fn namespace_of(&self, allocation: &AllocationId) -> Option<&Namespace> {
        self.attempt
            .as_ref()
            .filter(|attempt| attempt.allocation == *allocation)
            .map(|attempt| &attempt.namespace)
    }

    /// Whether a capability shall read the run before the present one. Who asks does so.
    pub(crate) fn take_previous(&mut self) -> bool {
        if self.previous == Previous::Wanted {
            self.previous = Previous::Read;
        }
        self.previous == Previous::Read
    }

    /// Takes bytes from the call's budget, and what a host call takes in any case.
    pub(crate) fn charge(&mut self, bytes: usize) -> Result<(), HostBytesExceeded> {
        match self
            .host_bytes
            .checked_sub(bytes.saturating_add(HOST_CALL) as u64)
        {
            Some(left) => {
                self.host_bytes = left;
                Ok(())
            }
            None => Err(HostBytesExceeded),
        }
    }

    /// Takes one HTTP request from the call's budget: a call can't be made to flood a host that it may reach.
    ///
    /// # Errors
    /// `denied` when it has sent all it may.
    pub(crate) fn take_request(&mut self) -> Result<(), Failure> {
        let Some(left) = self.http_requests.checked_sub(1) else {
            let message = format!(
                "the plugin has sent {} HTTP requests in one call, which is all it may",
                self.most_http_requests
            );
            let remedy = "raise limits.http-requests in the instance file, if it needs more";
            return Err(Failure::denied(message)
                .code("http-requests-limit")
                .remedy(remedy));
        };
        self.http_requests = left;
        Ok(())
    }

    /// The same for a question to a cloud, an engine or a cluster.
    pub(crate) fn ask(&mut self) -> Result<(), RequestsExceeded> {
        self.http_requests = self.http_requests.checked_sub(1).ok_or(RequestsExceeded)?;
        Ok(())
    }

    /// One line of the guest's log. Its text is untrusted: capped and escaped.
    pub(crate) fn log(&mut self, level: Level, message: &str, fields: &[(&str, &str)]) {
        let line = tame(message);
        if level == Level::Error {
            self.last_error = Some(line.clone());
        }
        let (per_minute, pace) = &self.pace;
        let left = self
            .log_lines
            .checked_sub(1)
            .filter(|_| pace.take(*per_minute, Instant::now()));
        let Some(left) = left else {
            self.dropped_lines += 1;
            return;
        };
        self.log_lines = left;
        let fields = fields
            .iter()
            .take(16)
            .map(|(k, v)| format!("{}={}", tame(k), tame(v)))
            .collect::<Vec<_>>()
            .join(" ");
        let fields = tame(&fields);
        let id = &self.identity;
        let (instance, plugin, digest, operation) = (
            id.instance.as_str(),
            id.plugin.as_str(),
            id.component.short(),
            self.operation,
        );
        macro_rules! emit {
            ($level:ident) => {
                tracing::$level!(target: "plugin", instance, plugin, digest, operation, fields, "{line}")
            };
        }
        match level {
            Level::Trace => emit!(trace),
            Level::Debug => emit!(debug),
            Level::Info => emit!(info),
            Level::Warn => emit!(warn),
            Level::Error => emit!(error),
        }
    }

    pub(crate) fn last_error(&self) -> Option<&str> {
        self.last_error.as_deref()
    }

    pub(crate) fn dropped_lines(&self) -> u64 {
        self.dropped_lines
    }
}

/// The lines of all calls of an instance in a minute, as a multiple of those of one call.
const LINES_A_MINUTE: u32 = 10;

impl LogPace {
    /// Takes one line, if there is one left of those of the last minute.
    fn take(&self, per_minute: u32, now: Instant) -> bool {
        let most = f64::from(per_minute);
        let mut pace = self.0.lock();
        let left = pace.map_or(most, |(left, at)| {
            (left + most * now.saturating_duration_since(at).as_secs_f64() / 60.0).min(most)
        });
        let taken = left >= 1.0;
        *pace = Some((if taken { left - 1.0 } else { left }, now));
        taken
    }
}

// === an empty WASI 0.2 ===

impl WasiView for Call {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let (ctx, table) = &mut **self
            .wasi
            .get_or_insert_with(|| Box::new((empty_wasi(), few_resources())));
        WasiCtxView { ctx, table }
    }
}

fn few_resources() -> ResourceTable {
    let mut table = ResourceTable::new();
    table.set_max_capacity(MOST_RESOURCES);
    table
}

/// No files, no environment, no arguments, no network. Time stands still and chance repeats itself, so that a policy's answers replay.
fn empty_wasi() -> WasiCtx {
    let mut builder = WasiCtxBuilder::new();
    builder
        .wall_clock(StandStill)
        .monotonic_clock(StandStill)
        .insecure_random_seed(0)
        .max_random_size(MOST_RANDOM)
        .insecure_random(wasmtime_wasi::random::Deterministic::new(vec![0x5a; 64]))
        .secure_random(wasmtime_wasi::random::Deterministic::new(vec![0xa5; 64]))
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false);
    builder.build()
}

struct StandStill;

impl HostWallClock for StandStill {
    fn resolution(&self) -> std::time::Duration {
        std::time::Duration::from_secs(1)
    }
    fn now(&self) -> std::time::Duration {
        std::time::Duration::ZERO
    }
}

impl HostMonotonicClock for StandStill {
    fn resolution(&self) -> u64 {
        1
    }
    fn now(&self) -> u64 {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_logs_so_many_lines_a_minute_over_all_its_calls() {
        let (pace, start) = (LogPace::default(), Instant::now());
        let taken = |count: u32, after: u64| {
            let now = start + std::time::Duration::from_secs(after);
            (0..count).filter(|_| pace.take(1000, now)).count()
        };
        assert_eq!(taken(5000, 0), 1000);
        assert_eq!((taken(5000, 30), taken(10, 30)), (500, 0));
        assert_eq!(taken(5000, 600), 1000);
    }
}
