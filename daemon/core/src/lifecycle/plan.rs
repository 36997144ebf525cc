//! The plan: desired minus actual. Pure; the same code serves a dry run and the controller.

pub use crate::state::plan::{Placement, preview, stored};

use crate::{
    base::{
        names::{AllocationId, DecisionId, Digest, InstanceName, TaskName},
        units::MicroUsd,
    },
    lifecycle::hedge::Rival,
    schedule::placement::{Need, Want},
    spec::{
        manifest::{Resolved, Since, Target},
        rules::rollout,
        workload::{Phase, Port, Volume, VolumeSource, Workload},
    },
    state::{
        decision::Decision,
        plan::{
            preview::{ChangeAction, Transition},
            stored::{AdoptedTask, Adoption, Running},
        },
        record::{AllocationRecord, Stage},
    },
};

/// What one task of a deployment shall be.
#[derive(Debug, Clone, PartialEq)]
pub struct Desired {
    /// The task.
    pub task: TaskName,
    /// The target whose replicas are meant. `None`: the deployment has no targets.
    pub target: Option<Target>,
    /// What runs.
    pub workload: Workload,
    /// The digest of what the task needs of a place.
    pub need: Digest,
    /// Where its replicas go, as decided.
    pub placements: Vec<Placement>,
    /// In all, those without a place included.
    pub replicas: u32,
    /// Where else it could be asked for, best first; for tasks that hedge.
    pub rivals: Vec<Rival>,
    /// None: nothing had to be decided.
    pub decision: Option<DecisionId>,
    /// What is of earlier runs counts for nothing.
    pub since: Since,
}

impl Adoption {
    /// What a plan takes over of the desired tasks, and of the decision about them.
    pub fn of(desired: &[Desired], decision: Option<Decision>) -> Self {
        let one = |d: &Desired| AdoptedTask {
            task: d.task.clone(),
            target: d.target.clone(),
            replicas: d.replicas,
            placements: d.placements.clone(),
            decided: d.decision.is_some(),
        };
        Self {
            decision,
            tasks: desired.iter().map(one).collect(),
        }
    }
}

impl Running {
    /// What stands for a deployment's tasks, in a fixed order.
    pub fn of(records: &[AllocationRecord]) -> Vec<Self> {
        let stands = |r: &&AllocationRecord| {
            r.serves(&r.task, r.target.as_ref()) && r.status.phase != Phase::Gone
        };
        let one = |r: &AllocationRecord| Self {
            allocation: r.id.clone(),
            task: r.task.clone(),
            provider: r.intent.provider.clone(),
            region: r.intent.offer.region.clone(),
            replicas: r.intent.goal(),
        };
        let mut all: Vec<Self> = records.iter().filter(stands).map(one).collect();
        all.sort_by(|a, b| a.allocation.cmp(&b.allocation));
        all
    }
}

/// One allocation's way from what it is to what it shall be.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// What becomes of the allocation.
    pub action: ChangeAction,
    /// The task that it belongs to.
    pub task: TaskName,
    /// The target that it belongs to. `None`: the deployment has no targets.
    pub target: Option<Target>,
    /// None: it does not exist yet.
    pub allocation: Option<AllocationId>,
    /// After the step; before it for `destroy`.
    pub placement: Placement,
    /// Replicas before the step.
    pub replicas_before: u32,
    /// Of all replicas before the step, per hour.
    pub hourly_before: MicroUsd,
    /// Index into the desired tasks; none for `destroy`.
    pub desired: Option<usize>,
    /// Why it is taken, for people.
    pub why: String,
}

impl Step {
    /// Replicas after the step.
    pub fn replicas_after(&self) -> u32 {
        if self.action == ChangeAction::Destroy {
            0
        } else {
            self.placement.replicas
        }
    }

    /// Of all replicas, per hour.
    pub fn hourly_after(&self) -> MicroUsd {
        self.placement
            .hourly
            .saturating_mul(u64::from(self.replicas_after()))
    }
}

/// The digest that tells whether an allocation still fits what its task needs.
pub fn need_digest(need: &Need) -> Digest {
    // A need is plain data: serialising it can't fail, and an empty text would only cost one more decision.
    Digest::of(&serde_json::to_vec(need).unwrap_or_default())
}

/// Whether an allocation stands for a task as it is wanted now: of a job that runs again, what belongs to the new run alone.
pub fn stands_for(record: &AllocationRecord, task: &Resolved) -> bool {
    record.serves(&task.name, task.target.as_ref()) && record.intent.is_of(task.since)
}

/// Where a task runs now, when that is all it needs: no decision is owed then.
pub fn settled(
    task: &Resolved,
    need: Digest,
    actual: &[AllocationRecord],
) -> Option<Vec<Placement>> {
    if task.replicas == 0 {
        return Some(Vec::new());
    }
    let mine: Vec<_> = actual.iter().filter(|r| stands_for(r, task)).collect();
    let replicas: u64 = mine.iter().map(|r| u64::from(r.intent.goal())).sum();
    let fits = replicas == u64::from(task.replicas)
        && mine
            .iter()
            .all(|r| r.intent.need == need && r.status.phase != Phase::Gone);
    let back =
        || returning(task, need, actual).map(|all| all.into_iter().map(placement_of).collect());
    // What still runs of the wanted version goes before what has been begun in its stead.
    let begun = || {
        mine.iter()
            .any(|r| !needs_new_replicas(&r.intent.workload, &task.workload))
    };
    match back() {
        Some(there) if !begun() => Some(there),
        _ => fits.then(|| mine.iter().map(|r| placement_of(r)).collect()),
    }
}

/// What gives way to another version and is what is wanted again, if it is all of it: it needs no place, since it has one.
fn returning<'a>(
    task: &Resolved,
    need: Digest,
    actual: &'a [AllocationRecord],
) -> Option<Vec<&'a AllocationRecord>> {
    let is_back = |r: &&AllocationRecord| takes_over(r, task, need);
    let all: Vec<_> = actual.iter().filter(is_back).collect();
    let replicas: u64 = all.iter().map(|r| u64::from(r.intent.goal())).sum();
    let distinct = all.iter().enumerate().all(|(i, a)| {
        !all.iter().skip(i + 1).any(|b| {
            a.intent.provider == b.intent.provider && a.intent.offer.id == b.intent.offer.id
        })
    });
    (replicas == u64::from(task.replicas) && distinct).then_some(all)
}

/// Whether what gives way could be taken back for a task as it is wanted now.
pub(crate) fn takes_over(record: &AllocationRecord, task: &Resolved, need: Digest) -> bool {
    let same = record.task == task.name
        && record.target == task.target
        && record.intent.stage != Stage::Removing;
    same && record.intent.need == need
        && !needs_new_replicas(&record.intent.workload, &task.workload)
        && returns(record)
}

/// Where a task runs now, enough or not.
pub fn current(task: &Resolved, actual: &[AllocationRecord]) -> Vec<Placement> {
    let mine = actual
        .iter()
        .filter(|r| stands_for(r, task) && r.status.phase != Phase::Gone);
    mine.map(placement_of).collect()
}

/// What the policy shall take into account of where a task runs now.
pub fn with_current(mut want: Want, task: &Resolved, actual: &[AllocationRecord]) -> Want {
    let mine = actual
        .iter()
        .filter(|r| stands_for(r, task) && r.status.phase != Phase::Gone);
    // An intended allocation has no effect yet, but its place is promised.
    want.current = mine
        .map(|r| {
            (
                r.intent.provider.clone(),
                r.intent.offer.id.clone(),
                r.intent.goal().max(r.intent.replicas),
            )
        })
        .collect();
    // What gives way holds room for its return.
    let need = need_digest(&Need::of(task));
    for back in actual.iter().filter(|r| takes_over(r, task, need)) {
        match want.current.iter_mut().find(|(provider, offer, _)| {
            *provider == back.intent.provider && *offer == back.intent.offer.id
        }) {
            Some((_, _, replicas)) => *replicas = (*replicas).max(back.intent.replicas),
            None => want.current.push((
                back.intent.provider.clone(),
                back.intent.offer.id.clone(),
                back.intent.replicas,
            )),
        }
    }
    want
}

/// Places of a task whose provider gives no offers at the moment. They stay as they are: silence is no reason to move.
pub fn on_silent_providers<'a>(
    task: &Resolved,
    actual: impl Iterator<Item = &'a AllocationRecord>,
    answers: impl Fn(&InstanceName) -> bool,
) -> Vec<Placement> {
    let allowed = |p: &InstanceName| {
        task.constraints.providers.is_empty() || task.constraints.providers.contains(p)
    };
    let mine = actual.filter(|r| stands_for(r, task) && r.status.phase != Phase::Gone);
    let mut left = task.replicas;
    let silent = mine
        .filter(|r| !answers(&r.intent.provider) && allowed(&r.intent.provider))
        .map(placement_of);
    let kept = silent.map(|mut p| {
        p.replicas = p.replicas.min(left);
        left -= p.replicas;
        p
    });
    kept.filter(|p| p.replicas > 0).collect()
}

/// Where an allocation is.
pub fn placement_of(record: &AllocationRecord) -> Placement {
    Placement {
        provider: record.intent.provider.clone(),
        offer: record.intent.offer.clone(),
        hourly: record.intent.hourly,
        replicas: record.intent.goal(),
        takes: record.intent.takes,
    }
}

/// Whether two versions of a workload differ in more than what a provider changes about running replicas.
pub fn needs_new_replicas(old: &Workload, new: &Workload) -> bool {
    old != new && {
        let mut same = old.clone();
        (same.labels, same.scaling) = (new.labels.clone(), new.scaling.clone());
        same != *new
    }
}

/// Whether replicas of two versions can run side by side. Ports that are the machine's or the callers' own, and volumes that outlive a
/// replica, belong to one at a time.
pub fn overlaps(workload: &Workload) -> bool {
    let own_port = |p: &Port| p.published.is_some() || (workload.image.is_none() && p.number != 0);
    let own_volume =
        |v: &Volume| !v.read_only && matches!(v.source, VolumeSource::Persistent { .. });
    !workload.ports.iter().any(own_port) && !workload.volumes.iter().any(own_volume)
}

/// The numbers of ports that a workload wants of the machine it runs on. A machine has each once: a plain command listens on it itself, and an
/// image's port is published on it.
pub fn machine_ports(workload: &Workload) -> Vec<u16> {
    let number = |p: &Port| match (p.published.unwrap_or(0), workload.image.is_none()) {
        (0, true) => p.number,
        (published, _) => published,
    };
    workload
        .ports
        .iter()
        .map(number)
        .filter(|n| *n != 0)
        .collect()
}

/// The steps from `actual` to `desired`: what is made or changed first, in the order of the tasks, then what goes.
pub fn plan(desired: &[Desired], actual: &[AllocationRecord]) -> Vec<Step> {
    let mut used: Vec<&AllocationId> = Vec::new();
    let mut steps = Vec::new();
    for (i, want) in desired.iter().enumerate() {
        for placement in &want.placements {
            let same_place = |r: &&AllocationRecord| {
                r.task == want.task
                    && r.target == want.target
                    && r.intent.is_of(want.since)
                    && r.intent.stage != Stage::Removing
                    && r.intent.provider == placement.provider
                    && r.intent.offer.id == placement.offer.id
                    && r.status.phase != Phase::Gone
                    && !used.contains(&&r.id)
            };
            // What is of the wanted version takes over again, even when it has been given up before.
            let fits = |r: &&AllocationRecord| {
                r.intent.need == want.need
                    && !needs_new_replicas(&r.intent.workload, &want.workload)
            };
            let here = || actual.iter().filter(same_place);
            let serving = |r: &&AllocationRecord| r.serves(&want.task, want.target.as_ref());
            let existing = here().find(|r| serving(r) && fits(r));
            let existing = existing
                .or_else(|| here().find(|r| fits(r) && returns(r)))
                .or_else(|| here().find(serving));
            let (action, why) = match existing {
                None => (ChangeAction::Create, "nothing of it runs there".to_owned()),
                Some(r) => change(r, want, placement),
            };
            used.extend(existing.map(|r| &r.id));
            steps.push(Step {
                action,
                task: want.task.clone(),
                target: want.target.clone(),
                allocation: existing.map(|r| r.id.clone()),
                placement: placement.clone(),
                replicas_before: existing.map_or(0, |r| r.intent.replicas),
                hourly_before: existing.map_or(MicroUsd(0), AllocationRecord::hourly_total),
                desired: Some(i),
                why,
            });
        }
    }
    let gone = actual.iter().filter(|r| !used.contains(&&r.id));
    steps.extend(gone.map(|r| destroy(r, || why_gone(r, desired))));
    steps
}

/// How the replicas of a step come to the new specification. None: they are not updated. `strategy`: the task's.
pub fn transition(
    step: &Step,
    desired: &[Desired],
    actual: &[AllocationRecord],
    strategy: rollout::Strategy,
) -> Option<Transition> {
    let want = desired.get(step.desired?)?;
    let id = step.allocation.as_ref()?;
    let record = actual.iter().find(|r| r.id == *id)?;
    if step.action != ChangeAction::Update {
        return None;
    }
    let (old, new) = (&record.intent.workload, &want.workload);
    if !needs_new_replicas(old, new) {
        return Some(Transition::InPlace);
    }
    if !overlaps(old) || !overlaps(new) {
        return Some(Transition::Recreate);
    }
    Some(match strategy {
        rollout::Strategy::Rolling => Transition::Rolling,
        rollout::Strategy::Recreate => Transition::Recreate,
        rollout::Strategy::Canary => Transition::Canary,
        rollout::Strategy::BlueGreen => Transition::BlueGreen,
    })
}

/// The steps that remove all of a deployment that is deleted.
pub fn deletion(actual: &[AllocationRecord]) -> Vec<Step> {
    let deleted = || "its deployment is deleted".to_owned();
    actual.iter().map(|r| destroy(r, deleted)).collect()
}

/// `why`: for what is still there and wanted there.
fn destroy(record: &AllocationRecord, why: impl FnOnce() -> String) -> Step {
    let why = match (record.status.phase, record.intent.stage) {
        (Phase::Gone, _) => "it has disappeared at the provider".to_owned(),
        (_, Stage::Removing) => "it is being removed".to_owned(),
        _ => why(),
    };
    Step {
        action: ChangeAction::Destroy,
        task: record.task.clone(),
        target: record.target.clone(),
        allocation: Some(record.id.clone()),
        placement: placement_of(record),
        replicas_before: record.intent.replicas,
        hourly_before: record.hourly_total(),
        desired: None,
        why,
    }
}

/// Whether what gives way could take over again: what works, and jobs that have ended.
fn returns(record: &AllocationRecord) -> bool {
    let sound = !record.status.lost && record.status.recovery.here == 0;
    let works = matches!(
        record.status.phase,
        Phase::Running | Phase::Starting | Phase::Pending
    );
    record.intent.superseded && ((sound && works) || record.is_over())
}

fn change(
    record: &AllocationRecord,
    want: &Desired,
    placement: &Placement,
) -> (ChangeAction, String) {
    if record.intent.superseded {
        (
            ChangeAction::Update,
            "its replicas still run, and take over again".to_owned(),
        )
    } else if record.intent.workload != want.workload || record.intent.need != want.need {
        let why = if needs_new_replicas(&record.intent.workload, &want.workload) {
            "new replicas take the place of the old ones"
        } else {
            "its replicas run on, and are changed in place"
        };
        (ChangeAction::Update, why.to_owned())
    } else if record.intent.goal() != placement.replicas {
        (
            ChangeAction::Resize,
            format!("{} → {} replicas", record.intent.goal(), placement.replicas),
        )
    } else {
        (ChangeAction::Keep, "it is as it should be".to_owned())
    }
}

fn why_gone(record: &AllocationRecord, desired: &[Desired]) -> String {
    let of_task = || desired.iter().filter(|d| d.task == record.task);
    let wanted = of_task().find(|d| d.target == record.target);
    let elsewhere = of_task().next().is_some();
    match wanted {
        Some(d) if !record.intent.is_of(d.since) => "it runs again from the beginning".to_owned(),
        Some(d) if d.placements.is_empty() => {
            "no replica of it is wanted, or none has a place".to_owned()
        }
        Some(_) => "its replicas go elsewhere".to_owned(),
        None if elsewhere && record.target.is_some() => {
            "its target is not in the manifest any more".to_owned()
        }
        None if elsewhere => "its task goes to targets now".to_owned(),
        None => "its task is not in the manifest any more".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::spec::workload::ChosenOffer;

    use super::*;
    use crate::{
        base::{
            names::{DeploymentName, Namespace},
            units::Instant,
        },
        state::record::{AllocationStatus, Handle, Intent},
    };

    const OFFERS: [&str; 4] = ["a", "b", "c", "d"];

    fn workload(variant: u8) -> Workload {
        let manifest = format!(
            r#"{{"apiVersion":"tradewind.dev/v1","kind":"CloudDeployment","metadata":{{"name":"x"}},
               "spec":{{"services":{{"t0":{{"command":["run","{variant}"]}}}}}}}}"#
        );
        let manifest = serde_json::from_str(&manifest).expect("a manifest");
        crate::spec::manifest::resolve(&manifest).remove(0).workload
    }

    fn placement(offer: &str, replicas: u32) -> Placement {
        let offer = ChosenOffer {
            id: offer.to_owned(),
            region: String::new(),
            zone: String::new(),
            size: String::new(),
            spot: false,
            price: MicroUsd(1),
            labels: Default::default(),
        };
        Placement {
            provider: "p".parse().expect("name"),
            offer,
            hourly: MicroUsd(7),
            replicas,
            takes: None,
        }
    }

    fn desired() -> impl Strategy<Value = Vec<Desired>> {
        let task = (
            proptest::collection::btree_map(0usize..4, 1u32..5, 0..4),
            0u8..2,
        );
        proptest::collection::vec(task, 0..4).prop_map(|tasks| {
            let make =
                |(i, (places, variant)): (usize, (std::collections::BTreeMap<usize, u32>, u8))| {
                    Desired {
                        task: format!("t{i}").parse().expect("name"),
                        target: None,
                        replicas: places.values().sum(),
                        workload: workload(variant),
                        need: Digest::of(&[variant]),
                        rivals: Vec::new(),
                        placements: places
                            .into_iter()
                            .map(|(o, n)| placement(OFFERS[o], n))
                            .collect(),
                        decision: None,
                        since: Since::default(),
                    }
                };
            tasks.into_iter().enumerate().map(make).collect()
        })
    }

    /// What a provider that does as it is told would leave behind.
    fn carry_out(
        desired: &[Desired],
        actual: Vec<AllocationRecord>,
        serial: &mut u32,
    ) -> Vec<AllocationRecord> {
        let steps = plan(desired, &actual);
        let mut after = Vec::new();
        for step in steps.iter().filter(|s| s.action != ChangeAction::Destroy) {
            let want = &desired[step.desired.expect("a step that stays has a task")];
            *serial += 1;
            let id = step
                .allocation
                .clone()
                .unwrap_or_else(|| format!("a-{serial}").parse().expect("id"));
            after.push(AllocationRecord {
                id,
                namespace: Namespace::default_namespace(),
                deployment: "x".parse::<DeploymentName>().expect("name"),
                task: want.task.clone(),
                target: None,
                intent: Intent {
                    provider: step.placement.provider.clone(),
                    offer: step.placement.offer.clone(),
                    hourly: step.placement.hourly,
                    takes: None,
                    replicas: step.placement.replicas,
                    generation: 1,
                    run: 0,
                    workload: want.workload.clone(),
                    need: want.need,
                    decision: None,
                    stage: Stage::Applied,
                    superseded: false,
                    wanted: None,
                    drain: None,
                    traffic: None,
                    attempt: 0,
                    created_at: Instant(0),
                    hedge: None,
                    deadline: None,
                },
                handle: Handle {
                    held: step.placement.replicas,
                    state: None,
                    pinned: false,
                },
                status: AllocationStatus {
                    phase: Phase::Running,
                    meter: None,
                    recovery: Default::default(),
                    lost: false,
                    ended: Default::default(),
                    began: None,
                },
            });
        }
        after
    }

    #[test]
    fn a_machine_s_ports_are_those_that_somebody_fixed() {
        let of = |more: &str| {
            let manifest = format!(
                r#"{{"apiVersion":"tradewind.dev/v1","kind":"CloudDeployment","metadata":{{"name":"x"}},"spec":{{"services":{{"t":{{{more}}}}}}}}}"#
            );
            machine_ports(
                &crate::spec::manifest::resolve(
                    &serde_json::from_str(&manifest).expect("a manifest"),
                )
                .remove(0)
                .workload,
            )
        };
        assert_eq!(
            of(r#""command":["x"],"ports":{"a":{"port":80},"b":{"protocol":"http"}}"#),
            [80]
        );
        assert_eq!(
            of(r#""image":"x","ports":{"a":{"port":80},"b":{"port":81,"published":8081}}"#),
            [8081],
            "an image's own are its own"
        );
    }

    #[test]
    fn what_goes_says_why() {
        let want = |task: &str, target: Option<&str>| Desired {
            task: task.parse().expect("name"),
            target: target.map(|provider| Target {
                provider: provider.parse().expect("name"),
                region: None,
                platform: None,
            }),
            replicas: 1,
            workload: workload(1),
            need: Digest::of(&[1]),
            rivals: Vec::new(),
            placements: vec![placement("a", 1)],
            decision: None,
            since: Since::default(),
        };
        let mut ran = carry_out(&[want("t0", None)], Vec::new(), &mut 0);
        let why = |steps: Vec<Step>| {
            let gone = steps
                .into_iter()
                .find(|s| s.action == ChangeAction::Destroy);
            gone.expect("something goes").why
        };
        let task = why(plan(&[want("t1", None)], &ran));
        assert!(task.starts_with("its task is not"), "{task}");
        let targets = why(plan(&[want("t0", Some("east"))], &ran));
        assert_eq!(targets, "its task goes to targets now");
        ran[0].target = want("t0", Some("west")).target;
        let target = why(plan(&[want("t0", Some("east"))], &ran));
        assert!(target.starts_with("its target is not"), "{target}");
        assert_eq!(why(deletion(&ran)), "its deployment is deleted");
        ran[0].status.phase = Phase::Gone;
        assert!(why(deletion(&ran)).starts_with("it has disappeared"));
    }

    #[test]
    fn what_runs_again_is_made_anew_and_what_ran_before_goes() {
        let want = Desired {
            task: "t0".parse().expect("name"),
            target: None,
            replicas: 2,
            workload: workload(1),
            need: Digest::of(&[1]),
            rivals: Vec::new(),
            placements: vec![placement("a", 2)],
            decision: None,
            since: Since::default(),
        };
        let ran = carry_out(std::slice::from_ref(&want), Vec::new(), &mut 0);
        let actions = |want: &Desired, actual: &[AllocationRecord]| {
            plan(std::slice::from_ref(want), actual)
                .into_iter()
                .map(|step| step.action)
                .collect::<Vec<_>>()
        };
        assert_eq!(actions(&want, &ran), [ChangeAction::Keep]);
        let again = Desired {
            since: Since {
                generation: 2,
                run: 0,
            },
            ..want
        };
        assert_eq!(
            actions(&again, &ran),
            [ChangeAction::Create, ChangeAction::Destroy]
        );
        let mut runs = ran;
        for r in &mut runs {
            r.intent.generation = 2;
        }
        assert_eq!(actions(&again, &runs), [ChangeAction::Keep]);
    }

    proptest! {
        #[test]
        fn planning_what_is_already_so_changes_nothing(first in desired(), second in desired()) {
            let mut serial = 0;
            let start = carry_out(&first, Vec::new(), &mut serial);
            let reached = carry_out(&second, start, &mut serial);
            let again = plan(&second, &reached);
            prop_assert!(again.iter().all(|s| s.action == ChangeAction::Keep), "{again:?}");
            let wanted: u32 = second.iter().flat_map(|d| &d.placements).map(|p| p.replicas).sum();
            prop_assert_eq!(reached.iter().map(|r| r.intent.replicas).sum::<u32>(), wanted);
        }

        #[test]
        fn every_allocation_is_accounted_for_once(first in desired(), second in desired()) {
            let actual = carry_out(&first, Vec::new(), &mut 0);
            let steps = plan(&second, &actual);
            for record in &actual {
                prop_assert_eq!(steps.iter().filter(|s| s.allocation.as_ref() == Some(&record.id)).count(), 1);
            }
        }
    }
}
