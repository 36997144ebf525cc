//! Where an answer flips: bisection, with the policy itself as the judge. It takes for granted that an offer does not win again by becoming
//! dearer; of what it reports, both sides have been tried.

use super::{
    Bounds,
    perturb::{Change, perturbed},
    place, replicas,
};
use crate::{
    base::units::MicroUsd,
    ports::plugin::Policy,
    schedule::{
        explain::Flip,
        placement::{Recorded, validate},
    },
};

/// Prices are doubled so often before one gives up.
const DOUBLINGS: u32 = 20;

/// Why no more is asked.
enum Stop {
    Bounds,
    Failed(String),
}

pub(super) struct Search<'a> {
    recorded: &'a Recorded,
    task: u32,
    policy: &'a dyn Policy,
    bounds: Bounds<'a>,
    calls: u32,
}

impl<'a> Search<'a> {
    pub(super) fn new(
        recorded: &'a Recorded,
        task: u32,
        policy: &'a dyn Policy,
        bounds: Bounds<'a>,
    ) -> Self {
        Self {
            recorded,
            task,
            policy,
            bounds,
            calls: 0,
        }
    }

    pub(super) fn calls(&self) -> u32 {
        self.calls
    }

    /// Finds what there is within the bounds; says why it is not all.
    pub(super) async fn flips(
        &mut self,
        chosen: &[u32],
        losers: &[u32],
        found: &mut Vec<Flip>,
    ) -> String {
        match self.look(chosen, losers, found).await {
            Ok(()) => String::new(),
            Err(Stop::Bounds) => format!(
                "not every price was tried: the policy has been asked {} times",
                self.calls
            ),
            Err(Stop::Failed(why)) => format!("not every price was tried: {why}"),
        }
    }

    async fn look(
        &mut self,
        chosen: &[u32],
        losers: &[u32],
        found: &mut Vec<Flip>,
    ) -> Result<(), Stop> {
        for &offer in losers {
            found.extend(self.cheaper(offer).await?);
        }
        for &offer in chosen {
            found.extend(self.dearer(offer).await?);
            found.extend(self.fuller(offer).await?);
        }
        Ok(())
    }

    /// The task's replicas on an offer, once that offer is changed.
    async fn asked(&mut self, offer: u32, change: Change) -> Result<u32, Stop> {
        if self.calls >= self.bounds.calls || (self.bounds.is_late)() {
            return Err(Stop::Bounds);
        }
        let Some(request) = perturbed(self.recorded, offer, change) else {
            return Ok(0);
        };
        self.calls += 1;
        let answer = self
            .policy
            .place(&request)
            .await
            .map_err(|failure| Stop::Failed(failure.message))?;
        let placed =
            validate(&request, &answer).map_err(|refusal| Stop::Failed(refusal.to_string()))?;
        let choices = placed
            .get(self.task as usize)
            .into_iter()
            .flat_map(|p| &p.choices);
        Ok(choices
            .filter(|c| c.offer == offer)
            .map(|c| c.replicas)
            .sum())
    }

    /// The highest price at which an offer that was not chosen is.
    async fn cheaper(&mut self, offer: u32) -> Result<Option<Flip>, Stop> {
        let Some(placed) = self.recorded.request.offers.get(offer as usize) else {
            return Ok(None);
        };
        let price = placed.offer.price;
        let (mut wins, mut loses) = (0, price.0);
        let flips_at = if price.0 == 0 || self.asked(offer, Change::Price(MicroUsd(0))).await? == 0
        {
            None
        } else {
            while loses - wins > 1 {
                let middle = wins + (loses - wins) / 2;
                if self.asked(offer, Change::Price(MicroUsd(middle))).await? > 0 {
                    wins = middle
                } else {
                    loses = middle
                }
            }
            Some(MicroUsd(wins))
        };
        Ok(Some(Flip::Cheaper {
            place: place(placed),
            price,
            flips_at,
        }))
    }

    /// The lowest price at which a chosen offer has fewer replicas.
    async fn dearer(&mut self, offer: u32) -> Result<Option<Flip>, Stop> {
        let Some(placed) = self.recorded.request.offers.get(offer as usize) else {
            return Ok(None);
        };
        let has = replicas(self.recorded, self.task, offer);
        let price = placed.offer.price;
        let (mut keeps, mut loses) = (price.0, price.0.max(1));
        let mut flips = false;
        for _ in 0..DOUBLINGS {
            loses = loses.saturating_mul(2);
            flips = self.asked(offer, Change::Price(MicroUsd(loses))).await? < has;
            if flips {
                break;
            }
            keeps = loses;
        }
        let tried = MicroUsd(loses);
        while flips && loses - keeps > 1 {
            let middle = keeps + (loses - keeps) / 2;
            if self.asked(offer, Change::Price(MicroUsd(middle))).await? < has {
                loses = middle
            } else {
                keeps = middle
            }
        }
        Ok(Some(Flip::Dearer {
            place: place(placed),
            price,
            flips_at: flips.then_some(MicroUsd(loses)),
            tried,
        }))
    }

    /// The largest capacity at which a chosen offer has fewer replicas.
    async fn fuller(&mut self, offer: u32) -> Result<Option<Flip>, Stop> {
        let Some(placed) = self.recorded.request.offers.get(offer as usize) else {
            return Ok(None);
        };
        let has = replicas(self.recorded, self.task, offer);
        let known = placed.offer.capacity;
        let capacity = (known != u32::MAX).then_some(known);
        let wanted: u32 = self
            .recorded
            .request
            .tasks
            .iter()
            .fold(0, |sum, t| sum.saturating_add(t.replicas));
        let (mut loses, mut keeps) = (0, known.min(wanted));
        let flips_at = if keeps == 0 || self.asked(offer, Change::Capacity(0)).await? >= has {
            None
        } else {
            while keeps - loses > 1 {
                let middle = loses + (keeps - loses) / 2;
                if self.asked(offer, Change::Capacity(middle)).await? < has {
                    loses = middle
                } else {
                    keeps = middle
                }
            }
            Some(loses)
        };
        Ok(Some(Flip::Fuller {
            place: place(placed),
            capacity,
            flips_at,
        }))
    }
}
