//! Instances and load balancers of AWS. `wit/aws-v0.1/ec2.wit` tells the details.

use super::Host;
use crate::{
    Error,
    bindings::provider::tradewind::aws::{ec2, elb},
};

pub use ec2::{Gpu, Image, Instance, InstanceState, InstanceType, Piece, RunRequest, SpotPrice};
pub use elb::{
    HealthCheck, Listener, ListenerRequest, LoadBalancer, LoadBalancerRequest, LoadBalancerState,
    Target, TargetGroup, TargetGroupRequest, TargetHealth, TargetState,
};

/// EC2 and Elastic Load Balancing. Needs the grant `aws`.
pub trait Aws {
    /// The availability zones of a region that can be used.
    fn zones(&self, region: &str) -> Result<Vec<String>, Error>;
    /// What a region has of these types (names, or patterns with `*`), as far as they are granted.
    fn instance_types(&self, region: &str, types: &[String]) -> Result<Vec<InstanceType>, Error>;
    /// The present prices of spot capacity for Linux, of each type and zone.
    fn spot_prices(&self, region: &str, types: &[String]) -> Result<Vec<SpotPrice>, Error>;
    /// Those of these images that exist.
    fn images(&self, region: &str, ids: &[String]) -> Result<Vec<Image>, Error>;
    /// Makes an instance, or answers the one that the same call has made before.
    fn run(&self, request: &RunRequest) -> Result<Instance, Error>;
    /// The own instances of these allocations; of all with an empty list.
    fn instances(&self, region: &str, allocations: &[String]) -> Result<Vec<Instance>, Error>;
    /// Begins to remove them. What does not exist any more is passed over.
    fn terminate(&self, region: &str, ids: &[String]) -> Result<(), Error>;
    /// What an instance's system has written to its console.
    fn console(&self, region: &str, id: &str) -> Result<String, Error>;
    /// Makes the allocation's load balancer, or answers the one there is.
    fn create_load_balancer(&self, request: &LoadBalancerRequest) -> Result<LoadBalancer, Error>;
    /// Makes a target group, or answers the one there is.
    fn create_target_group(&self, request: &TargetGroupRequest) -> Result<TargetGroup, Error>;
    /// Makes a listener that forwards to a target group, or answers the one there is.
    fn create_listener(&self, request: &ListenerRequest) -> Result<Listener, Error>;
    /// The own load balancers of these allocations; of all with an empty list.
    fn load_balancers(
        &self,
        region: &str,
        allocations: &[String],
    ) -> Result<Vec<LoadBalancer>, Error>;
    /// The own target groups of these allocations; of all with an empty list.
    fn target_groups(
        &self,
        region: &str,
        allocations: &[String],
    ) -> Result<Vec<TargetGroup>, Error>;
    /// The listeners of a load balancer.
    fn listeners(&self, region: &str, load_balancer: &str) -> Result<Vec<Listener>, Error>;
    /// Adds running instances to a target group.
    fn register(&self, region: &str, target_group: &str, targets: &[Target]) -> Result<(), Error>;
    /// Takes instances out of a target group.
    fn deregister(&self, region: &str, target_group: &str, targets: &[Target])
    -> Result<(), Error>;
    /// How the registered targets of these groups are.
    fn health(&self, region: &str, target_groups: &[String]) -> Result<Vec<TargetHealth>, Error>;
    /// True when nothing is left.
    fn delete_listener(&self, region: &str, id: &str) -> Result<bool, Error>;
    /// True when nothing is left.
    fn delete_load_balancer(&self, region: &str, id: &str) -> Result<bool, Error>;
    /// True when nothing is left; false while something still holds it.
    fn delete_target_group(&self, region: &str, id: &str) -> Result<bool, Error>;
}

impl Aws for Host {
    fn zones(&self, region: &str) -> Result<Vec<String>, Error> {
        Ok(ec2::zones(region)?)
    }
    fn instance_types(&self, region: &str, types: &[String]) -> Result<Vec<InstanceType>, Error> {
        Ok(ec2::instance_types(region, types)?)
    }
    fn spot_prices(&self, region: &str, types: &[String]) -> Result<Vec<SpotPrice>, Error> {
        Ok(ec2::spot_prices(region, types)?)
    }
    fn images(&self, region: &str, ids: &[String]) -> Result<Vec<Image>, Error> {
        Ok(ec2::images(region, ids)?)
    }
    fn run(&self, request: &RunRequest) -> Result<Instance, Error> {
        Ok(ec2::run(request)?)
    }
    fn instances(&self, region: &str, allocations: &[String]) -> Result<Vec<Instance>, Error> {
        Ok(ec2::instances(region, allocations)?)
    }
    fn terminate(&self, region: &str, ids: &[String]) -> Result<(), Error> {
        Ok(ec2::terminate(region, ids)?)
    }
    fn console(&self, region: &str, id: &str) -> Result<String, Error> {
        Ok(ec2::console(region, id)?)
    }
    fn create_load_balancer(&self, request: &LoadBalancerRequest) -> Result<LoadBalancer, Error> {
        Ok(elb::create_load_balancer(request)?)
    }
    fn create_target_group(&self, request: &TargetGroupRequest) -> Result<TargetGroup, Error> {
        Ok(elb::create_target_group(request)?)
    }
    fn create_listener(&self, request: &ListenerRequest) -> Result<Listener, Error> {
        Ok(elb::create_listener(request)?)
    }
    fn load_balancers(
        &self,
        region: &str,
        allocations: &[String],
    ) -> Result<Vec<LoadBalancer>, Error> {
        Ok(elb::load_balancers(region, allocations)?)
    }
    fn target_groups(
        &self,
        region: &str,
        allocations: &[String],
    ) -> Result<Vec<TargetGroup>, Error> {
        Ok(elb::target_groups(region, allocations)?)
    }
    fn listeners(&self, region: &str, load_balancer: &str) -> Result<Vec<Listener>, Error> {
        Ok(elb::listeners(region, load_balancer)?)
    }
    fn register(&self, region: &str, target_group: &str, targets: &[Target]) -> Result<(), Error> {
        Ok(elb::register(region, target_group, targets)?)
    }
    fn deregister(
        &self,
        region: &str,
        target_group: &str,
        targets: &[Target],
    ) -> Result<(), Error> {
        Ok(elb::deregister(region, target_group, targets)?)
    }
    fn health(&self, region: &str, target_groups: &[String]) -> Result<Vec<TargetHealth>, Error> {
        Ok(elb::health(region, target_groups)?)
    }
    fn delete_listener(&self, region: &str, id: &str) -> Result<bool, Error> {
        Ok(elb::delete_listener(region, id)?)
    }
    fn delete_load_balancer(&self, region: &str, id: &str) -> Result<bool, Error> {
        Ok(elb::delete_load_balancer(region, id)?)
    }
    fn delete_target_group(&self, region: &str, id: &str) -> Result<bool, Error> {
        Ok(elb::delete_target_group(region, id)?)
    }
}
