//! Removing an allocation, and finding everything that is ours.

use std::collections::{BTreeMap, BTreeSet};

use super::{ALLOCATION, Cloud, Fleet, Instance, Member, PROVIDER, SPEC, Stage, State, replica};
use crate::{
    Error,
    provider::write_state,
    types::{Destroyed, OwnedAllocation},
};

impl<C: Cloud> Fleet<C> {
    /// Deletes what is known and what is found: an attempt may have made more than it could tell. What the list shows though it is gone
    /// is answered by the deletion itself.
    ///
    /// # Errors
    /// The cloud's.
    pub fn remove(&self, allocation: &str, state: &State) -> Result<Destroyed, Error> {
        let listed = self.cloud.tagged(&state.place, (ALLOCATION, allocation))?;
        let mut ids: BTreeSet<&str> = state
            .members
            .iter()
            .map(|member| member.id.as_str())
            .collect();
        ids.extend(listed.iter().map(|instance| instance.id.as_str()));
        let mut outcome = Destroyed::Gone;
        for id in ids {
            if self.cloud.delete(&state.place, id)? == Destroyed::Going {
                outcome = Destroyed::Going;
            }
        }
        Ok(outcome)
    }

    /// Everything that carries this instance's tag. A place that does not answer is a failure: what is not in the answer would pass for gone.
    ///
    /// # Errors
    /// The cloud's.
    pub fn everything(&self) -> Result<Vec<OwnedAllocation>, Error> {
        let mut found: BTreeMap<(String, String), Vec<Instance>> = BTreeMap::new();
        for place in self.cloud.places()? {
            for instance in self.cloud.tagged(&place, (PROVIDER, &self.instance))? {
                let is_there = instance.stage != Stage::Gone;
                if let Some(allocation) =
                    instance.tags.get(ALLOCATION).filter(|_| is_there).cloned()
                {
                    found
                        .entry((allocation, place.clone()))
                        .or_default()
                        .push(instance);
                }
            }
        }
        found
            .into_iter()
            .map(|((allocation, place), instances)| self.owned_one(allocation, place, &instances))
            .collect()
    }

    fn owned_one(
        &self,
        allocation: String,
        place: String,
        instances: &[Instance],
    ) -> Result<OwnedAllocation, Error> {
        let member = |(position, instance): (u32, &Instance)| Member {
            index: replica(instance).unwrap_or(position),
            id: instance.id.clone(),
            token: String::new(),
            turn: 1,
            created_at: instance.created_at,
            since: self.now(),
        };
        let members: Vec<Member> = (0..).zip(instances).map(member).collect();
        let description = format!("{} instance(s) in {place}", members.len());
        let spec = instances
            .iter()
            .find_map(|instance| instance.tags.get(SPEC))
            .cloned()
            .unwrap_or_default();
        let replicas = members
            .iter()
            .map(|member| member.index.saturating_add(1))
            .max()
            .unwrap_or(0);
        let state = State {
            version: 1,
            place,
            spec,
            token: String::new(),
            replicas,
            members,
            ports: Vec::new(),
        };
        Ok(OwnedAllocation {
            allocation,
            state: write_state(&state)?,
            description,
        })
    }
}
