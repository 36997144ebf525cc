//! Reading and writing the controller's documents, each with the event that tells of it.

use serde::Serialize;
pub(crate) use tradewind_core::document::{decode, encode};
use tradewind_core::{
    event::{Event, Reason, Severity},
    names::{Actor, InstanceName, Namespace},
    place_health::Place,
    record::{AllocationRecord, DeploymentKey, Stage},
    store::{Error, Store},
    units::MicroUsd,
    workload::Phase,
};
use ulid::Ulid;

/// Who causes what nobody asked for in particular.
pub(crate) const CONTROLLER: &Actor = &Actor::CONTROLLER;

/// An event about a deployment.
pub(crate) fn event(
    severity: Severity,
    reason: Reason,
    actor: &Actor,
    key: &DeploymentKey,
    message: impl Into<String>,
) -> Event {
    Event {
        namespace: Some(key.namespace.clone()),
        deployment: Some(key.name.clone()),
        ..Event::new(severity, reason, actor, message)
    }
}

/// An event about a whole namespace.
pub(crate) fn namespace_event(
    severity: Severity,
    reason: Reason,
    actor: &Actor,
    namespace: &Namespace,
    message: impl Into<String>,
) -> Event {
    Event {
        namespace: Some(namespace.clone()),
        ..Event::new(severity, reason, actor, message)
    }
}

/// An event about one of its allocations.
pub(crate) fn allocation_event(
    severity: Severity,
    reason: Reason,
    record: &AllocationRecord,
    message: impl Into<String>,
) -> Event {
    Event {
        task: Some(record.task.clone()),
        allocation: Some(record.id.clone()),
        plugin: Some(record.intent.provider.clone()),
        ..event(severity, reason, CONTROLLER, &record.key(), message)
    }
}

/// What an event shows of an allocation.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Facts<'a> {
    stage: Stage,
    phase: Phase,
    provider: &'a InstanceName,
    region: &'a str,
    offer: &'a str,
    replicas: u32,
    hourly: MicroUsd,
    generation: u64,
    attempt: u32,
    superseded: bool,
}

/// The event, with what it changed about an allocation. None: it did not exist, or does not any more.
pub(crate) fn changing(
    event: Event,
    before: Option<&AllocationRecord>,
    after: Option<&AllocationRecord>,
) -> Event {
    fn facts(record: &AllocationRecord) -> Facts<'_> {
        Facts {
            stage: record.intent.stage,
            phase: record.status.phase,
            provider: &record.intent.provider,
            region: &record.intent.offer.region,
            offer: &record.intent.offer.id,
            replicas: record.intent.replicas,
            hourly: record.intent.hourly,
            generation: record.intent.generation,
            attempt: record.intent.attempt,
            superseded: record.intent.superseded,
        }
    }
    event.changing(before.map(facts).as_ref(), after.map(facts).as_ref())
}

/// What is told of a change of an allocation's record that is no observation. None: only its provider's own bytes have changed.
pub(crate) fn revision_event(before: &AllocationRecord, after: &AllocationRecord) -> Option<Event> {
    let reason = match (before, after) {
        (b, a) if a.intent.stage == Stage::Removing && b.intent.stage != Stage::Removing => {
            Reason::AllocationRemoving
        }
        (b, a) if a.intent.stage == Stage::Applied && b.intent.stage != Stage::Applied => {
            Reason::AllocationApplied
        }
        (b, a) if b.handle.state.is_some() && a.handle.state.is_none() => {
            Reason::AllocationVanished
        }
        (b, a) if a.intent.superseded && !b.intent.superseded => Reason::AllocationSuperseded,
        (b, a) if b.intent.replicas != a.intent.replicas => Reason::AllocationResized,
        (b, a)
            if b.intent.attempt != a.intent.attempt
                || b.intent.workload != a.intent.workload
                || b.intent.stage != a.intent.stage =>
        {
            Reason::AllocationUpdated
        }
        _ => return None,
    };
    let message = format!(
        "{} × {} on {}",
        after.intent.replicas,
        after.task,
        Place::of(after)
    );
    Some(changing(
        allocation_event(Severity::Info, reason, after, message),
        Some(before),
        Some(after),
    ))
}

/// Draws identifiers behind all that have been recorded, even if the clock was set back meanwhile.
///
/// # Errors
/// The state can't be read.
pub(crate) async fn generator(store: &dyn Store) -> Result<ulid::Generator, Error> {
    let bounds = store.audit_bounds().await?;
    let last = store
        .audit(bounds.head.seq.saturating_sub(1), 1)
        .await?
        .pop();
    let event = last.and_then(|entry| serde_json::from_slice::<Event>(&entry.bytes).ok());
    Ok(generator_behind(event.and_then(|event| {
        event.id?.as_str().to_uppercase().parse().ok()
    })))
}

fn generator_behind(last: Option<Ulid>) -> ulid::Generator {
    let mut generator = ulid::Generator::new();
    if let Some(time) = last.and_then(|id| {
        id.datetime()
            .checked_add(std::time::Duration::from_millis(1))
    }) {
        // A generator never goes behind what it has drawn; what it draws here is not used.
        let _ = generator.generate_from_datetime(time);
    }
    generator
}

/// `1 replica has`, `3 replicas have`.
pub(crate) fn replicas_have(count: u32) -> String {
    if count == 1 {
        "1 replica has".to_owned()
    } else {
        format!("{count} replicas have")
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn identifiers_grow_though_the_clock_was_set_back() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let mut first = generator_behind(None);
        let before = first.generate_from_datetime(at(2_000)).unwrap();
        let mut second = generator_behind(Some(before));
        let mut last = before;
        for time in [1_000, 999, 2_000, 1, 3_000] {
            let next = second.generate_from_datetime(at(time)).unwrap();
            assert!(next > last, "{time}");
            last = next;
        }
    }
}
