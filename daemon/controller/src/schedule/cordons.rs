//! Cordons while a batch is decided: what a task has at places that take nothing new is kept out of the policy's hands, and what leaves a drained
//! place stays there when no other has room. What becomes of each allocation is `core::cordon`'s to say.

use std::{borrow::Cow, collections::BTreeSet};

use tradewind_core::{
    cordon::{AtCordons, Cordons},
    manifest::Resolved,
    names::InstanceName,
    placement::{Exclusion, Table, Want},
    plan::{self, Placement, stored::Adoption},
    record::AllocationRecord,
    units::Instant,
    workload::Phase,
};

use crate::schedule::{policy_call::Decided, scheduler::DeploymentWork};

/// What an open task has at cordoned places.
#[derive(Debug, Default)]
pub(crate) struct Stays {
    /// Goes on there.
    stay: Vec<Placement>,
    /// Goes on there if there is no room elsewhere.
    pub(crate) last: Vec<Placement>,
    spots: BTreeSet<(InstanceName, String)>,
}

/// What each task of a deployment has at cordoned places.
pub(crate) fn look(cordons: &Cordons, work: &DeploymentWork, now: Instant) -> Vec<AtCordons> {
    let tasks = work.resolved.iter();
    tasks
        .map(|task| cordons.look(task, &work.actual, now))
        .collect()
}

/// Whether places that were decided earlier can be taken over under these cordons.
pub(crate) fn admit(
    cordons: &Cordons,
    found: &[AtCordons],
    work: &DeploymentWork,
    adoption: &Adoption,
) -> bool {
    let mut tasks = work.resolved.iter().zip(found);
    tasks.all(|(task, at)| {
        let places = adoption.places(task);
        places.is_none_or(|(placements, _)| at.admits(&placements, cordons))
    })
}

/// What there is of a deployment without what has made way at a cordoned place and may not take over again there.
pub(crate) fn returning<'w>(
    cordons: &Cordons,
    at: &AtCordons,
    work: &'w DeploymentWork,
    task: &Resolved,
    now: Instant,
) -> Cow<'w, [AllocationRecord]> {
    if at.spots.is_empty() {
        return Cow::Borrowed(&work.actual);
    }
    let kept = work.actual.iter().filter(|r| {
        !r.intent.superseded || r.task != task.name || cordons.may_return(r, task, now)
    });
    Cow::Owned(kept.cloned().collect())
}

// === impl Stays ===

impl Stays {
    /// Takes the cordoned places out of a want: nothing of them is open to the policy. `leaves`: it goes for another reason.
    pub(crate) fn of(
        at: &mut AtCordons,
        want: &mut Want,
        work: &DeploymentWork,
        task: &Resolved,
        leaves: impl Fn(&AllocationRecord) -> bool,
    ) -> Self {
        if at.spots.is_empty() {
            return Self::default();
        }
        let spot = |r: &AllocationRecord| (r.intent.provider.clone(), r.intent.offer.id.clone());
        let elsewhere = work.actual.iter().filter(|r| {
            plan::stands_for(r, task)
                && r.status.phase != Phase::Gone
                && !leaves(r)
                && !at.spots.contains(&spot(r))
        });
        let elsewhere = elsewhere.map(|r| r.intent.goal()).sum();
        at.keep(task.replicas, elsewhere);
        want.current
            .retain(|(provider, offer, _)| !at.spots.contains(&(provider.clone(), offer.clone())));
        Self {
            stay: std::mem::take(&mut at.stay),
            last: std::mem::take(&mut at.last),
            spots: std::mem::take(&mut at.spots),
        }
    }

    /// What goes on at its cordoned place, as far as that still suits the task.
    pub(crate) fn staying(&mut self, want: &Want, table: &Table) -> Vec<Placement> {
        let suits = |p: &Placement| match table
            .offers()
            .iter()
            .find(|o| o.provider == p.provider && *o.offer.id == *p.offer.id)
        {
            Some(placed) => matches!(
                table.admits(&want.need, placed, true),
                Ok(()) | Err(Exclusion::Cordoned { .. })
            ),
            // Silence is no reason to move.
            None => {
                let named = &want.need.constraints.providers;
                named.is_empty() || named.contains(&p.provider)
            }
        };
        self.last.retain(suits);
        let mut stay = std::mem::take(&mut self.stay);
        stay.retain(suits);
        stay
    }

    /// Has what found no room elsewhere go on where it is. Answers how many replicas a drained place keeps for that, and why.
    pub(crate) fn keep_last(
        &mut self,
        decided: &mut Decided,
        cordons: &Cordons,
    ) -> Option<(u32, String)> {
        let unplaced = decided.unplaced.as_mut()?;
        let mut stuck = 0u32;
        for mut place in std::mem::take(&mut self.last) {
            place.replicas = place.replicas.min(unplaced.replicas);
            if place.replicas == 0 {
                continue;
            }
            unplaced.replicas -= place.replicas;
            let mut over = cordons.over(&place.provider, &place.offer.region);
            if over.any(|cordon| cordon.drain.is_some()) {
                stuck = stuck.saturating_add(place.replicas);
            }
            decided.placements.push(place);
        }
        let reason = unplaced.reason.clone();
        if unplaced.replicas == 0 {
            decided.unplaced = None;
        }
        (stuck > 0).then_some((stuck, reason))
    }

    /// The task's places as they are, for a decision that does not count: without what was to begin at a cordoned place.
    pub(crate) fn as_it_is(&self, current: Vec<Placement>, stay: &[Placement]) -> Vec<Placement> {
        let closed = |p: &Placement| {
            self.spots
                .contains(&(p.provider.clone(), p.offer.id.clone()))
        };
        let elsewhere = current.into_iter().filter(|p| !closed(p));
        let kept = stay.iter().filter(|p| closed(p)).cloned();
        elsewhere.chain(kept).collect()
    }
}
