//! What each kind of failure leads to, case by case; and what holds whatever happens.

use proptest::prelude::*;

use super::*;
use crate::{
    base::{
        failure::NOT_GRANTED,
        units::{Bytes, Instant, MicroUsd, MilliCpu},
    },
    schedule::placement::Exclusion,
    spec::offer::Offer,
};

fn place(region: &str) -> Place {
    Place {
        provider: "cloud".parse().unwrap(),
        region: region.to_owned(),
    }
}

fn offer(region: &str, size: &str) -> Offer {
    let mut offer = Offer::new(
        &format!("{region}/{size}"),
        MilliCpu(1000),
        Bytes(1),
        MicroUsd(1),
    );
    (offer.region, offer.size) = (region.into(), size.into());
    offer
}

fn end(
    standings: &mut Standings,
    region: &str,
    size: &str,
    now: u64,
    failure: Option<Failure>,
) -> Option<Change> {
    let (place, id) = (place(region), format!("{region}/{size}"));
    let call = Call {
        place: &place,
        size,
        offer: &id,
        shared: size == "pool",
    };
    standings.ended(&call, Millis(now), Millis(100), failure.as_ref())
}

/// Which of four offers are left alone.
fn excluded(standings: &Standings, now: u64) -> Vec<(String, Exclusion)> {
    let sheet = standings.sheet(Millis(now), Instant(1_000_000 + now));
    let offers = [("r1", "s"), ("r1", "m"), ("r2", "s"), ("r2", "m")].map(|(r, s)| offer(r, s));
    let provider = "cloud".parse().unwrap();
    offers
        .iter()
        .filter_map(|o| Some((o.id.to_string(), sheet.exclusion(&provider, o)?)))
        .collect()
}

fn ids(standings: &Standings, now: u64) -> Vec<String> {
    excluded(standings, now)
        .into_iter()
        .map(|(id, _)| id)
        .collect()
}

#[test]
fn each_kind_of_failure_leaves_something_else_alone() {
    let told = |kind| Failure::new(kind, "so it is");
    let cases: [(Failure, u32, &[&str]); 9] = [
        (told(FailureKind::OutOfCapacity), 1, &["r1/s"]),
        (told(FailureKind::Quota), 1, &["r1/s"]),
        (told(FailureKind::Throttled), 1, &["r1/s", "r1/m"]),
        (
            told(FailureKind::Denied),
            1,
            &["r1/s", "r1/m", "r2/s", "r2/m"],
        ),
        (told(FailureKind::Unavailable), 4, &[]),
        (told(FailureKind::Unavailable), 5, &["r1/s", "r1/m"]),
        (told(FailureKind::Internal), 5, &["r1/s", "r1/m"]),
        (told(FailureKind::Invalid), 9, &[]),
        (told(FailureKind::NotFound), 9, &[]),
    ];
    for (failure, times, wanted) in cases {
        let mut standings = Standings::default();
        (0..times).for_each(|_| drop(end(&mut standings, "r1", "s", 0, Some(failure.clone()))));
        assert_eq!(ids(&standings, 1), wanted, "{} × {times}", failure.kind);
        for (_, why) in excluded(&standings, 1) {
            assert!(!why.to_string().is_empty());
        }
    }
}

#[test]
fn what_cools_down_comes_back_and_cools_longer_the_next_time() {
    let mut standings = Standings::default();
    let full = || Some(Failure::new(FailureKind::OutOfCapacity, "none left"));
    end(&mut standings, "r1", "s", 0, full());
    end(&mut standings, "r1", "s", 5, full());
    assert_eq!(ids(&standings, COOLING.0 - 1), ["r1/s"]);
    assert!(
        ids(&standings, COOLING.0).is_empty(),
        "two at once count as one"
    );
    end(&mut standings, "r1", "s", COOLING.0, full());
    assert_eq!(ids(&standings, 3 * COOLING.0 - 1), ["r1/s"]);
    assert!(ids(&standings, 3 * COOLING.0).is_empty());
    let text = excluded(&standings, COOLING.0)[0].1.to_string();
    assert_eq!(
        text,
        "cooling down until 1970-01-01T00:18:10.000Z because of out-of-capacity: none left"
    );
}

#[test]
fn a_throttled_place_is_left_alone_exactly_as_long_as_it_said() {
    let mut standings = Standings::default();
    end(
        &mut standings,
        "r1",
        "s",
        0,
        Some(Failure::new(FailureKind::Throttled, "slow down").retry_after(Some(Millis(7_300)))),
    );
    assert_eq!(
        standings.admit(&place("r1"), Millis(7_299)),
        Admission::Wait(Millis(7_300))
    );
    assert_eq!(standings.admit(&place("r1"), Millis(7_300)), Admission::Go);
    assert_eq!(
        standings.admit(&place("r2"), Millis(0)),
        Admission::Go,
        "nobody else waits"
    );
    assert_eq!(
        standings.shut(&place("r1"), Millis(1)),
        None,
        "it is not sick"
    );
}

#[test]
fn a_denied_provider_is_checked_ever_less_often_until_it_recovers() {
    let mut standings = Standings::default();
    let denied = || Some(Failure::denied("the key has expired"));
    let change = end(&mut standings, "r1", "s", 0, denied());
    assert!(
        matches!(change, Some(Change::Degraded { .. })),
        "{change:?}"
    );
    assert_eq!(
        end(&mut standings, "r2", "s", 1, denied()),
        None,
        "told once"
    );
    let name = place("").provider;
    let mut now = Millis(0);
    let mut gaps = Vec::new();
    for _ in 0..8 {
        let at = standings.degraded()[&name].check_at;
        gaps.push(at.0 - now.0);
        now = at;
        standings.still_degraded(&name, now);
    }
    assert_eq!(
        gaps,
        [
            5_000, 10_000, 20_000, 40_000, 80_000, 160_000, 300_000, 300_000
        ]
    );
    assert!(standings.recovered(&name) && !standings.recovered(&name));
    assert!(ids(&standings, now.0).is_empty());
}

#[test]
fn what_a_grant_refuses_to_one_says_nothing_of_the_provider() {
    let mut standings = Standings::default();
    let refused = Failure::not_granted("the image \"x\" is not granted", "image");
    assert!(refused.refuses_the_request());
    assert_eq!(end(&mut standings, "r1", "s", 0, Some(refused)), None);
    assert!(ids(&standings, 0).is_empty() && standings.degraded().is_empty());
    // A capability that is not granted at all is of no use to anybody.
    let nothing = Failure::denied("the capability \"containers\" is not granted").code(NOT_GRANTED);
    assert!(matches!(
        end(&mut standings, "r1", "s", 0, Some(nothing)),
        Some(Change::Degraded { .. })
    ));
}

#[test]
fn what_is_too_large_for_a_shared_offer_shuts_it_to_nobody_else() {
    let mut standings = Standings::default();
    let full = |code: &str| Some(Failure::new(FailureKind::OutOfCapacity, "full").code(code));
    for code in ["port-taken", "grant-exhausted", "full"] {
        assert_eq!(end(&mut standings, "r1", "pool", 0, full(code)), None);
    }
    end(&mut standings, "r1", "s", 0, full("port-taken"));
    assert_eq!(standings.cooling(&place("").provider, Millis(1)).count(), 0);
    // A full disk is everybody's.
    end(&mut standings, "r1", "pool", 0, full("disk-full"));
    assert_eq!(standings.cooling(&place("").provider, Millis(1)).count(), 1);
}

#[test]
fn opening_and_closing_are_told_once_each() {
    let mut standings = Standings::default();
    let dead = || Some(Failure::unavailable("no route"));
    let told: Vec<bool> = (0..7)
        .map(|_| end(&mut standings, "r1", "s", 0, dead()).is_some())
        .collect();
    assert_eq!(told, [false, false, false, false, true, false, false]);
    assert_eq!(
        standings.shut(&place("r1"), Millis(10)),
        Some(Millis(5_000))
    );
    assert_eq!(standings.admit(&place("r1"), Millis(5_000)), Admission::Go);
    assert_eq!(
        end(&mut standings, "r1", "s", 5_100, None),
        Some(Change::Closed { place: place("r1") })
    );
    assert_eq!(end(&mut standings, "r1", "s", 5_200, None), None);
}

#[test]
fn other_settings_make_a_clean_slate() {
    let mut standings = Standings::default();
    (0..5).for_each(|_| {
        drop(end(
            &mut standings,
            "r1",
            "s",
            0,
            Some(Failure::unavailable("x")),
        ))
    });
    end(
        &mut standings,
        "r2",
        "m",
        0,
        Some(Failure::new(FailureKind::Quota, "x")),
    );
    end(&mut standings, "r2", "s", 0, Some(Failure::denied("x")));
    assert!(standings.forget(&place("").provider));
    assert_eq!(standings.sheet(Millis(0), Instant(0)), Sheet::default());
}

#[test]
fn the_weight_is_one_unless_something_failed_or_is_slow() {
    let weigh = |rate, latency: u64| {
        weight(&Measured {
            failure_rate: rate,
            latency: Some(Millis(latency)),
            time_to_ready: None,
        })
    };
    for (rate, latency, wanted) in [
        (0.0, 0, 1.0),
        (0.0, 2_000, 1.0),
        (0.5, 10, 2.0),
        (0.0, 32_000, 2.0),
        (0.0, 900_000, 2.0),
        (1.0, 10, 10.0),
    ] {
        assert!(
            (weigh(rate, latency) - wanted).abs() < 1e-9,
            "{rate} {latency}: {}",
            weigh(rate, latency)
        );
    }
}

proptest! {
    /// Whatever happens: the weight is between 1 and 20, time heals everything, and a place of which nothing bad was told is never left alone.
    #[test]
    fn everything_heals(calls in proptest::collection::vec((0u8..8, 0usize..4, 0u64..10_000), 0..200)) {
        use FailureKind::{Denied, Internal, OutOfCapacity, Quota, Throttled, Unavailable};
        let kinds = [None, Some(Internal), Some(Unavailable), Some(Quota), Some(OutOfCapacity), Some(Throttled), Some(Denied), None];
        let (mut standings, mut now) = (Standings::default(), 0);
        for (kind, at, later) in calls {
            now += later;
            let (region, size) = [("r1", "s"), ("r1", "m"), ("r2", "s"), ("r3", "m")][at];
            if standings.admit(&place(region), Millis(now)) == Admission::Go {
                end(&mut standings, region, size, now, kinds[kind as usize].map(|k| Failure::new(k, "x")));
            }
            let sheet = standings.sheet(Millis(now), Instant(now));
            for region in ["r1", "r2", "r3"] {
                let weight = weight(&sheet.measured(&place(region).provider, region));
                prop_assert!((1.0..=20.0).contains(&weight));
            }
            if standings.degraded().is_empty() {
                prop_assert_eq!(sheet.exclusion(&place("r9").provider, &offer("r9", "s")), None);
            }
        }
        standings.recovered(&place("").provider);
        prop_assert!(ids(&standings, now + 2 * COOLING_LONGEST.0).is_empty());
    }
}
