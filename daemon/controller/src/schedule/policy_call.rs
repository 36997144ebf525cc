//! Asking one policy: the request, the answer and what stands in for one that fails. Nothing of an answer is used before it has been checked.

use std::time::Instant as Watch;

use tradewind_core::{
    decision::{ExcludedCount, PriceQuote, TaskReason},
    failure::Failure,
    hedge::Rival,
    names::Digest,
    offer::Offer,
    placement::{
        self, Answer, BuiltIn, Certificate, Placed, PlacedOffer, Recorded, Request, Table, Want,
        recorded::{Excluded, ShapeLimits},
    },
    plan::{Placement, preview::Unplaced},
    plugin::Policy,
    settings::PolicyFallback,
    units::{MicroUsd, Millis},
    workload::ChosenOffer,
};

use crate::schedule::scheduler::{PendingTask, Scheduler};

/// What a reader of JSON that has floating-point numbers alone keeps to the last bit.
const EXACT: u64 = (1 << 53) - 1;

/// How many candidates a hedge chooses from.
const MOST_RIVALS: usize = 64;
/// A decision as the rest of the batch needs it.
pub(crate) struct Decided {
    pub(crate) placements: Vec<Placement>,
    pub(crate) rivals: Vec<Rival>,
    pub(crate) reason: TaskReason,
    pub(crate) unplaced: Option<Unplaced>,
    pub(crate) estimated: MicroUsd,
}

/// What one policy said about its part of the batch.
pub(crate) struct PolicyAnswer {
    pub(crate) recorded: Recorded,
    pub(crate) digest: Digest,
    pub(crate) took_micros: u64,
    pub(crate) note: String,
    /// Why it was not the policy that was asked.
    pub(crate) fallback: Option<String>,
    pub(crate) certificate: Option<Certificate>,
    pub(crate) decided: Vec<Decided>,
}

impl Scheduler {
    /// One policy call, or the built-in order where the policy fails and that is what the settings say.
    pub(crate) async fn call_policy(
        &self,
        policy: &dyn Policy,
        open: &[PendingTask],
        table: &Table,
    ) -> Result<PolicyAnswer, Failure> {
        if let Some(new) = policy.drawn(&self.ids.draw().to_bytes()) {
            match self.ask_policy(new.as_ref(), open, table).await {
                Ok(verdict) => return Ok(verdict),
                // A version on trial: no decision shall suffer for it.
                Err(failure) => {
                    tracing::warn!(policy = %new.identity(), message = failure.message, "the canary failed: the old version decides")
                }
            }
        }
        match self.ask_policy(policy, open, table).await {
            Err(failure) if self.options.policy_fallback == PolicyFallback::BuiltIn => {
                tracing::warn!(policy = %policy.identity(), message = failure.message, "the policy failed: the built-in order decides");
                let mut verdict = self.ask_policy(&BuiltIn::new()?, open, table).await?;
                verdict.fallback = Some(format!("{}: {}", policy.identity(), failure.message));
                Ok(verdict)
            }
            verdict => verdict,
        }
    }

    /// Nothing of the answer is used before it has been checked.
    async fn ask_policy(
        &self,
        policy: &dyn Policy,
        open: &[PendingTask],
        table: &Table,
    ) -> Result<PolicyAnswer, Failure> {
        let (seed, at) = (self.ids.draw().random() as u64 & EXACT, self.clock.now());
        let wants: Vec<Want> = open.iter().map(|o| o.want.clone()).collect();
        let request = placement::build(&wants, table, seed);
        let started = Watch::now();
        let answer = policy.place(&request).await?;
        let took_micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        let placed = placement::validate(&request, &answer).map_err(|refusal| {
            let message = format!("the policy's answer is refused: {refusal}");
            Failure::internal(message)
                .code("bad-answer")
                .from_plugin(policy.identity())
        })?;
        tracing::debug!(policy = %policy.identity(), tasks = wants.len(), offers = request.offers.len(), took_micros, "decided");
        let quote = |offer: &Offer| PriceQuote::of(offer, at, self.options.quote_ttl);
        let mut limits: Vec<Option<ShapeLimits>> = vec![None; request.shapes.len()];
        let mut all = Vec::with_capacity(wants.len());
        for (i, (want, placed)) in wants.iter().zip(&placed).enumerate() {
            let shape = request.tasks.get(i).map_or(0, |t| t.shape as usize);
            let known = limits
                .get_mut(shape)
                .map(|l| &*l.get_or_insert_with(|| table.limits(want)));
            let excluded = known
                .map(|l| l.excluded.iter().map(Excluded::view).collect())
                .unwrap_or_default();
            all.push(decided(
                i, want, &request, placed, &answer, excluded, &quote,
            ));
        }
        Ok(PolicyAnswer {
            decided: all,
            digest: request_digest(&request),
            took_micros,
            note: answer.note.chars().take(500).collect(),
            fallback: None,
            certificate: placement::certify(&request, &placed, answer.lower_bound),
            recorded: Recorded {
                at,
                policy: policy.identity().clone(),
                limits: limits.into_iter().map(Option::unwrap_or_default).collect(),
                request,
                answer,
            },
        })
    }
}

fn decided(
    i: usize,
    want: &Want,
    request: &Request,
    placed: &Placed,
    answer: &Answer,
    excluded: Vec<ExcludedCount>,
    quote: &impl Fn(&Offer) -> PriceQuote,
) -> Decided {
    let range = request
        .tasks
        .get(i)
        .map_or(0..0, |t| request.candidates.of(t.shape));
    let mut placements = Vec::new();
    let mut estimated = MicroUsd(0);
    for choice in &placed.choices {
        let column = request
            .candidates
            .offer
            .get(range.clone())
            .unwrap_or_default();
        let Ok(at) = column.binary_search(&choice.offer) else {
            continue;
        };
        let row = range.start + at;
        let amount = |column: &[u64]| MicroUsd(column.get(row).copied().unwrap_or(0));
        let Some(PlacedOffer { provider, offer }) = request.offers.get(choice.offer as usize)
        else {
            continue;
        };
        estimated = estimated.saturating_add(
            amount(&request.candidates.cost).saturating_mul(u64::from(choice.replicas)),
        );
        placements.push(Placement {
            provider: provider.clone(),
            offer: bound_to(offer),
            hourly: amount(&request.candidates.hourly),
            replicas: choice.replicas,
            takes: takes(want, offer),
        });
    }
    let unplaced = placed.unplaced.clone().map(|(replicas, reason)| Unplaced {
        task: want.task.clone(),
        replicas,
        reason,
        never: false,
    });
    let rivals = if want.hedged {
        rivals(want, request, range, answer)
    } else {
        Vec::new()
    };
    let reason = placement::reason(i, want, request, placed, &answer.scores, excluded, quote);
    Decided {
        placements,
        rivals,
        reason,
        unplaced,
        estimated,
    }
}

/// T of a job; a service goes on.
fn takes(want: &Want, offer: &Offer) -> Option<Millis> {
    want.need.job.then(|| want.need.time().on(offer))
}

fn bound_to(offer: &Offer) -> ChosenOffer {
    ChosenOffer {
        id: offer.id.to_string(),
        region: offer.region.to_string(),
        zone: offer.zone.to_string(),
        size: offer.size.to_string(),
        spot: offer.spot,
        price: offer.price,
        labels: offer.labels.clone(),
    }
}

/// The best candidates of a task: by the policy's score where it gives one, else by cost.
fn rivals(
    want: &Want,
    request: &Request,
    range: std::ops::Range<usize>,
    answer: &Answer,
) -> Vec<Rival> {
    let columns = &request.candidates;
    let cost = |row: usize| columns.cost.get(row).copied().unwrap_or(u64::MAX);
    let score = |row: usize| answer.scores.get(row).copied().filter(|s| !s.is_nan());
    let mut rows: Vec<usize> = range.collect();
    rows.sort_by(|a, b| match (score(*a), score(*b)) {
        (Some(x), Some(y)) => x.total_cmp(&y).then(cost(*a).cmp(&cost(*b))),
        _ => cost(*a).cmp(&cost(*b)),
    });
    let rival = |row: usize| {
        let PlacedOffer { provider, offer } =
            request.offers.get(*columns.offer.get(row)? as usize)?;
        let hourly = MicroUsd(columns.hourly.get(row).copied().unwrap_or(0));
        let placement = Placement {
            provider: provider.clone(),
            offer: bound_to(offer),
            hourly,
            replicas: 0,
            takes: takes(want, offer),
        };
        Some(Rival {
            placement,
            setup: offer.setup_price,
        })
    };
    rows.into_iter()
        .filter_map(rival)
        .take(MOST_RIVALS)
        .collect()
}

/// Names a request: equal requests have equal digests.
fn request_digest(request: &Request) -> Digest {
    let tasks =
        serde_json::to_vec(&(request.seed, &request.tasks, &request.shapes)).unwrap_or_default();
    let offers: Vec<u8> = request
        .candidates
        .offer
        .iter()
        .flat_map(|n| n.to_le_bytes())
        .collect();
    let costs: Vec<u8> = request
        .candidates
        .cost
        .iter()
        .flat_map(|n| n.to_le_bytes())
        .collect();
    Digest::of_parts(&[&tasks, &offers, &costs])
}
