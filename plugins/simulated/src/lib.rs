//! A provider: a cloud from a table in its settings. Nothing really runs; time alone makes replicas ready and jobs end.
//!
//! `simulated-model` holds the cloud; `simulated-live` is the same cloud with real processes behind it.

use simulated_model::{Cloud, SCHEMA, Settings};
use tradewind_plugin_sdk::{
    Context, Error, Features, Offer, Provider, ProviderInfo,
    host::{Clock, Host},
    register_provider,
    types::{
        Allocation, Condition, Destroyed, LogChunk, LogQuery, Observation, OffersQuery, Tracked,
    },
};

/// The provider, on the host's clock or on a test's.
pub struct Simulated<C = Host>(Cloud<C>);

impl<C: Clock> Simulated<C> {
    /// On this clock.
    ///
    /// # Errors
    /// `invalid` for a table that makes no sense.
    pub fn on(clock: C, context: Context, settings: Settings) -> Result<Self, Error> {
        Ok(Self(Cloud::new(context, settings, clock)?))
    }
}

impl<C: Clock + Default> Provider for Simulated<C> {
    type Settings = Settings;

    fn info() -> ProviderInfo {
        ProviderInfo::new(
            "simulated",
            env!("CARGO_PKG_VERSION"),
            "A cloud from a table in its settings; nothing really runs",
        )
        .schema(SCHEMA)
        .wants("clock", "to tell how far replicas have come")
        .runs(Features::all())
    }

    fn new(context: Context, settings: Settings) -> Result<Self, Error> {
        Self::on(C::default(), context, settings)
    }

    fn check(&self) -> Result<Vec<Condition>, Error> {
        self.0.check()
    }
    fn offers(&self, query: &OffersQuery) -> Result<Vec<Offer>, Error> {
        self.0.offers(query)
    }
    fn apply(&self, allocation: &Allocation, prior: Option<&[u8]>) -> Result<Vec<u8>, Error> {
        self.0.apply(allocation, prior)
    }
    fn observe(&self, tracked: &[Tracked]) -> Result<Vec<Observation>, Error> {
        self.0.observe(tracked)
    }
    fn destroy(&self, tracked: &Tracked) -> Result<Destroyed, Error> {
        self.0.destroy(tracked)
    }
    fn logs(&self, tracked: &Tracked, query: &LogQuery) -> Result<LogChunk, Error> {
        self.0.logs(tracked, query)
    }
}

register_provider!(Simulated<Host>);

#[cfg(test)]
mod tests {
    use tradewind_plugin_sdk::{
        ErrorKind,
        testing::{self, Clock, allocation, tracked},
        types::{Entry, Held, Job, Phase, Run},
    };

    use super::*;

    const TABLE: &str = r#"{
        "sizes": {"small": {"cpu": 2, "memory": "4Gi", "price": "0.05", "capacity": 3, "time-to-ready": "5s", "performance": 2}},
        "regions": {"eu": {}, "us": {"price-factor": 2}},
        "faults": [{"operation": "apply", "kind": "out-of-capacity", "region": "us"}]
    }"#;

    fn at(clock: &Clock) -> Simulated<Clock> {
        Simulated::on(
            clock.clone(),
            Context {
                instance: "sim".into(),
                deadline: 1000,
            },
            serde_json::from_str(TABLE).unwrap(),
        )
        .unwrap()
    }

    #[test]
    fn what_is_held_is_no_longer_for_sale() {
        let held = Held {
            offer: "eu/small".to_owned(),
            replicas: 2,
        };
        let query = OffersQuery {
            regions: vec!["eu".to_owned()],
            shapes: vec![],
            spot: false,
            holding: vec![held],
        };
        let offers = at(&Clock::at(0)).offers(&query).unwrap();
        assert_eq!(
            offers
                .iter()
                .map(|offer| (offer.id.as_str(), offer.capacity))
                .collect::<Vec<_>>(),
            [("eu/small", 1)]
        );
    }

    #[test]
    fn a_service_starts_runs_grows_and_goes() {
        let clock = Clock::at(1000);
        let mut wanted = allocation("a1", "eu/small", 1);
        wanted.workload.ports = vec![testing::port("http")];
        let state = at(&clock).apply(&wanted, None).unwrap();
        assert_eq!(at(&clock).apply(&wanted, Some(&state)).unwrap(), state);
        let phases = |state: &[u8]| -> Vec<Phase> {
            at(&clock).observe(&[tracked(&wanted, state)]).unwrap()[0]
                .replicas
                .iter()
                .map(|replica| replica.phase)
                .collect()
        };
        assert_eq!(phases(&state), [Phase::Starting]);
        clock.advance(5000);
        assert_eq!(phases(&state), [Phase::Running]);
        let seen = at(&clock)
            .observe(&[tracked(&wanted, &state)])
            .unwrap()
            .remove(0);
        assert_eq!(
            (
                seen.endpoints[0].host.as_str(),
                seen.endpoints[0].number,
                seen.metered_cost
            ),
            ("a1.eu.sim.example", 80, Some(50_000))
        );

        let grown = at(&clock)
            .apply(
                &tradewind_plugin_sdk::types::Allocation {
                    replicas: 2,
                    ..wanted.clone()
                },
                Some(&state),
            )
            .unwrap();
        assert_eq!(
            phases(&grown),
            [Phase::Running, Phase::Starting],
            "the first one goes on"
        );
        let mut changed = wanted.clone();
        changed.workload.command.push("more".to_owned());
        let changed = at(&clock).apply(&changed, Some(&state)).unwrap();
        assert_eq!(
            phases(&changed),
            [Phase::Starting],
            "another workload begins anew"
        );
        assert_eq!(
            at(&clock).destroy(&tracked(&wanted, &grown)).unwrap(),
            Destroyed::Gone
        );
    }

    #[test]
    fn jobs_end_when_their_time_is_over_sooner_on_faster_machines() {
        let clock = Clock::at(0);
        let mut wanted = allocation("j", "eu/small", 1);
        wanted.workload.run = Run::Job(Job {
            retries: 0,
            deadline: None,
        });
        wanted.workload.extensions = vec![Entry {
            key: "simulated".into(),
            value: r#"{"duration":"20s","exit-code":3}"#.into(),
        }];
        let state = at(&clock).apply(&wanted, None).unwrap();
        clock.advance(14_999);
        assert_eq!(
            at(&clock).observe(&[tracked(&wanted, &state)]).unwrap()[0].phase,
            Phase::Running
        );
        clock.advance(1);
        let seen = at(&clock)
            .observe(&[tracked(&wanted, &state)])
            .unwrap()
            .remove(0);
        assert_eq!(
            (
                seen.phase,
                seen.replicas[0].exit_code,
                seen.replicas[0].ended_at
            ),
            (Phase::Failed, Some(3), Some(15_000))
        );
        let logs = at(&clock)
            .logs(
                &tracked(&wanted, &state),
                &LogQuery {
                    replica: None,
                    tail: 1,
                    after: None,
                },
            )
            .unwrap();
        assert_eq!(logs.lines[0].text, "simulated: ended with status 3");
    }

    #[test]
    fn faults_and_unknown_offers_are_errors_of_the_right_kind() {
        let mut wanted = allocation("a", "us/small", 1);
        wanted.offer.region = "us".to_owned();
        assert_eq!(
            at(&Clock::at(0)).apply(&wanted, None).unwrap_err().kind,
            ErrorKind::OutOfCapacity
        );
        assert_eq!(
            at(&Clock::at(0))
                .apply(&allocation("a", "eu/huge", 1), None)
                .unwrap_err()
                .kind,
            ErrorKind::Invalid
        );
    }
}
