//! How long large batches take: `cargo run --release -p optimal --example sizes`.
#![allow(clippy::unwrap_used, reason = "an example that can't go on ends")]

use std::time::Instant;

use optimal::Optimal;
use tradewind_plugin_sdk::testing::{Batch, OfferSpec, TaskSpec};

fn random(state: &mut u64, below: u64) -> u64 {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) % below
}

/// So many tasks of one to four replicas, of so many sizes; offers hold few of them, and every third is a shared machine.
fn batch(tasks: u64, offers: u64, sizes: u64, shared: bool) -> Batch {
    let mut state = 42;
    let per_offer = (tasks * 5 / 2).div_ceil(offers) as u32 + 1;
    let mut batch = Batch::new();
    for i in 0..offers {
        let usd = (100 + random(&mut state, 900)) as f64 / 10_000.0;
        let offer = OfferSpec::new(&format!("o{i}"), usd)
            .capacity(1 + random(&mut state, u64::from(per_offer) * 2) as u32);
        batch = batch.offer(offer.with(|offer| {
            offer.price_unit = tradewind_plugin_sdk::types::PriceUnit::Cpu;
            offer.performance = (50 + random(&mut state, 150)) as f64 / 100.0;
            if shared && i % 3 == 0 {
                (offer.shared, offer.free_cpu, offer.free_memory) = (
                    true,
                    u64::from(per_offer) * 2000,
                    u64::from(per_offer) << 31,
                );
            }
        }));
    }
    for i in 0..tasks {
        let size = i % sizes;
        let task = TaskSpec::new(&format!("t{i}"), 1 + random(&mut state, 4) as u32).job();
        batch = batch.task(
            task.needs(
                250 + 50 * (size % 61) as u32,
                (256 + 64 * (size % 53)) << 20,
            )
            .hours(1.0 + (size % 37) as f64),
        );
    }
    batch
}

fn main() {
    for (tasks, offers, sizes, shared) in [
        (100, 500, 8, false),
        (100, 500, 100, false),
        (100, 500, 8, true),
        (100, 500, 100, true),
        (1000, 500, 16, false),
        (1000, 500, 1000, false),
        (1000, 500, 16, true),
        (1000, 500, 1000, true),
    ] {
        let batch = batch(tasks, offers, sizes, shared);
        let began = Instant::now();
        let placed = batch.place::<Optimal>("{}").unwrap();
        let took = began.elapsed();
        println!(
            "{tasks} × {offers}, {sizes} sizes, shared {shared}: {took:.2?}: {}; {} tasks are short",
            placed.answer.note,
            placed.unplaced.len()
        );
    }
}
