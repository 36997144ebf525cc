//! Faults at the boundary: each call of a capability that an operation makes fails, loses its answer or hangs, once. The plugin must pass on
//! what the host can act on, and the next attempt must come to the same end as if nothing had happened.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tradewind_core::{
    failure::{Failure, FailureKind},
    offer::OffersQuery,
    plugin::Provider,
    units::Millis,
};
use tradewind_wasm::Plugin;

use crate::{
    check::{Check, Verdict, passed, skipped, tell},
    script::{Mishap, RETRY_AFTER},
    subject::{Held, REPLICAS, Subject, What},
};

/// Of how many calls of one operation each goes wrong in turn: the first, the last, and some between.
const TRIED: u32 = 4;
/// The longest that a call of a plugin hangs here.
const HANG: Millis = Millis(1_500);

/// Writes one entry of the list: a kind of failure, and what is asked.
macro_rules! fails {
    ($name:literal, $kind:ident, $asks:literal) => {
        Check {
            name: $name,
            asks: $asks,
            needs: &[],
            run: |subject| Box::pin(faults(subject, Mishap::Fails(FailureKind::$kind))),
        }
    };
}

pub(super) fn checks() -> Vec<Check<Subject>> {
    vec![
        fails!(
            "fault-invalid",
            Invalid,
            "a capability calls the input invalid: told as such, or as its own defect"
        ),
        fails!(
            "fault-denied",
            Denied,
            "a capability denies: told as `denied`, so that the operator hears of it"
        ),
        fails!(
            "fault-out-of-capacity",
            OutOfCapacity,
            "a capability has no capacity: told as such, so that the next offer is tried"
        ),
        fails!(
            "fault-quota",
            Quota,
            "a capability meets a quota: told as such, so that the region and size are avoided"
        ),
        fails!(
            "fault-throttled",
            Throttled,
            "a capability is throttled: told as such, with the time to wait"
        ),
        fails!(
            "fault-unavailable",
            Unavailable,
            "a capability is unavailable: told as such, so that the host tries again"
        ),
        fails!(
            "fault-not-found",
            NotFound,
            "a capability finds nothing: nothing breaks"
        ),
        fails!(
            "fault-internal",
            Internal,
            "a capability is not understood: told as `internal` or `unavailable`"
        ),
        Check {
            name: "fault-lost-answer",
            asks: "a capability does what was asked and its answer is lost: the next attempt makes no double",
            needs: &[],
            run: |subject| Box::pin(faults(subject, Mishap::LosesTheAnswer)),
        },
        Check {
            name: "fault-hang",
            asks: "a capability hangs until the deadline: the call ends then, and the next attempt makes no double",
            needs: &[],
            run: |subject| Box::pin(hang(subject)),
        },
    ]
}

/// The numbers of the calls that go wrong, of so many.
fn tried(calls: u32) -> BTreeSet<u32> {
    let steps = TRIED.min(calls).saturating_sub(1).max(1);
    (0..=steps)
        .map(|step| 1 + calls.saturating_sub(1) * step / steps)
        .filter(|_| calls > 0)
        .collect()
}

async fn hang(subject: &mut Subject) -> Verdict {
    // A version of its own, with less time: it is to run out.
    let deadline = subject.piece.limits().deadline.min(HANG);
    let piece = subject.piece.clone().with_deadline(deadline);
    let loaded = subject
        .bench
        .load(&piece, subject.lent.clone())
        .await
        .map_err(|e| e.to_string())?;
    let Plugin::Provider(hasty) = loaded.plugin else {
        return Err("it is a policy by now".to_owned());
    };
    each(
        subject,
        &hasty,
        Mishap::Hangs(deadline.std() + Duration::from_millis(200)),
    )
    .await
}

async fn faults(subject: &mut Subject, mishap: Mishap) -> Verdict {
    let provider = subject.provider.clone();
    each(subject, &provider, mishap).await
}

/// One mishap at each call of each operation. `by` suffers it; what comes after is done by the provider itself.
async fn each(subject: &mut Subject, by: &Arc<dyn Provider>, mishap: Mishap) -> Verdict {
    if !subject.makes_things() {
        return skipped("it calls no capability");
    }
    let mut struck = offers(subject, by, mishap).await?;
    if subject.provider.features().services {
        struck += applies(subject, by, mishap).await?;
        struck += looks_and_ends(subject, by, mishap).await?;
    }
    if struck == 0 {
        return skipped("no operation calls a capability");
    }
    passed(format!("{struck} calls went wrong"))
}

/// What an operation answered to a mishap: nothing that the host could not act on.
fn judge<T>(what: &str, mishap: Mishap, answer: &Result<T, Failure>) -> Result<(), String> {
    use FailureKind::{Internal, Invalid, Unavailable};
    let Err(failure) = answer else { return Ok(()) };
    let broke_off = matches!(
        failure.code.as_deref(),
        Some("trapped" | "bad-answer" | "memory-limit" | "host-bytes-limit")
    );
    let late =
        failure.code.as_deref() == Some("deadline-exceeded") && !matches!(mishap, Mishap::Hangs(_));
    let kind = failure.kind;
    let sensible = match mishap {
        Mishap::Fails(Invalid) => matches!(kind, Invalid | Internal),
        Mishap::Fails(Internal) => matches!(kind, Internal | Unavailable),
        Mishap::Fails(FailureKind::NotFound) => true,
        Mishap::Fails(same) => kind == same,
        Mishap::LosesTheAnswer | Mishap::Hangs(_) => kind == Unavailable,
    };
    if broke_off || late || !sensible {
        return Err(format!("{what}: it answers: {}", tell(failure)));
    }
    if mishap == Mishap::Fails(FailureKind::Throttled) && failure.retry_after != Some(RETRY_AFTER) {
        return Err(format!(
            "{what}: the time to wait was {RETRY_AFTER}, and it tells {:?}",
            failure.retry_after
        ));
    }
    Ok(())
}

async fn offers(
    subject: &mut Subject,
    by: &Arc<dyn Provider>,
    mishap: Mishap,
) -> Result<usize, String> {
    let query = OffersQuery::default();
    subject.script.disarm();
    subject
        .provider
        .offers(&query)
        .await
        .map_err(|f| tell(&f))?;
    let mut struck = 0;
    for nth in tried(subject.script.count()) {
        subject.script.arm(nth, mishap);
        let answer = by.offers(&query).await;
        let call = subject.script.disarm();
        struck += usize::from(call.is_some());
        judge(
            &format!("call {nth} of offers ({})", call.unwrap_or("none")),
            mishap,
            &answer,
        )?;
        subject
            .provider
            .offers(&query)
            .await
            .map_err(|f| format!("offers, after call {nth} went wrong once: {}", tell(&f)))?;
    }
    Ok(struck)
}

async fn applies(
    subject: &mut Subject,
    by: &Arc<dyn Provider>,
    mishap: Mishap,
) -> Result<usize, String> {
    let provider = subject.provider.clone();
    // How many calls it takes when nothing goes wrong.
    let allocation = subject.allocation(What::Service, REPLICAS).await?;
    subject.script.disarm();
    let plain = subject.settle(&provider, &allocation, None).await?;
    let calls = subject.script.count();
    subject.destroy(&provider, &plain.tracked()).await?;
    let mut struck = 0;
    for nth in tried(calls) {
        let mut allocation = subject.allocation(What::Service, REPLICAS).await?;
        subject.script.arm(nth, mishap);
        let answer = subject.apply(by, &allocation, None).await;
        let call = subject.script.disarm();
        struck += usize::from(call.is_some());
        let what = format!("call {nth} of apply ({})", call.unwrap_or("none"));
        judge(&what, mishap, &answer)?;
        // As the host does: another attempt after a failure that had no effect, the same one after any other.
        if answer.as_ref().is_err_and(is_certain) {
            allocation.token = format!("{}-1", allocation.id);
        }
        let then = |e: String| format!("{what} went wrong once, and then: {e}");
        let mut held = subject
            .settle(&provider, &allocation, answer.ok().as_deref())
            .await
            .map_err(then)?;
        subject.running(&provider, &mut held).await.map_err(then)?;
        once(subject, &held).await.map_err(then)?;
        subject
            .destroy(&provider, &held.tracked())
            .await
            .map_err(then)?;
        subject.unlisted(&held.allocation.id).await.map_err(then)?;
    }
    Ok(struck)
}

fn is_certain(failure: &Failure) -> bool {
    matches!(
        failure.kind,
        FailureKind::Invalid
            | FailureKind::Denied
            | FailureKind::OutOfCapacity
            | FailureKind::Quota
    )
}

/// There is what was asked for, and nothing beside it.
async fn once(subject: &Subject, held: &Held) -> Result<(), String> {
    let id = &held.allocation.id;
    let listed = subject
        .owned()
        .await?
        .iter()
        .filter(|o| o.allocation == *id)
        .count();
    if listed > 1 {
        return Err(format!("owned lists it {listed} times"));
    }
    match subject.really(id).await {
        Some(real) if real != REPLICAS as usize => Err(format!(
            "{REPLICAS} replicas were asked for, and there are {real}"
        )),
        _ => Ok(()),
    }
}

async fn looks_and_ends(
    subject: &mut Subject,
    by: &Arc<dyn Provider>,
    mishap: Mishap,
) -> Result<usize, String> {
    let provider = subject.provider.clone();
    let (mut held, _) = subject.service().await?;
    let mut struck = 0;
    subject.script.disarm();
    subject
        .look(&provider, &mut held)
        .await
        .map_err(|f| tell(&f))?;
    for nth in tried(subject.script.count()) {
        subject.script.arm(nth, mishap);
        let answer = by.observe(&[held.tracked()]).await;
        let call = subject.script.disarm();
        struck += usize::from(call.is_some());
        judge(
            &format!("call {nth} of observe ({})", call.unwrap_or("none")),
            mishap,
            &answer,
        )?;
        subject
            .running(&provider, &mut held)
            .await
            .map_err(|e| format!("after call {nth} of observe went wrong once: {e}"))?;
    }
    subject.script.disarm();
    subject.owned().await?;
    for nth in tried(subject.script.count()) {
        subject.script.arm(nth, mishap);
        let answer = by.owned().await;
        let call = subject.script.disarm();
        struck += usize::from(call.is_some());
        judge(
            &format!("call {nth} of owned ({})", call.unwrap_or("none")),
            mishap,
            &answer,
        )?;
    }
    // Each call of the removal in turn, as long as something is left to remove.
    for nth in 1..=TRIED {
        subject.script.arm(nth, mishap);
        let answer = by.destroy(&held.tracked()).await;
        let call = subject.script.disarm();
        struck += usize::from(call.is_some());
        judge(
            &format!("call {nth} of destroy ({})", call.unwrap_or("none")),
            mishap,
            &answer,
        )?;
        let then = |e: String| format!("after call {nth} of destroy went wrong once: {e}");
        subject
            .destroy(&provider, &held.tracked())
            .await
            .map_err(then)?;
        subject.unlisted(&held.allocation.id).await.map_err(then)?;
        if call.is_none() {
            return Ok(struck);
        }
        (held, _) = subject.service().await?;
    }
    subject.destroy(&provider, &held.tracked()).await?;
    Ok(struck)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_the_last_and_some_between_go_wrong() {
        let numbers = |calls| tried(calls).into_iter().collect::<Vec<_>>();
        assert_eq!(numbers(0), [] as [u32; 0]);
        assert_eq!(numbers(1), [1]);
        assert_eq!(numbers(3), [1, 2, 3]);
        assert_eq!(numbers(100), [1, 34, 67, 100]);
    }

    #[test]
    fn what_the_host_acts_on_has_to_stay_as_it_is() {
        let failed = |kind| Err::<(), _>(Failure::new(kind, "x"));
        let ok = |mishap, answer: Result<(), Failure>| judge("call", mishap, &answer).is_ok();
        assert!(ok(
            Mishap::Fails(FailureKind::Denied),
            failed(FailureKind::Denied)
        ));
        assert!(!ok(
            Mishap::Fails(FailureKind::Denied),
            failed(FailureKind::Unavailable)
        ));
        assert!(
            !ok(
                Mishap::Fails(FailureKind::Throttled),
                failed(FailureKind::Throttled)
            ),
            "the time is lost"
        );
        assert!(ok(Mishap::LosesTheAnswer, failed(FailureKind::Unavailable)));
        assert!(!ok(Mishap::LosesTheAnswer, failed(FailureKind::Denied)));
        let trapped = Err::<(), _>(Failure::internal("x").code("trapped"));
        assert!(!ok(Mishap::Fails(FailureKind::Internal), trapped));
        let late = || Err::<(), _>(Failure::unavailable("x").code("deadline-exceeded"));
        assert!(ok(Mishap::Hangs(Duration::ZERO), late()) && !ok(Mishap::LosesTheAnswer, late()));
    }
}
