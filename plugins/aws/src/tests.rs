//! The provider on a table that stands for the account: what a retry, a crash, a lag or a loss must not do is make anything twice or forget it.

use tradewind_plugin_sdk::{
    ErrorKind,
    host::aws::{Gpu, InstanceState, InstanceType, SpotPrice, TargetState},
    testing::{self, Clock, allocation, aws::Account, tracked},
    types::{Entry, EnvValue, EnvVar, Exposure, Health, Job, Phase, Run},
    units::GIB,
};

use super::*;
use crate::wanted::Wanted;

/// Settings for one region with two zones, over which the given ones are laid.
pub(crate) fn settings(over: &str) -> Settings {
    let mut settings = serde_json::json!({
        "regions": {"us-east-1": {
            "image": "ami-1", "subnets": {"us-east-1a": "subnet-a", "us-east-1b": "subnet-b"}, "security-groups": ["sg-1"], "key-name": "ops"
        }},
        "settle": "60s"
    });
    let over: serde_json::Value = serde_json::from_str(over).unwrap();
    over.as_object()
        .unwrap()
        .iter()
        .for_each(|(key, value)| settings[key] = value.clone());
    serde_json::from_value(settings).unwrap()
}

struct World {
    clock: Clock,
    account: Account,
    settings: Settings,
}

fn world(over: &str) -> World {
    let clock = Clock::at(1_000_000_000);
    let account = Account::new(clock.clone());
    account.with(|table| table.allocation = "a1".to_owned());
    World {
        clock,
        account,
        settings: settings(over),
    }
}

impl World {
    fn aws(&self) -> Ec2<Account> {
        Ec2::on(self.account.clone(), self.settings.clone()).unwrap()
    }

    fn apply(&self, wanted: &Allocation, prior: Option<&State>) -> Result<State, Error> {
        self.account
            .with(|table| table.token.clone_from(&wanted.token));
        self.aws().make_so(wanted, prior.cloned())
    }

    fn observe(&self, wanted: &Allocation, state: &State) -> Observation {
        self.aws()
            .look_at(&[tracked(wanted, &write_state(state).unwrap())])
            .unwrap()
            .remove(0)
    }

    fn boot(&self) {
        self.account.live().iter().for_each(|one| {
            self.account
                .set(&one.id, |one| one.state = InstanceState::Running)
        });
    }

    fn calls(&self, operation: &str) -> u32 {
        self.account
            .with(|table| table.calls.get(operation).copied().unwrap_or(0))
    }
}

/// Two replicas of a command on a small instance.
fn wanted() -> Allocation {
    let mut wanted = allocation("a1", "us-east-1a/t3.small", 2);
    (wanted.offer.region, wanted.offer.zone, wanted.offer.size) =
        ("us-east-1".into(), "us-east-1a".into(), "t3.small".into());
    wanted.offer.labels = vec![Entry {
        key: "arch".into(),
        value: "x86_64".into(),
    }];
    wanted.token = "a1-0".to_owned();
    wanted
}

fn public() -> Allocation {
    let mut wanted = wanted();
    wanted.workload.ports = vec![testing::port("http")];
    wanted
}

fn a_type(name: &str, arch: &str) -> InstanceType {
    InstanceType {
        name: name.to_owned(),
        cpu: 2000,
        memory: 2 * GIB,
        disk: 0,
        architectures: vec![arch.to_owned()],
        gpu: None,
        spot: true,
    }
}

#[test]
fn offers_are_types_in_zones_with_dated_prices_and_spot_beside_them() {
    let world = world(r#"{"spot":true,"prices":{"us-east-1":{"g9.big":"2"}}}"#);
    let gpu = Gpu {
        manufacturer: "NVIDIA".into(),
        name: "A10G".into(),
        count: 4,
        memory: 24 * GIB,
    };
    world.account.with(|table| {
        let large = InstanceType {
            gpu: Some(gpu),
            spot: false,
            ..a_type("g9.big", "x86_64")
        };
        table.types = vec![
            a_type("t3.small", "x86_64"),
            a_type("t4g.small", "arm64"),
            large,
        ];
        let price = |zone: &str| SpotPrice {
            instance_type: "t3.small".into(),
            zone: zone.into(),
            price: 6_000,
            at: 1,
        };
        table.spot = vec![price("us-east-1a"), price("us-east-1f")];
    });
    let query = OffersQuery {
        regions: vec![],
        shapes: vec![],
        spot: true,
        holding: vec![],
    };
    let offers = world.aws().on_sale(&query).unwrap();
    let ids: Vec<&str> = offers.iter().map(|offer| offer.id.as_str()).collect();
    assert_eq!(
        ids,
        [
            "us-east-1a/t3.small",
            "us-east-1b/t3.small",
            "us-east-1a/g9.big",
            "us-east-1b/g9.big",
            "us-east-1a/t3.small/spot"
        ]
    );
    assert_eq!(
        (
            offers[0].price,
            offers[0].source.as_str(),
            offers[0].quoted_at.is_some()
        ),
        (20_800, "AWS price list of 2025-01-15", true)
    );
    assert_eq!(
        (
            offers[2].accelerator.as_str(),
            offers[2].accelerator_count,
            offers[2].price
        ),
        ("nvidia-a10g", 4, 2_000_000)
    );
    assert!(
        offers[4].spot
            && offers[4].price == 6_000
            && offers[4].interruption_rate.is_nan()
            && offers[4].zone == "us-east-1a"
    );
    let without = world
        .aws()
        .on_sale(&OffersQuery {
            spot: false,
            ..query
        })
        .unwrap();
    assert!(without.iter().all(|offer| !offer.spot));
}

#[test]
fn a_check_names_the_zone_or_image_that_is_wrong() {
    let good = world("{}").aws().regions_ready().unwrap();
    assert!(good.iter().all(|condition| condition.met), "{good:?}");
    let place = |image: &str, zone: &str| {
        let over = format!(
            r#"{{"load-balancer":false,"regions":{{"us-east-1":{{"image":"{image}","subnets":{{"{zone}":"s"}}}}}}}}"#
        );
        world(&over).aws().regions_ready().unwrap().remove(0)
    };
    assert_eq!(place("ami-missing", "us-east-1a").reason, "UnknownImage");
    assert_eq!(place("ami-1", "us-east-1z").reason, "UnknownZone");
}

#[test]
fn apply_is_idempotent_resizes_and_replaces_what_is_of_another_spec() {
    let world = world("{}");
    let mut wanted = wanted();
    let state = world.apply(&wanted, None).unwrap();
    assert_eq!(world.apply(&wanted, Some(&state)).unwrap(), state);
    assert_eq!(world.apply(&wanted, None).unwrap().members.len(), 2);
    let requests = world.account.with(|table| {
        table
            .instances
            .iter()
            .map(|(_, request)| request.clone())
            .collect::<Vec<_>>()
    });
    assert_eq!(
        (
            requests.len(),
            requests[0].subnet.as_str(),
            requests[1].replica
        ),
        (2, "subnet-a", 1)
    );
    assert_eq!(
        (
            requests[0].key_name.as_str(),
            requests[0].image.as_str(),
            requests[0].spot
        ),
        ("ops", "ami-1", false)
    );

    world.boot();
    (wanted.replicas, wanted.token) = (3, "a1-1".to_owned());
    let state = world.apply(&wanted, Some(&state)).unwrap();
    assert_eq!(
        world.account.with(|table| table.instances.len()),
        3,
        "what ran goes on"
    );
    (wanted.replicas, wanted.token) = (1, "a1-2".to_owned());
    let state = world.apply(&wanted, Some(&state)).unwrap();
    assert_eq!(
        world
            .account
            .live()
            .iter()
            .map(|one| one.id.clone())
            .collect::<Vec<_>>(),
        ["i-1"]
    );

    (wanted.workload.command, wanted.token) = (vec!["other".to_owned()], "a1-3".to_owned());
    let changed = world.apply(&wanted, Some(&state)).unwrap();
    assert_ne!(
        (&changed.spec, &changed.members[0].id),
        (&state.spec, &state.members[0].id)
    );
    assert_eq!(world.account.live().len(), 1);
}

#[test]
fn what_the_list_does_not_show_yet_is_neither_lost_nor_made_again() {
    let world = world("{}");
    let wanted = wanted();
    let state = world.apply(&wanted, None).unwrap();
    world
        .account
        .with(|table| table.hidden = vec!["i-1".to_owned(), "i-2".to_owned()]);
    let seen = world.observe(&wanted, &state);
    assert_eq!(
        (seen.phase, seen.replicas[0].message.as_str()),
        (Phase::Starting, "not listed yet")
    );
    assert_eq!(world.apply(&wanted, Some(&state)).unwrap(), state);
    // Without its state, the token finds them again.
    assert_eq!(world.apply(&wanted, None).unwrap().members[1].id, "i-2");
    assert_eq!(world.account.with(|table| table.instances.len()), 2);
    assert_eq!(world.aws().remove("a1", &state).unwrap(), Destroyed::Going);
    assert!(
        world.account.live().is_empty(),
        "what is not listed is terminated, too"
    );
    world.clock.advance(61_000);
    assert_eq!(world.observe(&wanted, &state).phase, Phase::Gone);
}

#[test]
fn a_lost_instance_is_made_again_under_the_next_number_of_the_same_token() {
    let world = world("{}");
    let wanted = wanted();
    let state = world.apply(&wanted, None).unwrap();
    world.account.end("i-1", "Server.SpotInstanceTermination");
    let seen = world.observe(&wanted, &state);
    assert_eq!(
        (seen.replicas[0].phase, seen.replicas[1].phase),
        (Phase::Gone, Phase::Starting)
    );
    assert!(
        seen.message.contains("Server.SpotInstanceTermination"),
        "{}",
        seen.message
    );
    let again = world.apply(&wanted, Some(&state)).unwrap();
    assert_eq!(
        (
            again.members[0].id.as_str(),
            again.members[0].ordinal,
            again.members[1].id.as_str()
        ),
        ("i-3", 1, "i-2")
    );
    assert_eq!(
        world.apply(&wanted, Some(&state)).unwrap().members[0].id,
        "i-3",
        "repeated, it finds what it has made"
    );
}

#[test]
fn what_can_not_be_had_in_full_is_given_back() {
    for error in [
        Error::out_of_capacity("none"),
        Error::new(ErrorKind::Quota, "limit"),
    ] {
        let world = world("{}");
        let wanted = wanted();
        world
            .apply(
                &Allocation {
                    replicas: 1,
                    ..wanted.clone()
                },
                None,
            )
            .unwrap();
        world
            .account
            .with(|table| table.refusals.push_back(error.clone()));
        assert_eq!(world.apply(&wanted, None).unwrap_err(), error);
        assert!(world.account.live().is_empty());
    }
    let world = world("{}");
    world
        .account
        .with(|table| table.refusals.push_back(Error::unavailable("lost")));
    assert_eq!(
        world.apply(&wanted(), None).unwrap_err().kind,
        ErrorKind::Unavailable
    );
}

#[test]
fn a_public_port_gets_a_load_balancer_whose_targets_decide_health_and_all_of_it_goes() {
    let world = world("{}");
    let mut wanted = public();
    wanted.workload.probes.readiness = Some(tradewind_plugin_sdk::types::Probe {
        check: tradewind_plugin_sdk::types::Check::Http(tradewind_plugin_sdk::types::HttpCheck {
            port: "http".into(),
            path: "/health".into(),
            headers: vec![],
            status_min: 200,
            status_max: 399,
        }),
        initial_delay: 0,
        interval: 10_000,
        timeout: 1_000,
        healthy_after: 1,
        unhealthy_after: 3,
    });
    let state = world.apply(&wanted, None).unwrap();
    let (group, check) = world.account.with(|table| {
        (
            table.groups[0].0.id.clone(),
            table.groups[0].1.health_check.clone(),
        )
    });
    assert_eq!(
        (
            check.path.as_str(),
            world.account.with(|t| t.balancers[0].1.subnets.len())
        ),
        ("/health", 2)
    );
    assert!(world.account.with(|table| {
        table
            .listeners
            .iter()
            .all(|(l, _)| l.number == 80 && l.target_group == group)
    }));

    assert_eq!(world.observe(&wanted, &state).phase, Phase::Starting);
    assert_eq!(world.calls("register"), 0, "what does not run is no target");
    world.boot();
    assert_eq!(world.observe(&wanted, &state).phase, Phase::Starting);
    assert_eq!(world.account.with(|table| table.targets[&group].len()), 2);
    let set = |position: usize, state| {
        world
            .account
            .with(|table| table.targets.get_mut(&group).unwrap()[position].1 = state)
    };
    set(0, TargetState::Healthy);
    set(1, TargetState::Unhealthy);
    let seen = world.observe(&wanted, &state);
    assert_eq!(
        (seen.replicas[0].health, seen.replicas[1].health),
        (Health::Healthy, Health::Unhealthy)
    );
    let endpoint = &seen.endpoints[0];
    assert_eq!(
        (endpoint.host.as_str(), endpoint.number, endpoint.exposure),
        ("lb-a1.elb.example.com", 80, Exposure::Public)
    );
    assert_eq!(
        (
            seen.replicas[0].endpoints[0].number,
            world.calls("register")
        ),
        (8080, 1)
    );
    assert!(seen.conditions[0].met);

    let smaller = world
        .apply(
            &Allocation {
                replicas: 1,
                token: "a1-1".into(),
                ..wanted.clone()
            },
            Some(&state),
        )
        .unwrap();
    assert_eq!(
        world.account.with(|table| table.targets[&group].len()),
        1,
        "what goes is taken out first"
    );
    world.account.with(|table| table.balancers.clear());
    let lost = world.observe(&wanted, &smaller);
    assert_eq!(
        (lost.replicas[0].phase, lost.conditions[0].reason.as_str()),
        (Phase::Failed, "Gone")
    );
    let again = world
        .apply(
            &Allocation {
                replicas: 1,
                token: "a1-2".into(),
                ..wanted.clone()
            },
            Some(&smaller),
        )
        .unwrap();
    assert_eq!(
        again.members[0].id, smaller.members[0].id,
        "its instance stays"
    );

    assert_eq!(world.aws().remove("a1", &again).unwrap(), Destroyed::Going);
    assert_eq!(world.aws().remove("a1", &again).unwrap(), Destroyed::Gone);
    world.account.with(|table| {
        assert!(table.balancers.is_empty() && table.groups.is_empty() && table.listeners.is_empty())
    });
}

#[test]
fn without_load_balancers_nothing_is_asked_of_them() {
    let world = world(r#"{"load-balancer":false}"#);
    let wanted = public();
    let state = world.apply(&wanted, None).unwrap();
    world.boot();
    let seen = world.observe(&wanted, &state);
    assert_eq!(
        (
            seen.phase,
            seen.endpoints.len(),
            seen.replicas[0].endpoints[0].host.as_str()
        ),
        (Phase::Running, 0, "203.0.113.1")
    );
    world.aws().remove("a1", &state).unwrap();
    world.aws().everything().unwrap();
    let calls = world.account.with(|table| table.calls.clone());
    assert!(
        calls
            .keys()
            .all(|name| !name.contains("load_balancer") && !name.contains("target_group")),
        "{calls:?}"
    );
}

#[test]
fn a_jobs_end_is_read_from_its_console_and_kept() {
    let world = world("{}");
    let mut wanted = wanted();
    wanted.workload.run = Run::Job(Job {
        retries: 0,
        deadline: None,
    });
    let mut state = world.apply(&wanted, None).unwrap();
    assert!(world.account.with(|table| {
        table
            .instances
            .iter()
            .all(|(_, request)| request.ends_with_system)
    }));
    world.boot();
    let mut look = || {
        let seen = world.observe(&wanted, &state);
        if let Some(bytes) = &seen.state {
            state = read_state(bytes).unwrap();
        }
        (seen, state.clone())
    };
    assert_eq!(
        (look().0.phase, world.calls("console")),
        (Phase::Running, 0)
    );
    ["i-1", "i-2"]
        .iter()
        .for_each(|id| world.account.end(id, "Client.InstanceInitiatedShutdown"));
    assert_eq!(
        look().0.phase,
        Phase::Running,
        "until it is known how they ended"
    );
    world.account.with(|table| {
        table
            .consoles
            .insert("i-1".to_owned(), format!("booting\n{}0\n", script::EXIT))
    });
    let (seen, _) = look();
    assert_eq!(
        (seen.replicas[0].phase, seen.replicas[0].exit_code),
        (Phase::Succeeded, Some(0))
    );
    world.clock.advance(601_000);
    let (seen, kept) = look();
    assert_eq!(
        (seen.phase, seen.replicas[1].exit_code),
        (Phase::Failed, None)
    );
    let before = world.calls("console");
    world
        .account
        .with(|table| table.hidden = vec!["i-1".into(), "i-2".into()]);
    let (seen, _) = look();
    assert_eq!(
        (seen.replicas[0].phase, world.calls("console")),
        (Phase::Succeeded, before),
        "it is not asked again"
    );
    let again = world.apply(&wanted, Some(&kept)).unwrap();
    assert_eq!(
        (
            again.members,
            world.account.with(|table| table.instances.len())
        ),
        (kept.members, 2),
        "an ended job is not run again"
    );
}

#[test]
fn a_batch_costs_the_same_calls_however_large_it_is() {
    let calls = |count: u32| {
        let world = world(r#"{"load-balancer":false}"#);
        let states: Vec<Tracked> = (0..count)
            .map(|number| {
                let mut wanted = wanted();
                wanted.id = format!("a{number}");
                world
                    .account
                    .with(|table| table.allocation.clone_from(&wanted.id));
                tracked(
                    &wanted,
                    &write_state(&world.apply(&wanted, None).unwrap()).unwrap(),
                )
            })
            .collect();
        world.account.with(|table| table.calls.clear());
        assert_eq!(world.aws().look_at(&states).unwrap().len(), count as usize);
        world
            .account
            .with(|table| table.calls.values().sum::<u32>())
    };
    assert_eq!((calls(1), calls(50)), (1, 1));
}

#[test]
fn everything_of_ours_is_found_and_can_be_removed_with_what_is_found() {
    let world = world("{}");
    world.apply(&public(), None).unwrap();
    let found = world.aws().everything().unwrap();
    assert_eq!((found.len(), found[0].allocation.as_str()), (1, "a1"));
    assert_eq!(
        found[0].description,
        "2 instance(s) and a load balancer in us-east-1"
    );
    let state = read_state(&found[0].state).unwrap();
    assert_eq!(world.aws().remove("a1", &state).unwrap(), Destroyed::Going);
    assert_eq!(world.aws().remove("a1", &state).unwrap(), Destroyed::Gone);
    assert!(world.aws().everything().unwrap().is_empty());
}

#[test]
fn what_instances_can_not_do_is_refused_by_its_field() {
    type Change = fn(&mut Allocation);
    let table: [(Change, &str); 5] = [
        (|a| a.offer.size.clear(), "offer.id"),
        (|a| a.workload.command.clear(), "workload.command"),
        (
            |a| a.workload.stop_signal = "TERM\nExecStart=/bin/evil".into(),
            "workload.stop-signal",
        ),
        (|a| a.offer.region = "mars".into(), "settings.regions"),
        (
            |a| a.offer.labels[0].value = "arm64".into(),
            "settings.regions.us-east-1.image",
        ),
    ];
    for (change, field) in table {
        let mut odd = wanted();
        change(&mut odd);
        let error = Wanted::of(&odd, &settings("{}")).err().unwrap();
        assert_eq!(
            (error.kind, error.field.as_deref()),
            (ErrorKind::Invalid, Some(field))
        );
    }
    assert!(
        !Wanted::of(&wanted(), &settings("{}"))
            .unwrap()
            .user_data()
            .is_empty()
    );
}

#[test]
fn what_is_too_large_for_user_data_is_refused_by_its_largest_part() {
    let mut large = wanted();
    let var = |name: &str, size: usize| EnvVar {
        name: name.to_owned(),
        value: EnvValue::Text("x".repeat(size)),
    };
    large.workload.env = vec![var("SMALL", 10), var("BIG", 16_000)];
    let error = Wanted::of(&large, &settings("{}")).err().unwrap();
    assert_eq!(
        (error.kind, error.field.as_deref()),
        (ErrorKind::Invalid, Some("workload.env[1].value"))
    );
    assert!(
        error.message.contains("\"BIG\" has 16000") && error.message.contains("16384"),
        "{}",
        error.message
    );
    large.workload.env = vec![var("SMALL", 10), var("BIG", 8_000)];
    assert!(Wanted::of(&large, &settings("{}")).is_ok());
}
