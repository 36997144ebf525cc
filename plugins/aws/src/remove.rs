//! Removing an allocation, and finding everything that is ours.

use std::collections::BTreeMap;

use tradewind_plugin_sdk::{
    Error,
    host::{
        Clock,
        aws::{Aws, Instance, InstanceState, LoadBalancer},
    },
    provider::write_state,
    types::{Destroyed, OwnedAllocation},
};

use crate::{
    Ec2,
    apply::is_over,
    state::{Balancer, Group, Member, State},
};

impl<H: Aws + Clock> Ec2<H> {
    /// Terminates what is known and what is found, and removes the load balancer with all that belongs to it.
    pub(crate) fn remove(&self, allocation: &str, state: &State) -> Result<Destroyed, Error> {
        let listed = self
            .host
            .instances(&state.region, &[allocation.to_owned()])?;
        let shown = |id: &str| listed.iter().any(|one| one.id == id);
        let unlisted = state
            .members
            .iter()
            .filter(|member| !shown(&member.id) && self.is_new(member))
            .map(|member| member.id.clone());
        let ids: Vec<String> = listed
            .iter()
            .filter(|one| !is_over(one))
            .map(|one| one.id.clone())
            .chain(unlisted)
            .collect();
        let mut outcome = Destroyed::Gone;
        if state.balancer.is_some() {
            outcome = self.remove_balancers(&state.region, allocation, state.balancer.as_ref())?;
        }
        if !ids.is_empty() {
            self.host.terminate(&state.region, &ids)?;
        }
        let going = listed
            .iter()
            .any(|one| one.state != InstanceState::Terminated);
        Ok(if going || !ids.is_empty() {
            Destroyed::Going
        } else {
            outcome
        })
    }

    /// Everything that carries this plugin instance's tag. A region that does not answer is a failure: what is not in the answer would pass for
    /// gone.
    pub(crate) fn everything(&self) -> Result<Vec<OwnedAllocation>, Error> {
        let mut owned = Vec::new();
        for region in self.settings.regions.keys() {
            let mut found: BTreeMap<String, (Vec<Instance>, Balancer)> = BTreeMap::new();
            for instance in self
                .host
                .instances(region, &[])?
                .into_iter()
                .filter(|one| !is_over(one))
            {
                found
                    .entry(instance.allocation.clone())
                    .or_default()
                    .0
                    .push(instance);
            }
            if let Some(balancers) = self.balancers(region)? {
                for balancer in balancers {
                    let known = &mut found.entry(balancer.allocation).or_default().1;
                    (known.id, known.dns_name) = (balancer.id, balancer.dns_name);
                }
                for group in self.host.target_groups(region, &[])? {
                    let known = &mut found.entry(group.allocation).or_default().1;
                    known.groups.push(Group {
                        id: group.id,
                        port: group.port,
                        number: group.number,
                        listens: 0,
                    });
                }
            }
            for (allocation, (instances, balancer)) in found {
                owned.push(self.owned_one(region, allocation, &instances, balancer)?);
            }
        }
        Ok(owned)
    }

    /// None where there can't be any: they are not wanted, or not granted.
    fn balancers(&self, region: &str) -> Result<Option<Vec<LoadBalancer>>, Error> {
        if !self.settings.load_balancer {
            return Ok(None);
        }
        match self.host.load_balancers(region, &[]) {
            Err(error) if error.field.as_deref() == Some("load-balancers") => Ok(None),
            found => found.map(Some),
        }
    }

    fn owned_one(
        &self,
        region: &str,
        allocation: String,
        instances: &[Instance],
        balancer: Balancer,
    ) -> Result<OwnedAllocation, Error> {
        let members = instances
            .iter()
            .map(|one| Member::new(one.replica, &one.id, 0, self.host.now()))
            .collect();
        let balancer =
            Some(balancer).filter(|known| !known.id.is_empty() || !known.groups.is_empty());
        let and = if balancer.is_some() {
            " and a load balancer"
        } else {
            ""
        };
        let description = format!("{} instance(s){and} in {region}", instances.len());
        let state = State {
            version: 1,
            region: region.to_owned(),
            spec: instances
                .first()
                .map(|one| one.spec.clone())
                .unwrap_or_default(),
            replicas: instances
                .iter()
                .map(|one| one.replica.saturating_add(1))
                .max()
                .unwrap_or(0),
            members,
            balancer,
            ..State::default()
        };
        Ok(OwnedAllocation {
            allocation,
            state: write_state(&state)?,
            description,
        })
    }
}
