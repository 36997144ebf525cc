//! Continuous re-placement: looks at what runs by the quotes of now, and moves what has opted in to where the policy would place it if that
//! is worth it. A move is a decision like any other: its places are taken over by the next step, and the update's engine carries it out.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tradewind_api::{Looked, ReplacementView, ReplacementsView};
use tradewind_core::{
    capability::Clock,
    cost,
    event::{Cause, Reason, Severity},
    manifest::{ReplacementSpec, Resolved},
    names::Namespace,
    placement::Table,
    plan::{
        self, Placement,
        stored::{AdoptedTask, Adoption},
    },
    plugin::{Plugins, Snapshot},
    record::{DeploymentKey, DeploymentRecord, Stage},
    replacement::{self, Change, Moved, Rule},
    rollout::Status,
    store::{self, Expect},
    units::{Instant, MicroUsd},
    workload::Run,
};

use crate::{
    Handle, Options, lock,
    schedule::offers::{OfferCache, Offers},
    schedule::scheduler::{DeploymentWork, Outcome, Scheduler},
    state::cache::{Cache, DeploymentState},
    state::commit::{self, Committer},
    state::journal::{CONTROLLER, event},
};

/// A service that could move.
pub(crate) struct Candidate {
    /// Index into the works.
    pub(crate) work: usize,
    pub(crate) to: Vec<Placement>,
    pub(crate) view: ReplacementView,
}

/// A look at everything.
pub(crate) struct Survey {
    pub(crate) works: Vec<DeploymentWork>,
    pub(crate) outcomes: Vec<Outcome>,
    pub(crate) candidates: Vec<Candidate>,
}

impl Handle {
    /// What would move by the quotes of now, and why the rest stays. Changes nothing.
    pub async fn replacements(&self) -> ReplacementsView {
        let snapshot = self.shared.plugins.snapshot();
        let survey = self.shared.rebalancer.survey(&snapshot, |_, _| true).await;
        let at = self.shared.clock.now();
        ReplacementsView::new(
            survey.candidates.into_iter().map(|c| c.view).collect(),
            Looked { at },
        )
    }
}

/// Moves services to where they cost less.
pub(crate) struct Rebalancer {
    pub(crate) cache: Arc<Mutex<Cache>>,
    pub(crate) committer: Arc<Committer>,
    pub(crate) namespaces: Arc<Mutex<crate::state::book::NamespaceBook>>,
    pub(crate) plugins: Arc<dyn Plugins>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) options: Arc<Options>,
    pub(crate) scheduler: Arc<Scheduler>,
    pub(crate) offers: Arc<Offers>,
    pub(crate) quotes: Arc<OfferCache>,
    pub(crate) stop: CancellationToken,
}

impl Rebalancer {
    /// Looks again and again until the controller stops.
    pub(crate) async fn run(self: Arc<Self>) {
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = tokio::time::sleep(self.options.replacement_interval.std()) => {}
            }
            let snapshot = self.plugins.snapshot();
            let survey = self
                .survey(&snapshot, |key, record| self.rule_of(key, record).is_some())
                .await;
            // One service of a deployment at a time: the others' turn comes when it has moved.
            let mut moved = std::collections::BTreeSet::new();
            for candidate in survey.candidates.iter().filter(|c| c.view.moves) {
                let (Some(work), Some(outcome)) = (
                    survey.works.get(candidate.work),
                    survey.outcomes.get(candidate.work),
                ) else {
                    continue;
                };
                if !moved.insert(candidate.work)
                    || !self.within_namespace(&work.key.namespace, candidate.view.moving)
                {
                    continue;
                }
                let why = |v: &ReplacementView| {
                    format!(
                        "it saves {} per hour, and moving costs {}",
                        v.saving_per_hour, v.migration_cost
                    )
                };
                match self.begin_moves(work, outcome, &[candidate], why).await {
                    // Another write came first: it is looked at again.
                    Ok(()) | Err(store::Error::Conflict { .. }) => {}
                    Err(error) => {
                        tracing::warn!(deployment = %work.key, error = &error as &dyn std::error::Error, "a move could not be begun");
                    }
                }
            }
        }
    }

    /// When a deployment's services move: as it says itself, else as its namespace does. None: never.
    fn rule_of(&self, key: &DeploymentKey, record: &DeploymentRecord) -> Option<Rule> {
        let own = record
            .manifest
            .spec
            .replacement
            .as_ref()
            .map(ReplacementSpec::rule);
        let of_namespace = || {
            lock(&self.namespaces)
                .replacement(&key.namespace)
                .map(ReplacementSpec::rule)
        };
        own.or_else(of_namespace).filter(|rule| rule.max_moves > 0)
    }

    /// Has the policy place everything that is settled and wanted as if it ran nowhere, and weighs the difference.
    pub(crate) async fn survey(
        self: &Arc<Self>,
        snapshot: &Snapshot,
        wanted: impl Fn(&DeploymentKey, &DeploymentRecord) -> bool,
    ) -> Survey {
        let mut works: Vec<DeploymentWork> = Vec::new();
        let mut lately: BTreeMap<Namespace, u32> = BTreeMap::new();
        let now = self.clock.now();
        {
            let cache = lock(&self.cache);
            for (key, entry) in &cache.deployments {
                *lately.entry(key.namespace.clone()).or_default() +=
                    replacement::lately(&entry.record.moves, now);
                if is_settled(entry) {
                    let (record, revision, resolved, all) = (
                        entry.record.clone(),
                        entry.revision,
                        entry.resolved.clone(),
                        entry.actual(),
                    );
                    works.push(DeploymentWork {
                        key: key.clone(),
                        record,
                        revision,
                        resolved,
                        actual: Vec::new(),
                        all,
                        order: Default::default(),
                    });
                }
            }
        }
        works.retain(|w| wanted(&w.key, &w.record));
        if works.is_empty() {
            return Survey {
                works,
                outcomes: Vec::new(),
                candidates: Vec::new(),
            };
        }
        let (outcomes, _) = self.scheduler.decide(snapshot, &works).await;
        let (table, _) = self.offers.assess(snapshot).await;
        let mut candidates = Vec::new();
        for (w, (work, outcome)) in works.iter().zip(&outcomes).enumerate() {
            for task in work
                .resolved
                .iter()
                .filter(|t| t.workload.run == Run::Service && t.replicas > 0)
            {
                let in_namespace = lately.get(&work.key.namespace).copied().unwrap_or(0);
                candidates.push(self.weigh_move(w, work, task, outcome, &table, in_namespace, now));
            }
        }
        // What saves most has the budget first.
        candidates.sort_by_key(|c| std::cmp::Reverse(c.view.saving_per_hour));
        Survey {
            works,
            outcomes,
            candidates,
        }
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "everything that a move depends on, gathered once"
    )]
    fn weigh_move(
        &self,
        index: usize,
        work: &DeploymentWork,
        task: &Resolved,
        outcome: &Outcome,
        table: &Table,
        lately_in_namespace: u32,
        now: Instant,
    ) -> Candidate {
        let asked = self.rule_of(&work.key, &work.record);
        let rule = asked.unwrap_or_default();
        let here = plan::current(task, &work.all);
        let desired = outcome
            .desired
            .iter()
            .find(|d| d.task == task.name && d.target == task.target);
        let there = desired.map(|d| d.placements.clone()).unwrap_or_default();
        let held = |p: &Placement| {
            here.iter()
                .filter(|h| same_place(h, p))
                .map(|h| h.replicas)
                .sum::<u32>()
        };
        let moving = there
            .iter()
            .map(|p| p.replicas.saturating_sub(held(p)))
            .sum();
        let hourly_now = here
            .iter()
            .map(|p| quoted(task, p, table))
            .sum::<Option<Money>>()
            .map(|m| m.0);
        let then = there
            .iter()
            .map(total)
            .fold(MicroUsd(0), MicroUsd::saturating_add);
        let mine = work
            .all
            .iter()
            .filter(|r| r.serves(&task.name, task.target.as_ref()));
        let change = Change {
            now: hourly_now.unwrap_or(MicroUsd(0)),
            then,
            moving,
            placed_at: mine.map(|r| r.intent.created_at).max().unwrap_or(now),
            lately: replacement::lately(&work.record.moves, now),
            lately_in_namespace,
        };
        let judged = match () {
            () if asked.is_none() => {
                Err("it has not opted in (spec.replacement, and not with maxMoves: 0)".to_owned())
            }
            () if outcome.failure.is_some() => Err("the policy could not decide".to_owned()),
            () if there.iter().map(|p| p.replicas).sum::<u32>() < task.replicas => {
                Err("there is not room for all of its replicas elsewhere".to_owned())
            }
            () if hourly_now.is_none() => Err("where it is nothing is quoted now".to_owned()),
            () => replacement::judge(&rule, self.options.replacement_max_moves, &change, now)
                .map_err(|why| why.to_string()),
        };
        let view = ReplacementView {
            namespace: work.key.namespace.clone(),
            deployment: work.key.name.clone(),
            task: task.name.clone(),
            target: task.target.clone(),
            from: here.iter().map(told).collect(),
            to: there.iter().map(told).collect(),
            moving,
            hourly_now,
            hourly_then: then,
            saving_per_hour: if hourly_now.is_some() && moving > 0 {
                replacement::saving(&change)
            } else {
                MicroUsd(0)
            },
            migration_cost: replacement::cost(&rule, &change),
            horizon: rule.horizon,
            moves: judged.is_ok(),
            stays: judged.err().unwrap_or_default(),
        };
        Candidate {
            work: index,
            to: there,
            view,
        }
    }

    /// Whether so many replicas of a namespace may move besides those that have within the last hour.
    fn within_namespace(&self, namespace: &Namespace, moving: u32) -> bool {
        let now = self.clock.now();
        let cache = lock(&self.cache);
        let lately: u32 = cache
            .of_namespace(namespace)
            .map(|(_, e)| replacement::lately(&e.record.moves, now))
            .sum();
        lately.saturating_add(moving) <= self.options.replacement_max_moves
    }

    /// Stores the places that the next step takes over. `why`: what the event of each move says.
    pub(crate) async fn begin_moves(
        &self,
        work: &DeploymentWork,
        outcome: &Outcome,
        candidates: &[&Candidate],
        why: impl Fn(&ReplacementView) -> String,
    ) -> Result<(), store::Error> {
        let now = self.clock.now();
        let moving = |t: &Resolved| {
            candidates
                .iter()
                .find(|c| t.name == c.view.task && t.target == c.view.target)
        };
        let adopted = |t: &Resolved| AdoptedTask {
            task: t.name.clone(),
            target: t.target.clone(),
            replicas: t.replicas,
            placements: moving(t).map_or_else(|| plan::current(t, &work.all), |c| c.to.clone()),
            decided: moving(t).is_some(),
        };
        let decision = outcome.decision.clone().map(|mut decision| {
            decision
                .tasks
                .retain(|t| candidates.iter().any(|c| t.task == c.view.task));
            decision
        });
        let cause = decision.as_ref().map(|d| Cause::Decision(d.id.clone()));
        let mut record = (*work.record).clone();
        record.adopt = Some(Adoption {
            decision,
            tasks: work.resolved.iter().map(adopted).collect(),
        });
        record.moves.retain(|m| now.since(m.at) < replacement::HOUR);
        let mut change = commit::Change::new();
        change.expect(Expect::AtRevision {
            key: work.key.path(),
            revision: work.revision,
        });
        for Candidate { view, .. } in candidates {
            record.moves.push(Moved {
                at: now,
                task: view.task.clone(),
                replicas: view.moving,
            });
            let message = format!(
                "{} moves from {} to {}: {}",
                view.task,
                view.from.join(", "),
                view.to.join(", "),
                why(view)
            );
            let mut told = event(
                Severity::Info,
                Reason::ReplacementBegun,
                CONTROLLER,
                &work.key,
                message,
            )
            .changing(
                Some(&serde_json::json!({ "places": view.from, "hourly": view.hourly_now })),
                Some(&serde_json::json!({ "places": view.to, "hourly": view.hourly_then })),
            );
            (told.cause, told.task) = (cause.clone(), Some(view.task.clone()));
            change.event(told);
        }
        if let Some(decision) = record.adopt.as_ref().and_then(|a| a.decision.as_ref()) {
            change.decision(decision)?;
        }
        change.put_progress(&work.key, record)?;
        change.inputs(outcome.inputs.as_ref());
        change.enqueue(&work.key);
        self.committer.commit(change).await.map(drop)
    }
}

/// Whether nothing of a deployment is on its way anywhere.
pub(crate) fn is_settled(entry: &DeploymentState) -> bool {
    let record = &entry.record;
    let done = record
        .rollout
        .as_ref()
        .is_none_or(|r| r.status == Status::Done);
    let still = !record.deleting
        && record.adopt.is_none()
        && entry.planned == record.generation
        && entry.failure.is_none();
    let rests = |l: &crate::state::cache::AllocationState| {
        let r = &l.record;
        r.intent.stage == Stage::Applied
            && !r.intent.superseded
            && !r.status.lost
            && r.intent.hedge.is_none()
            && r.intent.drain.is_none()
            && l.is_ready()
    };
    done && still
        && entry.unplaced.is_empty()
        && !entry.allocations.is_empty()
        && entry.allocations.values().all(rests)
}

fn same_place(a: &Placement, b: &Placement) -> bool {
    a.provider == b.provider && a.offer.id == b.offer.id
}

fn total(p: &Placement) -> MicroUsd {
    p.hourly.saturating_mul(u64::from(p.replicas))
}

/// What replicas cost per hour where they are, by the quote of now. None: there is none.
fn quoted(task: &Resolved, at: &Placement, table: &Table) -> Option<Money> {
    let placed = table
        .offers()
        .iter()
        .find(|p| p.provider == at.provider && *p.offer.id == *at.offer.id)?;
    let hourly = cost::hourly(&task.workload.resources, &placed.offer);
    Some(Money(hourly.saturating_mul(u64::from(at.replicas))))
}

/// A sum that stays within its bounds.
struct Money(MicroUsd);

impl std::iter::Sum for Money {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        Self(all.fold(MicroUsd(0), |sum, one| sum.saturating_add(one.0)))
    }
}

fn told(p: &Placement) -> String {
    let parts = [p.provider.as_str(), &p.offer.region, &p.offer.size];
    format!(
        "{} × {}",
        p.replicas,
        parts
            .into_iter()
            .filter(|t| !t.is_empty())
            .collect::<Vec<_>>()
            .join("/")
    )
}
