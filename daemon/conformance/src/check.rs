//! A check: its name, what it asks, how it is made. And the loop that makes a list of them.

use std::{collections::BTreeSet, time::Instant};

use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;
use tradewind_core::failure::Failure;

use crate::report::{Checked, Outcome, Report};

/// A check that did not fail.
pub(crate) enum Done {
    /// With what was seen.
    Passed(String),
    /// With the reason.
    Skipped(String),
}

/// A failed check says why, with values.
pub(crate) type Verdict = Result<Done, String>;

pub(crate) fn passed(seen: impl Into<String>) -> Verdict {
    Ok(Done::Passed(seen.into()))
}

pub(crate) fn skipped(why: impl Into<String>) -> Verdict {
    Ok(Done::Skipped(why.into()))
}

/// One thing that is asked of a plugin `S`.
pub(crate) struct Check<S> {
    pub(crate) name: &'static str,
    pub(crate) asks: &'static str,
    /// Checks that make what this one looks at.
    pub(crate) needs: &'static [&'static str],
    pub(crate) run: for<'a> fn(&'a mut S) -> BoxFuture<'a, Verdict>,
}

/// What is told of each check as soon as it is known.
pub(crate) type Told<'a> = &'a mut (dyn FnMut(&Checked) + Send);

/// Makes these checks, one after the other, until they end or are told to.
pub(crate) async fn all<S>(
    checks: &[Check<S>],
    only: &[String],
    subject: &mut S,
    stop: &CancellationToken,
    report: &mut Report,
    told: Told<'_>,
) {
    let wanted = wanted(checks, only);
    for check in checks.iter().filter(|check| wanted.contains(check.name)) {
        let begun = Instant::now();
        let verdict = tokio::select! {
            biased;
            () = stop.cancelled() => {
                report.stopped = true;
                return;
            }
            verdict = (check.run)(subject) => verdict,
        };
        let checked = checked(check.name, check.asks, verdict, begun);
        told(&checked);
        report.add(checked);
    }
}

pub(crate) fn checked(
    name: &'static str,
    asks: &'static str,
    verdict: Verdict,
    begun: Instant,
) -> Checked {
    let (outcome, reason) = match verdict {
        Ok(Done::Passed(seen)) => (Outcome::Passed, seen),
        Ok(Done::Skipped(why)) => (Outcome::Skipped, why),
        Err(why) => (Outcome::Failed, why),
    };
    Checked {
        name,
        asks,
        outcome,
        reason,
        millis: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
    }
}

/// The named ones with all that they need; all of them when none is named.
fn wanted<S>(checks: &[Check<S>], only: &[String]) -> BTreeSet<&'static str> {
    let mut wanted = BTreeSet::new();
    // What a check needs stands before it.
    for check in checks.iter().rev() {
        if only.is_empty()
            || only.iter().any(|name| name == check.name)
            || wanted.contains(check.name)
        {
            wanted.insert(check.name);
            wanted.extend(check.needs);
        }
    }
    wanted
}

/// A failure in one sentence, with its kind and code.
pub(crate) fn tell(failure: &Failure) -> String {
    match &failure.code {
        Some(code) => format!("{} ({}, {code})", failure.message, failure.kind),
        None => format!("{} ({})", failure.message, failure.kind),
    }
}

/// Whether a failure is the host's word on a plugin that broke off, and not an answer of the plugin.
pub(crate) fn is_broken(failure: &Failure) -> bool {
    matches!(
        failure.code.as_deref(),
        Some("trapped" | "bad-answer" | "memory-limit" | "host-bytes-limit" | "deadline-exceeded")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_check_brings_what_it_needs() {
        let check = |name, needs| Check::<()> {
            name,
            asks: "",
            needs,
            run: |()| Box::pin(async { passed("") }),
        };
        let checks = [
            check("a", &[]),
            check("b", &["a"]),
            check("c", &["b"]),
            check("d", &[]),
        ];
        let names = |only: &[&str]| {
            wanted(
                &checks,
                &only.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>(),
            )
            .into_iter()
            .collect::<String>()
        };
        assert_eq!(
            (
                names(&[]).as_str(),
                names(&["c"]).as_str(),
                names(&["d"]).as_str()
            ),
            ("abcd", "abc", "d")
        );
    }
}
