//! Health checks.

use super::Found;
use tradewind_core::{
    field::{Path, short},
    manifest::{HealthSpec, PortSpec},
    names::PortName,
    units::Millis,
};

const DAY: Millis = Millis(86_400_000);

pub(super) fn health(
    found: &mut Found,
    spec: &HealthSpec,
    ports: &indexmap::IndexMap<PortName, PortSpec>,
    at: &Path,
) {
    let given = [
        spec.http.is_some(),
        spec.tcp == Some(true),
        !spec.command.is_empty(),
    ]
    .into_iter()
    .filter(|g| *g)
    .count();
    found.require(
        given == 1,
        || at.clone(),
        || match given {
            0 => "what to check is missing: give one of \"http\" (a path), \"tcp\" (true), \"command\" (a list)".to_owned(),
            n => format!("{n} checks in one: give exactly one of \"http\", \"tcp\", \"command\""),
        },
    );
    if let Some(path) = &spec.http {
        found.require(
            path.starts_with('/') && !path.chars().any(|c| c.is_whitespace() || c.is_control()),
            || at.clone().key("http"),
            || format!("\"{}\" is not a path to ask for: begin with \"/\" and use no spaces, such as /healthz", short(path)),
        );
    }
    let first_empty = spec.command.first().is_some_and(String::is_empty);
    found.require(
        !first_empty && !spec.command.iter().any(|c| c.contains('\0')),
        || at.clone().key("command"),
        || "not a command: begin with a program's name, and use no NUL".to_owned(),
    );
    super::task::sizes(found, &spec.command, &at.clone().key("command"));
    port(found, spec, ports, at);
    times(found, spec, at);
}

fn port(
    found: &mut Found,
    spec: &HealthSpec,
    ports: &indexmap::IndexMap<PortName, PortSpec>,
    at: &Path,
) {
    if !spec.command.is_empty() {
        found.require(
            spec.port.is_none(),
            || at.clone().key("port"),
            || "a command uses no port: leave it out".to_owned(),
        );
        return;
    }
    let names = || {
        ports
            .keys()
            .map(PortName::as_str)
            .collect::<Vec<_>>()
            .join(", ")
    };
    match &spec.port {
        Some(name) if !ports.contains_key(name) => {
            let hint = if ports.is_empty() {
                "describe it under \"ports\"".to_owned()
            } else {
                format!("use one of {}", names())
            };
            found.add(
                at.clone().key("port"),
                format!("there is no port \"{name}\": {hint}"),
            );
        }
        None if ports.is_empty() && (spec.http.is_some() || spec.tcp == Some(true)) => {
            found.add(at.clone(), "the check needs a port, and the service has none: add one under \"ports\", such as {http: 8080}");
        }
        _ => {}
    }
}

fn times(found: &mut Found, spec: &HealthSpec, at: &Path) {
    let mut within = |field: &str, value: Option<Millis>, least: Millis| {
        let Some(value) = value else { return };
        found.require(
            (least..=DAY).contains(&value),
            || at.clone().key(field),
            || format!("{value} is out of range: write {least} to {DAY}"),
        );
    };
    within("initialDelay", spec.initial_delay, Millis(0));
    within("interval", spec.interval, Millis(100));
    within("timeout", spec.timeout, Millis(1));
    for (field, value) in [
        ("healthyAfter", spec.healthy_after),
        ("unhealthyAfter", spec.unhealthy_after),
    ] {
        found.require(
            value.is_none_or(|v| (1..=1_000).contains(&v)),
            || at.clone().key(field),
            || {
                format!(
                    "{} checks in a row are out of range: write 1 to 1000",
                    value.unwrap_or(0)
                )
            },
        );
    }
}
