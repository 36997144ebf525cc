//! Which lines of output are shown, and how.

use std::collections::HashMap;

use parking_lot::Mutex;
use tradewind_api::TaskLogLine;
use tradewind_core::{names::AllocationId, units::Instant};

use crate::{
    args::{LineKind, Since},
    output::Output,
    render,
};

/// What was asked for, with the moment since which lines count.
pub(super) struct Lines {
    since: Option<Instant>,
    grep: Option<String>,
    timestamps: bool,
    /// The run of each replica that was told last.
    told: Mutex<HashMap<(AllocationId, u32), u32>>,
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
            told: Mutex::default(),
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
    pub(super) fn show(&self, out: &Output, line: &TaskLogLine) -> String {
        self.parted(out, line, render::stream::log_line(line))
    }

    /// All lines of an answer as text.
    pub(super) fn show_all(&self, out: &Output, lines: &[TaskLogLine]) -> String {
        let shown = render::stream::shown_lines(lines);
        let parted = shown
            .into_iter()
            .map(|(line, text)| self.parted(out, line, text));
        parted.collect::<Vec<_>>().join("\n")
    }

    /// The line below one that parts it from the run before, once for both outputs of a replica.
    fn parted(&self, out: &Output, line: &TaskLogLine, text: String) -> String {
        let text = self.stamp(line.line.time, text);
        let Some(restart) = line.line.restart else {
            return text;
        };
        let replica = (line.allocation.clone(), line.line.replica);
        if self.told.lock().insert(replica, restart.run) == Some(restart.run) {
            return text;
        }
        let parting = render::stream::restart(out, line, restart);
        format!("{}\n{text}", self.stamp(Some(restart.at), parting))
    }

    fn stamp(&self, time: Option<Instant>, text: String) -> String {
        if !self.timestamps {
            return text;
        }
        match time {
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
        workload::{self, LogLine, Restart},
    };

    use super::*;
    use crate::args::Form;

    fn out() -> Output {
        Output::of_size(Form::Table, || None)
    }

    #[test]
    fn a_run_is_parted_from_the_one_before_once() {
        let line = |output, text: &str, run: Option<u32>| TaskLogLine {
            task: "w".parse().unwrap(),
            allocation: "a".parse().unwrap(),
            line: LogLine {
                replica: 0,
                output,
                time: None,
                text: text.into(),
                continues: false,
                partial: false,
                restart: run.map(|run| Restart {
                    run,
                    at: Instant(0),
                }),
            },
        };
        let lines = Lines::new(LineKind::default(), Instant(0));
        let (stdout, stderr) = (workload::Output::Stdout, workload::Output::Stderr);
        let shown = lines.show_all(
            &out(),
            &[
                line(stdout, "a", None),
                line(stdout, "b", Some(2)),
                line(stderr, "oh", Some(2)),
                line(stderr, "no", Some(13)),
            ],
        );
        assert_eq!(
            shown,
            "w/0 | a\nw/0 ── restarted (2nd run) at 1970-01-01T00:00:00Z ──\nw/0 | b\nw/0 ! oh\n\
             w/0 ── restarted (13th run) at 1970-01-01T00:00:00Z ──\nw/0 ! no"
        );
    }

    #[test]
    fn lines_are_chosen_by_time_and_text_and_those_without_a_time_are_kept() {
        let line = |time: Option<u64>, text: &str| TaskLogLine {
            task: "w".parse().unwrap(),
            allocation: "a".parse().unwrap(),
            line: LogLine {
                replica: 0,
                output: workload::Output::Stdout,
                time: time.map(Instant),
                text: text.into(),
                continues: false,
                partial: false,
                restart: None,
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
            lines.show_all(&out(), &wanted),
            "1970-01-01T00:00:00.500Z w/0 | GET /new\n-                        w/0 | GET /whenever"
        );
    }
}
