//! What may be asked of scaling from outside: pushed values, a number set by hand, waking what sleeps.

use std::sync::Arc;

use tradewind_api::{Sample, ScaleBody, Scaled, ScaledTask};
use tradewind_core::{
    manifest::{Manifest, Resolved},
    names::{Actor, DeploymentName, Namespace, TaskName},
    record::{DeploymentKey, DeploymentRecord},
    scaling::{CPU, REQUESTS, Rule, Told},
    store::{self, Revision},
    units::Millis,
};
use tradewind_manifest::Format;

use super::Change;
use crate::{Error, Handle, lock, service::plans::ByHand, service::rerun};

/// The most values in one request.
const MAX_SAMPLES: usize = 1_000;
const MAX_VALUE: f64 = 1e12;

/// A deployment and its tasks as they are now.
struct Current {
    record: Arc<DeploymentRecord>,
    revision: Revision,
    tasks: Vec<Resolved>,
}

impl Handle {
    /// Takes in values of measures that tasks follow; all of them or, when one can't be used, none. Answers how many are news.
    ///
    /// # Errors
    /// `NotFound`, or `Invalid` with the value's path.
    pub fn push(
        &self,
        namespace: &Namespace,
        name: &DeploymentName,
        samples: &[Sample],
    ) -> Result<u32, Error> {
        let key = DeploymentKey {
            namespace: namespace.clone(),
            name: name.clone(),
        };
        let tasks = self.current(&key)?.tasks;
        if samples.len() > MAX_SAMPLES {
            let message = format!(
                "{} values are too many: send at most {MAX_SAMPLES} at once",
                samples.len()
            );
            return Err(Error::Invalid {
                path: "samples".to_owned(),
                message,
            });
        }
        for (i, sample) in samples.iter().enumerate() {
            check(sample, &tasks).map_err(|(field, message)| Error::Invalid {
                path: format!("samples[{i}].{field}"),
                message,
            })?;
        }
        let scaler = &self.shared.scaler;
        let (now, wall) = (scaler.now(), self.shared.clock.now());
        let mut accepted = 0;
        {
            let mut deployments = lock(&scaler.deployments);
            let told = &mut deployments.entry(key.clone()).or_default().told;
            for sample in samples {
                let age = sample.at.map_or(0, |at| wall.since(at).0);
                let new = Told {
                    value: sample.value,
                    at: Millis(now.0.saturating_sub(age)),
                };
                let known = told
                    .entry((sample.task.clone(), sample.metric.clone()))
                    .or_insert(new);
                if new.at >= known.at {
                    *known = new;
                    accepted += 1;
                }
            }
        }
        scaler.hurry(&key);
        Ok(accepted)
    }

    /// Sets a task's number of replicas. One that follows its load keeps it as if the load had asked for it; one that does not is changed
    /// in its spec.
    ///
    /// # Errors
    /// `NotFound`, `NoTask`, `Deleting`, `Invalid` (out of bounds), `Plan` where only approved plans change something, or the state can't
    /// be written.
    pub async fn scale(
        &self,
        actor: &Actor,
        namespace: &Namespace,
        name: &DeploymentName,
        body: &ScaleBody,
    ) -> Result<Scaled, Error> {
        let key = DeploymentKey {
            namespace: namespace.clone(),
            name: name.clone(),
        };
        self.may_change(namespace, ByHand::Scale)?;
        loop {
            let current = self.current(&key)?;
            let tasks = named(&key, &current.tasks, &body.task)?;
            let result = match tasks.iter().find_map(|t| t.scale.clone()) {
                Some(rule) => {
                    self.scale_within(actor, &key, &current, &tasks, &rule, body.replicas)
                        .await
                }
                None => self.scale_spec(actor, &current, &tasks, body).await,
            };
            match result {
                // Another write came first.
                Err(Error::Store(store::Error::Conflict { .. }) | Error::Generation { .. }) => {}
                result => return result,
            }
        }
    }

    /// Gives tasks without replicas, or the named one of them, one replica.
    ///
    /// # Errors
    /// `NotFound`, `NoTask`, `Deleting`, `Invalid` (it does not follow a load), or the state can't be written.
    pub async fn wake(
        &self,
        actor: &Actor,
        namespace: &Namespace,
        name: &DeploymentName,
        task: Option<&TaskName>,
    ) -> Result<Scaled, Error> {
        let key = DeploymentKey {
            namespace: namespace.clone(),
            name: name.clone(),
        };
        loop {
            let current = self.current(&key)?;
            let tasks = match task {
                Some(task) => named(&key, &current.tasks, task)?,
                None => current.tasks.clone(),
            };
            let tasks: Vec<Resolved> = tasks.into_iter().filter(|t| t.scale.is_some()).collect();
            if tasks.is_empty() {
                let message =
                    "nothing of it follows a load: only what has \"scale\" can be woken".to_owned();
                return Err(Error::Invalid {
                    path: "task".to_owned(),
                    message,
                });
            }
            let asleep = tasks.iter().filter(|t| t.replicas == 0);
            let changes: Vec<Change> = asleep
                .map(|t| change(t, 1, format!("woken by {actor}")))
                .collect();
            match self.set(actor, &key, &current, changes).await {
                Err(Error::Store(store::Error::Conflict { .. })) => {}
                result => return result,
            }
        }
    }

    async fn scale_within(
        &self,
        actor: &Actor,
        key: &DeploymentKey,
        current: &Current,
        tasks: &[Resolved],
        rule: &Rule,
        replicas: u32,
    ) -> Result<Scaled, Error> {
        if rule.clamp(replicas) != replicas {
            let message = format!(
                "{replicas} is out of the bounds of its \"scale\": write {} to {}",
                rule.min, rule.max
            );
            return Err(Error::Invalid {
                path: "replicas".to_owned(),
                message,
            });
        }
        let changes = tasks
            .iter()
            .map(|t| change(t, replicas, format!("set by {actor}")));
        self.set(actor, key, current, changes.collect()).await
    }

    /// Stores numbers that somebody has asked for. They count as if the load had.
    async fn set(
        &self,
        actor: &Actor,
        key: &DeploymentKey,
        current: &Current,
        changes: Vec<Change>,
    ) -> Result<Scaled, Error> {
        let (differ, same): (Vec<Change>, Vec<Change>) =
            changes.into_iter().partition(|c| c.before != c.after);
        if !differ.is_empty() {
            self.shared
                .scaler
                .rescale(actor, key, &current.record, current.revision, &differ)
                .await?;
        }
        let now = self.shared.scaler.now();
        {
            let mut deployments = lock(&self.shared.scaler.deployments);
            let known = deployments.entry(key.clone()).or_default();
            for c in differ.iter().chain(&same) {
                known
                    .memories
                    .entry((c.task.clone(), c.target.clone()))
                    .or_default()
                    .set(c.after, now);
            }
        }
        Ok(answer(
            key,
            current.record.generation,
            differ.iter().chain(&same),
        ))
    }

    async fn scale_spec(
        &self,
        actor: &Actor,
        current: &Current,
        tasks: &[Resolved],
        body: &ScaleBody,
    ) -> Result<Scaled, Error> {
        let manifest = with_replicas(current.record.manifest.clone(), &body.task, body.replicas);
        let text = serde_json::to_vec(&manifest).map_err(|e| store::Error::Backend {
            action: "encoded",
            path: "manifest".to_owned(),
            source: e.into(),
        })?;
        // The same bounds hold as for a manifest that is sent.
        let manifest = tradewind_manifest::parse(&text, Format::Json).map_err(|invalid| {
            let message = invalid
                .problems
                .into_iter()
                .next()
                .map(|p| p.message)
                .unwrap_or_default();
            Error::Invalid {
                path: "replicas".to_owned(),
                message,
            }
        })?;
        let key = DeploymentKey {
            namespace: manifest.metadata.namespace.clone(),
            name: manifest.metadata.name.clone(),
        };
        let accepted = self
            .put(actor, manifest, Some(current.record.generation))
            .await?;
        let changes: Vec<Change> = tasks
            .iter()
            .map(|t| change(t, body.replicas, String::new()))
            .collect();
        Ok(answer(&key, accepted.generation, changes.iter()))
    }

    fn current(&self, key: &DeploymentKey) -> Result<Current, Error> {
        let cache = lock(&self.shared.cache);
        let entry = cache.deployments.get(key).ok_or_else(|| Error::NotFound {
            what: "deployment",
            name: key.to_string(),
        })?;
        if entry.record.deleting {
            return Err(Error::Deleting {
                name: key.to_string(),
            });
        }
        Ok(Current {
            record: entry.record.clone(),
            revision: entry.revision,
            tasks: entry.resolved.as_ref().clone(),
        })
    }
}

fn named(key: &DeploymentKey, tasks: &[Resolved], name: &TaskName) -> Result<Vec<Resolved>, Error> {
    let found: Vec<Resolved> = tasks.iter().filter(|t| t.name == *name).cloned().collect();
    if found.is_empty() {
        return Err(rerun::no_task(key, tasks, name));
    }
    Ok(found)
}

fn no_task(tasks: &[Resolved], name: &TaskName) -> String {
    let names: Vec<String> = rerun::task_names(tasks)
        .iter()
        .map(TaskName::to_string)
        .collect();
    format!(
        "there is no task \"{name}\": use one of {}",
        names.join(", ")
    )
}

/// Whether a value can be used, or else the field at fault.
fn check(sample: &Sample, tasks: &[Resolved]) -> Result<(), (&'static str, String)> {
    let Some(task) = tasks.iter().find(|t| t.name == sample.task) else {
        return Err(("task", no_task(tasks, &sample.task)));
    };
    let Some(rule) = &task.scale else {
        return Err((
            "task",
            format!(
                "\"{}\" follows no load: give it \"scale\" in its manifest",
                sample.task
            ),
        ));
    };
    if !rule.follows(&sample.metric) {
        let own = rule.metric.as_ref().map(|(name, _)| name.as_str());
        let known: Vec<&str> = own
            .into_iter()
            .chain(rule.requests.map(|_| REQUESTS))
            .collect();
        let hint = match (known.is_empty(), sample.metric.as_str()) {
            (_, CPU) => "processor time is observed, not pushed".to_owned(),
            (true, _) => "it follows nothing that is pushed".to_owned(),
            (false, _) => format!("push {}", known.join(" or ")),
        };
        return Err((
            "metric",
            format!(
                "\"{}\" does not follow \"{}\": {hint}",
                sample.task, sample.metric
            ),
        ));
    }
    if !(0.0..=MAX_VALUE).contains(&sample.value) {
        return Err((
            "value",
            format!("{} is out of range: send 0 to {MAX_VALUE}", sample.value),
        ));
    }
    Ok(())
}

fn change(task: &Resolved, after: u32, why: String) -> Change {
    let job = task.scale.as_ref().is_some_and(|r| r.job);
    Change {
        task: task.name.clone(),
        target: task.target.clone(),
        job,
        before: task.replicas,
        after,
        why,
    }
}

fn answer<'a>(
    key: &DeploymentKey,
    generation: u64,
    changes: impl Iterator<Item = &'a Change>,
) -> Scaled {
    let task = |c: &Change| ScaledTask {
        task: c.task.clone(),
        target: c.target.clone(),
        before: c.before,
        after: c.after,
    };
    Scaled {
        namespace: key.namespace.clone(),
        name: key.name.clone(),
        generation,
        tasks: changes.map(task).collect(),
    }
}

/// The manifest with another number of replicas, at every target that has the task.
fn with_replicas(mut manifest: Manifest, task: &TaskName, replicas: u32) -> Manifest {
    if let Some(service) = manifest.spec.services.get_mut(task) {
        service.replicas = replicas;
    }
    if let Some(job) = manifest.spec.jobs.get_mut(task) {
        job.replicas = replicas;
    }
    let listed = manifest
        .spec
        .targets
        .iter_mut()
        .flat_map(|t| &mut t.services)
        .filter(|s| s.name == *task);
    for service in listed {
        if service.replicas.is_some() {
            service.replicas = Some(replicas);
        }
    }
    manifest
}
