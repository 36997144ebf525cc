//! A fleet as a provider, on a cloud in memory: what the daemon calls, with nothing of the provider's own but its `FleetProvider`.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "the helpers of tests are not marked as tests"
)]

use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

use serde::Deserialize;
use serde_json::json;
use tradewind_plugin_sdk::{
    Context, Error, ErrorKind, FleetProvider, Offer, Provider, ProviderInfo,
    fleet::{Cloud, Described, Fleet, Instance, LogPiece, New, Pace, Stage, State, read_logs},
    host::Clock as _,
    testing::{self, Clock, allocation, tracked},
    types::{
        Allocation, ChosenOffer, Condition, Destroyed, Entry, LogChunk, LogQuery, OffersQuery,
        Phase,
    },
    units::{Cpu, Money, Size, Span},
};

/// What the cloud has; clones share it.
#[derive(Clone, Default)]
struct Table {
    clock: Clock,
    instances: Rc<RefCell<BTreeMap<String, Instance>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Settings {
    create_timeout: Span,
}

struct Memory {
    table: Table,
    settings: Settings,
}

impl FleetProvider for Memory {
    type Host = Table;
    type Settings = Settings;

    fn info() -> ProviderInfo {
        ProviderInfo::new("memory", "1.2.3", "A cloud in memory")
    }
    fn new(table: Table, context: &Context, settings: Settings) -> Result<Self, Error> {
        if settings.create_timeout.millis() >= context.deadline {
            return Err(Error::invalid("longer than a call").field("settings.create-timeout"));
        }
        Ok(Self { table, settings })
    }
    fn pace(&self) -> Pace {
        Pace {
            create_timeout: self.settings.create_timeout.millis(),
            ..Pace::default()
        }
    }
    fn check(&self) -> Result<Vec<Condition>, Error> {
        Err(Error::denied("the account is closed"))
    }
    fn offers(&self, query: &OffersQuery) -> Result<Vec<Offer>, Error> {
        Ok(query
            .regions
            .iter()
            .map(|region| Offer::new(region, Cpu(1000), Size(1), Money(1)))
            .collect())
    }
    fn logs(&self, state: &State, query: &LogQuery) -> Result<LogChunk, Error> {
        let line = |id: &str| (None, format!("of {id}"));
        read_logs(state, query, |member, _| {
            Ok(LogPiece {
                lines: vec![line(&member.id)],
                next: "1".to_owned(),
            })
        })
    }
}

impl Cloud for Memory {
    fn now(&self) -> u64 {
        self.table.clock.now()
    }
    fn place(&self, _: &ChosenOffer) -> Result<String, Error> {
        Ok("here".to_owned())
    }
    fn places(&self) -> Result<Vec<String>, Error> {
        Ok(vec!["here".to_owned()])
    }
    fn describe(&self, allocation: &Allocation) -> Result<Described, Error> {
        Ok(Described {
            workload: json!(allocation.workload.command),
            ports: Vec::new(),
        })
    }
    fn create(&self, new: &New<'_>) -> Result<Instance, Error> {
        let made = Instance::new(
            new.name,
            Stage::Creating,
            new.tags.iter().cloned().collect(),
            self.now(),
        );
        Ok(self
            .table
            .instances
            .borrow_mut()
            .entry(new.name.to_owned())
            .or_insert(made)
            .clone())
    }
    fn tagged(&self, _: &str, (key, value): (&str, &str)) -> Result<Vec<Instance>, Error> {
        let bears = |instance: &&Instance| instance.tags.get(key).is_some_and(|tag| tag == value);
        Ok(self
            .table
            .instances
            .borrow()
            .values()
            .filter(bears)
            .cloned()
            .collect())
    }
    fn delete(&self, _: &str, id: &str) -> Result<Destroyed, Error> {
        let was_there = self.table.instances.borrow_mut().remove(id).is_some();
        Ok(if was_there {
            Destroyed::Going
        } else {
            Destroyed::Gone
        })
    }
}

/// The provider as a call of the instance `mine` finds it.
fn provider(table: &Table) -> Fleet<Memory> {
    let context = Context {
        instance: "mine".to_owned(),
        deadline: 30_000,
    };
    Fleet::on(
        table.clone(),
        context,
        Settings {
            create_timeout: Span::seconds(20),
        },
    )
    .unwrap()
}

fn wanted(replicas: u32) -> Allocation {
    let tag = |key: &str, value: &str| Entry {
        key: format!("tradewind.dev/{key}"),
        value: value.to_owned(),
    };
    Allocation {
        tags: vec![tag("allocation", "a"), tag("provider", "mine")],
        ..allocation("a", "offer", replicas)
    }
}

#[test]
fn every_call_of_a_provider_is_the_fleet_s_or_the_cloud_s() {
    let table = Table::default();
    let mut web = wanted(2);
    let state = provider(&table).apply(&web, None).unwrap();
    let before = tracked(&web, &state);
    web.replicas = 1;
    let state = provider(&table).apply(&web, Some(&state)).unwrap();
    assert_eq!(
        provider(&table).apply(&web, Some(&state)).unwrap(),
        state,
        "the same again changes nothing"
    );
    let web = tracked(&web, &state);

    let phases = || {
        provider(&table)
            .observe(std::slice::from_ref(&web))
            .unwrap()[0]
            .replicas
            .iter()
            .map(|one| one.phase)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        (phases(), table.instances.borrow().len()),
        (vec![Phase::Starting], 1)
    );
    table.clock.advance(20_000);
    assert_eq!(
        phases(),
        [Phase::Failed],
        "the time to create is the cloud's own"
    );
    table
        .instances
        .borrow_mut()
        .values_mut()
        .for_each(|instance| instance.stage = Stage::Running);
    assert_eq!(phases(), [Phase::Running]);

    let query = LogQuery {
        replica: None,
        tail: 5,
        after: None,
    };
    let id = table.instances.borrow().keys().next().unwrap().clone();
    assert_eq!(
        provider(&table).logs(&web, &query).unwrap().lines[0].text,
        format!("of {id}")
    );
    let regions = OffersQuery {
        regions: vec!["eu".to_owned()],
        shapes: vec![],
        spot: false,
        holding: vec![],
    };
    assert_eq!(provider(&table).offers(&regions).unwrap()[0].id, "eu");
    assert_eq!(
        provider(&table).check().unwrap_err().kind,
        ErrorKind::Denied
    );

    let owned = provider(&table).owned().unwrap().remove(0);
    let found = testing::tracked(&wanted(1), &owned.state);
    assert_eq!(
        (
            owned.allocation.as_str(),
            provider(&table).destroy(&found).unwrap()
        ),
        ("a", Destroyed::Going)
    );
    assert_eq!(provider(&table).destroy(&before).unwrap(), Destroyed::Gone);
    assert!(table.instances.borrow().is_empty());
}

#[test]
fn state_that_is_not_the_fleet_s_is_refused_by_every_call() {
    let (memory, web) = (provider(&Table::default()), wanted(1));
    let foreign = tracked(&web, b"{}");
    let query = LogQuery {
        replica: None,
        tail: 5,
        after: None,
    };
    let failures = [
        memory.apply(&web, Some(&foreign.state)).map(drop),
        memory.observe(std::slice::from_ref(&foreign)).map(drop),
        memory.destroy(&foreign).map(drop),
        memory.logs(&foreign, &query).map(drop),
    ];
    assert!(
        failures.iter().all(|failure| failure
            .as_ref()
            .is_err_and(|error| error.kind == ErrorKind::Internal)),
        "{failures:?}"
    );
    assert!(memory.cloud().table.instances.borrow().is_empty());
}

#[test]
fn a_call_of_the_host_makes_the_capabilities_and_reads_the_settings() {
    let made = |settings: &str| {
        testing::provider::<Fleet<Memory>>(settings)
            .map(|fleet| fleet.cloud().settings.create_timeout.millis())
    };
    assert_eq!(made(r#"{"create-timeout":"20s"}"#).unwrap(), 20_000);
    let field = |settings: &str| made(settings).unwrap_err().field.unwrap_or_default();
    assert_eq!(
        field(r#"{"create-timeout":"5m"}"#),
        "settings.create-timeout",
        "the cloud's own word"
    );
    assert_eq!(
        field(r#"{"create-timeout":"soon"}"#),
        "settings.create-timeout"
    );
    assert_eq!(<Fleet<Memory> as Provider>::info().version, "1.2.3");
}
