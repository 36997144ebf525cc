//! What was decided while a provider had not answered yet is looked at once more when it has: a service that the policy would have given to
//! that provider moves there while it is new. Jobs stay, and what keeps data in a volume. After a restart the stored decisions tell what was hasty.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures::{StreamExt, TryStreamExt, stream};
use tradewind_core::{
    cordon,
    decision::Decision,
    names::{DecisionId, InstanceName},
    record::{AllocationRecord, DECISIONS, DeploymentKey},
    store::{self, Store},
    units::{Instant, Millis},
};

use crate::{
    background::rebalancer::{Candidate, Rebalancer, Survey, is_settled},
    lock,
    state::{
        cache::{Cache, DeploymentState},
        journal,
        notes::Hasty,
    },
};

/// How often it is looked whether what was placed hastily runs by now.
const LOOK: Duration = Duration::from_millis(200);
/// What was placed longer ago has become expensive to move.
const NEW_FOR: Millis = Millis(600_000);

impl Hasty {
    /// None: every provider had answered.
    pub(crate) fn of(decision: &Decision, generation: u64) -> Option<Self> {
        let unanswered: BTreeSet<InstanceName> = decision.unanswered.iter().cloned().collect();
        (!unanswered.is_empty()).then_some(Self {
            unanswered,
            generation,
            since: decision.at,
        })
    }

    fn is_new(&self, now: Instant) -> bool {
        now.since(self.since) < NEW_FOR
    }
}

/// Reads that are under way at once.
const READS: usize = 16;

/// Takes up after a restart what had been placed hastily a moment before: the decisions that allocations stand on say it.
pub(crate) async fn resume(
    store: &dyn Store,
    cache: &mut Cache,
    now: Instant,
) -> Result<(), store::Error> {
    // A decision places many deployments, and after a bad day all of them are new.
    let ids: BTreeSet<DecisionId> = cache
        .deployments
        .values()
        .flat_map(|entry| new_decisions(entry, now))
        .collect();
    let read = stream::iter(ids).map(|id| async move {
        let stored = store.get(&format!("{DECISIONS}{id}")).await?;
        let decision: Option<Decision> = stored.as_ref().map(journal::decode).transpose()?;
        let hasty = decision.and_then(|decision| Hasty::of(&decision, 0));
        Ok::<_, store::Error>(hasty.filter(|h| h.is_new(now)).map(|h| (id, h)))
    });
    let read: Vec<Option<(DecisionId, Hasty)>> = read.buffer_unordered(READS).try_collect().await?;
    let hasty: BTreeMap<DecisionId, Hasty> = read.into_iter().flatten().collect();
    if hasty.is_empty() {
        return Ok(());
    }
    for entry in cache.deployments.quietly().values_mut() {
        for id in new_decisions(entry, now) {
            let Some(more) = hasty.get(&id) else {
                continue;
            };
            let known = entry.hasty.get_or_insert_with(|| Hasty {
                generation: entry.record.generation,
                ..more.clone()
            });
            known.unanswered.extend(more.unanswered.iter().cloned());
            known.since = known.since.max(more.since);
        }
    }
    Ok(())
}

/// The decisions that a deployment's new allocations stand on.
fn new_decisions(entry: &DeploymentState, now: Instant) -> Vec<DecisionId> {
    let new = |r: &AllocationRecord| {
        r.intent.generation == entry.record.generation
            && r.intent.stays()
            && now.since(r.intent.created_at) < NEW_FOR
    };
    entry
        .allocations
        .values()
        .filter(|l| new(&l.record))
        .filter_map(|l| l.record.intent.decision.clone())
        .collect()
}

impl Rebalancer {
    /// The providers that are waited for.
    fn missing(&self) -> BTreeSet<InstanceName> {
        lock(&self.cache)
            .deployments
            .values()
            .filter_map(|e| e.hasty.as_ref())
            .flat_map(|h| h.unanswered.clone())
            .collect()
    }

    /// Runs until the controller stops.
    pub(crate) async fn reconsider(self: std::sync::Arc<Self>) {
        loop {
            let any = lock(&self.cache)
                .deployments
                .values()
                .any(|e| e.hasty.is_some());
            let look = async {
                match any {
                    true => tokio::time::sleep(LOOK).await,
                    false => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = self.offers.answered.notified() => {}
                () = look => {}
            }
            let snapshot = self.plugins.snapshot();
            // After a restart nobody else may have a question for them.
            self.missing()
                .iter()
                .filter_map(|p| snapshot.providers.get(p))
                .for_each(|p| self.offers.ask_first(p));
            let answered = self.quotes.answered();
            let now = self.clock.now();
            let known =
                |p: &InstanceName| answered.contains(p) || !snapshot.providers.contains_key(p);
            let mut due: BTreeMap<DeploymentKey, BTreeSet<InstanceName>> = BTreeMap::new();
            for (key, entry) in lock(&self.cache).deployments.quietly() {
                let late = take_answered(entry, now, known);
                if !late.is_empty() {
                    due.insert(key.clone(), late);
                }
            }
            if due.is_empty() {
                continue;
            }
            let survey = self.survey(&snapshot, |key, _| due.contains_key(key)).await;
            for (work, moves) in better(&survey, &due) {
                let (Some(of), Some(outcome)) = (survey.works.get(work), survey.outcomes.get(work))
                else {
                    continue;
                };
                let why = "it was placed while a provider had not answered yet";
                match self
                    .begin_moves(of, outcome, &moves, |_| why.to_owned())
                    .await
                {
                    // Another write came first, and brings a decision of its own.
                    Ok(()) | Err(store::Error::Conflict { .. }) => {}
                    Err(error) => {
                        tracing::warn!(deployment = %of.key, error = &error as &dyn std::error::Error, "a move could not be begun");
                    }
                }
            }
        }
    }
}

/// Those of a hasty decision's missing providers that have answered by now, once the deployment runs. They are not waited for again.
fn take_answered(
    entry: &mut DeploymentState,
    now: Instant,
    known: impl Fn(&InstanceName) -> bool,
) -> BTreeSet<InstanceName> {
    let settled = is_settled(entry);
    let (generation, deleting) = (entry.record.generation, entry.record.deleting);
    let Some(hasty) = &mut entry.hasty else {
        return BTreeSet::new();
    };
    if deleting || hasty.generation != generation || !hasty.is_new(now) {
        entry.hasty = None;
        return BTreeSet::new();
    }
    if !settled {
        return BTreeSet::new();
    }
    let late: BTreeSet<InstanceName> = hasty
        .unanswered
        .iter()
        .filter(|p| known(p))
        .cloned()
        .collect();
    hasty.unanswered.retain(|p| !late.contains(p));
    if hasty.unanswered.is_empty() {
        entry.hasty = None;
    }
    late
}

/// The services that go to a provider that was missing, by their work.
fn better<'a>(
    survey: &'a Survey,
    due: &BTreeMap<DeploymentKey, BTreeSet<InstanceName>>,
) -> BTreeMap<usize, Vec<&'a Candidate>> {
    let mut moves: BTreeMap<usize, Vec<&Candidate>> = BTreeMap::new();
    for candidate in &survey.candidates {
        let (Some(work), Some(outcome)) = (
            survey.works.get(candidate.work),
            survey.outcomes.get(candidate.work),
        ) else {
            continue;
        };
        let Some(task) = work
            .resolved
            .iter()
            .find(|t| t.name == candidate.view.task && t.target == candidate.view.target)
        else {
            continue;
        };
        let whole = candidate.to.iter().map(|p| p.replicas).sum::<u32>() == task.replicas
            && outcome.failure.is_none();
        let late = due
            .get(&work.key)
            .is_some_and(|late| candidate.to.iter().any(|p| late.contains(&p.provider)));
        if candidate.view.moving > 0 && whole && late && cordon::data_of(&task.workload).is_none() {
            moves.entry(candidate.work).or_default().push(candidate);
        }
    }
    moves
}
