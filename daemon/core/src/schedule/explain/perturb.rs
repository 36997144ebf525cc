//! The kept inputs with one offer changed, as they would have been built: costs follow the price, and what then breaks a hard constraint is
//! no candidate any more.

use std::sync::Arc;

use crate::{
    base::units::MicroUsd,
    schedule::{cost::Terms, placement::Recorded},
    spec::{
        offer::Offer,
        policy_call::{Candidates, Request},
    },
};

/// What is changed of an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// Per unit and hour.
    Price(MicroUsd),
    /// New replicas that it takes.
    Capacity(u32),
}

impl Change {
    fn on(self, offer: &mut Offer) {
        match self {
            Self::Price(price) => offer.price = price,
            Self::Capacity(capacity) => offer.capacity = capacity,
        }
    }
}

/// None: there is no such offer.
pub(super) fn perturbed(recorded: &Recorded, offer: u32, change: Change) -> Option<Request> {
    let mut offers = (*recorded.request.offers).clone();
    let placed = offers.get_mut(offer as usize)?;
    change.on(&mut placed.offer);
    let changed = placed.offer.clone();
    let request = &recorded.request;
    let candidates = rebuilt(recorded, offer, &changed);
    let (seed, tasks, shapes) = (request.seed, request.tasks.clone(), request.shapes.clone());
    Some(Request {
        seed,
        tasks,
        shapes,
        candidates,
        offers: Arc::new(offers),
    })
}

fn rebuilt(recorded: &Recorded, changed: u32, offer: &Offer) -> Candidates {
    let request = &recorded.request;
    let old = &request.candidates;
    let mut new = Candidates {
        start: vec![0],
        ..Candidates::default()
    };
    for (shape, number) in request.shapes.iter().zip(0u32..) {
        let max = recorded
            .limits
            .get(number as usize)
            .and_then(|l| l.max_hourly);
        let held = || {
            request
                .tasks
                .iter()
                .any(|t| t.shape == number && t.current.iter().any(|(o, _)| *o == changed))
        };
        for row in old.of(number) {
            let at = |column: &[u64]| column.get(row).copied().unwrap_or(0);
            let Some(index) = old.offer.get(row).copied() else {
                continue;
            };
            let (cost, expected) = (
                at(&old.cost),
                old.expected
                    .get(row)
                    .copied()
                    .unwrap_or_else(|| at(&old.cost)),
            );
            let mut terms = (cost, expected, at(&old.hourly));
            if index == changed {
                // T does not follow the price: it is the kept one, whatever T meant when the decision was made.
                let hours = old
                    .hours
                    .get(row)
                    .copied()
                    .filter(|h| h.is_finite())
                    .unwrap_or_else(|| shape.duration.hours());
                let fresh = Terms::over(&shape.resources, hours, offer);
                let barred =
                    max.is_some_and(|max| fresh.hourly > max) || (offer.capacity == 0 && !held());
                if barred {
                    continue;
                }
                // How the place has been doing weighs as it did.
                let weighed = if expected == cost || cost == 0 {
                    fresh.cost
                } else {
                    fresh.cost.scaled(expected as f64 / cost as f64)
                };
                terms = (fresh.cost.0, weighed.0, fresh.hourly.0);
            }
            new.offer.push(index);
            new.cost.push(terms.0);
            new.expected.push(terms.1);
            new.hourly.push(terms.2);
            new.units
                .push(old.units.get(row).copied().unwrap_or(f64::NAN));
            new.hours
                .push(old.hours.get(row).copied().unwrap_or(f64::NAN));
        }
        new.start
            .push(u32::try_from(new.offer.len()).unwrap_or(u32::MAX));
    }
    new
}
