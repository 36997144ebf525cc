//! How things end: gone on request, gone behind its back, found when nobody remembers them.

use tradewind_core::{
    plugin::{Destroyed, Tracked},
    workload::Phase,
};
use tradewind_wasm::Plugin;

use super::life::main;
use crate::{
    check::{Verdict, passed, skipped, tell},
    subject::Subject,
};

pub(super) async fn disappears(subject: &mut Subject) -> Verdict {
    if !subject.makes_things() {
        return skipped("it makes nothing that could disappear");
    }
    if !subject.provider.features().services {
        return skipped("it runs no services");
    }
    let provider = subject.provider.clone();
    let (mut held, _) = subject.service().await?;
    // Somebody else, as far as this one knows.
    let other = subject
        .bench
        .load(&subject.piece, subject.lent.clone())
        .await
        .map_err(|e| e.to_string())?;
    let Plugin::Provider(other) = other.plugin else {
        return Err("it is a policy by now".to_owned());
    };
    subject.destroy(&other, &held.tracked()).await?;
    subject
        .until(&provider, &mut held, "gone", |seen| {
            seen.phase == Phase::Gone
        })
        .await?;
    match provider.destroy(&held.tracked()).await {
        Ok(Destroyed::Gone) => passed(""),
        Ok(Destroyed::Going) => {
            Err("it is gone, and its removal answers that it is going".to_owned())
        }
        Err(failure) => Err(format!(
            "it is gone, and its removal answers: {}",
            tell(&failure)
        )),
    }
}

pub(super) async fn owned(subject: &mut Subject) -> Verdict {
    if !subject.makes_things() {
        return skipped("it makes nothing that could be lost");
    }
    if !subject.provider.features().services {
        return skipped("it runs no services");
    }
    let provider = subject.provider.clone();
    let (mut held, _) = subject.service().await?;
    let id = held.allocation.id.clone();
    let mut waiting = crate::subject::Waiting::new(subject.patience);
    let found = loop {
        match subject
            .owned()
            .await?
            .into_iter()
            .find(|o| o.allocation == id)
        {
            Some(found) => break found,
            None if waiting.goes_on().await => {}
            None => {
                return Err(format!(
                    "\"{id}\" runs and is not listed after {:?}: a daemon that lost it would never find it",
                    subject.patience
                ));
            }
        }
    };
    let tracked = Tracked {
        allocation: id.clone(),
        state: found.state,
    };
    subject
        .destroy(&provider, &tracked)
        .await
        .map_err(|e| format!("with the state that is listed: {e}"))?;
    subject
        .until(&provider, &mut held, "gone", |seen| {
            seen.phase == Phase::Gone
        })
        .await?;
    subject.unlisted(&id).await?;
    passed(found.description)
}

pub(super) async fn destroy(subject: &mut Subject) -> Verdict {
    let held = main!(subject);
    let provider = subject.provider.clone();
    subject.destroy(&provider, &held.tracked()).await?;
    subject.unlisted(&held.allocation.id).await?;
    match subject.really(&held.allocation.id).await {
        Some(real) if real > 0 => Err(format!(
            "it answers that it is gone, and {real} replicas are there"
        )),
        _ => passed(""),
    }
}

pub(super) async fn again(subject: &mut Subject) -> Verdict {
    let held = main!(subject);
    match subject.provider.destroy(&held.tracked()).await {
        Ok(Destroyed::Gone) => passed(""),
        Ok(Destroyed::Going) => Err("it was gone, and now it is going".to_owned()),
        Err(failure) => Err(format!("it was gone, and now: {}", tell(&failure))),
    }
}

pub(super) async fn nothing_left(subject: &mut Subject) -> Verdict {
    let mut waiting = crate::subject::Waiting::new(subject.patience);
    loop {
        let left = subject.owned().await?;
        let Some(first) = left.first() else {
            return passed("");
        };
        if !waiting.goes_on().await {
            return Err(format!(
                "{} allocations are still listed, such as \"{}\": {}",
                left.len(),
                first.allocation,
                first.description
            ));
        }
    }
}
