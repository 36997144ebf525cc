//! Affinity in the controller: finds whom the tasks of a decision are bound to and where those are by now. The rules are `core`'s.

use std::collections::{BTreeSet, HashMap};

use tradewind_core::{
    cordon::{Cordons, Fate},
    manifest::Resolved,
    names::Namespace,
    placement::{self, Domain, Neighbour},
    plan::Placement,
    record::AllocationRecord,
    units::Instant,
};

use crate::{
    lock,
    schedule::policy_call::Decided,
    schedule::scheduler::{DeploymentWork, PendingTask, Scheduler},
};

impl Scheduler {
    /// Binds what one policy is to decide about to everything else that has a place: what runs, what this batch has decided before, and
    /// those of its own replicas that stay where they are.
    pub(crate) fn bind(
        &self,
        works: &[DeploymentWork],
        open: &mut [PendingTask],
        decided: &HashMap<(usize, usize), Decided>,
        (cordons, now): (&Cordons, Instant),
    ) {
        // What is to leave a drained place binds nobody to it.
        let stays =
            |r: &AllocationRecord| cordons.fate(r, now).is_none_or(|fate| fate == Fate::Stay);
        let bound = open
            .iter()
            .filter(|o| placement::is_bound(&o.want.need.constraints));
        let namespaces: BTreeSet<Namespace> = bound.map(|o| o.want.namespace.clone()).collect();
        if namespaces.is_empty() {
            return;
        }
        let cache = lock(&self.cache);
        let mut neighbours = Vec::new();
        for namespace in &namespaces {
            let others = cache
                .of_namespace(namespace)
                .filter(|(key, _)| works.iter().all(|w| w.key != **key));
            for (key, entry) in others {
                for task in entry
                    .resolved
                    .iter()
                    .filter(|t| placement::is_bound(&t.constraints))
                {
                    let records = entry.allocations.values().map(|l| &l.record);
                    let places = running(task, records.filter(|r| stays(r)));
                    neighbours.push(Neighbour {
                        namespace: &key.namespace,
                        constraints: &task.constraints,
                        places,
                        part_of: None,
                    });
                }
            }
        }
        for (w, work) in works
            .iter()
            .enumerate()
            .filter(|(_, work)| namespaces.contains(&work.key.namespace))
        {
            for (t, task) in work
                .resolved
                .iter()
                .enumerate()
                .filter(|(_, t)| placement::is_bound(&t.constraints))
            {
                let part_of = open.iter().position(|o| (o.work, o.task) == (w, t));
                let places = match (part_of.and_then(|i| open.get(i)), decided.get(&(w, t))) {
                    (Some(open), _) => placed(&open.stay),
                    (None, Some(decided)) => placed(&decided.placements),
                    (None, None) => running(task, work.actual.iter().filter(|r| stays(r))),
                };
                neighbours.push(Neighbour {
                    namespace: &work.key.namespace,
                    constraints: &task.constraints,
                    places,
                    part_of,
                });
            }
        }
        let mut wants: Vec<_> = open.iter().map(|o| o.want.clone()).collect();
        placement::apply_affinity(&mut wants, &neighbours);
        for (open, want) in open.iter_mut().zip(wants) {
            open.want = want;
        }
    }
}

/// Where a task runs. What is lost, or has ended, keeps nobody from a place.
fn running<'a>(
    task: &Resolved,
    records: impl Iterator<Item = &'a AllocationRecord>,
) -> Vec<Domain> {
    let there = |r: &&AllocationRecord| {
        r.serves(&task.name, task.target.as_ref())
            && !r.status.lost
            && !r.status.phase.is_final()
            && r.intent.goal() > 0
    };
    records
        .filter(there)
        .map(|r| {
            Domain::new(
                &r.intent.provider,
                &r.intent.offer.region,
                &r.intent.offer.zone,
            )
        })
        .collect()
}

fn placed(placements: &[Placement]) -> Vec<Domain> {
    placements
        .iter()
        .map(|p| Domain::new(&p.provider, &p.offer.region, &p.offer.zone))
        .collect()
}
