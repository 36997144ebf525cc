//! Deciding: one policy call for a whole batch of deployments, and what it means for each of them.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Instant as Watch,
};

use tradewind_core::{
    failure::Failure,
    manifest::Resolved,
    names::{DecisionId, Digest, InstanceName},
    placement::{self, Answer, Need, Placed, PlacedOffer, Request, Table, Want},
    plan::{self, Desired, Placement},
    plugin::{Identity, Policy, Snapshot},
    record::{AllocationRecord, DeploymentKey, DeploymentRecord},
    store::Revision,
    units::MicroUsd,
    view::{DecisionView, ExcludedView, ProviderFailure, TaskReason, UnplacedView},
    workload::ChosenOffer,
};

use super::Shared;

/// A deployment to decide about.
pub(super) struct Work {
    pub(super) key: DeploymentKey,
    pub(super) record: Arc<DeploymentRecord>,
    /// Of the stored record: a decision holds for this one only.
    pub(super) revision: Revision,
    pub(super) resolved: Arc<Vec<Resolved>>,
    pub(super) actual: Vec<AllocationRecord>,
}

/// What has been decided about it.
#[derive(Default)]
pub(super) struct Outcome {
    /// In the order of the resolved tasks.
    pub(super) desired: Vec<Desired>,
    pub(super) unplaced: Vec<UnplacedView>,
    pub(super) decision: Option<DecisionView>,
    /// For the tasks' whole estimated durations, of what has been decided.
    pub(super) estimated: MicroUsd,
    /// Nothing could be decided: `desired` is not to be used.
    pub(super) failure: Option<Failure>,
}

/// One task that needs a decision.
struct Open {
    /// Index into the works, and into the work's tasks.
    work: usize,
    task: usize,
    want: Want,
    /// Places that are not open to the policy, because their provider is silent.
    stay: Vec<Placement>,
}

/// A decision as the rest of the batch needs it.
struct Decided {
    placements: Vec<Placement>,
    reason: TaskReason,
    unplaced: Option<UnplacedView>,
    estimated: MicroUsd,
}

/// What one policy said about its part of the batch.
struct Verdict {
    policy: Identity,
    request: Digest,
    seed: u64,
    took_micros: u64,
    note: String,
    lower_bound: Option<MicroUsd>,
    decided: Vec<Decided>,
}

impl Shared {
    /// Decides about a batch. The outcomes are in the order of the works. Providers that gave no offers come with them.
    pub(super) async fn decide(self: &Arc<Self>, snapshot: &Snapshot, works: &[Work]) -> (Vec<Outcome>, Vec<ProviderFailure>) {
        let mut outcomes: Vec<Outcome> = works.iter().map(|_| Outcome::default()).collect();
        let mut settled: HashMap<(usize, usize), Vec<Placement>> = HashMap::new();
        let mut open: BTreeMap<&InstanceName, Vec<Open>> = BTreeMap::new();
        for (w, work) in works.iter().enumerate() {
            let policy = work.record.manifest.spec.policy.as_ref().unwrap_or(&self.options.default_policy);
            for (t, task) in work.resolved.iter().enumerate() {
                let need = plan::need_digest(&Need::of(task));
                if let Some(placements) = plan::settled(task, need, &work.actual) {
                    settled.insert((w, t), placements);
                } else {
                    let want = Want::of(&work.key.namespace, &work.key.name, task);
                    let want = plan::with_current(want, task, &work.actual);
                    open.entry(policy).or_default().push(Open { work: w, task: t, want, stay: Vec::new() });
                }
            }
        }

        let mut failures = Vec::new();
        let mut decided: HashMap<(usize, usize), Decided> = HashMap::new();
        if !open.is_empty() {
            let (table, missing) = self.assess(snapshot).await;
            failures = missing;
            let answers = |p: &InstanceName| snapshot.providers.contains_key(p) && !failures.iter().any(|f| f.provider == *p);
            for (policy, mut tasks) in open {
                for one in &mut tasks {
                    let Some((work, task)) = works.get(one.work).and_then(|w| w.resolved.get(one.task).map(|t| (w, t))) else { continue };
                    one.stay = plan::stranded(task, &work.actual, answers);
                    one.want.current.retain(|(provider, _, _)| answers(provider));
                    one.want.replicas -= one.stay.iter().map(|p| p.replicas).sum::<u32>().min(one.want.replicas);
                }
                self.decide_with(snapshot, policy, tasks, &table, &mut outcomes, &mut decided).await;
            }
        }
        for (w, (work, outcome)) in works.iter().zip(&mut outcomes).enumerate() {
            let decision = outcome.decision.as_ref().map(|d| d.id.clone());
            for (t, task) in work.resolved.iter().enumerate() {
                let (placements, decision) = match (settled.remove(&(w, t)), decided.remove(&(w, t))) {
                    (Some(placements), _) => (placements, None),
                    (None, Some(d)) => {
                        outcome.unplaced.extend(d.unplaced);
                        outcome.estimated = outcome.estimated.saturating_add(d.estimated);
                        if let Some(decision) = &mut outcome.decision {
                            decision.tasks.push(d.reason);
                        }
                        (d.placements, decision.clone())
                    }
                    // The policy failed: what runs stays as it is.
                    (None, None) => continue,
                };
                outcome.desired.push(Desired {
                    task: task.name.clone(),
                    target: task.target.clone(),
                    workload: task.workload.clone(),
                    need: plan::need_digest(&Need::of(task)),
                    placements,
                    decision,
                });
            }
        }
        (outcomes, failures)
    }

    async fn decide_with(
        &self,
        snapshot: &Snapshot,
        policy: &InstanceName,
        open: Vec<Open>,
        table: &Table,
        outcomes: &mut [Outcome],
        decided: &mut HashMap<(usize, usize), Decided>,
    ) {
        let wants: Vec<Want> = open.iter().map(|o| o.want.clone()).collect();
        let verdict = match snapshot.policies.get(policy) {
            Some(policy) => self.consult(policy.as_ref(), &wants, table).await,
            None => Err(Failure::unavailable(format!("there is no policy \"{policy}\""))
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
                let at = self.clock.now();
                let batch = u32::try_from(wants.len()).unwrap_or(u32::MAX);
                for (o, mut d) in open.into_iter().zip(verdict.decided) {
                    d.placements.extend(o.stay);
                    if let Some(outcome) = outcomes.get_mut(o.work) {
                        outcome.decision.get_or_insert_with(|| DecisionView {
                            id: DecisionId::new(self.ulid()),
                            at,
                            policy: verdict.policy.clone(),
                            request: verdict.request,
                            seed: verdict.seed,
                            took_micros: verdict.took_micros,
                            batch,
                            note: verdict.note.clone(),
                            lower_bound: verdict.lower_bound,
                            tasks: Vec::new(),
                        });
                    }
                    decided.insert((o.work, o.task), d);
                }
            }
        }
    }

    /// One policy call. Nothing of the answer is used before it has been checked.
    async fn consult(&self, policy: &dyn Policy, wants: &[Want], table: &Table) -> Result<Verdict, Failure> {
        let seed = self.ulid().random() as u64;
        let request = placement::build(wants, table, seed);
        let started = Watch::now();
        let answer = policy.place(&request).await?;
        let took_micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        let placed = placement::validate(&request, &answer).map_err(|refusal| {
            let message = format!("the policy's answer is refused: {refusal}");
            Failure::internal(message).code("bad-answer").from_plugin(policy.identity())
        })?;
        tracing::debug!(policy = %policy.identity(), tasks = wants.len(), offers = request.offers.len(), took_micros, "decided");
        let mut excluded: HashMap<u32, Vec<ExcludedView>> = HashMap::new();
        let decided = wants.iter().zip(&placed).enumerate().map(|(i, (want, placed))| {
            let shape = request.tasks.get(i).map_or(0, |t| t.shape);
            let excluded = excluded.entry(shape).or_insert_with(|| table.excluded(want)).clone();
            decided(i, want, &request, placed, &answer, excluded)
        });
        Ok(Verdict {
            decided: decided.collect(),
            policy: policy.identity().clone(),
            request: request_digest(&request),
            seed,
            took_micros,
            note: answer.note.chars().take(500).collect(),
            lower_bound: answer.lower_bound,
        })
    }
}

fn decided(i: usize, want: &Want, request: &Request, placed: &Placed, answer: &Answer, excluded: Vec<ExcludedView>) -> Decided {
    let range = request.tasks.get(i).map_or(0..0, |t| request.candidates.of(t.shape));
    let mut placements = Vec::new();
    let mut estimated = MicroUsd(0);
    for choice in &placed.choices {
        let column = request.candidates.offer.get(range.clone()).unwrap_or_default();
        let Ok(at) = column.binary_search(&choice.offer) else { continue };
        let row = range.start + at;
        let amount = |column: &[u64]| MicroUsd(column.get(row).copied().unwrap_or(0));
        let Some(PlacedOffer { provider, offer }) = request.offers.get(choice.offer as usize) else { continue };
        estimated = estimated.saturating_add(amount(&request.candidates.cost).saturating_mul(u64::from(choice.replicas)));
        placements.push(Placement {
            provider: provider.clone(),
            offer: ChosenOffer {
                id: offer.id.to_string(),
                region: offer.region.to_string(),
                zone: offer.zone.to_string(),
                size: offer.size.to_string(),
                spot: offer.spot,
                price: offer.price,
                labels: offer.labels.clone(),
            },
            hourly: amount(&request.candidates.hourly),
            replicas: choice.replicas,
        });
    }
    let unplaced = placed.unplaced.clone().map(|(replicas, reason)| UnplacedView { task: want.task.clone(), replicas, reason });
    Decided { placements, reason: placement::reason(i, want, request, placed, &answer.scores, excluded), unplaced, estimated }
}

/// Names a request: equal requests have equal digests.
fn request_digest(request: &Request) -> Digest {
    let tasks = serde_json::to_vec(&(request.seed, &request.tasks, &request.shapes)).unwrap_or_default();
    let offers: Vec<u8> = request.candidates.offer.iter().flat_map(|n| n.to_le_bytes()).collect();
    let costs: Vec<u8> = request.candidates.cost.iter().flat_map(|n| n.to_le_bytes()).collect();
    Digest::of_parts(&[&tasks, &offers, &costs])
}
