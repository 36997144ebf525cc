//! The standing of places: what calls to them came to, and what follows for the next ones. A place is a provider's region. It decides which
//! calls may go, which offers are left alone and what their cost has to be multiplied with; it must not know who calls or decides.
//! Pure: `now` is milliseconds since some beginning and never goes back.

mod breaker;
mod rates;
mod sheet;

use std::collections::BTreeMap;

use crate::{
    base::{
        failure::{Failure, FailureKind},
        names::InstanceName,
        units::Millis,
    },
    state::record::AllocationRecord,
};

pub use super::placement::{Measured, Sheet, weight};
pub use breaker::{Admission, Breaker, Circuit};
pub use rates::Rates;

/// How long an offer that has failed is left alone: the first time, and at the longest. It doubles while it goes on.
const COOLING: Millis = Millis(30_000);
const COOLING_LONGEST: Millis = Millis(120_000);
/// What has been well for so long after it cooled begins with the first time again.
const FORGIVEN: Millis = Millis(600_000);
/// How soon a degraded provider is checked: the first time, and at the longest.
const CHECK: Millis = Millis(5_000);
const CHECK_LONGEST: Millis = Millis(300_000);
/// A throttled place that was told no time.
const THROTTLED: Millis = Millis(2_000);
const THROTTLED_LONGEST: Millis = Millis(3_600_000);

/// A region of a provider; "" where a provider has none.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// The provider instance.
    pub provider: InstanceName,
    /// The region.
    pub region: String,
}

impl Place {
    /// Where an allocation is.
    pub fn of(record: &AllocationRecord) -> Self {
        Self {
            provider: record.intent.provider.clone(),
            region: record.intent.offer.region.clone(),
        }
    }
}

/// `provider/region`, as people read it.
impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.region.is_empty() {
            true => write!(f, "{}", self.provider),
            false => write!(f, "{}/{}", self.provider, self.region),
        }
    }
}

/// What one call was about.
#[derive(Debug, Clone)]
pub struct Call<'a> {
    /// Where it goes.
    pub place: &'a Place,
    /// The instance type or size class.
    pub size: &'a str,
    /// The provider's name for the offer.
    pub offer: &'a str,
    /// Replicas of all sizes share the offer.
    pub shared: bool,
}

/// What is left alone for a while.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cooled {
    /// One offer, by the provider's name for it.
    Offer(String),
    /// Every offer of a size in a region.
    Size {
        /// The region.
        region: String,
        /// The instance type or size class.
        size: String,
    },
}

/// Why something is left alone, and until when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cooling {
    /// Until when.
    pub until: Millis,
    /// The failure that led to it.
    pub cause: String,
    times: u32,
}

/// A provider that has refused its credentials or permissions.
#[derive(Debug, Clone, PartialEq)]
pub struct Degraded {
    /// What it said.
    pub cause: Failure,
    /// Since when.
    pub since: Millis,
    /// When to check it next.
    pub check_at: Millis,
    checks: u32,
}

/// One place.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    /// Whether calls may go.
    pub breaker: Breaker,
    /// How it has been doing lately.
    pub rates: Rates,
    /// No call before this: the place has said so.
    pub throttled: Option<Millis>,
    /// The last failure that says something about the place.
    pub cause: Option<Failure>,
}

/// A change that people want to know of.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// No calls go to a place for now.
    Opened {
        /// The place.
        place: Place,
        /// The failure that led to it.
        cause: Failure,
    },
    /// Calls go to a place again.
    Closed {
        /// The place.
        place: Place,
    },
    /// A provider has refused its credentials or permissions.
    Degraded {
        /// The provider instance.
        provider: InstanceName,
        /// What it said.
        cause: Failure,
    },
}

/// Every place that something is known of.
#[derive(Debug, Clone, Default)]
pub struct Standings {
    places: BTreeMap<Place, Standing>,
    cooling: BTreeMap<(InstanceName, Cooled), Cooling>,
    degraded: BTreeMap<InstanceName, Degraded>,
}

impl Standings {
    /// Asks for a call. One that goes must be followed by `ended` or `unused`.
    pub fn admit(&mut self, place: &Place, now: Millis) -> Admission {
        let Some(standing) = self.places.get_mut(place) else {
            return Admission::Go;
        };
        match standing.throttled {
            Some(until) if now < until => Admission::Wait(until),
            _ => standing.breaker.admit(now),
        }
    }

    /// Until when no call goes because the place has not answered. Throttling is no such reason.
    pub fn shut(&self, place: &Place, now: Millis) -> Option<Millis> {
        self.places.get(place)?.breaker.until(now)
    }

    /// A call that had been let go was not made after all.
    pub fn unused(&mut self, place: &Place, now: Millis) {
        if let Some(standing) = self.places.get_mut(place) {
            standing.breaker.unused(now);
        }
    }

    /// Takes in how a call ended that changes something.
    pub fn ended(
        &mut self,
        call: &Call<'_>,
        now: Millis,
        took: Millis,
        failure: Option<&Failure>,
    ) -> Option<Change> {
        let standing = self.places.entry(call.place.clone()).or_default();
        let answered = !failure.is_some_and(is_silence);
        standing.rates.call(now, answered, took);
        let Some(failure) = failure else {
            standing.throttled = None;
            return standing.breaker.answered().then(|| Change::Closed {
                place: call.place.clone(),
            });
        };
        if !answered {
            standing.cause = Some(failure.clone());
            let opened = standing.breaker.failed(now);
            return opened.then(|| Change::Opened {
                place: call.place.clone(),
                cause: failure.clone(),
            });
        }
        let closed = standing.breaker.answered().then(|| Change::Closed {
            place: call.place.clone(),
        });
        match failure.kind {
            _ if failure.concerns_the_workload() => closed,
            FailureKind::Throttled => {
                let told = failure
                    .retry_after
                    .unwrap_or(THROTTLED)
                    .min(THROTTLED_LONGEST);
                standing.throttled =
                    Some(later(now, told).max(standing.throttled.unwrap_or_default()));
                standing.cause = Some(failure.clone());
                closed
            }
            // A smaller request, or one for other ports, may go on.
            _ if failure.lacks_room_for_the_request(call.shared) => closed,
            FailureKind::OutOfCapacity => {
                self.cool(
                    &call.place.provider,
                    Cooled::Offer(call.offer.to_owned()),
                    failure,
                    now,
                );
                closed
            }
            FailureKind::Quota => {
                let size = Cooled::Size {
                    region: call.place.region.clone(),
                    size: call.size.to_owned(),
                };
                let what = if call.size.is_empty() {
                    Cooled::Offer(call.offer.to_owned())
                } else {
                    size
                };
                self.cool(&call.place.provider, what, failure, now);
                closed
            }
            FailureKind::Denied => self.degrade(&call.place.provider, failure, now).or(closed),
            _ => closed,
        }
    }

    /// Takes in how a call ended that only looks: it weighs, but opens and closes nothing.
    pub fn looked(&mut self, place: &Place, now: Millis, took: Millis, failure: Option<&Failure>) {
        let standing = self.places.entry(place.clone()).or_default();
        standing
            .rates
            .call(now, !failure.is_some_and(is_silence), took);
    }

    /// Something became ready there so long after it had been accepted.
    pub fn ready(&mut self, place: &Place, now: Millis, took: Millis) {
        self.places
            .entry(place.clone())
            .or_default()
            .rates
            .ready(now, took);
    }

    /// Leaves an offer alone for a while for a reason that is known elsewhere.
    pub fn cool_down(
        &mut self,
        provider: &InstanceName,
        offer: &str,
        cause: &Failure,
        now: Millis,
    ) {
        self.cool(provider, Cooled::Offer(offer.to_owned()), cause, now);
    }

    fn cool(&mut self, provider: &InstanceName, what: Cooled, failure: &Failure, now: Millis) {
        let cooling = self.cooling.entry((provider.clone(), what));
        let cooling = cooling.or_insert_with(|| Cooling {
            until: now,
            cause: String::new(),
            times: 0,
        });
        if now.0.saturating_sub(cooling.until.0) > FORGIVEN.0 {
            cooling.times = 0;
        }
        let span = failure
            .retry_after
            .unwrap_or_else(|| doubled(COOLING, cooling.times, COOLING_LONGEST));
        // Calls that failed side by side are one failure.
        if now >= cooling.until {
            (cooling.until, cooling.times) = (
                later(now, span.min(THROTTLED_LONGEST)),
                cooling.times.saturating_add(1),
            );
        }
        cooling.cause = format!("{}: {}", failure.kind, failure.message);
    }

    fn degrade(&mut self, provider: &InstanceName, cause: &Failure, now: Millis) -> Option<Change> {
        if let Some(known) = self.degraded.get_mut(provider) {
            known.cause = cause.clone();
            return None;
        }
        let check_at = later(now, CHECK);
        self.degraded.insert(
            provider.clone(),
            Degraded {
                cause: cause.clone(),
                since: now,
                check_at,
                checks: 0,
            },
        );
        Some(Change::Degraded {
            provider: provider.clone(),
            cause: cause.clone(),
        })
    }

    /// Providers that have refused their credentials or permissions.
    pub fn degraded(&self) -> &BTreeMap<InstanceName, Degraded> {
        &self.degraded
    }

    /// The check of a degraded provider has not passed.
    pub fn still_degraded(&mut self, provider: &InstanceName, now: Millis) {
        if let Some(known) = self.degraded.get_mut(provider) {
            known.checks = known.checks.saturating_add(1);
            known.check_at = later(now, doubled(CHECK, known.checks, CHECK_LONGEST));
        }
    }

    /// True when it was degraded.
    pub fn recovered(&mut self, provider: &InstanceName) -> bool {
        self.degraded.remove(provider).is_some()
    }

    /// Another version or other settings: whatever was known of the provider may not hold any more. True when it was degraded.
    pub fn forget(&mut self, provider: &InstanceName) -> bool {
        self.places.retain(|place, _| place.provider != *provider);
        self.cooling.retain(|(of, _), _| of != provider);
        self.recovered(provider)
    }

    /// Every place that has been called.
    pub fn places(&self) -> &BTreeMap<Place, Standing> {
        &self.places
    }

    /// What a provider leaves alone now.
    pub fn cooling(
        &self,
        provider: &InstanceName,
        now: Millis,
    ) -> impl Iterator<Item = (&Cooled, &Cooling)> {
        self.cooling
            .iter()
            .filter(move |((of, _), c)| of == provider && now < c.until)
            .map(|((_, what), c)| (what, c))
    }
}

/// Failures that say that a place does not work, rather than that it refuses.
pub fn is_no_answer(kind: FailureKind) -> bool {
    matches!(kind, FailureKind::Unavailable | FailureKind::Internal)
}

/// A failure that says so of the place, and not of what was asked of it.
fn is_silence(failure: &Failure) -> bool {
    is_no_answer(failure.kind) && !failure.concerns_the_workload()
}

fn later(now: Millis, span: Millis) -> Millis {
    Millis(now.0.saturating_add(span.0))
}

fn doubled(first: Millis, times: u32, longest: Millis) -> Millis {
    Millis(first.0.saturating_mul(1 << times.min(16)).min(longest.0))
}

#[cfg(test)]
mod tests;
