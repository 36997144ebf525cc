//! The laws of an update, against a cloud that starts, fails and heals replicas as it likes.
#![allow(clippy::indexing_slicing, reason = "a test that reaches beyond fails")]

use proptest::{
    prelude::{Just, any, prop_assert, prop_assert_eq, prop_oneof, proptest},
    strategy::Strategy as Law,
};

use super::*;
use crate::base::units::{Instant, Millis};

/// A deployment's task and the cloud it runs on.
struct World {
    n: u32,
    update: Update,
    overlaps: bool,
    groups: Vec<Group>,
    progress: Progress,
    now: Instant,
    promoted: u32,
    paused: bool,
}

fn group(generation: u64, current: bool, wanted: u32, replicas: u32) -> Group {
    Group {
        generation,
        current,
        wanted,
        replicas,
        held: replicas,
        drain: None,
        ready: (0..replicas).collect(),
        known: true,
        traffic: None,
        removing: false,
        lost: false,
        place: 0,
    }
}

impl World {
    /// `old` ready replicas of version 1, and version 2 to come in their place.
    fn updating(n: u32, old: u32, update: Update) -> Self {
        let groups = vec![group(1, false, 0, old), group(2, true, n, 0)];
        let progress = Progress::new("web".parse().expect("name"), None, Instant(0));
        Self {
            n,
            update,
            overlaps: true,
            groups,
            progress,
            now: Instant(0),
            promoted: 0,
            paused: false,
        }
    }

    fn task(&self) -> Task<'_> {
        let mut task = Task {
            replicas: self.n,
            update: &self.update,
            overlaps: self.overlaps,
            service: true,
            back: false,
            room_known: true,
            groups: self.groups.clone(),
            room: Default::default(),
            promoted: self.promoted,
            switch: false,
            paused: self.paused,
        };
        task.switch = prepared(&task);
        task
    }

    fn existing(&self) -> u32 {
        self.groups.iter().map(|g| g.held.max(g.replicas)).sum()
    }

    fn ready(&self) -> u32 {
        self.groups.iter().map(|g| g.ready.len() as u32).sum()
    }

    /// One look; the intents are stored, nothing has been carried out yet.
    fn look(&mut self) -> Moves {
        let mut progress = self.progress.clone();
        let moves = advance(&self.task(), &mut progress, self.now);
        self.progress = progress;
        for (group, to) in self.groups.iter_mut().zip(&moves.groups) {
            (group.replicas, group.drain, group.traffic) = (to.replicas, to.drain, to.traffic);
            group.held = group.held.max(group.replicas);
        }
        moves
    }

    /// The provider has done what was intended for a group; new replicas are not ready yet.
    fn carry_out(&mut self, i: usize) {
        let group = &mut self.groups[i];
        group.held = group.replicas;
        let replicas = group.replicas;
        group.ready.retain(|r| *r < replicas);
    }

    /// Everything goes well from here on.
    fn settle(&mut self, most: usize) -> Option<Moves> {
        for _ in 0..most {
            for i in 0..self.groups.len() {
                self.carry_out(i);
                self.groups[i].ready = (0..self.groups[i].replicas).collect();
            }
            let moves = self.look();
            if moves.verdict == Verdict::Done {
                return Some(moves);
            }
            if matches!(moves.verdict, Verdict::Holding { until: None, .. }) {
                self.promoted += 1;
            }
            self.now = moves.again.unwrap_or(self.now.plus(Millis(1)));
        }
        None
    }
}

fn shares() -> impl Law<Value = (Share, Share)> {
    let share = prop_oneof![
        (0u32..4).prop_map(Share::Count),
        (0u32..101).prop_map(|p| Share::Percent(Percent(p)))
    ];
    (share.clone(), share).prop_filter("something moves", |(a, b)| !(a.is_none() && b.is_none()))
}

fn update() -> impl Law<Value = Update> {
    let strategy = prop_oneof![
        Just(Strategy::Rolling),
        Just(Strategy::Canary),
        Just(Strategy::BlueGreen),
        Just(Strategy::Recreate)
    ];
    (
        strategy,
        shares(),
        0u64..3,
        prop_oneof![Just(None), Just(Some(Millis(5)))],
    )
        .prop_map(|(strategy, (surge, unavailable), drain, hold)| Update {
            strategy,
            max_surge: surge,
            max_unavailable: unavailable,
            drain: Millis(drain),
            keep: Millis(7),
            steps: vec![
                CanaryStep {
                    weight: Percent(10),
                    hold,
                },
                CanaryStep {
                    weight: Percent(50),
                    hold: Some(Millis(3)),
                },
            ],
            ..Update::default()
        })
}

proptest! {
    /// With replicas that become ready, fail and recover in any order, and calls that take any time: never more than surge above, and
    /// never below availability as long as what was taken away had not failed by itself.
    #[test]
    fn an_update_keeps_within_its_bounds(
        n in 1u32..9, update in update(), happenings in proptest::collection::vec((0u8..5, 0usize..2, 0u32..12), 1..120),
    ) {
        let mut w = World::updating(n, n, update);
        let (surge, unavailable) = w.update.bounds(n);
        let most = if w.update.strategy == Strategy::BlueGreen { 2 * n } else { n + surge };
        let least = if w.update.strategy == Strategy::Recreate { 0 } else { n - unavailable };
        for (what, i, k) in happenings {
            match what {
                0 => w.carry_out(i),
                // Only new replicas come and fail: the old ones work.
                1 if k < w.groups[1].held.min(w.groups[1].replicas) => { w.groups[1].ready.insert(k); }
                2 => w.now = w.now.plus(Millis(u64::from(k))),
                3 => w.promoted += u32::from(k == 0),
                _ => { w.look(); }
            }
            prop_assert!(w.existing() <= most, "{} of at most {most}: {:?}", w.existing(), w.groups);
            prop_assert!(w.ready() >= least, "{} ready of at least {least}: {:?}", w.ready(), w.groups);
        }
    }

    /// From any leftovers the goal is reached once nothing fails any more, and stays reached.
    #[test]
    fn from_any_state_the_goal_is_reached(
        n in 0u32..7, update in update(), overlaps in any::<bool>(),
        leftovers in proptest::collection::vec((1u64..4, 0u32..6, 0u32..6, any::<bool>()), 0..4),
        current in (0u32..9, 0u32..9),
        step in 0u32..4,
    ) {
        let mut w = World::updating(n, 0, update);
        w.overlaps = overlaps;
        w.groups.clear();
        for (generation, replicas, ready, drains) in leftovers {
            let mut g = group(generation, false, 0, replicas);
            g.ready = (0..ready.min(replicas)).collect();
            g.drain = drains.then_some(Drain { to: ready.min(replicas), since: Instant(0) });
            w.groups.push(g);
        }
        let (replicas, ready) = current;
        let mut g = group(4, true, n, replicas);
        g.ready = (ready..replicas).collect();
        w.groups.push(g);
        w.progress.step = step;
        let done = w.settle(200);
        prop_assert!(done.is_some(), "{:?} {:?}", w.groups, w.progress);
        prop_assert_eq!(w.existing(), n);
        prop_assert!(w.groups.iter().all(|g| g.current || g.replicas == 0));
        // Planning what is already so changes nothing.
        let before = w.groups.clone();
        w.look();
        prop_assert_eq!(w.groups, before);
    }

    /// Whenever an update is paused, whatever comes and fails: what runs goes on, nothing more is replaced, and what is lost of the new
    /// version comes back. Once it goes on, it reaches its goal.
    #[test]
    fn a_paused_update_takes_no_step_and_keeps_what_runs(
        n in 1u32..7, update in update(), before in 0usize..20,
        happenings in proptest::collection::vec((0u8..4, 0u32..12), 0..40),
    ) {
        let mut w = World::updating(n, n, update);
        w.settle(before);
        for i in 0..2 {
            w.carry_out(i);
        }
        w.paused = true;
        w.look();
        let hold = w.progress.hold.expect("it is paused");
        let step = (w.progress.step, w.progress.switched);
        for (what, k) in happenings {
            match what {
                0 => w.carry_out(1),
                1 => w.now = w.now.plus(Millis(u64::from(k))),
                2 => w.promoted += 1,
                // The place of a new replica is lost, and its replacement begins from nothing.
                _ if w.groups[1].replicas > 0 => {
                    w.groups[1].replicas -= 1;
                    w.groups[1].held = w.groups[1].replicas;
                    w.groups[1].ready.clear();
                }
                _ => {}
            }
            w.look();
            prop_assert!(w.groups[1].replicas <= hold.new, "{:?} {hold:?}", w.groups);
            let old = &w.groups[0];
            let serving = old.drain.map_or(old.replicas, |drain| drain.to.min(old.replicas));
            prop_assert!(serving >= hold.old, "{:?} {hold:?}", w.groups);
            prop_assert_eq!((w.progress.step, w.progress.switched), step);
        }
        w.carry_out(1);
        w.look();
        prop_assert_eq!(w.groups[1].replicas, hold.new.min(n), "what was lost comes back: {:?}", w.groups);
        w.paused = false;
        prop_assert!(w.settle(200).is_some(), "{:?} {:?}", w.groups, w.progress);
        prop_assert!(w.progress.hold.is_none() && w.groups[1].replicas == n);
    }

    /// What is created has room.
    #[test]
    fn no_move_exceeds_the_room(n in 1u32..9, update in update(), room in 0u32..4) {
        let w = World::updating(n, n, update);
        let mut task = w.task();
        task.room.insert(0, room);
        let mut progress = w.progress.clone();
        let moves = advance(&task, &mut progress, w.now);
        prop_assert!(moves.groups[1].replicas <= room);
    }
}

#[test]
fn a_canary_holds_its_steps_and_shifts_the_traffic() {
    let update = Update {
        strategy: Strategy::Canary,
        drain: Millis(0),
        steps: vec![
            CanaryStep {
                weight: Percent(10),
                hold: None,
            },
            CanaryStep {
                weight: Percent(50),
                hold: Some(Millis(10)),
            },
        ],
        ..Update::default()
    };
    let mut w = World::updating(10, 10, update);
    let settle = |w: &mut World| {
        for _ in 0..40 {
            w.look();
            for i in 0..2 {
                w.carry_out(i);
                w.groups[i].ready = (0..w.groups[i].replicas).collect();
            }
        }
        w.look()
    };
    let held = settle(&mut w);
    assert_eq!(
        held.verdict,
        Verdict::Holding {
            step: 0,
            until: None
        }
    );
    assert_eq!((w.groups[0].replicas, w.groups[1].replicas), (9, 1));
    assert_eq!(
        (w.groups[0].traffic, w.groups[1].traffic),
        (Some(900), Some(100))
    );
    w.promoted = 1;
    let held = settle(&mut w);
    assert_eq!(
        held.verdict,
        Verdict::Holding {
            step: 1,
            until: Some(Instant(10))
        }
    );
    assert_eq!((w.groups[0].replicas, w.groups[1].replicas), (5, 5));
    w.now = Instant(10);
    assert_eq!(settle(&mut w).verdict, Verdict::Done);
    assert_eq!(
        (
            w.groups[0].replicas,
            w.groups[1].replicas,
            w.groups[1].traffic
        ),
        (0, 10, None)
    );
}

#[test]
fn blue_green_switches_once_and_keeps_the_old_set_for_a_while() {
    let update = Update {
        strategy: Strategy::BlueGreen,
        keep: Millis(100),
        drain: Millis(0),
        ..Update::default()
    };
    let mut w = World::updating(3, 3, update);
    w.look();
    assert_eq!(
        (
            w.groups[0].replicas,
            w.groups[1].replicas,
            w.groups[1].traffic
        ),
        (3, 3, Some(0))
    );
    w.carry_out(1);
    w.groups[1].ready = [0, 1].into();
    assert_eq!(w.look().verdict, Verdict::Progressing);
    w.groups[1].ready = [0, 1, 2].into();
    assert_eq!(
        w.look().verdict,
        Verdict::Keeping {
            until: Instant(100)
        }
    );
    assert_eq!(
        (
            w.groups[0].replicas,
            w.groups[0].traffic,
            w.groups[1].traffic
        ),
        (3, Some(0), Some(1000))
    );
    w.now = Instant(100);
    w.look();
    w.carry_out(0);
    assert_eq!((w.look().verdict, w.groups[0].replicas), (Verdict::Done, 0));
}

#[test]
fn a_dead_replica_of_the_old_version_does_not_block_the_one_that_mends_it() {
    let mut w = World::updating(
        2,
        2,
        Update {
            drain: Millis(0),
            ..Update::default()
        },
    );
    w.groups[0].ready = [1].into();
    assert!(w.settle_new(60), "{:?}", w.groups);
}

#[test]
fn what_was_taken_for_a_replica_that_has_died_goes_on_as_long_as_it_runs() {
    let mut w = World::updating(
        2,
        2,
        Update {
            drain: Millis(10),
            ..Update::default()
        },
    );
    w.look();
    w.carry_out(1);
    w.groups[1].ready = [0].into();
    w.look();
    assert_eq!(
        w.groups[0].drain,
        Some(Drain {
            to: 1,
            since: Instant(0)
        })
    );
    w.groups[1].ready.clear();
    w.now = Instant(5);
    w.look();
    assert_eq!(
        (w.groups[0].replicas, w.groups[0].drain),
        (2, None),
        "it is given back"
    );
    w.now = Instant(30);
    w.look();
    assert_eq!(w.groups[0].replicas, 2);
}

#[test]
fn a_return_without_room_takes_from_the_version_that_failed() {
    let w = World::updating(
        4,
        2,
        Update {
            drain: Millis(0),
            ..Update::default()
        },
    );
    let mut task = w.task();
    (
        task.groups[1].replicas,
        task.groups[1].held,
        task.groups[1].ready,
    ) = (2, 2, (0..2).collect());
    task.room.insert(0, 0);
    let mut progress = w.progress.clone();
    let stuck = advance(&task, &mut progress.clone(), w.now);
    assert_eq!(
        (
            stuck.groups[0].replicas,
            stuck.groups[1].replicas,
            stuck.crowded
        ),
        (2, 2, true),
        "forward, nothing is taken away"
    );
    (task.back, task.room_known) = (true, false);
    let asked = advance(&task, &mut progress.clone(), w.now);
    assert_eq!(
        (asked.groups[0].replicas, asked.groups[1].replicas),
        (2, 2),
        "first the room is asked for"
    );
    task.room_known = true;
    let moves = advance(&task, &mut progress, w.now);
    assert_eq!((moves.groups[0].replicas, moves.groups[1].replicas), (1, 2));
}

impl World {
    /// Only new replicas become ready.
    fn settle_new(&mut self, most: usize) -> bool {
        (0..most).any(|_| {
            self.carry_out(0);
            self.carry_out(1);
            self.groups[1].ready = (0..self.groups[1].replicas).collect();
            self.look().verdict == Verdict::Done
        })
    }
}

#[test]
fn a_pause_counts_against_no_deadline_and_ends_with_a_failure() {
    let told = |sick: Option<&str>| Told {
        verdict: Verdict::Progressing,
        moved: Instant(0),
        deadline: Millis(10),
        sick: sick.map(str::to_owned),
        lacks: None,
    };
    let task = Progress {
        since: Some(Instant(3)),
        ..Progress::new("web".parse().expect("a name"), None, Instant(0))
    };
    let mut rollout = Rollout::new(2, Some(1), Cause::Put, Instant(0));
    rollout.tasks = vec![task];
    assert!(rollout.pause("token:ann", Instant(5)) && !rollout.pause("token:bob", Instant(6)));
    assert_eq!(
        rollout.judge(&[told(None)], Instant(1_000)),
        (Standing::Same, None)
    );
    let mut sick = rollout.clone();
    assert_eq!(
        sick.judge(&[told(Some("it ends"))], Instant(1_000)).0,
        Standing::Failed("it ends".to_owned())
    );
    assert!(sick.paused.is_none() && !sick.resume(Instant(1_001)));
    assert!(rollout.resume(Instant(1_005)) && !rollout.resume(Instant(1_006)));
    assert_eq!(
        (rollout.tasks[0].since, rollout.tasks[0].moved),
        (Some(Instant(1_003)), Instant(1_005)),
        "a step's hold goes on where it was"
    );
}

#[test]
fn an_update_without_progress_fails_and_a_sick_one_at_once() {
    let told = |verdict, moved, sick: Option<&str>| Told {
        verdict,
        moved: Instant(moved),
        deadline: Millis(10),
        sick: sick.map(str::to_owned),
        lacks: None,
    };
    let mut rollout = Rollout::new(2, Some(1), Cause::Put, Instant(0));
    assert_eq!(
        rollout.judge(&[told(Verdict::Progressing, 0, None)], Instant(5)),
        (Standing::Same, Some(Instant(10)))
    );
    let held = told(
        Verdict::Holding {
            step: 0,
            until: None,
        },
        0,
        None,
    );
    assert_eq!(
        rollout.judge(std::slice::from_ref(&held), Instant(50)).0,
        Standing::Changed,
        "waiting has no deadline"
    );
    let mut sick = rollout.clone();
    assert_eq!(
        sick.judge(
            &[
                held,
                told(Verdict::Done, 0, Some("web: it ends again and again"))
            ],
            Instant(50)
        )
        .0,
        { Standing::Failed("web: it ends again and again".to_owned()) }
    );
    rollout.tasks = vec![Progress::new(
        "web".parse().expect("a name"),
        None,
        Instant(0),
    )];
    let lost = told(Verdict::Progressing, 0, None);
    assert_eq!(
        rollout.judge(std::slice::from_ref(&lost), Instant(55)),
        (Standing::Changed, Some(Instant(65))),
        "the hold takes no time from it"
    );
    assert_eq!(rollout.tasks[0].moved, Instant(55));
    assert_eq!(
        rollout.judge(&[told(Verdict::Progressing, 55, None)], Instant(64)),
        (Standing::Same, Some(Instant(65)))
    );
    assert!(matches!(
        rollout
            .judge(&[told(Verdict::Progressing, 55, None)], Instant(65))
            .0,
        Standing::Failed(_)
    ));
    assert_eq!(
        rollout
            .judge(&[told(Verdict::Done, 45, None)], Instant(60))
            .0,
        Standing::Healthy,
        "late, but whole"
    );
}
