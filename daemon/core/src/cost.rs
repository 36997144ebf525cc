//! The cost model: C = c·R·T — unit price × resource units × hours.

use crate::{
    offer::{Offer, PriceUnit},
    units::{Bytes, MicroUsd, MilliCpu, Millis},
    workload::Resources,
};

/// The terms of one replica's cost on one offer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Terms {
    /// R.
    pub units: f64,
    /// T: the duration on the reference machine, divided by the offer's performance.
    pub hours: f64,
    /// Per hour: c·R, and the memory price.
    pub hourly: MicroUsd,
    /// C: the hourly cost for T hours, and the set-up price.
    pub cost: MicroUsd,
}

impl Terms {
    pub fn of(need: &Resources, duration: Millis, offer: &Offer) -> Self {
        let (units, hourly) = rate(need, offer);
        let hours = duration.hours() / offer.performance;
        // One rounding for each result: the cost is not made from the rounded hourly amount.
        let cost = MicroUsd(1).scaled(hourly * hours).saturating_add(offer.setup_price);
        Self { units, hours, hourly: MicroUsd(1).scaled(hourly), cost }
    }
}

/// What one replica has cost after it has run for so long, without the set-up price: by the clock, not by the reference machine.
pub fn run(need: &Resources, offer: &Offer, time: Millis) -> MicroUsd {
    MicroUsd(1).scaled(rate(need, offer).1 * time.hours())
}

/// R, and micro-USD per hour before anything is rounded.
fn rate(need: &Resources, offer: &Offer) -> (f64, f64) {
    let (cpu, memory) = paid_size(need, offer);
    let units = units(offer.price_unit, cpu, memory);
    (units, offer.price.0 as f64 * units + offer.memory_price.0 as f64 * memory.gib())
}

/// What a replica pays for: its own share of a shared offer, else the whole instance.
pub fn paid_size(need: &Resources, offer: &Offer) -> (MilliCpu, Bytes) {
    if offer.shared { (need.cpu, need.memory) } else { (offer.cpu, offer.memory) }
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
    use crate::units::GIB;

    /// mission.md E1, number for number: both models of R.
    #[test]
    fn the_worked_example_comes_out_exactly() {
        let need = Resources { cpu: MilliCpu(1000), memory: Bytes(2 * GIB), ..Default::default() };
        // c in micro-USD, cores, GiB, performance → T, R and C by CPU, R and C by product.
        let cases = [
            (500_000, 2, 4, 1.0, 1.0, (2.0, 1_000_000), (8.0, 4_000_000)),
            (300_000, 1, 2, 0.5, 2.0, (1.0, 600_000), (2.0, 1_200_000)),
            (200_000, 1, 2, 1.0, 1.0, (1.0, 200_000), (2.0, 400_000)),
        ];
        for (price, cores, gib, performance, hours, by_cpu, by_product) in cases {
            for (unit, (r, c)) in [(PriceUnit::Cpu, by_cpu), (PriceUnit::CpuMemory, by_product)] {
                let mut offer = Offer::new("o", MilliCpu(cores * 1000), Bytes(gib * GIB), MicroUsd(price));
                offer.price_unit = unit;
                offer.performance = performance;
                let terms = Terms::of(&need, Millis(3_600_000), &offer);
                assert_eq!((terms.hours, terms.units, terms.cost), (hours, r, MicroUsd(c)));
            }
        }
    }

    #[test]
    fn a_shared_offer_is_paid_by_the_share() {
        let need = Resources { cpu: MilliCpu(500), memory: Bytes(GIB), ..Default::default() };
        let mut offer = Offer::new("o", MilliCpu(8000), Bytes(16 * GIB), MicroUsd(100));
        (offer.price_unit, offer.memory_price, offer.shared) = (PriceUnit::Cpu, MicroUsd(10), true);
        let terms = Terms::of(&need, Millis(7_200_000), &offer);
        assert_eq!((terms.hourly, terms.cost), (MicroUsd(60), MicroUsd(120)));
    }
}
