//! The document of a namespace: what is read as what, and what is refused with which path.
#![allow(clippy::expect_used, reason = "a test that can't go on fails")]

use tradewind_core::{
    manifest::namespace::{Action, Document, Spec},
    units::{Bytes, MicroUsd, MilliCpu},
};
use tradewind_manifest::{Format, Invalid, parse_namespace};

const HEAD: &str = "apiVersion: tradewind.dev/v1\nkind: Namespace\nmetadata: {name: team}\n";

fn read(spec: &str) -> Result<Document, Vec<(String, String)>> {
    let text = format!("{HEAD}spec: {spec}\n");
    let problems = |e: Invalid| {
        e.problems
            .into_iter()
            .map(|p| (p.path, p.message))
            .collect()
    };
    parse_namespace(text.as_bytes(), Format::Yaml).map_err(problems)
}

#[test]
fn limits_are_written_as_in_manifests() {
    let spec = read(
        "{budget: {hourly: 0.50, monthly: $300, onExceeded: [stepDown, evict]}, quota: {cpu: 4, memory: 64Gi, replicas: 9}}",
    );
    let spec = spec.expect("valid").spec;
    let budget = spec.budget.expect("a budget");
    assert_eq!(
        (budget.hourly, budget.monthly),
        (Some(MicroUsd(500_000)), Some(MicroUsd(300_000_000)))
    );
    assert_eq!(budget.on_exceeded.0, [Action::StepDown, Action::Evict]);
    assert_eq!(
        (spec.quota.cpu, spec.quota.memory, spec.quota.replicas),
        (Some(MilliCpu(4000)), Some(Bytes(64 << 30)), Some(9))
    );
    let one = read("{budget: {hourly: 1, onExceeded: evict}}")
        .expect("valid")
        .spec
        .budget
        .expect("a budget");
    assert_eq!(one.on_exceeded.0, [Action::Evict]);
    assert_eq!(
        parse_namespace(HEAD.as_bytes(), Format::Yaml)
            .expect("no limits")
            .spec,
        Spec::default()
    );
}

#[test]
fn what_makes_no_sense_is_refused_with_its_path() {
    let cases = [
        ("{budget: {}}", "spec.budget", "hourly"),
        (
            "{budget: {hourly: 1, onExceeded: []}}",
            "spec.budget.onExceeded",
            "at least one",
        ),
        (
            "{budget: {hourly: 1, onExceeded: [queue, evict]}}",
            "spec.budget.onExceeded",
            "last",
        ),
        (
            "{budget: {hourly: 1, onExceeded: [evict, evict]}}",
            "spec.budget.onExceeded",
            "twice",
        ),
        (
            "{budget: {hourly: 1, onExceeded: evikt}}",
            "spec.budget.onExceeded",
            "did you mean \"evict\"",
        ),
        (
            "{budget: {hourly: cheap}}",
            "spec.budget.hourly",
            "\"cheap\"",
        ),
        (
            "{quota: {cpus: 4}}",
            "spec.quota.cpus",
            "did you mean \"cpu\"",
        ),
        (
            "{replacement: {minShare: 120%}}",
            "spec.replacement.minShare",
            "at most 100%",
        ),
    ];
    for (spec, path, told) in cases {
        let problems = read(spec).expect_err(spec);
        let found = problems.iter().any(|(p, m)| p == path && m.contains(told));
        assert!(found, "{spec}: {problems:?}");
    }
}
