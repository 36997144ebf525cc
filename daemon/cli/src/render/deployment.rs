//! Deployments: the list, one, one in full, and what `apply` ends with.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
};

use tradewind_api::{AllocationView, DeploymentSummary, DeploymentView, TaskView};
use tradewind_core::{
    cron::RunOutcome,
    image::split,
    rollout,
    units::{Instant, MicroUsd},
};

use super::{
    dash, decision, endpoint, money, offers::sized, phase_mood, place, status_mood, stream,
};
use crate::{
    commands::Description,
    output::{
        Column,
        Mood::{self, Plain},
        Output, Table, counted, grouped,
    },
};

pub(crate) fn table(out: &Output, items: &[DeploymentSummary]) -> Table {
    let rows = items.iter().map(|d| {
        let share = if d.replicas == 0 {
            1.0
        } else {
            f64::from(d.ready) / f64::from(d.replicas)
        };
        let places = if d.places.is_empty() {
            "-".to_owned()
        } else {
            d.places.join(",")
        };
        [
            out.cell(&d.namespace, Plain),
            out.cell(&d.name, Plain),
            out.cell(d.status, status_mood(d.status)),
            out.cell(format!("{}/{}", d.ready, d.replicas), Plain)
                .key(share),
            out.count(d.generation),
            out.cell(places, Plain),
            out.rate(d.hourly_cost),
            out.age(d.created_at),
            out.cell(&d.message, Plain),
        ]
    });
    let several = out.tells_namespace(items.iter().map(|d| d.namespace.as_str()));
    let columns = [
        Column::new("NAMESPACE").key().shown_if(several),
        Column::new("NAME").key(),
        Column::new("STATUS").key(),
        Column::new("READY").right().key(),
        Column::new("GENERATION").right().wide(),
        Column::new("PLACES").spare(),
        Column::new("COST").right().spare(),
        Column::new("AGE").right(),
        Column::new("MESSAGE").sentence().filled(),
    ];
    Table::new(columns, rows)
        .named(items.iter().map(|d| out.name(&d.namespace, &d.name)))
        .or("no deployments")
        .summed_up((items.len() > 1).then(|| summary(items)))
}

/// `2,000 deployments: 1,998 running, 2 degraded; $4.04/h`.
fn summary(items: &[DeploymentSummary]) -> String {
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for d in items {
        *counts.entry(d.status.to_string()).or_default() += 1;
    }
    let mut counts: Vec<(String, u64)> = counts.into_iter().collect();
    counts.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    let counts: Vec<String> = counts
        .into_iter()
        .map(|(status, n)| format!("{} {status}", grouped(n)))
        .collect();
    let cost = items
        .iter()
        .fold(MicroUsd(0), |sum, d| sum.saturating_add(d.hourly_cost));
    format!(
        "{}: {}; {}/h",
        counted(items.len() as u64, "deployment", "deployments"),
        counts.join(", "),
        money(cost)
    )
}

pub(crate) fn one(out: &Output, view: &DeploymentView) -> String {
    format!(
        "{}\n\n{}",
        out.draw(&table(out, std::slice::from_ref(&view.summary))),
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
            out.cell(sized(&a.size, a.spot), Plain),
            out.cell(a.phase, phase_mood(a.phase)),
            out.cell(format!("{}/{}", a.ready, a.replicas), Plain),
            out.rate(a.hourly_cost),
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
        let dash = || dash(out);
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
            Column::new("TASK").key(),
            Column::new("PLACE").key(),
            Column::new("SIZE").spare(),
            Column::new("PHASE").key(),
            Column::new("READY").right().key(),
            Column::new("COST").right().spare(),
            Column::new("ENDPOINTS").filled(),
            Column::new("MESSAGE").sentence().filled(),
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
                    out.count(r.restarts.into()),
                    r.started_at.map_or_else(|| dash(out), |at| out.ago(at)),
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
            Column::new("REPLICA").key(),
            Column::new("PLACE").spare(),
            Column::new("ID").wide(),
            Column::new("PHASE").key(),
            Column::new("HEALTH").key(),
            Column::new("RESTARTS").right(),
            Column::new("STARTED"),
            Column::new("ENDPOINTS").filled(),
            Column::new("MESSAGE").sentence().filled(),
        ],
        rows,
    )
}

/// When a job runs, and how its runs have ended.
fn schedule(out: &Output, task: &TaskView) -> Option<String> {
    let schedule = task.schedule.as_ref()?;
    let next = match schedule.next {
        Some(next) => format!("next {}", out.at(next)),
        None => "suspended".to_owned(),
    };
    let head = format!(
        "{}: {} ({}), {next}",
        task.name, schedule.cron, schedule.time_zone
    );
    if schedule.runs.is_empty() {
        return Some(format!("{head}, no run yet"));
    }
    let rows = schedule.runs.iter().map(|run| {
        let (outcome, mood) = match run.outcome {
            None => ("running", Mood::Busy),
            Some(RunOutcome::Succeeded) => ("succeeded", Mood::Good),
            Some(RunOutcome::Failed) => ("failed", Mood::Bad),
            Some(RunOutcome::Replaced) => ("replaced", Plain),
        };
        let scheduled = run
            .scheduled_at
            .map_or_else(|| "by hand".to_owned(), |at| out.at(at));
        let took = match run.ended_at {
            Some(end) => out.span(end.since(run.began_at)),
            None => dash(out),
        };
        [
            out.cell(scheduled, Plain),
            out.ago(run.began_at),
            took,
            out.cell(outcome, mood),
        ]
    });
    let table = out.table(["SCHEDULED", "BEGAN", "TOOK", "OUTCOME"], rows);
    Some(format!("{head}\n{table}"))
}

/// How a task follows its load.
fn scale(out: &Output, task: &TaskView) -> Option<String> {
    let scale = task.scale.as_ref()?;
    let since = scale
        .changed_at
        .map(|at| format!(" since {}", out.at(at)))
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
        d.name,
        d.status,
        d.ready,
        d.replicas,
        money(d.hourly_cost)
    );
    // Between two steps of an update both sides answer.
    let waits = view
        .rollout
        .as_ref()
        .is_some_and(|r| matches!(r.status, rollout::Status::Waiting | rollout::Status::Paused));
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

/// When, and how long ago.
fn both(out: &Output, at: Instant) -> String {
    format!("{} ({})", out.at(at), out.since(at))
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
        ("Cost", format!("{} per hour", money(s.hourly_cost))),
        ("Created", both(out, s.created_at)),
        ("Updated", both(out, view.updated_at)),
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
    let schedules: Vec<String> = view
        .tasks
        .iter()
        .filter_map(|task| schedule(out, task))
        .collect();
    if !schedules.is_empty() {
        parts.push(format!("Schedules\n{}", schedules.join("\n")));
    }
    let scales: Vec<String> = view.tasks.iter().filter_map(|t| scale(out, t)).collect();
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
            decision::head(out, last),
            reasons.join("\n")
        ));
    }
    if !d.events.is_empty() {
        parts.push(format!(
            "Events\n{}",
            out.draw(&stream::events(out, &d.events))
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
            Column::new("TASK").key(),
            Column::new("KIND").spare(),
            Column::new("STATUS").key(),
            Column::new("READY").right().key(),
            Column::new("NEEDS").spare(),
            Column::new("RUNS").sentence(),
            Column::new("MESSAGE").sentence().filled(),
        ],
        rows,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{args::Form, output::Size};

    fn deployment(namespace: &str, name: &str, status: &str, message: &str) -> DeploymentSummary {
        serde_json::from_value(serde_json::json!({
            "namespace": namespace, "name": name, "generation": 3, "status": status, "ready": 1, "replicas": 2,
            "places": ["north/eu-north-1", "south/eu-south-1"], "hourlyCost": "0.0815", "message": message,
            "createdAt": "2026-01-01T00:00:00Z",
        }))
        .unwrap()
    }

    /// What `get` prints, without the ages.
    fn printed(size: fn() -> Option<Size>, form: Form, items: &[DeploymentSummary]) -> Vec<String> {
        let out = Output::of_size(form, size);
        let text = out.listing(&table(&out, items));
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_list_fits_its_terminal_and_is_summed_up_there() {
        let why = "web/0 ends again and again: exit status 1, last line: no such file or directory";
        let items = [
            deployment("default", "web", "degraded", why),
            deployment("default", "a-name-of-some-length", "running", ""),
        ];
        let narrow = printed(
            || {
                Some(Size {
                    columns: 80,
                    lines: 24,
                })
            },
            Form::Table,
            &items,
        );
        assert!(
            narrow.iter().all(|line| line.chars().count() <= 80),
            "{narrow:#?}"
        );
        assert!(
            narrow[0].starts_with("NAME                   STATUS    READY"),
            "{narrow:#?}"
        );
        assert!(
            narrow[0].contains("MESSAGE") && narrow[0].ends_with('…'),
            "{narrow:#?}"
        );
        assert!(
            narrow[1].ends_with('…') && !narrow[0].contains("PLACES"),
            "{narrow:#?}"
        );
        assert_eq!(
            narrow[3..],
            ["", "2 deployments: 1 degraded, 1 running; $0.163/h"]
        );

        let broad = printed(
            || {
                Some(Size {
                    columns: 160,
                    lines: 24,
                })
            },
            Form::Table,
            &items,
        );
        assert!(
            broad[0].contains("PLACES") && broad[0].contains("COST") && !broad[0].ends_with('…'),
            "{broad:#?}"
        );
        let piped = printed(|| None, Form::Table, &items);
        assert!(piped.len() == 3 && piped[1].ends_with(why), "{piped:#?}");
        let wide = printed(
            || {
                Some(Size {
                    columns: 80,
                    lines: 24,
                })
            },
            Form::Wide,
            &items,
        );
        assert!(
            wide[0].starts_with("NAMESPACE") && wide[1].contains("2026-01-01T00:00:00Z"),
            "{wide:#?}"
        );

        let elsewhere = [deployment("team", "web", "running", "")];
        let seen = printed(|| None, Form::Table, &elsewhere);
        assert!(
            seen[0].starts_with("NAMESPACE"),
            "it is not where commands look: {seen:#?}"
        );
        assert_eq!(printed(|| None, Form::Table, &[]), ["no deployments"]);
    }

    #[test]
    fn two_facts_of_one_cell_are_told_apart() {
        assert_eq!(
            after("exit code 3", "ended with status 3"),
            "exit code 3: ended with status 3"
        );
        assert_eq!(after("being replaced", " "), "being replaced");
    }
}
