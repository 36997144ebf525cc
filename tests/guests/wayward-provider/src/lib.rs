//! A provider of real processes that breaks one rule of providers at a time: the setting `mode` says which. Without one it keeps to all of them.
//! What it says of itself knows no settings: there the bytes of `WORD` decide, which a test may change.

use std::hint::black_box;

use process_runner::{Runner, State, described};
use serde::Deserialize;
use tradewind_plugin_sdk::{
    Context, Error, ErrorKind, Features, Offer, Provider, ProviderInfo,
    host::{Clock, Host, ProcessKey, Processes},
    provider::{read_state, write_state},
    register_provider,
    types::{
        Allocation, Condition, Destroyed, LogChunk, LogQuery, Observation, OffersQuery,
        OwnedAllocation, Phase, PriceUnit, Tracked,
    },
    units::{Cpu, Money, Size},
};

/// `honest`, `fickle` or `silent`.
static WORD: [u8; 15] = *b"describe:honest";

const SCHEMA: &str =
    r#"{"type":"object","properties":{"mode":{"type":"string"}},"additionalProperties":false}"#;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Settings {
    mode: String,
}

struct Wayward {
    mode: String,
    runner: Runner<Host>,
}

impl Wayward {
    fn is(&self, mode: &str) -> bool {
        self.mode == mode
    }

    /// What a failed call of the capability is told as.
    fn told(&self, mut error: Error) -> Error {
        match self.mode.as_str() {
            "all-is-internal" => error.kind = ErrorKind::Internal,
            "forgets-the-wait" => error.retry_after = None,
            "panics-on-failure" => panic!("{error}"),
            _ => {}
        }
        error
    }

    fn key(&self, allocation: &str, replica: u32) -> ProcessKey {
        ProcessKey {
            allocation: allocation.to_owned(),
            replica,
        }
    }

    fn remove_all(&self, allocation: &str, replicas: u32) -> Result<(), Error> {
        for replica in 0..replicas {
            while !Host.remove(&self.key(allocation, replica))? {}
        }
        Ok(())
    }

    fn exists(&self, allocation: &str) -> Result<bool, Error> {
        Ok(Host.owned()?.iter().any(|key| key.allocation == allocation))
    }

    fn state(&self, bytes: &[u8]) -> Result<State, Error> {
        match read_state(bytes) {
            Err(error) if self.is("trusts-state") => panic!("{error}"),
            other => other,
        }
    }

    fn applied(&self, allocation: &Allocation, prior: Option<&State>) -> Result<State, Error> {
        match prior {
            Some(prior) if self.is("restarts") && prior.replicas == allocation.replicas => {
                self.remove_all(&allocation.id, 1)?
            }
            Some(prior) if self.is("resize-restarts") && prior.replicas != allocation.replicas => {
                self.remove_all(&allocation.id, prior.replicas)?;
            }
            Some(prior) if self.is("job-runs-again") && prior.job => {
                self.remove_all(&allocation.id, prior.replicas)?
            }
            Some(prior) if self.is("ignores-change") && prior.replicas == allocation.replicas => {
                return Ok(prior.clone());
            }
            None if self.is("doubles") && self.exists(&allocation.id)? => {
                Host.ensure(
                    &self.key(&allocation.id, 100),
                    &process_runner::spec(&allocation.workload)?,
                )?;
            }
            _ => {}
        }
        self.runner.apply(allocation, prior)
    }
}

impl Provider for Wayward {
    type Settings = Settings;

    fn info() -> ProviderInfo {
        let word = black_box(&WORD);
        let summary = if word.ends_with(b"fickle") {
            format!("it is {}", Host.monotonic())
        } else {
            "Breaks rules as told".to_owned()
        };
        let runs = Features::COMMANDS
            | Features::SERVICES
            | Features::JOBS
            | Features::RESIZE
            | Features::LOGS;
        let info = ProviderInfo::new("wayward", "1.2.3", &summary)
            .schema(SCHEMA)
            .runs(runs)
            .wants("clock", "to change its mind");
        if word.ends_with(b"silent") {
            info
        } else {
            info.wants("process", "to run something")
        }
    }

    fn new(_: Context, settings: Settings) -> Result<Self, Error> {
        Ok(Self {
            mode: settings.mode,
            runner: Runner::new(Host),
        })
    }

    fn check(&self) -> Result<Vec<Condition>, Error> {
        let condition = Condition {
            kind: "Ready".to_owned(),
            met: !self.is("unusable"),
            reason: "Told".to_owned(),
            message: self.mode.clone(),
        };
        Ok(vec![condition])
    }

    fn offers(&self, query: &OffersQuery) -> Result<Vec<Offer>, Error> {
        let machine = Host.machine().map_err(|error| self.told(error))?;
        let id = if self.is("offers-change") {
            format!("offer-{}", Host.monotonic())
        } else {
            "offer".to_owned()
        };
        let mut offer = Offer::new(
            id,
            Cpu(u32::try_from(machine.cpu).unwrap_or(u32::MAX)),
            Size(machine.memory),
            Money(1),
        );
        offer.region = "here".to_owned();
        (offer.price_unit, offer.shared) = (PriceUnit::Cpu, true);
        (offer.free_cpu, offer.free_memory) = (machine.free_cpu, machine.free_memory);
        match self.mode.as_str() {
            "offers-nothing" => return Ok(Vec::new()),
            "loses-regions" if !query.regions.is_empty() => return Ok(Vec::new()),
            "impossible-offer" => offer.bandwidth = -1.0,
            _ => {}
        }
        Ok(vec![offer])
    }

    fn apply(&self, allocation: &Allocation, prior: Option<&[u8]>) -> Result<Vec<u8>, Error> {
        let prior = prior.map(|prior| self.state(prior)).transpose()?;
        write_state(
            &self
                .applied(allocation, prior.as_ref())
                .map_err(|error| self.told(error))?,
        )
    }

    fn observe(&self, tracked: &[Tracked]) -> Result<Vec<Observation>, Error> {
        let states = tracked
            .iter()
            .map(|t| Ok((t.allocation.as_str(), self.state(&t.state)?)))
            .collect::<Result<Vec<_>, Error>>()?;
        let mut seen = self
            .runner
            .observe(&states)
            .map_err(|error| self.told(error))?;
        for (one, (_, state)) in seen.iter_mut().zip(&states) {
            match self.mode.as_str() {
                "never-runs" => one.phase = Phase::Starting,
                "job-runs-on" if state.job => one.phase = Phase::Running,
                "gone-is-an-error" if one.phase == Phase::Gone => {
                    return Err(Error::not_found("it is gone"));
                }
                "never-gone" if one.phase == Phase::Gone => one.phase = Phase::Running,
                _ => {}
            }
        }
        if self.is("forgets") && seen.len() > 1 {
            seen.pop();
        }
        Ok(seen)
    }

    fn destroy(&self, tracked: &Tracked) -> Result<Destroyed, Error> {
        let state = match self.state(&tracked.state) {
            Err(_) if self.is("gone-without-looking") => return Ok(Destroyed::Gone),
            state => state?,
        };
        match self.mode.as_str() {
            "destroys-nothing" => return Ok(Destroyed::Gone),
            "destroys-once" if !self.exists(&tracked.allocation)? => {
                return Err(Error::not_found("there is nothing to destroy"));
            }
            _ => {}
        }
        self.runner
            .destroy(&tracked.allocation, &state)
            .map_err(|error| self.told(error))
    }

    fn owned(&self) -> Result<Vec<OwnedAllocation>, Error> {
        let mut found = described(
            self.runner.owned().map_err(|error| self.told(error))?,
            |state| write_state(&state),
        )?;
        match self.mode.as_str() {
            "owns-nothing" => found.clear(),
            "owns-uselessly" => found
                .iter_mut()
                .for_each(|one| one.state = b"lost".to_vec()),
            _ => {}
        }
        Ok(found)
    }

    fn logs(&self, tracked: &Tracked, query: &LogQuery) -> Result<LogChunk, Error> {
        self.state(&tracked.state)?;
        let mut query = query.clone();
        match self.mode.as_str() {
            "logs-all" => query.tail = 1000,
            "logs-mixed" => query.replica = None,
            _ => {}
        }
        let mut chunk = self.runner.logs(&tracked.allocation, &query)?;
        if self.is("logs-all") {
            chunk.lines = chunk
                .lines
                .iter()
                .cycle()
                .take(chunk.lines.len() * 10)
                .cloned()
                .collect();
        }
        Ok(chunk)
    }
}

register_provider!(Wayward);
