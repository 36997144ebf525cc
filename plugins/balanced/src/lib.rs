//! A policy: replicas go where their requests are answered soonest, as busy as the nodes are.
//!
//! Each replica's machine is a single server that shares its time among the requests it has (M/G/1 with processor sharing). Its expected response time
//! is s ÷ (1 − ρ), whatever the distribution of the work: s is the service time there, ρ the load (L. Kleinrock, *Queueing Systems*, volume 2, 1976,
//! section 4.4). To callers the round trip comes on top. Requests are split evenly among the replicas of a task.

use std::{cmp::Reverse, collections::BinaryHeap};

use serde::Deserialize;
use tradewind_plugin_sdk::{
    Answer, Columns, Error, Policy, PolicyInfo, Ranking, Request,
    policy::{Candidate, Placing, Task},
    register_policy,
    units::Span,
};

/// The policy.
#[derive(Debug)]
pub struct Balanced;

/// Its settings.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    /// How long one request takes on the idle reference machine.
    #[serde(default = "service_time")]
    service_time: Span,
    /// Requests per second of one replica, of tasks that don't tell.
    #[serde(default = "request_rate")]
    request_rate: f64,
    /// The load of offers that don't tell, 0 … 1.
    #[serde(default = "unknown_load")]
    unknown_load: f64,
    /// The round trip to offers that don't tell.
    #[serde(default = "unknown_latency")]
    unknown_latency: Span,
    /// Replicas stay where they run, even where they would answer sooner elsewhere.
    #[serde(default = "yes")]
    sticky: bool,
}

fn service_time() -> Span {
    Span(20)
}

fn request_rate() -> f64 {
    5.0
}

fn unknown_load() -> f64 {
    0.5
}

fn unknown_latency() -> Span {
    Span(100)
}

fn yes() -> bool {
    true
}

const SCHEMA: &str = r#"{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "service-time": {
      "type": ["string", "number"],
      "default": "20ms",
      "description": "How long one request takes on the idle reference machine: a text such as 20ms, or seconds."
    },
    "request-rate": {
      "type": "number",
      "minimum": 0,
      "default": 5,
      "description": "Requests per second of one replica, for tasks whose rate is unknown."
    },
    "unknown-load": {
      "type": "number",
      "minimum": 0,
      "maximum": 1,
      "default": 0.5,
      "description": "The load of offers that don't tell theirs."
    },
    "unknown-latency": {
      "type": ["string", "number"],
      "default": "100ms",
      "description": "The round trip to offers that don't tell theirs."
    },
    "sticky": {
      "type": "boolean",
      "default": true,
      "description": "Replicas stay where they run as long as they may, even where they would answer sooner elsewhere."
    }
  }
}"#;

/// Beyond this load no time is expected any more: a node that is busier is the last resort, by its speed and latency.
const BUSY: f64 = 0.999;

impl Settings {
    fn check(&self) -> Result<(), Error> {
        let positive = |value: f64| value.is_finite() && value >= 0.0;
        if !(0.0..=1.0).contains(&self.unknown_load) {
            return Err(Error::invalid(format!(
                "the load is \"{}\": use 0 to 1",
                self.unknown_load
            ))
            .field("settings.unknown-load"));
        }
        if !positive(self.request_rate) {
            let message = format!(
                "the rate is \"{}\": use 0 or more requests per second",
                self.request_rate
            );
            return Err(Error::invalid(message).field("settings.request-rate"));
        }
        Ok(())
    }

    /// Milliseconds that one request takes on the idle machine.
    fn service(&self, candidate: Candidate<'_>) -> f64 {
        self.service_time.millis() as f64 / candidate.offer().performance().max(f64::MIN_POSITIVE)
    }

    /// Requests per second of one replica of a task.
    fn rate(&self, task: Task<'_>) -> f64 {
        let known = task.request_rate() / f64::from(task.replicas().max(1));
        if known.is_finite() && known >= 0.0 {
            known
        } else {
            self.request_rate
        }
    }

    /// Expected milliseconds from request to response on a machine of this load.
    fn response(&self, candidate: Candidate<'_>, load: f64) -> f64 {
        let latency = candidate.offer().latency();
        let latency = if latency.is_nan() {
            self.unknown_latency.millis() as f64
        } else {
            latency.max(0.0)
        };
        latency + self.service(candidate) / (1.0 - load.clamp(0.0, BUSY))
    }

    fn load(&self, candidate: Candidate<'_>) -> f64 {
        let load = candidate.offer().load();
        if load.is_nan() {
            self.unknown_load
        } else {
            load
        }
    }
}

/// What the batch adds to the loads of shared offers.
struct Loads {
    added: Vec<f64>,
}

/// How much one more replica adds to the sum of response times, and where. Equal ones go by the candidate's row.
#[derive(PartialEq)]
struct Next(f64, u32);

impl Eq for Next {}

impl Ord for Next {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0).then(self.1.cmp(&other.1))
    }
}

impl PartialOrd for Next {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Loads {
    fn on(&self, candidate: Candidate<'_>) -> f64 {
        self.added
            .get(candidate.offer().index() as usize)
            .copied()
            .unwrap_or(0.0)
    }

    fn add(&mut self, candidate: Candidate<'_>, load: f64) {
        let index = candidate.offer().index() as usize;
        if self.added.len() <= index {
            self.added.resize(index + 1, 0.0);
        }
        if let Some(added) = self.added.get_mut(index) {
            *added += load;
        }
    }
}

/// One task: how its replicas are placed one after the other, each where it adds least to the sum of their response times.
struct Balancing<'s, 'a> {
    settings: &'s Settings,
    request: &'a Request,
    task: Task<'a>,
}

impl<'a> Balancing<'_, 'a> {
    /// The load that one replica brings to the machine's cores.
    fn load(&self, candidate: Candidate<'_>) -> f64 {
        let offer = candidate.offer();
        let all = match offer.free_cpu() {
            u64::MAX => f64::from(offer.cpu()),
            free => free as f64 / (1.0 - self.settings.load(candidate).clamp(0.0, BUSY)),
        };
        self.settings.rate(self.task) * self.settings.service(candidate) / all.max(1000.0)
    }

    /// Milliseconds that the next replica adds to the sum, where so many of the task are already. On a shared machine it slows those down.
    fn next(&self, candidate: Candidate<'_>, here: u32, loads: &Loads) -> f64 {
        let (load, each) = (self.settings.load(candidate), self.load(candidate));
        if !candidate.offer().shared() {
            return self.settings.response(candidate, load + each);
        }
        let (now, here) = (load + loads.on(candidate), f64::from(here));
        (here + 1.0) * self.settings.response(candidate, now + each)
            - here * self.settings.response(candidate, now)
    }

    fn place(&self, placing: &mut Placing<'a>, loads: &mut Loads) {
        placing.keep(self.task, u32::MAX, |_| true);
        let on = |placing: &Placing<'a>, offer: u32| {
            placing
                .ledger
                .choices(self.task)
                .find(|(on, _)| *on == offer)
                .map_or(0, |(_, n)| n)
        };
        let mut heap: BinaryHeap<Reverse<Next>> = self
            .task
            .candidates()
            .map(|candidate| {
                Reverse(Next(
                    self.next(candidate, on(placing, candidate.offer().index()), loads),
                    candidate.row(),
                ))
            })
            .collect();
        while placing.ledger.missing(self.task) > 0 {
            let Some(Reverse(Next(_, row))) = heap.pop() else {
                break;
            };
            let Some(candidate) = self.request.candidate(row) else {
                continue;
            };
            let shared = candidate.offer().shared();
            if placing
                .ledger
                .place(self.task, candidate, if shared { 1 } else { u32::MAX })
                > 0
                && shared
            {
                loads.add(candidate, self.load(candidate));
                heap.push(Reverse(Next(
                    self.next(candidate, on(placing, candidate.offer().index()), loads),
                    row,
                )));
            }
        }
    }
}

impl Policy for Balanced {
    type Settings = Settings;

    fn info() -> PolicyInfo {
        let summary =
            "Places replicas where requests are answered soonest, as busy as the nodes are";
        let columns = Columns::LOAD
            | Columns::LATENCY
            | Columns::PERFORMANCE
            | Columns::SHARED
            | Columns::RESOURCES;
        PolicyInfo::new("balanced", env!("CARGO_PKG_VERSION"), summary)
            .schema(SCHEMA)
            .columns(columns)
    }

    fn place(settings: Settings, request: &Request) -> Result<Answer, Error> {
        settings.check()?;
        // Without the batch's own load: what it is before anything is placed.
        let score = |candidate| settings.response(candidate, settings.load(candidate));
        let mut placing = Ranking::by(request, score)
            .sticky(settings.sticky)
            .start(request);
        let mut loads = Loads { added: Vec::new() };
        for task in request.tasks_by_priority() {
            Balancing {
                settings: &settings,
                request,
                task,
            }
            .place(&mut placing, &mut loads);
        }
        Ok(placing.finish())
    }
}

register_policy!(Balanced);

#[cfg(test)]
mod tests {
    use tradewind_plugin_sdk::testing::{Batch, OfferSpec, TaskSpec};

    use super::*;

    fn node(id: &str, load: f64, latency: f64, performance: f64) -> OfferSpec {
        OfferSpec::new(id, 0.1).with(|offer| {
            (offer.load, offer.latency, offer.performance) = (load, latency, performance)
        })
    }

    #[test]
    fn load_latency_and_speed_make_the_response_time() {
        // 10 + 20 ÷ 0.2, 60 + 20 ÷ 0.9, 50 + 5 ÷ 0.5.
        let batch = Batch::new()
            .offer(node("near", 0.8, 10.0, 1.0))
            .offer(node("idle", 0.1, 60.0, 1.0))
            .offer(node("quick", 0.5, 50.0, 4.0));
        let placed = batch
            .task(TaskSpec::new("web", 1))
            .place::<Balanced>("{}")
            .unwrap();
        let expected = [110.0, 60.0 + 20.0 / 0.9, 60.0];
        placed
            .answer
            .scores
            .iter()
            .zip(expected)
            .for_each(|(score, expected)| assert!((score - expected).abs() < 1e-9, "{score}"));
        assert_eq!(placed.choices["web"]["quick"], 1);
    }

    /// Against every way to share ten replicas among two machines.
    #[test]
    fn replicas_share_machines_so_that_the_mean_is_least() {
        let shared = |id, load, latency| {
            node(id, load, latency, 1.0).with(|offer| (offer.shared, offer.cpu) = (true, 1000))
        };
        let batch = Batch::new()
            .offer(shared("a", 0.2, 5.0))
            .offer(shared("b", 0.0, 30.0))
            .task(TaskSpec::new("web", 10).request_rate(40.0));
        let placed = batch.place::<Balanced>("{}").unwrap();
        let each = 4.0 * 0.020;
        let total = |n: u32| {
            let time = |n: f64, load: f64, latency: f64| {
                n * (latency + 20.0 / (1.0 - (load + n * each).clamp(0.0, BUSY)))
            };
            time(f64::from(n), 0.2, 5.0) + time(f64::from(10 - n), 0.0, 30.0)
        };
        let best = (0..=10)
            .min_by(|a, b| total(*a).total_cmp(&total(*b)))
            .unwrap();
        assert!((1..10).contains(&best));
        assert_eq!(placed.choices["web"]["a"], best);
    }

    #[test]
    fn what_is_overloaded_is_the_last_resort() {
        let batch = Batch::new()
            .offer(node("full", 1.0, 1.0, 1.0))
            .offer(node("far", 0.5, 900.0, 1.0).capacity(2));
        let placed = batch
            .task(TaskSpec::new("web", 3))
            .place::<Balanced>("{}")
            .unwrap();
        assert_eq!(
            (placed.choices["web"]["far"], placed.choices["web"]["full"]),
            (2, 1)
        );
    }
}
