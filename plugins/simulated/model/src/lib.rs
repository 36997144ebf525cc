//! The simulated cloud: its table, its faults, its pretended replicas. What `simulated` and `simulated-live` share.
//!
//! Everything follows from the settings, the clock and the stored state: nothing is kept anywhere else.

mod faults;
mod replicas;
mod settings;

use tradewind_plugin_sdk::{
    Context, Error, Offer,
    host::Clock,
    provider::{read_state, write_state},
    types::{
        Allocation, Condition, Destroyed, LogChunk, LogQuery, Observation, OffersQuery, Tracked,
    },
};

pub use faults::{Operation, Place};
pub use replicas::State;
pub use settings::{SCHEMA, Settings};

/// A simulated cloud as one call sees it.
pub struct Cloud<C> {
    settings: Settings,
    table: Vec<Offer>,
    context: Context,
    clock: C,
}

impl<C: Clock> Cloud<C> {
    /// Reads the table.
    ///
    /// # Errors
    /// `invalid` with the region and size of an entry that makes no sense.
    pub fn new(context: Context, settings: Settings, clock: C) -> Result<Self, Error> {
        let table = settings.table()?;
        Ok(Self {
            settings,
            table,
            context,
            clock,
        })
    }

    /// Fails or waits as the settings' faults say for this operation.
    ///
    /// # Errors
    /// The fault.
    pub fn fault(&self, operation: Operation, place: Place<'_>) -> Result<(), Error> {
        faults::meet(
            &self.settings.faults,
            operation,
            place,
            &self.clock,
            self.context.deadline,
        )
    }

    /// Whether the cloud can be used: it can, unless a fault says otherwise.
    ///
    /// # Errors
    /// The fault.
    pub fn check(&self) -> Result<Vec<Condition>, Error> {
        self.fault(Operation::Check, Place::default())?;
        let message = format!(
            "{} offers in {} regions",
            self.table.len(),
            self.settings.regions.len()
        );
        Ok(vec![Condition {
            kind: "Reachable".to_owned(),
            met: true,
            reason: "Simulated".to_owned(),
            message,
        }])
    }

    /// The table, less what is held already.
    ///
    /// # Errors
    /// A fault of the operation `offers`.
    pub fn offers(&self, query: &OffersQuery) -> Result<Vec<Offer>, Error> {
        self.fault(Operation::Offers, Place::default())?;
        let asked_for =
            |offer: &&Offer| query.regions.is_empty() || query.regions.contains(&offer.region);
        let mut offers: Vec<Offer> = self.table.iter().filter(asked_for).cloned().collect();
        for offer in offers.iter_mut().filter(|offer| offer.capacity != u32::MAX) {
            let held: u32 = query
                .holding
                .iter()
                .filter(|held| held.offer == offer.id)
                .map(|held| held.replicas)
                .sum();
            offer.capacity = offer.capacity.saturating_sub(held);
        }
        Ok(offers)
    }

    /// The offer of this id.
    ///
    /// # Errors
    /// `invalid` when the table has none: it was sold under other settings.
    pub fn offer(&self, id: &str) -> Result<&Offer, Error> {
        let missing =
            || Error::invalid(format!("there is no offer {id:?} any more")).field("offer.id");
        self.table
            .iter()
            .find(|offer| offer.id == id)
            .ok_or_else(missing)
    }

    /// Remembers the allocation, with the time from which its replicas count.
    ///
    /// # Errors
    /// A fault of the operation `apply`; `invalid` for an unknown offer or unreadable extensions.
    pub fn apply(&self, allocation: &Allocation, prior: Option<&[u8]>) -> Result<Vec<u8>, Error> {
        self.fault(Operation::Apply, Place::of(allocation))?;
        let offer = self.offer(&allocation.offer.id)?;
        let prior: Option<State> = prior.map(read_state).transpose()?;
        write_state(&State::next(
            allocation,
            prior,
            offer,
            &self.settings,
            self.clock.now(),
        )?)
    }

    /// What became of the replicas, by the clock.
    ///
    /// # Errors
    /// A fault of the operation `observe`, when it is about one of these.
    pub fn observe(&self, tracked: &[Tracked]) -> Result<Vec<Observation>, Error> {
        let now = self.clock.now();
        let observed = tracked.iter().map(|one| {
            let state: State = read_state(&one.state)?;
            self.fault(Operation::Observe, state.place(&one.allocation))?;
            let price = self.table.iter().find(|offer| offer.id == state.offer);
            Ok(state.observation(&one.allocation, &self.context.instance, now, price))
        });
        observed.collect()
    }

    /// Forgets it: nothing but the state exists.
    ///
    /// # Errors
    /// A fault of the operation `destroy`.
    pub fn destroy(&self, tracked: &Tracked) -> Result<Destroyed, Error> {
        let state: State = read_state(&tracked.state)?;
        self.fault(Operation::Destroy, state.place(&tracked.allocation))?;
        Ok(Destroyed::Gone)
    }

    /// What the replicas would have written.
    ///
    /// # Errors
    /// A fault of the operation `logs`.
    pub fn logs(&self, tracked: &Tracked, query: &LogQuery) -> Result<LogChunk, Error> {
        let state: State = read_state(&tracked.state)?;
        self.fault(Operation::Logs, state.place(&tracked.allocation))?;
        Ok(state.logs(query, self.clock.now()))
    }
}
