//! Ports of a machine: two replicas of a task that both want a number of it can't share the machine. A policy does not know that, so its answer
//! is held to it: one replica stays where it was placed, and the policy is asked again about the others without that place.

use std::collections::BTreeSet;

use tradewind_core::{
    failure::Failure,
    placement::{Closed, Table},
    plan::{self, Placement},
    plugin::{Policy, Snapshot},
    units::MicroUsd,
};

use crate::{
    schedule::policy_call::PolicyAnswer,
    schedule::room::{self, Added},
    schedule::scheduler::{DeploymentWork, PendingTask, Scheduler},
};

impl Scheduler {
    /// Has the policy choose, with at most one replica of a task on a machine whose ports it wants.
    pub(crate) async fn call_policy_apart(
        &self,
        policy: &dyn Policy,
        snapshot: &Snapshot,
        works: &[DeploymentWork],
        open: &mut [PendingTask],
        table: &Table,
    ) -> Result<PolicyAnswer, Failure> {
        let mut verdict = match open.iter().all(|o| o.apart.is_empty()) {
            true => self.call_policy(policy, open, table).await?,
            false => {
                self.call_policy(policy, open, &without_apart(works, open, table))
                    .await?
            }
        };
        // Each round closes another place to a task, so there are no more rounds than places.
        while keep_apart(snapshot, works, open, &verdict) {
            verdict = self
                .call_policy(policy, open, &without_apart(works, open, table))
                .await?;
        }
        for (o, d) in open.iter().zip(&mut verdict.decided) {
            for (chosen, _) in &o.apart {
                d.estimated = d.estimated.saturating_add(chosen.cost);
                d.reason.chosen.push(chosen.clone());
            }
        }
        Ok(verdict)
    }
}

/// Leaves one replica where several were placed on one machine, and closes that place to the others. True when there were any.
fn keep_apart(
    snapshot: &Snapshot,
    works: &[DeploymentWork],
    open: &mut [PendingTask],
    verdict: &PolicyAnswer,
) -> bool {
    let machines: BTreeSet<_> = snapshot
        .providers
        .iter()
        .filter(|(_, p)| p.features().one_machine)
        .map(|(name, _)| name)
        .collect();
    let mut any = false;
    for (o, d) in open.iter_mut().zip(&verdict.decided) {
        let Some(task) = works.get(o.work).and_then(|w| w.resolved.get(o.task)) else {
            continue;
        };
        let Some(number) = plan::machine_ports(&task.workload).first().copied() else {
            continue;
        };
        for placement in d
            .placements
            .iter()
            .filter(|p| p.replicas > 1 && machines.contains(&p.provider))
        {
            let there = |provider: &_, offer: &str| {
                *provider == placement.provider && offer == placement.offer.id
            };
            let Some(chosen) = d
                .reason
                .chosen
                .iter()
                .find(|c| there(&c.provider, &c.offer))
            else {
                continue;
            };
            let mut chosen = chosen.clone();
            chosen.replicas = 1;
            let spot = (placement.provider.clone(), Some(placement.offer.id.clone()));
            o.want
                .need
                .closed
                .insert(spot, Closed::Port { number, own: true });
            o.want
                .current
                .retain(|(provider, offer, _)| !there(provider, offer));
            o.want.replicas = o.want.replicas.saturating_sub(1);
            if o.want.max_hourly != MicroUsd::MAX {
                o.want.max_hourly =
                    MicroUsd(o.want.max_hourly.0.saturating_sub(placement.hourly.0));
            }
            o.apart.push((
                chosen,
                Placement {
                    replicas: 1,
                    ..placement.clone()
                },
            ));
            any = true;
        }
    }
    any
}

/// The table without the room of those that were left apart.
fn without_apart(works: &[DeploymentWork], open: &[PendingTask], table: &Table) -> Table {
    let added = open.iter().flat_map(|o| {
        let found = works
            .get(o.work)
            .and_then(|w| w.resolved.get(o.task).map(|t| (w, t)));
        o.apart.iter().filter_map(move |(_, placement)| {
            let (work, task) = found?;
            let resources = &task.workload.resources;
            Some(Added {
                work,
                task: &task.name,
                target: task.target.as_ref(),
                resources,
                placement,
            })
        })
    });
    room::less(table, added)
}
