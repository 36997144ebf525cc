//! A provider: the simulated cloud of a table, whose replicas are real processes of the daemon's machine. For demonstrations and tests that
//! want several clouds that answer.
//!
//! A component of its own, because a component that imports the `process` capability always needs the grant: `simulated` needs none.

use process_runner::{Runner, State as Running, described, with_states};
use serde::{Deserialize, Serialize};
use simulated_model::{Cloud, Operation, Place, SCHEMA, Settings};
use tradewind_plugin_sdk::{
    Context, Error, Features, Offer, Provider, ProviderInfo,
    host::{Clock, Host, Processes},
    provider::{read_state, write_state},
    register_provider,
    types::{
        Allocation, Condition, Destroyed, LogChunk, LogQuery, Observation, OffersQuery,
        OwnedAllocation, Tracked,
    },
};

/// The provider, on the host's capabilities or on a test's.
pub struct SimulatedLive<C = Host, P = Host> {
    cloud: Cloud<C>,
    runner: Runner<P>,
}

/// What is remembered of an allocation.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct State {
    #[serde(flatten)]
    processes: Running,
    /// Where it is said to run.
    #[serde(default)]
    region: String,
    #[serde(default)]
    size: String,
}

impl State {
    fn place<'a>(&'a self, allocation: &'a str) -> Place<'a> {
        Place {
            region: &self.region,
            size: &self.size,
            allocation,
        }
    }
}

impl<C: Clock, P: Processes> SimulatedLive<C, P> {
    /// On these capabilities.
    ///
    /// # Errors
    /// `invalid` for a table that makes no sense.
    pub fn on(clock: C, processes: P, context: Context, settings: Settings) -> Result<Self, Error> {
        Ok(Self {
            cloud: Cloud::new(context, settings, clock)?,
            runner: Runner::new(processes),
        })
    }
}

impl<C: Clock + Default, P: Processes + Default> Provider for SimulatedLive<C, P> {
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
            "simulated-live",
            env!("CARGO_PKG_VERSION"),
            "A simulated cloud whose replicas are processes of the daemon's machine",
        )
        .schema(SCHEMA)
        .wants("clock", "to be slow when a fault says so")
        .wants("process", "to run the replicas")
        .runs(runs)
    }

    fn new(context: Context, settings: Settings) -> Result<Self, Error> {
        Self::on(C::default(), P::default(), context, settings)
    }

    fn check(&self) -> Result<Vec<Condition>, Error> {
        self.cloud.check()
    }
    fn offers(&self, query: &OffersQuery) -> Result<Vec<Offer>, Error> {
        self.cloud.offers(query)
    }
    fn apply(&self, allocation: &Allocation, prior: Option<&[u8]>) -> Result<Vec<u8>, Error> {
        self.cloud.fault(Operation::Apply, Place::of(allocation))?;
        let offer = self.cloud.offer(&allocation.offer.id)?;
        let prior: Option<State> = prior.map(read_state).transpose()?;
        let processes = self
            .runner
            .apply(allocation, prior.as_ref().map(|prior| &prior.processes))?;
        write_state(&State {
            processes,
            region: offer.region.clone(),
            size: offer.size.clone(),
        })
    }
    fn observe(&self, tracked: &[Tracked]) -> Result<Vec<Observation>, Error> {
        let states = with_states::<State>(tracked)?;
        states.iter().try_for_each(|(allocation, state)| {
            self.cloud
                .fault(Operation::Observe, state.place(allocation))
        })?;
        let processes: Vec<(&str, Running)> = states
            .into_iter()
            .map(|(allocation, state)| (allocation, state.processes))
            .collect();
        self.runner.observe(&processes)
    }
    fn destroy(&self, tracked: &Tracked) -> Result<Destroyed, Error> {
        let state: State = read_state(&tracked.state)?;
        self.cloud
            .fault(Operation::Destroy, state.place(&tracked.allocation))?;
        self.runner.destroy(&tracked.allocation, &state.processes)
    }
    fn owned(&self) -> Result<Vec<OwnedAllocation>, Error> {
        described(self.runner.owned()?, |processes| {
            write_state(&State {
                processes,
                region: String::new(),
                size: String::new(),
            })
        })
    }
    fn logs(&self, tracked: &Tracked, query: &LogQuery) -> Result<LogChunk, Error> {
        let state: State = read_state(&tracked.state)?;
        self.cloud
            .fault(Operation::Logs, state.place(&tracked.allocation))?;
        self.runner.logs(&tracked.allocation, query)
    }
}

register_provider!(SimulatedLive<Host, Host>);

#[cfg(test)]
mod tests {
    use tradewind_plugin_sdk::{
        ErrorKind,
        testing::{self, allocation, tracked},
        types::Phase,
    };

    use super::*;

    #[test]
    fn the_offer_is_simulated_and_the_replicas_are_processes() {
        let table = testing::Processes::default();
        let settings = r#"{"sizes": {"small": {"cpu": 2, "memory": "4Gi", "price": "0.05"}}, "regions": {"eu": {}, "us": {}},
            "faults": [{"operation": "destroy", "kind": "unavailable", "region": "us"}]}"#;
        let settings: Settings = serde_json::from_str(settings).unwrap();
        let context = Context {
            instance: "sim".into(),
            deadline: 1000,
        };
        let provider =
            SimulatedLive::on(testing::Clock::at(0), table.clone(), context, settings).unwrap();
        for (region, destroyed) in [
            ("eu", Ok(Destroyed::Going)),
            ("us", Err(ErrorKind::Unavailable)),
        ] {
            let wanted = allocation(region, &format!("{region}/small"), 2);
            let state = provider.apply(&wanted, None).unwrap();
            let seen = provider
                .observe(&[tracked(&wanted, &state)])
                .unwrap()
                .remove(0);
            assert_eq!((seen.phase, seen.replicas.len()), (Phase::Running, 2));
            assert_eq!(
                provider
                    .destroy(&tracked(&wanted, &state))
                    .map_err(|error| error.kind),
                destroyed
            );
        }
        assert_eq!(table.starts(), 4);
        assert_eq!(provider.owned().unwrap().len(), 2);
    }
}
