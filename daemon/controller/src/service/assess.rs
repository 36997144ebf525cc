//! Assessments: what every cloud offers for tasks, how it performs, and what the policy would choose. Changes nothing and keeps nothing.

use tradewind_core::{
    assess::{self, Background, Benefit, ChoiceReport, Report, Shape, TaskReport},
    manifest::{Manifest, Resolved},
    names::Namespace,
    placement::Want,
    plan::Desired,
};

use crate::{
    Error, Handle,
    schedule::scheduler::{DeploymentWork, Outcome},
};

/// Tasks times offers: a report has a row for each.
const MOST_ROWS: usize = 500_000;

impl Handle {
    /// What every cloud offers for the manifest's tasks, with every term of the cost, and what the policy would choose.
    ///
    /// # Errors
    /// `Plugin` when the policy fails.
    pub async fn assess(&self, manifest: Manifest) -> Result<Report, Error> {
        self.report(self.work(manifest)).await
    }

    /// The same for one shape, as if a service of it were to run in this namespace.
    ///
    /// # Errors
    /// `Plugin` when the policy fails.
    pub async fn assess_shape(
        &self,
        namespace: &Namespace,
        shape: &Shape,
    ) -> Result<Report, Error> {
        let invalid = |e: serde_json::Error| Error::Invalid {
            path: "shape".to_owned(),
            message: e.to_string(),
        };
        self.assess(shape.manifest(namespace).map_err(invalid)?)
            .await
    }

    async fn report(&self, mut work: DeploymentWork) -> Result<Report, Error> {
        // An assessment is about what is on sale, not about what runs.
        work.actual.clear();
        let shared = &self.shared;
        let snapshot = shared.plugins.snapshot();
        let (mut outcomes, mut failures) = shared
            .scheduler
            .decide(&snapshot, std::slice::from_ref(&work))
            .await;
        let mut outcome = outcomes.pop().unwrap_or_default();
        if let Some(failure) = outcome.failure.take() {
            return Err(Error::Plugin(failure));
        }
        // Of what is closed to the namespace nothing is told.
        let snapshot = snapshot.open_to(&work.key.namespace);
        failures.retain(|f| snapshot.providers.contains_key(&f.provider));
        let (table, _) = shared.offers.assess(&snapshot).await;
        let (quotes, measures) = (shared.quotes.quoted(), shared.meters.measures());
        let background = Background {
            quotes: &quotes,
            measures: &measures,
            now: shared.clock.now(),
        };
        let (all, offers) = (work.resolved.len(), table.offers().len());
        if all.saturating_mul(offers) > MOST_ROWS {
            let message = format!(
                "{all} tasks with {offers} offers each are too many to report on: assess at most {} at once",
                MOST_ROWS / offers
            );
            return Err(Error::Invalid {
                path: "spec".to_owned(),
                message,
            });
        }
        let mut tasks = Vec::with_capacity(all);
        for (task, desired) in work.resolved.iter().zip(&outcome.desired) {
            let want = Want::of(&work.key.namespace, &work.key.name, task);
            let (offers, excluded) = assess::task(&want, &table, &background);
            tasks.push(report(task, desired, &outcome, offers, excluded));
            // Others have their turn, and nothing goes on for a client that has left.
            tokio::task::yield_now().await;
        }
        Ok(Report {
            at: background.now,
            tasks,
            failures,
        })
    }
}

fn report(
    task: &Resolved,
    desired: &Desired,
    outcome: &Outcome,
    offers: Vec<assess::OfferReport>,
    excluded: Vec<assess::Excluded>,
) -> TaskReport {
    let policy = outcome.decision.as_ref().map(|d| d.policy.instance.clone());
    let choice = desired.placements.iter().filter_map(|p| {
        Some(ChoiceReport {
            provider: p.provider.clone(),
            region: p.offer.region.clone(),
            size: p.offer.size.clone(),
            offer: p.offer.id.clone(),
            replicas: p.replicas,
            policy: policy.clone()?,
        })
    });
    let choice: Vec<ChoiceReport> = choice.collect();
    TaskReport {
        task: task.name.clone(),
        target: task.target.clone(),
        replicas: task.replicas,
        cpu: task.workload.resources.cpu,
        memory: task.workload.resources.memory,
        duration: task.duration,
        benefit: Benefit::of(&offers, &choice, task.replicas),
        offers,
        excluded,
        choice,
        unplaced: outcome
            .unplaced
            .iter()
            .find(|u| u.task == task.name)
            .map(|u| {
                let noun = if u.replicas == 1 {
                    "replica"
                } else {
                    "replicas"
                };
                format!("{} {noun}: {}", u.replicas, u.reason)
            }),
    }
}
