//! A provider: plain commands as processes of the daemon's own machine, through the `process` capability.
//!
//! This file says what the machine offers and at what price; `process-runner` does the running.

use std::collections::BTreeMap;

use process_runner::{Runner, State, described, with_states};
use serde::Deserialize;
use tradewind_plugin_sdk::{
    Context, Error, Features, Offer, Provider, ProviderInfo,
    host::{Host, Processes},
    provider::{NO_PRICE, read_state, write_state},
    register_provider,
    types::{
        Allocation, Condition, Destroyed, LogChunk, LogQuery, Observation, OffersQuery,
        OwnedAllocation, PriceUnit, Tracked,
    },
    units::{Cpu, Money, Size},
};

/// The settings: where the machine stands and what using it is worth.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Settings {
    /// Default: "local".
    region: Option<String>,
    zone: String,
    /// Per core and hour. Neither this nor the next: nobody has set a price.
    cpu_price: Option<Money>,
    /// Per GiB of memory and hour.
    memory_price: Option<Money>,
    /// Relative to the reference machine. Default 1.
    performance: Option<f64>,
    availability: Option<f64>,
    /// Milliseconds.
    latency: Option<f64>,
    carbon: Option<f64>,
    labels: BTreeMap<String, String>,
}

const SCHEMA: &str = include_str!("settings.schema.json");

/// The provider, on the host's processes or on a test's.
pub struct Process<P = Host> {
    settings: Settings,
    runner: Runner<P>,
}

impl<P: Processes> Process<P> {
    /// On this capability.
    pub fn on(host: P, settings: Settings) -> Self {
        Self {
            settings,
            runner: Runner::new(host),
        }
    }

    /// The machine as a single shared offer.
    fn machine(&self) -> Result<Offer, Error> {
        let machine = self.runner.host().machine()?;
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
        } = &self.settings;
        let cpu = Cpu(u32::try_from(machine.cpu).unwrap_or(u32::MAX));
        let mut offer = Offer::new(
            "local",
            cpu,
            Size(machine.memory),
            cpu_price.unwrap_or_default(),
        );
        region
            .as_deref()
            .unwrap_or("local")
            .clone_into(&mut offer.region);
        zone.clone_into(&mut offer.zone);
        offer.size = format!("{}-{}", machine.os, machine.arch);
        offer.price_unit = PriceUnit::Cpu;
        offer.memory_price = memory_price.unwrap_or_default().0;
        offer.shared = true;
        (offer.free_cpu, offer.free_memory) = (machine.free_cpu, machine.free_memory);
        offer.performance = performance.unwrap_or(1.0);
        offer.availability = availability.unwrap_or(f64::NAN);
        offer.latency = latency.unwrap_or(f64::NAN);
        offer.carbon = carbon.unwrap_or(f64::NAN);
        offer.load = machine.load.clamp(0.0, 1.0);
        let priced = cpu_price.is_some() || memory_price.is_some();
        offer.source = if priced { "settings" } else { NO_PRICE }.to_owned();
        let known = [
            ("os", machine.os),
            ("arch", machine.arch),
            ("hostname", machine.hostname),
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

impl<P: Processes + Default> Provider for Process<P> {
    type Settings = Settings;

    fn info() -> ProviderInfo {
        let runs = Features::COMMANDS
            | Features::SERVICES
            | Features::JOBS
            | Features::SECRETS
            | Features::FILES
            | Features::RESIZE
            | Features::LOGS;
        ProviderInfo::new(
            "process",
            env!("CARGO_PKG_VERSION"),
            "Runs commands as processes of the daemon's machine",
        )
        .schema(SCHEMA)
        .wants("process", "to run the commands")
        .runs(runs)
    }

    fn new(_: Context, settings: Settings) -> Result<Self, Error> {
        Ok(Self::on(P::default(), settings))
    }

    fn check(&self) -> Result<Vec<Condition>, Error> {
        let machine = self.runner.host().machine()?;
        let message = format!(
            "{}: {} of {} millicores are free",
            machine.hostname, machine.free_cpu, machine.cpu
        );
        Ok(vec![Condition {
            kind: "MachineReady".to_owned(),
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
        write_state(&self.runner.apply(allocation, prior.as_ref())?)
    }
    fn observe(&self, tracked: &[Tracked]) -> Result<Vec<Observation>, Error> {
        self.runner.observe(&with_states::<State>(tracked)?)
    }
    fn destroy(&self, tracked: &Tracked) -> Result<Destroyed, Error> {
        self.runner
            .destroy(&tracked.allocation, &read_state(&tracked.state)?)
    }
    fn owned(&self) -> Result<Vec<OwnedAllocation>, Error> {
        described(self.runner.owned()?, |state| write_state(&state))
    }
    fn logs(&self, tracked: &Tracked, query: &LogQuery) -> Result<LogChunk, Error> {
        self.runner.logs(&tracked.allocation, query)
    }
}

register_provider!(Process<Host>);

#[cfg(test)]
mod tests {
    use tradewind_plugin_sdk::{
        ErrorKind,
        testing::{self, Processes as Table, allocation, tracked},
        types::{Health, Job, Phase, Run},
    };

    use super::*;

    fn on(table: &Table, settings: &str) -> Process<Table> {
        Process::on(table.clone(), serde_json::from_str(settings).unwrap())
    }

    #[test]
    fn the_machine_is_one_shared_offer_with_the_settings_prices() {
        let settings = r#"{"cpu-price":"0.04","memory-price":0.005,"region":"home","labels":{"rack":"1","os":"mine"}}"#;
        let offers = on(&Table::default(), settings)
            .offers(&OffersQuery {
                regions: vec![],
                shapes: vec![],
                spot: false,
                holding: vec![],
            })
            .unwrap();
        let [offer] = &offers[..] else {
            panic!("one offer")
        };
        assert_eq!(
            (
                offer.id.as_str(),
                offer.region.as_str(),
                offer.price,
                offer.memory_price
            ),
            ("local", "home", 40_000, 5_000)
        );
        assert!(offer.shared && offer.price_unit == PriceUnit::Cpu && offer.free_cpu == 4000);
        assert!(
            offer.labels.contains(&("os".to_owned(), "mine".to_owned())) && offer.labels.len() == 4
        );
        let source = |settings: &str| on(&Table::default(), settings).machine().unwrap().source;
        assert_eq!(
            (offer.source.as_str(), source("{}").as_str()),
            ("settings", NO_PRICE)
        );
        assert_eq!(
            source(r#"{"cpu-price": 0}"#),
            "settings",
            "free of charge because somebody says so"
        );
        assert_eq!(source(r#"{"memory-price": "0.01"}"#), "settings");
    }

    #[test]
    fn apply_is_idempotent_resizes_updates_and_destroy_answers_going_until_gone() {
        let table = Table::default();
        let provider = on(&table, "{}");
        let mut wanted = allocation("a1", "local", 3);
        wanted.workload.ports = vec![testing::port("http")];
        let state = provider.apply(&wanted, None).unwrap();
        assert_eq!(provider.apply(&wanted, Some(&state)).unwrap(), state);
        assert_eq!(table.starts(), 3, "the second call starts nothing");

        wanted.replicas = 1;
        let state = provider.apply(&wanted, Some(&state)).unwrap();
        let [seen] = &provider.observe(&[tracked(&wanted, &state)]).unwrap()[..] else {
            panic!("one observation")
        };
        assert_eq!((seen.phase, seen.replicas.len()), (Phase::Running, 1));
        assert_eq!(seen.replicas[0].endpoints[0].host, "127.0.0.1");

        wanted.workload.command = vec!["other".to_owned()];
        let state = provider.apply(&wanted, Some(&state)).unwrap();
        assert_eq!(
            (table.starts(), table.spec("a1", 0).unwrap().command),
            (4, vec!["other".to_owned()])
        );

        assert_eq!(
            provider.destroy(&tracked(&wanted, &state)).unwrap(),
            Destroyed::Going
        );
        assert_eq!(
            provider.destroy(&tracked(&wanted, &state)).unwrap(),
            Destroyed::Gone
        );
        assert_eq!(
            provider.destroy(&tracked(&wanted, &state)).unwrap(),
            Destroyed::Gone,
            "what does not exist is gone"
        );
    }

    #[test]
    fn services_start_again_for_ever_and_jobs_as_often_as_they_may() {
        let (table, mut wanted) = (Table::default(), allocation("s", "local", 1));
        on(&table, "{}").apply(&wanted, None).unwrap();
        let spec = table.spec("s", 0).unwrap();
        assert_eq!(
            (spec.restarts, spec.restart_always, spec.limits.unwrap().cpu),
            (u32::MAX, true, 1000)
        );
        (wanted.id, wanted.workload.run) = (
            "j".to_owned(),
            Run::Job(Job {
                retries: 2,
                deadline: Some(5000),
            }),
        );
        on(&table, "{}").apply(&wanted, None).unwrap();
        let spec = table.spec("j", 0).unwrap();
        assert_eq!(
            (spec.restarts, spec.restart_always, spec.deadline),
            (2, false, Some(5000))
        );
    }

    #[test]
    fn observations_tell_what_became_of_each_replica() {
        let (table, wanted) = (Table::default(), allocation("a", "local", 2));
        let provider = on(&table, "{}");
        let state = provider.apply(&wanted, None).unwrap();
        let observe = || {
            provider
                .observe(&[tracked(&wanted, &state)])
                .unwrap()
                .remove(0)
        };
        table.set("a", 0, |status| status.health = Health::Unhealthy);
        table.lose("a", 1);
        let seen = observe();
        assert_eq!(
            (seen.phase, seen.replicas[0].health, seen.replicas[1].phase),
            (Phase::Running, Health::Unhealthy, Phase::Gone)
        );
        assert_eq!(
            seen.message,
            "replica 1: its process does not exist any more"
        );
        table.set("a", 0, |status| status.phase = Phase::Succeeded);
        assert_eq!(
            observe().phase,
            Phase::Failed,
            "a job that lost a replica has not succeeded"
        );
        table.lose("a", 0);
        assert_eq!(observe().phase, Phase::Gone);
    }

    #[test]
    fn a_refused_start_leaves_nothing_behind_and_owned_finds_what_runs() {
        let table = Table::default();
        let provider = on(&table, "{}");
        provider.apply(&allocation("a", "local", 3), None).unwrap();
        provider.apply(&allocation("b", "local", 1), None).unwrap();
        let owned: Vec<_> = provider
            .owned()
            .unwrap()
            .into_iter()
            .map(|found| (found.allocation, found.description))
            .collect();
        assert_eq!(
            owned,
            [
                ("a".to_owned(), "3 process(es)".to_owned()),
                ("b".to_owned(), "1 process(es)".to_owned())
            ]
        );
        table.refuse(Some(Error::out_of_capacity("full")));
        assert_eq!(
            provider
                .apply(&allocation("c", "local", 2), None)
                .unwrap_err()
                .kind,
            ErrorKind::OutOfCapacity
        );
        assert_eq!(provider.owned().unwrap().len(), 2);
    }

    #[test]
    fn what_a_process_can_not_have_is_refused_by_its_field() {
        let mut wanted = allocation("a", "local", 1);
        wanted.workload.image = Some("nginx".to_owned());
        let error = on(&Table::default(), "{}")
            .apply(&wanted, None)
            .unwrap_err();
        assert_eq!(
            (error.kind, error.field.as_deref()),
            (ErrorKind::Invalid, Some("workload.image"))
        );
    }
}
