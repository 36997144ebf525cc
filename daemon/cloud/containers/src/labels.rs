//! How containers, networks and volumes are named and labelled, so that they are found again, and never confused with others'.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use tradewind_core::{
    capability::{Attempt, containers::ContainerKey},
    names::{Digest, InstanceName},
    workload::{Exposure, Labels, Protocol},
};

/// Every label that is ours begins with it, and no label of a workload may.
pub(crate) const PREFIX: &str = "tradewind.dev/";
pub(crate) const INSTANCE: &str = "tradewind.dev/instance";
const ALLOCATION: &str = "tradewind.dev/allocation";
const REPLICA: &str = "tradewind.dev/replica";
const NOTE: &str = "tradewind.dev/note";

/// What is remembered of a container in one of its labels. Fields are only ever added, with a default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Note {
    /// Of the spec it was made from.
    pub(crate) digest: String,
    /// Of the attempt that made it.
    pub(crate) token: String,
    pub(crate) job: bool,
    /// How often the engine starts it again when it fails.
    pub(crate) restarts: u32,
    /// Milliseconds.
    pub(crate) deadline: Option<u64>,
    pub(crate) stop_grace: u64,
    /// Promised millicores and bytes.
    pub(crate) cpu: u64,
    pub(crate) memory: u64,
    pub(crate) host_network: bool,
    pub(crate) ports: Vec<NotedPort>,
    /// The engine's names.
    pub(crate) networks: Vec<String>,
    /// The image that it was made from, with its digest; empty: not known.
    pub(crate) image: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NotedPort {
    pub(crate) name: String,
    /// Inside the container.
    pub(crate) number: u16,
    pub(crate) protocol: Protocol,
    pub(crate) exposure: Exposure,
}

/// A container's name. Instances' names and allocations' ids have no dots, so no two keys share one.
pub(crate) fn container(owner: &InstanceName, key: &ContainerKey) -> String {
    format!("tradewind.{owner}.{}.{}", key.allocation, key.replica)
}

/// The engine's name for what belongs to the deployment that a call is for: its networks and its persistent volumes.
pub(crate) fn scoped(owner: &InstanceName, attempt: &Attempt, name: &str) -> String {
    let tag = |key: &str| {
        attempt
            .tags
            .get(&format!("{PREFIX}{key}"))
            .map_or("", String::as_str)
    };
    short(format!(
        "tradewind.{owner}.{}.{}.{name}",
        tag("namespace"),
        tag("deployment")
    ))
}

/// Engines keep things in files of their names, with an ending such as `.json`, and file systems take 255 bytes.
const LONGEST: usize = 250;
/// Hexadecimal digits.
const PRINT: usize = 24;

/// A longer name is cut, and ends with a digest of the whole one, so that no two are the same.
fn short(name: String) -> String {
    if name.len() <= LONGEST {
        return name;
    }
    let print: String = Digest::of(name.as_bytes())
        .hex()
        .chars()
        .take(PRINT)
        .collect();
    let head: String = name.chars().take(LONGEST - PRINT - 1).collect();
    format!("{head}-{print}")
}

/// The name under which containers of a network find this one: its task's.
pub(crate) fn alias(attempt: &Attempt) -> Option<&String> {
    attempt.tags.get(&format!("{PREFIX}task"))
}

/// The labels of a network or volume.
pub(crate) fn of_scope(owner: &InstanceName, attempt: &Attempt) -> HashMap<String, String> {
    let mut labels: HashMap<String, String> = attempt.tags.clone().into_iter().collect();
    // They are the deployment's, not one allocation's.
    labels.retain(|key, _| key != ALLOCATION && key != &format!("{PREFIX}task"));
    labels.insert(INSTANCE.to_owned(), owner.to_string());
    labels
}

/// The labels of a container: the workload's, then the host's, which win.
pub(crate) fn of_container(
    owner: &InstanceName,
    attempt: &Attempt,
    key: &ContainerKey,
    workload: &Labels,
    note: &Note,
) -> HashMap<String, String> {
    let mut labels: HashMap<String, String> = workload
        .clone()
        .into_iter()
        .chain(attempt.tags.clone())
        .collect();
    labels.insert(INSTANCE.to_owned(), owner.to_string());
    labels.insert(ALLOCATION.to_owned(), key.allocation.to_string());
    labels.insert(REPLICA.to_owned(), key.replica.to_string());
    labels.insert(
        NOTE.to_owned(),
        serde_json::to_string(note).unwrap_or_default(),
    );
    labels
}

/// Whether something belongs to this instance.
pub(crate) fn is_of(owner: &InstanceName, labels: Option<&HashMap<String, String>>) -> bool {
    labels
        .and_then(|l| l.get(INSTANCE))
        .is_some_and(|of| of == owner.as_str())
}

pub(crate) fn key(labels: &HashMap<String, String>) -> Option<ContainerKey> {
    let allocation = labels.get(ALLOCATION)?.parse().ok()?;
    Some(ContainerKey {
        allocation,
        replica: labels.get(REPLICA)?.parse().ok()?,
    })
}

pub(crate) fn note(labels: Option<&HashMap<String, String>>) -> Note {
    labels
        .and_then(|l| l.get(NOTE))
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_at_their_limits_are_cut_and_stay_different() {
        let (owner, long) = ("i".repeat(63).parse().unwrap(), "n".repeat(63));
        let tags = ["namespace", "deployment"].map(|key| (format!("{PREFIX}{key}"), long.clone()));
        let attempt = Attempt {
            allocation: "a-1".parse().unwrap(),
            namespace: "default".parse().unwrap(),
            token: String::new(),
            tags: tags.into_iter().collect(),
            resources: Default::default(),
            startup: None,
        };
        let names: Vec<String> = [
            "w".repeat(128),
            format!("{}x", "w".repeat(127)),
            "w".to_owned(),
        ]
        .map(|n| scoped(&owner, &attempt, &n))
        .into();
        assert!(names.iter().all(|n| n.len() <= LONGEST), "{names:?}");
        assert!(
            names[0] != names[1]
                && names[0].starts_with("tradewind.iii")
                && names[2].ends_with(".w"),
            "{names:?}"
        );
        assert_eq!(
            names[0],
            scoped(&owner, &attempt, &"w".repeat(128)),
            "always the same"
        );
    }
}
