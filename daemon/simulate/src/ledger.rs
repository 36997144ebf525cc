//! What it has cost, and what was used: bookings, and the series that they add up to.

use super::{
    Booking,
    series::{Amounts, Series},
};
use tradewind_core::{
    cost,
    offer::Offer,
    units::{MicroUsd, Millis},
    workload::Resources,
};

/// From when the replicas of a lot have to be booked.
pub(super) struct Account {
    since: u64,
    /// Of one replica; booked once, with its first booking.
    setup: MicroUsd,
}

impl Account {
    pub(super) fn new(since: u64, setup: MicroUsd) -> Self {
        Self { since, setup }
    }

    pub(super) fn since(&self) -> u64 {
        self.since
    }
}

pub(super) struct Ledger {
    pub(super) series: Series,
    pub(super) bookings: Vec<Booking>,
    /// Of all offers in force, as far as it is known.
    capacity: Amounts,
    capacity_since: u64,
}

impl Ledger {
    pub(super) fn new(step: Option<Millis>) -> Self {
        Self {
            series: Series::new(step),
            bookings: Vec::new(),
            capacity: Amounts::default(),
            capacity_since: 0,
        }
    }

    /// Books replicas from the account's beginning to the booking's end. `all`: the whole lot, which goes on from there.
    pub(super) fn book(
        &mut self,
        mut booking: Booking,
        account: &mut Account,
        all: bool,
        resources: &Resources,
        offer: &Offer,
    ) {
        let n = u64::from(booking.replicas);
        let setup = account.setup.saturating_mul(n).0;
        if setup > 0 {
            self.series.note(booking.from, |row| {
                row.cost = row.cost.saturating_add(setup)
            });
        }
        // Each row gets its part of what has accrued, so that the rows add up to the booking to the last micro-USD.
        let accrued = |to: u64| {
            cost::run(resources, offer, Millis(to - booking.from))
                .saturating_mul(n)
                .0
        };
        let one = used(resources);
        let bounded = bounded(&one, offer);
        self.series.spread(booking.from, booking.to, |row, a, b| {
            let times = u128::from(n) * u128::from(b - a);
            row.cost = row.cost.saturating_add(accrued(b) - accrued(a));
            row.used.add(&one, times);
            row.bounded.add(&bounded, times);
            row.running += times;
        });
        booking.cost = MicroUsd(accrued(booking.to).saturating_add(setup));
        if all {
            *account = Account::new(booking.to, MicroUsd(0));
        }
        if booking.to > booking.from || booking.cost.0 > 0 {
            self.bookings.push(booking);
        }
    }

    /// Tasks waited.
    pub(super) fn wait(&mut self, from: u64, to: u64, tasks: u32) {
        if tasks > 0 {
            self.series.spread(from, to, |row, a, b| {
                row.waiting += u128::from(tasks) * u128::from(b - a);
                row.most_waiting = row.most_waiting.max(tasks);
            });
        }
    }

    /// From now on there is that much.
    pub(super) fn capacity<'a>(&mut self, now: u64, offers: impl Iterator<Item = &'a Offer>) {
        self.close(now);
        self.capacity = Amounts::default();
        offers.for_each(|offer| self.capacity.add(&capacity(offer), 1));
    }

    pub(super) fn close(&mut self, now: u64) {
        let level = self.capacity;
        self.series.spread(self.capacity_since, now, |row, a, b| {
            row.capacity.add(&level, u128::from(b - a))
        });
        self.capacity_since = now;
    }
}

/// What one replica uses: what it asked for, whatever the instance has.
fn used(resources: &Resources) -> Amounts {
    Amounts {
        cpu: u128::from(resources.cpu.0),
        memory: u128::from(resources.memory.0),
        accelerators: resources
            .accelerators
            .iter()
            .map(|a| u128::from(a.count))
            .sum(),
    }
}

/// The part of it that is held against a known capacity.
fn bounded(used: &Amounts, offer: &Offer) -> Amounts {
    let [cpu, memory, accelerators] = bounds(offer);
    let part = |known: bool, n: u128| if known { n } else { 0 };
    Amounts {
        cpu: part(cpu, used.cpu),
        memory: part(memory, used.memory),
        accelerators: part(accelerators, used.accelerators),
    }
}

/// Whether it is known how many cores, how much memory and how many accelerators an offer has in all.
fn bounds(offer: &Offer) -> [bool; 3] {
    let counted = offer.capacity != u32::MAX;
    if offer.shared {
        [
            offer.free_cpu != u64::MAX,
            offer.free_memory != u64::MAX,
            counted,
        ]
    } else {
        [counted; 3]
    }
}

/// What an offer has in all, as far as that is known.
fn capacity(offer: &Offer) -> Amounts {
    let times = |each: u64| u128::from(each) * u128::from(offer.capacity);
    let all = Amounts {
        cpu: if offer.shared {
            u128::from(offer.free_cpu)
        } else {
            times(u64::from(offer.cpu.0))
        },
        memory: if offer.shared {
            u128::from(offer.free_memory)
        } else {
            times(offer.memory.0)
        },
        accelerators: times(u64::from(offer.accelerator_count)),
    };
    bounded(&all, offer)
}
