//! What no single field can say: rules across fields, and bounds. Collects every problem rather than the first. Knows the manifest and no
//! text: `parse` adds the positions.

mod health;
mod namespace;
mod order;
mod place;
mod recovery;
mod replacement;
mod resources;
mod scale;
mod schedule;
mod task;
mod update;

use tradewind_core::{
    field::{Path, short},
    manifest::{Manifest, ScaleSpec},
    workload::Labels,
};

pub(super) use namespace::check as check_namespace;

const MAX_TASKS: usize = 1_000;
const MAX_PLACES: usize = 10_000;
const MAX_REPLICAS: u32 = 10_000;
const MAX_TOTAL_REPLICAS: u64 = 100_000;
/// Each target gets its own copy of a service's content.
const MAX_TOTAL_CONTENT: usize = 64 << 20;
const MAX_LABELS: usize = 64;
const MAX_LABEL_KEY: usize = 317;
const MAX_LABEL_VALUE: usize = 1_024;

/// Problems found so far, each with its field.
#[derive(Default)]
struct Found(Vec<(Path, String)>);

impl Found {
    fn add(&mut self, path: Path, message: impl Into<String>) {
        self.0.push((path, message.into()));
    }

    /// Adds the message unless the rule holds.
    fn require(
        &mut self,
        holds: bool,
        path: impl FnOnce() -> Path,
        message: impl FnOnce() -> String,
    ) {
        if !holds {
            self.0.push((path(), message()));
        }
    }
}

/// Every rule that the manifest breaks, with the field at fault.
pub(super) fn check(manifest: &Manifest) -> Vec<(Path, String)> {
    let mut found = Found::default();
    let spec_at = Path::default().key("spec");
    let spec = &manifest.spec;
    labels(
        &mut found,
        &manifest.metadata.labels,
        &Path::default().key("metadata").key("labels"),
    );
    place::placement(
        &mut found,
        &spec.placement,
        &spec_at.clone().key("placement"),
    );

    if let Some(update) = &spec.update {
        update::update(&mut found, None, update, &spec_at.clone().key("update"));
    }
    recovery::recovery(&mut found, &spec.recovery, &spec_at.clone().key("recovery"));
    if let Some(hedge) = &spec.hedge {
        recovery::hedge(&mut found, hedge, &spec_at.clone().key("hedge"));
    }
    if let Some(replacement) = &spec.replacement {
        replacement::replacement(&mut found, replacement, &spec_at.clone().key("replacement"));
    }

    let tasks = spec.services.len() + spec.jobs.len();
    found.require(
        tasks > 0,
        || spec_at.clone(),
        || "nothing to run: describe at least one task under \"services\" or \"jobs\"".to_owned(),
    );
    if tasks > MAX_TASKS {
        found.add(
            spec_at,
            format!("{tasks} tasks are too many: at most {MAX_TASKS} in one deployment"),
        );
        return found.0;
    }
    for (name, service) in &spec.services {
        let at = spec_at.clone().key("services").key(name.as_str());
        task::service(&mut found, service, &at);
        place::together(
            &mut found,
            &spec.placement,
            &service.placement,
            &at.clone().key("placement"),
        );
        if let Some(own) = &service.update {
            update::update(&mut found, spec.update.as_ref(), own, &at.key("update"));
        }
    }
    for (name, job) in &spec.jobs {
        let at = spec_at.clone().key("jobs").key(name.as_str());
        found.require(
            !spec.services.contains_key(name),
            || at.clone(),
            || format!("\"{name}\" is the name of a service as well: names are unique among all tasks of a deployment"),
        );
        task::job(&mut found, job, &at);
        place::together(
            &mut found,
            &spec.placement,
            &job.placement,
            &at.key("placement"),
        );
    }
    order::order(&mut found, spec, &spec_at);
    place::targets(&mut found, spec, &spec_at);
    total(&mut found, manifest, spec_at);
    found.0
}

/// What the deployment holds once every target has its own copy.
fn total(found: &mut Found, manifest: &Manifest, at: Path) {
    let spec = &manifest.spec;
    let (mut replicas, mut content) = (0u64, 0usize);
    for (name, service) in &spec.services {
        let mut places = 0;
        let listed = spec.targets.iter().filter_map(|t| {
            let listed = t.services.iter().find(|s| s.name == *name);
            (listed.is_some() || t.services.is_empty()).then(|| {
                most(
                    listed.and_then(|s| s.replicas).unwrap_or(service.replicas),
                    &service.scale,
                )
            })
        });
        for n in listed {
            places += 1;
            replicas = replicas.saturating_add(u64::from(n));
        }
        if places == 0 {
            replicas = replicas.saturating_add(u64::from(most(service.replicas, &service.scale)));
        }
        content =
            content.saturating_add(task::service_content(service).saturating_mul(places.max(1)));
    }
    replicas = spec.jobs.values().fold(replicas, |sum, job| {
        sum.saturating_add(u64::from(most(job.replicas, &job.scale)))
    });
    content = spec.jobs.values().fold(content, |sum, job| {
        sum.saturating_add(task::job_content(job))
    });
    found.require(
        replicas <= MAX_TOTAL_REPLICAS,
        || at.clone(),
        || format!("{replicas} replicas in all are too many: at most {MAX_TOTAL_REPLICAS} in one deployment"),
    );
    found.require(content <= MAX_TOTAL_CONTENT, || at.clone(), || {
        format!(
            "{content} bytes of environment, files and extensions, counted once for each target, are too many: at most {MAX_TOTAL_CONTENT}"
        )
    });
}

/// The most replicas that there may be.
fn most(replicas: u32, scale: &Option<ScaleSpec>) -> u32 {
    scale.as_ref().map_or(replicas, |s| s.max)
}

fn labels(found: &mut Found, labels: &Labels, at: &Path) {
    found.require(
        labels.len() <= MAX_LABELS,
        || at.clone(),
        || format!("{} labels are too many: at most {MAX_LABELS}", labels.len()),
    );
    for (key, value) in labels {
        let at = || at.clone().key(key);
        let good = !key.is_empty()
            && key.len() <= MAX_LABEL_KEY
            && !key.chars().any(|c| c.is_whitespace() || c.is_control());
        found.require(good, at, || {
            format!(
                "\"{}\" is not a valid label key: use 1 to {MAX_LABEL_KEY} bytes without spaces",
                short(key)
            )
        });
        let good = value.len() <= MAX_LABEL_VALUE && !value.chars().any(char::is_control);
        found.require(good, at, || {
            format!("\"{}\" is not a valid label value: use at most {MAX_LABEL_VALUE} bytes on one line", short(value))
        });
    }
}
