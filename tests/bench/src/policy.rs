//! One call of the policy `cheapest`, as a component and as the same code compiled for this machine.

use std::{sync::Arc, time::Instant};

use anyhow::{Result, ensure};
use tradewind_core::{
    names::InstanceName,
    offer::Offer,
    placement::{Need, PlacedOffer, Request, Requires, Table, Want, build},
    plugin::Policy,
    units::{Bytes, MicroUsd, MilliCpu, Millis},
    workload::{Labels, Resources},
};

use crate::{
    host::{Place, policy},
    native,
    report::{Report, Unit},
    samples::Samples,
};

const GIB: u64 = 1 << 30;

/// A batch: so many tasks of so many shapes, each of which can use each of so many offers.
pub(crate) fn batch(tasks: u32, shapes: u32, offers: u32) -> Result<Request> {
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = move || {
        // Marsaglia's xorshift: the same numbers in every run.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    let mut placed = Vec::new();
    for i in 0..offers {
        let mut offer = Offer::new(
            &format!("offer-{i}"),
            MilliCpu(64_000),
            Bytes(256 * GIB),
            MicroUsd(50_000 + next() % 5_000_000),
        );
        offer.performance = 0.5 + (next() % 1_000) as f64 / 500.0;
        // Some are small, so that tasks go to their next best.
        offer.capacity = if i % 4 == 0 { 4 + i % 8 } else { u32::MAX };
        placed.push(PlacedOffer {
            provider: InstanceName::try_from(format!("cloud-{}", i % 4))?,
            offer,
        });
    }
    let features = Default::default();
    let table = Table::new(Arc::new(placed), features, Default::default());
    let mut wants = Vec::new();
    for i in 0..tasks {
        let shape = i % shapes;
        let resources = Resources {
            cpu: MilliCpu(500 * (1 + shape % 100)),
            memory: Bytes(u64::from(1 + shape % 249) * GIB),
            disk: Bytes(0),
            accelerators: Vec::new(),
        };
        let duration = Millis::from_secs(3600 * u64::from(1 + shape % 5));
        wants.push(Want {
            namespace: "default".parse()?,
            deployment: format!("deployment-{}", i / 4).parse()?,
            task: format!("task-{i}").parse()?,
            need: Need {
                resources,
                duration,
                constraints: Default::default(),
                features: Requires::default(),
                job: true,
                closed: Default::default(),
                left: Default::default(),
            },
            replicas: 1 + i % 5,
            priority: i32::try_from(i % 10)?,
            labels: Labels::new(),
            current: Vec::new(),
            max_hourly: MicroUsd::MAX,
            hedged: false,
            bounds: Default::default(),
            expected: Default::default(),
        });
    }
    let request = build(&wants, &table, 1);
    ensure!(
        request.shapes.len() == shapes as usize
            && request.candidates.offer.len() == (shapes * offers) as usize,
        "not the batch that was meant"
    );
    Ok(request)
}

/// The same batch in turn: component, native on columns that are there, native that makes its columns first.
struct Compared {
    component: Samples,
    logic: Samples,
    whole: Samples,
}

async fn compare(policy: &dyn Policy, request: &Request, times: usize) -> Result<Compared> {
    let answer = policy.place(request).await?;
    let same = native::place(native::request(request))?;
    ensure!(
        (
            &answer.task,
            &answer.offer,
            &answer.replicas,
            &answer.scores
        ) == (&same.task, &same.offer, &same.replicas, &same.scores),
        "the component and the native code decide differently"
    );
    let mut compared = Compared {
        component: Samples::default(),
        logic: Samples::default(),
        whole: Samples::default(),
    };
    let columns = native::request(request);
    for turn in 0..times + times / 10 {
        let since = Instant::now();
        policy.place(request).await?;
        let component = since.elapsed();
        let own = columns.clone();
        let since = Instant::now();
        let answer = native::place(own)?;
        let logic = since.elapsed();
        drop(answer);
        let since = Instant::now();
        native::place(native::request(request))?;
        let whole = since.elapsed();
        // The first tenth warms up.
        if turn >= times / 10 {
            compared.component.add(component);
            compared.logic.add(logic);
            compared.whole.add(whole);
        }
    }
    Ok(compared)
}

pub(crate) async fn measure(report: &mut Report) -> Result<()> {
    let place = Place::new(&["cheapest"], &[]).await?;
    let host = place.start().await?;
    let cheapest = policy(&host, "cheapest")?;

    let one = batch(1, 1, 1)?;
    let compared = compare(cheapest.as_ref(), &one, 5_000).await?;
    report.time(
        "policy call, 1 task × 1 candidate (a fresh instance), median",
        Unit::Micros,
        compared.component.median(),
    );
    report.time(
        "policy call, 1 task × 1 candidate (a fresh instance), p99",
        Unit::Micros,
        compared.component.p99(),
    );

    for (what, tasks, shapes, times) in [
        ("1 task × 10,000 candidates", 1, 1, 2_000),
        ("1,000 tasks × 10,000 offers, 16 shapes", 1_000, 16, 100),
    ] {
        let request = batch(tasks, shapes, 10_000)?;
        let Compared {
            component,
            logic,
            whole,
        } = compare(cheapest.as_ref(), &request, times).await?;
        let name = format!("policy call, {what}");
        report.time_against(
            format!("{name}, median"),
            Unit::Micros,
            component.median(),
            "native, its columns made first",
            whole.median(),
        );
        report.time_against(
            format!("{name}, median, logic alone"),
            Unit::Micros,
            component.median(),
            "native, on columns that are there",
            logic.median(),
        );
        report.time_against(
            format!("{name}, p99"),
            Unit::Micros,
            component.p99(),
            "native, its columns made first",
            whole.p99(),
        );
    }
    host.handle().shutdown().await;
    place.close().await;
    Ok(())
}
