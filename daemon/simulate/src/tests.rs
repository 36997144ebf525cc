use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use futures::executor::block_on;
use proptest::prelude::*;

use super::*;
use tradewind_core::{
    offer::Offer,
    placement::{Answer, BuiltIn, PlacedOffer, Request as Batch},
    plugin::Policy,
    units::{Bytes, MilliCpu},
};

const MINUTE: u64 = 60_000;

fn offer(id: &str, usd: f64, capacity: u32) -> Offer {
    let price = MicroUsd((usd * 1e6) as u64);
    Offer {
        capacity,
        ..Offer::new(id, MilliCpu(4000), Bytes(16 << 30), price)
    }
}

fn set(minute: u64, offers: &[Offer]) -> OfferSet {
    let placed = |o: &Offer| PlacedOffer {
        provider: "p".parse().expect("a name"),
        offer: o.clone(),
    };
    OfferSet {
        at: Millis(minute * MINUTE),
        offers: Arc::new(offers.iter().map(placed).collect()),
    }
}

/// Rows of at (minutes), name, kind, replicas, cpu, duration, priority.
fn trace(rows: &str) -> Vec<Request> {
    let text: String = rows
        .lines()
        .map(|r| format!("{},1Gi\n", r.trim()))
        .collect();
    trace::read(format!("at,name,kind,replicas,cpu,duration,priority,memory\n{text}").as_bytes())
        .expect("a trace")
}

fn simulate(rows: &str, sets: &[OfferSet], options: &Options) -> Outcome {
    let policy = BuiltIn::new().expect("a policy");
    block_on(run(&trace(rows), sets, &policy, options)).expect("an outcome")
}

fn csv(outcome: &Outcome) -> String {
    let mut out = Vec::new();
    outcome.csv(&mut out).expect("CSV");
    String::from_utf8(out).expect("text")
}

#[test]
fn a_small_trace_comes_out_exactly() {
    let place = Offer {
        setup_price: MicroUsd(1000),
        ..offer("a", 1.0, 1)
    };
    let rows = "0,first,job,1,1,60m,0\n\
                10m,second,job,1,1,30m,0\n\
                70m,urgent,job,1,1,15m,5\n\
                80m,huge,job,1,5,1m,0";
    let outcome = simulate(
        rows,
        &[set(0, &[place])],
        &Options {
            step: Some(Millis(10 * MINUTE)),
            ..Options::default()
        },
    );
    let s = &outcome.summary;
    // first 0–60; second waits 50 and runs 60–70 until it is preempted; urgent 70–85; second once more 85–115.
    let booked: Vec<_> = outcome
        .bookings
        .iter()
        .map(|b| (b.task, b.from / MINUTE, b.to / MINUTE, b.cost.0))
        .collect();
    assert_eq!(
        booked,
        [
            (0, 0, 60, 1_001_000),
            (1, 60, 70, 167_667),
            (2, 70, 85, 251_000),
            (1, 85, 115, 501_000)
        ]
    );
    assert_eq!(
        (s.cost, s.time),
        (MicroUsd(1_920_667), Millis(115 * MINUTE))
    );
    assert_eq!(
        (s.preemptions, s.interruptions, s.lost_hours),
        (1, 0, 1.0 / 6.0)
    );
    assert_eq!(
        s.tasks,
        Fates {
            total: 4,
            ended: 3,
            impossible: 1,
            ..Fates::default()
        }
    );
    assert_eq!(
        s.impossible.first().map(|i| i.reason.as_str()),
        Some("fewer cores than 5")
    );
    // 0, 0, 15 and 50 minutes of waiting.
    assert_eq!(
        (
            s.queue.waited_half,
            s.queue.waited_90,
            s.queue.waited_longest
        ),
        (Millis(0), Millis(50 * MINUTE), Millis(50 * MINUTE))
    );
    assert_eq!((s.queue.most, s.queue.average), (1, 65.0 / 115.0));
    // Nobody is asked while the place is taken: at 0, 60, 70 and 85.
    assert_eq!(s.decisions, 4);
    assert_eq!(
        (s.cpu.used, s.cpu.capacity, s.cpu.share),
        (1.0, 4.0, Some(0.25))
    );
    let csv = csv(&outcome);
    let row: Vec<&str> = csv
        .lines()
        .nth(8)
        .expect("the row from 70 to 80")
        .split(',')
        .collect();
    assert_eq!(
        (row[0], row[1], row[2], row[4], row[18], row[19]),
        ("4200000", "4800000", "0.167667", "1.336334", "0", "1"),
        "{csv}"
    );
    assert!(
        csv.lines()
            .last()
            .is_some_and(|row| row.starts_with("6600000,6900000,") && row.contains(",1.920667,")),
        "{csv}"
    );
}

#[test]
fn offers_change_and_vanish() {
    let sets = [
        set(0, &[offer("a", 1.0, 2)]),
        set(30, &[offer("a", 2.0, 2)]),
        set(45, &[]),
        set(60, &[offer("b", 4.0, 1), offer("a", 1.0, 2)]),
        set(90, &[offer("a", 1.0, 1)]),
    ];
    let outcome = simulate(
        "0,once,job,1,1,60m,0\n61m,low,service,1,1,,-1",
        &sets,
        &Options {
            until: Some(Millis(150 * MINUTE)),
            ..Options::default()
        },
    );
    let booked: Vec<_> = outcome
        .bookings
        .iter()
        .map(|b| (b.task, b.from / MINUTE, b.to / MINUTE, b.cost.0))
        .collect();
    // The job pays what is in force, is interrupted, and begins anew; at 90 there is room for one, which is the job's, until 120.
    assert_eq!(
        booked,
        [
            (0, 0, 30, 500_000),
            (0, 30, 45, 500_000),
            (1, 61, 90, 483_333),
            (0, 60, 120, 1_000_000),
            (1, 120, 150, 500_000)
        ]
    );
    assert_eq!(
        (outcome.summary.interruptions, outcome.summary.preemptions),
        (2, 0)
    );
    assert_eq!(
        (outcome.summary.tasks.ended, outcome.summary.tasks.running),
        (1, 1)
    );
    assert_eq!(outcome.summary.lost_hours, 0.75);
}

#[test]
fn a_service_keeps_the_time_that_it_has_run_and_namespaces_are_left_alone() {
    let rows = "0,web,service,1,1,60m,0\n20m,urgent,job,1,1,10m,1";
    let mut requests = trace(rows);
    let sets = [set(0, &[offer("a", 1.0, 1)])];
    let policy = BuiltIn::new().expect("a policy");
    let outcome =
        block_on(run(&requests, &sets, &policy, &Options::default())).expect("an outcome");
    assert_eq!(
        (outcome.summary.time, outcome.summary.cost),
        (Millis(70 * MINUTE), MicroUsd(1_166_667))
    );
    requests[1].namespace = "other".parse().expect("a name");
    let outcome =
        block_on(run(&requests, &sets, &policy, &Options::default())).expect("an outcome");
    assert_eq!(
        (
            outcome.summary.preemptions,
            outcome.summary.queue.waited_longest
        ),
        (0, Millis(40 * MINUTE))
    );
    let across = Options {
        preempt_across_namespaces: true,
        ..Options::default()
    };
    let outcome = block_on(run(&requests, &sets, &policy, &across)).expect("an outcome");
    assert_eq!(
        (outcome.summary.preemptions, outcome.summary.tasks.ended),
        (1, 2)
    );
}

/// Puts everything on the first offer, whatever fits there.
struct Greedy(BuiltIn);

#[async_trait]
impl Policy for Greedy {
    fn identity(&self) -> &Identity {
        self.0.identity()
    }
    async fn place(&self, batch: &Batch) -> Result<Answer, Failure> {
        let tasks = 0..u32::try_from(batch.tasks.len()).unwrap_or(0);
        let replicas = batch.tasks.iter().map(|t| t.replicas).collect();
        Ok(Answer {
            offer: tasks.clone().map(|_| 0).collect(),
            task: tasks.collect(),
            replicas,
            ..Answer::default()
        })
    }
}

#[test]
fn an_answer_that_breaks_a_rule_ends_the_simulation() {
    let policy = Greedy(BuiltIn::new().expect("a policy"));
    let requests = trace("0,a,job,1,1,1m,0\n5m,b,job,1,1,1m,0\n5m,c,job,1,1,1m,0");
    let error = block_on(run(
        &requests,
        &[set(0, &[offer("a", 1.0, 1)])],
        &policy,
        &Options::default(),
    ))
    .expect_err("refused");
    let Error::Refused { at, source, .. } = error else {
        panic!("{error}")
    };
    assert_eq!(
        (at, source.to_string()),
        (
            Millis(5 * MINUTE),
            "row 1: offer 0 (\"a\") is overfilled: 2 replicas, 1 are left".to_owned()
        )
    );
}

/// Minute, whether a job, replicas, millicores, minutes, priority.
type Asked = (u64, bool, u32, u32, Option<u64>, i32);

#[derive(Debug, Clone)]
struct Case {
    offers: Vec<(u32, bool, u64)>,
    tasks: Vec<Asked>,
    change: Option<(u64, usize, u32)>,
    batch: usize,
}

fn cases() -> impl Strategy<Value = Case> {
    let offers = proptest::collection::vec((1u32..5, any::<bool>(), 1u64..15_000), 1..4);
    let task = (
        0u64..120,
        any::<bool>(),
        1u32..4,
        1u32..6,
        proptest::option::of(1u64..90),
        -1i32..2,
    );
    let change = proptest::option::of((1u64..200, 0usize..4, 0u32..4));
    (
        offers,
        proptest::collection::vec(task, 1..25),
        change,
        1usize..9,
    )
        .prop_map(|(offers, tasks, change, batch)| Case {
            offers,
            tasks,
            change,
            batch,
        })
}

impl Case {
    fn sets(&self) -> Vec<OfferSet> {
        let made = |(i, (capacity, shared, price)): (usize, &(u32, bool, u64))| {
            let plain = Offer {
                price: MicroUsd(*price * 60),
                ..offer(&format!("o{i}"), 0.0, *capacity)
            };
            let pool = (
                u64::from(*capacity) * 2500,
                u64::from(*capacity) * (3 << 30),
            );
            if *shared {
                Offer {
                    shared: true,
                    capacity: u32::MAX,
                    free_cpu: pool.0,
                    free_memory: pool.1,
                    ..plain
                }
            } else {
                plain
            }
        };
        let mut offers: Vec<Offer> = self.offers.iter().enumerate().map(made).collect();
        let mut sets = vec![set(0, &offers)];
        if let Some((minute, which, capacity)) = self.change {
            // One offer has less from then on, or is gone; the others cost more.
            offers
                .iter_mut()
                .for_each(|o| o.price = MicroUsd(o.price.0 * 2));
            if let Some(o) = offers.get_mut(which) {
                (o.capacity, o.free_cpu) = if o.shared {
                    (u32::MAX, u64::from(capacity) * 2500)
                } else {
                    (capacity, u64::MAX)
                };
            }
            offers.retain(|o| o.capacity > 0);
            sets.push(set(minute, &offers));
        }
        sets
    }

    fn requests(&self) -> Vec<Request> {
        let row = |(i, (at, job, replicas, cpu, duration, priority)): (usize, &Asked)| {
            let kind = if *job { "job" } else { "service" };
            let duration = if *job {
                Some(duration.unwrap_or(7))
            } else {
                *duration
            };
            let duration = duration.map_or_else(String::new, |d| format!("{d}m"));
            format!("{at}m,t{i},{kind},{replicas},{cpu},{duration},{priority}\n")
        };
        trace(&self.tasks.iter().enumerate().map(row).collect::<String>())
    }
}

fn in_force(sets: &[OfferSet], at: u64) -> &OfferSet {
    sets.iter()
        .rev()
        .find(|s| s.at.0 <= at)
        .expect("the first holds from the start")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn the_laws_hold(case in cases()) {
        let (requests, sets) = (case.requests(), case.sets());
        let options = Options { batch: case.batch, ..Options::default() };
        let policy = BuiltIn::new().expect("a policy");
        let outcome = block_on(run(&requests, &sets, &policy, &options)).expect("an outcome");
        let s = &outcome.summary;

        // Nothing is lost.
        let f = s.tasks;
        prop_assert_eq!((f.total, f.not_arrived), (f.ended + f.running + f.waiting + f.impossible, 0));

        // No capacity is exceeded, at any time.
        let mut times: Vec<u64> = outcome.bookings.iter().map(|b| b.from).collect();
        times.dedup();
        for at in times {
            let mut used: BTreeMap<u32, (u64, u64, u64)> = BTreeMap::new();
            for b in outcome.bookings.iter().filter(|b| b.from <= at && at < b.to) {
                let (n, need) = (u64::from(b.replicas), &requests[b.task].resources);
                let u = used.entry(b.place).or_default();
                *u = (u.0 + n, u.1 + n * u64::from(need.cpu.0), u.2 + n * need.memory.0);
            }
            for (place, (n, cpu, memory)) in used {
                let id = &outcome.places[place as usize].offer;
                let placed = in_force(&sets, at).offers.iter().find(|p| *p.offer.id == **id);
                prop_assert!(placed.is_some(), "{id} is not there at {at}");
                let o = &placed.expect("it is").offer;
                prop_assert!(n <= u64::from(o.capacity), "{id} at {at}");
                prop_assert!(!o.shared || (cpu <= o.free_cpu && memory <= o.free_memory), "{id} at {at}");
            }
        }

        // The cost is the sum of price × time.
        let cost = |b: &Booking| {
            let id = &outcome.places[b.place as usize].offer;
            let price = in_force(&sets, b.from).offers.iter().find(|p| *p.offer.id == **id).expect("a price").offer.price.0;
            // Whole minutes at multiples of 60: nothing has to be rounded.
            price / 60 * ((b.to - b.from) / MINUTE) * u64::from(b.replicas)
        };
        let total: u64 = outcome.bookings.iter().map(cost).sum();
        prop_assert_eq!(s.cost.0, total);
        prop_assert_eq!(s.places.iter().map(|p| p.cost.0).sum::<u64>(), total);
        let last = csv(&outcome).lines().last().map(|row| row.split(',').nth(4).expect("a column").parse::<MicroUsd>().expect("money"));
        prop_assert_eq!(last, Some(s.cost));

        // What has ended has run its whole time, and what has run its whole time has ended unless some of that was in vain.
        let has_run = |(i, request): &(usize, &Request)| {
            let ran: u64 = outcome.bookings.iter().filter(|b| b.task == *i).map(|b| (b.to - b.from) * u64::from(b.replicas)).sum();
            request.duration.is_some_and(|d| ran >= d.0 * u64::from(request.replicas))
        };
        let finished = requests.iter().enumerate().filter(has_run).count() as u64;
        prop_assert!(if s.lost_hours > 0.0 { finished >= f.ended } else { finished == f.ended }, "{finished} {f:?}");

        // Equal inputs, equal bytes.
        let again = block_on(run(&requests, &sets, &policy, &options)).expect("an outcome");
        prop_assert_eq!(csv(&outcome), csv(&again));
        prop_assert_eq!(outcome.chart().svg(), again.chart().svg());
        prop_assert_eq!(serde_json::to_string(s).expect("JSON"), serde_json::to_string(&again.summary).expect("JSON"));
    }
}
