//! Which tasks wait for which others: they are there, can come as far as they are waited for, and do not wait for one another.

use indexmap::IndexMap;
use tradewind_core::{
    field::Path,
    manifest::{Milestone, Spec},
    names::TaskName,
    order::circles,
};

use super::Found;

type After = IndexMap<TaskName, Milestone>;

/// Every task that waits, with the path of what it waits for. A job with the name of a service has been refused before.
fn waiting<'a>(spec: &'a Spec, at: &Path) -> IndexMap<&'a TaskName, (&'a After, Path)> {
    let path = |kind: &str, name: &TaskName| {
        let at = at.clone().key(kind).key(name.as_str());
        at.key("after")
    };
    let jobs = spec.jobs.iter();
    let jobs = jobs.map(|(name, job)| (name, (&job.after, path("jobs", name))));
    let services = spec.services.iter();
    let services = services.map(|(name, s)| (name, (&s.after, path("services", name))));
    jobs.chain(services)
        .filter(|(_, (after, _))| !after.is_empty())
        .collect()
}

pub(super) fn order(found: &mut Found, spec: &Spec, spec_at: &Path) {
    let tasks = waiting(spec, spec_at);
    for (name, (after, at)) in &tasks {
        let scheduled = spec.jobs.get(*name).is_some_and(|j| j.schedule.is_some());
        found.require(!scheduled, || at.clone(), || {
            "a job with a schedule begins at its times, whatever other tasks do: leave \"after\" or \"schedule\" out".to_owned()
        });
        for (other, until) in *after {
            if let Some(wrong) = wrong(spec, name, other, *until) {
                found.add(at.clone().key(other.as_str()), wrong);
            }
        }
    }
    let place = |name: &TaskName| tasks.get_index_of(name);
    let edges: Vec<Vec<usize>> = tasks
        .iter()
        .map(|(name, (after, _))| {
            let others = after.keys().filter(|other| other != name);
            others.filter_map(place).collect()
        })
        .collect();
    for circle in circles(&edges) {
        let round = circle.iter().chain(circle.first());
        let names: Vec<&TaskName> = round
            .filter_map(|i| tasks.get_index(*i).map(|(name, _)| *name))
            .collect();
        let [first, second, ..] = names.as_slice() else {
            continue;
        };
        let Some((_, at)) = tasks.get(first) else {
            continue;
        };
        let told: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
        found.add(
            at.clone().key(second.as_str()),
            format!(
                "these tasks wait for one another, so that none of them could begin: {}; leave one of them out",
                told.join(" → ")
            ),
        );
    }
}

/// Why a task can't be waited for like that.
fn wrong(spec: &Spec, name: &TaskName, other: &TaskName, until: Milestone) -> Option<String> {
    if name == other {
        return Some("a task can't wait for itself: leave it out".to_owned());
    }
    if spec.services.contains_key(other) {
        return (until == Milestone::Completed).then(|| {
            format!("\"{other}\" is a service, which never completes: write ready or started")
        });
    }
    let Some(job) = spec.jobs.get(other) else {
        return Some(unknown(spec, other));
    };
    if job.schedule.is_some() {
        return Some(format!(
            "\"{other}\" begins at its times, so that nobody could say which run is meant: leave it out, or drop its \"schedule\""
        ));
    }
    match until {
        Milestone::Ready => Some(format!(
            "\"{other}\" is a job, which is never ready: write completed or started"
        )),
        Milestone::Completed if job.scale.is_some() => Some(format!(
            "\"{other}\" gets replicas as its load asks for them, so that it is never complete: write started, or drop its \"scale\""
        )),
        _ => None,
    }
}

fn unknown(spec: &Spec, name: &TaskName) -> String {
    let near = spec
        .services
        .keys()
        .chain(spec.jobs.keys())
        .map(|s| (strsim::damerau_levenshtein(s.as_str(), name.as_str()), s))
        .min()
        .filter(|(d, _)| *d <= 2);
    let hint = near.map_or_else(
        || "describe it under \"spec.services\" or \"spec.jobs\"".to_owned(),
        |(_, s)| format!("did you mean \"{s}\"?"),
    );
    format!("there is no task \"{name}\": {hint}")
}
