//! Lines: of logs, of events, of failures. Texts of workloads and plugins are untrusted: control characters are shown, not obeyed.

use std::collections::HashSet;

use tradewind_api::{EventView, TaskLogLine};
use tradewind_core::{
    event::Severity,
    failure::Failure,
    output,
    workload::{LogLine, Output},
};

use crate::tame::tame;

pub(crate) fn log_line(line: &TaskLogLine) -> String {
    let stream = if line.line.output == Output::Stderr {
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

/// All lines of an answer. One that is unfinished and stays so is shown as it is: nothing was cut.
pub(crate) fn log_lines(lines: &[TaskLogLine]) -> String {
    let mut going_on = HashSet::new();
    let mut shown: Vec<String> = Vec::with_capacity(lines.len());
    // The end of a line whose text was shown before.
    let is_end = |line: &LogLine| line.continues && !line.partial && line.text.is_empty();
    for line in lines.iter().rev().filter(|line| !is_end(&line.line)) {
        let stream = (&line.allocation, line.line.replica, line.line.output);
        let goes_on = if line.line.continues {
            !going_on.insert(stream)
        } else {
            going_on.remove(&stream)
        };
        let line = TaskLogLine {
            line: LogLine {
                partial: line.line.partial && goes_on,
                ..line.line.clone()
            },
            ..line.clone()
        };
        shown.push(log_line(&line));
    }
    shown.reverse();
    shown.join("\n")
}

pub(crate) fn event(event: &EventView) -> String {
    let severity = match event.severity {
        Severity::Info => "info",
        Severity::Warning => "warning",
        Severity::Error => "error",
    };
    let about = match (&event.deployment, &event.task, &event.plugin) {
        (Some(d), Some(t), _) => format!("{d}/{t}"),
        (Some(d), None, _) => d.to_string(),
        (None, _, Some(p)) => p.to_string(),
        (None, ..) => "-".to_owned(),
    };
    format!(
        "{}  {severity:<7}  {:<22}  {about}  {}",
        event.at,
        event.reason,
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
            },
        };
        let lines = [
            line(Output::Stdout, "long ", false, true),
            line(Output::Stderr, "oops", false, false),
            line(Output::Stdout, "longer ", true, true),
            line(Output::Stdout, "", true, false),
            line(Output::Stdout, "password: ", false, true),
        ];
        assert_eq!(
            log_lines(&lines),
            "w/0 | long …\nw/0 ! oops\nw/0 | …longer \nw/0 | password: "
        );
        assert_eq!(
            log_line(&lines[4]),
            "w/0 | password: …",
            "who follows sees that more may come"
        );
    }
}
