//! What it costs to keep a policy call: packed size, and the time to pack and unpack it.

use std::time::Instant;

use anyhow::{Result, ensure};
use tradewind_core::{
    placement::{
        BuiltIn, Recorded, by_cost,
        recorded::{answer_bytes, decode, encode},
    },
    plugin::Policy,
};

use crate::{
    policy::batch,
    report::{Report, Unit},
    samples::Samples,
};

pub(crate) fn measure(report: &mut Report) -> Result<()> {
    for (what, tasks, shapes, offers, times) in [
        ("1 task × 100 candidates", 1, 1, 100, 500),
        ("1 task × 10,000 candidates", 1, 1, 10_000, 50),
        ("1,000 tasks × 10,000 offers, 16 shapes", 1_000, 16, 10_000, 10),
    ] {
        let request = batch(tasks, shapes, offers)?;
        let answer = by_cost(&request);
        let policy = BuiltIn::new()?.identity().clone();
        let recorded = Recorded { at: tradewind_core::units::Instant(1), policy, request, limits: Vec::new(), answer };
        let (mut packing, mut unpacking) = (Samples::default(), Samples::default());
        let mut size = 0;
        for _ in 0..times {
            let since = Instant::now();
            let bytes = encode(&recorded)?;
            packing.add(since.elapsed());
            let since = Instant::now();
            let back = decode(&bytes)?;
            unpacking.add(since.elapsed());
            ensure!(answer_bytes(&back.answer) == answer_bytes(&recorded.answer), "it came back changed");
            size = bytes.len();
        }
        report.value(format!("kept inputs of a decision, {what}"), size as f64 / 1024.0, "KiB", None);
        report.time(format!("packing them, {what}, median"), Unit::Micros, packing.median());
        report.time(format!("unpacking them, {what}, median"), Unit::Micros, unpacking.median());
    }
    Ok(())
}
