//! State that the provider has not written: nothing, noise, something similar, half of its own.

use tradewind_core::{
    failure::Failure,
    plugin::{Destroyed, Tracked},
    workload::{LogQuery, Phase},
};

use crate::{
    check::{Verdict, is_broken, passed, skipped, tell},
    subject::{Held, REPLICAS, Subject, What},
};

fn foreign(own: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let half = own.get(..own.len() / 2).unwrap_or_default().to_vec();
    vec![
        ("nothing", Vec::new()),
        (
            "zeros and noise",
            [&[0; 16][..], &[0xff, 0xfe, 0xc3, 0x28, 0x80]].concat(),
        ),
        ("an empty JSON object", b"{}".to_vec()),
        ("a JSON list", b"[1, [2, {\"version\": 1}]]".to_vec()),
        (
            "a version that is to come",
            b"{\"version\": 4294967295}".to_vec(),
        ),
        ("64 KiB of one letter", vec![b'x'; 64 << 10]),
        ("deeply nested JSON", b"[".repeat(20_000)),
        ("half of its own", half),
    ]
}

/// Refused is what it should be; done without the state is as well; broken off is not.
fn judge<T>(what: &str, call: &str, answer: Result<T, Failure>) -> Result<Option<T>, String> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(failure) if is_broken(&failure) => {
            Err(format!("{what} as state breaks {call}: {}", tell(&failure)))
        }
        Err(_) => Ok(None),
    }
}

pub(super) async fn garbage(subject: &mut Subject) -> Verdict {
    if !subject.provider.features().services {
        return skipped("it runs no services");
    }
    let provider = subject.provider.clone();
    let (mut held, _) = subject.service().await?;
    let id = held.allocation.id.clone();
    let mut refused = 0;
    for (what, state) in foreign(&held.state.clone().unwrap_or_default()) {
        let tracked = Tracked {
            allocation: id.clone(),
            state,
        };
        let looked = judge(
            what,
            "observe",
            provider.observe(std::slice::from_ref(&tracked)).await,
        )?;
        judge(
            what,
            "logs",
            provider
                .logs(
                    &tracked,
                    &LogQuery {
                        replica: None,
                        tail: 5,
                        after: None,
                        previous: false,
                    },
                )
                .await,
        )?;
        let applied = judge(
            what,
            "apply",
            provider.apply(&held.allocation, Some(&tracked.state)).await,
        )?;
        let destroyed = judge(what, "destroy", provider.destroy(&tracked).await)?;
        refused += u32::from(looked.is_none())
            + u32::from(applied.is_none())
            + u32::from(destroyed.is_none());
        if destroyed == Some(Destroyed::Gone) {
            let seen = subject
                .look(&provider, &mut held)
                .await
                .map_err(|f| tell(&f))?;
            if subject.makes_things() && seen.phase != Phase::Gone {
                return Err(format!(
                    "with {what} as state it answers that \"{id}\" is gone, and it is {}",
                    seen.phase
                ));
            }
        }
        // What was done without the state may have changed the allocation: from here on it is as it was.
        if applied.is_some() || destroyed.is_some() {
            let prior = held.state.clone();
            held = subject
                .settle(&provider, &held.allocation.clone(), prior.as_deref())
                .await?;
        }
    }
    works_on(subject, &mut held).await?;
    passed(format!("{refused} calls refused, the others did without"))
}

/// Afterwards everything goes on.
async fn works_on(subject: &mut Subject, held: &mut Held) -> Result<(), String> {
    let provider = subject.provider.clone();
    subject
        .running(&provider, held)
        .await
        .map_err(|e| format!("afterwards: {e}"))?;
    subject
        .destroy(&provider, &held.tracked())
        .await
        .map_err(|e| format!("afterwards: {e}"))?;
    let allocation = subject.allocation(What::Service, REPLICAS).await?;
    let mut fresh = subject
        .settle(&provider, &allocation, None)
        .await
        .map_err(|e| format!("afterwards, a new one: {e}"))?;
    subject
        .running(&provider, &mut fresh)
        .await
        .map_err(|e| format!("afterwards, a new one: {e}"))?;
    subject.destroy(&provider, &fresh.tracked()).await
}
