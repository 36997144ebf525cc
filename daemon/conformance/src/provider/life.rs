//! The life of an allocation: it runs, grows, shrinks, changes, ends. Most of it is told on one service that lives through all of it.

use std::collections::BTreeMap;

use tradewind_core::{
    plugin::Tracked,
    workload::{LogQuery, Observation, Phase},
};

use crate::{
    check::{Verdict, passed, skipped, tell},
    subject::{Held, REPLICAS, Subject, Waiting, What, describe, ids, runs},
    tasks::mark,
};

/// Takes the service that lives through all of this, or says why there is none.
macro_rules! main {
    ($subject:ident) => {
        match $subject.main.clone() {
            Some(held) => held,
            None => return skipped("there is nothing to try it on: \"apply\" made nothing"),
        }
    };
}
pub(super) use main;

pub(super) async fn apply(subject: &mut Subject) -> Verdict {
    if !subject.provider.features().services {
        return skipped("it runs no services");
    }
    let (held, seen) = subject.service().await?;
    if seen.allocation != held.allocation.id {
        return Err(format!("it answers for \"{}\"", seen.allocation));
    }
    if let Some(real) = subject
        .really(&held.allocation.id)
        .await
        .filter(|real| *real != REPLICAS as usize)
    {
        return Err(format!(
            "{REPLICAS} replicas were asked for, and there are {real}"
        ));
    }
    let on = held.allocation.offer.id.clone();
    subject.main = Some(held);
    passed(format!("{REPLICAS} replicas on \"{on}\""))
}

/// The replicas as they are, after the service runs with all of them.
async fn now(subject: &mut Subject, held: &mut Held) -> Result<Observation, String> {
    let provider = subject.provider.clone();
    subject.running(&provider, held).await
}

/// Applies to the main service, waits until it runs, and keeps it.
async fn change(
    subject: &mut Subject,
    held: &mut Held,
    prior: Option<Vec<u8>>,
) -> Result<Observation, String> {
    let provider = subject.provider.clone();
    *held = subject
        .settle(&provider, &held.allocation.clone(), prior.as_deref())
        .await?;
    let seen = now(subject, held).await;
    subject.main = Some(held.clone());
    seen
}

pub(super) async fn again(subject: &mut Subject) -> Verdict {
    let mut held = main!(subject);
    let before = ids(&now(subject, &mut held).await?);
    let prior = held.state.clone();
    let after = ids(&change(subject, &mut held, prior).await?);
    same(&before, &after)?;
    no_more(subject, &held).await?;
    passed(format!("the same {} replicas", after.len()))
}

pub(super) async fn unanswered(subject: &mut Subject) -> Verdict {
    let mut held = main!(subject);
    let before = ids(&now(subject, &mut held).await?);
    let after = ids(&change(subject, &mut held, None).await?);
    same(&before, &after)?;
    no_more(subject, &held).await?;
    passed(format!("the same {} replicas", after.len()))
}

fn same(before: &BTreeMap<u32, String>, after: &BTreeMap<u32, String>) -> Result<(), String> {
    if before == after {
        Ok(())
    } else {
        Err(format!("the replicas were {before:?}, and are {after:?}"))
    }
}

/// Nothing is there beside what is told.
async fn no_more(subject: &Subject, held: &Held) -> Result<(), String> {
    let listed = subject
        .owned()
        .await?
        .into_iter()
        .filter(|o| o.allocation == held.allocation.id)
        .count();
    if listed > 1 {
        return Err(format!(
            "owned lists \"{}\" {listed} times",
            held.allocation.id
        ));
    }
    match subject.really(&held.allocation.id).await {
        Some(real) if real != held.allocation.replicas as usize => Err(format!(
            "{} replicas are told of, and there are {real}",
            held.allocation.replicas
        )),
        _ => Ok(()),
    }
}

pub(super) async fn observe(subject: &mut Subject) -> Verdict {
    let mut held = main!(subject);
    let provider = subject.provider.clone();
    let (other, _) = subject.service().await?;
    let (third, _) = subject.service().await?;
    let asked = [other.tracked(), held.tracked(), third.tracked()];
    let phases = |seen: &[Observation], of: &Tracked| {
        seen.iter()
            .find(|o| o.allocation == of.allocation)
            .map(|o| o.phase)
    };
    let seen = provider.observe(&asked).await.map_err(|f| tell(&f))?;
    if let Some(quiet) = asked
        .iter()
        .find(|t| phases(&seen, t) != Some(Phase::Running))
    {
        return Err(format!(
            "\"{}\" of three that run is {:?} when they are asked about together",
            quiet.allocation,
            phases(&seen, quiet)
        ));
    }
    for gone in [&other, &third] {
        subject.destroy(&provider, &gone.tracked()).await?;
    }
    let nothing = provider
        .observe(&[])
        .await
        .map_err(|f| format!("about none: {}", tell(&f)))?;
    if !nothing.is_empty() {
        return Err(format!(
            "{} observations when asked about none",
            nothing.len()
        ));
    }
    if !subject.makes_things() {
        return passed("three of three; it makes nothing that could be gone");
    }
    let mut waiting = Waiting::new(subject.patience);
    loop {
        let seen = provider
            .observe(&asked)
            .await
            .map_err(|f| format!("two of three are gone: {}", tell(&f)))?;
        let told: Vec<_> = asked.iter().map(|t| phases(&seen, t)).collect();
        if told == [Some(Phase::Gone), Some(Phase::Running), Some(Phase::Gone)] {
            break;
        }
        if !waiting.goes_on().await {
            return Err(format!(
                "of three allocations only the second is there, and it tells {told:?}"
            ));
        }
    }
    now(subject, &mut held).await?;
    passed("three of three, then two of them gone")
}

pub(super) async fn logs(subject: &mut Subject) -> Verdict {
    const TAIL: u32 = 3;
    if !subject.provider.features().logs {
        return skipped("it says that it has none");
    }
    let held = main!(subject);
    let provider = subject.provider.clone();
    let ask = |query: LogQuery| {
        let (provider, of) = (provider.clone(), held.tracked());
        async move { provider.logs(&of, &query).await.map_err(|f| tell(&f)) }
    };
    let mut waiting = Waiting::new(subject.patience);
    let chunk = loop {
        let chunk = ask(LogQuery {
            replica: None,
            tail: TAIL,
            after: None,
            previous: false,
        })
        .await?;
        if !chunk.lines.is_empty() || !subject.tasks.speak {
            break chunk;
        }
        if !waiting.goes_on().await {
            return Err("its replicas have written a line each, and it tells none".to_owned());
        }
    };
    if chunk.lines.len() > TAIL as usize {
        return Err(format!(
            "{} lines where the last {TAIL} were asked for",
            chunk.lines.len()
        ));
    }
    let of_one = ask(LogQuery {
        replica: Some(1),
        tail: TAIL,
        after: None,
        previous: false,
    })
    .await?;
    if let Some(other) = of_one.lines.iter().find(|line| line.replica != 1) {
        return Err(format!(
            "a line of replica {} where those of replica 1 were asked for",
            other.replica
        ));
    }
    if let Some(cursor) = &chunk.next {
        let more = ask(LogQuery {
            replica: None,
            tail: TAIL,
            after: Some(cursor.clone()),
            previous: false,
        })
        .await?;
        if subject.tasks.speak
            && chunk
                .lines
                .iter()
                .any(|line| line.time.is_some() && more.lines.contains(line))
        {
            return Err(format!(
                "behind the cursor \"{cursor}\" comes what came before it"
            ));
        }
    }
    passed(format!("{} lines", chunk.lines.len()))
}

pub(super) async fn resize_up(subject: &mut Subject) -> Verdict {
    resize(subject, REPLICAS + 1).await
}

pub(super) async fn resize_down(subject: &mut Subject) -> Verdict {
    resize(subject, REPLICAS - 1).await
}

async fn resize(subject: &mut Subject, replicas: u32) -> Verdict {
    let mut held = main!(subject);
    let before = ids(&now(subject, &mut held).await?);
    next(&mut held, |allocation| allocation.replicas = replicas);
    let prior = held.state.clone();
    let after = ids(&change(subject, &mut held, prior).await?);
    subject.stopped(&held).await;
    no_more(subject, &held).await?;
    if !subject.provider.features().resize {
        return passed(format!(
            "{replicas} replicas; it does not say that the others go on"
        ));
    }
    let kept = |all: &BTreeMap<u32, String>| {
        all.values()
            .filter(|id| before.values().any(|b| b == *id))
            .count()
    };
    let expected = before.len().min(after.len());
    if kept(&after) != expected {
        return Err(format!(
            "the replicas were {before:?}, and are {after:?}: {expected} of them should have gone on"
        ));
    }
    passed(format!(
        "{} → {replicas} replicas, {expected} of them go on",
        before.len()
    ))
}

/// Another generation of an allocation, with another token.
fn next(held: &mut Held, change: impl FnOnce(&mut tradewind_core::workload::Allocation)) {
    let allocation = &mut held.allocation;
    allocation.generation += 1;
    allocation.token = format!("{}-{}", allocation.id, allocation.generation);
    change(allocation);
}

pub(super) async fn update(subject: &mut Subject) -> Verdict {
    let mut held = main!(subject);
    let provider = subject.provider.clone();
    let before = now(subject, &mut held).await?;
    next(&mut held, |allocation| {
        mark(&mut allocation.workload.env, "2")
    });
    let replicas = held.allocation.replicas;
    let prior = held.state.clone();
    held = subject
        .settle(&provider, &held.allocation.clone(), prior.as_deref())
        .await?;
    let old = |seen: &Observation, index: u32, id: &str| {
        let was = before
            .replicas
            .iter()
            .find(|r| r.id == id && r.index == index);
        let is = seen.replicas.iter().find(|r| r.index == index);
        was.is_some_and(|was| {
            is.is_some_and(|is| is.started_at <= was.started_at && is.restarts <= was.restarts)
        })
    };
    let changed = |seen: &Observation| {
        runs(seen, replicas) && !seen.replicas.iter().any(|r| old(seen, r.index, &r.id))
    };
    let seen = subject
        .until(
            &provider,
            &mut held,
            "running with the new workload, its replicas begun anew",
            changed,
        )
        .await;
    subject.main = Some(held.clone());
    let seen = seen?;
    subject.stopped(&held).await;
    no_more(subject, &held).await?;
    if subject.tasks.speak && subject.provider.features().logs && subject.makes_things() {
        says(subject, &held, "conformance 2").await?;
    }
    passed(format!("{} replicas begun anew", seen.replicas.len()))
}

/// Waits until a line of the workload itself shows what runs.
async fn says(subject: &Subject, held: &Held, text: &str) -> Result<(), String> {
    let mut waiting = Waiting::new(subject.patience);
    loop {
        let query = LogQuery {
            replica: None,
            tail: 50,
            after: None,
            previous: false,
        };
        let chunk = subject
            .provider
            .logs(&held.tracked(), &query)
            .await
            .map_err(|f| tell(&f))?;
        if chunk.lines.iter().any(|line| line.text.contains(text)) {
            return Ok(());
        }
        if !waiting.goes_on().await {
            return Err(format!(
                "the new workload writes \"{text}\", and its logs don't show it"
            ));
        }
    }
}

pub(super) async fn job(subject: &mut Subject) -> Verdict {
    if !subject.provider.features().jobs {
        return skipped("it runs no jobs");
    }
    if subject.tasks.job.is_none() && subject.tasks.service.is_some() {
        return skipped("the manifest has no job");
    }
    let provider = subject.provider.clone();
    let allocation = subject.allocation(What::Job, 1).await?;
    let mut held = subject.settle(&provider, &allocation, None).await?;
    let seen = subject
        .until(&provider, &mut held, "succeeded", |seen| {
            seen.phase == Phase::Succeeded
        })
        .await?;
    if let Some(other) = seen.replicas.iter().find(|r| r.phase != Phase::Succeeded) {
        return Err(format!(
            "it has succeeded, and its replica {} is {}",
            other.index, other.phase
        ));
    }
    // It stays so: the daemon may look late.
    let later = subject
        .look(&provider, &mut held)
        .await
        .map_err(|f| tell(&f))?;
    if later.phase != Phase::Succeeded {
        return Err(format!(
            "it had succeeded, and a moment later {}",
            describe(&later)
        ));
    }
    subject.destroy(&provider, &held.tracked()).await?;
    passed("")
}

pub(super) async fn job_again(subject: &mut Subject) -> Verdict {
    if !subject.provider.features().jobs {
        return skipped("it runs no jobs");
    }
    if subject.tasks.job.is_none() && subject.tasks.service.is_some() {
        return skipped("the manifest has no job");
    }
    let provider = subject.provider.clone();
    let allocation = subject.allocation(What::Job, 1).await?;
    let mut held = subject.settle(&provider, &allocation, None).await?;
    let first = subject
        .until(&provider, &mut held, "succeeded", |seen| {
            seen.phase == Phase::Succeeded
        })
        .await?;
    let prior = held.state.clone();
    held = subject
        .settle(&provider, &held.allocation.clone(), prior.as_deref())
        .await?;
    let later = subject
        .look(&provider, &mut held)
        .await
        .map_err(|f| tell(&f))?;
    let life = |seen: &Observation| seen.replicas.first().map(|r| (r.started_at, r.restarts));
    match later.phase {
        // The host keeps what it has ended with.
        Phase::Gone => {}
        Phase::Succeeded if life(&first) == life(&later) => {}
        Phase::Succeeded => {
            return Err(format!(
                "it had succeeded, and has been run again: {:?}, then {:?}",
                life(&first),
                life(&later)
            ));
        }
        _ => {
            return Err(format!(
                "it had succeeded, and after the same once more {}",
                describe(&later)
            ));
        }
    }
    subject.destroy(&provider, &held.tracked()).await?;
    passed("")
}

pub(super) async fn previous(subject: &mut Subject) -> Verdict {
    let Some(component) = subject.previous.clone() else {
        return skipped("no earlier version was named with --previous");
    };
    if !subject.provider.features().services {
        return skipped("it runs no services");
    }
    let piece = subject.piece.clone().with_component(component);
    let old = subject
        .bench
        .load(&piece, subject.lent.clone())
        .await
        .map_err(|e| format!("the earlier version: {e}"))?;
    let tradewind_wasm::Plugin::Provider(by) = old.plugin else {
        return Err("the earlier version is a policy".to_owned());
    };
    let provider = subject.provider.clone();
    let allocation = subject.allocation(What::Service, REPLICAS).await?;
    let mut held = subject
        .settle(&by, &allocation, None)
        .await
        .map_err(|e| format!("the earlier version: {e}"))?;
    subject
        .running(&by, &mut held)
        .await
        .map_err(|e| format!("the earlier version: {e}"))?;
    let before = ids(&subject.running(&provider, &mut held).await?);
    next(&mut held, |allocation| allocation.replicas = REPLICAS + 1);
    let prior = held.state.clone();
    held = subject
        .settle(&provider, &held.allocation.clone(), prior.as_deref())
        .await?;
    let after = ids(&subject.running(&provider, &mut held).await?);
    if subject.provider.features().resize
        && !before.values().all(|id| after.values().any(|a| a == id))
    {
        return Err(format!(
            "the earlier version's replicas were {before:?}, and are {after:?}"
        ));
    }
    subject.destroy(&provider, &held.tracked()).await?;
    passed(format!("of {} {}", old.about.name, old.about.version))
}
