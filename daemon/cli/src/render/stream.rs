//! Lines: of logs, of events, of failures. Texts of workloads and plugins are untrusted: control characters are shown, not obeyed.

use std::collections::HashSet;

use tradewind_api::{EventView, TaskLogLine};
use tradewind_core::{
    event::Severity,
    failure::Failure,
    output,
    units::Instant,
    workload::{self, LogLine, Restart},
};

use crate::{
    output::{Cell, Column, Mood, Output, Table},
    tame::tame,
};

pub(crate) fn log_line(line: &TaskLogLine) -> String {
    let stream = if line.line.output == workload::Output::Stderr {
        "!"
    } else {
        "|"
    };
    format!(
        "{}/{} {stream} {}",
        line.task,
        line.line.replica,
        tame(&output::shown(&line.line))
    )
}

/// What parts the lines of a run from those of the run before.
pub(crate) fn restart(out: &Output, line: &TaskLogLine, restart: Restart) -> String {
    let (task, replica) = (&line.task, line.line.replica);
    let (run, at) = (ordinal(restart.run), out.at(restart.at));
    format!("{task}/{replica} ── restarted ({run} run) at {at} ──")
}

/// `1st`, `2nd`, `13th`.
fn ordinal(number: u32) -> String {
    let ending = match (number % 10, number % 100) {
        (1, rest) if rest != 11 => "st",
        (2, rest) if rest != 12 => "nd",
        (3, rest) if rest != 13 => "rd",
        _ => "th",
    };
    format!("{number}{ending}")
}

/// All lines of an answer, each with its text. One that is unfinished and stays so is shown as it is: nothing was cut.
pub(crate) fn shown_lines(lines: &[TaskLogLine]) -> Vec<(&TaskLogLine, String)> {
    let mut going_on = HashSet::new();
    let mut shown: Vec<(&TaskLogLine, String)> = Vec::with_capacity(lines.len());
    // The end of a line whose text was shown before.
    let is_end = |line: &LogLine| line.continues && !line.partial && line.text.is_empty();
    for line in lines.iter().rev().filter(|line| !is_end(&line.line)) {
        let stream = (&line.allocation, line.line.replica, line.line.output);
        let goes_on = if line.line.continues {
            !going_on.insert(stream)
        } else {
            going_on.remove(&stream)
        };
        let whole = TaskLogLine {
            line: LogLine {
                partial: line.line.partial && goes_on,
                ..line.line.clone()
            },
            ..line.clone()
        };
        shown.push((line, log_line(&whole)));
    }
    shown.reverse();
    shown
}

/// Events below each other, for who has them all.
pub(crate) fn events(out: &Output, events: &[EventView]) -> Table {
    let columns = [
        Column::new("TIME").key(),
        Column::new("SEVERITY").spare(),
        Column::new("REASON").key(),
        Column::new("ABOUT"),
        Column::new("MESSAGE").sentence(),
    ];
    Table::new(columns, events.iter().map(|event| cells(out, event)))
        .named(
            events
                .iter()
                .filter_map(|e| e.id.as_ref().map(ToString::to_string)),
        )
        .or("no events")
}

/// When, how bad, what, about what, in words.
pub(crate) fn cells(out: &Output, event: &EventView) -> [Cell; 5] {
    let (severity, mood) = match event.severity {
        Severity::Info => ("info", Mood::Plain),
        Severity::Warning => ("warning", Mood::Busy),
        Severity::Error => ("error", Mood::Bad),
    };
    [
        out.cell(out.at(event.at), Mood::Plain)
            .key(event.at.0 as f64),
        out.cell(severity, mood),
        out.cell(&event.reason, Mood::Plain),
        out.cell(about(event), Mood::Plain),
        out.cell(&event.message, Mood::Plain),
    ]
}

fn about(event: &EventView) -> String {
    match (&event.deployment, &event.task, &event.plugin) {
        (Some(d), Some(t), _) => format!("{d}/{t}"),
        (Some(d), None, _) => d.to_string(),
        (None, _, Some(p)) => p.to_string(),
        (None, ..) => "-".to_owned(),
    }
}

/// Stands above events that come one by one.
pub(crate) fn header(out: &Output) -> String {
    let time = out.at(Instant(0)).len();
    format!(
        "{:<time$}  {:<8}  {:<22}  {:<16}  MESSAGE",
        "TIME", "SEVERITY", "REASON", "ABOUT"
    )
}

/// One that comes alone, below that header.
pub(crate) fn event(out: &Output, event: &EventView) -> String {
    let severity = match event.severity {
        Severity::Info => "info",
        Severity::Warning => "warning",
        Severity::Error => "error",
    };
    format!(
        "{}  {severity:<8}  {:<22}  {:<16}  {}",
        out.at(event.at),
        event.reason,
        about(event),
        tame(&event.message)
    )
}

/// One line: the kind, the message, the code, what can be done, who said it.
pub(crate) fn failure(failure: &Failure) -> String {
    let mut text = format!("{}: {}", failure.kind, tame(&failure.message));
    for (name, value) in [
        ("code", &failure.code),
        ("field", &failure.field),
        ("help", &failure.remedy),
    ] {
        if let Some(value) = value {
            text.push_str(&format!("; {name}: {}", tame(value)));
        }
    }
    if let Some(plugin) = &failure.plugin {
        text.push_str(&format!("; said by {plugin}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cut_is_marked_and_an_unfinished_line_is_shown_as_it_is() {
        let line = |output, text: &str, continues, partial| TaskLogLine {
            task: "w".parse().unwrap(),
            allocation: "a".parse().unwrap(),
            line: LogLine {
                replica: 0,
                output,
                time: None,
                text: text.into(),
                continues,
                partial,
                restart: None,
            },
        };
        let lines = [
            line(workload::Output::Stdout, "long ", false, true),
            line(workload::Output::Stderr, "oops", false, false),
            line(workload::Output::Stdout, "longer ", true, true),
            line(workload::Output::Stdout, "", true, false),
            line(workload::Output::Stdout, "password: ", false, true),
        ];
        let texts: Vec<String> = shown_lines(&lines)
            .into_iter()
            .map(|(_, text)| text)
            .collect();
        assert_eq!(
            texts.join("\n"),
            "w/0 | long …\nw/0 ! oops\nw/0 | …longer \nw/0 | password: "
        );
        assert_eq!(
            log_line(&lines[4]),
            "w/0 | password: …",
            "who follows sees that more may come"
        );
    }
}
