//! The policy `optimal` on large batches: the component against the same solver compiled for this machine, and how far its answer is at most
//! from the least possible cost.

use std::{sync::Arc, time::Instant};

use anyhow::{Context, Result, anyhow, ensure};
use optimal::Optimal;
use tradewind_core::placement::Request;
use tradewind_plugin_sdk::{
    bindings::policy::exports::tradewind::plugin::scheduling_policy::Guest, policy::Exported,
};

use crate::{
    host::{Place, policy},
    native,
    policy::batch,
    report::{Report, Unit},
    samples::Samples,
};

const INSTANCE: &str =
    "component = \"optimal.wasm\"\n[limits]\ndeadline = \"5m\"\nmemory = \"512Mi\"\n";
const TIMES: usize = 3;

/// A batch that has to share: offers together hold about twice what is wanted, and where `shared`, every third is a machine whose processors and
/// memory they divide up.
fn contended(tasks: u32, shapes: u32, shared: bool) -> Result<Request> {
    let mut request = batch(tasks, shapes, 500)?;
    let most = 4 * (3 * tasks).div_ceil(500);
    for (i, placed) in (0u32..).zip(Arc::make_mut(&mut request.offers)) {
        let offer = &mut placed.offer;
        offer.capacity = 1 + i * 7 % most;
        if shared && i % 3 == 0 {
            (offer.shared, offer.free_cpu) = (true, u64::from(offer.capacity) * 32_000);
            offer.free_memory = u64::from(offer.capacity) * (128 << 30);
        }
    }
    Ok(request)
}

pub(crate) async fn measure(report: &mut Report) -> Result<()> {
    let place = Place::new(&["optimal"], &[("optimal", INSTANCE)]).await?;
    let host = place.start().await?;
    let optimal = policy(&host, "optimal")?;
    for (what, tasks, shapes, shared) in [
        ("100 tasks of 8 shapes × 500 offers", 100, 8, false),
        ("100 tasks of 100 shapes × 500 offers", 100, 100, false),
        ("1,000 tasks of 16 shapes × 500 offers", 1_000, 16, false),
        (
            "1,000 tasks of 1,000 shapes × 500 offers",
            1_000,
            1_000,
            false,
        ),
        (
            "100 tasks of 100 shapes × 500 offers, a third shared machines",
            100,
            100,
            true,
        ),
        (
            "1,000 tasks of 16 shapes × 500 offers, a third shared machines",
            1_000,
            16,
            true,
        ),
    ] {
        let request = contended(tasks, shapes, shared)?;
        let (mut component, mut logic) = (Samples::default(), Samples::default());
        let mut last = None;
        for _ in 0..TIMES {
            let since = Instant::now();
            let answer = optimal.place(&request).await?;
            component.add(since.elapsed());
            let own = native::with_places(&request);
            let same = logic
                .time(|| <Exported<Optimal> as Guest>::place(own))
                .map_err(|fault| anyhow!("the policy refused the batch: {fault:?}"))?;
            ensure!(
                (&answer.task, &answer.offer, &answer.replicas)
                    == (&same.task, &same.offer, &same.replicas),
                "they decide differently"
            );
            last = Some(answer);
        }
        let answer = last.context("it was asked")?;
        let cost = |(task, offer, replicas): (&u32, &u32, &u32)| -> Option<u64> {
            let rows = request
                .candidates
                .of(request.tasks.get(*task as usize)?.shape);
            let row = rows
                .into_iter()
                .find(|row| request.candidates.offer.get(*row) == Some(offer))?;
            Some(request.candidates.cost.get(row)? * u64::from(*replicas))
        };
        let chosen = answer
            .task
            .iter()
            .zip(&answer.offer)
            .zip(&answer.replicas)
            .map(|((t, o), r)| (t, o, r));
        let total: u64 = chosen
            .map(cost)
            .sum::<Option<u64>>()
            .context("it chose what is no candidate")?;
        let bound = answer.lower_bound.context("it proves something")?.0;
        ensure!(bound <= total, "a bound of {bound} above the cost {total}");
        let name = format!("optimal, {what}");
        report.time_against(
            format!("{name}, median"),
            Unit::Millis,
            component.median(),
            "the same solver native",
            logic.median(),
        );
        report.value(
            format!("{name}, gap"),
            (total - bound) as f64 / bound.max(1) as f64 * 100.0,
            "%",
            None,
        );
    }
    host.handle().shutdown().await;
    place.close().await;
    Ok(())
}
