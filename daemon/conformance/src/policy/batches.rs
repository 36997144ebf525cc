//! Batches to decide, built by the same function as the daemon's own. Small ones with every kind of limit, a hopeless one, a large one.

use std::sync::Arc;

use tradewind_core::{
    manifest::Constraints,
    names::InstanceName,
    offer::Offer,
    placement::{
        Expected, Group, Need, PlacedOffer, Request, Requires, Spread, Table, Want, build,
    },
    units::{Bytes, MicroUsd, MilliCpu, Millis},
    workload::{Labels, Resources},
};

const GIB: u64 = 1 << 30;

/// The same numbers for the same seed, on every machine (Knuth's linear congruence).
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn below(&mut self, below: u32) -> u32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        u32::try_from((self.0 >> 33) % u64::from(below.max(1))).unwrap_or(0)
    }

    fn one_in(&mut self, n: u32) -> bool {
        self.below(n) == 0
    }
}

fn offer(random: &mut Random, n: u32) -> Option<PlacedOffer> {
    let price = MicroUsd(u64::from(random.below(120)) * 1_000);
    let mut offer = Offer::new(
        &format!("o{n}"),
        MilliCpu(1_000 * (1 + random.below(4))),
        Bytes(u64::from(1 + random.below(4)) * GIB),
        price,
    );
    offer.region = Arc::from(format!("r{}", random.below(2)));
    offer.zone = Arc::from(format!("z{}", random.below(3)));
    offer.capacity = if random.one_in(4) {
        u32::MAX
    } else {
        random.below(5)
    };
    offer.spot = random.one_in(4);
    offer.performance = 0.5 + f64::from(random.below(4)) / 2.0;
    if random.one_in(2) {
        (offer.latency, offer.availability) = (
            f64::from(random.below(200)),
            0.9 + f64::from(random.below(10)) / 100.0,
        );
        (offer.interruption_rate, offer.failure_rate) = (
            f64::from(random.below(10)) / 10.0,
            f64::from(random.below(10)) / 10.0,
        );
        (offer.load, offer.carbon) = (
            f64::from(random.below(11)) / 10.0,
            f64::from(random.below(500)),
        );
    }
    if random.one_in(3) {
        offer.shared = true;
        (offer.free_cpu, offer.free_memory) = (
            u64::from(random.below(7_000)),
            u64::from(random.below(7)) * GIB,
        );
    }
    let provider = format!("cloud-{}", random.below(3))
        .parse::<InstanceName>()
        .ok()?;
    Some(PlacedOffer { provider, offer })
}

fn want(random: &mut Random, n: u32, offers: &[PlacedOffer]) -> Option<Want> {
    let over = |random: &mut Random| match random.below(3) {
        0 => Spread::Zone,
        1 => Spread::Region,
        _ => Spread::Provider,
    };
    let group = |random: &mut Random, word: &str| {
        random.one_in(4).then(|| Group {
            word: word.to_owned(),
            over: over(random),
        })
    };
    let spread = if random.one_in(3) {
        over(random)
    } else {
        Spread::None
    };
    let constraints = Constraints {
        spread,
        spread_max: (spread != Spread::None && random.one_in(2)).then(|| 1 + random.below(2)),
        spot: random.one_in(2),
        affinity: group(random, "with"),
        anti_affinity: group(random, "without"),
        ..Constraints::default()
    };
    let resources = Resources {
        cpu: MilliCpu(500 * (1 + random.below(4))),
        memory: Bytes(GIB * u64::from(1 + random.below(3))),
        disk: Bytes(0),
        accelerators: Vec::new(),
    };
    let duration = Millis::from_secs(3_600 * u64::from(1 + random.below(3)));
    let replicas = 1 + random.below(4);
    let mut current = Vec::new();
    for placed in offers {
        if random.one_in(6) {
            current.push((
                placed.provider.clone(),
                placed.offer.id.to_string(),
                1 + random.below(2),
            ));
        }
    }
    Some(Want {
        namespace: "conformance".parse().ok()?,
        deployment: format!("d{}", n / 2).parse().ok()?,
        task: format!("t{n}").parse().ok()?,
        need: Need {
            resources,
            duration,
            constraints,
            features: Requires::default(),
            job: random.one_in(3),
            closed: Default::default(),
            left: Default::default(),
        },
        replicas,
        priority: i32::try_from(random.below(3)).unwrap_or(0),
        labels: Labels::new(),
        current,
        max_hourly: if random.one_in(4) {
            MicroUsd(u64::from(random.below(300)) * 1_000)
        } else {
            MicroUsd::MAX
        },
        hedged: false,
        bounds: Default::default(),
        expected: Expected {
            migration_cost: MicroUsd(u64::from(random.below(5)) * 10_000),
            ..Expected::default()
        },
    })
}

fn table(offers: Vec<PlacedOffer>) -> Table {
    Table::new(Arc::new(offers), Default::default(), Default::default())
}

fn offers(random: &mut Random, n: u32) -> Vec<PlacedOffer> {
    (0..n).filter_map(|i| offer(random, i)).collect()
}

/// A few tasks on a few offers, with limits of every kind.
pub(super) fn random(random: &mut Random) -> Request {
    let count = 1 + random.below(6);
    let offers = offers(random, count);
    let tasks = 1 + random.below(5);
    let wants: Vec<Want> = (0..tasks)
        .filter_map(|i| want(random, i, &offers))
        .collect();
    let seed = u64::from(random.below(u32::MAX));
    build(&wants, &table(offers), seed)
}

/// These tasks on so many offers.
pub(super) fn of(wants: &[Want], count: u32) -> Request {
    build(wants, &table(offers(&mut Random::new(7), count)), 7)
}

/// Tasks that no offer can take, and none at all.
pub(super) fn hopeless() -> Request {
    let mut random = Random::new(7);
    let mut wants: Vec<Want> = (0..3).filter_map(|i| want(&mut random, i, &[])).collect();
    wants
        .iter_mut()
        .for_each(|want| want.need.resources.cpu = MilliCpu(u32::MAX));
    of(&wants, 3)
}

/// A thousand tasks of sixteen shapes, each of which a thousand offers could take.
pub(super) fn large(random: &mut Random) -> Request {
    let mut offers = offers(random, 1_000);
    for (n, placed) in (0u32..).zip(&mut offers) {
        (placed.offer.cpu, placed.offer.memory) = (MilliCpu(64_000), Bytes(256 * GIB));
        (placed.offer.shared, placed.offer.capacity) =
            (false, if n % 4 == 0 { 4 + n % 8 } else { u32::MAX });
    }
    let mut wants: Vec<Want> = (0..1_000).filter_map(|i| want(random, i, &[])).collect();
    for (n, want) in (0u32..).zip(&mut wants) {
        want.need.constraints = Constraints {
            spot: true,
            ..Constraints::default()
        };
        want.need.resources.cpu = MilliCpu(500 * (1 + n % 16));
        (
            want.need.resources.memory,
            want.need.duration,
            want.need.job,
        ) = (Bytes(GIB), Millis::from_secs(3_600), true);
        want.max_hourly = MicroUsd::MAX;
    }
    build(&wants, &table(offers), 7)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_those_that_are_meant() {
        let (mut a, mut b) = (Random::new(1), Random::new(1));
        let batches: Vec<Request> = (0..200).map(|_| random(&mut a)).collect();
        let shown = |batch: &Request| format!("{batch:?}");
        assert!(
            batches
                .iter()
                .all(|batch| shown(batch) == shown(&random(&mut b))),
            "the same for the same seed"
        );
        let any = |has: fn(&Request) -> bool| batches.iter().any(has);
        assert!(
            any(|b| b.tasks.iter().any(|t| t.spread_max != u32::MAX)),
            "spread"
        );
        assert!(
            any(|b| b.tasks.iter().any(|t| t.affinity.is_some()))
                && any(|b| b.tasks.iter().any(|t| t.anti_affinity.is_some()))
        );
        assert!(
            any(|b| b.tasks.iter().any(|t| t.max_hourly != MicroUsd::MAX))
                && any(|b| b.tasks.iter().any(|t| !t.current.is_empty()))
        );
        assert!(
            any(|b| b.offers.iter().any(|o| o.offer.shared))
                && any(|b| b.offers.iter().any(|o| o.offer.capacity == 0))
        );
        let large = large(&mut Random::new(1));
        assert_eq!(
            (
                large.tasks.len(),
                large.shapes.len(),
                large.candidates.offer.len()
            ),
            (1_000, 16, 16_000)
        );
        let hopeless = hopeless();
        assert!(hopeless.tasks.len() == 3 && hopeless.candidates.offer.is_empty());
    }
}
