//! Cordons and drains: what becomes of replicas at a place that takes nothing new. Where those that move go is a decision like any other, and
//! how they get there is their task's update. Pure: it knows no clock and nobody who waits.

pub use crate::state::cordon::{CordonRecord, DrainRecord, PLACES};

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    base::{names::InstanceName, units::Instant},
    lifecycle::plan::{self, Placement},
    schedule::placement::{Exclusion, Need, Sheet},
    spec::{
        manifest::Resolved,
        workload::{Phase, Run, Volume, VolumeSource, Workload},
    },
    state::record::{AllocationRecord, Stage},
};

/// What becomes of an allocation at a cordoned place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// What runs goes on.
    Stay,
    /// It goes elsewhere, as its update's bounds allow.
    Move,
    /// It goes elsewhere at once: the drain's deadline has passed.
    MoveNow,
}

/// Every cordon there is, by its place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cordons(BTreeMap<(InstanceName, String), CordonRecord>);

/// One task's allocations at cordoned places.
#[derive(Debug, Default, PartialEq)]
pub struct AtCordons {
    /// Replicas that stay where they are, by their place.
    pub stay: Vec<Placement>,
    /// Replicas that go on where they are when there is no room elsewhere: those that are to move, and those that had made way.
    pub last: Vec<Placement>,
    /// The offers of all of them.
    pub spots: BTreeSet<(InstanceName, String)>,
    /// Something has to be decided: a replica leaves, or would begin there.
    pub is_unsettled: bool,
}

// === impl Cordons ===

impl Cordons {
    /// Takes one in, in the place of an earlier one of the same place.
    pub fn insert(&mut self, record: CordonRecord) {
        self.0
            .insert((record.provider.clone(), record.region.clone()), record);
    }

    /// Lifts that of exactly this place.
    pub fn remove(&mut self, provider: &InstanceName, region: &str) -> Option<CordonRecord> {
        self.0.remove(&(provider.clone(), region.to_owned()))
    }

    /// That of exactly this place.
    pub fn get(&self, provider: &InstanceName, region: &str) -> Option<&CordonRecord> {
        self.0.get(&(provider.clone(), region.to_owned()))
    }

    /// All of them, by place.
    pub fn iter(&self) -> impl Iterator<Item = &CordonRecord> {
        self.0.values()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Those that close a region: the provider's own first.
    pub fn over<'a>(
        &'a self,
        provider: &InstanceName,
        region: &str,
    ) -> impl Iterator<Item = &'a CordonRecord> + use<'a> {
        let own = self.get(provider, "").into_iter();
        let of_region = (!region.is_empty()).then(|| self.get(provider, region));
        own.chain(of_region.flatten())
    }

    /// Whether a region is closed.
    pub fn close(&self, provider: &InstanceName, region: &str) -> bool {
        self.over(provider, region).next().is_some()
    }

    /// What becomes of an allocation. None: it is not at a cordoned place, or nothing of it will ever be asked for again.
    pub fn fate(&self, record: &AllocationRecord, now: Instant) -> Option<Fate> {
        if self.is_empty() || record.is_over() {
            return None;
        }
        let workload = &record.intent.workload;
        let is_job = matches!(workload.run, Run::Job { .. });
        let has_data = !is_job && data_of(workload).is_some();
        let by = |cordon: &CordonRecord| match &cordon.drain {
            None => Fate::Stay,
            // Elsewhere it would begin without its data: that is its owner's to decide.
            Some(_) if has_data => Fate::Stay,
            Some(drain) if is_job && (drain.ignore_jobs || !drain.is_overdue(now)) => Fate::Stay,
            Some(drain) if drain.is_overdue(now) => Fate::MoveNow,
            Some(_) => Fate::Move,
        };
        self.over(&record.intent.provider, &record.intent.offer.region)
            .map(by)
            .max()
    }

    /// What a task has at cordoned places, out of everything that there is of its deployment.
    pub fn look(&self, task: &Resolved, actual: &[AllocationRecord], now: Instant) -> AtCordons {
        let mut found = AtCordons::default();
        if self.is_empty() {
            return found;
        }
        let need = plan::need_digest(&Need::of(task));
        let mine = actual
            .iter()
            .filter(|r| r.task == task.name && r.target == task.target);
        for record in mine {
            let Some(fate) = self.fate(record, now) else {
                continue;
            };
            found.spots.insert((
                record.intent.provider.clone(),
                record.intent.offer.id.clone(),
            ));
            let serves = plan::stands_for(record, task) && record.status.phase != Phase::Gone;
            let running = match serves || plan::takes_over(record, task, need) {
                true => running(record, task),
                false => 0,
            };
            let there = || Placement {
                replicas: running,
                ..plan::placement_of(record)
            };
            let wanted = if serves { record.intent.goal() } else { 0 };
            match fate {
                Fate::Stay if serves => {
                    found.is_unsettled |= wanted > running;
                    found.stay.extend((running > 0).then(there));
                }
                _ => {
                    found.is_unsettled |= wanted > 0;
                    found.last.extend((running > 0).then(there));
                }
            }
        }
        found
    }

    /// Whether what has made way may take over again where it is: it begins no replica at a cordoned place, and stays at no drained one.
    pub fn may_return(&self, record: &AllocationRecord, task: &Resolved, now: Instant) -> bool {
        match self.fate(record, now) {
            None => true,
            Some(Fate::Stay) => running(record, task) >= record.intent.goal(),
            Some(Fate::Move | Fate::MoveNow) => false,
        }
    }

    /// Closes their places to whatever is decided with this sheet.
    pub fn mark(&self, sheet: &mut Sheet) {
        for record in self.iter() {
            sheet.cordon(
                &record.provider,
                &record.region,
                Exclusion::Cordoned {
                    place: record.place(),
                    by: record.by.clone(),
                    since: record.since,
                    reason: record.reason.clone(),
                },
            );
        }
    }
}

// === impl AtCordons ===

impl AtCordons {
    /// Leaves so many replicas where they are as a task of this size lacks beside those it has elsewhere.
    pub fn keep(&mut self, replicas: u32, elsewhere: u32) {
        let mut left = replicas.saturating_sub(elsewhere);
        for place in &mut self.stay {
            place.replicas = place.replicas.min(left);
            left -= place.replicas;
        }
        self.stay.retain(|place| place.replicas > 0);
    }

    /// Whether places that were decided elsewhere begin nothing at a cordoned place and leave nothing at a drained one.
    pub fn admits(&self, placements: &[Placement], cordons: &Cordons) -> bool {
        placements.iter().all(|p| {
            let there = self
                .stay
                .iter()
                .filter(|s| s.provider == p.provider && s.offer.id == p.offer.id);
            !cordons.close(&p.provider, &p.offer.region)
                || there.map(|s| s.replicas).sum::<u32>() >= p.replicas
        })
    }
}

/// The path of a volume in which a workload keeps data at its place. None: it leaves nothing behind when it goes.
pub fn data_of(workload: &Workload) -> Option<&str> {
    let keeps = |v: &&Volume| {
        !v.read_only
            && matches!(
                v.source,
                VolumeSource::Persistent { .. } | VolumeSource::HostPath { .. }
            )
    };
    workload.volumes.iter().find(keeps).map(|v| v.path.as_str())
}

/// Replicas of an allocation that are what their task wants and have begun: going on is nothing new.
fn running(record: &AllocationRecord, task: &Resolved) -> u32 {
    let runs = record.handle.state.is_some()
        && record.intent.stage != Stage::Removing
        && record.intent.is_of(task.since)
        && !record.status.lost
        && record.status.phase != Phase::Gone
        && !plan::needs_new_replicas(&record.intent.workload, &task.workload);
    if runs {
        record.intent.replicas.min(record.intent.goal())
    } else {
        0
    }
}
