//! Parts of the controller by themselves, on the state that one deployment has been brought to.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant as Tick, advance};
use tradewind_core::{
    failure::{Failure, WORKLOAD},
    manifest::Resolved,
    place_health::Place,
    placement::{Closed, Spot},
    store::Revision,
};

use super::commit::Scene;
use crate::{
    lock, observe::outages::Outages, observe::poller::PollSchedule, schedule::refusals::Refusals,
    state::cache::Cache,
};

fn resolved(scene: &Scene) -> Arc<Vec<Resolved>> {
    lock(&scene.shared.cache)
        .deployments
        .get(&scene.key)
        .expect("it is there")
        .resolved
        .clone()
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_to_one_task_is_closed_to_it_alone_and_for_a_while() {
    let scene = Scene::new().await;
    let refusals = Refusals {
        cache: scene.shared.cache.clone(),
        plugins: scene.shared.plugins.clone(),
    };
    let (tasks, snapshot) = (resolved(&scene), scene.shared.plugins.snapshot());
    let closed = |task: &Resolved| refusals.closed(&scene.key, &tasks, task, &snapshot);
    let provider: Spot = (scene.record.intent.provider.clone(), None);
    let refusal = Failure::denied("it does not run such a thing").code(WORKLOAD);

    assert!(closed(&tasks[0]).is_empty());
    refusals.refused(&scene.record, &refusal);
    assert!(
        matches!(closed(&tasks[0]).get(&provider), Some(Closed::Refused { cause, .. }) if cause.contains("such a thing"))
    );
    let mut other = tasks[0].clone();
    other.workload.command.push("other".to_owned());
    assert!(closed(&other).is_empty(), "another workload pays for it");
    advance(Duration::from_secs(31)).await;
    assert!(closed(&tasks[0]).is_empty(), "it is never tried again");

    // Refused again, it is left alone for longer.
    refusals.refused(&scene.record, &refusal);
    advance(Duration::from_secs(31)).await;
    assert!(closed(&tasks[0]).contains_key(&provider));
    advance(Duration::from_secs(30)).await;
    assert!(closed(&tasks[0]).is_empty());

    // Of room it is the one offer that is closed.
    refusals.refused(
        &scene.record,
        &Failure::unavailable("no room for this").code("no-room"),
    );
    assert!(
        closed(&tasks[0])
            .keys()
            .all(|(_, offer)| offer.as_ref() == Some(&scene.record.intent.offer.id))
    );
}

#[tokio::test(start_paused = true)]
async fn an_offer_owes_what_is_to_grow_there_for_as_long_as_it_is() {
    let scene = Scene::new().await;
    let mut cache = lock(&scene.shared.cache);
    let provider = scene.record.intent.provider.clone();
    let offer = scene.record.intent.offer.id.clone();
    let owed = |cache: &Cache| -> Vec<u32> {
        let of = cache.owed(&provider, &offer);
        of.map(|(_, replicas, _)| replicas).collect()
    };
    let show = |cache: &mut Cache, wanted: u32, revision: u64| {
        let mut record = scene.record.clone();
        record.intent.wanted = Some(record.intent.replicas + wanted);
        cache.insert_allocation(record, Revision(revision));
    };
    assert!(cache.owing(&provider).is_empty() && owed(&cache).is_empty());
    show(&mut cache, 2, u64::MAX - 2);
    assert!(cache.owing(&provider).contains(&*offer));
    assert_eq!(owed(&cache), [2]);
    // What was written before and is shown after it changes nothing.
    show(&mut cache, 0, u64::MAX - 3);
    assert_eq!(owed(&cache), [2]);
    show(&mut cache, 0, u64::MAX - 1);
    assert!(cache.owing(&provider).is_empty() && owed(&cache).is_empty());
    show(&mut cache, 1, u64::MAX);
    cache.remove_allocation(&scene.record.id);
    assert!(cache.owing(&provider).is_empty() && owed(&cache).is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_silent_for_too_long_is_lost_until_it_answers() {
    let scene = Scene::new().await;
    let poll_schedule = Arc::new(PollSchedule::default());
    let outages = Outages::new(
        scene.shared.committer.clone(),
        scene.shared.cache.clone(),
        poll_schedule,
    );
    let place = Place::of(&scene.record);
    let state = |scene: &Scene| {
        scene
            .cached()
            .map(|(record, _)| (record.status.lost, record.intent.superseded))
    };

    // A refusal is an answer.
    outages.record_unreachable(&place, &Failure::denied("the key has expired"));
    assert_eq!(outages.declare_lost(Tick::now()).await, None);

    outages.record_unreachable(&place, &Failure::unavailable("nobody answers"));
    let at = outages
        .declare_lost(Tick::now())
        .await
        .expect("a time when it is lost");
    assert_eq!(
        (outages.lost().len(), state(&scene)),
        (0, Some((false, false))),
        "lost at once"
    );
    tokio::time::sleep_until(at + Duration::from_millis(1)).await;
    outages.declare_lost(Tick::now()).await;
    assert_eq!(
        outages.lost().into_iter().collect::<Vec<_>>(),
        std::slice::from_ref(&place)
    );
    assert_eq!(state(&scene), Some((true, true)));

    // Nothing has taken over: it goes on where it was.
    outages.record_reachable(&place).await;
    assert_eq!(
        (outages.lost().len(), state(&scene)),
        (0, Some((false, false)))
    );
    let events = scene
        .documents()
        .await
        .into_iter()
        .filter(|r| r.key.starts_with("events/"));
    let told: Vec<String> = events
        .map(|r| String::from_utf8_lossy(&r.value).into_owned())
        .collect();
    for reason in ["RegionLost", "AllocationLost", "RegionBack"] {
        assert_eq!(
            told.iter().filter(|event| event.contains(reason)).count(),
            1,
            "{reason}: {told:#?}"
        );
    }
}
