//! Scaling by load: bounds, and what can wake a task that has no replicas.

use super::{Found, MAX_REPLICAS};
use tradewind_core::{
    field::Path,
    manifest::{MetricTarget, ScaleSpec},
    scaling::{CPU, REQUESTS},
    units::{Millis, Percent},
};

const DAY: Millis = Millis(86_400_000);
const MOST: f64 = 1e12;

pub(super) fn service(found: &mut Found, spec: &ScaleSpec, at: &Path) {
    common(found, spec, at);
    let target = &spec.target;
    found.require(
        target.cpu.is_some() || target.requests.is_some() || target.metric.is_some(),
        || at.clone().key("target"),
        || "what to follow is missing: give at least one of \"cpu\" (such as 70%), \"requests\" (such as 100), \"metric\"".to_owned(),
    );
    found.require(
        spec.min > 0 || target.cpu.is_none() || target.requests.is_some() || target.metric.is_some(),
        || at.clone().key("min"),
        || "nothing could wake it: what has no replicas uses no processor; write at least 1, or add \"requests\" or \"metric\"".to_owned(),
    );
}

pub(super) fn job(found: &mut Found, spec: &ScaleSpec, at: &Path) {
    common(found, spec, at);
    let target = || at.clone().key("target");
    found.require(spec.target.metric.is_some(), target, || {
        "a job follows the work that waits for it: give \"metric\", such as {name: queue-depth, value: 5}".to_owned()
    });
    for (field, given) in [
        ("cpu", spec.target.cpu.is_some()),
        ("requests", spec.target.requests.is_some()),
    ] {
        found.require(
            !given,
            || target().key(field),
            || format!("\"{field}\" is for services: a job follows a \"metric\""),
        );
    }
}

fn common(found: &mut Found, spec: &ScaleSpec, at: &Path) {
    found.require(
        (1..=MAX_REPLICAS).contains(&spec.max),
        || at.clone().key("max"),
        || {
            format!(
                "{} replicas at most are out of range: write 1 to {MAX_REPLICAS}",
                spec.max
            )
        },
    );
    found.require(
        spec.min <= spec.max,
        || at.clone().key("min"),
        || format!("at least {} and at most {} replicas contradict each other: write a \"min\" up to \"max\"", spec.min, spec.max),
    );
    found.require(
        spec.idle.is_none() || spec.min == 0,
        || at.clone().key("idle"),
        || {
            "it never goes to zero, for \"min\" is above 0: write \"min: 0\", or leave \"idle\" out"
                .to_owned()
        },
    );
    for (field, value, least) in [
        ("idle", spec.idle, Millis(1)),
        ("up", Some(spec.stabilization.up), Millis(0)),
        ("down", Some(spec.stabilization.down), Millis(0)),
    ] {
        let path = || {
            if field == "idle" {
                at.clone().key(field)
            } else {
                at.clone().key("stabilization").key(field)
            }
        };
        found.require(
            value.is_none_or(|v| (least..=DAY).contains(&v)),
            path,
            || {
                format!(
                    "{} is out of range: write {least} to {DAY}",
                    value.unwrap_or_default()
                )
            },
        );
    }
    for (field, value, most) in [
        ("tolerance", spec.tolerance, Percent(50)),
        ("maxStep", spec.max_step, Percent(1_000)),
    ] {
        found.require(
            value.is_none_or(|v| v <= most),
            || at.clone().key(field),
            || {
                format!(
                    "{} is out of range: write at most {most}",
                    value.unwrap_or_default()
                )
            },
        );
    }
    targets(found, spec, &at.clone().key("target"));
}

fn targets(found: &mut Found, spec: &ScaleSpec, at: &Path) {
    let cpu = spec.target.cpu;
    found.require(
        cpu.is_none_or(|c| (1..=1_000).contains(&c.0)),
        || at.clone().key("cpu"),
        || {
            format!(
                "{} is out of range: write 1% to 1000%",
                cpu.unwrap_or_default()
            )
        },
    );
    let number = |found: &mut Found, value: f64, path: Path| {
        found.require(
            value > 0.0 && value <= MOST,
            || path,
            || format!("{value} is out of range: write more than 0, up to {MOST}"),
        );
    };
    if let Some(requests) = spec.target.requests {
        number(found, requests, at.clone().key("requests"));
    }
    if let Some(MetricTarget { name, value }) = &spec.target.metric {
        let at = at.clone().key("metric");
        number(found, *value, at.clone().key("value"));
        found.require(
            ![CPU, REQUESTS].contains(&name.as_str()),
            || at.key("name"),
            || format!("\"{name}\" has a target of its own: give \"{name}\" beside \"metric\", or choose another name"),
        );
    }
}
