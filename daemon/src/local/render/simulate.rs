//! What a simulation has found.

use tradewind_cli::{
    output::{Column, Mood::Plain, Output},
    render::{money, number, place, span},
};
use tradewind_simulate::{Utilization, alibaba::Converted};

use crate::local::simulate::Printed;

/// Places that are worth a line.
const MOST_PLACES: usize = 20;

pub fn summary(out: &Output, printed: &Printed<'_>) -> String {
    let (s, speed, t) = (printed.summary, printed.speed, printed.summary.tasks);
    let mut lines = vec![format!(
        "{} {} ({})",
        s.policy.plugin,
        s.policy.version,
        s.policy.component.short()
    )];
    let q = &s.queue;
    let rows = [
        ("simulated", span(s.time)),
        (
            "tasks",
            format!(
                "{}: {} ended, {} running, {} waiting, {} impossible, {} after the end",
                t.total, t.ended, t.running, t.waiting, t.impossible, t.not_arrived
            ),
        ),
        ("cost", money(s.cost)),
        ("cores", utilization(&s.cpu, "")),
        ("memory", utilization(&s.memory, " GiB")),
        ("accelerators", utilization(&s.accelerators, "")),
        (
            "queue",
            format!("{} tasks on average, at most {}", number(q.average), q.most),
        ),
        (
            "waited",
            format!(
                "half of the replicas at most {}, 90% {}, 99% {}, all {}",
                span(q.waited_half),
                span(q.waited_90),
                span(q.waited_99),
                span(q.waited_longest)
            ),
        ),
        (
            "lost places",
            format!(
                "{} replicas preempted, {} interrupted, {} moved",
                s.preemptions, s.interruptions, s.moves
            ),
        ),
        (
            "run again",
            format!("{} replica hours of jobs", number(s.lost_hours)),
        ),
        (
            "policy",
            format!(
                "{} calls, half within {} µs, 99% within {} µs",
                s.decisions, speed.policy_p50_micros, speed.policy_p99_micros
            ),
        ),
        (
            "speed",
            format!(
                "{} simulated hours per second ({:.3} s)",
                rate(speed.simulated_hours_per_second),
                speed.seconds
            ),
        ),
    ];
    lines.extend(
        rows.into_iter()
            .map(|(name, value)| format!("{name:<14}{value}")),
    );
    if !s.places.is_empty() {
        let rows = s.places.iter().take(MOST_PLACES).map(|p| {
            [
                out.cell(place(&p.place.provider, &p.place.region), Plain),
                out.cell(&p.place.size, Plain),
                out.cell(&p.place.offer, Plain),
                out.number(p.replica_hours),
                out.money(p.cost),
            ]
        });
        lines.push(String::new());
        lines.push(out.table(
            [
                Column::new("PLACE").key(),
                Column::new("SIZE"),
                Column::new("OFFER").spare(),
                Column::new("REPLICA HOURS").right(),
                Column::new("COST").right().key(),
            ],
            rows,
        ));
        if let Some(more) = s.places.len().checked_sub(MOST_PLACES).filter(|n| *n > 0) {
            lines.push(format!("and {more} more places"));
        }
    }
    lines.extend(
        s.impossible
            .iter()
            .map(|i| format!("impossible: {}/{}: {}", i.namespace, i.name, i.reason)),
    );
    lines.join("\n")
}

/// A rate that no two runs agree on: three digits tell all.
fn rate(value: f64) -> String {
    if value < 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.0}")
    }
}

fn utilization(u: &Utilization, unit: &str) -> String {
    let used = format!("{}{unit} used", number(u.used));
    u.share.map_or_else(
        || format!("{used}; no limit is known"),
        |share| {
            format!(
                "{used}; {:.1}% of the {}{unit} whose limit is known",
                share * 100.0,
                number(u.capacity)
            )
        },
    )
}

pub fn converted(done: &Converted) -> String {
    format!(
        "{} of {} rows; left out: {} without times, {} without a request; {} asked for part of a GPU and get a whole one",
        done.written, done.rows, done.without_times, done.without_plan, done.rounded_up
    )
}
