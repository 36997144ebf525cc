//! The standings as one decision uses them.

use super::{Circuit, Cooled, Standings};
use crate::{
    base::units::{Instant, Millis},
    schedule::placement::{
        Exclusion,
        sheet::{Measured, Region, Sheet},
    },
};

impl Standings {
    /// The standings as a decision uses them. `clock` is the time of day at `now`.
    pub fn sheet(&self, now: Millis, clock: Instant) -> Sheet {
        let at = |then: Millis| Instant(clock.0.saturating_add(then.0.saturating_sub(now.0)));
        let mut sheet = Sheet::default();
        for (place, standing) in &self.places {
            let rates = &standing.rates;
            let measured = Measured {
                failure_rate: rates.error_rate(now),
                latency: rates.latency(now),
                time_to_ready: rates.time_to_ready(now),
            };
            let cause = || {
                standing
                    .cause
                    .as_ref()
                    .map(|c| c.message.clone())
                    .unwrap_or_default()
            };
            let (provider, region) = (place.provider.clone(), place.region.clone());
            let excluded = match (
                standing.breaker.until(now),
                standing.throttled.filter(|until| now < *until),
            ) {
                (Some(until), _) => Some(Exclusion::CircuitOpen {
                    provider,
                    region,
                    until: at(until),
                    cause: cause(),
                }),
                (None, Some(until)) => Some(Exclusion::Throttled {
                    provider,
                    region,
                    until: at(until),
                }),
                // What is being tried is known in a moment.
                (None, None)
                    if standing.breaker.circuit(now) == Circuit::HalfOpen
                        && standing.breaker.is_trying() =>
                {
                    Some(Exclusion::CircuitOpen {
                        provider,
                        region,
                        until: clock,
                        cause: cause(),
                    })
                }
                (None, None) => None,
            };
            if excluded.is_some() || measured != Measured::default() {
                let regions = &mut sheet
                    .providers
                    .entry(place.provider.clone())
                    .or_default()
                    .regions;
                regions.insert(
                    place.region.clone(),
                    Region {
                        excluded,
                        measured,
                        ..Default::default()
                    },
                );
            }
        }
        for ((name, what), cooling) in self.cooling.iter().filter(|(_, c)| now < c.until) {
            let excluded = Exclusion::CoolingDown {
                until: at(cooling.until),
                cause: cooling.cause.clone(),
            };
            let provider = sheet.providers.entry(name.clone()).or_default();
            match what {
                Cooled::Offer(offer) => drop(provider.offers.insert(offer.clone(), excluded)),
                Cooled::Size { region, size } => {
                    drop(
                        provider
                            .regions
                            .entry(region.clone())
                            .or_default()
                            .sizes
                            .insert(size.clone(), excluded),
                    );
                }
            }
        }
        for (name, degraded) in &self.degraded {
            let excluded = Exclusion::Degraded {
                provider: name.clone(),
                cause: degraded.cause.told(),
            };
            sheet.providers.entry(name.clone()).or_default().excluded = Some(excluded);
        }
        sheet
    }
}
