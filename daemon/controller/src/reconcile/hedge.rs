//! Hedging: the additional allocations of a group, and its end. Both become part of the intent that is stored for the deployment, so a
//! group is whole after any crash. Which places are asked and who stays is `core::hedge`'s.

use std::collections::BTreeSet;

use tradewind_core::{
    event::{Event, Reason, Severity},
    hedge::{self, Hedge, Member, Rival, Verdict},
    manifest::Target,
    names::{AllocationId, TaskName},
    place_health::Place,
    plan::{Desired, Placement},
    record::{AllocationRecord, Stage},
    units::Instant,
};

use crate::{
    lock, reconcile::reconciler::Reconciler, schedule::offers::Room,
    schedule::scheduler::DeploymentWork, state::journal::allocation_event,
};

impl Reconciler {
    /// Brings hedging into what is intended: the rivals of what has just been placed, and the end of the groups whose time has come.
    pub(crate) fn hedge(
        &self,
        work: &DeploymentWork,
        desired: &[Desired],
        records: &mut Vec<AllocationRecord>,
        told: &mut Vec<Event>,
    ) {
        self.add_rivals(work, desired, records, told);
        let behind = work
            .all
            .iter()
            .filter(|r| !records.iter().any(|known| known.id == r.id))
            .cloned();
        records.extend(behind.collect::<Vec<_>>());
        if !work.record.deleting {
            self.end_hedges(work, records, told);
        }
    }

    fn add_rivals(
        &self,
        work: &DeploymentWork,
        desired: &[Desired],
        records: &mut Vec<AllocationRecord>,
        told: &mut Vec<Event>,
    ) {
        let now = self.clock.now();
        let mut rivals = Vec::new();
        // What an update brings up replica by replica is asked for in one place.
        let whole = |r: &AllocationRecord| {
            r.intent.stage == Stage::Intended && r.intent.replicas == r.intent.goal()
        };
        for first in records
            .iter_mut()
            .filter(|r| whole(r) && !work.all.iter().any(|known| known.id == r.id))
        {
            let same = |name: &TaskName, target: &Option<Target>| {
                *name == first.task && *target == first.target
            };
            let policy = work
                .resolved
                .iter()
                .find(|t| same(&t.name, &t.target))
                .and_then(|t| t.hedge);
            let want = desired.iter().find(|d| same(&d.task, &d.target));
            let (Some(policy), Some(want)) = (policy, want) else {
                continue;
            };
            let here = Placement {
                provider: first.intent.provider.clone(),
                offer: first.intent.offer.clone(),
                hourly: first.intent.hourly,
                replicas: first.intent.replicas,
                takes: first.intent.takes,
            };
            let roomy: Vec<Rival> = want
                .rivals
                .iter()
                .filter(|r| self.has_room(first, r))
                .cloned()
                .collect();
            let chosen = hedge::choose(&policy, &here, &roomy);
            if let Some(dear) = chosen.too_dear.first() {
                let message = format!(
                    "{} × {} not asked for on {}/{} as well: the spend cap of the hedge leaves no room for it",
                    dear.replicas, first.task, dear.provider, dear.offer.region
                );
                told.push(allocation_event(
                    Severity::Info,
                    Reason::HedgeLimited,
                    first,
                    message,
                ));
            }
            if chosen.asked.is_empty() {
                continue;
            }
            let member = |rank| Hedge {
                group: first.id.clone(),
                rank,
                until: now.plus(policy.within),
            };
            for (rank, placement) in (1u32..).zip(chosen.asked) {
                let mut rival = first.clone();
                rival.id = AllocationId::new(&self.installation, self.ids.draw());
                rival.intent.provider = placement.provider;
                rival.intent.offer = placement.offer;
                rival.intent.hourly = placement.hourly;
                rival.intent.takes = placement.takes;
                rival.intent.hedge = Some(member(rank));
                rivals.push(rival);
            }
            first.intent.hedge = Some(member(0));
            // What this group asks for is not there for the next one.
            self.reserve(&mut lock(&self.cache), &[], &rivals);
        }
        records.append(&mut rivals);
    }

    /// Whether a place has room for all replicas of an allocation beside what it has promised.
    fn has_room(&self, first: &AllocationRecord, rival: &Rival) -> bool {
        let mut there = first.clone();
        there.intent.provider = rival.placement.provider.clone();
        there.intent.offer = rival.placement.offer.clone();
        let room = self.quotes.room(
            &lock(&self.cache),
            &there,
            &first.intent.workload.resources,
            self.options.offers_ttl,
        );
        matches!(room, Room::Replicas(free) if free >= first.intent.replicas)
    }

    /// Ends the groups whose time has come: the first that is ready stays, the others go.
    fn end_hedges(
        &self,
        work: &DeploymentWork,
        records: &mut [AllocationRecord],
        told: &mut Vec<Event>,
    ) {
        let groups: BTreeSet<AllocationId> = records
            .iter()
            .filter_map(|r| r.intent.hedge.as_ref().map(|h| h.group.clone()))
            .collect();
        if groups.is_empty() {
            return;
        }
        let now = self.clock.now();
        let ready: BTreeSet<AllocationId> = {
            let cache = lock(&self.cache);
            let lives = cache
                .deployments
                .get(&work.key)
                .into_iter()
                .flat_map(|e| e.allocations.values());
            lives
                .filter(|l| l.is_ready())
                .map(|l| l.record.id.clone())
                .collect()
        };
        for group in groups {
            let mut members: Vec<&mut AllocationRecord> = records
                .iter_mut()
                .filter(|r| {
                    r.intent.stage != Stage::Removing
                        && r.intent.hedge.as_ref().is_some_and(|h| h.group == group)
                })
                .collect();
            self.end_hedge(&mut members, &ready, now, told);
        }
    }

    fn end_hedge(
        &self,
        members: &mut [&mut AllocationRecord],
        ready: &BTreeSet<AllocationId>,
        now: Instant,
        told: &mut Vec<Event>,
    ) {
        let rank = |r: &AllocationRecord| r.intent.hedge.as_ref().map_or(0, |h| h.rank);
        members.sort_by_key(|r| rank(r));
        let Some(first) = members.first().map(|r| (**r).clone()) else {
            return;
        };
        let until = first.intent.hedge.as_ref().map_or(now, |h| h.until);
        let judged: Vec<Member> = members
            .iter()
            .map(|r| Member::of(r, ready.contains(&r.id), &first))
            .collect();
        match hedge::judge(&judged, until, now) {
            Verdict::Wait(_) => {}
            Verdict::Keep(kept) => {
                for r in members.iter_mut() {
                    if rank(r) == kept {
                        r.intent.hedge = None;
                        if judged.len() > 1 {
                            let message = format!(
                                "{} × {} stays on {}",
                                r.intent.replicas,
                                r.task,
                                Place::of(r)
                            );
                            told.push(allocation_event(
                                Severity::Info,
                                Reason::HedgeWon,
                                r,
                                message,
                            ));
                        }
                    } else {
                        r.intent.stage = Stage::Removing;
                    }
                }
            }
            Verdict::GiveUp => {
                for r in members.iter_mut() {
                    r.intent.stage = Stage::Removing;
                    self.place_health
                        .cool_down(r, "it did not become ready in time");
                }
                let message = format!(
                    "none of {} places of {} has become ready in time",
                    members.len(),
                    first.task
                );
                told.push(allocation_event(
                    Severity::Warning,
                    Reason::HedgeGivenUp,
                    &first,
                    message,
                ));
            }
        }
    }
}

/// Of a deployment's records, those that the plan counts: of an open group only the first.
pub(crate) fn visible(all: &[AllocationRecord]) -> Vec<AllocationRecord> {
    all.iter()
        .filter(|r| !hedge::stands_behind(r, all))
        .cloned()
        .collect()
}

/// When the next open group ends by itself.
pub(crate) fn next_end(records: &[AllocationRecord]) -> Option<Instant> {
    records
        .iter()
        .filter(|r| r.intent.stage != Stage::Removing)
        .filter_map(|r| r.intent.hedge.as_ref().map(|h| h.until))
        .min()
}
