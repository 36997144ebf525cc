//! What the standing of places means for one decision: which offers are left alone, with a text for people, and what the others' costs are
//! weighed with. Who knows the standings fills it in.

use std::collections::BTreeMap;

use super::Exclusion;
use crate::{
    base::{names::InstanceName, units::Millis},
    spec::offer::Offer,
};

/// The most that a failure rate weighs.
const RATE_MOST: f64 = 0.9;
/// A call may take so long before it weighs, and this much longer doubles the weight, which is the most.
const PROMPT: f64 = 2_000.0;
const SLOW: f64 = 30_000.0;

/// What was measured of a place.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Measured {
    /// 0 … 1; 0: nothing has failed.
    pub failure_rate: f64,
    /// Of one call, lately. `None`: unknown.
    pub latency: Option<Millis>,
    /// From accepted to ready, lately. `None`: unknown.
    pub time_to_ready: Option<Millis>,
}

/// One moment's standings, as a decision uses them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sheet {
    pub(crate) providers: BTreeMap<InstanceName, Provider>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Provider {
    pub(crate) cordoned: Option<Exclusion>,
    pub(crate) excluded: Option<Exclusion>,
    pub(crate) regions: BTreeMap<String, Region>,
    pub(crate) offers: BTreeMap<String, Exclusion>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Region {
    pub(crate) cordoned: Option<Exclusion>,
    pub(crate) excluded: Option<Exclusion>,
    pub(crate) sizes: BTreeMap<String, Exclusion>,
    pub(crate) measured: Measured,
}

impl Sheet {
    /// Why nothing new is placed on an offer; none: nothing speaks against it.
    pub fn exclusion(&self, provider: &InstanceName, offer: &Offer) -> Option<Exclusion> {
        let provider = self.providers.get(provider)?;
        let region = provider.regions.get(&*offer.region);
        let of_region =
            region.and_then(|r| r.excluded.as_ref().or_else(|| r.sizes.get(&*offer.size)));
        provider
            .excluded
            .as_ref()
            .or(of_region)
            .or_else(|| provider.offers.get(&*offer.id))
            .cloned()
    }

    /// Leaves a whole region alone for a reason that is known elsewhere.
    pub fn exclude(&mut self, provider: &InstanceName, region: &str, why: Exclusion) {
        let provider = self.providers.entry(provider.clone()).or_default();
        provider
            .regions
            .entry(region.to_owned())
            .or_default()
            .excluded = Some(why);
    }

    /// Closes a region to everything that is decided, or, where it is empty, all of the provider.
    pub fn cordon(&mut self, provider: &InstanceName, region: &str, why: Exclusion) {
        let provider = self.providers.entry(provider.clone()).or_default();
        match region.is_empty() {
            true => provider.cordoned = Some(why),
            false => {
                let region = provider.regions.entry(region.to_owned()).or_default();
                region.cordoned = Some(why);
            }
        }
    }

    /// The cordon over an offer. Unlike what else speaks against it, this holds for who runs there already as well: what stays there is kept
    /// out of the decision.
    pub fn cordoned(&self, provider: &InstanceName, offer: &Offer) -> Option<Exclusion> {
        let provider = self.providers.get(provider)?;
        let region = provider.regions.get(&*offer.region);
        let of_region = region.and_then(|r| r.cordoned.as_ref());
        provider.cordoned.as_ref().or(of_region).cloned()
    }

    /// What was measured of a region of a provider; nothing of one that has not been called.
    pub fn measured(&self, provider: &InstanceName, region: &str) -> Measured {
        let region = self
            .providers
            .get(provider)
            .and_then(|p| p.regions.get(region));
        region.map(|r| r.measured).unwrap_or_default()
    }
}

/// What the cost of a place is multiplied with so that a policy sees what it has to expect: C' = C · (1 + L) ÷ (1 − F).
/// F is the share of calls that got no answer lately, at most 0.9: what fails half the time has to be paid for twice.
/// L is 0 for calls of up to 2 s and grows to at most 1 for calls of 32 s. 1 where nothing has failed and nothing is slow.
pub fn weight(measured: &Measured) -> f64 {
    let rate = measured.failure_rate.clamp(0.0, RATE_MOST);
    let slow = measured
        .latency
        .map_or(0.0, |l| ((l.0 as f64 - PROMPT) / SLOW).clamp(0.0, 1.0));
    (1.0 + slow) / (1.0 - rate)
}
