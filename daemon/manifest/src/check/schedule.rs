//! When a job runs.

use tradewind_core::{field::Path, manifest::ScheduleSpec};

use super::Found;
use crate::timetable::Timetable;

const MAX_HISTORY: u32 = 100;

pub(super) fn schedule(found: &mut Found, spec: &ScheduleSpec, at: &Path) {
    let long = spec.long();
    let field = |name: &str| match spec {
        ScheduleSpec::Cron(_) => at.clone(),
        ScheduleSpec::Long(_) => at.clone().key(name),
    };
    if let Err(error) = Timetable::new(&long) {
        let name = match error {
            crate::timetable::Error::TimeZone { .. } => "timeZone",
            _ => "cron",
        };
        found.add(field(name), error.to_string());
    }
    if let Some(history) = long.history {
        found.require(
            (1..=MAX_HISTORY).contains(&history),
            || field("history"),
            || format!("{history} runs are out of range: write 1 to {MAX_HISTORY}"),
        );
    }
}
