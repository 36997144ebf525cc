//! One meaning of C = c·R·T: candidates, certificate, assessment, explanation and simulation agree with a bill that is added up by hand, in
//! whole numbers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that can't go on fails"
)]

use std::{collections::HashMap, sync::Arc};

use futures::executor::block_on;
use proptest::prelude::*;
use tradewind_core::{
    assess::{self, Background},
    manifest,
    offer::{Offer, PriceUnit},
    placement::{self, BuiltIn, PlacedOffer, Requires, Table, Want, by_cost},
    quality::Measures,
    units::{Bytes, Instant, MicroUsd, MilliCpu, Millis},
    workload::Resources,
};
use tradewind_manifest::Format;
use tradewind_simulate::{self as simulate, Kind, OfferSet, Options};

const HOUR: u64 = 3_600_000;
const MIB: u64 = 1 << 20;

/// What one place sells. Performance counts halves, memory MiB.
#[derive(Debug, Clone)]
struct Place {
    price: u64,
    memory_price: u64,
    setup: u64,
    unit: u8,
    halves: u64,
    shared: bool,
}

/// What somebody wants to run, each replica for so many minutes.
#[derive(Debug, Clone)]
struct Work {
    job: bool,
    replicas: u32,
    cpu: u32,
    mib: u64,
    minutes: u64,
}

prop_compose! {
    fn places()(
        price in 0u64..2_000_000,
        memory_price in prop_oneof![Just(0u64), 0u64..50_000],
        setup in prop_oneof![Just(0u64), 0u64..10_000],
        unit in 0u8..3,
        halves in 1u64..9,
        shared in any::<bool>(),
    ) -> Place {
        Place { price, memory_price, setup, unit, halves, shared }
    }
}

prop_compose! {
    fn work()(
        job in any::<bool>(),
        replicas in 1u32..4,
        cpu in 1u32..80,
        mib in 1u64..64,
        minutes in 1u64..60_000,
    ) -> Work {
        Work { job, replicas, cpu: cpu * 50, mib: mib * 128, minutes }
    }
}

/// Of one instance.
const CPU: u32 = 4_000;
const MEMORY: u64 = 8_192;

impl Place {
    fn offer(&self, i: usize) -> Offer {
        let mut offer = Offer::new(
            &format!("o{i}"),
            MilliCpu(CPU),
            Bytes(MEMORY * MIB),
            MicroUsd(self.price),
        );
        offer.price_unit =
            [PriceUnit::Instance, PriceUnit::Cpu, PriceUnit::CpuMemory][self.unit as usize];
        (offer.memory_price, offer.setup_price) =
            (MicroUsd(self.memory_price), MicroUsd(self.setup));
        (offer.performance, offer.shared) = (self.halves as f64 / 2.0, self.shared);
        offer
    }

    /// Micro-USD of one replica, by hand: what the meter has counted when the replica has done its work, or its time is over.
    fn bill(&self, work: &Work) -> u64 {
        let (cpu, mib) = if self.shared {
            (u128::from(work.cpu), u128::from(work.mib))
        } else {
            (u128::from(CPU), u128::from(MEMORY))
        };
        // Both in 1,024,000ths, so that cores and GiB come out whole.
        let units = match self.unit {
            0 => 1_024_000,
            1 => cpu * 1_024,
            _ => cpu * mib,
        };
        let rate = u128::from(self.price) * units + u128::from(self.memory_price) * mib * 1_000;
        // Work is done the sooner the faster the machine; the clock is the same everywhere.
        let (time, halves) = if work.job {
            (2 * u128::from(work.minutes), u128::from(self.halves))
        } else {
            (u128::from(work.minutes), 1)
        };
        let (whole, parts) = (rate * time, 1_024_000 * 60 * halves);
        u64::try_from((whole + parts / 2) / parts).unwrap() + self.setup
    }
}

impl Work {
    fn want(&self) -> Want {
        let Self {
            job,
            replicas,
            cpu,
            mib,
            minutes,
        } = self;
        let kind = if *job { "jobs" } else { "services" };
        let text = format!(
            "apiVersion: tradewind.dev/v1\nkind: CloudDeployment\nmetadata: {{name: it}}\nspec: {{{kind}: {{it: {{command: [it], replicas: \
             {replicas}, duration: {minutes}m, resources: {{cpu: {cpu}m, memory: {mib}Mi}}}}}}}}\n"
        );
        let manifest = tradewind_manifest::parse(text.as_bytes(), Format::Yaml).unwrap();
        let mut want = Want::of(
            &manifest.metadata.namespace,
            &manifest.metadata.name,
            &manifest::resolve(&manifest)[0],
        );
        want.need.features = Requires::default();
        want
    }
}

/// Each amount is rounded once.
fn near(a: u64, b: u64, by: u64) -> bool {
    a.abs_diff(b) <= by
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_cost_is_the_bill_that_is_added_up_by_hand(places in prop::collection::vec(places(), 1..5), work in work()) {
        let offers = places.iter().enumerate().map(|(i, place)| PlacedOffer { provider: "p".parse().unwrap(), offer: place.offer(i) });
        let offers: Arc<Vec<PlacedOffer>> = Arc::new(offers.collect());
        let table = Table::new(offers.clone(), Default::default(), Default::default());
        let (want, n) = (work.want(), u64::from(work.replicas));
        let bills: Vec<u64> = places.iter().map(|place| place.bill(&work)).collect();

        // What a policy sees.
        let request = placement::build(std::slice::from_ref(&want), &table, 0);
        prop_assert_eq!(request.candidates.cost.len(), places.len());
        for (cost, bill) in request.candidates.cost.iter().zip(&bills) {
            prop_assert!(near(*cost, *bill, 1), "{cost} {bill}");
        }

        // What is chosen by cost, and what is proven of it.
        let answer = by_cost(&request);
        let placed = placement::validate(&request, &answer).unwrap();
        let certificate = placement::certify(&request, &placed, answer.lower_bound).unwrap();
        let least = bills.iter().min().unwrap();
        prop_assert!(near(certificate.cost.0, least * n, n) && certificate.gap == MicroUsd(0), "{certificate} {least}");

        // What the assessment says of every place.
        let quotes = HashMap::new();
        let background = Background { quotes: &quotes, measures: &Measures::default(), now: Instant(0) };
        let (report, _) = assess::task(&want, &table, &background);
        for row in &report {
            let place: usize = row.offer.trim_start_matches('o').parse().unwrap();
            prop_assert!(near(row.cost.0, bills[place], 1) && near(row.total.estimate.0, bills[place] * n, n), "{row:?}");
        }

        // What a simulated month books: the meter runs from start to end.
        let chosen = placed[0].choices[0].offer as usize;
        let trace = simulate::Request {
            at: Millis(0),
            name: "it".parse().unwrap(),
            namespace: "default".parse().unwrap(),
            kind: if work.job { Kind::Job } else { Kind::Service },
            replicas: work.replicas,
            resources: Resources { cpu: MilliCpu(work.cpu), memory: Bytes(work.mib * MIB), ..Resources::default() },
            duration: Some(Millis(work.minutes * HOUR / 60)),
            priority: 0,
        };
        let policy = BuiltIn::new().unwrap();
        let sets = [OfferSet { at: Millis(0), offers }];
        let outcome = block_on(simulate::run(&[trace], &sets, &policy, &Options::default())).unwrap();
        // A job's end is rounded to the millisecond.
        let slack = n * (2 + request.candidates.hourly[chosen] / HOUR);
        prop_assert!(near(outcome.summary.cost.0, bills[chosen] * n, slack), "{} {}", outcome.summary.cost, bills[chosen] * n);
    }
}

/// Two replicas for a month on $0.05, or on $0.09 and twice as fast.
#[test]
fn a_month_of_a_service_is_paid_by_the_clock() {
    let place = |price, halves| Place {
        price,
        memory_price: 0,
        setup: 0,
        unit: 0,
        halves,
        shared: false,
    };
    let month = |job| Work {
        job,
        replicas: 2,
        cpu: 500,
        mib: 512,
        minutes: 730 * 60,
    };
    let bills = |job| {
        [
            place(50_000, 2).bill(&month(job)) * 2,
            place(90_000, 4).bill(&month(job)) * 2,
        ]
    };
    assert_eq!(bills(false), [73_000_000, 131_400_000]);
    assert_eq!(bills(true), [73_000_000, 65_700_000]);
}
