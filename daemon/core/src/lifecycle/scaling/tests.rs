use proptest::prelude::*;

use super::*;

fn rule(min: u32, max: u32) -> Rule {
    Rule {
        min,
        max,
        cpu: None,
        requests: None,
        metric: Some(("queue".parse().expect("a name"), 5.0)),
        up: Millis(0),
        down: Millis::from_secs(300),
        idle: Millis::from_secs(600),
        tolerance: 0.1,
        step: 1.0,
        job: false,
    }
}

fn cpu(min: u32, max: u32) -> Rule {
    Rule {
        cpu: Some(70.0),
        metric: None,
        down: Millis(0),
        ..rule(min, max)
    }
}

fn told(value: f64, at: u64) -> Load {
    Load {
        told_metric: Some(Told {
            value,
            at: Millis(at),
        }),
        ..Load::default()
    }
}

fn busy(each: &[f64]) -> Load {
    Load {
        cpu: each.iter().map(|v| (*v >= 0.0).then_some(*v)).collect(),
        ..Load::default()
    }
}

/// What a fresh memory advises at once.
fn first(rule: &Rule, current: u32, load: &Load) -> u32 {
    Memory::default()
        .advise(rule, current, load, Millis(1_000))
        .replicas
}

#[test]
fn a_pushed_measure_is_divided_among_the_copies() {
    let rule = Rule {
        down: Millis(0),
        ..rule(1, 20)
    };
    for (value, current, expected) in [
        (0.0, 1, 1),
        (5.0, 1, 1),
        (5.4, 1, 1),   // within the tolerance
        (5.6, 1, 2),   // beyond it
        (25.0, 1, 5),  // four more are always allowed
        (100.0, 1, 5), // the rest comes later
        (100.0, 15, 20),
        (9_999.0, 20, 20), // no more than the bound
        (46.0, 10, 10),
        (44.0, 10, 9),
        (0.0, 10, 1),
    ] {
        assert_eq!(
            first(&rule, current, &told(value, 900)),
            expected,
            "{value} with {current}"
        );
    }
}

#[test]
fn the_mean_of_what_is_known_decides_and_the_rest_makes_the_change_smaller() {
    // Below 0: not known. A copy shall use 70 of its 100 millicores.
    for (each, current, expected) in [
        (&[70.0, 70.0][..], 2, 2),
        (&[100.0, 100.0], 2, 3),
        (&[140.0], 1, 2),
        (&[20.0, 20.0, 20.0, 20.0], 4, 2),
        (&[100.0, -1.0], 2, 2),      // the other one may be idle
        (&[300.0, -1.0], 2, 5),      // even then it is too much
        (&[20.0, -1.0, -1.0], 3, 3), // the others may be busy
        (&[0.1, 0.1, 0.1, -1.0], 4, 2),
        (&[-1.0, -1.0], 2, 2), // nothing is known
        (&[], 2, 2),
        (&[0.0, 0.0], 2, 2),               // nothing has ever been reported
        (&[70.0, 70.0, 70.0, 70.0], 2, 4), // two are just going
    ] {
        assert_eq!(
            first(&cpu(1, 10), current, &busy(each)),
            expected,
            "{each:?} with {current}"
        );
    }
}

#[test]
fn the_largest_wins_and_what_is_missing_forbids_less() {
    let both = Rule {
        cpu: Some(70.0),
        ..Rule {
            down: Millis(0),
            ..rule(1, 10)
        }
    };
    let load = |queue: Option<f64>, each: &[f64]| Load {
        told_metric: queue.map(|value| Told {
            value,
            at: Millis(900),
        }),
        ..busy(each)
    };
    assert_eq!(first(&both, 2, &load(Some(20.0), &[70.0, 70.0])), 4);
    assert_eq!(first(&both, 2, &load(Some(5.0), &[140.0, 140.0])), 4);
    assert_eq!(first(&both, 2, &load(None, &[140.0, 140.0])), 4);
    assert_eq!(first(&both, 2, &load(None, &[1.0, 1.0])), 2);
    assert_eq!(first(&both, 2, &load(Some(1.0), &[])), 2);
}

#[test]
fn what_was_told_long_ago_counts_as_missing() {
    let rule = Rule {
        down: Millis(0),
        ..rule(1, 10)
    };
    let mut memory = Memory::default();
    assert_eq!(
        memory
            .advise(&rule, 4, &told(0.0, 0), Millis(STALE.0 - 1))
            .replicas,
        1
    );
    assert_eq!(memory.advise(&rule, 4, &told(0.0, 0), STALE).replicas, 4);
}

#[test]
fn less_is_taken_only_when_it_was_enough_for_the_whole_window() {
    let rule = Rule {
        down: Millis::from_secs(60),
        ..rule(1, 10)
    };
    let mut memory = Memory::default();
    let mut current = 1;
    let mut seen = Vec::new();
    for (seconds, value) in [
        (0, 20.0),
        (10, 5.0),
        (40, 15.0),
        (59, 5.0),
        (61, 5.0),
        (99, 5.0),
        (101, 5.0),
    ] {
        let advice = memory.advise(
            &rule,
            current,
            &told(value, seconds * 1_000),
            Millis(seconds * 1_000),
        );
        current = advice.replicas;
        seen.push(current);
    }
    assert_eq!(seen, [4, 4, 4, 4, 3, 3, 1]);
}

#[test]
fn more_is_given_only_when_it_was_asked_for_throughout_the_window() {
    let rule = Rule {
        up: Millis::from_secs(30),
        ..rule(1, 10)
    };
    let mut memory = Memory::default();
    let mut at = |seconds: u64, value: f64| {
        memory
            .advise(
                &rule,
                1,
                &told(value, seconds * 1_000),
                Millis(seconds * 1_000),
            )
            .replicas
    };
    assert_eq!(
        [at(0, 5.0), at(10, 20.0), at(29, 20.0), at(31, 20.0)],
        [1, 1, 1, 4]
    );
}

#[test]
fn growth_doubles_at_most_within_its_period() {
    let rule = rule(1, 1_000);
    let mut memory = Memory::default();
    let mut current = 10;
    let mut seen = Vec::new();
    for seconds in [0, 5, 14, 15, 20, 30] {
        current = memory
            .advise(
                &rule,
                current,
                &told(5_000.0, seconds * 1_000),
                Millis(seconds * 1_000),
            )
            .replicas;
        seen.push(current);
    }
    assert_eq!(seen, [20, 20, 20, 40, 40, 80]);
}

#[test]
fn without_load_it_goes_to_zero_and_any_load_wakes_it() {
    let rule = Rule {
        down: Millis(0),
        idle: Millis::from_secs(60),
        ..rule(0, 10)
    };
    let mut memory = Memory::default();
    let mut at = |seconds: u64, current: u32, value: Option<f64>| {
        let load = value.map(|v| told(v, seconds * 1_000)).unwrap_or_default();
        memory
            .advise(&rule, current, &load, Millis(seconds * 1_000))
            .replicas
    };
    assert_eq!(at(0, 3, Some(0.0)), 1, "first down to one");
    assert_eq!(at(30, 1, Some(0.1)), 1, "load begins the wait anew");
    assert_eq!(at(40, 1, Some(0.0)), 1);
    assert_eq!(at(99, 1, Some(0.0)), 1);
    assert_eq!(at(100, 1, Some(0.0)), 0);
    assert_eq!(at(110, 0, Some(0.0)), 0);
    assert_eq!(at(120, 0, None), 0);
    assert_eq!(at(130, 0, Some(0.1)), 1);
    assert_eq!(at(140, 0, Some(20.0)), 4);
    assert_eq!(at(150, 1, None), 1, "what is not known is no rest");
    assert_eq!(at(900, 1, None), 1);
}

#[test]
fn a_job_grows_with_its_work_keeps_who_works_and_sleeps_when_all_have_ended() {
    let rule = Rule {
        job: true,
        ..rule(0, 10)
    };
    let mut memory = Memory::default();
    let ended = |load: Load| Load {
        ended: true,
        ..load
    };
    let mut at = |seconds: u64, current: u32, load: Load| {
        memory
            .advise(&rule, current, &load, Millis(seconds * 1_000))
            .replicas
    };
    assert_eq!(at(1, 0, told(12.0, 900)), 3);
    assert_eq!(
        at(400, 3, told(0.0, 400_000)),
        3,
        "who works is not taken away"
    );
    assert_eq!(at(401, 3, ended(told(9.0, 400_500))), 0);
    assert_eq!(
        at(402, 0, told(9.0, 400_500)),
        0,
        "what was told before the end does not wake it"
    );
    assert_eq!(at(403, 0, told(9.0, 402_500)), 2);
}

#[test]
fn a_number_set_by_hand_holds_for_the_window_below_and_until_more_is_asked_for() {
    let rule = Rule {
        down: Millis::from_secs(60),
        ..rule(1, 10)
    };
    let mut memory = Memory::default();
    memory.set(8, Millis(0));
    assert_eq!(
        memory
            .advise(&rule, 8, &told(5.0, 59_000), Millis(59_000))
            .replicas,
        8
    );
    assert_eq!(
        memory
            .advise(&rule, 8, &told(5.0, 61_000), Millis(61_000))
            .replicas,
        1
    );
    memory.set(2, Millis(70_000));
    assert_eq!(
        memory
            .advise(&rule, 2, &told(5.0, 71_000), Millis(71_000))
            .replicas,
        2
    );
    assert_eq!(
        memory
            .advise(&rule, 2, &told(30.0, 72_000), Millis(72_000))
            .replicas,
        6
    );
}

fn rules() -> impl Strategy<Value = Rule> {
    let bounds = (0u32..4, 0u32..30).prop_map(|(min, more)| (min, min + more.max(1)));
    (
        bounds,
        0u64..40,
        0u64..90,
        0.0f64..0.5,
        0.0f64..3.0,
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(
            |((min, max), up, down, tolerance, step, with_cpu, job)| Rule {
                cpu: (with_cpu && !job).then_some(70.0),
                up: Millis::from_secs(up),
                down: Millis::from_secs(down),
                idle: Millis::from_secs(60),
                tolerance,
                step,
                job,
                ..rule(min, max)
            },
        )
}

fn loads() -> impl Strategy<Value = Vec<(u64, Option<f64>, Vec<Option<f64>>)>> {
    let value = || prop_oneof![Just(0.0), 0.0f64..400.0, Just(f64::MAX), Just(f64::NAN)];
    let each = proptest::collection::vec(proptest::option::of(value()), 0..6);
    proptest::collection::vec((0u64..40_000, proptest::option::of(value()), each), 1..60)
}

proptest! {
    #[test]
    fn the_advice_is_always_within_the_bounds(rule in rules(), start in 0u32..50, loads in loads()) {
        let (mut memory, mut now, mut current) = (Memory::default(), 0, start);
        for (pause, queue, cpu) in loads {
            now += pause;
            let load = Load { cpu, ..queue.map(|q| told(q, now)).unwrap_or_default() };
            current = memory.advise(&rule, current, &load, Millis(now)).replicas;
            prop_assert!((rule.min..=rule.max).contains(&current), "{current}");
        }
    }

    #[test]
    fn a_constant_load_is_met_and_then_nothing_moves(rule in rules(), start in 0u32..50, total in 0.0f64..200.0) {
        let rule = Rule { cpu: None, job: false, ..rule };
        let (mut memory, mut current, mut seen) = (Memory::default(), start, Vec::new());
        for turn in 1..200u64 {
            current = memory.advise(&rule, current, &told(total, turn * 5_000), Millis(turn * 5_000)).replicas;
            seen.push(current);
        }
        prop_assert!(seen[100..].iter().all(|n| *n == current), "{seen:?}");
        // Enough, but for the tolerance.
        prop_assert!(current == rule.max || f64::from(current) * 5.0 * (1.0 + rule.tolerance) + 1e-6 >= total, "{current} for {total}");
        prop_assert!(current <= rule.clamp(start.max((total / 5.0).ceil() as u32).max(1)));
    }

    #[test]
    fn nothing_is_taken_away_while_a_measure_is_missing(rule in rules(), start in 1u32..30, loads in loads()) {
        let rule = Rule { cpu: Some(70.0), ..rule };
        let (mut memory, mut now, mut current) = (Memory::default(), 0, rule.clamp(start));
        for (pause, _, cpu) in loads {
            now += pause;
            let before = current;
            current = memory.advise(&rule, current, &Load { cpu, ..Load::default() }, Millis(now)).replicas;
            prop_assert!(current >= before, "{before} to {current}");
        }
    }

    #[test]
    fn growth_keeps_to_its_step(rule in rules(), loads in loads()) {
        let (mut memory, mut now, mut current) = (Memory::default(), 0, rule.min);
        let mut past = vec![(0, current)];
        for (pause, queue, cpu) in loads {
            now += pause;
            let load = Load { cpu, ..queue.map(|q| told(q, now)).unwrap_or_default() };
            current = memory.advise(&rule, current, &load, Millis(now)).replicas;
            past.retain(|(at, _)| now - at < STEP_PERIOD.0);
            let least = past.iter().map(|(_, n)| *n).min().unwrap_or(current);
            past.push((now, current));
            let most = (f64::from(least) * (1.0 + rule.step)).ceil().max(f64::from(least + STEP_LEAST));
            prop_assert!(f64::from(current) <= most.max(f64::from(rule.min)), "{least} to {current}");
        }
    }
}
