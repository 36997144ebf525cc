//! The cost model: C = c·R·T — unit price × resource units × hours. What T means for a job and for a service is said here and nowhere else.

use crate::{
    base::units::{Bytes, MicroUsd, MilliCpu, Millis},
    spec::{
        offer::{Offer, PriceUnit},
        workload::Resources,
    },
};

/// What a task's estimated duration means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Time {
    /// A job's: work that takes so long on the reference machine, and less on a faster one.
    Work(Millis),
    /// A service's: so long by the clock, on whatever machine. A faster machine is paid for the whole month as well.
    Wall(Millis),
}

impl Time {
    /// T: the hours for which one replica is paid on an offer.
    pub fn hours(self, offer: &Offer) -> f64 {
        match self {
            Self::Work(duration) => duration.hours() / offer.performance,
            Self::Wall(duration) => duration.hours(),
        }
    }

    /// T to the nearest millisecond.
    pub fn on(self, offer: &Offer) -> Millis {
        match self {
            Self::Work(duration) => Millis((duration.0 as f64 / offer.performance).round() as u64),
            Self::Wall(duration) => duration,
        }
    }
}

/// The terms of one replica's cost on one offer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Terms {
    /// R.
    pub units: f64,
    /// T.
    pub hours: f64,
    /// Per hour: c·R, and the memory price.
    pub hourly: MicroUsd,
    /// C: the hourly cost for T hours, and the set-up price.
    pub cost: MicroUsd,
}

impl Terms {
    /// The terms of one replica with this need at this offer.
    pub fn of(need: &Resources, time: Time, offer: &Offer) -> Self {
        Self::over(need, time.hours(offer), offer)
    }

    /// For so many hours: T as it was when a decision was made.
    pub fn over(need: &Resources, hours: f64, offer: &Offer) -> Self {
        let (units, hourly) = rate(need, offer);
        // One rounding for each result: the cost is not made from the rounded hourly amount.
        let cost = MicroUsd(1)
            .scaled(hourly * hours)
            .saturating_add(offer.setup_price);
        Self {
            units,
            hours,
            hourly: MicroUsd(1).scaled(hourly),
            cost,
        }
    }
}

/// What one replica costs per hour: c·R, and the memory price.
pub fn hourly(need: &Resources, offer: &Offer) -> MicroUsd {
    MicroUsd(1).scaled(rate(need, offer).1)
}

/// What one replica has cost after it has run for so long, without the set-up price: by the clock, not by the reference machine.
pub fn run(need: &Resources, offer: &Offer, time: Millis) -> MicroUsd {
    MicroUsd(1).scaled(rate(need, offer).1 * time.hours())
}

/// R, and micro-USD per hour before anything is rounded.
fn rate(need: &Resources, offer: &Offer) -> (f64, f64) {
    let (cpu, memory) = paid_size(need, offer);
    let units = units(offer.price_unit, cpu, memory);
    (
        units,
        offer.price.0 as f64 * units + offer.memory_price.0 as f64 * memory.gib(),
    )
}

/// What a replica pays for: its own share of a shared offer, else the whole instance.
pub fn paid_size(need: &Resources, offer: &Offer) -> (MilliCpu, Bytes) {
    if offer.shared {
        (need.cpu, need.memory)
    } else {
        (offer.cpu, offer.memory)
    }
}

/// R.
pub fn units(unit: PriceUnit, cpu: MilliCpu, memory: Bytes) -> f64 {
    match unit {
        PriceUnit::Instance => 1.0,
        PriceUnit::Cpu => cpu.cores(),
        PriceUnit::CpuMemory => cpu.cores() * memory.gib(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::units::GIB;

    /// Three clouds, an hour of work, both models of R.
    #[test]
    fn the_worked_example_comes_out_exactly() {
        let need = Resources {
            cpu: MilliCpu(1000),
            memory: Bytes(2 * GIB),
            ..Default::default()
        };
        // c in micro-USD, cores, GiB, performance → T, R and C by CPU, R and C by product.
        let cases = [
            (500_000, 2, 4, 1.0, 1.0, (2.0, 1_000_000), (8.0, 4_000_000)),
            (300_000, 1, 2, 0.5, 2.0, (1.0, 600_000), (2.0, 1_200_000)),
            (200_000, 1, 2, 1.0, 1.0, (1.0, 200_000), (2.0, 400_000)),
        ];
        for (price, cores, gib, performance, hours, by_cpu, by_product) in cases {
            for (unit, (r, c)) in [(PriceUnit::Cpu, by_cpu), (PriceUnit::CpuMemory, by_product)] {
                let mut offer = Offer::new(
                    "o",
                    MilliCpu(cores * 1000),
                    Bytes(gib * GIB),
                    MicroUsd(price),
                );
                offer.price_unit = unit;
                offer.performance = performance;
                let terms = Terms::of(&need, Time::Work(Millis(3_600_000)), &offer);
                assert_eq!(
                    (terms.hours, terms.units, terms.cost),
                    (hours, r, MicroUsd(c))
                );
            }
        }
    }

    #[test]
    fn a_shared_offer_is_paid_by_the_share() {
        let need = Resources {
            cpu: MilliCpu(500),
            memory: Bytes(GIB),
            ..Default::default()
        };
        let mut offer = Offer::new("o", MilliCpu(8000), Bytes(16 * GIB), MicroUsd(100));
        (offer.price_unit, offer.memory_price, offer.shared) = (PriceUnit::Cpu, MicroUsd(10), true);
        let terms = Terms::of(&need, Time::Wall(Millis(7_200_000)), &offer);
        assert_eq!(
            (terms.hourly, terms.cost, hourly(&need, &offer)),
            (MicroUsd(60), MicroUsd(120), MicroUsd(60))
        );
    }

    #[test]
    fn a_service_pays_by_the_clock_whatever_the_machine() {
        let need = Resources {
            cpu: MilliCpu(1000),
            memory: Bytes(GIB),
            ..Default::default()
        };
        let month = Millis(730 * 3_600_000);
        let place = |price: u64, performance: f64| {
            let mut offer = Offer::new("o", MilliCpu(2000), Bytes(4 * GIB), MicroUsd(price));
            offer.performance = performance;
            offer
        };
        let (plain, fast) = (place(50_000, 1.0), place(90_000, 2.0));
        let month_on = |offer: &Offer| Terms::of(&need, Time::Wall(month), offer);
        assert_eq!(
            (month_on(&plain).cost, month_on(&fast).cost),
            (MicroUsd(36_500_000), MicroUsd(65_700_000))
        );
        assert_eq!(
            (month_on(&fast).hours, Time::Wall(month).on(&fast)),
            (730.0, month)
        );
        // The same as work is done in half the time.
        assert_eq!(
            Terms::of(&need, Time::Work(month), &fast).cost,
            MicroUsd(32_850_000)
        );
        assert_eq!(Time::Work(month).on(&fast), Millis(365 * 3_600_000));
    }
}
