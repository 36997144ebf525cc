//! A provider: container images on an engine that speaks the Docker Engine API (dockerd, podman), through the `containers` capability.
//!
//! It says what the engine's machine offers and at what price, and turns allocations into containers. What the engine may run is the grant's.

mod observe;
mod settings;
mod spec;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use tradewind_plugin_sdk::{
    Context, Error, Features, Offer, Provider, ProviderInfo,
    host::{ContainerKey, Containers, EngineInfo, Host},
    provider::{NO_PRICE, read_state, write_state},
    register_provider,
    types::{
        Allocation, Condition, Destroyed, LogChunk, LogQuery, Observation, OffersQuery,
        OwnedAllocation, PriceUnit, Tracked,
    },
    units::{Cpu, Size},
};

pub use settings::Settings;

const SCHEMA: &str = include_str!("settings.schema.json");

/// The provider, on the host's engine or on a test's.
pub struct Engine<C = Host> {
    settings: Settings,
    host: C,
}

/// What is remembered of an allocation. Fields are only ever added, with a default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct State {
    /// Of this form: 1.
    version: u32,
    /// Replicas 0 … n-1 have a container each.
    replicas: u32,
}

impl State {
    fn of(replicas: u32) -> Self {
        Self {
            version: 1,
            replicas,
        }
    }
}

impl<C: Containers> Engine<C> {
    /// On this capability.
    pub fn on(host: C, settings: Settings) -> Self {
        Self { settings, host }
    }

    /// The engine's machine as a single shared offer.
    fn machine(&self) -> Result<Offer, Error> {
        let engine = self.host.info()?;
        let Settings {
            region,
            zone,
            cpu_price,
            memory_price,
            performance,
            availability,
            latency,
            carbon,
            labels,
            ..
        } = &self.settings;
        let cpu = Cpu(u32::try_from(engine.cpu).unwrap_or(u32::MAX));
        let mut offer = Offer::new(
            "engine",
            cpu,
            Size(engine.memory),
            cpu_price.unwrap_or_default(),
        );
        region
            .as_deref()
            .unwrap_or("local")
            .clone_into(&mut offer.region);
        zone.clone_into(&mut offer.zone);
        offer.size = format!("{}-{}", engine.os, engine.arch);
        offer.price_unit = PriceUnit::Cpu;
        offer.memory_price = memory_price.unwrap_or_default().0;
        offer.shared = true;
        (offer.free_cpu, offer.free_memory) = (engine.free_cpu, engine.free_memory);
        offer.performance = performance.unwrap_or(1.0);
        offer.availability = availability.unwrap_or(f64::NAN);
        offer.latency = latency.unwrap_or(f64::NAN);
        offer.carbon = carbon.unwrap_or(f64::NAN);
        let priced = cpu_price.is_some() || memory_price.is_some();
        offer.source = if priced { "settings" } else { NO_PRICE }.to_owned();
        let EngineInfo {
            name,
            os,
            arch,
            hostname,
            ..
        } = engine;
        let known = [
            ("os", os),
            ("arch", arch),
            ("hostname", hostname),
            ("engine", name),
        ];
        offer.labels = known
            .into_iter()
            .filter(|(key, _)| !labels.contains_key(*key))
            .map(|(key, value)| (key.to_owned(), value))
            .collect();
        offer.labels.extend(labels.clone());
        Ok(offer)
    }
}

impl<C: Containers + Default> Provider for Engine<C> {
    type Settings = Settings;

    fn info() -> ProviderInfo {
        let runs = Features::IMAGES
            | Features::SERVICES
            | Features::JOBS
            | Features::VOLUMES
            | Features::NETWORKS
            | Features::SECRETS
            | Features::FILES
            | Features::RESIZE
            | Features::LOGS;
        ProviderInfo::new(
            "containers",
            env!("CARGO_PKG_VERSION"),
            "Runs container images on a Docker or Podman engine",
        )
        .schema(SCHEMA)
        .wants("containers", "to run the images")
        .runs(runs)
    }

    fn new(_: Context, settings: Settings) -> Result<Self, Error> {
        Ok(Self::on(C::default(), settings))
    }

    fn check(&self) -> Result<Vec<Condition>, Error> {
        let engine = self.host.info()?;
        let EngineInfo {
            name,
            version,
            hostname,
            free_cpu,
            cpu,
            ..
        } = engine;
        let message =
            format!("{name} {version} on {hostname}: {free_cpu} of {cpu} millicores are free");
        Ok(vec![Condition {
            kind: "EngineReady".to_owned(),
            met: true,
            reason: "Ready".to_owned(),
            message,
        }])
    }

    fn offers(&self, _: &OffersQuery) -> Result<Vec<Offer>, Error> {
        Ok(vec![self.machine()?])
    }

    fn apply(&self, allocation: &Allocation, prior: Option<&[u8]>) -> Result<Vec<u8>, Error> {
        let prior: Option<State> = prior.map(read_state).transpose()?;
        let spec = spec::spec(&allocation.workload, &self.settings)?;
        for replica in 0..allocation.replicas {
            if let Err(error) = self.host.ensure(&key(&allocation.id, replica), &spec) {
                if prior.is_none() {
                    // Nobody would know of them: the caller gets no state. The host's sweep finds what even this leaves behind.
                    (0..replica)
                        .for_each(|started| drop(self.host.remove(&key(&allocation.id, started))));
                }
                return Err(error);
            }
        }
        for surplus in allocation.replicas..prior.map_or(0, |prior| prior.replicas) {
            self.host.remove(&key(&allocation.id, surplus))?;
        }
        write_state(&State::of(allocation.replicas))
    }

    /// One question to the engine for all.
    fn observe(&self, tracked: &[Tracked]) -> Result<Vec<Observation>, Error> {
        let states = tracked
            .iter()
            .map(|one| read_state::<State>(&one.state))
            .collect::<Result<Vec<_>, _>>()?;
        let each = || tracked.iter().zip(&states);
        let keys: Vec<ContainerKey> = each()
            .flat_map(|(one, state)| (0..state.replicas).map(|r| key(&one.allocation, r)))
            .collect();
        let mut statuses = self.host.status(&keys)?.into_iter();
        let observed = each().map(|(one, state)| {
            let of_this = statuses.by_ref().take(state.replicas as usize).collect();
            observe::observation(&one.allocation, state.replicas, of_this)
        });
        Ok(observed.collect())
    }

    fn destroy(&self, tracked: &Tracked) -> Result<Destroyed, Error> {
        let state: State = read_state(&tracked.state)?;
        let mut all_gone = true;
        for replica in 0..state.replicas {
            all_gone &= self.host.remove(&key(&tracked.allocation, replica))?;
        }
        Ok(if all_gone {
            Destroyed::Gone
        } else {
            Destroyed::Going
        })
    }

    fn owned(&self) -> Result<Vec<OwnedAllocation>, Error> {
        let mut keys = self.host.owned()?;
        keys.sort_by(|a, b| (&a.allocation, a.replica).cmp(&(&b.allocation, b.replica)));
        let mut found: Vec<(String, u32)> = Vec::new();
        for key in keys {
            let replicas = key.replica.saturating_add(1);
            match found
                .last_mut()
                .filter(|(allocation, _)| *allocation == key.allocation)
            {
                Some((_, known)) => *known = replicas,
                None => found.push((key.allocation, replicas)),
            }
        }
        let described = found.into_iter().map(|(allocation, replicas)| {
            let description = format!("{replicas} container(s)");
            Ok(OwnedAllocation {
                allocation,
                state: write_state(&State::of(replicas))?,
                description,
            })
        });
        described.collect()
    }

    fn logs(&self, tracked: &Tracked, query: &LogQuery) -> Result<LogChunk, Error> {
        self.host.logs(&tracked.allocation, query)
    }
}

fn key(allocation: &str, replica: u32) -> ContainerKey {
    ContainerKey {
        allocation: allocation.to_owned(),
        replica,
    }
}

register_provider!(Engine<Host>);
