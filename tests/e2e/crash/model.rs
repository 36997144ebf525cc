//! What was asked for, as far as the daemon has acknowledged it, and how it compares with what there is. Pure.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};
use serde_json::Value;
use tradewind_kit::fixture::{Instance, State};

use super::Dice;

/// A deployment as it was asked for. The version is in the environment of every instance.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Spec {
    version: u64,
    services: BTreeMap<&'static str, u64>,
    job: bool,
    region: Option<&'static str>,
}

impl Spec {
    pub(super) fn draw(dice: &mut Dice, version: u64, regions: &[&'static str]) -> Self {
        let mut services = BTreeMap::from([("web", dice.below(4))]);
        if dice.percent(40) {
            services.insert("api", 1 + dice.below(2));
        }
        Self {
            version,
            services,
            job: dice.percent(30),
            region: dice.percent(30).then(|| dice.of(regions)),
        }
    }

    pub(super) fn manifest(&self, name: &str) -> String {
        let task = |name: &str, more: String| {
            format!(
                "    {name}: {{command: [run], env: {{VERSION: \"{}\"}}, resources: {{cpu: 1, memory: 1Gi}}, {more}}}\n",
                self.version
            )
        };
        let services: String = self
            .services
            .iter()
            .map(|(name, replicas)| task(name, format!("replicas: {replicas}")))
            .collect();
        let jobs = if self.job {
            format!("  jobs:\n{}", task("once", "retries: 1".to_owned()))
        } else {
            String::new()
        };
        let placement = self.region.map_or_else(String::new, |region| {
            format!("  placement: {{regions: [{region}]}}\n")
        });
        format!(
            "apiVersion: tradewind.dev/v1\nkind: CloudDeployment\nmetadata: {{name: {name}}}\nspec:\n{placement}  services:\n{services}{jobs}"
        )
    }
}

/// For each deployment what it may be: what was acknowledged last, and what was sent since without an answer. None: not there.
#[derive(Debug, Default)]
pub(super) struct Known {
    possible: BTreeMap<&'static str, Vec<Option<Spec>>>,
    /// All that was ever sent.
    sent: BTreeMap<&'static str, Vec<Spec>>,
    pub(super) acknowledged: u64,
}

impl Known {
    fn of(&mut self, name: &'static str) -> &mut Vec<Option<Spec>> {
        self.possible.entry(name).or_insert_with(|| vec![None])
    }

    pub(super) fn acknowledged(&mut self, name: &'static str, spec: Option<Spec>) {
        self.sent.entry(name).or_default().extend(spec.clone());
        *self.of(name) = vec![spec];
        self.acknowledged += 1;
    }

    pub(super) fn unknown(&mut self, name: &'static str, spec: Option<Spec>) {
        self.sent.entry(name).or_default().extend(spec.clone());
        self.of(name).push(spec);
    }

    /// What a deployment may be by its own account: what was written last or, where its update has failed, what it was before.
    fn meant(&self, name: &'static str, view: &Value) -> Vec<Spec> {
        let mut all: Vec<Spec> = self
            .possible
            .get(name)
            .into_iter()
            .flatten()
            .flatten()
            .cloned()
            .collect();
        if view["rollout"]["cause"] == "failure" {
            all.extend(self.sent.get(name).into_iter().flatten().cloned());
        }
        all
    }

    /// It does not exist: only right if it may have been deleted, or never was.
    pub(super) fn found_gone(&mut self, name: &'static str) -> Result<()> {
        if !self.of(name).contains(&None) {
            bail!(
                "\"{name}\" was acknowledged and is not there: {:?}",
                self.of(name)
            );
        }
        *self.of(name) = vec![None];
        Ok(())
    }

    /// It is being deleted: the same.
    pub(super) fn found_deleting(&mut self, name: &'static str) -> Result<()> {
        self.found_gone(name)
    }
}

/// Holds what there is against what it may be. The error says the first difference.
pub(super) fn compare(
    known: &Known,
    seen: &BTreeMap<&'static str, Option<Value>>,
    live: &[Instance],
) -> Result<(), String> {
    let mut allocations = BTreeSet::new();
    let mut wanted: BTreeMap<(String, String), (u64, String)> = BTreeMap::new();
    for (name, view) in seen {
        let possible = known
            .possible
            .get(name)
            .cloned()
            .unwrap_or_else(|| vec![None]);
        let Some(view) = view else {
            if !possible.contains(&None) {
                return Err(format!(
                    "\"{name}\" is not there, but may only be {possible:?}"
                ));
            }
            continue;
        };
        let spec = view["manifest"]["spec"].clone();
        let version = spec["services"]["web"]["env"]["VERSION"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        if view["status"] == "deleting" && possible.contains(&None) {
            return Err(format!("\"{name}\" is still being deleted"));
        }
        let allowed = known.meant(name, view);
        let Some(meant) = allowed
            .iter()
            .find(|spec| spec.version.to_string() == version)
        else {
            return Err(format!(
                "\"{name}\" is version {version}, but may only be {possible:?}"
            ));
        };
        if view["observedGeneration"] != view["generation"] {
            return Err(format!("\"{name}\" is not planned yet"));
        }
        for (service, replicas) in &meant.services {
            wanted.insert(
                ((*name).to_owned(), (*service).to_owned()),
                (*replicas, version.clone()),
            );
        }
        for task in view["tasks"].as_array().into_iter().flatten() {
            if task["name"] == "once" && task["status"] != "completed" {
                return Err(format!("the job of \"{name}\" is {}", task["status"]));
            }
            for allocation in task["allocations"].as_array().into_iter().flatten() {
                allocations.insert(allocation["id"].as_str().unwrap_or_default().to_owned());
            }
        }
    }
    compare_instances(&wanted, &allocations, live)
}

fn compare_instances(
    wanted: &BTreeMap<(String, String), (u64, String)>,
    allocations: &BTreeSet<String>,
    live: &[Instance],
) -> Result<(), String> {
    let mut counts: BTreeMap<(String, String), u64> = BTreeMap::new();
    let mut places = BTreeSet::new();
    for instance in live {
        let tag = |key: &str| instance.tag(&format!("tradewind.dev/{key}")).to_owned();
        let told = || {
            format!(
                "{} of {}/{} ({:?}, {:?})",
                instance.id,
                tag("deployment"),
                tag("task"),
                instance.state,
                instance.tags
            )
        };
        if !allocations.contains(&tag("allocation")) {
            return Err(format!("{} belongs to nobody", told()));
        }
        if !places.insert((tag("allocation"), tag("replica"))) {
            return Err(format!("{} is there twice", told()));
        }
        if tag("task") == "once" {
            continue;
        }
        if instance.state != State::Running {
            return Err(format!("{} does not run", told()));
        }
        let task = (tag("deployment"), tag("task"));
        let version = instance.workload["env"]["VERSION"]
            .as_str()
            .unwrap_or_default();
        match wanted.get(&task) {
            Some((_, meant)) if meant == version => *counts.entry(task).or_default() += 1,
            other => {
                return Err(format!(
                    "{} is version {version}; wanted: {other:?}",
                    told()
                ));
            }
        }
    }
    for (task, (replicas, version)) in wanted {
        let count = counts.get(task).copied().unwrap_or(0);
        if count != *replicas {
            return Err(format!(
                "{}/{} has {count} instances of version {version}, not {replicas}",
                task.0, task.1
            ));
        }
    }
    Ok(())
}

/// The history in a line: how many instances there were, and how often and how long a replica has had two. That happens for a moment where a
/// call's end is not known, the cloud's lists lag behind it, and another attempt begins meanwhile. What a cloud has created by half names no replica.
pub(super) fn summary(ledger: &[Instance]) -> String {
    let mut by_place: BTreeMap<(&str, &str), Vec<&Instance>> = BTreeMap::new();
    for instance in ledger
        .iter()
        .filter(|i| !i.tag("tradewind.dev/replica").is_empty())
    {
        by_place
            .entry((
                instance.tag("tradewind.dev/allocation"),
                instance.tag("tradewind.dev/replica"),
            ))
            .or_default()
            .push(instance);
    }
    let end = |instance: &Instance| instance.deleted_at.unwrap_or(u64::MAX);
    let overlap = |pair: &[&Instance]| {
        end(pair[0])
            .min(end(pair[1]))
            .saturating_sub(pair[1].created_at)
    };
    let doubles: Vec<u64> = by_place
        .values()
        .flat_map(|all| all.windows(2).map(overlap))
        .filter(|ms| *ms > 0)
        .collect();
    let longest = doubles.iter().max().unwrap_or(&0);
    format!(
        "{} instances in all, {} of them beside another for a moment, {longest} ms at most",
        ledger.len(),
        doubles.len()
    )
}
