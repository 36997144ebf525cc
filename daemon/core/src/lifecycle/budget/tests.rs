use proptest::prelude::*;

use super::*;
use crate::{
    base::{names::Namespace, units::MicroUsd},
    spec::manifest::namespace::Document,
};

const NOW: Instant = Instant(1_790_000_000_000);

fn limits(spec: &str, spent: u64) -> Limits {
    let text = format!(
        "{{apiVersion: tradewind.dev/v1, kind: Namespace, metadata: {{name: team}}, spec: {spec}}}"
    );
    let document: Document = serde_saphyr::from_str(&text).expect("valid");
    let spec = document.spec;
    Limits::new(&Namespace::default_namespace(), &spec, MicroUsd(spent))
}

/// A service whose replicas cost $0.10 per hour, and ten hours of the month are left.
fn claim(name: &str, priority: i32, wanted: u32, held: u32) -> Claim {
    let each = Usage {
        hourly: 100_000,
        monthly: 1_000_000,
        cpu: 1000,
        memory: 1 << 30,
        accelerators: 0,
        replicas: 1,
        allocations: 0,
    };
    Claim {
        deployment: name.parse().expect("a name"),
        task: "web".parse().expect("a name"),
        target: None,
        priority,
        since: Instant(0),
        wanted,
        least: 1,
        replicas: held,
        held: Usage {
            allocations: u64::from(held > 0),
            ..each.times(u64::from(held))
        },
        leaving: Usage::default(),
        each: Some(each),
        before: None,
    }
}

fn granted(limits: &Limits, claims: &[Claim]) -> Vec<(u32, Option<HeldKind>)> {
    admit(limits, claims, NOW)
        .into_iter()
        .map(|g| (g.replicas, g.held_back.map(|h| h.kind)))
        .collect()
}

#[test]
fn each_action_does_what_it_says() {
    use HeldKind::{Evicted, Queued, SteppedDown};
    let old = claim("old", 0, 4, 4);
    let new = claim("new", 10, 3, 0);
    let pair = [old.clone(), new.clone()];
    // $0.60 per hour is six replicas: four run, three are wanted.
    let budget = |actions: &str| {
        limits(
            &format!("{{budget: {{hourly: 0.60, onExceeded: {actions}}}}}"),
            0,
        )
    };
    assert_eq!(
        granted(&budget("queue"), &pair),
        [(4, None), (0, Some(Queued))]
    );
    assert_eq!(
        granted(&budget("stepDown"), &pair),
        [(4, None), (2, Some(SteppedDown))]
    );
    // One of the four goes; the newcomer begins when it is gone.
    assert_eq!(
        granted(&budget("evict"), &pair),
        [(3, Some(Evicted)), (0, Some(Queued))]
    );
    let mut gone = claim("old", 0, 4, 3);
    gone.before = admit(&budget("evict"), &pair, NOW).remove(0).held_back;
    assert_eq!(
        granted(&budget("evict"), &[gone, new.clone()]),
        [(3, Some(Evicted)), (3, None)]
    );
    // Equal priorities never evict one another.
    assert_eq!(
        granted(&budget("evict"), &[old.clone(), claim("new", 0, 3, 0)]),
        [(4, None), (0, Some(Queued))]
    );
    assert_eq!(
        granted(&budget("[stepDown, evict]"), &pair),
        [(4, None), (2, Some(SteppedDown))]
    );
    // All or nothing for a job.
    let job = Claim { least: 3, ..new };
    assert_eq!(
        granted(&budget("stepDown"), &[old, job]),
        [(4, None), (0, Some(Queued))]
    );
}

#[test]
fn the_reason_names_the_limit_what_is_used_and_what_is_missing() {
    let held = admit(
        &limits("{budget: {hourly: 0.60}}", 0),
        &[claim("a", 0, 4, 4), claim("b", 0, 3, 0)],
        NOW,
    )
    .remove(1)
    .held_back;
    let reason = held.expect("held back").reason;
    assert_eq!(
        reason,
        "budget.hourly of namespace \"default\" is $0.60: $0.40 is being spent, $0.30 more needed, $0.10 missing"
    );
    let cases = [
        (
            "{quota: {cpu: 4}}",
            "quota.cpu of namespace \"default\" is 4: 4 is in use, 3 more needed, 3 missing",
        ),
        (
            "{quota: {memory: 5Gi}}",
            "quota.memory of namespace \"default\" is 5Gi: 4Gi is in use, 3Gi more needed, 2Gi missing",
        ),
        (
            "{quota: {deployments: 1}}",
            "quota.deployments of namespace \"default\" is 1: 1 in use, 1 more needed, 1 missing",
        ),
        (
            "{quota: {allocations: 1}}",
            "quota.allocations of namespace \"default\" is 1: 1 in use, 1 more needed, 1 missing",
        ),
    ];
    for (spec, told) in cases {
        let grants = admit(
            &limits(spec, 0),
            &[claim("a", 0, 4, 4), claim("b", 0, 3, 0)],
            NOW,
        );
        assert_eq!(
            grants[1].held_back.as_ref().map(|h| h.reason.as_str()),
            Some(told),
            "{spec}"
        );
    }
}

#[test]
fn spending_that_outgrows_the_month_is_brought_back_and_does_not_swing() {
    let month = |actions: &str, spent| {
        limits(
            &format!("{{budget: {{monthly: 10, onExceeded: {actions}}}}}"),
            spent,
        )
    };
    let claims = [claim("a", 0, 4, 4), claim("b", 5, 4, 4)];
    // Eight dollars are forecast for what runs; three have been spent.
    assert_eq!(
        granted(&month("queue", 3_000_000), &claims),
        [(4, None), (4, None)],
        "queueing takes nothing away"
    );
    let evict = admit(&month("evict", 3_000_000), &claims, NOW);
    assert_eq!((evict[0].replicas, evict[1].replicas), (3, 4));
    assert!(
        evict[0]
            .held_back
            .as_ref()
            .is_some_and(|h| h.kind == HeldKind::Evicted && h.overspent)
    );
    // The forecast falls a little: the replica would fit just so, and is not started until there is a margin or an hour has passed.
    let mut smaller = claim("a", 0, 4, 3);
    smaller.before = evict[0].held_back.clone();
    let after = [smaller, claim("b", 5, 4, 4)];
    assert_eq!(
        granted(&month("evict", 1_900_000), &after)[0],
        (3, Some(HeldKind::Evicted))
    );
    assert_eq!(granted(&month("evict", 1_400_000), &after)[0], (4, None));
    let later = admit(&month("evict", 1_900_000), &after, NOW.plus(MARGIN_FOR));
    assert_eq!(later[0].replicas, 4);
}

#[test]
fn what_is_leaving_is_paid_until_it_is_gone_but_does_not_stand_in_its_own_way() {
    let quota = limits("{quota: {replicas: 4}}", 0);
    let four = claim("x", 0, 4, 4).held;
    let leaving = Claim {
        leaving: four,
        ..claim("a", 0, 0, 0)
    };
    assert_eq!(
        granted(&quota, &[leaving, claim("b", 0, 4, 0)])[1],
        (0, Some(HeldKind::Queued))
    );
    let moving = Claim {
        leaving: four,
        ..claim("a", 0, 4, 0)
    };
    assert_eq!(granted(&quota, &[moving]), [(4, None)]);
}

#[test]
fn dear_choices_are_told_what_is_left_or_refused() {
    let claims = [claim("a", 0, 2, 0), claim("b", 5, 2, 0)];
    let choice = |claim, hourly, last_word| Offered {
        claim,
        replicas: 2,
        hourly: MicroUsd(hourly),
        lasts: Millis(36_000_000),
        allocations: 1,
        last_word,
    };
    let judge = |actions: &str, word| {
        let limits = limits(
            &format!("{{budget: {{hourly: 0.70, onExceeded: {actions}}}}}"),
            0,
        );
        let grants = admit(&limits, &claims, NOW);
        afford(
            &limits,
            &claims,
            &grants,
            &[choice(0, 600_000, word), choice(1, 600_000, word)],
        )
    };
    // The higher priority may have what is left beside the other's cheapest; the other has its cheapest.
    assert_eq!(
        judge("stepDown", false),
        [
            Verdict::AtMost(MicroUsd(200_000)),
            Verdict::AtMost(MicroUsd(500_000))
        ]
    );
    for (actions, word) in [("queue", false), ("evict", false), ("queue", true)] {
        assert!(
            matches!(
                judge(actions, word).as_slice(),
                [Verdict::Refused(_), Verdict::Fits]
            ),
            "{actions}"
        );
    }
}

fn some_claims() -> impl Strategy<Value = Vec<Claim>> {
    let one = (0i32..4, 0u32..6, 0u32..6, 1u32..4, 1u64..5, 0u64..3);
    proptest::collection::vec(one, 1..8).prop_map(|all| {
        let make = |(i, (priority, wanted, held, least, price, age)): (
            usize,
            (i32, u32, u32, u32, u64, u64),
        )| {
            let each = Usage {
                hourly: price * 100_000,
                monthly: price * 1_000_000,
                cpu: price * 500,
                replicas: 1,
                ..Usage::default()
            };
            Claim {
                since: Instant(age),
                least: least.min(wanted.max(1)),
                each: Some(each),
                held: Usage {
                    allocations: u64::from(held > 0),
                    ..each.times(u64::from(held))
                },
                ..claim(&format!("d{i}"), priority, wanted, held)
            }
        };
        all.into_iter().enumerate().map(make).collect()
    })
}

fn some_limits() -> impl Strategy<Value = Limits> {
    let actions = prop_oneof![
        Just("queue"),
        Just("stepDown"),
        Just("evict"),
        Just("[stepDown, evict]"),
        Just("[evict, stepDown]")
    ];
    let fields = (0u64..40, 0u64..60, 0u32..20, 0u32..20, 0u32..6, actions);
    fields.prop_map(|(hourly, monthly, cpu, replicas, deployments, actions)| {
        limits(
            &format!(
                "{{budget: {{hourly: {}, monthly: {monthly}, onExceeded: {actions}}}, \
                 quota: {{cpu: {cpu}, replicas: {replicas}, deployments: {deployments}}}}}",
                hourly as f64 / 10.0
            ),
            0,
        )
    })
}

/// What is granted is carried out, and nothing else happens.
fn carry_out(claims: &[Claim], grants: &[Grant]) -> Vec<Claim> {
    let one = |(c, g): (&Claim, &Grant)| {
        let held = Usage {
            allocations: u64::from(g.replicas > 0),
            ..c.usage(g.replicas)
        };
        Claim {
            replicas: g.replicas,
            held,
            before: g.held_back.clone(),
            ..c.clone()
        }
    };
    claims.iter().zip(grants).map(one).collect()
}

fn used(claims: &[Claim]) -> (Usage, u64) {
    let total = claims
        .iter()
        .fold(Usage::default(), |sum, c| sum.plus(c.held));
    (
        total,
        claims.iter().filter(|c| c.replicas > 0).count() as u64,
    )
}

proptest! {
    /// Nothing is granted beyond a limit; where something is beyond it already, it does not grow.
    #[test]
    fn no_grant_passes_a_limit(claims in some_claims(), limits in some_limits()) {
        let after = carry_out(&claims, &admit(&limits, &claims, NOW));
        let ((was, had), (is, has)) = (used(&claims), used(&after));
        for (was, is, most) in [
            (was.hourly, is.hourly, limits.most.hourly),
            (was.monthly, is.monthly, limits.most.monthly),
            (was.cpu, is.cpu, limits.most.cpu),
            (was.replicas, is.replicas, limits.most.replicas),
            (had, has, limits.deployments),
        ] {
            prop_assert!(is <= most.max(was), "{} > {}", is, most.max(was));
        }
        prop_assert!(after.iter().all(|c| c.replicas <= c.wanted || c.replicas == 0));
    }

    /// The order of the claims does not matter.
    #[test]
    fn the_same_claims_give_the_same_grants(claims in some_claims(), limits in some_limits(), turn in 0usize..8) {
        let mut turned = claims.clone();
        let by = turn % claims.len();
        turned.rotate_left(by);
        let mut grants = admit(&limits, &turned, NOW);
        grants.rotate_right(by);
        prop_assert_eq!(grants, admit(&limits, &claims, NOW));
    }

    /// Carried out again and again, it comes to rest: nobody takes turns.
    #[test]
    fn it_comes_to_rest(claims in some_claims(), limits in some_limits()) {
        let mut now = claims;
        for round in 0..40 {
            let grants = admit(&limits, &now, NOW);
            let next = carry_out(&now, &grants);
            let same = now.iter().zip(&next).all(|(a, b)| a.replicas == b.replicas);
            now = next;
            if same {
                return Ok(());
            }
            prop_assert!(round < 39, "still moving: {:?}", now.iter().map(|c| c.replicas).collect::<Vec<_>>());
        }
    }

    /// Whatever the policy chooses, what fits stays within the budget, and so does what it is told when it must choose again.
    #[test]
    fn no_choice_passes_the_budget(claims in some_claims(), limits in some_limits(), prices in proptest::collection::vec(0u64..2_000_000, 8), last_word: bool) {
        let grants = admit(&limits, &claims, NOW);
        let offered: Vec<Offered> = claims.iter().zip(&grants).enumerate().filter(|(_, (c, g))| g.replicas > c.replicas).map(|(i, (_, g))| Offered {
            claim: i, replicas: g.replicas, hourly: MicroUsd(prices[i]), lasts: Millis(36_000_000), allocations: 1, last_word,
        }).collect();
        let verdicts = afford(&limits, &claims, &grants, &offered);
        let mut hourly: u64 = claims.iter().map(|c| c.held.hourly).sum();
        let was = hourly;
        for (o, v) in offered.iter().zip(&verdicts) {
            let held = claims[o.claim].held.hourly;
            match v {
                Verdict::Fits => hourly = hourly - held + o.hourly.0,
                Verdict::AtMost(most) => hourly = hourly - held + most.0.max(held),
                Verdict::Refused(_) => {}
            }
        }
        prop_assert!(hourly <= limits.most.hourly.max(was), "{hourly} > {}", limits.most.hourly);
    }
}
