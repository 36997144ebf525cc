//! Deciding: one policy call for a whole batch of deployments, and what it means for each of them.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use parking_lot::Mutex;
use tradewind_core::{
    budget::HeldBack,
    budget::Verdict as Judgement,
    capability::Clock,
    cordon::Cordons,
    decision::{Decision, RankedOffer},
    failure::ProviderFailure,
    failure::{Failure, NO_ANSWER_YET},
    job,
    manifest::Resolved,
    names::{DecisionId, InstanceName, Namespace},
    order::Standing,
    placement::{self, Need, Table, Want},
    plan::preview::Unplaced,
    plan::{self, Desired, Placement, stored::Adoption},
    plugin::{Policy, Snapshot},
    record::{AllocationRecord, DeploymentKey, DeploymentRecord},
    store::Revision,
    units::{Instant, MicroUsd},
};

use crate::{
    Options, lock,
    observe::recovery as health,
    schedule::admission::{Admission, Budgets, Chosen},
    schedule::cordons::{self, Stays},
    schedule::offers::Offers,
    schedule::policy_call::{Decided, PolicyAnswer},
    schedule::preemption::{Preemption, Preemptor},
    schedule::refusals::Refusals,
    schedule::room::{self, Added},
    schedule::spaces::{leaves, shut_out, whose},
    schedule::turn::{Asked, Turn, in_turn},
    state::cache::Cache,
    state::commit::Ids,
    state::inputs::Inputs,
    state::notes::Stuck,
};

/// How many reasons are told of a task that has no candidate.
const MOST_CAUSES: usize = 3;

/// A deployment to decide about.
#[derive(Clone)]
pub(crate) struct DeploymentWork {
    pub(crate) key: DeploymentKey,
    pub(crate) record: Arc<DeploymentRecord>,
    /// Of the stored record: a decision holds for this one only.
    pub(crate) revision: Revision,
    pub(crate) resolved: Arc<Vec<Resolved>>,
    /// What counts: of an open hedge only its first.
    pub(crate) actual: Vec<AllocationRecord>,
    /// Everything there is of it.
    pub(crate) all: Vec<AllocationRecord>,
    /// Tasks that wait for others: what is resolved of them is what they were before.
    pub(crate) order: Standing,
}

impl DeploymentWork {
    /// The places that it takes over instead of having them chosen, as far as they are still what it wants.
    fn adoption(&self) -> Option<&Adoption> {
        let begun = self.resolved.iter().filter(|t| !self.order.holds(&t.name));
        self.record.adopt.as_ref().filter(|a| a.covers(begun))
    }
}

/// What has been decided about it.
#[derive(Default)]
pub(crate) struct Outcome {
    /// In the order of the resolved tasks.
    pub(crate) desired: Vec<Desired>,
    pub(crate) unplaced: Vec<Unplaced>,
    /// Replicas that stay at a drained place, for there is no room elsewhere.
    pub(crate) stuck: Vec<Stuck>,
    /// What holds its tasks back, as it is now.
    pub(crate) held: Vec<HeldBack>,
    /// Other deployments that have to make room.
    pub(crate) others: BTreeSet<DeploymentKey>,
    /// Places of lower priorities that it takes.
    pub(crate) preemptions: Vec<Preemption>,
    pub(crate) decision: Option<Decision>,
    /// The policy call that the decision came of.
    pub(crate) inputs: Option<Arc<Inputs>>,
    /// For the tasks' whole estimated durations, of what has been decided.
    pub(crate) estimated: MicroUsd,
    /// Nothing could be decided: `desired` is not to be used.
    pub(crate) failure: Option<Failure>,
}

/// One task that needs a decision.
pub(crate) struct PendingTask {
    /// Index into the works, and into the work's tasks.
    pub(crate) work: usize,
    pub(crate) task: usize,
    pub(crate) want: Want,
    /// Places that are not open to the policy, because their provider is silent or they are cordoned.
    pub(crate) stay: Vec<Placement>,
    /// What it has at cordoned places.
    pub(crate) cordoned: Stays,
    /// Replicas that have their place, and share it with no other of the task: they need its ports.
    pub(crate) apart: Vec<(RankedOffer, Placement)>,
}

/// What one policy's part of the batch is decided with.
#[derive(Clone, Copy)]
struct Call<'a> {
    /// Without what is closed to the tasks' namespaces.
    snapshot: &'a Snapshot,
    whole: &'a Snapshot,
    policy: &'a InstanceName,
    works: &'a [DeploymentWork],
    table: &'a Table,
    /// Providers that gave no offers.
    silent: &'a [ProviderFailure],
    cordons: &'a Cordons,
}

/// Decides where tasks go: budgets, offers, the policy, preemption.
pub(crate) struct Scheduler {
    pub(crate) cache: Arc<Mutex<Cache>>,
    pub(crate) namespaces: Arc<Mutex<crate::state::book::NamespaceBook>>,
    pub(crate) options: Arc<Options>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Arc<Ids>,
    pub(crate) budgets: Arc<Budgets>,
    pub(crate) offers: Arc<Offers>,
    pub(crate) refusals: Arc<Refusals>,
    pub(crate) preemption: Arc<Preemptor>,
}

impl Scheduler {
    /// The deployment's own policy, else its namespace's, else the daemon's.
    fn policy_of(&self, work: &DeploymentWork) -> InstanceName {
        let own = work.record.manifest.spec.policy.clone();
        let of_namespace = || lock(&self.namespaces).policy(&work.key.namespace).cloned();
        own.or_else(of_namespace)
            .unwrap_or_else(|| self.options.default_policy.clone())
    }

    /// Where a policy that is not there is asked for, when that is not the deployment itself.
    fn named_by(&self, policy: &InstanceName, works: &[DeploymentWork]) -> String {
        let asks = works
            .iter()
            .find(|w| self.policy_of(w) == *policy)
            .filter(|w| w.record.manifest.spec.policy.is_none());
        let of_namespace =
            asks.filter(|w| lock(&self.namespaces).policy(&w.key.namespace).is_some());
        match (of_namespace, asks) {
            (Some(work), _) => format!(", which namespace \"{}\" names", work.key.namespace),
            (None, Some(_)) => ", which the daemon's setting \"policy\" names".to_owned(),
            (None, None) => String::new(),
        }
    }

    /// Decides about a batch. The outcomes are in the order of the works. Providers that gave no offers come with them.
    pub(crate) async fn decide(
        self: &Arc<Self>,
        snapshot: &Snapshot,
        works: &[DeploymentWork],
    ) -> (Vec<Outcome>, Vec<ProviderFailure>) {
        let mut failures = Vec::new();
        let mut assessed = None;
        let (mut admission, mut outcomes) = (Admission::default(), Vec::new());
        let mut granted = None;
        if self.budgets.is_limited(works) {
            let (table, missing) = self.offers.assess(snapshot).await;
            let table = self.preemption.minus_nominated(table, works);
            admission = self.budgets.admit(works, Some(&table));
            let (less, held) = admission.apply(works);
            outcomes.extend(held.into_iter().map(|held| Outcome {
                unplaced: unplaced(&held),
                held,
                ..Outcome::default()
            }));
            // Those who have to make room do not hurry one another.
            let outgrown = admission.outgrown();
            let waits = works.iter().any(|w| !outgrown.contains(&w.key));
            if let Some(first) = outcomes.first_mut().filter(|_| waits) {
                first.others = outgrown;
            }
            (granted, failures, assessed) = (Some(less), missing, Some(table));
        }
        let works = granted.as_deref().unwrap_or(works);
        let (cordons, now) = (lock(&self.cache).cordons.clone(), self.clock.now());
        outcomes.resize_with(works.len(), Outcome::default);
        let mut settled: HashMap<(usize, usize), (Vec<Placement>, Option<DecisionId>)> =
            HashMap::new();
        let mut open: Vec<(Asked, PendingTask)> = Vec::new();
        let mut reaches: HashMap<&Namespace, Arc<BTreeSet<InstanceName>>> = HashMap::new();
        for (w, work) in works.iter().enumerate() {
            let closed = reaches
                .entry(&work.key.namespace)
                .or_insert_with(|| Arc::new(snapshot.closed_to(&work.key.namespace)))
                .clone();
            let asked = Asked {
                policy: self.policy_of(work),
                closed,
            };
            let mut at_cordons = cordons::look(&cordons, work, now);
            let adoption = work
                .adoption()
                .filter(|a| cordons::admit(&cordons, &at_cordons, work, a));
            outcomes
                .get_mut(w)
                .into_iter()
                .for_each(|o| o.decision = adoption.and_then(|a| a.decision.clone()));
            for ((t, task), at) in work.resolved.iter().enumerate().zip(&mut at_cordons) {
                let need = plan::need_digest(&Need::of(task));
                let actual = cordons::returning(&cordons, at, work, task, now);
                let adopted = adoption.filter(|_| !work.order.holds(&task.name));
                if let Some(adopted) = adopted.and_then(|a| a.places(task)) {
                    settled.insert((w, t), adopted);
                } else if task.replicas == 0 {
                    settled.insert((w, t), Default::default());
                } else if !at.is_unsettled
                    && !work.actual.iter().any(|r| leaves(r, task, &asked.closed))
                    && let Some(placements) = plan::settled(task, need, &actual)
                {
                    settled.insert((w, t), (placements, None));
                } else {
                    let want = Want::of(&work.key.namespace, &work.key.name, task);
                    let mut want = plan::with_current(want, task, &actual);
                    let cordoned = Stays::of(at, &mut want, work, task, |r| {
                        leaves(r, task, &asked.closed)
                    });
                    want.need.closed =
                        self.refusals
                            .closed(&work.key, &work.resolved, task, snapshot);
                    want.need.left = health::left(&self.cache, &work.key, task);
                    // Whoever is bound to others is asked for where they are alone.
                    want.hedged = task.hedge.is_some() && !placement::is_bound(&task.constraints);
                    open.push((
                        asked.clone(),
                        PendingTask {
                            work: w,
                            task: t,
                            want,
                            stay: Vec::new(),
                            cordoned,
                            apart: Vec::new(),
                        },
                    ));
                }
            }
        }

        let mut decided: HashMap<(usize, usize), Decided> = HashMap::new();
        if !open.is_empty() {
            let table = match assessed {
                Some(table) => table,
                None => {
                    let (table, missing) = self.offers.assess(snapshot).await;
                    failures = missing;
                    self.preemption.minus_nominated(table, works)
                }
            };
            for (Asked { policy, closed }, mut tasks) in in_turn(open, |o| turn(o, works)) {
                let seen = snapshot.without(&closed);
                let silent: Vec<ProviderFailure> = failures
                    .iter()
                    .filter(|f| !closed.contains(&f.provider))
                    .cloned()
                    .collect();
                let answers = |p: &InstanceName| {
                    seen.providers.contains_key(p) && !silent.iter().any(|f| f.provider == *p)
                };
                let table = room::less(&table.without(&closed), placed(works, &decided));
                for one in &mut tasks {
                    let Some((work, task)) = works
                        .get(one.work)
                        .and_then(|w| w.resolved.get(one.task).map(|t| (w, t)))
                    else {
                        continue;
                    };
                    let kept = work
                        .actual
                        .iter()
                        .filter(|r| !leaves(r, task, &closed) && cordons.fate(r, now).is_none());
                    one.stay = one.cordoned.staying(&one.want, &table);
                    one.stay
                        .extend(plan::on_silent_providers(task, kept, answers));
                    one.want
                        .current
                        .retain(|(provider, _, _)| answers(provider));
                    one.want.replicas -= one
                        .stay
                        .iter()
                        .map(|p| p.replicas)
                        .sum::<u32>()
                        .min(one.want.replicas);
                }
                self.bind(works, &mut tasks, &decided, (cordons.as_ref(), now));
                let call = Call {
                    snapshot: &seen,
                    whole: snapshot,
                    policy: &policy,
                    works,
                    table: &table,
                    silent: &silent,
                    cordons: &cordons,
                };
                self.decide_with(call, tasks, &mut admission, &mut outcomes, &mut decided)
                    .await;
            }
            assessed = Some(table);
        } else {
            assessed = None;
        }
        for (w, (work, outcome)) in works.iter().zip(&mut outcomes).enumerate() {
            let decision = outcome.decision.as_ref().map(|d| d.id.clone());
            for (t, task) in work.resolved.iter().enumerate() {
                let (placements, rivals, decision) =
                    match (settled.remove(&(w, t)), decided.remove(&(w, t))) {
                        (Some((placements, decision)), _) => (placements, Vec::new(), decision),
                        (None, Some(d)) => {
                            outcome.unplaced.extend(d.unplaced);
                            outcome.estimated = outcome.estimated.saturating_add(d.estimated);
                            if let Some(decision) = &mut outcome.decision {
                                decision.tasks.push(d.reason);
                            }
                            (d.placements, d.rivals, decision.clone())
                        }
                        // The policy failed: what runs stays as it is.
                        (None, None) => continue,
                    };
                outcome.desired.push(Desired {
                    task: task.name.clone(),
                    target: task.target.clone(),
                    workload: task.workload.clone(),
                    need: plan::need_digest(&Need::of(task)),
                    replicas: task.replicas,
                    placements,
                    rivals,
                    decision,
                    since: task.since,
                });
            }
            outcome
                .held
                .extend(self.preemption.still_preempted(work, outcome));
        }
        if let Some(table) = assessed {
            self.preemption
                .plan_preemptions(works, snapshot, &table, &mut outcomes);
        }
        (outcomes, failures)
    }

    async fn decide_with(
        &self,
        call: Call<'_>,
        mut open: Vec<PendingTask>,
        admission: &mut Admission,
        outcomes: &mut [Outcome],
        decided: &mut HashMap<(usize, usize), Decided>,
    ) {
        let Call {
            snapshot,
            whole,
            policy,
            works,
            table,
            silent,
            cordons,
        } = call;
        let verdict = match snapshot.policies.get(policy) {
            Some(policy) => self.within_budget(policy.as_ref(), call, &mut open, admission, outcomes).await,
            None if whole.policies.contains_key(policy) => Err(Failure::unavailable(format!(
                "there is no policy \"{policy}\" for {}{}",
                whose(works, &open),
                self.named_by(policy, works)
            ))
            .code("policy-missing")
            .remedy("name another policy in spec.policy, or have an admin add the namespace to namespaces in its instance file")),
            None => Err(Failure::unavailable(format!("there is no policy \"{policy}\"{}", self.named_by(policy, works)))
                .code("policy-missing")
                .remedy("put its component into the plugin folder, or name another policy in spec.policy")),
        };
        match verdict {
            Err(failure) => {
                for o in open {
                    if let Some(outcome) = outcomes.get_mut(o.work) {
                        outcome.failure = Some(failure.clone());
                    }
                }
            }
            Ok(verdict) => {
                let batch = u32::try_from(open.len()).unwrap_or(u32::MAX);
                let PolicyAnswer {
                    recorded,
                    digest,
                    took_micros,
                    note,
                    fallback,
                    certificate,
                    decided: all,
                } = verdict;
                let (policy, at, seed, lower_bound) = (
                    recorded.policy.clone(),
                    recorded.at,
                    recorded.request.seed,
                    recorded.answer.lower_bound,
                );
                // The first decision's id names the inputs of all.
                let first = DecisionId::new(self.ids.draw());
                let mut id = Some(first.clone());
                let inputs = Arc::new(Inputs::new(first, recorded));
                for (mut o, mut d) in open.into_iter().zip(all) {
                    // Without a candidate it is not the policy that knows why.
                    if d.reason.candidates == 0
                        && let Some(unplaced) = &mut d.unplaced
                    {
                        let all =
                            o.want.replicas + u32::try_from(o.apart.len()).unwrap_or(u32::MAX);
                        let refused = shut_out(&o.want, snapshot, whole);
                        unplaced.never = refused.is_some()
                            || all_told(&o.want, snapshot, silent) && table.never_fits(&o.want);
                        unplaced.reason =
                            refused.unwrap_or_else(|| without_candidate(&o.want, table, silent));
                        d.reason.unplaced = Some(format!(
                            "{} of {all} replicas: {}",
                            unplaced.replicas, unplaced.reason
                        ));
                    }
                    d.reason.candidates = d
                        .reason
                        .candidates
                        .saturating_add(u32::try_from(o.apart.len()).unwrap_or(u32::MAX));
                    d.placements.extend(std::mem::take(&mut o.stay));
                    d.placements.extend(
                        std::mem::take(&mut o.apart)
                            .into_iter()
                            .map(|(_, placement)| placement),
                    );
                    let stuck = o.cordoned.keep_last(&mut d, cordons);
                    let late: Vec<InstanceName> = silent
                        .iter()
                        .filter(|p| {
                            p.failure.code.as_deref() == Some(NO_ANSWER_YET)
                                && is_asked(&o.want, &p.provider)
                        })
                        .map(|p| p.provider.clone())
                        .collect();
                    if let Some(outcome) = outcomes.get_mut(o.work) {
                        let task = works.get(o.work).and_then(|w| w.resolved.get(o.task));
                        outcome
                            .stuck
                            .extend(stuck.zip(task).map(|((replicas, reason), task)| Stuck {
                                task: task.name.clone(),
                                target: task.target.clone(),
                                replicas,
                                reason,
                            }));
                        outcome.inputs = Some(inputs.clone());
                        outcome.decision.get_or_insert_with(|| Decision {
                            id: id
                                .take()
                                .unwrap_or_else(|| DecisionId::new(self.ids.draw())),
                            at,
                            policy: policy.clone(),
                            request: digest,
                            seed,
                            took_micros,
                            batch,
                            note: note.clone(),
                            lower_bound,
                            inputs: Some(inputs.id.clone()),
                            fallback: fallback.clone(),
                            certificate,
                            unanswered: Vec::new(),
                            tasks: Vec::new(),
                        });
                        let unanswered = outcome.decision.iter_mut().map(|d| &mut d.unanswered);
                        for known in unanswered {
                            known.extend(
                                late.iter()
                                    .filter(|p| !known.contains(p))
                                    .cloned()
                                    .collect::<Vec<_>>(),
                            );
                        }
                    }
                    decided.insert((o.work, o.task), d);
                }
            }
        }
    }

    /// Has the policy choose, once more where stepping down to cheaper places is asked for. What passes a budget all the same does not
    /// count: what runs stays as it is.
    async fn within_budget(
        &self,
        policy: &dyn Policy,
        call: Call<'_>,
        open: &mut [PendingTask],
        admission: &mut Admission,
        outcomes: &mut [Outcome],
    ) -> Result<PolicyAnswer, Failure> {
        let Call {
            snapshot,
            works,
            table,
            ..
        } = call;
        let mut verdict = self
            .call_policy_apart(policy, snapshot, works, open, table)
            .await?;
        let mut judged = admission.judge(&chosen(works, open, &verdict), false);
        if judged.iter().any(|j| matches!(j, Judgement::AtMost(_))) {
            for ((o, d), j) in open.iter_mut().zip(&verdict.decided).zip(&judged) {
                let stays = d
                    .placements
                    .iter()
                    .map(|p| p.hourly.saturating_mul(u64::from(p.replicas)));
                o.want.max_hourly = match j {
                    Judgement::AtMost(most) => {
                        // Where nothing runs yet each replica has its share, so that a dear one does not use up what all need.
                        if o.want.current.is_empty() {
                            let share = MicroUsd(most.0 / u64::from(o.want.replicas.max(1)));
                            let max_price = &mut o.want.need.constraints.max_price;
                            *max_price = Some(max_price.map_or(share, |own| own.min(share)));
                        }
                        *most
                    }
                    // What has been found to fit shall not cost more the second time.
                    Judgement::Fits | Judgement::Refused(_) => {
                        stays.fold(MicroUsd(0), MicroUsd::saturating_add)
                    }
                };
            }
            verdict = self
                .call_policy_apart(policy, snapshot, works, open, table)
                .await?;
            verdict.note = format!("{} (told to step down)", verdict.note)
                .trim()
                .to_owned();
            judged = admission.judge(&chosen(works, open, &verdict), true);
        }
        for ((o, d), j) in open.iter_mut().zip(&mut verdict.decided).zip(judged) {
            let Judgement::Refused(reason) = j else {
                continue;
            };
            let Some((work, task)) = works
                .get(o.work)
                .and_then(|w| w.resolved.get(o.task).map(|t| (w, t)))
            else {
                continue;
            };
            d.placements = o
                .cordoned
                .as_it_is(plan::current(task, &work.actual), &o.stay);
            o.stay.clear();
            o.apart.clear();
            let count = |all: &[Placement]| all.iter().map(|p| p.replicas).sum::<u32>();
            let here = count(&d.placements);
            let has = here.saturating_add(count(&o.cordoned.last));
            d.unplaced = Some(Unplaced {
                task: task.name.clone(),
                replicas: task.replicas.saturating_sub(here),
                reason: reason.clone(),
                never: false,
            });
            if let Some(outcome) = outcomes.get_mut(o.work) {
                outcome
                    .held
                    .retain(|h| h.task != task.name || h.target != task.target);
                outcome
                    .held
                    .extend(admission.refused(&work.key, task, has, &reason));
            }
        }
        Ok(verdict)
    }
}

fn turn(open: &PendingTask, works: &[DeploymentWork]) -> Turn {
    let created_at = works
        .get(open.work)
        .map_or(Instant(0), |w| w.record.created_at);
    Turn {
        priority: open.want.priority,
        created_at,
        work: open.work,
        task: open.task,
    }
}

/// What has been decided, as it takes room.
fn placed<'a>(
    works: &'a [DeploymentWork],
    decided: &'a HashMap<(usize, usize), Decided>,
) -> impl Iterator<Item = Added<'a>> {
    decided.iter().flat_map(|((w, t), d)| {
        let found = works
            .get(*w)
            .and_then(|work| work.resolved.get(*t).map(|task| (work, task)));
        d.placements.iter().filter_map(move |placement| {
            let (work, task) = found?;
            Some(Added {
                work,
                task: &task.name,
                target: task.target.as_ref(),
                resources: &task.workload.resources,
                placement,
            })
        })
    })
}

/// Whether a provider's offers would count for a task.
fn is_asked(want: &Want, provider: &InstanceName) -> bool {
    let named = &want.need.constraints.providers;
    named.is_empty() || named.contains(provider)
}

/// Whether every provider that a task could go to is there and has told its offers.
fn all_told(want: &Want, snapshot: &Snapshot, silent: &[ProviderFailure]) -> bool {
    let named = &want.need.constraints.providers;
    named.iter().all(|p| snapshot.providers.contains_key(p))
        && !silent.iter().any(|p| is_asked(want, &p.provider))
}

/// Tasks and what is there of them, without the jobs that have ended where these are not exactly what is wanted: those are out of every
/// decision's hands.
pub(crate) fn without_ended(
    resolved: Arc<Vec<Resolved>>,
    actual: Vec<AllocationRecord>,
) -> (Arc<Vec<Resolved>>, Vec<AllocationRecord>) {
    match job::set_aside(&resolved, &actual) {
        Some((tasks, rest)) => (Arc::new(tasks), rest),
        None => (resolved, actual),
    }
}

/// Why a task has no candidate at all.
fn without_candidate(want: &Want, table: &Table, silent: &[ProviderFailure]) -> String {
    let silent = silent
        .iter()
        .filter(|p| is_asked(want, &p.provider))
        .map(|p| {
            format!(
                "provider \"{}\" gives no offers: {}",
                p.provider,
                p.failure.told()
            )
        });
    let mut why: Vec<String> = silent.collect();
    why.extend(table.hindrances(want));
    let more = why.len().saturating_sub(MOST_CAUSES);
    why.truncate(MOST_CAUSES);
    if more > 0 {
        why.push(format!("and {more} more"));
    }
    if why.is_empty() {
        "there are no offers".to_owned()
    } else {
        format!("no offer satisfies every constraint: {}", why.join("; "))
    }
}

/// What the policy has chosen, with what was not open to it.
fn chosen<'a>(
    works: &'a [DeploymentWork],
    open: &'a [PendingTask],
    verdict: &'a PolicyAnswer,
) -> Vec<Chosen<'a>> {
    let one = |(o, d): (&'a PendingTask, &'a Decided)| {
        let work = works.get(o.work)?;
        let placements = d
            .placements
            .iter()
            .chain(&o.stay)
            .chain(o.apart.iter().map(|(_, placement)| placement))
            .collect();
        Some(Chosen {
            key: &work.key,
            task: work.resolved.get(o.task)?,
            placements,
        })
    };
    open.iter().zip(&verdict.decided).filter_map(one).collect()
}

/// What is held back has no place for the rest of its replicas.
fn unplaced(held: &[HeldBack]) -> Vec<Unplaced> {
    let one = |h: &HeldBack| Unplaced {
        task: h.task.clone(),
        replicas: h.wanted.saturating_sub(h.replicas),
        reason: format!("{}: {}", h.kind.as_str(), h.reason),
        never: false,
    };
    held.iter().map(one).collect()
}
