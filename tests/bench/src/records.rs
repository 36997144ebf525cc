//! What it costs to keep a policy call and to replay it: packed size, and the time to pack, to unpack, and to answer once more.

use std::time::Instant;

use anyhow::{Result, ensure};
use tradewind_core::{
    identity::Scope,
    names::DecisionId,
    placement::{
        Recorded,
        recorded::{answer_bytes, decode, encode},
    },
    replay::replay,
};

use crate::{
    host::{Place, policy},
    policy::batch,
    report::{Report, Unit},
    samples::Samples,
};

pub(crate) async fn measure(report: &mut Report) -> Result<()> {
    let place = Place::new(&["cheapest"], &[]).await?;
    let host = place.start().await?;
    let cheapest = policy(&host, "cheapest")?;
    let id: DecisionId = "d-bench".parse()?;
    for (what, tasks, shapes, offers, times) in [
        ("1 task × 100 candidates", 1, 1, 100, 500),
        ("1 task × 10,000 candidates", 1, 1, 10_000, 50),
        (
            "1,000 tasks × 10,000 offers, 16 shapes",
            1_000,
            16,
            10_000,
            10,
        ),
    ] {
        let request = batch(tasks, shapes, offers)?;
        let answer = cheapest.place(&request).await?;
        let policy = cheapest.identity().clone();
        let recorded = Recorded {
            at: tradewind_core::units::Instant(1),
            policy,
            request,
            limits: Vec::new(),
            answer,
        };
        let (mut packing, mut unpacking) = (Samples::default(), Samples::default());
        let (mut live, mut replaying) = (Samples::default(), Samples::default());
        let mut size = 0;
        for _ in 0..times {
            let bytes = packing.time(|| encode(&recorded))?;
            let back = unpacking.time(|| decode(&bytes))?;
            ensure!(
                answer_bytes(&back.answer) == answer_bytes(&recorded.answer),
                "it came back changed"
            );
            size = bytes.len();
            let since = Instant::now();
            cheapest.place(&recorded.request).await?;
            live.add(since.elapsed());
            let since = Instant::now();
            let seen = replay(&id, &decode(&bytes)?, cheapest.as_ref(), &Scope::All).await?;
            replaying.add(since.elapsed());
            ensure!(seen.identical, "{:?}", seen.first_difference);
        }
        report.value(
            format!("kept inputs of a decision, {what}"),
            size as f64 / 1024.0,
            "KiB",
            None,
        );
        report.time(
            format!("packing them, {what}, median"),
            Unit::Micros,
            packing.median(),
        );
        report.time(
            format!("unpacking them, {what}, median"),
            Unit::Micros,
            unpacking.median(),
        );
        report.time_against(
            format!("replaying it, {what}, median"),
            Unit::Micros,
            replaying.median(),
            "the decision",
            live.median(),
        );
    }
    host.handle().shutdown().await;
    place.close().await;
    Ok(())
}
