//! Instances and load balancers of AWS, as a port. The fields are those of `wit/aws-v0.1`, where each is described.
#![allow(
    missing_docs,
    reason = "types, fields and calls are those of `wit/aws-v0.1`, where each is described"
)]

use async_trait::async_trait;

use super::Attempt;
use crate::{
    base::{
        failure::Failure,
        names::InstanceName,
        units::{Bytes, Instant, MicroUsd, Millis},
    },
    ports::grant::AwsGrant,
    spec::workload::SecretRef,
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gpu {
    pub manufacturer: String,
    pub name: String,
    pub count: u32,
    pub memory: Bytes,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceType {
    pub name: String,
    /// Millicores.
    pub cpu: u32,
    pub memory: Bytes,
    pub disk: Bytes,
    pub architectures: Vec<String>,
    pub gpu: Option<Gpu>,
    pub spot: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpotPrice {
    pub instance_type: String,
    pub zone: String,
    pub price: MicroUsd,
    pub at: Instant,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    pub id: String,
    pub name: String,
    pub architecture: String,
    pub available: bool,
}

/// A part of an instance's user data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    Text(String),
    Secret(SecretRef),
    /// The value without one line end, for a variable.
    SecretVariable(SecretRef),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunRequest {
    pub region: String,
    pub zone: String,
    pub subnet: String,
    pub instance_type: String,
    pub image: String,
    pub security_groups: Vec<String>,
    pub key_name: String,
    pub instance_profile: String,
    pub spot: bool,
    pub ends_with_system: bool,
    pub disk: Bytes,
    pub user_data: Vec<Piece>,
    pub replica: u32,
    pub ordinal: u32,
    pub spec: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InstanceState {
    Pending,
    Running,
    Stopping,
    Stopped,
    ShuttingDown,
    Terminated,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    pub id: String,
    pub state: InstanceState,
    pub instance_type: String,
    pub zone: String,
    pub public_address: String,
    pub private_address: String,
    pub launched_at: Instant,
    pub spot: bool,
    pub allocation: String,
    pub replica: u32,
    pub spec: String,
    pub reason: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadBalancerRequest {
    pub region: String,
    pub internal: bool,
    pub subnets: Vec<String>,
    pub security_groups: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadBalancerState {
    Provisioning,
    Active,
    Impaired,
    Failed,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadBalancer {
    pub id: String,
    pub allocation: String,
    pub dns_name: String,
    pub vpc: String,
    pub state: LoadBalancerState,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    pub path: String,
    pub interval: Millis,
    pub timeout: Millis,
    pub healthy_after: u32,
    pub unhealthy_after: u32,
    pub status_min: u16,
    pub status_max: u16,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetGroupRequest {
    pub region: String,
    pub vpc: String,
    pub port: String,
    pub number: u16,
    pub health_check: HealthCheck,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetGroup {
    pub id: String,
    pub allocation: String,
    pub port: String,
    pub number: u16,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerRequest {
    pub region: String,
    pub load_balancer: String,
    pub number: u16,
    pub target_group: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    pub id: String,
    pub number: u16,
    pub target_group: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub instance: String,
    pub number: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetState {
    Initial,
    Healthy,
    Unhealthy,
    Unused,
    Draining,
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetHealth {
    pub target_group: String,
    pub instance: String,
    pub number: u16,
    pub state: TargetState,
    pub reason: String,
}

/// Whose call it is, and what it may.
#[derive(Debug, Clone)]
pub struct Asker {
    pub owner: InstanceName,
    pub grant: AwsGrant,
}

/// EC2 and Elastic Load Balancing. The implementation checks every argument against the grant and owns every effect.
#[async_trait]
pub trait Aws: Send + Sync {
    async fn zones(&self, asker: &Asker, region: &str) -> Result<Vec<String>, Failure>;
    async fn instance_types(
        &self,
        asker: &Asker,
        region: &str,
        types: &[String],
    ) -> Result<Vec<InstanceType>, Failure>;
    async fn spot_prices(
        &self,
        asker: &Asker,
        region: &str,
        types: &[String],
    ) -> Result<Vec<SpotPrice>, Failure>;
    async fn images(
        &self,
        asker: &Asker,
        region: &str,
        ids: &[String],
    ) -> Result<Vec<Image>, Failure>;
    async fn run(
        &self,
        asker: &Asker,
        attempt: &Attempt,
        request: &RunRequest,
    ) -> Result<Instance, Failure>;
    async fn instances(
        &self,
        asker: &Asker,
        region: &str,
        allocations: &[String],
    ) -> Result<Vec<Instance>, Failure>;
    async fn terminate(&self, asker: &Asker, region: &str, ids: &[String]) -> Result<(), Failure>;
    async fn console(&self, asker: &Asker, region: &str, id: &str) -> Result<String, Failure>;

    async fn create_load_balancer(
        &self,
        asker: &Asker,
        attempt: &Attempt,
        request: &LoadBalancerRequest,
    ) -> Result<LoadBalancer, Failure>;
    async fn create_target_group(
        &self,
        asker: &Asker,
        attempt: &Attempt,
        request: &TargetGroupRequest,
    ) -> Result<TargetGroup, Failure>;
    async fn create_listener(
        &self,
        asker: &Asker,
        attempt: &Attempt,
        request: &ListenerRequest,
    ) -> Result<Listener, Failure>;
    async fn load_balancers(
        &self,
        asker: &Asker,
        region: &str,
        allocations: &[String],
    ) -> Result<Vec<LoadBalancer>, Failure>;
    async fn target_groups(
        &self,
        asker: &Asker,
        region: &str,
        allocations: &[String],
    ) -> Result<Vec<TargetGroup>, Failure>;
    async fn listeners(
        &self,
        asker: &Asker,
        region: &str,
        load_balancer: &str,
    ) -> Result<Vec<Listener>, Failure>;
    async fn register(
        &self,
        asker: &Asker,
        region: &str,
        target_group: &str,
        targets: &[Target],
    ) -> Result<(), Failure>;
    async fn deregister(
        &self,
        asker: &Asker,
        region: &str,
        target_group: &str,
        targets: &[Target],
    ) -> Result<(), Failure>;
    async fn health(
        &self,
        asker: &Asker,
        region: &str,
        target_groups: &[String],
    ) -> Result<Vec<TargetHealth>, Failure>;
    async fn delete_listener(&self, asker: &Asker, region: &str, id: &str)
    -> Result<bool, Failure>;
    async fn delete_load_balancer(
        &self,
        asker: &Asker,
        region: &str,
        id: &str,
    ) -> Result<bool, Failure>;
    async fn delete_target_group(
        &self,
        asker: &Asker,
        region: &str,
        id: &str,
    ) -> Result<bool, Failure>;
}
