//! Deployments: the list, one, one in full, and what `apply` ends with.

use std::{collections::BTreeSet, fmt::Write};

use tradewind_api::{AllocationView, DeploymentSummary, DeploymentView, TaskView};
use tradewind_core::{image::split, rollout};

use super::{decision, endpoint, phase_mood, place, status_mood, stream};
use crate::{
    commands::Description,
    output::{Mood::Plain, Output},
};

pub(crate) fn list(out: &Output, items: &[DeploymentSummary]) -> String {
    if items.is_empty() {
        return "no deployments".to_owned();
    }
    let rows = items.iter().map(|d| {
        [
            out.cell(&d.namespace, Plain),
            out.cell(&d.name, Plain),
            out.cell(d.status, status_mood(d.status)),
            out.cell(format!("{}/{}", d.ready, d.replicas), Plain),
            out.cell(d.generation, Plain),
            out.cell(format!("{}/h", d.hourly_cost), Plain),
            out.cell(
                if d.places.is_empty() {
                    "-".to_owned()
                } else {
                    d.places.join(",")
                },
                Plain,
            ),
            out.cell(&d.message, Plain),
        ]
    });
    out.table(
        [
            "NAMESPACE",
            "NAME",
            "STATUS",
            "READY",
            "GENERATION",
            "COST",
            "PLACES",
            "MESSAGE",
        ],
        rows,
    )
}

pub(crate) fn one(out: &Output, view: &DeploymentView) -> String {
    format!(
        "{}\n\n{}",
        list(out, std::slice::from_ref(&view.summary)),
        allocations(out, &view.tasks)
    )
}

fn target(task: &TaskView) -> String {
    task.target.as_ref().map_or_else(
        || task.name.to_string(),
        |t| format!("{} at {t}", task.name),
    )
}

fn allocations(out: &Output, tasks: &[TaskView]) -> String {
    let row = |task: &TaskView, a: &AllocationView| {
        let endpoints: Vec<String> = a.endpoints.iter().map(endpoint).collect();
        [
            out.cell(target(task), Plain),
            out.cell(place(&a.provider, &a.region), Plain),
            out.cell(
                if a.spot {
                    format!("{} (spot)", a.size)
                } else {
                    a.size.clone()
                },
                Plain,
            ),
            out.cell(a.phase, phase_mood(a.phase)),
            out.cell(format!("{}/{}", a.ready, a.replicas), Plain),
            out.cell(format!("{}/h", a.hourly_cost), Plain),
            out.cell(endpoints.join(" "), Plain),
            out.cell(
                if a.superseded {
                    after("being replaced", &a.message)
                } else {
                    a.message.clone()
                },
                Plain,
            ),
        ]
    };
    let mut rows: Vec<_> = tasks
        .iter()
        .flat_map(|t| t.allocations.iter().map(|a| row(t, a)).collect::<Vec<_>>())
        .collect();
    for task in tasks.iter().filter(|t| t.allocations.is_empty()) {
        let dash = || out.cell("-", Plain);
        let status = out.cell(task.status, status_mood(task.status));
        let ready = out.cell(format!("{}/{}", task.ready, task.replicas), Plain);
        rows.push([
            out.cell(target(task), Plain),
            dash(),
            dash(),
            status,
            ready,
            dash(),
            dash(),
            out.cell(&task.message, Plain),
        ]);
    }
    out.table(
        [
            "TASK",
            "PLACE",
            "SIZE",
            "PHASE",
            "READY",
            "COST",
            "ENDPOINTS",
            "MESSAGE",
        ],
        rows,
    )
}

/// What is known of something, and what its provider says of it, if it does.
fn after(known: &str, told: &str) -> String {
    match told.trim() {
        "" => known.to_owned(),
        told => format!("{known}: {told}"),
    }
}

fn replicas(out: &Output, tasks: &[TaskView]) -> String {
    let rows = tasks.iter().flat_map(|t| {
        t.allocations.iter().flat_map(move |a| {
            a.replica_status.iter().map(move |r| {
                let endpoints: Vec<String> = r.endpoints.iter().map(endpoint).collect();
                let since = r
                    .started_at
                    .map(|at| at.to_string())
                    .unwrap_or_else(|| "-".to_owned());
                let message = match r.exit_code {
                    Some(code) => after(&format!("exit code {code}"), &r.message),
                    None => r.message.clone(),
                };
                [
                    out.cell(format!("{}/{}", t.name, r.index), Plain),
                    out.cell(place(&a.provider, &a.region), Plain),
                    out.cell(&r.id, Plain),
                    out.cell(r.phase, phase_mood(r.phase)),
                    out.cell(r.health.as_str(), Plain),
                    out.cell(r.restarts, Plain),
                    out.cell(since, Plain),
                    out.cell(endpoints.join(" "), Plain),
                    out.cell(message.trim(), Plain),
                ]
            })
        })
    });
    let rows: Vec<_> = rows.collect();
    if rows.is_empty() {
        return String::new();
    }
    out.table(
        [
            "REPLICA",
            "PLACE",
            "ID",
            "PHASE",
            "HEALTH",
            "RESTARTS",
            "STARTED",
            "ENDPOINTS",
            "MESSAGE",
        ],
        rows,
    )
}

/// How a task follows its load.
fn scale(task: &TaskView) -> Option<String> {
    let scale = task.scale.as_ref()?;
    let since = scale
        .changed_at
        .map(|at| format!(" since {at}"))
        .unwrap_or_default();
    let why = if scale.why.is_empty() {
        "as it began"
    } else {
        scale.why.as_str()
    };
    Some(format!(
        "{}: {} of {} to {}{since}: {why}",
        target(task),
        task.replicas,
        scale.min,
        scale.max
    ))
}

/// The last word of `apply`: where it answers, and what it waits for.
pub(crate) fn outcome(view: &DeploymentView) -> String {
    let d = &view.summary;
    let mut text = format!(
        "deployment \"{}\" is {}: {}/{} ready, {}/h",
        d.name, d.status, d.ready, d.replicas, d.hourly_cost
    );
    // Between two steps of an update both sides answer.
    let waits = view
        .rollout
        .as_ref()
        .is_some_and(|r| r.status == rollout::Status::Waiting);
    // Writing to a String does not fail.
    if waits {
        let _ = write!(text, "\n  {}", d.message);
    }
    for task in &view.tasks {
        for a in task.allocations.iter().filter(|a| waits || !a.superseded) {
            for e in &a.endpoints {
                let before = if a.superseded {
                    " (before the update)"
                } else {
                    ""
                };
                let _ = write!(
                    text,
                    "\n  {} {} {}{before}",
                    task.name,
                    place(&a.provider, &a.region),
                    endpoint(e)
                );
            }
        }
    }
    text
}

pub(crate) fn describe(out: &Output, d: &Description) -> String {
    let view = &d.deployment;
    let s = &view.summary;
    let mut head = vec![
        ("Name", s.name.to_string()),
        ("Namespace", s.namespace.to_string()),
        ("Status", s.status.to_string()),
        ("Message", s.message.clone()),
        (
            "Generation",
            format!("{} (observed {})", s.generation, view.observed_generation),
        ),
        ("Ready", format!("{} of {}", s.ready, s.replicas)),
        ("Cost", format!("{} per hour", s.hourly_cost)),
        ("Created", s.created_at.to_string()),
        ("Updated", view.updated_at.to_string()),
    ];
    let spec = &view.manifest.spec;
    head.extend(spec.policy.as_ref().map(|p| ("Policy", p.to_string())));
    head.push(("Priority", spec.priority.to_string()));
    head.retain(|(_, value)| !value.is_empty());
    let mut parts = vec![
        head.iter()
            .map(|(name, value)| format!("{name:<11}{value}"))
            .collect::<Vec<_>>()
            .join("\n"),
    ];
    parts.push(format!("Tasks\n{}", tasks(out, view)));
    parts.push(format!("Allocations\n{}", allocations(out, &view.tasks)));
    let replicas = replicas(out, &view.tasks);
    if !replicas.is_empty() {
        parts.push(format!("Replicas\n{replicas}"));
    }
    let scales: Vec<String> = view.tasks.iter().filter_map(scale).collect();
    if !scales.is_empty() {
        parts.push(format!("Scaling\n{}", scales.join("\n")));
    }
    let warnings: BTreeSet<&str> = view
        .tasks
        .iter()
        .flat_map(|t| &t.allocations)
        .flat_map(|a| &a.warnings)
        .map(String::as_str)
        .collect();
    if !warnings.is_empty() {
        parts.push(format!(
            "Warnings\n{}",
            warnings.into_iter().collect::<Vec<_>>().join("\n")
        ));
    }
    for failure in view
        .tasks
        .iter()
        .filter_map(|t| t.failure.as_ref().map(|f| (t, f)))
    {
        parts.push(format!(
            "Last failure of {}\n{}",
            target(failure.0),
            stream::failure(failure.1)
        ));
    }
    if let Some(last) = &d.decision {
        let own = last
            .tasks
            .iter()
            .filter(|t| t.deployment == s.name && t.namespace == s.namespace);
        let reasons: Vec<String> = own.map(|t| decision::reason(out, t)).collect();
        parts.push(format!(
            "Last decision\n{}\n{}",
            decision::head(last),
            reasons.join("\n")
        ));
    }
    if !d.events.is_empty() {
        parts.push(format!(
            "Events\n{}",
            d.events
                .iter()
                .map(stream::event)
                .collect::<Vec<_>>()
                .join("\n")
        ));
    }
    parts.join("\n\n")
}

/// An image with the digest that its replicas run, or with all of them where they differ.
fn with_digest(image: &str, task: &TaskView) -> String {
    let runs = task
        .allocations
        .iter()
        .filter(|a| !a.superseded)
        .flat_map(|a| &a.images);
    let mut digests: Vec<String> = Vec::new();
    for digest in runs
        .map(|r| split(r))
        .filter(|(name, _)| *name == split(image).0)
        .filter_map(|(_, digest)| digest)
    {
        if !digests.contains(&digest.short()) {
            digests.push(digest.short());
        }
    }
    match digests.is_empty() || image.contains('@') {
        true => image.to_owned(),
        false => format!("{image} ({})", digests.join(", ")),
    }
}

fn tasks(out: &Output, view: &DeploymentView) -> String {
    let spec = &view.manifest.spec;
    let rows = view.tasks.iter().map(|t| {
        let service = spec
            .services
            .get(t.name.as_str())
            .map(|s| (&s.resources, &s.image, &s.command));
        let job = || {
            spec.jobs
                .get(t.name.as_str())
                .map(|j| (&j.resources, &j.image, &j.command))
        };
        let (needs, runs) = match service.or_else(job) {
            Some((r, image, command)) => {
                let runs = image
                    .as_ref()
                    .map_or_else(|| command.join(" "), |image| with_digest(image, t));
                (format!("{} cpu, {}", r.cpu, r.memory), runs)
            }
            None => ("-".to_owned(), "-".to_owned()),
        };
        [
            out.cell(target(t), Plain),
            out.cell(&t.kind, Plain),
            out.cell(t.status, status_mood(t.status)),
            out.cell(format!("{}/{}", t.ready, t.replicas), Plain),
            out.cell(needs, Plain),
            out.cell(runs, Plain),
            out.cell(&t.message, Plain),
        ]
    });
    out.table(
        [
            "TASK", "KIND", "STATUS", "READY", "NEEDS", "RUNS", "MESSAGE",
        ],
        rows,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_facts_of_one_cell_are_told_apart() {
        assert_eq!(
            after("exit code 3", "ended with status 3"),
            "exit code 3: ended with status 3"
        );
        assert_eq!(after("being replaced", " "), "being replaced");
    }
}
