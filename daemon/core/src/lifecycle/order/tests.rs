use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::{
    lifecycle::scaling,
    state::rollout::{Cause, Pause},
};

/// `web` after `migrate` and `db`; `version` is of `web` and `migrate`.
fn record(version: u32, generation: u64, cause: Cause, before: &[Released]) -> DeploymentRecord {
    let text = format!(
        r#"{{"apiVersion":"tradewind.dev/v1","kind":"CloudDeployment","metadata":{{"name":"shop"}},"spec":{{
            "services":{{"web":{{"command":["web","{version}"],"replicas":2,"after":{{"migrate":"completed","db":"ready"}}}},
                         "db":{{"command":["db"]}}}},
            "jobs":{{"migrate":{{"command":["migrate","{version}"]}}}}}}}}"#
    );
    DeploymentRecord {
        generation,
        manifest: serde_json::from_str(&text).expect("a manifest"),
        deleting: false,
        scales: Vec::new(),
        created_at: Instant(0),
        updated_at: Instant(0),
        rollout: Some(Rollout::new(generation, None, cause, Instant(0))),
        revisions: Vec::new(),
        adopt: None,
        moves: Vec::new(),
        reruns: Vec::new(),
        restarts: Vec::new(),
        schedules: Vec::new(),
        begun: Vec::new(),
        released: before.to_vec(),
        waiting: Vec::new(),
    }
}

fn look(record: &DeploymentRecord, ready: bool, migrated: Option<bool>) -> Standing {
    let seen = |task: &TaskName| Seen {
        wanted: 1,
        ready: u32::from(ready && task.as_str() == "db"),
        completed: u32::from(migrated == Some(true) && task.as_str() == "migrate"),
        failed: (migrated == Some(false) && task.as_str() == "migrate")
            .then(|| ": exit code 3".to_owned()),
        ..Seen::default()
    };
    stand(record, &scaling::resolve(record), seen)
}

fn waits(standing: &Standing) -> Vec<String> {
    standing
        .waits
        .iter()
        .map(|w| format!("{} {}", w.task, w.why()))
        .collect()
}

#[test]
fn a_task_waits_for_all_and_says_for_what() {
    let first = record(1, 1, Cause::Put, &[]);
    assert_eq!(
        waits(&look(&first, false, None)),
        ["web waits for migrate to complete and for db to be ready"]
    );
    let half = look(&first, true, None);
    assert_eq!(waits(&half), ["web waits for migrate to complete"]);
    assert_eq!(half.waits[0].failed(), None);
    let known = half.waiting(&[], Instant(5));
    assert_eq!(
        half.waiting(&known, Instant(9)),
        known,
        "it has waited since then"
    );
    let failed = look(&first, true, Some(false));
    assert_eq!(
        failed.waits[0].failed().as_deref(),
        Some("web waits for migrate to complete, which has failed: exit code 3")
    );
    assert_eq!(waits(&look(&first, true, Some(true))), [""; 0]);
}

#[test]
fn what_was_released_is_not_held_back_and_another_version_is() {
    let first = record(1, 1, Cause::Put, &[]);
    let released = look(&first, true, Some(true)).released;
    assert_eq!(released.len(), 1, "those without prerequisites never wait");
    // The database dies; somebody has the job run again, or the service restart.
    let mut again = record(1, 2, Cause::Restart, &released);
    again.restarts.push(crate::state::record::Restart {
        task: "web".parse().expect("a name"),
        generation: 2,
    });
    let later = look(&again, false, None);
    assert!(later.waits.is_empty(), "{later:?}");
    assert_eq!(kept_as(&again, &released[0].task), Some(1));

    let second = record(2, 3, Cause::Put, &later.released);
    let held = look(&second, true, None);
    assert_eq!(waits(&held), ["web waits for migrate to complete"]);
    assert_eq!(kept_as(&second, &released[0].task), Some(2));
    let went = look(&second, true, Some(true)).released;

    // Back to what ran before, whatever its prerequisites are now; but not to what never began.
    let back = record(1, 4, Cause::Failure, &went);
    assert!(look(&back, false, Some(false)).waits.is_empty());
    let put = record(1, 4, Cause::Put, &went);
    assert_eq!(waits(&look(&put, true, None)).len(), 1);
    let third = record(3, 4, Cause::Rollback, &went);
    assert_eq!(waits(&look(&third, true, None)).len(), 1);
}

#[test]
fn a_paused_update_releases_nobody() {
    let mut first = record(1, 1, Cause::Put, &[]);
    let pause = Pause {
        at: Instant(1),
        by: "token:ann".to_owned(),
    };
    first.rollout.as_mut().expect("an update").paused = Some(pause);
    let held = look(&first, true, Some(true));
    assert_eq!(waits(&held), ["web waits until its update goes on"]);
}

/// Whether all can begin one after the other.
fn has_order(after: &[Vec<usize>]) -> bool {
    let mut begun: BTreeSet<usize> = BTreeSet::new();
    for _ in 0..after.len() {
        let free = |t: &usize| after[*t].iter().all(|other| begun.contains(other));
        let more: Vec<usize> = (0..after.len()).filter(free).collect();
        begun.extend(more);
    }
    begun.len() == after.len()
}

/// Who waits for whom; nobody for itself.
fn graph() -> impl Strategy<Value = Vec<Vec<usize>>> {
    (1usize..8).prop_flat_map(|n| {
        let others = prop::collection::btree_set(0..n, 0..3);
        prop::collection::vec(others, n).prop_map(|all| {
            let mut all: Vec<Vec<usize>> = all
                .into_iter()
                .map(|set| set.into_iter().collect())
                .collect();
            for (task, others) in all.iter_mut().enumerate() {
                others.retain(|other| *other != task);
            }
            all
        })
    })
}

proptest! {
    #[test]
    fn without_a_circle_all_can_begin_and_each_circle_is_one(after in graph()) {
        let found = circles(&after);
        prop_assert_eq!(found.is_empty(), has_order(&after));
        for circle in found {
            let next = circle.iter().skip(1).chain(circle.first());
            for (task, next) in circle.iter().zip(next) {
                prop_assert!(after[*task].contains(next), "{task} does not wait for {next}");
            }
        }
    }

    /// Whatever comes and goes: who was released once stays so until its version changes.
    #[test]
    fn who_is_released_stays_so(looks in prop::collection::vec((1u32..3, any::<bool>(), prop::option::of(any::<bool>())), 1..20)) {
        let mut released: Vec<Released> = Vec::new();
        let mut free: BTreeMap<u32, bool> = BTreeMap::new();
        let mut last = 0;
        for (generation, (version, ready, migrated)) in (1..).zip(looks) {
            let standing = look(&record(version, generation, Cause::Put, &released), ready, migrated);
            let was = last == version && free.get(&version) == Some(&true);
            let is = standing.waits.is_empty();
            prop_assert!(is || !was, "version {version} is held back again");
            prop_assert!(is == (was || (ready && migrated == Some(true))) || last != version);
            free.insert(version, is);
            (last, released) = (version, standing.released);
        }
    }
}
