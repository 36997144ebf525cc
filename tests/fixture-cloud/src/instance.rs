//! One instance: how it comes about, runs, ends and goes, as a function of time.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// How far an instance is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum State {
    Creating,
    Running,
    /// A job that has ended.
    Exited,
    Deleting,
    Deleted,
    /// Has disappeared by itself.
    Lost,
}

/// An instance, with what the cloud alone knows of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Instance {
    pub id: String,
    pub region: String,
    pub size: String,
    /// The idempotency token it was created with.
    pub token: String,
    pub tags: BTreeMap<String, String>,
    /// What it shall run, as the caller described it.
    pub workload: Value,
    pub state: State,
    /// Micro-USD per hour, as it was when it was created.
    pub price: u64,
    pub created_at: u64,
    pub running_at: Option<u64>,
    pub ended_at: Option<u64>,
    pub deleted_at: Option<u64>,
    pub exit_code: Option<i32>,
    pub restarts: u32,
    /// Where it answers, while it runs.
    pub port: Option<u16>,
    /// The HTTP status it answers with.
    pub status: u16,
    /// Never gets beyond being created.
    pub stuck: bool,
    /// Micro-USD from its creation until now or its end.
    pub cost: u64,
    /// When creation and deletion show in lists and look-ups, as a count of requests.
    #[serde(skip)]
    pub(crate) created_operation: u64,
    #[serde(skip)]
    pub(crate) deleted_operation: u64,
    /// What a repeated creation is compared with.
    #[serde(skip)]
    pub(crate) parameters: String,
}

/// How long things take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    pub(crate) boot: u64,
    pub(crate) delete: u64,
    pub(crate) job: u64,
}

impl Instance {
    /// Whether it exists: it holds capacity and costs money.
    pub fn is_live(&self) -> bool {
        !matches!(self.state, State::Deleted | State::Lost)
    }

    /// The value of a tag, "" where there is none.
    pub fn tag(&self, key: &str) -> &str {
        self.tags.get(key).map_or("", String::as_str)
    }

    /// Goes as far as it would have come by now. True when something has changed.
    pub(crate) fn advance(&mut self, now: u64, times: Times) -> bool {
        let before = self.state;
        if self.state == State::Creating && !self.stuck && now >= self.created_at + times.boot {
            (self.state, self.running_at) = (State::Running, Some(self.created_at + times.boot));
        }
        if self.state == State::Running
            && self.workload.get("job").is_some_and(|job| !job.is_null())
        {
            self.run_job(now, times);
        }
        if self.state == State::Deleting
            && self.deleted_at.is_some_and(|at| now >= at + times.delete)
        {
            self.state = State::Deleted;
        }
        if self.is_live() || before != self.state {
            let until = if self.is_live() {
                now
            } else {
                self.deleted_at.unwrap_or(now)
            };
            self.cost = self
                .price
                .saturating_mul(until.saturating_sub(self.created_at))
                / 3_600_000;
        }
        before != self.state
    }

    /// Whether time alone will change it.
    pub(crate) fn is_moving(&self) -> bool {
        let job = self.workload.get("job").is_some_and(|job| !job.is_null());
        (self.state == State::Creating && !self.stuck)
            || self.state == State::Deleting
            || (self.state == State::Running && job)
    }

    /// A job runs for `RUN_MS` and ends with `EXIT_CODE`, both taken from its environment; a failed one starts again as often as it may, within the
    /// deadline that all its attempts have together.
    fn run_job(&mut self, now: u64, times: Times) {
        let from_env = |name: &str| {
            self.workload
                .pointer(&format!("/env/{name}"))
                .and_then(Value::as_str)
                .map(str::to_owned)
        };
        let run: u64 = from_env("RUN_MS")
            .and_then(|t| t.parse().ok())
            .unwrap_or(times.job);
        let code: i32 = from_env("EXIT_CODE")
            .and_then(|t| t.parse().ok())
            .unwrap_or(0);
        let retries = self
            .workload
            .pointer("/job/retries")
            .and_then(Value::as_u64)
            .unwrap_or(0);
        let deadline = self
            .workload
            .pointer("/job/deadlineMs")
            .and_then(Value::as_u64)
            .unwrap_or(u64::MAX);
        let latest = (self.created_at + times.boot).saturating_add(deadline);
        while let Some(since) = self.running_at {
            let whole = since.saturating_add(run);
            let late = whole > latest;
            let (end, code) = if late { (latest, 124) } else { (whole, code) };
            if now < end {
                return;
            }
            if code != 0 && !late && u64::from(self.restarts) < retries {
                self.restarts += 1;
                self.running_at = Some(since.saturating_add(run.max(1)));
            } else {
                (self.state, self.exit_code, self.ended_at) =
                    (State::Exited, Some(code), Some(end));
                return;
            }
        }
    }

    /// As callers see it.
    pub(crate) fn shown(&self) -> Value {
        json!({
            "id": self.id, "region": self.region, "size": self.size, "token": self.token, "tags": self.tags, "state": self.state,
            "price": self.price, "createdAt": self.created_at, "startedAt": self.running_at, "endedAt": self.ended_at,
            "exitCode": self.exit_code, "restarts": self.restarts,
            "address": self.port.map(|_| "127.0.0.1"), "port": self.port,
        })
    }
}
