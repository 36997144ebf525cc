//! AWS while a file is inspected: every call is denied.

use async_trait::async_trait;
use tradewind_core::{
    capability::{
        Attempt,
        aws::{
            Asker, Aws, Image, Instance, InstanceType, Listener, ListenerRequest, LoadBalancer,
            LoadBalancerRequest, RunRequest, SpotPrice, Target, TargetGroup, TargetGroupRequest,
            TargetHealth,
        },
    },
    failure::Failure,
};

use crate::runtime::host_context::{Nothing, denied};

#[async_trait]
impl Aws for Nothing {
    async fn zones(&self, _: &Asker, _: &str) -> Result<Vec<String>, Failure> {
        denied()
    }
    async fn instance_types(
        &self,
        _: &Asker,
        _: &str,
        _: &[String],
    ) -> Result<Vec<InstanceType>, Failure> {
        denied()
    }
    async fn spot_prices(
        &self,
        _: &Asker,
        _: &str,
        _: &[String],
    ) -> Result<Vec<SpotPrice>, Failure> {
        denied()
    }
    async fn images(&self, _: &Asker, _: &str, _: &[String]) -> Result<Vec<Image>, Failure> {
        denied()
    }
    async fn run(&self, _: &Asker, _: &Attempt, _: &RunRequest) -> Result<Instance, Failure> {
        denied()
    }
    async fn instances(&self, _: &Asker, _: &str, _: &[String]) -> Result<Vec<Instance>, Failure> {
        denied()
    }
    async fn terminate(&self, _: &Asker, _: &str, _: &[String]) -> Result<(), Failure> {
        denied()
    }
    async fn console(&self, _: &Asker, _: &str, _: &str) -> Result<String, Failure> {
        denied()
    }
    async fn create_load_balancer(
        &self,
        _: &Asker,
        _: &Attempt,
        _: &LoadBalancerRequest,
    ) -> Result<LoadBalancer, Failure> {
        denied()
    }
    async fn create_target_group(
        &self,
        _: &Asker,
        _: &Attempt,
        _: &TargetGroupRequest,
    ) -> Result<TargetGroup, Failure> {
        denied()
    }
    async fn create_listener(
        &self,
        _: &Asker,
        _: &Attempt,
        _: &ListenerRequest,
    ) -> Result<Listener, Failure> {
        denied()
    }
    async fn load_balancers(
        &self,
        _: &Asker,
        _: &str,
        _: &[String],
    ) -> Result<Vec<LoadBalancer>, Failure> {
        denied()
    }
    async fn target_groups(
        &self,
        _: &Asker,
        _: &str,
        _: &[String],
    ) -> Result<Vec<TargetGroup>, Failure> {
        denied()
    }
    async fn listeners(&self, _: &Asker, _: &str, _: &str) -> Result<Vec<Listener>, Failure> {
        denied()
    }
    async fn register(&self, _: &Asker, _: &str, _: &str, _: &[Target]) -> Result<(), Failure> {
        denied()
    }
    async fn deregister(&self, _: &Asker, _: &str, _: &str, _: &[Target]) -> Result<(), Failure> {
        denied()
    }
    async fn health(&self, _: &Asker, _: &str, _: &[String]) -> Result<Vec<TargetHealth>, Failure> {
        denied()
    }
    async fn delete_listener(&self, _: &Asker, _: &str, _: &str) -> Result<bool, Failure> {
        denied()
    }
    async fn delete_load_balancer(&self, _: &Asker, _: &str, _: &str) -> Result<bool, Failure> {
        denied()
    }
    async fn delete_target_group(&self, _: &Asker, _: &str, _: &str) -> Result<bool, Failure> {
        denied()
    }
}
