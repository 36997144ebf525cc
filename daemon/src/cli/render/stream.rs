//! Lines: of logs, of events, of failures. Texts of workloads and plugins are untrusted: control characters are shown, not obeyed.

use tradewind_core::{
    failure::Failure,
    view::{Event, Severity, TaskLogLine},
    workload::Output,
};

/// Keeps a text from moving the cursor or hiding what comes after it.
fn tame(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() && c != '\t' { c.escape_default().collect::<Vec<_>>() } else { vec![c] }).collect()
}

pub fn log_line(line: &TaskLogLine) -> String {
    let stream = if line.line.output == Output::Stderr { "!" } else { "|" };
    format!("{}/{} {stream} {}", line.task, line.line.replica, tame(&line.line.text))
}

pub fn event(event: &Event) -> String {
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
    format!("{}  {severity:<7}  {:<22}  {about}  {}", event.at, event.reason, tame(&event.message))
}

/// One line: the kind, the message, the code, what can be done, who said it.
pub fn failure(failure: &Failure) -> String {
    let mut text = format!("{}: {}", failure.kind, tame(&failure.message));
    for (name, value) in [("code", &failure.code), ("field", &failure.field), ("help", &failure.remedy)] {
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
    fn untrusted_text_can_not_steer_the_terminal() {
        assert_eq!(tame("a\u{1b}[2Jb\tc\r"), "a\\u{1b}[2Jb\tc\\r");
    }
}
