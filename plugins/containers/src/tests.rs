//! The provider's logic on the SDK's table of containers.

use tradewind_plugin_sdk::{
    ErrorKind,
    testing::{self, Containers as Table, allocation, tracked},
    types::{Check, Health, HttpCheck, Job, Phase, Probe, Run},
};

use super::*;

fn on(table: &Table, settings: &str) -> Engine<Table> {
    Engine::on(table.clone(), serde_json::from_str(settings).unwrap())
}

fn image(id: &str, replicas: u32) -> Allocation {
    let mut wanted = allocation(id, "engine", replicas);
    wanted.workload.image = Some("registry.example.com/web:1".to_owned());
    wanted
}

fn probe(check: Check) -> Option<Probe> {
    Some(Probe {
        check,
        initial_delay: 0,
        interval: 1000,
        timeout: 500,
        healthy_after: 1,
        unhealthy_after: 3,
    })
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
        ("engine", "home", 40_000, 5_000)
    );
    assert!(offer.shared && offer.price_unit == PriceUnit::Cpu && offer.free_cpu == 4000);
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
    assert!(
        offer.labels.contains(&("os".to_owned(), "mine".to_owned()))
            && offer
                .labels
                .contains(&("engine".to_owned(), "podman".to_owned()))
    );
}

#[test]
fn apply_is_idempotent_resizes_updates_and_destroy_answers_going_until_gone() {
    let table = Table::default();
    let provider = on(&table, "{}");
    let mut wanted = image("a1", 3);
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

    wanted.workload.image = Some("registry.example.com/web:2".to_owned());
    let state = provider.apply(&wanted, Some(&state)).unwrap();
    assert_eq!(
        (table.starts(), table.spec("a1", 0).unwrap().image.as_str()),
        (4, "registry.example.com/web:2")
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
fn one_question_tells_of_all_allocations() {
    let (table, provider) = (Table::default(), on(&Table::default(), "{}"));
    let provider = Engine {
        host: table.clone(),
        ..provider
    };
    let all: Vec<_> = (0..50).map(|i| image(&format!("a{i}"), 2)).collect();
    let tracked: Vec<_> = all
        .iter()
        .map(|a| tracked(a, &provider.apply(a, None).unwrap()))
        .collect();
    table.set("a7", 1, |status| status.health = Health::Unhealthy);
    table.lose("a9", 0);
    let seen = provider.observe(&tracked).unwrap();
    assert_eq!((seen.len(), table.questions()), (50, 1));
    assert_eq!(
        (seen[7].replicas[1].health, seen[9].replicas[0].phase),
        (Health::Unhealthy, Phase::Gone)
    );
    assert_eq!(
        seen[9].message,
        "replica 0: its container does not exist any more"
    );
}

#[test]
fn what_a_tag_named_is_told_once_for_all_that_run_it() {
    let table = Table::default();
    let provider = on(&table, "{}");
    let web = image("a1", 3);
    let state = provider.apply(&web, None).unwrap();
    let told = || {
        provider
            .observe(&[tracked(&web, &state)])
            .unwrap()
            .remove(0)
            .conditions
    };
    assert!(told().is_empty(), "an engine that does not tell");
    (0..3).for_each(|replica| {
        table.set("a1", replica, |status| {
            status.image = "web:1@sha256:aa".to_owned()
        })
    });
    assert_eq!(
        (told()[0].met, told()[0].message.as_str()),
        (true, "web:1@sha256:aa")
    );
    table.set("a1", 2, |status| {
        status.image = "web:1@sha256:bb".to_owned()
    });
    assert_eq!(
        (told()[0].met, told()[0].message.as_str()),
        (false, "web:1@sha256:aa web:1@sha256:bb")
    );
}

#[test]
fn settings_and_the_workload_make_the_container() {
    let table = Table::default();
    let mut wanted = image("s", 1);
    wanted.workload.probes.readiness = probe(Check::Command(vec!["check".to_owned()]));
    on(&table, r#"{"network":"host","pull":"always","restarts":0}"#)
        .apply(&wanted, None)
        .unwrap();
    let spec = table.spec("s", 0).unwrap();
    assert!(spec.host_network && !spec.privileged && spec.health.is_some());
    assert_eq!(
        (spec.restarts, spec.resources.cpu, spec.limits),
        (0, 1000, None)
    );

    let http = HttpCheck {
        port: "http".to_owned(),
        path: "/".to_owned(),
        headers: vec![],
        status_min: 200,
        status_max: 299,
    };
    (wanted.id, wanted.workload.run) = (
        "j".to_owned(),
        Run::Job(Job {
            retries: 2,
            deadline: Some(5000),
        }),
    );
    wanted.workload.probes.readiness = probe(Check::Http(http));
    on(&table, "{}").apply(&wanted, None).unwrap();
    let spec = table.spec("j", 0).unwrap();
    assert!(
        !spec.host_network && spec.health.is_none(),
        "checks over the network are the daemon's"
    );
    assert_eq!(
        spec.run,
        Run::Job(Job {
            retries: 2,
            deadline: Some(5000)
        })
    );
}

#[test]
fn a_refused_start_leaves_nothing_behind_and_owned_finds_what_runs() {
    let table = Table::default();
    let provider = on(&table, "{}");
    provider.apply(&image("a", 3), None).unwrap();
    provider.apply(&image("b", 1), None).unwrap();
    let owned: Vec<_> = provider
        .owned()
        .unwrap()
        .into_iter()
        .map(|found| (found.allocation, found.description))
        .collect();
    assert_eq!(
        owned,
        [
            ("a".to_owned(), "3 container(s)".to_owned()),
            ("b".to_owned(), "1 container(s)".to_owned())
        ]
    );
    table.refuse(Some(Error::out_of_capacity("full")));
    assert_eq!(
        provider.apply(&image("c", 2), None).unwrap_err().kind,
        ErrorKind::OutOfCapacity
    );
    assert_eq!(provider.owned().unwrap().len(), 2);
}

#[test]
fn what_a_container_can_not_have_is_refused_by_its_field() {
    let refused = |change: &dyn Fn(&mut Allocation)| {
        let mut wanted = image("a", 1);
        change(&mut wanted);
        let error = on(&Table::default(), "{}")
            .apply(&wanted, None)
            .unwrap_err();
        assert_eq!(error.kind, ErrorKind::Invalid);
        error.field.unwrap()
    };
    assert_eq!(refused(&|a| a.workload.image = None), "workload.image");
    let command = |word: &str| probe(Check::Command(vec![word.to_owned()]));
    let two = |a: &mut Allocation| {
        (a.workload.probes.readiness, a.workload.probes.liveness) = (command("a"), command("b"))
    };
    assert_eq!(refused(&two), "workload.probes");
}
