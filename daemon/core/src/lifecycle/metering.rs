//! What an allocation costs while it is there: the meter in its record, brought up to date whenever the record is written.

use crate::{
    base::units::{Instant, MicroUsd},
    state::{
        ledger::{Meter, Segment},
        record::{AllocationRecord, Stage},
    },
};

impl Meter {
    /// Of a record that was written before there were meters: it has cost the same since it was made.
    fn of(record: &AllocationRecord) -> Self {
        match record.status.meter {
            Some(meter) => meter,
            None if record.handle.state.is_some() => Self {
                hourly: record.hourly_total(),
                since: record.intent.created_at,
                metered: None,
            },
            None => Self::default(),
        }
    }

    /// What the record costs per hour as it is.
    fn rate(&self, record: &AllocationRecord) -> MicroUsd {
        match record.intent.stage {
            _ if record.handle.state.is_none() => MicroUsd(0),
            Stage::Applied if record.status.phase.is_final() => MicroUsd(0),
            Stage::Applied => self.metered.unwrap_or_else(|| record.hourly_total()),
            Stage::Intended | Stage::Removing => self.hourly,
        }
    }

    /// What is running up, as an interval that ends now.
    pub fn running(record: &AllocationRecord, now: Instant) -> Segment {
        let meter = Self::of(record);
        Segment {
            namespace: record.namespace.clone(),
            from: meter.since,
            to: now.max(meter.since),
            hourly: meter.hourly,
        }
    }
}

/// Brings a record's meter up to date before the record is written. The interval that has ended with it goes into the same transaction.
/// Nothing is paid for what the provider has not accepted yet; while a change is on its way, what was before is paid.
#[must_use]
pub fn turn(record: &mut AllocationRecord, now: Instant) -> Option<Segment> {
    let meter = Meter::of(record);
    let hourly = meter.rate(record);
    if hourly == meter.hourly && record.status.meter.is_some() {
        return None;
    }
    let ended = Meter::running(record, now);
    record.status.meter = Some(Meter {
        hourly,
        since: now,
        ..meter
    });
    Some(ended).filter(|s| s.hourly > MicroUsd(0) && s.to > s.from)
}

/// The same for a record that has been observed, with what the provider says of its cost, if it does.
#[must_use]
pub fn observed(
    record: &mut AllocationRecord,
    metered: Option<MicroUsd>,
    now: Instant,
) -> Option<Segment> {
    if !record.status.phase.is_final() {
        let metered = unexpected(record, metered);
        record.status.meter = Some(Meter {
            metered,
            ..Meter::of(record)
        });
    }
    turn(record, now)
}

/// Whether `observed` would leave the record as it is.
#[must_use]
pub fn is_settled(record: &AllocationRecord, metered: Option<MicroUsd>) -> bool {
    let same = |meter: Meter| {
        record.status.phase.is_final() || meter.metered == unexpected(record, metered)
    };
    record
        .status
        .meter
        .is_some_and(|meter| same(meter) && meter.rate(record) == meter.hourly)
}

/// What a provider says of the cost, where it is not what was agreed.
fn unexpected(record: &AllocationRecord, metered: Option<MicroUsd>) -> Option<MicroUsd> {
    metered.filter(|m| *m != record.hourly_total())
}

/// The last interval of a record that is about to be deleted.
#[must_use]
pub fn close(record: &AllocationRecord, now: Instant) -> Option<Segment> {
    Some(Meter::running(record, now)).filter(|s| s.hourly > MicroUsd(0) && s.to > s.from)
}
