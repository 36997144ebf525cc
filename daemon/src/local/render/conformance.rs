//! What the conformance suite found.

use tradewind_conformance::{Checked, Listed, Outcome, Report};

use tradewind_cli::output::{Cell, Column, Mood, Mood::Plain, Output};

pub fn report(out: &Output, report: &Report) -> String {
    let mut parts = vec![out.table(
        [
            Column::new("CHECK").key(),
            Column::new("RESULT").key(),
            Column::new("TIME").right().spare(),
            Column::new("ASKED").sentence(),
            Column::new("SEEN").sentence().filled(),
        ],
        report.checks.iter().map(|c| row(out, c)),
    )];
    parts.extend(
        report
            .left
            .iter()
            .map(|left| format!("left behind: {left}")),
    );
    if report.stopped {
        parts.push("stopped before the last check".to_owned());
    }
    let name = if report.plugin.is_empty() {
        report.instance.clone()
    } else {
        format!("{} {}", report.plugin, report.version)
    };
    let word = if report.is_good() {
        "conforms"
    } else {
        "does not conform"
    };
    parts.push(format!(
        "{name} {word}: {} passed, {} failed, {} skipped",
        report.passed, report.failed, report.skipped
    ));
    parts.join("\n")
}

pub fn list(out: &Output, all: &[Listed]) -> String {
    let rows = all.iter().map(|listed| {
        [
            out.cell(listed.kind, Plain),
            out.cell(listed.name, Plain),
            out.cell(listed.asks, Plain),
        ]
    });
    out.table(
        [
            Column::new("KIND").key(),
            Column::new("CHECK").key(),
            Column::new("ASKED").sentence(),
        ],
        rows,
    )
}

fn row(out: &Output, checked: &Checked) -> [Cell; 5] {
    let (word, mood) = match checked.outcome {
        Outcome::Passed => ("passed", Mood::Good),
        Outcome::Failed => ("FAILED", Mood::Bad),
        Outcome::Skipped => ("skipped", Mood::Busy),
    };
    [
        out.cell(checked.name, Plain),
        out.cell(word, mood),
        out.cell(format!("{} ms", checked.millis), Plain),
        out.cell(checked.asks, Plain),
        out.cell(
            &checked.reason,
            if checked.outcome == Outcome::Failed {
                Mood::Bad
            } else {
                Plain
            },
        ),
    ]
}
