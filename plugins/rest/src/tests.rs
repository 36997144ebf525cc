//! The provider against the fixture cloud, natively: what a retry, a crash, a lag or a loss must not do is make anything twice or forget it.

use std::{cell::RefCell, rc::Rc};

use tradewind_fixture_cloud::{
    Answer, Cloud, Config, Fault, Instance, Kind, Lag, Operation, State as Stage,
};
use tradewind_plugin_sdk::{
    ErrorKind, Provider,
    fleet::State,
    host::{HttpRequest, HttpResponse},
    provider::write_state,
    testing::{self, Clock, Web, allocation},
    types::{Allocation, Destroyed, Entry, Job, Observation, Phase, Run, Tracked},
};

use super::*;

/// A cloud, a clock, and the provider between them.
struct World {
    cloud: Rc<RefCell<Cloud>>,
    clock: Clock,
    web: Web,
}

const URL: &str = "https://cloud.test";

fn world(config: Config) -> World {
    let clock = Clock::at(1_000_000);
    let cloud = Rc::new(RefCell::new(Cloud::new(config)));
    let behind = cloud.clone();
    let web = Web::new(clock.clone(), move |request, now| {
        send(&mut behind.borrow_mut(), request, now)
    });
    World { cloud, clock, web }
}

fn send(cloud: &mut Cloud, request: &HttpRequest, now: u64) -> Result<HttpResponse, Error> {
    assert_eq!(
        request.credential.as_deref(),
        Some("cloud"),
        "every request is signed by the host"
    );
    let target = request.url.strip_prefix(URL).unwrap().to_owned();
    let asked = tradewind_fixture_cloud::Request {
        method: request.method.clone(),
        target,
        authorization: "Bearer let-me-in".to_owned(),
        body: request.body.clone(),
    };
    match cloud.answer(now, &asked) {
        Answer::Reply(reply) | Answer::Late(_, reply) => Ok(HttpResponse {
            status: reply.status,
            headers: Vec::new(),
            body: reply.body.to_string().into_bytes(),
        }),
        Answer::Lost | Answer::Never => Err(Error::unavailable("no answer")),
    }
}

impl World {
    fn rest(&self) -> Fleet<Rest<Web>> {
        let settings = serde_json::from_str(&format!(
            r#"{{"url":"{URL}","settle":"5s","create-timeout":"60s"}}"#
        ))
        .unwrap();
        Fleet::on(
            self.web.clone(),
            Context {
                instance: "shop".to_owned(),
                deadline: 30_000,
            },
            settings,
        )
        .unwrap()
    }

    fn apply(&self, wanted: &Allocation, prior: Option<&State>) -> Result<State, Error> {
        self.rest().make_so(wanted, prior.cloned())
    }

    fn observe(&self, wanted: &Allocation, state: &State) -> Observation {
        let tracked = testing::tracked(wanted, &write_state(state).unwrap());
        self.rest().look_at(&[tracked]).unwrap().remove(0)
    }

    fn phases(&self, wanted: &Allocation, state: &State) -> Vec<Phase> {
        self.observe(wanted, state)
            .replicas
            .iter()
            .map(|replica| replica.phase)
            .collect()
    }

    fn fault(&self, fault: Fault) {
        self.cloud.borrow_mut().add_fault(fault);
    }

    fn live(&self) -> Vec<Instance> {
        self.cloud
            .borrow()
            .ledger()
            .filter(|instance| instance.is_live())
            .cloned()
            .collect()
    }

    fn ids(&self) -> Vec<String> {
        self.live()
            .into_iter()
            .map(|instance| instance.id)
            .collect()
    }
}

/// So many replicas in the region `east`, tagged as the host does.
fn wanted(id: &str, replicas: u32) -> Allocation {
    let mut wanted = allocation(id, "east/small", replicas);
    (wanted.offer.region, wanted.offer.size) = ("east".to_owned(), "small".to_owned());
    wanted.token = format!("{id}-0");
    let tag = |key: &str, value: &str| Entry {
        key: format!("tradewind.dev/{key}"),
        value: value.to_owned(),
    };
    wanted.tags = vec![
        tag("allocation", id),
        tag("deployment", "web"),
        tag("namespace", "default"),
        tag("provider", "shop"),
    ];
    wanted
}

#[test]
fn replicas_run_answer_grow_shrink_and_go() {
    let world = world(Config {
        boot_ms: 2000,
        ..Config::default()
    });
    let mut web = wanted("a", 2);
    web.workload.ports = vec![testing::port("http")];
    let state = world.apply(&web, None).unwrap();
    assert_eq!(world.phases(&web, &state), [Phase::Starting; 2]);
    world.clock.advance(2000);
    world.cloud.borrow_mut().advance(1_002_000);
    world.cloud.borrow_mut().set_port("i-000001", Some(4711));
    let seen = world.observe(&web, &state);
    assert_eq!(
        (
            seen.phase,
            seen.metered_cost,
            seen.replicas[0].endpoints[0].number
        ),
        (Phase::Running, Some(100_000), 4711)
    );

    (web.replicas, web.token) = (3, "a-1".to_owned());
    let state = world.apply(&web, Some(&state)).unwrap();
    assert_eq!(
        world.ids(),
        ["i-000001", "i-000002", "i-000003"],
        "the first two stay"
    );
    (web.replicas, web.token) = (1, "a-2".to_owned());
    let state = world.apply(&web, Some(&state)).unwrap();
    assert_eq!(world.ids(), ["i-000001"]);
    let tracked = testing::tracked(&web, &write_state(&state).unwrap());
    assert_eq!(world.rest().destroy(&tracked).unwrap(), Destroyed::Gone);
    assert_eq!(
        world.rest().destroy(&tracked).unwrap(),
        Destroyed::Gone,
        "what does not exist is gone"
    );
    assert!(world.ids().is_empty());
}

#[test]
fn whatever_becomes_of_the_answer_a_repeated_apply_makes_nothing_twice() {
    for kind in [
        Kind::LostAfter,
        Kind::LostBefore,
        Kind::Half,
        Kind::Unavailable,
    ] {
        // The list is of no help.
        let world = world(Config {
            lag: Lag {
                ms: 60_000,
                operations: 0,
            },
            ..Config::default()
        });
        world.fault(Fault {
            after: 1,
            ..Fault::new(kind).on(Operation::Create).times(1)
        });
        let web = wanted("a", 3);
        let mut failures = 0;
        let state = loop {
            match world.apply(&web, None) {
                Ok(state) => break state,
                Err(error) => assert_eq!(error.kind, ErrorKind::Unavailable),
            }
            failures += 1;
        };
        assert_eq!(world.apply(&web, Some(&state)).unwrap(), state, "{kind:?}");
        assert_eq!(
            (failures, world.cloud.borrow().ledger().count()),
            (1, 3),
            "{kind:?}"
        );
        assert!(
            world.live().iter().all(|instance| instance.tags.len() == 6),
            "{kind:?}: every tag is there in the end"
        );
    }
}

#[test]
fn what_was_just_made_is_not_gone_though_no_list_shows_it_and_later_it_is() {
    let world = world(Config {
        lag: Lag {
            ms: 3000,
            operations: 0,
        },
        ..Config::default()
    });
    let web = wanted("a", 2);
    let state = world.apply(&web, None).unwrap();
    assert_eq!(world.phases(&web, &state), [Phase::Starting; 2]);
    world.clock.advance(3000);
    assert_eq!(world.phases(&web, &state), [Phase::Running; 2]);
    world.clock.advance(3000);
    world.cloud.borrow_mut().advance(1_006_000);
    world.cloud.borrow_mut().disappear("i-000002");
    world.clock.advance(3000);
    assert_eq!(world.phases(&web, &state), [Phase::Running, Phase::Gone]);
}

#[test]
fn what_has_vanished_is_made_anew_under_the_same_token_of_the_host_again_and_again() {
    let world = world(Config::default());
    let web = wanted("a", 2);
    let mut state = world.apply(&web, None).unwrap();
    for round in 2..5 {
        let id = state.members[1].id.clone();
        world.cloud.borrow_mut().disappear(&id);
        state = world.apply(&web, Some(&state)).unwrap();
        assert_eq!(state.members[1].token, format!("a-0-1-{round}"));
        assert_eq!(world.ids().len(), 2);
    }
    // And when the last state has been lost in a crash: no spent token makes it stop, none is used twice.
    world
        .cloud
        .borrow_mut()
        .disappear(&state.members[0].id.clone());
    world.apply(&web, None).unwrap();
    assert_eq!(world.ids().len(), 2);
}

#[test]
fn another_workload_replaces_the_instances_and_leaves_nothing_of_the_old_one() {
    let world = world(Config::default().with_capacity("east", "small", 2));
    let mut web = wanted("a", 2);
    let state = world.apply(&web, None).unwrap();
    web.workload.command = vec!["other".to_owned()];
    web.token = "a-1".to_owned();
    let state = world.apply(&web, Some(&state)).unwrap();
    assert_eq!(
        world.ids(),
        ["i-000003", "i-000004"],
        "in the room of the old ones"
    );
    assert_eq!(world.phases(&web, &state), [Phase::Running; 2]);
}

#[test]
fn an_offer_that_is_too_small_gives_back_what_it_gave() {
    let world = world(Config::default().with_capacity("east", "small", 2));
    assert_eq!(
        world.apply(&wanted("a", 3), None).unwrap_err().kind,
        ErrorKind::OutOfCapacity
    );
    assert!(world.ids().is_empty());
    let web = wanted("b", 2);
    let state = world.apply(&web, None).unwrap();
    let grown = Allocation {
        replicas: 3,
        token: "b-1".to_owned(),
        ..web
    };
    assert_eq!(
        world.apply(&grown, Some(&state)).unwrap_err().kind,
        ErrorKind::OutOfCapacity
    );
    assert_eq!(world.ids().len(), 2, "what was there stays");
    world.fault(Fault::new(Kind::Unavailable).on(Operation::Delete).times(1));
    let error = world.apply(&wanted("c", 1), None).unwrap_err();
    assert_eq!(
        error.kind,
        ErrorKind::OutOfCapacity,
        "nothing to give back: {error}"
    );
}

#[test]
fn what_an_unknown_attempt_has_left_is_removed_when_it_is_seen() {
    let world = world(Config {
        lag: Lag {
            ms: 1000,
            operations: 0,
        },
        ..Config::default()
    });
    let mut web = wanted("a", 1);
    world.fault(Fault::new(Kind::LostAfter).on(Operation::Create).times(1));
    world.apply(&web, None).unwrap_err();
    world.clock.advance(10);
    // Changed before the outcome is known: another token, and the list does not show the first instance yet.
    (web.token, web.workload.command) = ("a-1".to_owned(), vec!["other".to_owned()]);
    let state = world.apply(&web, None).unwrap();
    assert_eq!(world.ids().len(), 2);
    world.clock.advance(1000);
    assert_eq!(world.phases(&web, &state), [Phase::Running]);
    assert_eq!(world.ids(), ["i-000002"]);
}

#[test]
fn everything_of_ours_is_found_again_and_can_be_removed() {
    let world = world(Config {
        page: 2,
        ..Config::default()
    });
    world.apply(&wanted("a", 3), None).unwrap();
    world.fault(Fault::new(Kind::Half).on(Operation::Create).times(1));
    world.apply(&wanted("b", 1), None).unwrap_err();
    let mut foreign = wanted("c", 1);
    foreign.tags.last_mut().unwrap().value = "other".to_owned();
    world.apply(&foreign, None).unwrap();
    let owned = world.rest().everything().unwrap();
    let told: Vec<_> = owned
        .iter()
        .map(|one| (one.allocation.as_str(), one.description.as_str()))
        .collect();
    assert_eq!(
        told,
        [
            ("a", "3 instance(s) in east"),
            ("b", "1 instance(s) in east")
        ]
    );
    for one in owned {
        let tracked = Tracked {
            allocation: one.allocation,
            state: one.state,
        };
        assert_eq!(world.rest().destroy(&tracked).unwrap(), Destroyed::Gone);
    }
    assert_eq!(
        world.ids(),
        ["i-000005"],
        "what carries another name is not ours"
    );
    world.cloud.borrow_mut().set_region("west", false);
    assert_eq!(
        world.rest().everything().unwrap_err().kind,
        ErrorKind::Unavailable
    );
}

#[test]
fn jobs_end_and_are_not_started_again_by_another_apply() {
    let world = world(Config::default());
    let mut job = wanted("j", 2);
    job.workload.run = Run::Job(Job {
        retries: 0,
        deadline: None,
    });
    let state = world.apply(&job, None).unwrap();
    world.clock.advance(200);
    assert_eq!(world.phases(&job, &state), [Phase::Succeeded; 2]);
    assert_eq!(world.apply(&job, Some(&state)).unwrap(), state);
    assert_eq!(world.observe(&job, &state).phase, Phase::Succeeded);
    assert!(
        world
            .live()
            .iter()
            .all(|instance| instance.state == Stage::Exited)
    );
}

#[test]
fn many_allocations_are_looked_at_with_one_list_for_each_region() {
    let world = world(Config::default());
    let all: Vec<_> = (0..20).map(|i| wanted(&format!("a{i}"), 1)).collect();
    let tracked: Vec<_> = all
        .iter()
        .map(|one| testing::tracked(one, &write_state(&world.apply(one, None).unwrap()).unwrap()))
        .collect();
    world.web.sent();
    let seen = world.rest().look_at(&tracked).unwrap();
    assert!(seen.len() == 20 && seen.iter().all(|one| one.phase == Phase::Running));
    assert_eq!(world.web.sent().len(), 1);
}

#[test]
fn an_instance_that_is_created_for_ever_has_failed_and_is_replaced() {
    let world = world(Config::default());
    world.fault(Fault::new(Kind::Stuck).on(Operation::Create).times(1));
    let web = wanted("a", 1);
    let state = world.apply(&web, None).unwrap();
    assert_eq!(world.phases(&web, &state), [Phase::Starting]);
    world.clock.advance(60_000);
    assert_eq!(world.phases(&web, &state), [Phase::Failed]);
    let state = world.apply(&web, Some(&state)).unwrap();
    assert_eq!(
        (world.phases(&web, &state), world.ids()),
        (vec![Phase::Running], vec!["i-000002".to_owned()])
    );
}

#[test]
fn offers_are_the_price_list_with_what_is_left() {
    let world = world(
        Config {
            boot_ms: 1500,
            ..Config::default()
        }
        .with_capacity("east", "small", 3),
    );
    world.apply(&wanted("a", 2), None).unwrap();
    let query = OffersQuery {
        regions: vec!["east".to_owned()],
        shapes: vec![],
        spot: false,
        holding: vec![],
    };
    let offers = world.rest().offers(&query).unwrap();
    let told: Vec<_> = offers
        .iter()
        .map(|o| (o.id.as_str(), o.cpu, o.price, o.capacity, o.time_to_ready))
        .collect();
    assert_eq!(
        told,
        [
            ("east/large", 8000, 200_000, u32::MAX, 1500.0),
            ("east/small", 2000, 50_000, 1, 1500.0)
        ]
    );
}

#[test]
fn what_this_cloud_can_not_do_is_refused_by_its_field() {
    let world = world(Config::default());
    let mut web = wanted("a", 1);
    web.workload.env = vec![tradewind_plugin_sdk::types::EnvVar {
        name: "KEY".to_owned(),
        value: tradewind_plugin_sdk::types::EnvValue::Secret(
            tradewind_plugin_sdk::types::SecretRef {
                name: "k".to_owned(),
                key: None,
            },
        ),
    }];
    let error = world.apply(&web, None).unwrap_err();
    assert_eq!(
        (error.kind, error.field.as_deref()),
        (ErrorKind::Invalid, Some("workload.env"))
    );
    assert!(world.web.sent().is_empty());
}
