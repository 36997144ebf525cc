//! Removing an allocation, and finding everything that is ours.

use std::collections::{BTreeMap, BTreeSet};

use tradewind_plugin_sdk::{
    Error,
    host::{Clock, Http},
    provider::write_state,
    types::{Destroyed, OwnedAllocation},
};

use crate::{
    Rest,
    apply::replica,
    client::{Instance, Stage},
    state::{Member, State},
    wanted::{ALLOCATION, PROVIDER, SPEC},
};

impl<H: Http + Clock> Rest<H> {
    /// Deletes what is known and what is found: an attempt may have made more than it could tell. What the list shows though it is gone
    /// is answered by the deletion itself.
    pub(crate) fn remove(&self, allocation: &str, state: &State) -> Result<Destroyed, Error> {
        let listed = self.client.tagged(&state.region, ALLOCATION, allocation)?;
        let mut ids: BTreeSet<&str> = state.members.iter().map(|member| member.id.as_str()).collect();
        ids.extend(listed.iter().map(|instance| instance.id.as_str()));
        let mut outcome = Destroyed::Gone;
        for id in ids {
            if self.client.delete(&state.region, id)? == Destroyed::Going {
                outcome = Destroyed::Going;
            }
        }
        Ok(outcome)
    }

    /// Everything that carries this instance's tag. A region that does not answer is a failure: what is not in the answer would pass for gone.
    pub(crate) fn everything(&self) -> Result<Vec<OwnedAllocation>, Error> {
        let mut found: BTreeMap<(String, String), Vec<Instance>> = BTreeMap::new();
        let regions = self.client.regions()?.into_iter().filter(|region| self.settings.uses(&region.name));
        for region in regions {
            for instance in self.client.tagged(&region.name, PROVIDER, &self.instance)? {
                let is_there = !matches!(instance.state, Stage::Deleted | Stage::Lost);
                if let Some(allocation) = instance.tags.get(ALLOCATION).filter(|_| is_there).cloned() {
                    found.entry((allocation, instance.region.clone())).or_default().push(instance);
                }
            }
        }
        found.into_iter().map(|((allocation, region), instances)| self.owned_one(allocation, region, &instances)).collect()
    }

    fn owned_one(&self, allocation: String, region: String, instances: &[Instance]) -> Result<OwnedAllocation, Error> {
        let member = |(position, instance): (u32, &Instance)| Member {
            index: replica(instance).unwrap_or(position),
            id: instance.id.clone(),
            token: String::new(),
            turn: 1,
            created_at: instance.created_at,
            since: self.now(),
        };
        let members: Vec<Member> = (0..).zip(instances).map(member).collect();
        let description = format!("{} instance(s) in {region}", members.len());
        let spec = instances.iter().find_map(|instance| instance.tags.get(SPEC)).cloned().unwrap_or_default();
        let replicas = members.iter().map(|member| member.index.saturating_add(1)).max().unwrap_or(0);
        let state = State { version: 1, region, spec, token: String::new(), replicas, members, ports: Vec::new() };
        Ok(OwnedAllocation { allocation, state: write_state(&state)?, description })
    }
}
