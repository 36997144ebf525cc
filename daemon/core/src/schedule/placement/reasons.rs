//! Why a task went where it went: the part of a decision that people read.

use super::{Placed, PlacedOffer, Request, Want};
use crate::{
    base::units::MicroUsd,
    spec::offer::Offer,
    state::decision::{ExcludedCount, PriceQuote, RankedOffer, TaskReason},
};

const ALTERNATIVES: usize = 5;

/// The story of task `i` of a request and its accepted answer. `scores` is parallel to the candidates, or empty; `excluded` is the
/// table's word on the task's shape; `quote` tells of an offer's price where it came from.
pub fn reason(
    i: usize,
    want: &Want,
    request: &Request,
    placed: &Placed,
    scores: &[f64],
    excluded: Vec<ExcludedCount>,
    quote: impl Fn(&Offer) -> PriceQuote,
) -> TaskReason {
    let range = request
        .tasks
        .get(i)
        .map_or(0..0, |t| request.candidates.of(t.shape));
    let candidates = u32::try_from(range.len()).unwrap_or(u32::MAX);
    let replicas_on = |row: usize| {
        let offer = request.candidates.offer.get(row)?;
        placed
            .choices
            .iter()
            .find(|c| c.offer == *offer)
            .map(|c| c.replicas)
    };
    let (chosen, mut rest): (Vec<usize>, Vec<usize>) =
        range.partition(|&row| replicas_on(row).is_some());
    let rank = |row: usize| {
        (
            scores.get(row).copied().unwrap_or(0.0),
            request
                .candidates
                .cost
                .get(row)
                .copied()
                .unwrap_or(u64::MAX),
        )
    };
    let by_rank = |a: &usize, b: &usize| {
        let (a, b) = (rank(*a), rank(*b));
        a.0.total_cmp(&b.0).then(a.1.cmp(&b.1))
    };
    if rest.len() > ALTERNATIVES {
        rest.select_nth_unstable_by(ALTERNATIVES, by_rank);
        rest.truncate(ALTERNATIVES);
    }
    rest.sort_by(by_rank);
    TaskReason {
        namespace: want.namespace.clone(),
        deployment: want.deployment.clone(),
        task: want.task.clone(),
        candidates,
        chosen: chosen
            .into_iter()
            .filter_map(|row| ranked(row, request, scores, replicas_on(row).unwrap_or(0), &quote))
            .collect(),
        alternatives: rest
            .into_iter()
            .filter_map(|row| ranked(row, request, scores, 0, &quote))
            .collect(),
        excluded,
        unplaced: placed
            .unplaced
            .as_ref()
            .map(|(n, why)| format!("{n} of {} replicas: {why}", want.replicas)),
    }
}

fn ranked(
    row: usize,
    request: &Request,
    scores: &[f64],
    replicas: u32,
    quote: &impl Fn(&Offer) -> PriceQuote,
) -> Option<RankedOffer> {
    let offer = *request.candidates.offer.get(row)?;
    let PlacedOffer { provider, offer: o } = request.offers.get(offer as usize)?;
    Some(RankedOffer {
        provider: provider.clone(),
        region: o.region.to_string(),
        size: o.size.to_string(),
        offer: o.id.to_string(),
        replicas,
        cost: MicroUsd(request.candidates.cost.get(row).copied()?),
        hourly: MicroUsd(request.candidates.hourly.get(row).copied()?),
        score: scores.get(row).copied(),
        quote: Some(quote(o)),
    })
}
