//! The outer side of the AWS capability: EC2 and Elastic Load Balancing.
//!
//! Every argument is checked against the grant (`allow`), names, tokens and tags are made here (`tokens`), and only what bears the tag of the
//! asking plugin instance is changed or removed. Credentials go from their source to the signer and nowhere else; no type of the SDK leaves. It must not know
//! plugins or deployments.
#![warn(missing_docs)]

mod account;
mod allow;
mod census;
mod ec2;
mod elb;
mod errors;
mod session;
mod source;
mod tokens;
mod user_data;

use std::{path::PathBuf, sync::Arc};

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
use tradewind_credentials::Credentials;

use self::{account::Directory, census::Census, session::Session};

/// What it works with.
#[derive(Clone)]
pub struct Options {
    /// Where credentials of accounts come from.
    pub credentials: Credentials,
    /// Holds the secrets of workloads as files.
    pub secrets: PathBuf,
}

/// Serves the capability for every instance. Cheap to clone.
#[derive(Clone)]
pub struct Accounts(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) directory: Directory,
    pub(crate) census: Census,
    pub(crate) secrets: PathBuf,
}

impl Accounts {
    /// Accounts that nobody has asked yet.
    pub fn new(options: Options) -> Self {
        let Options {
            credentials,
            secrets,
        } = options;
        Self(Arc::new(Inner {
            directory: Directory::new(credentials),
            census: Census::default(),
            secrets,
        }))
    }
}

/// Does it, and once more with fresh credentials when it failed for those that were kept: nothing has happened then.
macro_rules! within {
    ($accounts:expr, $asker:expr, $region:expr, |$session:ident| $work:expr) => {{
        allow::region(&$asker.grant, $region)?;
        let $session = Session::open(&$accounts.0, $asker, $region).await?;
        match $work.await {
            Err(failure) if $accounts.0.directory.renew(&$asker.grant, &failure) => {
                let $session = Session::open(&$accounts.0, $asker, $region).await?;
                $work.await
            }
            result => result,
        }
    }};
}

#[async_trait]
impl Aws for Accounts {
    async fn zones(&self, asker: &Asker, region: &str) -> Result<Vec<String>, Failure> {
        within!(self, asker, region, |s| s.zones())
    }
    async fn instance_types(
        &self,
        asker: &Asker,
        region: &str,
        types: &[String],
    ) -> Result<Vec<InstanceType>, Failure> {
        within!(self, asker, region, |s| s.instance_types(types))
    }
    async fn spot_prices(
        &self,
        asker: &Asker,
        region: &str,
        types: &[String],
    ) -> Result<Vec<SpotPrice>, Failure> {
        within!(self, asker, region, |s| s.spot_prices(types))
    }
    async fn images(
        &self,
        asker: &Asker,
        region: &str,
        ids: &[String],
    ) -> Result<Vec<Image>, Failure> {
        ids.iter()
            .try_for_each(|id| allow::image(&asker.grant, id, "ids"))?;
        within!(self, asker, region, |s| s.images(ids))
    }
    async fn run(
        &self,
        asker: &Asker,
        attempt: &Attempt,
        request: &RunRequest,
    ) -> Result<Instance, Failure> {
        allow::run(&asker.grant, request)?;
        within!(self, asker, &request.region, |s| s.run(attempt, request))
    }
    async fn instances(
        &self,
        asker: &Asker,
        region: &str,
        allocations: &[String],
    ) -> Result<Vec<Instance>, Failure> {
        within!(self, asker, region, |s| s.instances(allocations))
    }
    async fn terminate(&self, asker: &Asker, region: &str, ids: &[String]) -> Result<(), Failure> {
        within!(self, asker, region, |s| s.terminate(ids))
    }
    async fn console(&self, asker: &Asker, region: &str, id: &str) -> Result<String, Failure> {
        within!(self, asker, region, |s| s.console(id))
    }

    async fn create_load_balancer(
        &self,
        asker: &Asker,
        attempt: &Attempt,
        request: &LoadBalancerRequest,
    ) -> Result<LoadBalancer, Failure> {
        allow::load_balancer(&asker.grant, request)?;
        within!(self, asker, &request.region, |s| s
            .create_load_balancer(attempt, request))
    }
    async fn create_target_group(
        &self,
        asker: &Asker,
        attempt: &Attempt,
        request: &TargetGroupRequest,
    ) -> Result<TargetGroup, Failure> {
        allow::balancing(&asker.grant, &request.region)?;
        within!(self, asker, &request.region, |s| s
            .create_target_group(attempt, request))
    }
    async fn create_listener(
        &self,
        asker: &Asker,
        attempt: &Attempt,
        request: &ListenerRequest,
    ) -> Result<Listener, Failure> {
        allow::balancing(&asker.grant, &request.region)?;
        within!(self, asker, &request.region, |s| s
            .create_listener(attempt, request))
    }
    async fn load_balancers(
        &self,
        asker: &Asker,
        region: &str,
        allocations: &[String],
    ) -> Result<Vec<LoadBalancer>, Failure> {
        allow::balancing(&asker.grant, region)?;
        within!(self, asker, region, |s| s.load_balancers(allocations))
    }
    async fn target_groups(
        &self,
        asker: &Asker,
        region: &str,
        allocations: &[String],
    ) -> Result<Vec<TargetGroup>, Failure> {
        allow::balancing(&asker.grant, region)?;
        within!(self, asker, region, |s| s.target_groups(allocations))
    }
    async fn listeners(
        &self,
        asker: &Asker,
        region: &str,
        load_balancer: &str,
    ) -> Result<Vec<Listener>, Failure> {
        allow::balancing(&asker.grant, region)?;
        within!(self, asker, region, |s| s.listeners(load_balancer))
    }
    async fn register(
        &self,
        asker: &Asker,
        region: &str,
        target_group: &str,
        targets: &[Target],
    ) -> Result<(), Failure> {
        allow::balancing(&asker.grant, region)?;
        within!(self, asker, region, |s| s.register(target_group, targets))
    }
    async fn deregister(
        &self,
        asker: &Asker,
        region: &str,
        target_group: &str,
        targets: &[Target],
    ) -> Result<(), Failure> {
        allow::balancing(&asker.grant, region)?;
        within!(self, asker, region, |s| s.deregister(target_group, targets))
    }
    async fn health(
        &self,
        asker: &Asker,
        region: &str,
        target_groups: &[String],
    ) -> Result<Vec<TargetHealth>, Failure> {
        allow::balancing(&asker.grant, region)?;
        within!(self, asker, region, |s| s.health(target_groups))
    }
    async fn delete_listener(
        &self,
        asker: &Asker,
        region: &str,
        id: &str,
    ) -> Result<bool, Failure> {
        allow::balancing(&asker.grant, region)?;
        within!(self, asker, region, |s| s.delete_listener(id))
    }
    async fn delete_load_balancer(
        &self,
        asker: &Asker,
        region: &str,
        id: &str,
    ) -> Result<bool, Failure> {
        allow::balancing(&asker.grant, region)?;
        within!(self, asker, region, |s| s.delete_load_balancer(id))
    }
    async fn delete_target_group(
        &self,
        asker: &Asker,
        region: &str,
        id: &str,
    ) -> Result<bool, Failure> {
        allow::balancing(&asker.grant, region)?;
        within!(self, asker, region, |s| s.delete_target_group(id))
    }
}
