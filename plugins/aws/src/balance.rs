//! The load balancer of an allocation: made, changed and removed with a target group and a listener for each public port.
//!
//! Instances are registered by `observe`, once they run: what does not run yet can't be a target.

use tradewind_plugin_sdk::{
    Error,
    host::{
        Clock,
        aws::{Aws, ListenerRequest, LoadBalancerRequest, Target, TargetGroupRequest},
    },
    types::Destroyed,
};

use crate::{
    Ec2,
    settings::Scheme,
    state::{Balancer, Group},
    wanted::{Route, Wanted},
};

impl<H: Aws + Clock> Ec2<H> {
    /// Makes it as it shall be, whatever is there. None is wanted: what was there goes.
    pub(crate) fn balance(
        &self,
        wanted: &Wanted,
        prior: Option<&Balancer>,
    ) -> Result<Option<Balancer>, Error> {
        if wanted.routes.is_empty() {
            if prior.is_some() {
                self.remove_balancers(&wanted.region, &wanted.allocation, prior)?;
            }
            return Ok(None);
        }
        let place = self.settings.place(&wanted.region)?;
        let made = self.host.create_load_balancer(&LoadBalancerRequest {
            region: wanted.region.clone(),
            internal: self.settings.scheme == Scheme::Internal,
            subnets: place.balancer_subnets(),
            security_groups: place.balancer_security_groups(),
        })?;
        let groups: Vec<Group> = wanted
            .routes
            .iter()
            .map(|route| self.route(wanted, route, &made.id, &made.vpc))
            .collect::<Result<_, _>>()?;
        let balancer = Balancer {
            id: made.id,
            dns_name: made.dns_name,
            groups,
        };
        self.clear_old(&wanted.region, prior, &balancer)?;
        Ok(Some(balancer))
    }

    fn route(
        &self,
        wanted: &Wanted,
        route: &Route,
        load_balancer: &str,
        vpc: &str,
    ) -> Result<Group, Error> {
        let group = self.host.create_target_group(&TargetGroupRequest {
            region: wanted.region.clone(),
            vpc: vpc.to_owned(),
            port: route.port.clone(),
            number: route.number,
            health_check: route.check.clone(),
        })?;
        self.host.create_listener(&ListenerRequest {
            region: wanted.region.clone(),
            load_balancer: load_balancer.to_owned(),
            number: route.listens,
            target_group: group.id.clone(),
        })?;
        Ok(Group {
            id: group.id,
            port: route.port.clone(),
            number: route.number,
            listens: route.listens,
        })
    }

    /// Removes the listeners and target groups that an earlier form had.
    fn clear_old(
        &self,
        region: &str,
        prior: Option<&Balancer>,
        now: &Balancer,
    ) -> Result<(), Error> {
        let Some(prior) = prior.filter(|prior| prior.groups != now.groups) else {
            return Ok(());
        };
        for listener in self.host.listeners(region, &now.id)? {
            if !now
                .groups
                .iter()
                .any(|group| group.listens == listener.number)
            {
                self.host.delete_listener(region, &listener.id)?;
            }
        }
        let mut old = prior
            .groups
            .iter()
            .filter(|group| !now.groups.iter().any(|other| other.id == group.id));
        // One that is still held goes with the allocation.
        old.try_for_each(|group| self.host.delete_target_group(region, &group.id).map(drop))
    }

    /// Removes what is known and what is found: an attempt may have made more than it could tell.
    pub(crate) fn remove_balancers(
        &self,
        region: &str,
        allocation: &str,
        known: Option<&Balancer>,
    ) -> Result<Destroyed, Error> {
        let allocation = [allocation.to_owned()];
        let mut balancers: Vec<String> = known
            .iter()
            .map(|balancer| balancer.id.clone())
            .filter(|id| !id.is_empty())
            .collect();
        balancers.extend(
            self.host
                .load_balancers(region, &allocation)?
                .into_iter()
                .map(|found| found.id),
        );
        let mut groups: Vec<String> = known
            .iter()
            .flat_map(|balancer| &balancer.groups)
            .map(|group| group.id.clone())
            .collect();
        groups.extend(
            self.host
                .target_groups(region, &allocation)?
                .into_iter()
                .map(|found| found.id),
        );
        let mut outcome = Destroyed::Gone;
        for ids in [&mut balancers, &mut groups] {
            ids.sort();
            ids.dedup();
        }
        for id in &balancers {
            // Its listeners go with it.
            if !self.host.delete_load_balancer(region, id)? {
                outcome = Destroyed::Going;
            }
        }
        for id in &groups {
            if !self.host.delete_target_group(region, id)? {
                outcome = Destroyed::Going;
            }
        }
        Ok(outcome)
    }

    /// Takes instances out of all target groups.
    pub(crate) fn take_out(
        &self,
        region: &str,
        balancer: &Balancer,
        ids: &[String],
    ) -> Result<(), Error> {
        let targets = |group: &Group| {
            ids.iter()
                .map(|id| Target {
                    instance: id.clone(),
                    number: group.number,
                })
                .collect::<Vec<_>>()
        };
        balancer
            .groups
            .iter()
            .try_for_each(|group| self.host.deregister(region, &group.id, &targets(group)))
    }
}
