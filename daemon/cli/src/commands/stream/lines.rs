//! Which lines of output are shown, and how.

use tradewind_api::TaskLogLine;
use tradewind_core::units::Instant;

use crate::{
    args::{LineKind, Since},
    render,
};

/// What was asked for, with the moment since which lines count.
pub(super) struct Lines {
    since: Option<Instant>,
    grep: Option<String>,
    timestamps: bool,
}

impl Lines {
    pub(super) fn new(kind: LineKind, now: Instant) -> Self {
        let since = kind.since.map(|since| match since {
            Since::At(at) => at,
            Since::Ago(span) => Instant(now.0.saturating_sub(span.0)),
        });
        Self {
            since,
            grep: kind.grep,
            timestamps: kind.timestamps,
        }
    }

    /// Whether lines are left out.
    pub(super) fn filters(&self) -> bool {
        self.since.is_some() || self.grep.is_some()
    }

    pub(super) fn wants(&self, line: &TaskLogLine) -> bool {
        let late = match (self.since, line.line.time) {
            (Some(since), Some(time)) => time >= since,
            // Nobody knows when it was written.
            _ => true,
        };
        late && self
            .grep
            .as_ref()
            .is_none_or(|text| line.line.text.contains(text))
    }

    /// Whether a filter by time had to let lines through whose time nobody knows.
    pub(super) fn is_blind_to(&self, lines: &[TaskLogLine]) -> bool {
        self.since.is_some() && lines.iter().any(|line| line.line.time.is_none())
    }

    /// One line as text.
    pub(super) fn show(&self, line: &TaskLogLine) -> String {
        self.stamp(line, render::stream::log_line(line))
    }

    /// All lines of an answer as text.
    pub(super) fn show_all(&self, lines: &[TaskLogLine]) -> String {
        let shown = render::stream::shown_lines(lines);
        let stamped = shown.into_iter().map(|(line, text)| self.stamp(line, text));
        stamped.collect::<Vec<_>>().join("\n")
    }

    fn stamp(&self, line: &TaskLogLine, text: String) -> String {
        if !self.timestamps {
            return text;
        }
        match line.line.time {
            Some(time) => format!("{time} {text}"),
            // As wide as a time.
            None => format!("{:<24} {text}", "-"),
        }
    }
}

#[cfg(test)]
mod tests {
    use tradewind_core::{
        units::Millis,
        workload::{LogLine, Output},
    };

    use super::*;

    #[test]
    fn lines_are_chosen_by_time_and_text_and_those_without_a_time_are_kept() {
        let line = |time: Option<u64>, text: &str| TaskLogLine {
            task: "w".parse().unwrap(),
            allocation: "a".parse().unwrap(),
            line: LogLine {
                replica: 0,
                output: Output::Stdout,
                time: time.map(Instant),
                text: text.into(),
                continues: false,
                partial: false,
            },
        };
        let kind = LineKind {
            since: Some(Since::Ago(Millis(500))),
            grep: Some("GET".to_owned()),
            timestamps: true,
        };
        let lines = Lines::new(kind, Instant(1_000));
        let all = [
            line(Some(499), "GET /old"),
            line(Some(500), "GET /new"),
            line(Some(600), "PUT /new"),
            line(None, "GET /whenever"),
        ];
        assert!(lines.filters() && lines.is_blind_to(&all) && !lines.is_blind_to(&all[..3]));
        let wanted: Vec<_> = all.into_iter().filter(|line| lines.wants(line)).collect();
        assert_eq!(
            lines.show_all(&wanted),
            "1970-01-01T00:00:00.500Z w/0 | GET /new\n-                        w/0 | GET /whenever"
        );
    }
}
