//! Restarting services: the same manifest under a new generation, of which the services' replicas are replaced as by any other update.
//! It must not touch jobs.

use tradewind_api::{Accepted, command};
use tradewind_core::{
    names::{Actor, DeploymentName, Namespace, TaskName},
    record::{DeploymentKey, DeploymentRecord, Restart},
    rollout::{Cause, Outcome},
    workload::Run,
};

use crate::{
    Error, Handle, lock,
    service::handle::not_found,
    service::plans::ByHand,
    service::rerun::{names, no_task},
    service::revisions::Why,
    state::cache::DeploymentState,
};

/// The most characters of a reason.
const REASON: usize = 200;

impl Handle {
    /// Replaces the replicas of a service by new ones of the same manifest, as its `update` says; none named: those of every service.
    ///
    /// # Errors
    /// `NotFound`, `NoTask`, `Invalid` for a job and for a reason that is too long, `Generation`, `Deleting`, `Plan` where only approved
    /// plans change something, or the state can't be written. Nothing has been changed then.
    pub async fn restart(
        &self,
        actor: &Actor,
        namespace: &Namespace,
        name: &DeploymentName,
        task: Option<&TaskName>,
        reason: &str,
        if_generation: Option<u64>,
    ) -> Result<Accepted, Error> {
        let key = DeploymentKey {
            namespace: namespace.clone(),
            name: name.clone(),
        };
        check_reason(reason)?;
        let (record, services) = {
            let cache = lock(&self.shared.cache);
            let entry = cache.deployments.get(&key).ok_or_else(|| not_found(&key))?;
            (entry.record.clone(), services(&key, entry, task)?)
        };
        self.may_change(namespace, ByHand::Restart)?;
        // What has been judged is this generation.
        let generation = if_generation.unwrap_or(record.generation);
        let told = match reason {
            "" => names(&services),
            reason => format!("{}: {reason}", names(&services)),
        };
        let why = Why {
            cause: Cause::Restart,
            reason: told,
            restarts: services,
            ..Why::put()
        };
        self.write_manifest(actor, record.manifest.clone(), Some(generation), why)
            .await
    }
}

/// Notes the restarts that come with the record's generation. A return takes back those that never became healthy: what ran before them
/// may still run, and takes over again.
pub(crate) fn note(record: &mut DeploymentRecord, why: &Why) {
    let (generation, spec, revisions) =
        (record.generation, &record.manifest.spec, &record.revisions);
    let healthy = |n: u64| {
        revisions
            .iter()
            .any(|mark| mark.generation == n && mark.outcome == Outcome::Healthy)
    };
    let kept = |n: u64| revisions.iter().any(|mark| mark.generation == n);
    let taken_back = |n: u64| why.of.is_some_and(|of| n > of) && kept(n) && !healthy(n);
    let before = std::mem::take(&mut record.restarts);
    record.restarts = before
        .iter()
        .filter(|r| spec.services.contains_key(&r.task) && !taken_back(r.generation))
        // Of those to which nobody can return any more, the last one counts.
        .filter(|r| {
            kept(r.generation)
                || !before.iter().any(|other| {
                    other.task == r.task
                        && other.generation > r.generation
                        && !taken_back(other.generation)
                })
        })
        .cloned()
        .chain(why.restarts.iter().map(|task| Restart {
            task: task.clone(),
            generation,
        }))
        .collect();
}

pub(crate) fn check_reason(reason: &str) -> Result<(), Error> {
    let long = reason.chars().count();
    let message = if long > REASON {
        format!("it has {long} characters: at most {REASON} are kept")
    } else if reason.chars().any(char::is_control) {
        "it has control characters: write one line of text".to_owned()
    } else {
        return Ok(());
    };
    Err(Error::Invalid {
        path: "reason".to_owned(),
        message,
    })
}

fn services(
    key: &DeploymentKey,
    entry: &DeploymentState,
    wanted: Option<&TaskName>,
) -> Result<Vec<TaskName>, Error> {
    let invalid = |message: String| Error::Invalid {
        path: "task".to_owned(),
        message,
    };
    let again = |name: &dyn std::fmt::Display| {
        let line = format!("run {} {name}", key.name);
        command(&key.namespace, line.trim_end())
    };
    if let Some(name) = wanted {
        let found = entry.resolved.iter().find(|task| task.name == *name);
        let task = found.ok_or_else(|| no_task(key, &entry.resolved, name))?;
        return match task.workload.run {
            Run::Service => Ok(vec![name.clone()]),
            Run::Job { .. } => Err(invalid(format!(
                "\"{name}\" is a job: only services restart; {} runs it again once it has ended",
                again(name)
            ))),
        };
    }
    let mut services: Vec<TaskName> = entry
        .resolved
        .iter()
        .filter(|task| task.workload.run == Run::Service)
        .map(|task| task.name.clone())
        .collect();
    services.dedup();
    if services.is_empty() {
        return Err(invalid(format!(
            "\"{key}\" has no services: only services restart; {} runs jobs again that have ended",
            again(&"")
        )));
    }
    Ok(services)
}

#[cfg(test)]
mod tests {
    use tradewind_core::{manifest::Manifest, rollout::Mark, units::Instant};

    use super::*;

    fn record(marks: &[(u64, Outcome)], restarts: &[u64]) -> DeploymentRecord {
        let manifest: Manifest = serde_json::from_str(
            r#"{"apiVersion":"tradewind.dev/v1","kind":"CloudDeployment","metadata":{"name":"x"},
               "spec":{"services":{"web":{"command":["run"]}}}}"#,
        )
        .expect("a manifest");
        let mark = |&(generation, outcome): &(u64, Outcome)| Mark {
            generation,
            at: Instant(0),
            actor: "token:admin".to_owned(),
            cause: Cause::Restart,
            of: None,
            outcome,
            reason: String::new(),
        };
        let restart = |&generation: &u64| Restart {
            task: "web".parse().expect("a name"),
            generation,
        };
        DeploymentRecord {
            generation: 9,
            manifest,
            deleting: false,
            scales: Vec::new(),
            created_at: Instant(0),
            updated_at: Instant(0),
            rollout: None,
            revisions: marks.iter().map(mark).collect(),
            adopt: None,
            moves: Vec::new(),
            reruns: Vec::new(),
            restarts: restarts.iter().map(restart).collect(),
            schedules: Vec::new(),
            begun: Vec::new(),
            released: Vec::new(),
            waiting: Vec::new(),
        }
    }

    #[test]
    fn a_return_takes_back_restarts_that_never_became_healthy_and_no_others() {
        use Outcome::{Failed, Healthy};
        let left = |marks: &[(u64, Outcome)], restarts: &[u64], of: Option<u64>| {
            let mut record = record(marks, restarts);
            note(&mut record, &Why { of, ..Why::put() });
            record
                .restarts
                .iter()
                .map(|r| r.generation)
                .collect::<Vec<_>>()
        };
        let marks = [(5, Healthy), (7, Healthy), (8, Failed)];
        assert_eq!(left(&marks, &[5, 8], Some(5)), [5], "the failed one goes");
        assert_eq!(
            left(&marks, &[5, 7], Some(5)),
            [5, 7],
            "the healthy one stays"
        );
        assert_eq!(
            left(&marks, &[5, 8], None),
            [5, 8],
            "another manifest takes none back"
        );
        assert_eq!(
            left(&marks, &[2, 3, 8], Some(5)),
            [3],
            "the last of the forgotten counts"
        );
    }
}
