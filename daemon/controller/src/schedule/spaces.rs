//! Plugin instances that are closed to a namespace. Nothing is placed there; what runs there stays, and who owns it is told.

use std::collections::BTreeSet;

use tradewind_core::{
    manifest::Resolved,
    names::{InstanceName, Namespace},
    placement::Want,
    plan,
    plugin::Snapshot,
    record::AllocationRecord,
};

use crate::schedule::scheduler::{DeploymentWork, PendingTask};

/// What is told of a place that its namespace has no access to any more.
pub(crate) fn closed_place(record: &AllocationRecord, snapshot: &Snapshot) -> Option<String> {
    is_closed(record, snapshot).then(|| told(&record.intent.provider, record))
}

/// Whether something is at an instance that is closed to it by now, and does not stay there: what has not begun, and what another version is
/// wanted of.
pub(crate) fn leaves(
    record: &AllocationRecord,
    task: &Resolved,
    closed: &BTreeSet<InstanceName>,
) -> bool {
    let counts = record.serves(&task.name, task.target.as_ref())
        && !record.intent.superseded
        && record.intent.goal() > 0;
    let stays = record.handle.state.is_some()
        && !plan::needs_new_replicas(&record.intent.workload, &task.workload);
    closed.contains(&record.intent.provider) && counts && !stays
}

/// Why a task has no candidate when that is because of its namespace: no provider that it may name is open to it.
pub(crate) fn shut_out(want: &Want, seen: &Snapshot, whole: &Snapshot) -> Option<String> {
    let named = &want.need.constraints.providers;
    let namespace = &want.namespace;
    let remedy = "an admin adds it to namespaces in an instance file";
    let is_open = |p: &InstanceName| seen.providers.contains_key(p);
    let names = || {
        named
            .iter()
            .map(|p| format!("\"{p}\""))
            .collect::<Vec<_>>()
            .join(", ")
    };
    match named.is_empty() {
        true => (seen.providers.is_empty() && !whole.providers.is_empty())
            .then(|| format!("no provider is open to namespace \"{namespace}\": {remedy}")),
        false => (named.iter().any(|p| whole.providers.contains_key(p)) && !named.iter().any(is_open))
            .then(|| format!("of the placement's providers {} none is open to namespace \"{namespace}\": {remedy}", names())),
    }
}

/// For whom something is decided, to tell them.
pub(crate) fn whose(works: &[DeploymentWork], open: &[PendingTask]) -> String {
    let names: BTreeSet<&Namespace> = open
        .iter()
        .filter_map(|o| works.get(o.work))
        .map(|w| &w.key.namespace)
        .collect();
    let names: Vec<String> = names.into_iter().map(|n| format!("\"{n}\"")).collect();
    format!("namespace {}", names.join(", "))
}

pub(crate) fn told(provider: &InstanceName, record: &AllocationRecord) -> String {
    format!(
        "\"{provider}\" is closed to namespace \"{}\" by now: what runs there stays, new replicas go elsewhere",
        record.namespace
    )
}

pub(crate) fn is_closed(record: &AllocationRecord, snapshot: &Snapshot) -> bool {
    snapshot
        .providers
        .get(&record.intent.provider)
        .is_some_and(|p| !p.namespaces().admits(&record.namespace))
}
