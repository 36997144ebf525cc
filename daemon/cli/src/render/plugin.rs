//! Plugin instances, what a reload did, and component files.

use tradewind_api::{FolderProblem, Plugin, PluginState, PluginView, ReloadReport};
use tradewind_core::grant::FREE;

use super::{dash, micros, span, stream};
use crate::output::{Cell, Column, Mood, Mood::Plain, Output, Table, counted};

fn state(state: PluginState) -> (&'static str, Mood) {
    match state {
        PluginState::Active => ("active", Mood::Good),
        PluginState::Compiling => ("compiling", Mood::Busy),
        PluginState::Draining => ("draining", Mood::Busy),
        PluginState::Rejected => ("rejected", Mood::Bad),
        PluginState::Removed => ("removed", Mood::Plain),
    }
}

pub(crate) fn table(out: &Output, plugins: &[PluginView]) -> Table {
    let columns = [
        Column::new("NAME").key(),
        Column::new("KIND"),
        Column::new("STATE").key(),
        Column::new("PLUGIN").wide(),
        Column::new("VERSION").spare(),
        Column::new("DIGEST").wide(),
        Column::new("GRANTS").wide(),
        Column::new("CALLS").right().wide(),
        Column::new("FAILURES").right().wide(),
        Column::new("AVERAGE").right().wide(),
        Column::new("NOTE").sentence(),
    ];
    Table::new(columns, plugins.iter().map(|p| row(out, p)))
        .named(plugins.iter().map(|p| p.instance.to_string()))
        .or("no plugins: put components into the plugin folder (the setting \"plugins\")")
}

/// Files of the plugin folder that nothing can be made of.
pub(crate) fn problems(problems: &[FolderProblem]) -> String {
    let lines: Vec<String> = problems
        .iter()
        .map(|p| format!("{}: {}", p.file, p.reason))
        .collect();
    lines.join("\n")
}

fn row(out: &Output, p: &PluginView) -> [Cell; 11] {
    let dash = || "-".to_owned();
    let (text, mood) = state(p.state);
    let current = p.last_rejection.as_ref().filter(|r| r.current);
    let note = match (current, p.pinned) {
        _ if p.compiling && p.state != PluginState::Compiling => {
            "a new version is compiled".to_owned()
        }
        (Some(rejection), _) => format!("refused: {}", rejection.reason),
        (None, true) => "rolled back".to_owned(),
        (None, false) => String::new(),
    };
    let identity = p.identity.as_ref();
    let s = &p.statistics;
    [
        out.cell(&p.instance, Plain),
        out.cell(p.kind.map_or_else(dash, |k| k.to_string()), Plain),
        out.cell(text, mood),
        out.cell(identity.map_or_else(dash, |i| i.plugin.clone()), Plain),
        out.cell(identity.map_or_else(dash, |i| i.version.clone()), Plain),
        out.cell(identity.map_or_else(dash, |i| i.component.short()), Plain),
        out.cell(
            if p.grants.is_empty() {
                dash()
            } else {
                p.grants.join(",")
            },
            Plain,
        ),
        out.count(s.calls),
        out.cell(s.failures, if s.failures > 0 { Mood::Bad } else { Plain })
            .key(s.failures as f64),
        out.cell(micros(s.average_micros), Plain)
            .key(s.average_micros as f64),
        out.cell(note, if current.is_some() { Mood::Bad } else { Plain }),
    ]
}

pub(crate) fn inspected(out: &Output, p: &Plugin) -> String {
    let degraded = p.degraded.as_ref().map(|d| {
        format!(
            "degraded since {}: {}",
            out.at(d.since),
            stream::failure(&d.cause)
        )
    });
    [degraded, Some(one(out, &p.plugin))]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join("\n")
}

pub(crate) fn one(out: &Output, p: &PluginView) -> String {
    let mut lines = vec![format!(
        "{} is {}{}",
        p.instance,
        state(p.state).0,
        if p.pinned {
            ", rolled back by an operator"
        } else {
            ""
        }
    )];
    if let (Some(kind), Some(identity)) = (p.kind, &p.identity) {
        lines.push(format!(
            "{kind} {} {}: {}",
            identity.plugin, identity.version, p.summary
        ));
        lines.push(format!("component {}", identity.component));
        lines.push(format!("settings  {}", identity.settings));
    }
    if !p.namespaces.is_all() {
        lines.push(format!("for namespaces {}", p.namespaces));
    }
    lines.extend(
        p.usable
            .iter()
            .map(|(list, entries)| format!("{list}: {}", entries.join(", "))),
    );
    for wanted in &p.capabilities {
        let grant = grant(&wanted.name, &p.grants);
        lines.push(format!("wants {} ({grant}): {}", wanted.name, wanted.why));
    }
    if let Some(l) = &p.limits {
        lines.push(format!(
            "limits per call: {}, {} memory, {} at once",
            span(l.deadline),
            l.memory,
            l.concurrency
        ));
    }
    let s = &p.statistics;
    // Nothing of it is told to who administers nothing.
    let calls = format!(
        "{}, {} ({}, {}, {} busy), {} on average, {} memory at most",
        counted(s.calls, "call", "calls"),
        counted(s.failures, "failure", "failures"),
        counted(s.traps, "trap", "traps"),
        counted(s.timeouts, "timeout", "timeouts"),
        s.busy,
        micros(s.average_micros),
        s.peak_memory
    );
    lines.extend((p.limits.is_some() || p.identity.is_none()).then_some(calls));
    if let Some(r) = &p.last_rejection {
        let still = if r.current {
            "and still there"
        } else {
            "gone since"
        };
        let what = r
            .component
            .map_or_else(|| "a file".to_owned(), |c| c.short());
        lines.push(format!(
            "refused {what} at {} ({still}): {}",
            out.at(r.at),
            r.reason
        ));
    }
    if !p.history.is_empty() {
        let rows = p.history.iter().map(|v| {
            [
                out.cell(if v.current { "*" } else { "" }, Mood::Good),
                out.cell(&v.version, Plain),
                out.cell(v.component.short(), Plain).exact(v.component),
                out.cell(v.settings.short(), Plain).exact(v.settings),
                out.ago(v.since),
                v.until.map_or_else(|| dash(out), |t| out.ago(t)),
                out.cell(if v.rolled_back { "rolled back" } else { "" }, Plain),
            ]
        });
        lines.push(out.table(
            ["", "VERSION", "COMPONENT", "SETTINGS", "SINCE", "UNTIL", ""],
            rows,
        ));
    }
    lines.join("\n")
}

/// How a capability stands that a plugin says it uses.
fn grant(capability: &str, granted: &[String]) -> &'static str {
    if FREE.contains(&capability) {
        "needs no grant"
    } else if granted.iter().any(|name| name == capability) {
        "granted"
    } else {
        "not granted"
    }
}

pub(crate) fn report(report: &ReloadReport) -> String {
    let mut lines: Vec<String> = report
        .loaded
        .iter()
        .map(|name| format!("loaded {name}"))
        .collect();
    lines.extend(report.removed.iter().map(|name| format!("removed {name}")));
    lines.extend(
        report
            .rejected
            .iter()
            .map(|r| format!("refused {}: {}", r.instance, r.reason)),
    );
    lines.extend(
        report
            .problems
            .iter()
            .map(|p| format!("{}: {}", p.file, p.reason)),
    );
    lines.push(format!("{} unchanged", report.unchanged.len()));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_every_provider_has_is_not_said_to_lack_a_grant() {
        let of = |name| grant(name, &["http".to_owned()]);
        assert_eq!(of("clock"), "needs no grant");
        assert_eq!((of("http"), of("process")), ("granted", "not granted"));
    }
}
